package state

import (
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// OpenFS is Open on another file system, for simulated crashes.
var OpenFS = open

// OpenWatched is Open on another file system, which fails.
var OpenWatched = openWatched

// LoseEntry takes one entry out of the indexes on disk.
func (db *DB) LoseEntry(space, topic string, partition int32) error {
	prefix, err := tablePrefix(space, topic, partition)
	if err != nil {
		return err
	}
	from := prefix + string(kindIndex) + string(entryKind)
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte(from), UpperBound: after(from)})
	if err != nil {
		return err
	}
	it.First()
	key := slices.Clone(it.Key())
	return errors.Join(it.Close(), db.pebble.Delete(key, nil))
}

// LoseSums takes away what is known about the indexes on disk.
func (db *DB) LoseSums(space, topic string, partition int32) error {
	prefix, err := tablePrefix(space, topic, partition)
	if err != nil {
		return err
	}
	return db.pebble.Delete([]byte(prefix+string(kindIndexMeta)), nil)
}

// IndexKeys counts what the indexes have on disk.
func (db *DB) IndexKeys(space, topic string, partition int32) (n int, err error) {
	prefix, err := tablePrefix(space, topic, partition)
	if err != nil {
		return 0, err
	}
	from := prefix + string(kindIndex)
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte(from), UpperBound: after(from)})
	if err != nil {
		return 0, err
	}
	for valid := it.First(); valid; valid = it.Next() {
		n++
	}
	return n, it.Close()
}

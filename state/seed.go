package state

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Seed lets the partition in one space begin with the copy in another one, if
// that is at least ahead records further in the changelog. It returns how many
// rows were copied, 0 when there was no reason to. It blocks for as long as the
// copy takes, some hundred thousand rows a second, and must come before Table.
//
// The copy is taken at one moment, rows and offset together. After a crash in
// between the partition has rows and no offset, and is read from the start.
func (db *DB) Seed(to, from, topic string, partition int32, ahead int64) (rows int, err error) {
	target, err := tablePrefix(to, topic, partition)
	if err != nil {
		return 0, err
	}
	source, err := tablePrefix(from, topic, partition)
	if err != nil {
		return 0, err
	}
	if err := db.enter(); err != nil {
		return 0, err
	}
	defer db.leave()
	snapshot := db.pebble.NewSnapshot()
	defer snapshot.Close()
	theirs, known, err := offsetIn(snapshot, source)
	if err != nil || !known {
		return 0, err
	}
	ours, known, err := offsetIn(snapshot, target)
	if err != nil || known && theirs-ours < ahead {
		return 0, err
	}

	if err := db.pebble.DeleteRange([]byte(target), after(target), pebble.NoSync); err != nil {
		return 0, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	it, err := snapshot.NewIter(&pebble.IterOptions{LowerBound: []byte(source + string(kindRow)), UpperBound: after(source + string(kindRow))})
	if err != nil {
		return 0, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	defer it.Close()
	batch := db.pebble.NewBatch()
	defer func() { batch.Close() }()
	key := []byte(target)
	for valid := it.First(); valid; valid = it.Next() {
		key = append(key[:len(target)], it.Key()[len(source):]...)
		if err := batch.Set(key, it.Value(), nil); err != nil {
			return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
		}
		rows++
		if batch.Len() >= flushBytes {
			if err := batch.Commit(pebble.NoSync); err != nil {
				return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
			}
			batch.Reset()
		}
	}
	if err := it.Error(); err != nil {
		return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	key = append(key[:len(target)], kindOffset)
	if err := batch.Set(key, binary.BigEndian.AppendUint64(nil, uint64(theirs)), nil); err != nil {
		return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	return rows, nil
}

func offsetIn(s *pebble.Snapshot, prefix string) (offset int64, known bool, err error) {
	value, closer, err := s.Get([]byte(prefix + string(kindOffset)))
	if err == pebble.ErrNotFound {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading an offset: %w", err)
	}
	defer closer.Close()
	if len(value) != 8 {
		return 0, false, fmt.Errorf("reading an offset: %w: %d bytes instead of 8", pebble.ErrCorruption, len(value))
	}
	return int64(binary.BigEndian.Uint64(value)), true, nil
}

package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Seed lets the partition in one space begin with the copy in another one, if
// that is at least ahead records further in the changelog. It returns how many
// rows were copied, 0 when there was no reason to. It blocks for as long as the
// copy takes, some hundred thousand rows a second, and must come before Table.
//
// A copy of another topic than the one of that id is none; an own one is worth
// nothing then. An empty id is not known: both are believed.
//
// The copy is taken at one moment, rows and offset together. After a crash in
// between the partition has rows and no offset, and is read from the start.
func (db *DB) Seed(to, from, topic string, partition int32, topicID string, ahead int64) (rows int, err error) {
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
	theirs, err := positionIn(snapshot, source)
	if err != nil || !theirs.known || !theirs.isOf(topicID) {
		return 0, err
	}
	ours, err := positionIn(snapshot, target)
	if err != nil || ours.known && ours.isOf(topicID) && theirs.offset-ours.offset < ahead {
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
	if err := batch.Set(key, theirs.encode(), nil); err != nil {
		return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return rows, fmt.Errorf("seeding %s, partition %d: %w", topic, partition, err)
	}
	return rows, nil
}

func positionIn(s *pebble.Snapshot, prefix string) (position, error) {
	value, closer, err := s.Get([]byte(prefix + string(kindOffset)))
	if err == pebble.ErrNotFound {
		return position{}, nil
	}
	if err != nil {
		return position{}, fmt.Errorf("reading an offset: %w", err)
	}
	defer closer.Close()
	p, err := decodePosition(value)
	if err != nil {
		return p, fmt.Errorf("reading an offset: %w", err)
	}
	return p, nil
}

package state

import (
	"cmp"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/lovoo/goka/storage"
)

// Iterator walks all rows in key order, as they are now: later writes do not
// show. It must be released, as DB.Close waits for it. For one goroutine.
func (t *Table) Iterator() (storage.Iterator, error) {
	return t.IteratorWithRange(nil, nil)
}

// IteratorWithRange is Iterator for the rows in [start, limit). An empty or nil
// bound is no bound on its side.
func (t *Table) IteratorWithRange(start, limit []byte) (storage.Iterator, error) {
	bounds := &pebble.IterOptions{LowerBound: t.rowKey(string(start)), UpperBound: after(t.prefix + string(kindRow))}
	if len(limit) > 0 {
		// Pebble does not take bounds that cross.
		bounds.UpperBound = t.rowKey(max(string(start), string(limit)))
	}
	if err := t.db.enter(); err != nil {
		return nil, t.fail("iterating", err)
	}

	// Both halves are taken under one lock, so that no flush moves a row from
	// one to the other in between.
	t.mu.RLock()
	defer t.mu.RUnlock()
	disk, err := t.db.pebble.NewIter(bounds)
	if err != nil {
		t.db.leave()
		return nil, t.fail("iterating", err)
	}
	var rows []write
	for key, seq := range t.latest {
		if key >= string(start) && (len(limit) == 0 || key < string(limit)) {
			rows = append(rows, t.log[seq-t.base])
		}
	}
	slices.SortFunc(rows, func(a, b write) int { return cmp.Compare(a.key, b.key) })
	return &iterator{table: t, rows: rows, disk: disk, skip: len(t.prefix) + 1}, nil
}

// iterator merges the buffered rows over those on disk.
type iterator struct {
	table *Table
	rows  []write // newest buffered write per key, in key order
	next  int     // in rows
	disk  *pebble.Iterator
	skip  int // length of a database key before the row key
	err   error

	begun  bool // the disk half is positioned
	sought bool // Seek found a row that nobody has looked at yet

	// Where the current row comes from; both when a buffered one hides one on
	// disk, none before the first row and after the last.
	fromRows, fromDisk bool
}

// Next moves to the next row. The first one after a Seek stays on the row that
// was found, unless that row was read already.
func (it *iterator) Next() bool {
	switch {
	case it.disk == nil:
		return false
	case it.sought:
		it.sought = false
		return true
	case !it.begun:
		it.begun = true
		it.disk.First()
	default:
		it.step()
	}
	return it.settle()
}

// Seek moves to the first row whose key is not below key. Goka's documents ask
// for a Next before that row is read, its merging iterator reads it at once and
// takes Next to leave it. Both work here: see Next.
func (it *iterator) Seek(key []byte) bool {
	if it.disk == nil {
		return false
	}
	it.begun = true
	it.next, _ = slices.BinarySearchFunc(it.rows, string(key), func(w write, k string) int { return cmp.Compare(w.key, k) })
	it.disk.SeekGE(it.table.rowKey(string(key)))
	it.sought = it.settle()
	return it.sought
}

// Key returns the key of the current row, nil when there is none. It is valid
// until the next move.
func (it *iterator) Key() []byte {
	it.sought = false
	switch {
	case it.fromRows:
		return []byte(it.rows[it.next].key)
	case it.fromDisk:
		return it.disk.Key()[it.skip:]
	}
	return nil
}

// Value returns the value of the current row, nil when there is none. It is
// valid until the next move.
func (it *iterator) Value() ([]byte, error) {
	it.sought = false
	switch {
	case it.fromRows:
		return it.rows[it.next].value, nil
	case it.fromDisk:
		value, err := it.disk.ValueAndErr()
		if err != nil {
			return nil, it.table.fail("iterating", err)
		}
		return value, nil
	}
	return nil, nil
}

// Err returns the error that ended the iteration early, if one did.
func (it *iterator) Err() error { return it.err }

// Release gives back what the iterator holds. Releasing again does nothing.
func (it *iterator) Release() {
	if it.disk == nil {
		return
	}
	_ = it.disk.Close() // its error was shown by Err
	it.table.db.leave()
	it.disk, it.rows, it.fromRows, it.fromDisk = nil, nil, false, false
}

// step leaves the current row in every half that has it.
func (it *iterator) step() {
	if it.fromRows {
		it.next++
	}
	if it.fromDisk {
		it.disk.Next()
	}
}

// settle makes the lowest row of both halves the current one and passes over
// deleted ones.
func (it *iterator) settle() bool {
	for {
		onRows, onDisk := it.next < len(it.rows), it.disk.Valid()
		if err := it.disk.Error(); err != nil {
			it.err = it.table.fail("iterating", err)
			onRows = false
		}
		it.fromRows, it.fromDisk = onRows, onDisk
		if onRows && onDisk {
			order := cmp.Compare(it.rows[it.next].key, string(it.disk.Key()[it.skip:]))
			it.fromRows, it.fromDisk = order <= 0, order >= 0
		}
		if !it.fromRows || !it.rows[it.next].deleted {
			return it.fromRows || it.fromDisk
		}
		it.step()
	}
}

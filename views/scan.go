package views

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"baedal/state"
)

// settled is how young a record is sure not to be compacted away for a newer one
// of its key: Kafka spares the newest segment of a partition, and one is full
// (segment.bytes, 1 GiB by default) or old (segment.ms, 7 days) sooner only by
// settings that are far off. With min.compaction.lag.ms it is certain.
const settled = 10 * time.Minute

// Scan calls fn with the rows of a group in the order of their Sort, then Key,
// until fn returns false: those after an entry, all after the zero Entry. A row
// that changes meanwhile is shown as it is then, and left out when it has left
// the group.
func (v *View[R]) Scan(index, group string, after Entry, fn func(at Entry, key string, row *R) bool) error {
	n, err := v.index(index)
	if err != nil {
		return err
	}
	parts, leave, err := v.enter()
	if err != nil {
		return err
	}
	defer leave()
	type source struct {
		*state.Entries
		p *partition
	}
	var from []source
	defer func() {
		for _, s := range from {
			s.Release()
		}
	}()
	for _, p := range parts {
		it, err := p.lists.Scan(n, group, after != Entry{}, after.Sort, after.Key)
		if err != nil {
			return fmt.Errorf("view %s, index %s: %w", v.name, index, err)
		}
		if from = append(from, source{it, p}); !it.Next() {
			if err := it.Err(); err != nil {
				return fmt.Errorf("view %s, index %s: %w", v.name, index, err)
			}
			it.Release()
			from = from[:len(from)-1]
		}
	}
	for len(from) > 0 {
		first := 0
		for i := range from[1:] {
			if a, b := from[i+1], from[first]; cmp.Or(cmp.Compare(a.Sort(), b.Sort()), cmp.Compare(a.Key(), b.Key())) < 0 {
				first = i + 1
			}
		}
		s := from[first]
		at := Entry{s.Sort(), s.Key()}
		row, err := v.row(s.p, at.Key)
		if err != nil {
			return err
		}
		if row != nil && v.in(n, group, at.Key, row) && !fn(at, at.Key, row) {
			return nil
		}
		if !s.Next() {
			if err := s.Err(); err != nil {
				return fmt.Errorf("view %s, index %s: %w", v.name, index, err)
			}
			s.Release()
			from = slices.Delete(from, first, first+1)
		}
	}
	return nil
}

// in reports whether a row is in a group.
func (v *View[R]) in(index int, group, key string, row *R) bool {
	return slices.ContainsFunc(v.indexes[index].Of(key, row), func(p Place) bool { return p.Group == group })
}

// Groups calls fn with the groups of an index that begin with prefix and hold a
// row, in their order, until fn returns false.
func (v *View[R]) Groups(index, prefix string, fn func(group string) bool) error {
	n, err := v.index(index)
	if err != nil {
		return err
	}
	parts, leave, err := v.enter()
	if err != nil {
		return err
	}
	defer leave()
	groups := map[string]bool{}
	for _, p := range parts {
		if err := p.lists.Groups(n, prefix, func(g string) bool {
			groups[g] = true
			return true
		}); err != nil {
			return fmt.Errorf("view %s, index %s: %w", v.name, index, err)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		if !fn(g) {
			break
		}
	}
	return nil
}

// Cursor returns how far the view has come: what Scan shows afterwards is at
// least as new. It is zero while the view is not ready.
func (v *View[R]) Cursor() Cursor {
	parts, err := v.partitions()
	if err != nil {
		return Cursor{}
	}
	c := Cursor{topic: v.topic.Load()}
	for _, p := range parts {
		f := p.freshness()
		if !f.recovered {
			return Cursor{}
		}
		c.offsets = append(c.offsets, f.applied)
	}
	return c
}

// Visible returns how far what was read before may go: a row shows shortly before
// Cursor counts its record.
func (v *View[R]) Visible() Cursor {
	parts, err := v.partitions()
	if err != nil {
		return Cursor{}
	}
	c := Cursor{topic: v.topic.Load()}
	for _, p := range parts {
		c.offsets = append(c.offsets, p.begun.Load())
	}
	return c
}

// Changes returns what changed in a group since a cursor, oldest first, each
// row once, and the cursor after it. ErrGap: history does not reach back to it,
// read the whole state. Where the cursor is ahead of this view, as one of
// another instance may be, nothing has changed until this one has caught up.
func (v *View[R]) Changes(index, group string, since Cursor) ([]Change[R], Cursor, error) {
	n, err := v.index(index)
	if err != nil {
		return nil, since, err
	}
	if !v.indexes[n].Feed {
		return nil, since, fmt.Errorf("view %s: index %s keeps no feed", v.name, index)
	}
	parts, leave, err := v.enter()
	if err != nil {
		return nil, since, err
	}
	defer leave()
	if since.topic != v.topic.Load() || len(since.offsets) != len(parts) {
		return nil, since, ErrGap
	}
	type change struct {
		Change[R]
		at, offset int64
		partition  int
	}
	var found []change
	next := Cursor{since.topic, slices.Clone(since.offsets)}
	for i, p := range parts {
		applied := p.freshness().applied
		if since.offsets[i] >= applied {
			continue
		}
		next.offsets[i] = applied
		all, err := p.lists.Changes(n, group, since.offsets[i], applied)
		var here []change
		for _, c := range all {
			row, err := v.row(p, c.Key)
			if err != nil {
				return nil, since, err
			}
			in := row != nil && v.in(n, group, c.Key, row)
			here = append(here, change{Change[R]{Key: c.Key, Row: row, In: in}, c.At, c.Offset, i})
		}
		if err == nil && len(here) > 0 && p.begun.Load() > applied {
			// A record that came in between may be in these rows already. Then the row has
			// changed at a later offset, and is shown with that.
			all, err = p.lists.Changes(n, group, since.offsets[i], math.MaxInt64)
			at := make(map[string]int64, len(all))
			for _, c := range all {
				at[c.Key] = c.Offset
			}
			here = slices.DeleteFunc(here, func(c change) bool { return at[c.Key] != c.offset })
		}
		if errors.Is(err, state.ErrGap) {
			return nil, since, ErrGap
		}
		if err != nil {
			return nil, since, fmt.Errorf("view %s, index %s: %w", v.name, index, err)
		}
		for j := 1; j < len(here); j++ { // clocks may go back, offsets don't
			here[j].at = max(here[j].at, here[j-1].at)
		}
		found = append(found, here...)
	}
	slices.SortFunc(found, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	out := make([]Change[R], len(found))
	at := since.offsets
	for i, c := range found {
		at = slices.Clone(at)
		at[c.partition] = c.offset
		out[i], out[i].At = c.Change, Cursor{since.topic, at}
	}
	return out, next, nil
}

// Watch returns a channel that wakes when something in a group of a feed
// changes, until stop is called. It holds one wake-up, so that none is lost
// between two looks.
func (v *View[R]) Watch(index, group string) (woken <-chan struct{}, stop func()) {
	n, err := v.index(index)
	if err != nil {
		n = -1 // never wakes; to read the index is an error
	}
	return v.groups.add(groupName{n, group})
}

// WatchKey is Watch for one row.
func (v *View[R]) WatchKey(key string) (woken <-chan struct{}, stop func()) {
	return v.waiters.add(key)
}

// enter keeps all partitions readable until leave.
func (v *View[R]) enter() (parts []*partition, leave func(), err error) {
	parts, err = v.partitions()
	if err != nil {
		return nil, nil, err
	}
	for i, p := range parts {
		entered := p.enter()
		if entered && p.lists != nil {
			continue
		}
		if entered {
			p.leave()
			err = fmt.Errorf("view %s: its storage keeps no indexes", v.name)
		} else {
			err = v.notReady()
		}
		for _, q := range parts[:i] {
			q.leave()
		}
		return nil, nil, err
	}
	return parts, func() {
		for _, p := range parts {
			p.leave()
		}
	}, nil
}

func (v *View[R]) index(name string) (int, error) {
	for i := range v.indexes {
		if v.indexes[i].Name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("view %s has no index %q", v.name, name)
}

// stateIndexes returns what the storage of a partition is to keep, or nil.
func (v *View[R]) stateIndexes(p *partition) *state.Indexes {
	if len(v.indexes) == 0 {
		return nil
	}
	ix := &state.Indexes{
		Settled: settled,
		Touched: func(index int, group string) { p.touched = append(p.touched, groupName{index, group}) },
		Built: func(why string, rows int) {
			v.log.Info("indexes of a view were built from its rows", "because", why, "rows", rows)
		},
		Of: func(key string, value []byte) []state.Place {
			at := p.places[:0]
			var row *R
			var err error
			if v.brief != nil && !p.hot {
				row, err = v.brief(key, value)
			} else if row, err = v.decode(key, value); err == nil {
				p.decoded = row
			}
			if err != nil {
				return nil // Get says what is wrong with it
			}
			for i := range v.indexes {
				for _, place := range v.indexes[i].Of(key, row) {
					p := state.Place{Index: i, Group: place.Group, Sort: place.Sort}
					if mark := v.indexes[i].Mark; mark != nil && v.indexes[i].Feed {
						p.Mark = mark(row)
					}
					at = append(at, p)
				}
			}
			p.places = at
			return at
		},
	}
	for _, i := range v.indexes {
		ix.Version += strconv.FormatBool(i.Mark != nil) + i.Name + "\x00" + strconv.Itoa(i.Version) + "\x00" + strconv.FormatBool(i.Feed) + "\x00"
		ix.Feeds = append(ix.Feeds, i.Feed)
	}
	return ix
}

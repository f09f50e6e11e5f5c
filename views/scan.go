package views

import (
	"cmp"
	"fmt"
	"slices"
)

// Scan calls fn with the rows of a group in the order of their Sort, then Key,
// until fn returns false: those after an entry, all after the zero Entry. A row
// that changes meanwhile is shown as it is then, or left out when it has left
// the group.
func (v *View[R]) Scan(index, group string, after Entry, fn func(at Entry, key string, row *R) bool) error {
	ix, err := v.index(index)
	if err != nil {
		return err
	}
	type found struct {
		at  Entry
		row *R
	}
	var rows []found
	if err := v.Each("", func(key string, row *R) bool {
		for _, p := range ix.Of(key, row) {
			at := Entry{p.Sort, key}
			if p.Group == group && (after == Entry{} || at.compare(after) > 0) {
				rows = append(rows, found{at, row})
			}
		}
		return true
	}); err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b found) int { return a.at.compare(b.at) })
	for _, r := range rows {
		if !fn(r.at, r.at.Key, r.row) {
			break
		}
	}
	return nil
}

func (e Entry) compare(f Entry) int {
	return cmp.Or(cmp.Compare(e.Sort, f.Sort), cmp.Compare(e.Key, f.Key))
}

// Groups calls fn with the groups of an index that begin with prefix and hold a
// row, in their order, until fn returns false.
func (v *View[R]) Groups(index, prefix string, fn func(group string) bool) error {
	ix, err := v.index(index)
	if err != nil {
		return err
	}
	groups := map[string]bool{}
	if err := v.Each("", func(key string, row *R) bool {
		for _, p := range ix.Of(key, row) {
			if len(p.Group) >= len(prefix) && p.Group[:len(prefix)] == prefix {
				groups[p.Group] = true
			}
		}
		return true
	}); err != nil {
		return err
	}
	var sorted []string
	for g := range groups {
		sorted = append(sorted, g)
	}
	slices.Sort(sorted)
	for _, g := range sorted {
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
	c := Cursor{topic: v.topicHash()}
	for _, p := range parts {
		c.offsets = append(c.offsets, p.freshness().applied)
	}
	return c
}

func (v *View[R]) topicHash() uint64 {
	if v.opts.Incarnation == nil {
		return topicHash("")
	}
	id, _ := v.opts.Incarnation(v.table.Name())
	return topicHash(id)
}

// Changes returns what changed in a group since a cursor, oldest first, each
// row once, and the cursor after it. ErrGap: history does not reach back to it,
// read the whole state. A cursor of an instance that is ahead of this one comes
// back as it is until this one has caught up.
func (v *View[R]) Changes(index, group string, since Cursor) ([]Change[R], Cursor, error) {
	if _, err := v.index(index); err != nil {
		return nil, since, err
	}
	now := v.Cursor()
	if now.IsZero() {
		return nil, since, v.notReady()
	}
	if now.Equal(since) {
		return nil, since, nil
	}
	return nil, since, ErrGap
}

// Watch returns a channel that wakes when something in a group changes, until
// stop is called. It holds one wake-up, so that none is lost between two looks.
func (v *View[R]) Watch(index, group string) (woken <-chan struct{}, stop func()) {
	return v.groups.add(index + "\x00" + group)
}

// WatchKey is Watch for one row.
func (v *View[R]) WatchKey(key string) (woken <-chan struct{}, stop func()) {
	return v.waiters.add(key)
}

func (v *View[R]) index(name string) (*Index[R], error) {
	for i := range v.indexes {
		if v.indexes[i].Name == name {
			return &v.indexes[i], nil
		}
	}
	return nil, fmt.Errorf("view %s has no index %q", v.name, name)
}

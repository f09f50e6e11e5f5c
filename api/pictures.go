package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"baedal/codecs"
)

// An area is one row that changes as a whole, while its streams tell of single
// deliveries and riders. So what there is of an area is taken as a picture,
// which all of its streams share, and a stream tells how a picture differs from
// the one that it told last.

// item is a thing in a picture.
type item struct {
	event, id string
	data      []byte
}

func addItem(items []*item, event, id string, answer any) ([]*item, error) {
	data, err := codecs.Marshal(answer)
	return append(items, &item{event, id, data}), err
}

func (i *item) compare(j *item) int {
	return cmp.Or(cmp.Compare(i.event, j.event), cmp.Compare(i.id, j.id))
}

// picture is all that there is of an area at a time. It never changes.
type picture struct {
	items []*item // in order
	tag   string  // the same for the same picture, at any instance
	// partial: views that are joined lag behind, so another is to be taken soon.
	partial bool
}

// newPicture returns a picture that shares with the one before what is the same.
func newPicture(items []*item, partial bool, before *picture) *picture {
	slices.SortFunc(items, (*item).compare)
	sum := sha256.New()
	i := 0
	for k, it := range items {
		_, _ = fmt.Fprintf(sum, "%s %q %d\n%s\n", it.event, it.id, len(it.data), it.data)
		for ; before != nil && i < len(before.items) && before.items[i].compare(it) < 0; i++ {
		}
		if before != nil && i < len(before.items) && before.items[i].compare(it) == 0 && bytes.Equal(before.items[i].data, it.data) {
			items[k] = before.items[i]
		}
	}
	return &picture{items, hex.EncodeToString(sum.Sum(nil)[:8]), partial}
}

// differs tells what is gone since another picture, then what is new or changed.
// The place comes with the last event: who leaves before it hears all of it again.
func (p *picture) differs(was *picture, tell tell) error {
	if p == was {
		return nil
	}
	var changed, left []*item
	i := 0
	for _, it := range p.items {
		for ; i < len(was.items) && was.items[i].compare(it) < 0; i++ {
			left = append(left, was.items[i])
		}
		if i < len(was.items) && was.items[i].compare(it) == 0 {
			old := was.items[i]
			i++
			if old == it || bytes.Equal(old.data, it.data) {
				continue
			}
		}
		changed = append(changed, it)
	}
	left = append(left, was.items[i:]...)
	at := func(more int) string {
		if more > 0 {
			return ""
		}
		return p.tag
	}
	for k, it := range left {
		if err := tellJSON(tell, goneEvent, goneFrom{it.id, it.event}, at(len(changed)+len(left)-k-1)); err != nil {
			return err
		}
	}
	for k, it := range changed {
		if err := tell(it.event, it.data, at(len(changed)-k-1)); err != nil {
			return err
		}
	}
	return nil
}

const (
	// history is how many pictures of an area are kept, so that who was away for a
	// moment is told what changed and not the whole.
	history = 32
	// keptAreas is how many areas that nobody watches keep theirs.
	keptAreas = 64
)

// areas are the pictures of areas.
type areas struct {
	mu   sync.Mutex
	byID map[string]*area
}

// area is the pictures of one area.
type area struct {
	id    string
	users int // guarded by areas.mu

	mu    sync.Mutex
	taken time.Time  // the newest one shows at least what was there then
	past  []*picture // oldest first
}

// enter returns an area's pictures, which stay until leave.
func (as *areas) enter(id string) *area {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.byID[id]
	if a == nil {
		if as.byID == nil {
			as.byID = map[string]*area{}
		}
		idle := 0
		for id, other := range as.byID { // in no order: any of those that nobody watches
			if other.users > 0 {
				continue
			}
			if idle++; idle >= keptAreas {
				delete(as.byID, id)
			}
		}
		a = &area{id: id}
		as.byID[id] = a
	}
	a.users++
	return a
}

func (as *areas) leave(a *area) {
	as.mu.Lock()
	defer as.mu.Unlock()
	a.users--
}

// now returns a picture of what there is at the time of the call or later. All who
// ask while one is being taken share the next.
func (a *area) now(items func(id string) ([]*item, bool, error)) (*picture, error) {
	asked := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var before *picture
	if len(a.past) > 0 {
		before = a.past[len(a.past)-1]
		if a.taken.After(asked) {
			return before, nil
		}
	}
	began := time.Now()
	now, partial, err := items(a.id)
	if err != nil {
		return nil, err
	}
	p := newPicture(now, partial, before)
	a.taken = began
	if before != nil && before.tag == p.tag {
		return before, nil
	}
	if len(a.past) == history {
		copy(a.past, a.past[1:])
		a.past = a.past[:history-1]
	}
	a.past = append(a.past, p)
	return p, nil
}

// told returns the picture of a tag, or nil when it is not known any more.
func (a *area) told(tag string) *picture {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range slices.Backward(a.past) {
		if p.tag == tag {
			return p
		}
	}
	return nil
}

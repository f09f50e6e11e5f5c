package deadletters

import (
	"context"
	"errors"
	"time"

	"baedal/topics"
)

// Office reads and puts back the dead letters of an installation for people who
// ask now and then: each call looks at all of them. One call works at a time, and
// others wait for it. It is safe for concurrent use.
type Office struct {
	catalog *topics.Catalog
	brokers []string
	turn    chan struct{}
}

// NewOffice returns the office of an installation.
func NewOffice(catalog *topics.Catalog, brokers []string) *Office {
	return &Office{catalog: catalog, brokers: brokers, turn: make(chan struct{}, 1)}
}

func (o *Office) enter(ctx context.Context) (leave func(), err error) {
	select {
	case o.turn <- struct{}{}:
		return func() { <-o.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Before is where a page of letters ends: the offset in each partition that those
// of the next page are below. nil is the first page.
type Before map[int32]int64

// Page returns the newest letters before some place that are wanted, newest first,
// without their values and headers, and where the next page goes on: nil when there
// is none.
func (o *Office) Page(ctx context.Context, only []string, before Before, limit int) ([]*Letter, Before, error) {
	want, err := ParseFilter(only, o.catalog.Prefix, time.Now())
	if err != nil {
		return nil, nil, err
	}
	leave, err := o.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	box, err := Open(ctx, o.catalog, o.brokers)
	if err != nil {
		return nil, nil, err
	}
	return box.page(ctx, want, before, limit)
}

func (b *Box) page(ctx context.Context, want Filter, before Before, limit int) ([]*Letter, Before, error) {
	next := Before{}
	for p, s := range b.span {
		next[p] = s.end
		if before != nil { // what was empty when the first page was read stays so
			s.end = min(s.end, before[p])
			next[p] = s.end
			if b.span[p] = s; s.from >= s.end {
				delete(b.span, p)
			}
		}
	}
	oldestFirst, err := b.Newest(ctx, want, limit+1)
	if err != nil {
		return nil, nil, err
	}
	more := len(oldestFirst) > limit
	letters := make([]*Letter, 0, limit)
	for i := len(oldestFirst) - 1; i >= 0 && len(letters) < limit; i-- {
		l := oldestFirst[i]
		letters = append(letters, l)
		next[l.ID.Partition] = l.ID.Offset
	}
	if !more {
		next = nil
	}
	return letters, next, nil
}

// ErrNoLetter means that there is no such dead letter, or none any more.
var ErrNoLetter = errors.New("there is no such dead letter")

// Replay puts the message of one letter back, and says what became of it.
func (o *Office) Replay(ctx context.Context, id ID) (out Outcome, err error) {
	leave, err := o.enter(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	found := false
	err = Replay(ctx, o.catalog, o.brokers, ReplayOptions{Only: Only(id)}, func(one Outcome) { out, found = one, true })
	switch {
	case found && errors.Is(err, ErrRefused): // the outcome says why
		return out, nil
	case err != nil:
		return out, err
	case !found:
		return out, ErrNoLetter
	}
	return out, nil
}

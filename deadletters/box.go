package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/unpack"
	"baedal/topics"
)

// stuck is how long reading waits for the next record before it gives up. Somebody's open
// transaction hides what is behind it, for some 20 s if he is dead.
const stuck = 30 * time.Second

// Box is the dead letters of an installation as they were when it was opened:
// reading it comes to an end while the engine goes on burying.
type Box struct {
	topic    string
	brokers  []string
	span     map[int32]span
	replayed map[Source]time.Time
}

// span is the offsets of a partition: from is in it, end is not.
type span struct{ from, end int64 }

// Open looks up what there is, and which of it was put back before.
func Open(ctx context.Context, catalog *topics.Catalog, brokers []string) (*Box, error) {
	b := &Box{topic: catalog.DeadLetters.Name(), brokers: brokers, span: map[int32]span{}, replayed: map[Source]time.Time{}}
	if err := b.look(ctx); err != nil {
		return nil, err
	}
	return b, b.scan(ctx, func(r *kgo.Record) error {
		if s, ok := marked(r); ok {
			b.replayed[s] = r.Timestamp
		}
		return nil
	})
}

func (b *Box) look(ctx context.Context) error {
	cl, err := dial(b.brokers)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	oldest, err := adm.ListStartOffsets(ctx, b.topic)
	if err == nil {
		err = oldest.Error()
	}
	if err != nil {
		return b.noTopic(err)
	}
	// The end of all, not of what is committed: a mark that is hidden behind
	// somebody's open transaction must be waited for, or its letter goes back twice.
	newest, err := adm.ListEndOffsets(ctx, b.topic)
	if err == nil {
		err = newest.Error()
	}
	if err != nil {
		return b.noTopic(err)
	}
	oldest.Each(func(o kadm.ListedOffset) {
		end, _ := newest.Lookup(b.topic, o.Partition)
		if o.Offset < end.Offset {
			b.span[o.Partition] = span{o.Offset, end.Offset}
		}
	})
	return nil
}

func (b *Box) noTopic(err error) error {
	return fmt.Errorf("topic %s can't be read at %s: %w: check --brokers and --prefix", b.topic, strings.Join(b.brokers, ","), err)
}

func dial(brokers []string, opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.ClientID("baedal"),
		kgo.RetryTimeout(stuck), kgo.UnknownTopicRetries(2)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("--brokers %s: %w", strings.Join(brokers, ","), err)
	}
	return cl, nil
}

// scan reads every committed record of the box, those of a partition in their
// order.
func (b *Box) scan(ctx context.Context, each func(*kgo.Record) error) error {
	left := map[int32]int64{} // the next offset
	at := map[int32]kgo.Offset{}
	for p, s := range b.span {
		left[p], at[p] = s.from, kgo.NewOffset().At(s.from)
	}
	if len(left) == 0 {
		return nil
	}
	// With control records, as the last record may be one: a partition is read to its
	// end when anything at or behind its last offset was seen.
	cl, err := dial(b.brokers, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{b.topic: at}), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond), kgo.WithDecompressor(unpack.Bounded()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		waiting, cancel := context.WithTimeout(ctx, stuck)
		fetches := cl.PollFetches(waiting)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetches.Err(); errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("topic %s, partition offset: %v: nothing more can be read for %s: is a transaction open there? Try again", b.topic, left, stuck)
		} else if err != nil {
			return b.noTopic(err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if _, ok := left[r.Partition]; !ok {
				continue
			}
			if r.Offset < b.span[r.Partition].end && !r.Attrs.IsControl() {
				if err := each(r); err != nil {
					return err
				}
			}
			left[r.Partition] = r.Offset + 1
			if left[r.Partition] >= b.span[r.Partition].end {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

// Each calls f with every letter that the filter wants, those of a partition in their order.
func (b *Box) Each(ctx context.Context, want Filter, f func(*Letter) error) error {
	return b.scan(ctx, func(r *kgo.Record) error {
		if _, ok := marked(r); ok {
			return nil
		}
		l := read(r)
		if !want.Match(l) {
			return nil
		}
		if l.Broken == nil {
			l.Replayed = b.replayed[l.From]
		}
		return f(l)
	})
}

// Newest returns the newest letters that the filter wants, oldest first, at most limit of them
// (0: all), without their values and headers.
func (b *Box) Newest(ctx context.Context, want Filter, limit int) ([]*Letter, error) {
	tails := map[int32][]*Letter{}
	err := b.Each(ctx, want, func(l *Letter) error {
		l.Value, l.Headers, l.Stack = nil, nil, ""
		tail := append(tails[l.ID.Partition], l)
		if limit > 0 && len(tail) > limit {
			tail = tail[1:]
		}
		tails[l.ID.Partition] = tail
		return nil
	})
	if err != nil {
		return nil, err
	}
	// By time over all partitions, and by offset in each one, whatever the clocks say.
	type timed struct {
		*Letter
		at time.Time
	}
	var all []timed
	for _, tail := range tails {
		var at time.Time
		for _, l := range tail {
			if l.At.After(at) {
				at = l.At
			}
			all = append(all, timed{l, at})
		}
	}
	slices.SortFunc(all, func(x, y timed) int {
		return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.ID.Partition, y.ID.Partition), cmp.Compare(x.ID.Offset, y.ID.Offset))
	})
	if limit > 0 && len(all) > limit {
		all = all[len(all)-limit:]
	}
	letters := make([]*Letter, len(all))
	for i, t := range all {
		letters[i] = t.Letter
	}
	return letters, nil
}

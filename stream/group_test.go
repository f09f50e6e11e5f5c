package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/tester"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/stream"
	"baedal/topics"
)

// hit is the message that the counting group counts.
type hit struct {
	ID  string          `json:"id,omitempty"`
	For string          `json:"for,omitempty"` // may repeat the key
	Do  string          `json:"do,omitempty"`  // what goes wrong, or else
	Say string          `json:"say,omitempty"` // in a panic
	Seq int             `json:"seq,omitzero"`
	Due domain.Duration `json:"due,omitzero"` // wake up after this
}

func (h *hit) Names() string { return h.For }

// count is the row of a key: how many hits it got.
type count struct {
	N    int        `json:"n"`
	Seqs []int      `json:"seqs,omitempty"`
	From []string   `json:"from,omitempty"` // coordinates
	Due  *time.Time `json:"due,omitempty"`
	Rang int        `json:"rang,omitzero"`
	Much string     `json:"much,omitempty"`
}

type total struct {
	N    int    `json:"n"`
	Much string `json:"much,omitempty"`
}

// catalog is the streams of the counting group.
type catalog struct {
	hits        topics.Stream[hit]
	totals      topics.Stream[total]
	loop        topics.Stream[hit]
	table       topics.Table[count]
	deadLetters topics.DeadLetters
}

const partitions = 4

func newCatalog(prefix string) catalog {
	spec := func(name, cleanup string) topics.Spec {
		return topics.Spec{Topic: prefix + name, Partitions: partitions, Cleanup: cleanup, Retention: time.Hour}
	}
	return catalog{
		hits:        topics.Stream[hit]{Spec: spec("hits", topics.Delete)},
		totals:      topics.Stream[total]{Spec: spec("totals", topics.Delete)},
		loop:        topics.Stream[hit]{Spec: spec("counts-loop", topics.Delete)},
		table:       topics.Table[count]{Spec: spec("counts-table", topics.Compact)},
		deadLetters: topics.DeadLetters{Spec: spec("dead-letters", topics.Delete)},
	}
}

func (c catalog) specs() []topics.Spec {
	return []topics.Spec{c.hits.Spec, c.totals.Spec, c.loop.Spec, c.table.Spec, c.deadLetters.Spec}
}

// group counts hits by key and sends the new total. See is called with each hit that is counted.
func (c catalog) group(prefix string, see func(partition int32)) stream.Group[count] {
	return stream.Group[count]{
		Name:  prefix + "counts",
		Table: c.table,
		Inputs: []stream.Input[count]{
			stream.From(c.hits, func(x *stream.Context[count], h *hit) { c.hit(x, h, see) }),
			stream.FromLoop(c.loop, func(x *stream.Context[count], h *hit) {
				row := x.Row()
				if row == nil {
					row = &count{}
				}
				row.Rang++
				row.Due = nil
				x.Save(row)
			}),
		},
		Outputs:     []stream.Sink{c.totals},
		DeadLetters: c.deadLetters,
		MaxAge:      time.Hour,
		Timer: stream.Wake(c.loop, 1, func(r *count) (time.Time, string, bool) {
			if r.Due == nil {
				return time.Time{}, "", false
			}
			return *r.Due, "wake", true
		}, func(_ context.Context, id string) (*hit, error) { return &hit{ID: id}, nil }),
	}
}

func (c catalog) hit(x *stream.Context[count], h *hit, see func(partition int32)) {
	row := x.Row()
	if row == nil {
		row = &count{}
	}
	row.N++
	row.Seqs = append(row.Seqs, h.Seq)
	row.From = append(row.From, x.Coordinates())
	if h.Due != 0 {
		due := x.Now().Add(time.Duration(h.Due))
		row.Due = &due
	}
	if see != nil {
		see(x.Partition())
	}
	stream.Send(x, c.totals, x.Key(), &total{N: row.N})
	switch h.Do {
	case "delete":
		x.Save(row)
		x.Delete()
	case "delete and save":
		x.Delete()
		x.Save(row)
	case "loop":
		stream.Loop(x, c.loop, "another", &hit{ID: "l"})
	case "only look":
		return
	case "say much":
		stream.Send(x, c.totals, x.Key(), &total{Much: strings.Repeat("x", stream.MaxRecord)})
	case "say under a long key":
		stream.Send(x, c.totals, strings.Repeat("x", stream.MaxKey+1), &total{})
	case "keep much":
		row.Much = strings.Repeat("x", stream.MaxRecord)
		x.Save(row)
	default:
		x.Save(row)
	}
	switch h.Do { // after all was said: none of it may be seen
	case "panic":
		panic("told to")
	case "panic with this":
		panic(h.Say)
	case "panic with an error":
		panic(fmt.Errorf("wrapped: %w", errors.New("told to")))
	case "reject":
		x.Reject(errors.New("not for us"))
	case "save nil":
		x.Save(nil)
	case "nil map":
		nilMap()["x"] = 1
	}
}

// nilMap can't be written to.
func nilMap() map[string]int { return nil }

// fixture is the counting group on goka's tester.
type fixture struct {
	catalog
	t      *testing.T
	tester *tester.Tester
	clock  time.Time
	sent   map[string]*tester.QueueTracker
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{catalog: newCatalog("t."), t: t, tester: tester.New(t), clock: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), sent: map[string]*tester.QueueTracker{}}
	p, err := stream.NewTestProcessor(f.tester, stream.Config{Partitions: 1, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return f.clock }}, f.group("t.", nil))
	require.NoError(t, err)
	for _, s := range []string{f.totals.Name(), f.loop.Name(), f.deadLetters.Name()} {
		f.sent[s] = f.tester.NewQueueTracker(s)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })
	return f
}

func (f *fixture) row(key string) *count {
	if v := f.tester.TableValue(goka.Table(f.table.Name()), key); v != nil {
		return v.(*count)
	}
	return nil
}

// next returns the next record on a topic, or fails.
func (f *fixture) next(topic string) (goka.Headers, string, string) {
	f.t.Helper()
	h, key, value, ok := f.sent[topic].NextRawWithHeaders()
	require.True(f.t, ok, "nothing on %s", topic)
	return h, key, string(value)
}

func (f *fixture) nothingSent() {
	f.t.Helper()
	for topic, s := range f.sent {
		_, _, value, ok := s.NextRawWithHeaders()
		require.False(f.t, ok, "%s: %s", topic, value)
	}
}

func TestGroup_Handles(t *testing.T) {
	f := newFixture(t)
	for n := 1; n <= 3; n++ {
		f.tester.Consume(f.hits.Name(), "k", &hit{Seq: n}, tester.WithHeaders(goka.Headers{"traceparent": []byte("00-a-b-01"), "other": []byte("x")}))
		h, key, value := f.next(f.totals.Name())
		require.Equal(t, "k", key)
		require.Equal(t, fmt.Sprintf(`{"n":%d}`, n), value)
		require.Equal(t, goka.Headers{"traceparent": []byte("00-a-b-01")}, h, "only the trace is passed on")
	}
	require.Equal(t, &count{N: 3, Seqs: []int{1, 2, 3}, From: []string{"t.hits/0/0", "t.hits/0/1", "t.hits/0/2"}}, f.row("k"))
	f.nothingSent()

	f.tester.Consume(f.hits.Name(), "k", &hit{}, tester.WithHeaders(goka.Headers{stream.HeaderOrigin: []byte("t.hits/3/99")}))
	require.Equal(t, "t.hits/3/99", f.row("k").From[3], "a forwarded record is named by where it was written first")
}

func TestGroup_RowAndLoop(t *testing.T) {
	f := newFixture(t)
	f.tester.Consume(f.hits.Name(), "k", &hit{Do: "only look"})
	require.Nil(t, f.row("k"), "changed in place but not saved")
	f.tester.Consume(f.hits.Name(), "k", &hit{})
	f.tester.Consume(f.hits.Name(), "k", &hit{Do: "delete"})
	require.Nil(t, f.row("k"))
	f.tester.Consume(f.hits.Name(), "k", &hit{Do: "delete and save"})
	require.Equal(t, 1, f.row("k").N, "the last one called counts")
	f.tester.Consume(f.hits.Name(), "k", &hit{Do: "loop"})
	_, key, value := f.next(f.loop.Name())
	require.Equal(t, []string{"another", `{"id":"l"}`}, []string{key, value})
	require.Equal(t, 1, f.row("another").Rang)
}

// A handler that panics after it has said everything has said nothing.
func TestGroup_Panics(t *testing.T) {
	f := newFixture(t)
	f.tester.Consume(f.hits.Name(), "k", &hit{Seq: 1})
	f.next(f.totals.Name())
	before := f.row("k")
	for do, problem := range map[string]string{
		"panic":               "panic: told to",
		"panic with an error": "panic: wrapped: told to",
		"save nil":            `panic: nil was saved as the row of "k"`,
		"nil map":             "panic: assignment to entry in nil map",
		"reject":              "not for us",
	} {
		f.tester.Consume(f.hits.Name(), "k", &hit{Do: do})
		h, key, value := f.next(f.deadLetters.Name())
		require.Equal(t, "k", key)
		require.Equal(t, fmt.Sprintf(`{"do":%q}`, do), value)
		require.Equal(t, problem, string(h[stream.HeaderError]))
		require.Equal(t, do != "reject", strings.Contains(string(h[stream.HeaderStack]), "catalog.hit"), do)
		require.Equal(t, before, f.row("k"), do)
		f.nothingSent()
	}
	f.tester.Consume(f.hits.Name(), "k", &hit{Seq: 2})
	require.Equal(t, []int{1, 2}, f.row("k").Seqs)
}

func TestGroup_Stale(t *testing.T) {
	f := newFixture(t)
	f.tester.Consume(f.hits.Name(), "k", &hit{}, tester.WithTime(f.clock.Add(-time.Hour)))
	require.Equal(t, 1, f.row("k").N)
	f.tester.Consume(f.hits.Name(), "k", &hit{}, tester.WithTime(f.clock.Add(-time.Hour-time.Millisecond)))
	require.Equal(t, 1, f.row("k").N)
	h, _, _ := f.next(f.deadLetters.Name())
	require.Contains(t, string(h[stream.HeaderError]), "stale")
	f.tester.Consume(f.hits.Name(), "k", &hit{}, tester.WithTime(f.clock.Add(time.Hour)))
	require.Equal(t, 2, f.row("k").N, "a clock that is ahead is fine")
}

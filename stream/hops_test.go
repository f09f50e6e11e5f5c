package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/tester"
	"github.com/stretchr/testify/require"

	"baedal/stream"
	"baedal/topics"
)

// A client may repeat itself as often as it likes: each time it begins anew.
func TestHops_Repeats(t *testing.T) {
	f := newFixture(t)
	for range 10_000 {
		f.tester.Consume(f.hits.Name(), "k", &hit{ID: "same", Do: "only look"})
	}
	h, _, _ := f.next(f.totals.Name())
	require.Equal(t, goka.Headers{stream.HeaderHops: []byte("1")}, h, "nothing was saved")
	_, _, _, buried := f.sent[f.deadLetters.Name()].NextRawWithHeaders()
	require.False(t, buried)
}

func TestHops_Counted(t *testing.T) {
	with := func(hops string) tester.EmitOption {
		return tester.WithHeaders(goka.Headers{stream.HeaderHops: []byte(hops)})
	}
	for in, out := range map[string]string{"": "1", "0": "1", "7": "8", "15": "16", "-3": "1", "x": "1", "99999999999999999999": "1", strings.Repeat("9", 1000): "1"} {
		t.Run(in[:min(len(in), 25)], func(t *testing.T) {
			f := newFixture(t)
			f.tester.Consume(f.hits.Name(), "k", &hit{Do: "only look"}, with(in))
			h, _, _ := f.next(f.totals.Name())
			require.Equal(t, out, string(h[stream.HeaderHops]))
			f.tester.Consume(f.hits.Name(), "k", &hit{}, with(in))
			h, _, _ = f.next(f.totals.Name())
			require.NotContains(t, h, stream.HeaderHops, "a row that changes begins anew")
			f.tester.Consume(f.hits.Name(), "k", &hit{Do: "delete"}, with(in))
			h, _, _ = f.next(f.totals.Name())
			require.NotContains(t, h, stream.HeaderHops)
			f.nothingSent()
		})
	}
	f := newFixture(t)
	f.tester.Consume(f.hits.Name(), "k", &hit{}, with("16"))
	h, key, value := f.next(f.deadLetters.Name())
	require.Equal(t, []string{"k", "{}"}, []string{key, value})
	require.Contains(t, string(h[stream.HeaderError]), "16 messages led to this one")
	require.Nil(t, f.row("k"))
}

// Two groups that answer each other and change no row: it ends, with one dead
// letter and one line, and the key goes on.
func TestHops_Circle(t *testing.T) {
	spec := func(name string) topics.Spec {
		return topics.Spec{Topic: name, Partitions: 1, Cleanup: topics.Delete}
	}
	ping, pong := topics.Stream[hit]{Spec: spec("ping")}, topics.Stream[hit]{Spec: spec("pong")}
	dead := topics.DeadLetters{Spec: spec("dead-letters")}
	tt := tester.New(t)
	var log bytes.Buffer
	cfg := stream.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	answer := func(name string, in, out topics.Stream[hit]) stream.Definition {
		return stream.Group[count]{Name: name, Inputs: []stream.Input[count]{
			stream.From(in, func(c *stream.Context[count], h *hit) { stream.Send(c, out, c.Key(), h) })},
			Outputs: []stream.Sink{out}, DeadLetters: dead}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for _, g := range []stream.Definition{answer("one", ping, pong), answer("two", pong, ping)} {
		p, err := stream.NewTestProcessor(tt, cfg, g)
		require.NoError(t, err)
		go func() { done <- p.Run(ctx) }()
	}
	t.Cleanup(func() { stop(); require.NoError(t, <-done); require.NoError(t, <-done) })
	sent := map[string]*tester.QueueTracker{}
	for _, s := range []string{"ping", "pong", "dead-letters"} {
		sent[s] = tt.NewQueueTracker(s)
	}
	n := func(topic string) (n int) {
		for {
			if _, _, _, ok := sent[topic].NextRawWithHeaders(); !ok {
				return n
			}
			n++
		}
	}
	for i := range 3 {
		tt.Consume("ping", "k", &hit{ID: fmt.Sprint(i)})
		require.Equal(t, stream.MaxHops+1, n("ping")+n("pong"), "the first one, and 16 that it led to")
		require.Equal(t, 1, n("dead-letters"))
	}
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
}

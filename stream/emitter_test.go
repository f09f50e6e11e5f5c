package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
	"baedal/stream"
)

// lines is a log to count the lines of.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) containing(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.SplitSeq(l.b.String(), "\n") {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// The brokers are away, in two ways, and come back. Whoever sends is told within
// the limit, at once when it is known, and the truth.
func TestEmitter_BrokersAway(t *testing.T) {
	for name, shut := range map[string]func(*kafkatest.Gate){"Stopped": (*kafkatest.Gate).Freeze, "Refusing": (*kafkatest.Gate).Cut} {
		t.Run(name, func(t *testing.T) {
			b, gate := kafkatest.Gated(t)
			w := newWorld(t, b)
			log := &lines{}
			cfg := w.config()
			cfg.Logger = log.logger()
			e, err := stream.NewEmitter(cfg)
			require.NoError(t, err)
			defer e.Close()

			var mu sync.Mutex
			acked, dropped, unknown := map[int]bool{}, map[int]bool{}, map[int]bool{}
			send := func(seq int, limit time.Duration) (took time.Duration) {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				began := time.Now()
				err := stream.Emit(ctx, e, w.hits, fmt.Sprintf("k-%d", seq%7), &hit{Seq: seq})
				took = time.Since(began)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					acked[seq] = true
				case errors.Is(err, stream.ErrNotSent):
					dropped[seq] = true
				case errors.Is(err, stream.ErrUnacknowledged):
					unknown[seq] = true
				default:
					t.Errorf("%v is neither", err)
				}
				return took
			}
			for seq := range 20 {
				send(seq, time.Minute)
			}
			require.Len(t, acked, 20)
			require.NoError(t, e.Ready())

			shut(gate)
			began := time.Now()
			var senders sync.WaitGroup
			for i := range 100 { // before anybody can know
				limit := 300 * time.Millisecond
				if i%2 == 0 {
					limit = time.Minute
				}
				senders.Go(func() {
					most := min(limit, 2*time.Second) + 500*time.Millisecond
					if took := send(20+i, limit); took > most {
						t.Errorf("it took %s with a limit of %s", took, limit)
					}
				})
			}
			senders.Wait()
			require.Eventually(t, func() bool { return e.Ready() != nil }, 4*time.Second, 10*time.Millisecond)
			require.Less(t, time.Since(began), 4*time.Second)
			w.eventually("the outage is said", func() bool { return log.containing("no broker answers") > 0 })
			for seq := 120; seq < 320; seq++ { // now it is known
				require.Less(t, send(seq, time.Minute), 100*time.Millisecond)
				require.True(t, dropped[seq])
			}
			require.Len(t, acked, 20)
			require.NotEmpty(t, dropped)
			if name == "Refusing" {
				require.NotEmpty(t, dropped)
			} else {
				require.NotEmpty(t, unknown, "some were written, and nobody knows")
			}

			gate.Open()
			w.eventually("it is ready again", func() bool { return e.Ready() == nil })
			for key := range 7 { // each partition finds out by itself
				w.eventually(fmt.Sprintf("what is sent for k-%d arrives again", key), func() bool {
					mu.Lock()
					seq := 7000 + 7*(len(dropped)+len(acked)+len(unknown)) + key
					mu.Unlock()
					send(seq, 5*time.Second)
					mu.Lock()
					defer mu.Unlock()
					return acked[seq]
				})
			}
			for seq := 2000; seq < 2020; seq++ {
				send(seq, time.Minute)
				require.True(t, acked[seq], "after the return all partitions take what is sent: %d", seq)
			}
			require.NoError(t, e.Close())

			there := map[int]int{}
			for _, seq := range w.sequences() {
				there[seq]++
			}
			for seq := range acked {
				require.Equal(t, 1, there[seq], "acknowledged: %d", seq)
			}
			for seq := range dropped {
				require.Zero(t, there[seq], "said to be not sent: %d", seq)
			}
			for seq := range there {
				require.True(t, acked[seq] || unknown[seq], seq)
			}
			require.Equal(t, 1, log.containing("no broker answers"), log)
			require.Equal(t, 1, log.containing("the brokers are back"), log)
			require.Equal(t, 2, log.containing("level="), log)
			t.Logf("acknowledged %d, not sent %d, unknown %d of which %d arrived", len(acked), len(dropped), len(unknown), len(there)-len(acked))
		})
	}
}

// sequences reads all hits that are in their stream.
func (w *world) sequences() (all []int) {
	w.t.Helper()
	ends := w.ends(w.hits.Name())
	reader := w.b.Client(w.t, kgo.ConsumeTopics(w.hits.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for n := int64(0); n < ends; {
		fetches := reader.PollFetches(ctx)
		require.NoError(w.t, ctx.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			h, err := w.hits.Decode(r.Value)
			require.NoError(w.t, err)
			all = append(all, h.(*hit).Seq)
		})
	}
	return all
}

// Who leaves while their message waits is told that it was not sent, and it never is.
func TestEmitter_SenderLeaves(t *testing.T) {
	b, gate := kafkatest.Gated(t)
	w := newWorld(t, b)
	e, err := stream.NewEmitter(w.config())
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, stream.Emit(t.Context(), e, w.hits, "k", &hit{Seq: 1}))
	gone, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, stream.Emit(gone, e, w.hits, "k", &hit{Seq: 2}), stream.ErrNotSent)

	gate.Freeze()
	first, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- stream.Emit(first, e, w.hits, "k", &hit{Seq: 3}) }()
	w.eventually("the first is with the client", func() bool { return e.Buffered() == 1 })
	second, leave := context.WithCancel(t.Context())
	go func() { done <- stream.Emit(second, e, w.hits, "k", &hit{Seq: 4}) }()
	w.eventually("the second waits behind it", func() bool { return e.Waiting() == 1 })
	leave()
	require.ErrorIs(t, <-done, stream.ErrNotSent, "it was not given to the client yet")
	gate.Open()
	require.NoError(t, <-done)
	cancel()
	require.NoError(t, stream.Emit(t.Context(), e, w.hits, "k", &hit{Seq: 5}))
	require.Equal(t, []int{1, 3, 5}, w.sequences())
}

func (w *world) ends(topic string) (n int64) {
	w.t.Helper()
	all, err := kadm.NewClient(w.client).ListEndOffsets(w.t.Context(), topic)
	require.NoError(w.t, err)
	all.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// The brokers answer and take nothing: in one partition, which leaves the others alone, and in all.
func TestEmitter_NotEnoughReplicas(t *testing.T) {
	kafkatest.Waits(t)
	b, gate := kafkatest.Gated(t)
	w := newWorld(t, b)
	log := &lines{}
	cfg := w.config()
	cfg.Logger = log.logger()
	e, err := stream.NewEmitter(cfg)
	require.NoError(t, err)
	defer e.Close()
	seq, there := 0, []int{}
	send := func(key string, limit time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		seq++
		err := stream.Emit(ctx, e, w.hits, key, &hit{Seq: seq})
		if err == nil {
			there = append(there, seq)
		}
		return time.Since(began), err
	}
	poor := stream.Partition("k-0", partitions)
	var others []string
	for _, key := range keys(20) {
		if stream.Partition(key, partitions) != poor {
			others = append(others, key)
		}
		_, err := send(key, time.Minute)
		require.NoError(t, err)
	}

	gate.Refuse(func(p int32) bool { return p == poor })
	began := time.Now()
	for time.Since(began) < 5*time.Second {
		took, err := send("k-0", time.Second)
		require.ErrorIs(t, err, stream.ErrNotSent)
		require.Less(t, took, 1500*time.Millisecond)
		if time.Since(began) > 3*time.Second {
			took, err = send("k-0", time.Second)
			require.ErrorIs(t, err, stream.ErrNotSent)
			require.Less(t, took, 100*time.Millisecond, "it is known, and the next try is due later")
		}
		for _, key := range others {
			took, err := send(key, time.Minute)
			require.NoError(t, err)
			require.Less(t, took, time.Second)
		}
		require.NoError(t, e.Ready())
	}

	gate.Refuse(func(int32) bool { return true })
	w.eventually("it is not ready", func() bool {
		for _, key := range keys(20) {
			_, err := send(key, 700*time.Millisecond)
			require.ErrorIs(t, err, stream.ErrNotSent)
		}
		return e.Ready() != nil && log.containing("acknowledge no command") > 0
	})
	gate.Open()
	w.eventually("all partitions take what is sent", func() bool {
		for _, key := range keys(20) {
			if _, err := send(key, time.Second); err != nil {
				return false
			}
		}
		return true
	})
	require.NoError(t, e.Ready())
	require.Equal(t, 1, log.containing("acknowledge no command"), log)
	require.Equal(t, 1, log.containing("the brokers acknowledge again"), log)
	require.Equal(t, 2, log.containing("level="), log)
	require.ElementsMatch(t, there, w.sequences())
}

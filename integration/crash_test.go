package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/codecs"
	stocks "baedal/domain/stock"
	"baedal/internal/kafkatest"
	"baedal/sim"
	"baedal/stream"
)

// under keeps load on an installation while disturb does its worst, and fails
// unless every order reaches its end.
func (w *world) under(t *testing.T, addr string, orders int, rate float64, disturb func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	type result struct {
		report *sim.LoadReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		r, err := sim.Load(ctx, w.cat, []string{addr}, sim.LoadOptions{Orders: orders, Rate: rate, Stores: 6, Riders: 12,
			CancelShare: 0.1, ManualShare: 0.3, Timeout: time.Minute}, t.Output())
		done <- result{r, err}
	}()
	w.until("the first order ends", func() bool {
		for _, es := range w.events {
			if es[len(es)-1].Status.Final() {
				return true
			}
		}
		return false
	})
	disturb()
	r := <-done
	require.NoError(t, r.err)
	assert.True(t, r.report.OK(), "all orders end: %+v", r.report)
	w.until("every order's end is heard", func() bool {
		ended := 0
		for _, es := range w.events {
			if es[len(es)-1].Status.Final() {
				ended++
			}
		}
		return ended >= orders
	})
	w.sound()
	w.stockAddsUp()
}

// stockAddsUp checks that what the stores have sold is what was cooked.
func (w *world) stockAddsUp() {
	w.t.Helper()
	w.mu.Lock()
	sold := map[string]int{}
	for _, es := range w.events {
		for _, e := range es {
			if e.Type == "cooking" {
				for _, l := range e.Lines {
					sold[e.StoreID] += l.Quantity
				}
			}
		}
	}
	w.mu.Unlock()
	require.NotEmpty(w.t, sold)
	rows := w.stockTable()
	for store, want := range sold {
		got := 0
		for id, p := range rows[store].Products {
			got += p.Sold
			assert.Zero(w.t, p.Reserved, "%s of %s is reserved still", id, store)
			assert.Equal(w.t, p.Added, p.OnHand+p.Sold+p.Removed, "%s of %s", id, store)
		}
		assert.Equal(w.t, want, got, "pieces that %s has sold", store)
	}
}

// stockTable reads the stores' rows from their changelog.
func (w *world) stockTable() map[string]*stocks.Inventory {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cl.OptValue(kgo.SeedBrokers).([]string)...), kgo.ConsumeTopics(w.cat.StockTable.Name()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(w.t, err)
	defer cl.Close()
	// The row of a store that is told last is behind everything of before.
	for p := range w.cat.Partitions {
		w.say(w.cat.StoreCommands.Name(), fenceOf(int32(p), w.cat.Partitions), `{"type":"register","name":"f","area":"f","lat":1,"lon":1,"autoAccept":false,"cookingTime":"0s"}`)
	}
	rows, fences := map[string]*stocks.Inventory{}, map[int32]bool{}
	for len(fences) < w.cat.Partitions {
		require.NoError(w.t, ctx.Err(), "reading the stock table")
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			row, err := codecs.Decode[stocks.Inventory](r.Value)
			require.NoError(w.t, err)
			rows[string(r.Key)] = row
			if strings.HasPrefix(string(r.Key), "s-fence-") {
				fences[r.Partition] = true
			}
		})
	}
	return rows
}

// fenceOf returns a store id that belongs to a partition.
func fenceOf(partition int32, partitions int) string {
	for i := 0; ; i++ {
		if id := fmt.Sprintf("s-fence-%d", i); stream.Partition(id, partitions) == partition {
			return id
		}
	}
}

// pause lets the load run for a random while: the moment of a crash must not
// depend on what the engine does.
func pause(from, to time.Duration) { time.Sleep(from + rand.N(to-from)) }

func TestKill9_Engine(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
			t.Run(string(guarantee), func(t *testing.T) { killEngine(t, b, guarantee) })
		}
	})
}

func killEngine(t *testing.T, b kafkatest.Broker, g stream.Guarantee) {
	prefix := b.Prefix(t)
	w := newListener(t, b.Addr, prefix)
	w.once = g == stream.ExactlyOnce
	flags := append(engineFlags(t, b.Addr, prefix), "--session-timeout", "6s", "--guarantee", string(g))
	w.p = start(t, flags...)
	w.listen(t, b.Addr)
	w.under(t, b.Addr, 400, 60, func() {
		for range 3 {
			pause(300*time.Millisecond, time.Second)
			w.p.kill()
			w.p = start(t, flags...)
		}
	})
}

// The whole program with its broker inside, killed at any moment.
func TestKill9_Up(t *testing.T) {
	kafka := freeAddr(t)
	w := newListener(t, kafka, "")
	flags := []string{"up", "--partitions", "4", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0", "--kafka-listen", kafka}
	w.p = start(t, flags...)
	w.listen(t, kafka)
	w.under(t, kafka, 400, 60, func() {
		for range 3 {
			pause(300*time.Millisecond, time.Second)
			w.p.kill()
			w.p = start(t, flags...)
		}
	})
}

// Two instances share the groups; one is killed, the other one takes over.
func TestTwoInstances(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		prefix := b.Prefix(t)
		w := newListener(t, b.Addr, prefix)
		w.once = true
		w.p = start(t, append(engineFlags(t, b.Addr, prefix), "--session-timeout", "6s")...)
		w.listen(t, b.Addr)
		second := start(t, append(engineFlags(t, b.Addr, prefix), "--session-timeout", "6s")...)
		w.under(t, b.Addr, 400, 60, func() {
			pause(300*time.Millisecond, time.Second)
			second.kill()
		})
	})
}

// Settings that can't be met end the program with a line that says why, and
// with 2 where the usage was wrong.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"NoCommand":      {nil, 2},
		"UnknownCommand": {[]string{"dance"}, 2},
		"UnknownFlag":    {[]string{"up", "--dance"}, 2},
		"BadDeadline":    {[]string{"up", "--deadline", "soon=1s"}, 2},
		"NoBrokers":      {[]string{"run"}, 2},
		"UnknownGroup":   {[]string{"run", "--brokers", "127.0.0.1:1", "--groups", "kitchen"}, 2},
		"ReplayNothing":  {[]string{"replay"}, 2},
		"ReplayNoDay":    {[]string{"replay", t.TempDir(), "--brokers", "127.0.0.1:1"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, c.args...)
			<-p.done
			assert.Equal(t, c.code, p.cmd.ProcessState.ExitCode())
		})
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

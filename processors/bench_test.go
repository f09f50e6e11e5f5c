package processors_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/tester"
	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/processors"
	"baedal/stream"
	"baedal/topics"
)

// bench runs groups on goka's tester: what is put onto a stream has been handled
// by all of them when send returns. The clock stands still but for pass, and
// what timers would send is sent by ring.
type bench struct {
	*topics.Catalog
	t        *testing.T
	tester   *tester.Tester
	clock    time.Time
	gateway  *payment.Simulated
	trackers map[string]*tester.QueueTracker
	groups   []string
	writes   int // of rows, by the last message
}

// record is what a group sent.
type record struct {
	topic, key, value string
	headers           goka.Headers
}

func settings(gateway payment.Gateway) processors.Settings {
	return processors.Settings{Orders: order.DefaultSettings(), Payments: payment.DefaultSettings(), Gateway: gateway,
		Language: notification.English}
}

func newBench(t *testing.T, groups ...string) *bench {
	t.Helper()
	gateway := &payment.Simulated{}
	return newBenchWith(t, settings(gateway), gateway, groups...)
}

func newBenchWith(t *testing.T, s processors.Settings, gateway *payment.Simulated, groups ...string) *bench {
	t.Helper()
	b := &bench{Catalog: topics.New("t.", 1), t: t, tester: tester.New(t), clock: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC),
		gateway: gateway, trackers: map[string]*tester.QueueTracker{}, groups: groups}
	defs := processors.All(b.Catalog, s)
	cfg := stream.Config{Partitions: 1, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.clock }}
	var all []*goka.Processor
	for _, name := range groups {
		p, err := stream.NewTestProcessor(b.tester, cfg, defs[name])
		require.NoError(t, err)
		all = append(all, p)
	}
	for _, spec := range b.All() {
		b.trackers[spec.Topic] = b.tester.NewQueueTracker(spec.Topic)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, len(all))
	for _, p := range all {
		go func() { done <- p.Run(ctx) }()
	}
	t.Cleanup(func() {
		stop()
		for range all {
			require.NoError(t, <-done)
		}
	})
	return b
}

// pass lets time go by.
func (b *bench) pass(d time.Duration) { b.clock = b.clock.Add(d) }

// send puts a message onto a stream and returns what the groups made of it: the
// records of every topic in the order in which they were sent, the topic's own
// included, tables left out.
func (b *bench) send(topic, key, value string, opts ...tester.EmitOption) []record {
	b.t.Helper()
	return b.put(topic, key, []byte(value), opts...)
}

func (b *bench) put(topic, key string, value any, opts ...tester.EmitOption) (all []record) {
	b.t.Helper()
	b.writes = 0
	b.tester.Consume(topic, key, value, opts...)
	for _, spec := range b.All() {
		own := spec.Topic == topic
		for {
			h, key, data, ok := b.trackers[spec.Topic].NextRawWithHeaders()
			if !ok {
				break
			}
			if own { // the message itself
				own = false
				continue
			}
			if spec.Cleanup == topics.Compact {
				b.writes++
			} else {
				if delete(h, stream.HeaderHops); len(h) == 0 {
					h = nil // a repeat changes no row
				}
				all = append(all, record{spec.Topic, key, string(data), h})
			}
		}
	}
	return all
}

// row returns a row, or nil.
func row[R any](b *bench, t topics.Table[R], key string) *R {
	b.t.Helper()
	if v := b.tester.TableValue(goka.Table(t.Name()), key); v != nil {
		return v.(*R)
	}
	return nil
}

// rows returns all rows as JSON.
func (b *bench) rows() map[string]string {
	b.t.Helper()
	all := map[string]string{}
	for _, spec := range b.All() {
		group, isTable := strings.CutSuffix(b.Short(spec.Topic), "-table")
		if !isTable || !b.runs(group) {
			continue
		}
		for _, key := range b.tester.GetTableKeys(goka.Table(spec.Topic)) {
			data, err := codecs.Marshal(b.tester.TableValue(goka.Table(spec.Topic), key))
			require.NoError(b.t, err)
			all[spec.Topic+" "+key] = string(data)
		}
	}
	return all
}

func (b *bench) runs(group string) bool {
	for _, g := range b.groups {
		if g == group {
			return true
		}
	}
	return false
}

// repeats sends a message again, a while later: the same must come out, and no row change.
func (b *bench) repeats(topic, key, value string, first []record) {
	b.t.Helper()
	before := b.rows()
	b.pass(time.Second)
	require.Equal(b.t, first, b.send(topic, key, value), "a repeat sends the same bytes")
	require.Equal(b.t, before, b.rows(), "a repeat changes no row")
	require.Zero(b.t, b.writes, "a repeat writes no row")
}

// once sends a message and its repeat, and returns what came of it.
func (b *bench) once(topic, key, value string) []record {
	b.t.Helper()
	out := b.send(topic, key, value)
	b.repeats(topic, key, value, out)
	return out
}

// only returns the messages of one stream, decoded.
func only[M any](b *bench, t topics.Stream[M], out []record) (all []M) {
	b.t.Helper()
	for _, r := range out {
		if r.topic == t.Name() {
			m, err := codecs.Decode[M]([]byte(r.value))
			require.NoError(b.t, err, r.value)
			all = append(all, *m)
		}
	}
	return all
}

// one returns the only record there is.
func one(t *testing.T, out []record) record {
	t.Helper()
	require.Len(t, out, 1, "%v", out)
	return out[0]
}

// toTopics lists where records went, as "topic key".
func (b *bench) toTopics(out []record) (all []string) {
	for _, r := range out {
		all = append(all, b.Short(r.topic)+" "+r.key)
	}
	return all
}

// ring sends what is due on the loops, as timers do, until nothing is, and returns what came of it.
func (b *bench) ring() (out []record) {
	b.t.Helper()
	for range 100 {
		n := len(out)
		now := domain.At(b.clock)
		if b.runs(topics.Orders) {
			for _, key := range b.tester.GetTableKeys(goka.Table(b.OrdersTable.Name())) {
				if d, ok := row(b, b.OrdersTable, key).NextDeadline(); ok && d.Due <= now {
					out = append(out, record{topic: b.OrdersLoop.Name(), key: key})
					out = append(out, b.put(b.OrdersLoop.Name(), key, &d)...)
				}
			}
		}
		if b.runs(topics.Payments) {
			for _, key := range b.tester.GetTableKeys(goka.Table(b.PaymentsTable.Name())) {
				p := row(b, b.PaymentsTable, key)
				at, call, ok := p.Next()
				answer, reason := payment.OK, ""
				if !ok {
					at, call, ok = p.Forget(payment.DefaultSettings())
				} else if at <= now {
					var err error
					answer, reason, err = b.gateway.Call(b.t.Context(), call)
					require.NoError(b.t, err)
				}
				if ok && at <= now {
					r := payment.NewResult(call, answer, reason, now)
					out = append(out, record{topic: b.PaymentsLoop.Name(), key: key})
					out = append(out, b.put(b.PaymentsLoop.Name(), key, &r)...)
				}
			}
		}
		if len(out) == n {
			return out
		}
	}
	require.FailNow(b.t, "something is due for ever")
	return nil
}

// Messages of the stories.

func (b *bench) store(extra string) {
	b.t.Helper()
	if extra == "" {
		extra = `,"autoAccept":false`
	}
	b.send(b.StoreCommands.Name(), "s-1", `{"type":"register","id":"reg","name":"Kim's","area":"a-1","lat":37.5,"lon":127,"cookingTime":"10m"`+extra+`}`)
	b.send(b.StoreCommands.Name(), "s-1", `{"type":"put_product","id":"put","product":"bibimbap","name":"Bibimbap","price":9000}`)
	b.send(b.StoreCommands.Name(), "s-1", `{"type":"add_stock","id":"add","product":"bibimbap","quantity":10}`)
}

func placeJSON(id string, quantity int) string {
	return fmt.Sprintf(`{"type":"place","id":%q,"userId":"u-1","storeId":"s-1","lines":[{"product":"bibimbap","quantity":%d}],"address":{"text":"here","lat":37.51,"lon":127.01},"verdict":true}`, id, quantity)
}

package processors_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/broker"
	"baedal/codecs"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/internal/kafkatest"
	"baedal/processors"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
)

// gate lets so many requests to produce pass, and holds those behind them.
type gate struct {
	mu   sync.Mutex
	free sync.Cond
	shut bool
	pass int
	held int
}

func newGate() *gate {
	g := &gate{}
	g.free.L = &g.mu
	return g
}

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return gated{c, g}, err
}

func (g *gate) set(shut bool, pass int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.pass = shut, pass
	g.free.Broadcast()
}

func (g *gate) holds() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held > 0
}

type gated struct {
	net.Conn
	g *gate
}

// Write gets a request in one piece: its size, and then the key of its kind.
func (c gated) Write(b []byte) (int, error) {
	c.g.mu.Lock()
	if c.g.shut && len(b) > 5 && b[5] == byte(kmsg.Produce) {
		if c.g.pass--; c.g.pass < 0 {
			c.g.held++
			for c.g.shut {
				c.g.free.Wait()
			}
			c.g.held--
		}
	}
	c.g.mu.Unlock()
	return c.Conn.Write(b)
}

// The orders group is lost when rows know that stock is reserved and nobody has
// heard of it. The customers cancel, and the next instance may read that first.
func TestOrders_VersionsInOrderThroughAKill(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		const partitions, orders = 4, 300
		prefix := b.Prefix(t)
		cat := topics.New(prefix, partitions)
		_, err := broker.CreateTopics([]string{b.Addr}, stream.Config{}.WithDefaults().Client(), cat.All(), 1)
		require.NoError(t, err)
		client := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		put := func(topic, format string) {
			t.Helper()
			var all []*kgo.Record
			for i := range orders {
				id := fmt.Sprintf("o-%d", i)
				all = append(all, &kgo.Record{Topic: topic, Key: []byte(id), Partition: stream.Partition(id, partitions), Value: fmt.Appendf(nil, format, id)})
			}
			require.NoError(t, client.ProduceSync(t.Context(), all...).FirstErr())
		}
		start := func(name string, change func(*stream.Config)) {
			t.Helper()
			db, err := state.Open(t.TempDir(), nil)
			require.NoError(t, err)
			cfg := stream.Config{Brokers: []string{b.Addr}, Partitions: partitions, Logger: kafkatest.Logger(t), InstanceID: name, State: db}
			change(&cfg)
			s := settings(&payment.Simulated{})
			e := stream.New(cfg, processors.All(cat, s)[topics.Orders])
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- e.Run(ctx) }()
			t.Cleanup(func() {
				stop()
				require.NoError(t, <-done)
				require.NoError(t, db.Close())
			})
			require.Eventually(t, func() bool { return e.Ready() == nil }, time.Minute, 5*time.Millisecond, "the engine is ready")
		}
		var mu sync.Mutex
		heard, rows := map[string][]int{}, map[string]int{}
		reader := b.Client(t, kgo.ConsumeTopics(cat.OrderEvents.Name(), cat.OrdersTable.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
		ctx, stop := context.WithCancel(context.Background())
		read := make(chan struct{})
		go func() {
			defer close(read)
			for ctx.Err() == nil {
				reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
					mu.Lock()
					defer mu.Unlock()
					if r.Topic == cat.OrdersTable.Name() {
						if o, err := codecs.Decode[order.Order](r.Value); err == nil {
							rows[o.ID] = o.Version
						}
						return
					}
					if e, err := codecs.Decode[order.Event](r.Value); err == nil {
						heard[e.OrderID] = append(heard[e.OrderID], e.Version)
					}
				})
			}
		}()
		t.Cleanup(func() { stop(); <-read })
		// least waits until so many orders have come to a version.
		least := func(what string, n int, ok func(id string) bool) {
			t.Helper()
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				got := 0
				for i := range orders {
					if ok(fmt.Sprintf("o-%d", i)) {
						got++
					}
				}
				return got >= n
			}, time.Minute, 5*time.Millisecond, what)
		}
		hears := func(version int) func(string) bool {
			return func(id string) bool { return slices.Contains(heard[id], version) }
		}

		way := newGate()
		start("lost", func(c *stream.Config) { c.Dial, c.Linger = way.dial, 300*time.Millisecond })
		put(cat.OrderCommands.Name(), `{"type":"place","id":"p","orderId":"%s","userId":"u","storeId":"s","lines":[{"product":"rice","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`)
		least("all are placed", orders, hears(1))
		way.set(true, 1)
		t.Cleanup(func() { way.set(false, 0) })
		put(cat.StockReplies.Name(), `{"type":"reserved","id":"%[1]s/reserved/1","at":"2026-01-02T12:00:00.000Z","orderId":"%[1]s","storeId":"s","attempt":1,"total":5,"lines":[{"product":"rice","quantity":1,"name":"Rice","price":5}],"store":{"name":"s","area":"a","lat":37.5,"lon":127,"cookingTime":"10m"}}`)
		require.Eventually(t, way.holds, time.Minute, 5*time.Millisecond, "events are on the way")
		least("rows know it", orders/4, func(id string) bool { return rows[id] == 2 })
		leave, member, name := kmsg.NewPtrLeaveGroupRequest(), kmsg.NewLeaveGroupRequestMember(), "lost"
		member.InstanceID = &name
		leave.Group, leave.Members = cat.Group(topics.Orders), append(leave.Members, member)
		left, err := leave.RequestWith(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, errors.Join(kerr.ErrorForCode(left.ErrorCode), kerr.ErrorForCode(left.Members[0].ErrorCode)))

		put(cat.OrderCommands.Name(), `{"type":"cancel","id":"c","by":"customer","orderId":"%s"}`)
		start("next", func(*stream.Config) {})
		least("all have ended", orders, func(id string) bool { return hears(2)(id) && hears(3)(id) })
		mu.Lock()
		defer mu.Unlock()
		late := 0
		for _, versions := range heard {
			if slices.Index(versions, 3) < slices.Index(versions, 2) {
				late++
			}
		}
		require.Zero(t, late, "of %d orders: version 3 was heard before 2", orders)
	})
}

package views_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/domain/order"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
	"baedal/views"
)

// town is an orders table on a broker, and instances that show it.
type town struct {
	t       *testing.T
	cfg     stream.Config
	catalog *topics.Catalog
	send    func(id string, o *order.Order)
	remove  func(id string)
}

func newTown(t *testing.T, b kafkatest.Broker) *town {
	w := &town{t: t, catalog: topics.New(b.Prefix(t), 4)}
	w.cfg = stream.Config{Brokers: []string{b.Addr}, Logger: kafkatest.Logger(t)}.WithDefaults()
	_, err := broker.CreateTopics(w.cfg.Brokers, w.cfg.Client(), []topics.Spec{w.catalog.OrdersTable.Spec}, 1)
	require.NoError(t, err)
	producer, err := stream.NewEmitter(w.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { producer.Close() })
	w.send = func(id string, o *order.Order) {
		require.NoError(t, stream.Emit(t.Context(), producer, w.catalog.OrdersTable, id, o))
	}
	client := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.remove = func(id string) {
		tombstone := &kgo.Record{Topic: w.catalog.OrdersTable.Name(), Key: []byte(id), Partition: int32(views.PartitionOf(id, 4))}
		require.NoError(t, client.ProduceSync(t.Context(), tombstone).FirstErr())
	}
	return w
}

// instance runs a view whose copy is in a directory, until stop.
func (w *town) instance(dir string) (v *views.View[order.Order], stop func()) {
	db, err := state.Open(filepath.Join(dir, "state"), nil)
	require.NoError(w.t, err)
	v = views.NewView("orders", w.catalog.OrdersTable, views.Options{Brokers: w.cfg.Brokers, Catalog: w.catalog, Logger: w.cfg.Logger, ProbeEvery: time.Hour,
		RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		Storage: func(topic string, p int32) (storage.Storage, error) {
			return db.Table("view", topic, p, state.Options{Follower: true, CacheRows: -1})
		},
		SaramaConsumer: func(brokers []string, id string) (sarama.Consumer, error) {
			return w.cfg.ConsumerBuilder()(brokers, id)
		},
		TopicManager: func(brokers []string) (goka.TopicManager, error) { return w.cfg.TopicManagerBuilder()(brokers) },
	}, views.OrderIndexes...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w.t, <-done)
		require.NoError(w.t, db.Close())
	})
	w.t.Cleanup(stop)
	require.Eventually(w.t, v.Recovered, 30*time.Second, time.Millisecond, "the view catches up")
	return v, stop
}

func (w *town) until(what string, v *views.View[order.Order], id string, version int) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	_, err := v.Wait(ctx, id, func(o *order.Order) bool { return o != nil && o.Version >= version })
	require.NoError(w.t, err, what)
}

// A cursor is good in any instance and over restarts: what it has not seen comes
// once, and lists are whole.
func TestView_CursorsOfInstances(t *testing.T) {
	kafkatest.Waits(t)
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newTown(t, b)
		dir := t.TempDir()
		one, stop := w.instance(dir)
		for n := range 40 {
			w.send(fmt.Sprintf("o-%03d", n), orderOf(n, "u-1", "s-1", order.Paid))
		}
		for n := range 40 {
			w.until("the first instance has it", one, fmt.Sprintf("o-%03d", n), 1)
		}
		cursor := one.Cursor()
		stop()

		over := orderOf(3, "u-1", "s-1", order.Completed)
		over.Version = 2
		w.send("o-003", over)
		w.remove("o-004")
		w.send("o-040", orderOf(40, "u-1", "s-1", order.Paid))
		one, _ = w.instance(dir)          // goes on from its copy
		two, _ := w.instance(t.TempDir()) // has read all
		for name, v := range map[string]*views.View[order.Order]{"Restarted": one, "Other": two} {
			got, next := said(t, v, "board", "s-1", cursor)
			require.ElementsMatch(t, []string{"-o-003", "--o-004", "o-040"}, got, name)
			board, _ := scan(t, v, "board", "s-1", views.Entry{}, -1)
			require.Len(t, board, 39, name)
			require.Equal(t, "o-040", board[0])
			got, _ = said(t, two, "board", "s-1", next)
			require.Empty(t, got, name)
		}
		require.Equal(t, one.Cursor().String(), two.Cursor().String())
	})
}

// At rest a view says at once that it is current, though nothing was asked
// before. While brokers are away it says since when it does not know, and holds
// nobody up.
func TestView_StalenessIsAskedFor(t *testing.T) {
	kafkatest.Waits(t)
	b, gate := kafkatest.Gated(t)
	w := newTown(t, b)
	v, _ := w.instance(t.TempDir())
	w.send("o-001", orderOf(1, "u-1", "s-1", order.Paid))
	w.until("it comes", v, "o-001", 1)
	time.Sleep(300 * time.Millisecond) // what was known then is old now
	eventually(t, "it is known to be current", func() bool { return v.Staleness() < 100*time.Millisecond })

	gate.Freeze()
	frozen := time.Now()
	time.Sleep(300 * time.Millisecond)
	for range 20 {
		began := time.Now()
		s := v.Staleness()
		require.Less(t, time.Since(began), 100*time.Millisecond)
		require.GreaterOrEqual(t, s, time.Since(frozen)-150*time.Millisecond)
		require.Less(t, s, time.Duration(math.MaxInt64))
	}
	gate.Open()
	eventually(t, "it is known again", func() bool { return v.Staleness() < 100*time.Millisecond })
}

package views_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/stretchr/testify/require"

	"baedal/broker"
	"baedal/domain/order"
	"baedal/internal/kafkatest"
	"baedal/stream"
	"baedal/topics"
	"baedal/views"
)

// On a real broker: all rows come, in partitions as producers choose them; a
// change wakes who waits for it; a second start goes on from the local copy.
func TestSet(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		const orders = 200
		catalog := topics.New(b.Prefix(t), 4)
		cfg := stream.Config{Brokers: []string{b.Addr}, Logger: kafkatest.Logger(t)}.WithDefaults()
		_, err := broker.CreateTopics(cfg.Brokers, cfg.Client(), catalog.All(), 1)
		require.NoError(t, err)
		producer, err := stream.NewEmitter(cfg)
		require.NoError(t, err)
		defer producer.Close()
		put := func(id string, version int) {
			require.NoError(t, stream.Emit(t.Context(), producer, catalog.OrdersTable, id, &order.Order{ID: id, Status: order.Placed, Version: version}))
		}
		for i := range orders {
			put(fmt.Sprintf("o-%03d", i), 1)
		}

		dir := t.TempDir()
		start := func() (*views.Set, func()) {
			set := views.New(views.Options{Brokers: cfg.Brokers, Catalog: catalog, Logger: cfg.Logger, ProbeEvery: 50 * time.Millisecond,
				Storage: storage.DefaultBuilder(filepath.Join(dir, "views")),
				// A builder of goka's changes its settings with each call.
				SaramaConsumer: func(brokers []string, id string) (sarama.Consumer, error) { return cfg.ConsumerBuilder()(brokers, id) },
				TopicManager:   func(brokers []string) (goka.TopicManager, error) { return cfg.TopicManagerBuilder()(brokers) },
			})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- set.Run(ctx) }()
			require.Eventually(t, set.Recovered, 30*time.Second, time.Millisecond, "the views catch up")
			stop := sync.OnceFunc(func() { cancel(); require.NoError(t, <-done) })
			t.Cleanup(stop)
			return set, stop
		}

		set, stop := start()
		for i := range orders {
			row, err := set.Orders.Get(fmt.Sprintf("o-%03d", i))
			require.NoError(t, err)
			require.NotNil(t, row, i)
		}
		var keys []string
		require.NoError(t, set.Orders.Each("o-100", func(key string, _ *order.Order) bool {
			keys = append(keys, key)
			return true
		}))
		require.Len(t, keys, 100)
		require.IsIncreasing(t, keys)

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for version := 2; version < 12; version++ {
			woken := make(chan error, 1)
			go func() {
				_, err := set.Orders.Wait(ctx, "o-000", func(o *order.Order) bool { return o.Version >= version })
				woken <- err
			}()
			put("o-000", version)
			require.NoError(t, <-woken)
		}
		eventually(t, "the views are known to be current", func() bool {
			for _, p := range set.Progress() {
				if p.Staleness > time.Second || p.Applied != p.Newest || p.Problem != "" {
					return false
				}
			}
			return true
		})
		stop()

		put("o-new", 1)
		set, _ = start()
		row, err := set.Orders.Get("o-new")
		require.NoError(t, err)
		require.NotNil(t, row, "recovered means all that was there at the start")
		row, err = set.Orders.Get("o-000")
		require.NoError(t, err)
		require.Equal(t, 11, row.Version)
	})
}

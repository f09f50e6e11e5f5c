package views_test

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"baedal/broker"
	"baedal/domain/order"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
	"baedal/views"
)

// A table that is deleted and made anew is read anew: no row of the old one is
// shown, and none of the new one is left out. Raised partitions are not read.
func TestView_TopicMadeAnewWhileRunning(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		catalog := topics.New(b.Prefix(t), 4)
		table := catalog.OrdersTable
		cfg := stream.Config{Brokers: []string{b.Addr}, Partitions: 4, Logger: kafkatest.Logger(t)}.WithDefaults()
		create := func() error {
			_, err := broker.CreateTopics(cfg.Brokers, cfg.Client(), []topics.Spec{table.Spec}, 1)
			return err
		}
		require.NoError(t, create())
		cfg.Watch = stream.NewWatch(cfg, table.Name())
		require.NoError(t, cfg.Watch.Look(t.Context()))
		producer, err := stream.NewEmitter(cfg)
		require.NoError(t, err)
		defer producer.Close()
		put := func(id string, version int) error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return stream.Emit(ctx, producer, table, id, &order.Order{ID: id, Status: order.Placed, Version: version})
		}
		for range 5 {
			require.NoError(t, put("o-old", 1))
			require.NoError(t, put("o-both", 1))
		}

		db, err := state.OpenMemory()
		require.NoError(t, err)
		defer db.Close()
		dropped := make(chan int64, 100)
		v := views.NewView("orders", table, views.Options{Brokers: cfg.Brokers, Catalog: catalog, Logger: cfg.Logger, ProbeEvery: 50 * time.Millisecond,
			Storage: func(topic string, partition int32) (storage.Storage, error) {
				id, _ := cfg.Watch.Incarnation(topic)
				return db.Table("view", topic, partition, state.Options{Follower: true, CacheRows: -1, TopicID: id, Dropped: func(o int64) { dropped <- o }})
			},
			SaramaConsumer: func(brokers []string, id string) (sarama.Consumer, error) { return cfg.ConsumerBuilder()(brokers, id) },
			TopicManager:   func(brokers []string) (goka.TopicManager, error) { return cfg.TopicManagerBuilder()(brokers) },
			Incarnation:    cfg.Watch.Incarnation,
		}, views.OrderIndexes...)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- v.Run(ctx) }()
		go func() { cfg.Watch.Run(ctx); done <- nil }()
		defer func() { cancel(); require.NoError(t, <-done); require.NoError(t, <-done); cfg.Watch.Close() }()
		version := func(id string) int {
			row, err := v.Get(id)
			if err != nil {
				return -1
			}
			if row == nil {
				return 0
			}
			return row.Version
		}
		eventually(t, "the view is there", func() bool { return version("o-old") == 1 && version("o-both") == 1 })

		cursor := v.Cursor()
		_, _, err = v.Changes("user", "u-1", cursor)
		require.NoError(t, err)

		before := b.TopicIDs(t, table.Name())
		admin := kadm.NewClient(b.Client(t))
		deleted, err := admin.DeleteTopics(t.Context(), table.Name())
		require.NoError(t, err)
		require.NoError(t, deleted.Error())
		eventually(t, "the table is made anew", func() bool { // as long as the broker has not heard of the deletion, nothing is to be made
			err := create()
			now := b.TopicIDs(t, table.Name())[table.Name()]
			return err == nil && now != "" && now != before[table.Name()]
		})
		eventually(t, "it is written to", func() bool { return put("o-both", 2) == nil })
		eventually(t, "the view shows the new one", func() bool { return version("o-both") == 2 && version("o-old") == 0 })
		require.NotEmpty(t, dropped)
		_, _, err = v.Changes("user", "u-1", cursor)
		require.ErrorIs(t, err, views.ErrGap, "a cursor of the old one says nothing about the new one")

		raised, err := admin.UpdatePartitions(t.Context(), 6, table.Name())
		require.NoError(t, err)
		require.NoError(t, raised.Error())
		eventually(t, "that is noticed", func() bool { return cfg.Watch.Err() != nil })
		require.NoError(t, put("o-both", 3))
		eventually(t, "the view goes on", func() bool { return version("o-both") == 3 })
	})
}

package audit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/internal/kafkatest"
	engine "baedal/stream"
	"baedal/topics"
)

// From a broker, over many partitions: an honest history passes, a forged event is found.
func TestRun(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		c := topics.New(b.Prefix(t), 3)
		brokers := []string{b.Addr}
		_, err := Run(t.Context(), c, brokers, Options{}, t.Output())
		require.ErrorContains(t, err, "--prefix", "no topics yet")
		_, err = broker.CreateTopics(brokers, engine.Config{Brokers: brokers}.WithDefaults().Client(), c.All(), 1)
		require.NoError(t, err)

		cl := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		n := names(c)
		produce := func(all []said) {
			for i, s := range all {
				r := &kgo.Record{Topic: n[s.stream], Partition: engine.Partition(s.key, 3), Key: []byte(s.key), Value: []byte(s.value),
					Timestamp: time.Now().Add(time.Duration(i) * time.Millisecond)}
				require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
			}
		}
		run := func() *Report {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r, err := Run(ctx, c, brokers, Options{Settle: 10 * time.Second}, t.Output())
			require.NoError(t, err)
			return r
		}
		all := history()
		produce(all)
		r := run()
		require.Empty(t, r.Violations)
		require.EqualValues(t, len(all), r.Records)
		require.Equal(t, 2, r.Orders)
		require.NotEmpty(t, r.Notes, "no group has handled anything")

		produce([]said{{stream: orderEvents, key: "o-2", value: `{"type":"paid","id":"o-2/5","version":5,"orderId":"o-2","status":"paid","attempt":1}`}})
		r = run()
		require.Contains(t, r.Broken(), Orders)
		require.Equal(t, "o-2", r.Violations[0].Key)
		require.Equal(t, n[orderEvents], r.Violations[0].Topic)
	})
}

// What is behind an open transaction can't be read: that is said, not taken for missing.
func TestRun_OpenTransaction(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		c := topics.New(b.Prefix(t), 1)
		brokers := []string{b.Addr}
		_, err := broker.CreateTopics(brokers, engine.Config{Brokers: brokers}.WithDefaults().Client(), c.All(), 1)
		require.NoError(t, err)
		open := b.Client(t, kgo.TransactionalID(c.Prefix+"open"))
		require.NoError(t, open.BeginTransaction())
		require.NoError(t, open.ProduceSync(t.Context(), &kgo.Record{Topic: c.MessageLog.Name(), Key: []byte("k"), Value: []byte("{}")}).FirstErr())

		_, err = Run(t.Context(), c, brokers, Options{Settle: time.Second}, t.Output())
		require.ErrorContains(t, err, c.MessageLog.Name()+"/0 is open since the audit began")
		require.NoError(t, open.EndTransaction(t.Context(), kgo.TryAbort))
		r, err := Run(t.Context(), c, brokers, Options{Settle: 10 * time.Second}, t.Output())
		require.NoError(t, err)
		require.Empty(t, r.Violations)
	})
}

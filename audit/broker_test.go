package audit

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
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

// Where records were deleted, the keys that miss something are named, and partitions that somebody added are not behind.
func TestRun_GoneAndRaised(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		c := topics.New(b.Prefix(t), 3)
		brokers := []string{b.Addr}
		_, err := broker.CreateTopics(brokers, engine.Config{Brokers: brokers}.WithDefaults().Client(), c.All(), 1)
		require.NoError(t, err)
		cl := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		n := names(c)
		produce := func(all ...said) {
			for i, s := range all {
				r := &kgo.Record{Topic: n[s.stream], Partition: engine.Partition(s.key, 3), Key: []byte(s.key), Value: []byte(s.value),
					Timestamp: time.Now().Add(time.Duration(i) * time.Millisecond)}
				require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
			}
		}
		produce(history()...)
		admin, gone := kadm.NewClient(cl), engine.Partition("o-1", 3)
		ends, err := admin.ListEndOffsets(t.Context(), n[orderEvents])
		require.NoError(t, err)
		end, _ := ends.Lookup(n[orderEvents], gone)
		to := kadm.Offsets{}
		to.AddOffset(n[orderEvents], gone, end.Offset, -1)
		_, err = admin.DeleteRecords(t.Context(), to)
		require.NoError(t, err)
		raised, err := admin.CreatePartitions(t.Context(), 1, n[orderCommands])
		require.NoError(t, err)
		require.NoError(t, raised.Error())
		// A copy of a command that is there, as another client's partitioner puts it.
		confirm := said{stream: orderCommands, key: "o-1", value: `{"type":"confirm","id":"o-1:confirm"}`}
		fresh := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		require.NoError(t, fresh.ProduceSync(t.Context(), &kgo.Record{Topic: n[orderCommands], Partition: 3, Key: []byte(confirm.key), Value: []byte(confirm.value)}).FirstErr())

		for g := orders; g < groups; g++ { // all have handled what is there
			var read []string
			for _, s := range inputs[g] {
				read = append(read, n[s])
			}
			ends, err := admin.ListEndOffsets(t.Context(), read...)
			require.NoError(t, err)
			at := ends.Offsets()
			at.DeleteFunc(func(o kadm.Offset) bool { return o.Partition >= 3 })
			done, err := admin.CommitOffsets(t.Context(), groupNames(c)[g], at)
			require.NoError(t, err)
			require.NoError(t, done.Error())
		}
		r, err := Run(t.Context(), c, brokers, Options{Settle: 10 * time.Second}, t.Output())
		require.NoError(t, err)
		require.Empty(t, r.Violations)
		want := []string{"o-1"}
		if engine.Partition("o-2", 3) == gone {
			want = append(want, "o-2")
		}
		keys := map[string]bool{}
		for _, u := range r.Unproved {
			keys[u.Key] = true
		}
		require.ElementsMatch(t, want, slices.Collect(maps.Keys(keys)))
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

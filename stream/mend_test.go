package stream

import (
	"fmt"
	"testing"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the brokers say of the last transaction decides how one that hangs is
// ended. Epoch 10 is the producer's; a transaction's end takes an epoch.
func TestMend(t *testing.T) {
	const id, own = "g/i", 7
	for _, c := range []struct {
		states   []string // of the last transaction, at each question
		producer int64
		open     int16 // the epoch of what is open in out/1
		want     string
	}{
		{[]string{"CompleteCommit"}, own, 9, "out/1 commit"},
		{[]string{"CompleteCommit"}, own, 8, "out/1 commit"},
		{[]string{"CompleteCommit"}, own, 10, ""}, // has begun since
		{[]string{"CompleteCommit"}, own + 1, 9, ""},
		{[]string{"PrepareCommit", "PrepareCommit", "CompleteCommit"}, own, 9, "out/1 commit"},
		{[]string{"CompleteAbort"}, own, 9, "out/1 abort"},
		{[]string{"CompleteAbort"}, own, 8, "out/1 commit"}, // not the last: those before it were committed
		{[]string{"PrepareAbort", "CompleteAbort"}, own, 9, "out/1 abort"},
		{[]string{"Ongoing"}, own, 10, ""},
		{[]string{"Ongoing"}, own, 9, "out/1 commit"},
		{[]string{"Empty"}, own, 9, ""}, // newTransactions aborts it
	} {
		t.Run(fmt.Sprint(c.states, c.producer, c.open), func(t *testing.T) {
			cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in", "out"))
			t.Cleanup(cluster.Close)
			asked, wrote := 0, ""
			cluster.ControlKey(int16(kmsg.DescribeTransactions), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
				d := kmsg.NewDescribeTransactionsResponseTransactionState()
				d.TransactionalID, d.ProducerID, d.ProducerEpoch = id, own, 10
				d.State = c.states[min(asked, len(c.states)-1)]
				asked++
				resp.TransactionStates = append(resp.TransactionStates, d)
				return resp, nil, true
			})
			cluster.ControlKey(int16(kmsg.DescribeProducers), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
				for _, topic := range req.(*kmsg.DescribeProducersRequest).Topics {
					rt := kmsg.NewDescribeProducersResponseTopic()
					rt.Topic = topic.Topic
					for _, p := range topic.Partitions {
						rp := kmsg.NewDescribeProducersResponseTopicPartition()
						rp.Partition = p
						open := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
						open.ProducerID, open.ProducerEpoch, open.CurrentTxnStartOffset = c.producer, int32(c.open), -1
						if topic.Topic == "out" && p == 1 {
							open.CurrentTxnStartOffset = 123
						}
						rp.ActiveProducers = append(rp.ActiveProducers, open)
						rt.Partitions = append(rt.Partitions, rp)
					}
					resp.Topics = append(resp.Topics, rt)
				}
				return resp, nil, true
			})
			cluster.ControlKey(int16(kmsg.WriteTxnMarkers), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
				for _, m := range req.(*kmsg.WriteTxnMarkersRequest).Markers {
					require.EqualValues(t, own, m.ProducerID)
					require.EqualValues(t, 10, m.ProducerEpoch)
					require.EqualValues(t, 2, m.TransactionVersion, "or a transaction at work may be ended")
					wrote += fmt.Sprintf("%s/%d %s", m.Topics[0].Topic, m.Topics[0].Partitions[0], map[bool]string{true: "commit", false: "abort"}[m.Committed])
					rm := kmsg.NewWriteTxnMarkersResponseMarker()
					rm.ProducerID = m.ProducerID
					resp.Markers = append(resp.Markers, rm)
				}
				return resp, nil, true
			})

			cfg := Config{Brokers: cluster.ListenAddrs()}.WithDefaults()
			client, err := cfg.newClient()
			require.NoError(t, err)
			t.Cleanup(client.Close)
			graph := goka.DefineGroup("g", goka.Input("in", new(codec.Bytes), func(goka.Context, any) {}), goka.Output("out", new(codec.Bytes)))
			r := &run{group: "g", cfg: cfg, client: client, instance: &instance{graph: graph}}
			require.NoError(t, r.mend(t.Context(), id))
			require.Equal(t, c.want, wrote)

			shaky := &transaction{id: id, mendable: true}
			wrote = ""
			require.NoError(t, r.steady(shaky))
			require.Empty(t, wrote, "no broker was lost")
			shaky.shaken.Store(true)
			require.NoError(t, r.steady(shaky))
			require.Equal(t, c.want, wrote)
		})
	}
}

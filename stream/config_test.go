package stream

import (
	"fmt"
	"hash/fnv"
	"math"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// minKey has the hash -2^31, which has no positive counterpart.
const minKey = "afjtjzd"

// A key belongs where sarama's partitioner puts it, with goka's hash and ours.
func TestPartition(t *testing.T) {
	keys := []string{"", "a", "o-1", "한글", "\xff\xfe", minKey}
	for i := range 5000 {
		keys = append(keys, fmt.Sprintf("key-%d", i))
	}
	negative := 0
	for _, partitions := range []int{1, 2, 3, 8, 12, 100} {
		ours := Config{}.Client().Producer.Partitioner("t")
		gokas := sarama.NewCustomHashPartitioner(goka.DefaultHasher())("t")
		for _, key := range keys {
			h := fnv.New32a()
			_, _ = h.Write([]byte(key))
			if int32(h.Sum32()) < 0 {
				negative++
			}
			m := &sarama.ProducerMessage{Key: sarama.StringEncoder(key)}
			want, err := gokas.Partition(m, int32(partitions))
			require.NoError(t, err)
			got, err := ours.Partition(m, int32(partitions))
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, want, Partition(key, partitions), "%q of %d", key, partitions)
			require.True(t, want >= 0 && int(want) < partitions)
		}
	}
	require.Greater(t, negative, 1000)
	h := fnv.New32a()
	_, _ = h.Write([]byte(minKey))
	require.Equal(t, int32(math.MinInt32), int32(h.Sum32()))
}

func TestConfig_Client(t *testing.T) {
	c := Config{ClientID: "here", SessionTimeout: 20 * time.Second}.WithDefaults()
	s := c.Client()
	require.NoError(t, s.Validate())
	require.Equal(t, "here", s.ClientID)
	require.Equal(t, sarama.OffsetOldest, s.Consumer.Offsets.Initial)
	require.False(t, s.Consumer.Offsets.AutoCommit.Enable)
	require.False(t, s.Metadata.AllowAutoTopicCreation)
	require.Equal(t, []sarama.BalanceStrategy{goka.StrictCopartitioningStrategy}, s.Consumer.Group.Rebalance.GroupStrategies)
	require.Equal(t, 20*time.Second, s.Consumer.Group.Session.Timeout)
	require.LessOrEqual(t, 3*s.Consumer.Group.Heartbeat.Interval, s.Consumer.Group.Session.Timeout)
	s.ClientID = "changed"
	require.Equal(t, "here", c.Client().ClientID, "everyone gets a copy")
	require.NotSame(t, s, c.Client())
}

func TestConfig_Producing(t *testing.T) {
	c := Config{ClientID: "here", Brokers: []string{"127.0.0.1:1"}}.WithDefaults()
	client, err := c.newClient(c.inTransactions("t", true)...)
	require.NoError(t, err)
	defer client.Close()
	for _, want := range []struct {
		option, value any
	}{
		{kgo.ClientID, "here"}, {kgo.RequiredAcks, kgo.AllISRAcks()}, {kgo.DisableIdempotentWrite, false}, {kgo.RecordRetries, int64(math.MaxInt64)},
		{kgo.RecordDeliveryTimeout, time.Duration(0)}, {kgo.AllowAutoTopicCreation, false}, {kgo.MaxBufferedRecords, int64(mostBuffered)}, {kgo.TransactionTimeout, transactionTimeout}, {kgo.ProducerLinger, lingerInTransaction},
	} {
		require.Equal(t, want.value, client.OptValue(want.option))
	}
}

func TestConfig_WithDefaults(t *testing.T) {
	c := Config{}.WithDefaults()
	require.Equal(t, 100*time.Millisecond, c.CommitInterval)
	require.Equal(t, 10*time.Second, c.SessionTimeout)
	require.Equal(t, 4000, c.CacheRows)
	require.NotNil(t, c.Logger)
	require.WithinDuration(t, time.Now(), c.Now(), time.Minute)
	require.NoError(t, c.Client().Validate())
	require.Equal(t, time.Second, Config{CommitInterval: time.Second}.WithDefaults().CommitInterval)
}

package sim

import (
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/order"
)

// The engine's producers and goka itself hash with sarama's partitioner.
func TestPartitioner_EqualsSarama(t *testing.T) {
	theirs := sarama.NewCustomHashPartitioner(fnv.New32a)("t")
	ours := Partitioner().ForTopic("t")
	negative := 0
	for _, n := range []int{1, 2, 7, 8, 16} {
		for i := range 5000 {
			key := fmt.Sprintf("load-x-o%d", i)
			want, err := theirs.Partition(&sarama.ProducerMessage{Key: sarama.StringEncoder(key)}, int32(n))
			require.NoError(t, err)
			require.Equal(t, int(want), ours.Partition(&kgo.Record{Key: []byte(key)}, n), "%s of %d", key, n)
			require.Equal(t, int(want), first{Partitioner(), n}.ForTopic("t").Partition(&kgo.Record{Key: []byte(key)}, n+4), "the topic was raised")
			h := fnv.New32a()
			_, _ = h.Write([]byte(key))
			if int32(h.Sum32()) < 0 {
				negative++
			}
		}
	}
	require.NotZero(t, negative, "the case where hashers differ was not met")
}

func TestPercentiles(t *testing.T) {
	require.Equal(t, Percentiles{}, percentiles(nil))
	require.Equal(t, Percentiles{Count: 1, Mean: 7, P50: 7, P90: 7, P99: 7, Max: 7}, percentiles([]float64{7}))
	var hundred []float64
	for i := 100; i > 0; i-- {
		hundred = append(hundred, float64(i))
	}
	require.Equal(t, Percentiles{Count: 100, Mean: 50.5, P50: 50, P90: 90, P99: 99, Max: 100}, percentiles(hundred))
}

func TestPeek(t *testing.T) {
	e := order.Event{Meta: domain.Meta{Type: "placed", ID: `o"1/1`}, OrderID: `o"1`, Lines: []domain.Line{{Product: "type", Quantity: 1}}, CauseID: "x"}
	value, err := codecs.Marshal(&e)
	require.NoError(t, err)
	var p peeker
	for range 2 { // it is used again and again
		h, ok := p.peek(value, wantType|wantOrderID)
		require.True(t, ok)
		require.Equal(t, head{Type: "placed", OrderID: `o"1`}, h)
		h, ok = p.peek(value, wantReason)
		require.True(t, ok)
		require.Empty(t, h.Reason)
		_, ok = p.peek([]byte(`[1]`), wantType)
		require.False(t, ok)
		_, ok = p.peek([]byte(`{"type":`), wantType)
		require.False(t, ok)
	}
}

func BenchmarkPeek(b *testing.B) {
	e := order.Event{Meta: domain.Meta{Type: "placed", ID: "load-abcdef-o123/1"}, OrderID: "load-abcdef-o123"}
	value, _ := codecs.Marshal(&e)
	var p peeker
	b.ReportAllocs()
	for b.Loop() {
		p.peek(value, wantType)
	}
}

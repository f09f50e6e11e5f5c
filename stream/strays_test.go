package stream

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Who forwards a record that comes back to it ends that, as groups do.
func TestStrays_Endless(t *testing.T) {
	s := &strays{Engine: &Engine{cfg: Config{Strays: "strays", Partitions: 4, Now: time.Now}}, dead: map[string]string{"in": "dead"}}
	r := &kgo.Record{Topic: "in", Partition: 5, Offset: 7, Key: []byte("k"), Value: []byte(`{}`)}
	for n := range MaxHops {
		r = s.moved(r)
		require.Equal(t, "in", r.Topic)
		require.Contains(t, r.Headers, kgo.RecordHeader{Key: HeaderHops, Value: []byte(strconv.Itoa(n + 1))})
		require.Contains(t, r.Headers, kgo.RecordHeader{Key: HeaderOrigin, Value: []byte("in/5/7")})
	}
	r = s.moved(r)
	require.Equal(t, "dead", r.Topic)
	require.Equal(t, `{}`, string(r.Value))
}

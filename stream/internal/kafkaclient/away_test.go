package kafkaclient

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/internal/kafkatest"
)

// One broker of several is away: questions that come at once all find another.
func TestMetadata_OneBrokerAway(t *testing.T) {
	b := kafkatest.Embedded(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := l.Addr().String()
	l.Close()
	for range 10 {
		c, err := New(Options{Brokers: []string{gone, b.Addr}, Logger: kafkatest.Logger(t)})
		require.NoError(t, err)
		var asking sync.WaitGroup
		for range 8 {
			asking.Go(func() {
				_, err := c.metadata(t.Context())
				assert.NoError(t, err)
			})
		}
		asking.Wait()
		c.Close()
	}
}

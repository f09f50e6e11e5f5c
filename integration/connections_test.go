package integration

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/kafkatest"
)

// What a process that has nothing to do may cost a broker.
const (
	mostConnections = 20
	mostRequests    = 20 // a second
)

// countedListener counts the connections that are open.
type countedListener struct {
	net.Listener
	open atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &countedConn{Conn: c, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func TestConnections_Idle(t *testing.T) {
	if kafkatest.OnlyKafka() {
		t.Skip("counts inside of the embedded broker")
	}
	for _, guarantee := range []string{"at-least-once", "exactly-once"} {
		t.Run(guarantee, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			counted := &countedListener{Listener: l}
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(string, string) (net.Listener, error) { return counted, nil }))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			var mu sync.Mutex
			requests := map[kmsg.Key]int{}
			cluster.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				mu.Lock()
				defer mu.Unlock()
				requests[kmsg.Key(req.Key())]++
				return nil, nil, false
			})
			start(t, "up", "--brokers", l.Addr().String(), "--guarantee", guarantee, "--replication", "1", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0")

			assert.Eventually(t, func() bool { return counted.open.Load() <= mostConnections }, time.Minute, 100*time.Millisecond,
				"an idle process lets connections go")
			mu.Lock()
			clear(requests)
			mu.Unlock()
			const span = 10 * time.Second
			most, began := int64(0), time.Now()
			for time.Since(began) < span {
				most = max(most, counted.open.Load())
				time.Sleep(50 * time.Millisecond) // between two looks
			}
			mu.Lock()
			defer mu.Unlock()
			sum := 0
			for _, n := range requests {
				sum += n
			}
			assert.LessOrEqual(t, most, int64(mostConnections), "connections of an idle process")
			assert.LessOrEqual(t, float64(sum)/span.Seconds(), float64(mostRequests), "requests a second of an idle process: in %s %v", span, requests)
			t.Logf("%d connections; in %s %d requests: %v", most, span, sum, requests)
		})
	}
}

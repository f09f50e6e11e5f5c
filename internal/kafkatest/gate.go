package kafkatest

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Gate is the way to a broker of its own, to be shut and opened by a test.
type Gate struct {
	addr string

	mu     sync.Mutex
	free   sync.Cond
	frozen bool
	gone   bool
	closed bool
	inner  net.Listener
	conns  map[net.Conn]bool
	refuse func(partition int32) bool
}

// Gated starts a broker in memory behind a Gate. It ends with the test.
func Gated(t testing.TB) (Broker, *Gate) {
	t.Helper()
	skipEmbedded(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &Gate{addr: inner.Addr().String(), inner: inner, conns: map[net.Conn]bool{}}
	g.free.L = &g.mu
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(_, _ string) (net.Listener, error) { return g, nil }),
		kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "1000", "default.replication.factor": "1"}))
	require.NoError(t, err)
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return g.produce(req.(*kmsg.ProduceRequest))
	})
	t.Cleanup(func() { g.Open(); c.Close() })
	return Broker{Name: EmbeddedName, Addr: g.addr}, g
}

// Freeze lets the broker take connections and requests, and answer none: like
// one that is stopped, or on a machine that hangs.
func (g *Gate) Freeze() { g.set(func() { g.frozen = true }) }

// Cut closes all connections and refuses new ones, like a broker that is killed.
func (g *Gate) Cut() {
	g.set(func() {
		g.gone = true
		_ = g.inner.Close()
		for c := range g.conns {
			_ = c.Close()
		}
	})
}

// Refuse lets the broker refuse requests to produce into some partitions, as one
// that has too few replicas in sync.
func (g *Gate) Refuse(partitions func(int32) bool) { g.set(func() { g.refuse = partitions }) }

func (g *Gate) produce(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
	g.mu.Lock()
	refuse := g.refuse
	g.mu.Unlock()
	refused := false
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			one := kmsg.NewProduceResponseTopicPartition()
			one.Partition, one.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
			topic.Partitions = append(topic.Partitions, one)
			refused = refused || refuse != nil && refuse(p.Partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, nil, refused
}

// Open lets everything pass again.
func (g *Gate) Open() { g.set(func() { g.frozen, g.gone, g.refuse = false, false, nil }) }

func (g *Gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	g.free.Broadcast()
}

// Accept implements net.Listener.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		inner := g.inner
		g.mu.Unlock()
		c, err := inner.Accept()
		g.mu.Lock()
		switch {
		case err == nil && g.gone:
			_ = c.Close()
		case err == nil:
			g.conns[c] = true
			g.mu.Unlock()
			return &gatedConn{c, g}, nil
		}
		for g.gone && !g.closed {
			g.free.Wait()
		}
		if g.closed {
			g.mu.Unlock()
			return nil, net.ErrClosed
		}
		if err != nil {
			if g.inner, err = net.Listen("tcp", g.addr); err != nil {
				g.mu.Unlock()
				return nil, err
			}
		}
		g.mu.Unlock()
	}
}

// Close implements net.Listener.
func (g *Gate) Close() error {
	g.set(func() { g.closed = true })
	return g.inner.Close()
}

// Addr implements net.Listener.
func (g *Gate) Addr() net.Addr { return g.inner.Addr() }

type gatedConn struct {
	net.Conn
	g *Gate
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.pass()
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.pass()
	return c.Conn.Write(b)
}

// pass blocks while the gate is frozen.
func (c *gatedConn) pass() {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	for c.g.frozen {
		c.g.free.Wait()
	}
}

func (c *gatedConn) Close() error {
	c.g.set(func() { delete(c.g.conns, c.Conn) })
	return c.Conn.Close()
}

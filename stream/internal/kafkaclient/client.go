// Package kafkaclient is what a process reads Kafka with: one set of connections
// for all its consumer groups, views and questions about offsets, behind the
// interfaces that goka takes from sarama.
//
// Sarama's own clients each connect, and each ask, for themselves: a process with
// eight groups and seven views held more than a hundred connections to one broker
// and sent two hundred requests a second while nothing happened. Here
//
//   - all partitions that are read with the same pause share one fetch (reader),
//   - questions about offsets that come at the same time share one request (offset),
//   - a consumer group has one connection, for its heartbeats and commits (group).
//
// Connections that are idle are closed.
package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Idle is how long a connection may be idle before it is closed. Closing may take
// as long again.
const Idle = 5 * time.Second

// patience is how long a question may take while brokers come and go.
const patience = 10 * time.Second

var errClosed = errors.New("the client is closed")

// Options of a Client.
type Options struct {
	Brokers  []string
	ClientID string
	Logger   *slog.Logger
	Log      kgo.Logger // of the connections
	Hooks    []kgo.Hook // of the connections
}

// Client is one process's connections for reading. It is safe for concurrent use.
type Client struct {
	opts Options
	ask  *kgo.Client // metadata and offsets
	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool
	readers map[time.Duration]*reader // by the pause between two fetches
	leaders map[at]int32
	asking  map[int64]*questions // by what is asked

	hurryMu sync.Mutex
	hurried int           // how many are in a hurry
	hurry   chan struct{} // closed while somebody is
}

// hurriedPause is the longest pause between two fetches while somebody is in a
// hurry.
const hurriedPause = 3 * time.Millisecond

// Hurry makes all pauses between two fetches short until done is called: somebody
// waits for what is read.
func (c *Client) Hurry() (done func()) {
	c.hurryMu.Lock()
	defer c.hurryMu.Unlock()
	if c.hurried++; c.hurried == 1 {
		close(c.hurry)
	}
	return sync.OnceFunc(func() {
		c.hurryMu.Lock()
		defer c.hurryMu.Unlock()
		if c.hurried--; c.hurried == 0 {
			c.hurry = make(chan struct{})
		}
	})
}

// hurrying is closed while somebody is in a hurry.
func (c *Client) hurrying() <-chan struct{} {
	c.hurryMu.Lock()
	defer c.hurryMu.Unlock()
	return c.hurry
}

// at is a partition of a topic.
type at struct {
	topic     string
	partition int32
}

// New returns a client. Nothing is contacted yet.
func New(o Options) (*Client, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Client{opts: o, readers: map[time.Duration]*reader{}, leaders: map[at]int32{}, asking: map[int64]*questions{}, hurry: make(chan struct{})}
	var err error
	if c.ask, err = c.connect(); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// connect returns a client of franz-go. Each has connections of its own: a
// request that blocks at the broker holds up those behind it.
func (c *Client) connect(opts ...kgo.Opt) (*kgo.Client, error) {
	versions := kversion.Stable()
	// The next ones take topics by their ids.
	versions.SetMaxKeyVersion(int16(kmsg.Fetch), 12)
	versions.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	versions.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 9)
	// The next one lets a leader that was started again assign nothing.
	versions.SetMaxKeyVersion(int16(kmsg.JoinGroup), 7)
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(c.opts.Brokers...),
		kgo.ClientID(c.opts.ClientID),
		kgo.ConnIdleTimeout(Idle),
		kgo.DisableClientMetrics(),
		kgo.MaxVersions(versions),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(time.Duration(tries)*50*time.Millisecond, time.Second) }),
	}, opts...)
	if len(c.opts.Hooks) > 0 {
		opts = append(opts, kgo.WithHooks(c.opts.Hooks...))
	}
	if c.opts.Log != nil {
		opts = append(opts, kgo.WithLogger(c.opts.Log))
	}
	k, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("starting a client: %w", err)
	}
	return k, nil
}

// Close ends all connections. Consumers and groups must be closed before.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	readers := c.readers
	c.readers = nil
	c.mu.Unlock()
	c.stop()
	for _, r := range readers {
		r.close()
	}
	c.ask.Close()
}

func (c *Client) reader(pause time.Duration) (*reader, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	r := c.readers[pause]
	if r == nil {
		var err error
		if r, err = newReader(c, pause); err != nil {
			return nil, err
		}
		c.readers[pause] = r
	}
	return r, nil
}

// AnyBroker calls ask until it reaches one of so many brokers, or all can be taken
// to be away. The client takes the addresses in turn, and gives a question up when
// it meets one where nobody is twice, as happens when several ask at once.
func AnyBroker(brokers int, ask func() error) error {
	for tries := 1; ; tries++ {
		err := ask()
		var dial *net.OpError
		if !errors.As(err, &dial) || dial.Op != "dial" || tries >= 3*brokers || brokers == 1 {
			return err
		}
	}
}

// metadata asks for topics, for all without any. It creates none.
func (c *Client) metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	var resp *kmsg.MetadataResponse
	err := AnyBroker(len(c.opts.Brokers), func() (err error) {
		resp, err = req.RequestWith(ctx, c.ask)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking the brokers for topics: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		for _, p := range t.Partitions {
			c.leaders[at{*t.Topic, p.Partition}] = p.Leader
		}
	}
	return resp, nil
}

// partitions returns the partitions of a topic, in order.
func (c *Client) partitions(ctx context.Context, topic string) ([]int32, error) {
	resp, err := c.metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		if t.Topic == nil || *t.Topic != topic {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && len(t.Partitions) == 0 {
			return nil, fmt.Errorf("topic %s: %w", topic, err)
		}
		all := make([]int32, len(t.Partitions))
		for _, p := range t.Partitions {
			if int(p.Partition) >= len(all) {
				return nil, fmt.Errorf("topic %s: the brokers tell of only some of its partitions", topic)
			}
			all[p.Partition] = p.Partition
		}
		return all, nil
	}
	return nil, fmt.Errorf("topic %s: %w", topic, kerr.UnknownTopicOrPartition)
}

// leader returns the broker that a partition is read from.
func (c *Client) leader(ctx context.Context, p at) (int32, error) {
	c.mu.Lock()
	id, ok := c.leaders[p]
	c.mu.Unlock()
	if ok && id >= 0 {
		return id, nil
	}
	if _, err := c.metadata(ctx, p.topic); err != nil {
		return -1, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.leaders[p]; ok && id >= 0 {
		return id, nil
	}
	return -1, fmt.Errorf("%s/%d: %w", p.topic, p.partition, kerr.LeaderNotAvailable)
}

func (c *Client) forgetLeader(p at) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaders, p)
}

// sleep waits and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

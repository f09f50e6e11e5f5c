// Package sim plays the people around the engine: customers, stores and riders who talk to it through the streams only, as any
// client would. Load measures it, Replay feeds it a recorded day, and Town keeps a small place alive for a demonstration.
package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/codecs"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

// Client writes commands and reads what the engine answers. It is safe for use from several goroutines.
type Client struct {
	cat    *topics.Catalog
	kgo    *kgo.Client
	starts offsets
	ends   offsets

	once   sync.Once
	failed chan struct{}
	err    error
}

type offsets map[string]map[int32]int64

// Partitioner places a key where the engine's own producers place it (goka: FNV-1a), so that no record has to be forwarded.
func Partitioner() kgo.Partitioner {
	return kgo.StickyKeyPartitioner(kgo.SaramaCompatHasher(func(key []byte) uint32 {
		h := fnv.New32a()
		_, _ = h.Write(key)
		return h.Sum32()
	}))
}

// first keeps a partitioner to the partitions of the installation, also where a topic was raised to more.
type first struct {
	kgo.Partitioner
	n int
}

// ForTopic implements kgo.Partitioner.
func (f first) ForTopic(topic string) kgo.TopicPartitioner {
	return firstOf{f.Partitioner.ForTopic(topic), f.n}
}

type firstOf struct {
	kgo.TopicPartitioner
	n int
}

// Partition implements kgo.TopicPartitioner.
func (f firstOf) Partition(r *kgo.Record, n int) int {
	return f.TopicPartitioner.Partition(r, min(n, f.n))
}

// Dial makes a Client that reads the streams from now on: their ends are looked up before Dial returns, so nothing that follows
// from a command sent later is missed. The back newest records of each partition are read first; 0 for none.
func Dial(ctx context.Context, cat *topics.Catalog, brokers []string, back int64, streams ...string) (*Client, error) {
	c := &Client{cat: cat, failed: make(chan struct{})}
	// Commands go to these; they are checked with the others as a producer would only wait for a missing topic.
	needed := append([]string{cat.OrderCommands.Name(), cat.StoreCommands.Name(), cat.RiderCommands.Name()}, streams...)
	var from map[string]map[int32]kgo.Offset
	var err error
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		from, err = c.look(ctx, brokers, needed, streams, back)
	}()
	select {
	case <-looked:
	case <-ctx.Done(): // the client does not listen to it while a broker takes the connection and says nothing
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	c.kgo, err = kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ClientID("baedal-sim"),
		kgo.RequiredAcks(kgo.AllISRAcks()), // with kgo's default idempotence: a command is written once
		kgo.RecordPartitioner(first{Partitioner(), cat.Partitions}),
		kgo.ProducerLinger(time.Millisecond), // a batch is worth a little time, but the time is part of what is measured
		kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that Read knows a partition's end is reached where it ends with a commit marker
		kgo.FetchMaxWait(500*time.Millisecond),
	)
	if err != nil {
		return nil, fmt.Errorf("brokers %v: %w", brokers, err)
	}
	return c, nil
}

// look finds out where reading starts and where the streams end.
func (c *Client) look(ctx context.Context, brokers, needed, streams []string, back int64) (map[string]map[int32]kgo.Offset, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("baedal-sim"))
	if err != nil {
		return nil, fmt.Errorf("brokers %v: %w", brokers, err)
	}
	defer cl.Close()

	meta := kmsg.NewPtrMetadataRequest()
	for _, name := range needed {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		meta.Topics = append(meta.Topics, t)
	}
	found, err := meta.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("no answer from brokers %v: is one running there? %w", brokers, err)
	}
	partitions := make(map[string]int32)
	for _, t := range found.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s on %v: %w: start `baedal up`, or make the topics with `baedal topics create`", *t.Topic, brokers, err)
		}
		partitions[*t.Topic] = int32(len(t.Partitions))
	}

	if c.starts, err = listOffsets(ctx, cl, streams, partitions, -2); err != nil {
		return nil, err
	}
	if c.ends, err = listOffsets(ctx, cl, streams, partitions, -1); err != nil {
		return nil, err
	}
	from := make(map[string]map[int32]kgo.Offset)
	for topic, ps := range c.ends {
		from[topic] = make(map[int32]kgo.Offset)
		for p, end := range ps {
			at := max(end-back, c.starts[topic][p])
			c.starts[topic][p] = at
			from[topic][p] = kgo.NewOffset().At(at)
		}
	}
	return from, nil
}

// listOffsets asks for the first (-2) or the next (-1) offset of every partition.
func listOffsets(ctx context.Context, cl *kgo.Client, streams []string, partitions map[string]int32, timestamp int64) (offsets, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = 1
	for _, name := range streams {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for p := range partitions[name] {
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition = p
			one.Timestamp = timestamp
			one.CurrentLeaderEpoch = -1
			t.Partitions = append(t.Partitions, one)
		}
		req.Topics = append(req.Topics, t)
	}
	out := make(offsets)
	for _, shard := range cl.RequestSharded(ctx, req) { // one per broker that leads some
		if shard.Err != nil {
			return nil, fmt.Errorf("the ends of %v: %w", streams, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			if out[t.Topic] == nil {
				out[t.Topic] = make(map[int32]int64)
			}
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("the end of %s/%d: %w", t.Topic, p.Partition, err)
				}
				out[t.Topic][p.Partition] = p.Offset
			}
		}
	}
	return out, nil
}

// Close writes what is still to be written, for a few seconds at most, and ends the client.
func (c *Client) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.kgo.Flush(ctx) // what is lost here is a command that nobody waits for any more
	c.kgo.Close()
}

// Failed is closed once a command could not be written; Err says why.
func (c *Client) Failed() <-chan struct{} { return c.failed }

// Err returns why a command could not be written; nil while Failed is open.
func (c *Client) Err() error {
	select {
	case <-c.failed:
		return c.err
	default:
		return nil
	}
}

func (c *Client) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.failed)
	})
}

// Order sends a command about an order. It returns before the broker has it, and blocks only while tens of thousands of commands
// wait for the broker.
func (c *Client) Order(id string, cmd order.Command) { c.send(c.cat.OrderCommands.Name(), id, &cmd) }

// Store sends a command about a store; see Order.
func (c *Client) Store(id string, cmd stock.Command) { c.send(c.cat.StoreCommands.Name(), id, &cmd) }

// Rider sends a command of a rider; see Order.
func (c *Client) Rider(id string, cmd rider.Command) { c.send(c.cat.RiderCommands.Name(), id, &cmd) }

func (c *Client) send(topic, key string, cmd any) {
	value, err := codecs.Marshal(cmd)
	if err != nil {
		c.fail(fmt.Errorf("command for %s: %w", key, err))
		return
	}
	c.kgo.Produce(context.Background(), &kgo.Record{Topic: topic, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil && !errors.Is(err, kgo.ErrClientClosed) {
			c.fail(fmt.Errorf("%s was not written: %w", topic, err))
		}
	})
}

// Read calls handle with each batch of records until ctx ends, which is no error. live is false as long as there are records
// from before Dial to come; a call without records tells when that changes. It is for one goroutine.
func (c *Client) Read(ctx context.Context, handle func(batch []*kgo.Record, live bool)) error {
	type partition struct {
		topic string
		id    int32
	}
	behind := make(map[partition]bool) // those with records from before Dial to come
	for topic, ps := range c.ends {
		for p, end := range ps {
			if c.starts[topic][p] < end {
				behind[partition{topic, p}] = true
			}
		}
	}
	if len(behind) == 0 {
		handle(nil, true)
	}
	var batch []*kgo.Record
	for {
		fetches := c.kgo.PollRecords(ctx, 5000)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return nil
		}
		batch = batch[:0]
		live := len(behind) == 0
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil && !kerr.IsRetriable(p.Err) {
				failed = fmt.Errorf("reading %s/%d: %w", p.Topic, p.Partition, p.Err)
			}
			for _, r := range p.Records {
				if !r.Attrs.IsControl() {
					batch = append(batch, r)
				}
			}
			if n := len(p.Records); !live && n > 0 && p.Records[n-1].Offset+1 >= c.ends[p.Topic][p.Partition] {
				delete(behind, partition{p.Topic, p.Partition})
			}
		})
		if failed != nil {
			return failed
		}
		if len(batch) > 0 {
			handle(batch, live)
		}
		if !live && len(behind) == 0 {
			handle(nil, true)
		}
	}
}

// batch is what Read gives at once.
type batch struct {
	records []*kgo.Record
	live    bool
}

// batches is Read for a loop that waits for other things too. The error channel gets what ended the reading.
func (c *Client) batches(ctx context.Context) (<-chan batch, <-chan error) {
	out, ended := make(chan batch), make(chan error, 1)
	go func() {
		ended <- c.Read(ctx, func(records []*kgo.Record, live bool) {
			select {
			case out <- batch{slices.Clone(records), live}:
			case <-ctx.Done():
			}
		})
	}()
	return out, ended
}

// commandID names a command by what it is about: what is said twice is said
// under one id. Ids of clients have no slash.
func commandID(parts ...string) string { return strings.Join(parts, ":") }

// assignmentOf names what a rider was told about a delivery, to name by it what
// they do for it.
func assignmentOf(e *dispatch.RiderEvent) string {
	return strings.ReplaceAll(strings.TrimPrefix(e.ID, e.RiderID+"/"), "/", ":")
}

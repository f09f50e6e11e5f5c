package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// together is how long a question waits for others that are asked with it.
const together = 2 * time.Millisecond

// stable asks for the last stable offset: where the oldest open transaction
// begins, or the newest offset.
const stable = -100

// questions are asked in one request.
type questions struct {
	of   map[at]bool
	done chan struct{}

	// when done:
	answers map[at]int64
	errs    map[at]error
}

// offset asks where a partition begins (sarama.OffsetOldest), ends
// (sarama.OffsetNewest) or is stable.
func (c *Client) offset(ctx context.Context, p at, which int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		offset, err := c.offsetOnce(ctx, p, which)
		if err == nil || !kerr.IsRetriable(err) || !sleep(ctx, 50*time.Millisecond) { // a leader that has just moved
			return offset, err
		}
	}
}

func (c *Client) offsetOnce(ctx context.Context, p at, which int64) (int64, error) {
	c.mu.Lock()
	q := c.asking[which]
	if q == nil {
		q = &questions{of: map[at]bool{}, done: make(chan struct{})}
		c.asking[which] = q
		go c.askSoon(q, which)
	}
	q.of[p] = true
	c.mu.Unlock()
	select {
	case <-q.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("asking for offsets of %s/%d: %w", p.topic, p.partition, context.Cause(ctx))
	}
	if err := q.errs[p]; err != nil {
		return 0, fmt.Errorf("asking for offsets of %s/%d: %w", p.topic, p.partition, err)
	}
	return q.answers[p], nil
}

func (c *Client) askSoon(q *questions, which int64) {
	defer close(q.done)
	sleep(c.ctx, together)
	c.mu.Lock()
	delete(c.asking, which)
	c.mu.Unlock()

	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	time := which
	if which == stable {
		req.IsolationLevel, time = 1, sarama.OffsetNewest
	}
	topics := map[string]int{}
	for p := range q.of {
		i, ok := topics[p.topic]
		if !ok {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = p.topic
			i = len(req.Topics)
			topics[p.topic] = i
			req.Topics = append(req.Topics, t)
		}
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp, one.CurrentLeaderEpoch = p.partition, time, -1
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, one)
	}
	q.answers, q.errs = map[at]int64{}, map[at]error{}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	failed := error(kerr.UnknownTopicOrPartition) // of those that nothing is said about
	for _, shard := range c.ask.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failed = shard.Err
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				here := at{t.Topic, p.Partition}
				delete(q.of, here)
				q.answers[here] = p.Offset
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					q.errs[here] = err
				}
			}
		}
	}
	for p := range q.of {
		q.errs[p] = failed
	}
}

// Manager returns goka's topic manager. It creates nothing. Its Close calls
// closing.
func (c *Client) Manager(closing func()) goka.TopicManager {
	return &manager{c: c, closing: sync.OnceFunc(closing), known: map[at]end{}}
}

// manager answers as goka's own, with one answer mended. Goka takes a table for
// recovered when it has read the record before the newest offset, but what ends a
// transaction takes an offset and is never read. So the newest offset is said to
// be the one behind the last record that can be read, once no transaction is
// open.
type manager struct {
	c       *Client
	closing func()

	mu    sync.Mutex
	known map[at]end
}

// end is where a partition ended when it was last looked at.
type end struct {
	newest   int64 // what takes no record counts, too
	readable int64
	looked   time.Time
}

// fresh is how long the answer for a partition that does not grow is not looked
// for again: records may be deleted.
const fresh = 5 * time.Minute

// openTransaction is how long to wait for a transaction that somebody left open:
// the brokers end ours after ten seconds.
const openTransaction = 30 * time.Second

// GetOffset blocks while a transaction is open in the partition.
func (m *manager) GetOffset(topic string, partition int32, which int64) (int64, error) {
	p := at{topic, partition}
	if which != sarama.OffsetNewest {
		return m.c.offset(m.c.ctx, p, which)
	}
	deadline := time.Now().Add(openTransaction)
	for {
		newest, err := m.c.offset(m.c.ctx, p, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		m.mu.Lock()
		known, ok := m.known[p]
		m.mu.Unlock()
		if ok && known.newest == newest && time.Since(known.looked) < fresh {
			return known.readable, nil
		}
		settled, err := m.c.offset(m.c.ctx, p, stable)
		switch {
		case err != nil:
			return 0, err
		case settled >= newest:
			readable, err := m.behindLast(p, newest)
			if err == nil {
				m.mu.Lock()
				m.known[p] = end{newest, readable, time.Now()}
				m.mu.Unlock()
			}
			return readable, err
		case time.Now().After(deadline):
			return 0, fmt.Errorf("a transaction in %s/%d is open for longer than %s: end it with kafka-transactions.sh --abort", topic, partition, openTransaction)
		}
		if !sleep(m.c.ctx, 20*time.Millisecond) { // between two questions
			return 0, errClosed
		}
	}
}

// behindLast looks for the last record that can be read before an offset, a few
// records back at first.
func (m *manager) behindLast(p at, end int64) (int64, error) {
	oldest, err := m.c.offset(m.c.ctx, p, sarama.OffsetOldest)
	if err != nil {
		return 0, err
	}
	for back := int64(2); ; back *= 8 {
		from := max(oldest, end-back)
		last, err := m.lastIn(p, from, end)
		if err != nil {
			return 0, err
		}
		if last >= 0 {
			return last + 1, nil
		}
		if from == oldest {
			return oldest, nil
		}
	}
}

// lastIn returns the offset of the last readable record in [from, end), or -1.
func (m *manager) lastIn(p at, from, end int64) (last int64, err error) {
	last = -1
	for size := int32(1 << 20); from < end; {
		answer, err := m.c.peek(p, from, size)
		if err != nil {
			return -1, err
		}
		gone := maps.Clone(aborted(answer.AbortedTransactions))
		next := from
		for b, rest := cut(answer.RecordBatches); b != nil; b, rest = cut(rest) {
			next = max(next, b.last()+1)
			if b.readable(gone) && b.last() >= from && b.last() < end {
				last = b.last()
			}
		}
		if next == from {
			if size > 1<<28 {
				return -1, fmt.Errorf("%s/%d can't be read at offset %d", p.topic, p.partition, from)
			}
			size *= 4 // a batch larger than what was asked for
			continue
		}
		from = next
	}
	return last, nil
}

// peek fetches once what is at an offset, and does not wait for it.
func (c *Client) peek(p at, offset int64, size int32) (*kmsg.FetchResponseTopicPartition, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	for {
		answer, err := c.peekOnce(ctx, p, offset, size)
		if err == nil {
			return answer, nil
		}
		err = fmt.Errorf("reading %s/%d at offset %d: %w", p.topic, p.partition, offset, err)
		var k *kerr.Error
		if errors.As(err, &k) && !k.Retriable || errors.Is(err, sarama.ErrOffsetOutOfRange) {
			return nil, err
		}
		c.forgetLeader(p)
		if !sleep(ctx, 50*time.Millisecond) {
			return nil, err
		}
	}
}

func (c *Client) peekOnce(ctx context.Context, p at, offset int64, size int32) (*kmsg.FetchResponseTopicPartition, error) {
	id, err := c.leader(ctx, p)
	if err != nil {
		return nil, err
	}
	s := &subscription{at: p, next: offset, size: size}
	resp, err := (&fetch{who: map[at][]*subscription{p: {s}}}).send(ctx, c.ask, id)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		for i := range t.Partitions {
			if t.Topic == p.topic && t.Partitions[i].Partition == p.partition {
				return &t.Partitions[i], translate(kerr.ErrorForCode(t.Partitions[i].ErrorCode))
			}
		}
	}
	return nil, errors.New("the broker does not answer about it")
}

func (m *manager) Partitions(topic string) ([]int32, error) {
	return m.c.partitions(m.c.ctx, topic)
}

func (m *manager) EnsureTableExists(topic string, _ int) error  { return m.exists(topic) }
func (m *manager) EnsureStreamExists(topic string, _ int) error { return m.exists(topic) }
func (m *manager) EnsureTopicExists(topic string, _, _ int, _ map[string]string) error {
	return m.exists(topic)
}

func (m *manager) exists(topic string) error {
	_, err := m.Partitions(topic)
	return err
}

func (m *manager) Close() error {
	m.closing()
	return nil
}

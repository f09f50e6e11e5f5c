package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/unpack"
)

// subscription is one reader of one partition: sarama's PartitionConsumer. At
// most one chunk waits while another one is handed out, batch by batch; until
// then nothing more is fetched for it.
type subscription struct {
	r        *reader
	at       at
	messages chan *sarama.ConsumerMessage
	errors   chan *sarama.ConsumerError
	more     chan struct{} // a chunk waits
	done     chan struct{} // closed by end
	onData   func()        // is told when records come; or nil
	high     atomic.Int64

	// With r.mu:
	next    int64 // offset of the next fetch
	size    int32 // bytes to ask for
	leader  int32 // -1: not known
	lost    time.Time
	flying  bool // a fetch is under way
	waiting *chunk
	paused  bool
	ended   bool
	cause   error // why it ended by itself
	served  uint64
}

// subscribe begins to read at an offset that is in the partition.
func (c *Client) subscribe(pause time.Duration, p at, offset int64, onData func()) (*subscription, error) {
	r, err := c.reader(pause)
	if err != nil {
		return nil, err
	}
	s := &subscription{r: r, at: p, next: offset, size: partitionBytes, leader: -1, onData: onData,
		messages: make(chan *sarama.ConsumerMessage, 64), errors: make(chan *sarama.ConsumerError, 1),
		more: make(chan struct{}, 1), done: make(chan struct{})}
	return s, r.add(s)
}

// start returns where a reader that wants to begin at offset begins: an offset in
// the partition, or sarama.ErrOffsetOutOfRange.
func (c *Client) start(ctx context.Context, p at, offset int64) (int64, error) {
	var oldest, newest int64
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { oldest, errs[0] = c.offset(ctx, p, sarama.OffsetOldest) })
	wg.Go(func() { newest, errs[1] = c.offset(ctx, p, sarama.OffsetNewest) })
	wg.Wait()
	switch err := errors.Join(errs[:]...); {
	case err != nil:
		return 0, err
	case offset == sarama.OffsetOldest:
		return oldest, nil
	case offset == sarama.OffsetNewest:
		return newest, nil
	case offset < oldest || offset > newest:
		return 0, fmt.Errorf("%s/%d: offset %d is not in %d to %d: %w", p.topic, p.partition, offset, oldest, newest, sarama.ErrOffsetOutOfRange)
	}
	return offset, nil
}

// ready reports whether the next fetch may take it along. With r.mu held.
func (s *subscription) ready() bool {
	return !s.flying && !s.paused && !s.ended && s.waiting == nil
}

// take keeps a chunk until it is handed out. With r.mu held.
func (s *subscription) take(c chunk, next int64) {
	if next < 0 { // no whole batch
		if s.size < mostBytes {
			s.size *= 4
		}
		return
	}
	if s.ended || next <= s.next {
		return
	}
	c.from, c.aborted = s.next, maps.Clone(c.aborted)
	s.next, s.size, s.waiting = next, partitionBytes, &c
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// refused decides on what a broker says instead of records. With r.mu held.
func (s *subscription) refused(err error) {
	var k *kerr.Error
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		s.end(err)
	case errors.As(err, &k) && !k.Retriable:
		s.end(err)
	default:
		s.leader = -1
	}
}

// end lets nothing more come. With r.mu held.
func (s *subscription) end(err error) {
	if s.ended {
		return
	}
	s.ended, s.cause = true, err
	delete(s.r.subs, s)
	if err != nil {
		s.errors <- &sarama.ConsumerError{Topic: s.at.topic, Partition: s.at.partition, Err: translate(err)}
	}
	close(s.done)
}

func (s *subscription) feed() {
	defer close(s.errors)
	defer close(s.messages)
	for {
		select {
		case <-s.more:
		case <-s.done:
			return
		}
		s.r.mu.Lock()
		c := s.waiting
		s.waiting = nil
		s.r.changed.Broadcast()
		s.r.mu.Unlock()
		if c == nil {
			continue
		}
		if s.onData != nil {
			s.onData()
		}
		if !s.hand(c) {
			return
		}
	}
}

// hand hands the records of a chunk out, and reports whether to go on. None is
// longer than unpack.Record. What is compressed is unpacked record by record.
func (s *subscription) hand(c *chunk) bool {
	for b, rest := cut(c.raw); b != nil; b, rest = cut(rest) {
		if !b.readable(c.aborted) {
			continue
		}
		goesOn := true
		var err error
		if b.compressed() {
			err = unpack.Each(b, c.from, func(r *kgo.Record) bool {
				goesOn = s.send(r, &sarama.ConsumerMessage{})
				c.from = r.Offset + 1
				return goesOn
			})
		} else {
			var records []*kgo.Record
			records, err = s.decode(b, c.from)
			all := make([]sarama.ConsumerMessage, len(records))
			for i := 0; i < len(records) && goesOn; i++ {
				goesOn = s.send(records[i], &all[i])
			}
		}
		switch {
		case err != nil:
			return s.again(max(b.first(), c.from), err)
		case !goesOn:
			return false
		}
	}
	return true
}

func (s *subscription) send(r *kgo.Record, m *sarama.ConsumerMessage) bool {
	m.Topic, m.Partition, m.Offset, m.Key, m.Value, m.Timestamp = s.at.topic, s.at.partition, r.Offset, r.Key, r.Value, r.Timestamp
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	select {
	case s.messages <- m:
		return true
	case <-s.done:
		return false
	}
}

// decode returns the records of one batch.
func (s *subscription) decode(b batch, from int64) ([]*kgo.Record, error) {
	p := &kmsg.FetchResponseTopicPartition{Partition: s.at.partition, RecordBatches: b}
	fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, Topic: s.at.topic, Partition: s.at.partition}, p, unpack.Bounded(), nil)
	return fetched.Records, fetched.Err
}

// again fetches a batch again that can't be decoded: what can't be read is not
// skipped.
func (s *subscription) again(from int64, err error) bool {
	s.r.c.opts.Logger.Warn("a batch can't be read: it is tried again", "topic", s.at.topic, "partition", s.at.partition, "offset", from, "error", err)
	s.r.mu.Lock()
	s.paused = true
	s.r.mu.Unlock()
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.done:
		return false
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for s.flying { // its answer would set the offset forward again
		s.r.changed.Wait()
	}
	s.paused, s.waiting, s.next = false, nil, from
	s.r.changed.Broadcast()
	return true
}

// Messages implements sarama.PartitionConsumer.
func (s *subscription) Messages() <-chan *sarama.ConsumerMessage { return s.messages }

// Errors implements sarama.PartitionConsumer.
func (s *subscription) Errors() <-chan *sarama.ConsumerError { return s.errors }

// HighWaterMarkOffset implements sarama.PartitionConsumer.
func (s *subscription) HighWaterMarkOffset() int64 { return s.high.Load() }

// AsyncClose implements sarama.PartitionConsumer.
func (s *subscription) AsyncClose() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.end(nil)
	s.r.changed.Broadcast()
}

// Close implements sarama.PartitionConsumer.
func (s *subscription) Close() error {
	s.AsyncClose()
	for range s.messages {
	}
	var all []error
	for err := range s.errors {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// Pause implements sarama.PartitionConsumer.
func (s *subscription) Pause() { s.pause(true) }

// Resume implements sarama.PartitionConsumer.
func (s *subscription) Resume() { s.pause(false) }

func (s *subscription) pause(on bool) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.paused = on
	s.r.changed.Broadcast()
}

// IsPaused implements sarama.PartitionConsumer.
func (s *subscription) IsPaused() bool {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.paused
}

// Consumer returns a sarama.Consumer whose partitions are fetched together with
// all others of the same pause. Its Close calls closing.
func (c *Client) Consumer(pause time.Duration, closing func()) sarama.Consumer {
	return &consumer{c: c, pause: pause, closing: sync.OnceFunc(closing), subs: map[at]*subscription{}}
}

type consumer struct {
	c       *Client
	pause   time.Duration
	closing func()

	mu   sync.Mutex
	subs map[at]*subscription
}

func (c *consumer) Topics() (all []string, err error) {
	resp, err := c.c.metadata(c.c.ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			all = append(all, *t.Topic)
		}
	}
	return all, nil
}

func (c *consumer) Partitions(topic string) ([]int32, error) {
	return c.c.partitions(c.c.ctx, topic)
}

func (c *consumer) ConsumePartition(topic string, partition int32, offset int64) (sarama.PartitionConsumer, error) {
	p := at{topic, partition}
	from, err := c.c.start(c.c.ctx, p, offset)
	if err != nil {
		return nil, err
	}
	s, err := c.c.subscribe(c.pause, p, from, nil)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[p] = s
	return s, nil
}

func (c *consumer) HighWaterMarks() map[string]map[int32]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]map[int32]int64{}
	for p, s := range c.subs {
		if all[p.topic] == nil {
			all[p.topic] = map[int32]int64{}
		}
		all[p.topic][p.partition] = s.HighWaterMarkOffset()
	}
	return all
}

func (c *consumer) each(of map[string][]int32, f func(*subscription)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range of {
		for _, p := range partitions {
			if s := c.subs[at{topic, p}]; s != nil {
				f(s)
			}
		}
	}
}

func (c *consumer) all() map[string][]int32 {
	all := map[string][]int32{}
	for topic, partitions := range c.HighWaterMarks() {
		for p := range partitions {
			all[topic] = append(all[topic], p)
		}
	}
	return all
}

func (c *consumer) Pause(of map[string][]int32)  { c.each(of, (*subscription).Pause) }
func (c *consumer) Resume(of map[string][]int32) { c.each(of, (*subscription).Resume) }
func (c *consumer) PauseAll()                    { c.Pause(c.all()) }
func (c *consumer) ResumeAll()                   { c.Resume(c.all()) }

func (c *consumer) Close() error {
	c.mu.Lock()
	for _, s := range c.subs {
		s.AsyncClose()
	}
	c.mu.Unlock()
	c.closing()
	return nil
}

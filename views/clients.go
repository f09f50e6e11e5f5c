package views

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
)

var errClosed = errors.New("the view has ended")

// clients are what one goka view connects with. goka closes neither its
// consumer nor its topic manager, so they are kept here and closed after it.
type clients struct {
	opts     Options
	learn    func(partitions int)
	newest   func(partition int32, offset int64, at time.Time)
	topic    string
	since    time.Duration // of a stream: what is older is not read; 0 is all
	mu       sync.Mutex
	consumer sarama.Consumer
	managers []*manager
	closed   bool
}

func (c *clients) buildConsumer(brokers []string, clientID string) (sarama.Consumer, error) {
	consumer, err := c.opts.SaramaConsumer(brokers, clientID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(errClosed, consumer.Close())
	}
	c.consumer = consumer
	return consumer, nil
}

func (c *clients) buildManager(brokers []string) (goka.TopicManager, error) {
	tm, err := c.opts.TopicManager(brokers)
	if err != nil {
		return nil, err
	}
	m := &manager{TopicManager: tm, clients: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(errClosed, m.Close())
	}
	c.managers = append(c.managers, m)
	return m, nil
}

// close closes what goka left open.
func (c *clients) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, m := range c.managers {
		errs = append(errs, m.Close())
	}
	if c.consumer != nil {
		errs = append(errs, c.consumer.Close())
	}
	c.managers, c.consumer, c.closed = nil, nil, true
	return errors.Join(errs...)
}

// manager listens to the answers that goka gets.
type manager struct {
	goka.TopicManager
	clients *clients
	once    sync.Once
	err     error
}

// Partitions tells how many partitions the table has.
func (m *manager) Partitions(topic string) ([]int32, error) {
	ps, err := m.TopicManager.Partitions(topic)
	if err == nil && topic == m.clients.topic {
		m.clients.learn(len(ps))
	}
	return ps, err
}

// GetOffset tells what the newest offset was, and when that was true.
func (m *manager) GetOffset(topic string, partition int32, which int64) (int64, error) {
	at := time.Now()
	offset, err := m.TopicManager.GetOffset(topic, partition, which)
	if since := m.clients.since; since > 0 && which == sarama.OffsetOldest && err == nil {
		return m.from(topic, partition, offset, at.Add(-since).Truncate(time.Minute))
	}
	if err == nil && which == sarama.OffsetNewest && topic == m.clients.topic {
		m.clients.newest(partition, offset, at)
	}
	return offset, err
}

// from returns the offset of the first record that came at a time or later. The
// time is a whole minute, so that one question is asked for all partitions.
func (m *manager) from(topic string, partition int32, oldest int64, at time.Time) (int64, error) {
	offset, err := m.TopicManager.GetOffset(topic, partition, at.UnixMilli())
	if err == nil && offset < 0 { // nothing is as new
		offset, err = m.TopicManager.GetOffset(topic, partition, sarama.OffsetNewest)
	}
	return max(oldest, offset), err
}

// Close may be called again.
func (m *manager) Close() error {
	m.once.Do(func() { m.err = m.TopicManager.Close() })
	return m.err
}

package views

import (
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"baedal/domain/notification"
	"baedal/state"
	"baedal/topics"
)

// Memory is a view in memory that its owner fills row by row, for tests: all is
// as in a View that follows a topic, but for the topic.
type Memory[R any] struct {
	*View[R]
	db *state.DB

	mu   sync.Mutex
	next []int64 // offset of the next record, by partition
}

// NewMemory returns an empty view of a table with as many partitions as its
// topic has, ready to be read.
func NewMemory[R any](name string, table topics.Table[R], indexes ...Index[R]) (*Memory[R], error) {
	db, err := state.OpenMemory()
	if err != nil {
		return nil, err
	}
	m := &Memory[R]{db: db, next: make([]int64, max(1, table.Partitions))}
	m.View = NewView(name, table, m.options(), indexes...)
	return m, m.open()
}

// NewMemoryMessages is NewMemory for a message log, and the view to put the
// messages of recipients into.
func NewMemoryMessages(name string, log topics.Stream[notification.Notification]) (*Messages, *Memory[notification.Notification], error) {
	m, err := NewMemory(name, topics.Table[notification.Notification]{Spec: log.Spec}, ByRecipient)
	if err != nil {
		return nil, nil, err
	}
	messages := &Messages{View: m.View, retention: log.Retention}
	m.View.apply = messages.note
	return messages, m, nil
}

func (m *Memory[R]) options() Options {
	return Options{
		Storage: func(topic string, p int32) (storage.Storage, error) {
			return m.db.Table("view", topic, p, state.Options{Follower: true, CacheRows: -1})
		},
		SaramaConsumer: func([]string, string) (sarama.Consumer, error) { return nil, errClosed },
		TopicManager:   func([]string) (goka.TopicManager, error) { return nil, errClosed },
	}
}

func (m *Memory[R]) open() error {
	m.learn(len(m.next))
	for p := range m.next {
		st, err := m.buildStorage(m.table.Name(), int32(p))
		if err == nil {
			err = st.Open()
		}
		if err == nil {
			m.heard(int32(p), m.next[p], time.Now())
			err = st.MarkRecovered()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Put applies a record of the table: a row, nil to delete it.
func (m *Memory[R]) Put(key string, row *R) error {
	var value []byte
	if row != nil {
		var err error
		if value, err = m.table.Encode(row); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	parts, err := m.partitions()
	if err != nil {
		return err
	}
	n := partitionOf(key, len(parts))
	p, offset := parts[n], m.next[n]
	m.next[n]++
	if err := m.update(record{topic: m.table.Name(), partition: int32(n), offset: offset, at: time.Now()}, p, key, value); err != nil {
		return err
	}
	if err := p.SetOffset(offset); err != nil {
		return err
	}
	m.heard(int32(n), offset+1, time.Now())
	return nil
}

// Close gives back the memory; the view is not ready then.
func (m *Memory[R]) Close() error {
	parts, err := m.partitions()
	if err != nil {
		return nil
	}
	for _, p := range parts {
		if err := p.Close(); err != nil {
			return err
		}
	}
	m.forget()
	return m.db.Close()
}

// Restart closes the view and opens it again from what it kept.
func (m *Memory[R]) Restart() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts, err := m.partitions()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.Close(); err != nil {
			return err
		}
	}
	m.forget()
	return m.open()
}

// record is a record of a changelog, for goka's callback.
type record struct {
	topic     string
	partition int32
	offset    int64
	at        time.Time
}

func (r record) Topic() goka.Stream    { return goka.Stream(r.topic) }
func (r record) Partition() int32      { return r.partition }
func (r record) Offset() int64         { return r.offset }
func (r record) Headers() goka.Headers { return nil }
func (r record) Timestamp() time.Time  { return r.at }

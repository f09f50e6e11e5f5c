package views

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"baedal/codecs"
	"baedal/domain"
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
	m.View.apply, m.View.brief = messages.note, briefMessage
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
	m.topic.Store(topicHash(""))
	m.learn(len(m.next))
	m.asker.start(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for p, next := range m.next {
			m.heard(int32(p), next, time.Now())
		}
	})
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
	return m.put(key, value, record{at: time.Now()})
}

func (m *Memory[R]) put(key string, value []byte, r record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts, err := m.partitions()
	if err != nil {
		return err
	}
	n := partitionOf(key, len(parts))
	p, offset := parts[n], m.next[n]
	m.next[n]++
	r.topic, r.partition, r.offset = m.table.Name(), int32(n), offset
	if err := m.update(r, p, key, value); err != nil {
		return err
	}
	if err := p.SetOffset(offset); err != nil {
		return err
	}
	m.heard(int32(n), offset+1, time.Now())
	return nil
}

// MemoryVerdicts is Verdicts in memory, for tests.
type MemoryVerdicts struct {
	*Verdicts
	said, buried *Memory[domain.Verdict]
}

// NewMemoryVerdicts returns Verdicts that know nothing yet, ready to be read.
func NewMemoryVerdicts(c *topics.Catalog) (m *MemoryVerdicts, err error) {
	m = &MemoryVerdicts{Verdicts: &Verdicts{catalog: c}}
	if m.said, err = NewMemory("verdicts", topics.Table[domain.Verdict]{Spec: c.Verdicts.Spec}); err != nil {
		return nil, err
	}
	if m.buried, err = NewMemory("dead-letters", topics.Table[domain.Verdict]{Spec: c.DeadLetters.Spec}); err != nil {
		return nil, err
	}
	m.Verdicts.said, m.Verdicts.buried = m.said.View, m.buried.View
	m.said.apply, m.buried.apply = m.note, m.bury
	return m, nil
}

// Say applies a verdict whose record came at a time.
func (m *MemoryVerdicts) Say(v *domain.Verdict, at time.Time) error {
	value, err := codecs.Marshal(v)
	if err != nil {
		return err
	}
	return m.said.put(v.Key, value, record{at: at})
}

// Bury applies a record of the dead letters.
func (m *MemoryVerdicts) Bury(key string, value []byte, headers goka.Headers, at time.Time) error {
	return m.buried.put(key, value, record{at: at, headers: headers})
}

// Staleness is none: what was said is there.
func (m *MemoryVerdicts) Staleness() time.Duration { return 0 }

// Waiting returns how many watch.
func (m *MemoryVerdicts) Waiting() int { return int(m.said.waiters.n.Load()) }

// Close gives back the memory; nothing can be read then.
func (m *MemoryVerdicts) Close() error { return errors.Join(m.said.Close(), m.buried.Close()) }

// Restart opens it again from what it kept.
func (m *MemoryVerdicts) Restart() error { return errors.Join(m.said.Restart(), m.buried.Restart()) }

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
	headers   goka.Headers
}

func (r record) Topic() goka.Stream    { return goka.Stream(r.topic) }
func (r record) Partition() int32      { return r.partition }
func (r record) Offset() int64         { return r.offset }
func (r record) Headers() goka.Headers { return r.headers }
func (r record) Timestamp() time.Time  { return r.at }

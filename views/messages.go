package views

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/notification"
	"baedal/topics"
)

// Messages is what each recipient was told: the message log, which is a stream,
// kept by recipient. The message of a repeated record takes the place of the
// first. Messages older than the stream's retention are swept out.
type Messages struct {
	*View[notification.Notification]
	retention time.Duration
	applied   atomic.Int64
}

// ByRecipient is the index of messages: group recipient, newest first.
var ByRecipient = Index[notification.Notification]{Name: "recipient", Version: 1, Feed: true,
	Mark: func(*notification.Notification) uint64 { return 1 }, // one that is repeated is the same
	Of:   func(_ string, n *notification.Notification) []Place { return []Place{{n.Recipient, Newest(n.At)}} }}

// sweepEvery is how many messages pass between two sweeps.
const sweepEvery = 100_000

// NewMessages returns the view of a message log, to be filled by Run.
func NewMessages(name string, log topics.Stream[notification.Notification], opts Options) *Messages {
	m := &Messages{View: NewView(name, topics.Table[notification.Notification]{Spec: log.Spec}, opts, ByRecipient), retention: log.Retention}
	m.apply, m.brief = m.note, briefMessage
	return m
}

// A message is kept under RECIPIENT NUL MILLISECONDS NUL ID, so that a
// recipient's messages lie together, oldest first.
func (m *Messages) note(ctx goka.UpdateContext, s storage.Storage, recipient string, value []byte) error {
	if value == nil {
		return nil
	}
	n, err := codecs.Decode[notification.Notification](value)
	if err != nil {
		return nil // not ours: the log is written by the messenger alone
	}
	if err := s.Set(fmt.Sprintf("%s\x00%013d\x00%s", recipient, n.At, n.ID), value); err != nil {
		return err
	}
	if m.applied.Add(1)%sweepEvery == 0 {
		return sweep(s, ctx.Timestamp().Add(-m.retention))
	}
	return nil
}

// briefMessage reads off the key what ByRecipient looks at.
func briefMessage(key string, row []byte) (*notification.Notification, error) {
	recipient, rest, _ := strings.Cut(key, "\x00")
	at, _, _ := strings.Cut(rest, "\x00")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return codecs.Decode[notification.Notification](row)
	}
	return &notification.Notification{Recipient: recipient, Meta: domain.Meta{At: domain.Time(ms)}}, nil
}

func sweep(s storage.Storage, before time.Time) error {
	it, err := s.Iterator()
	if err != nil {
		return err
	}
	defer it.Release()
	for it.Next() {
		key := string(it.Key())
		at, _, _ := strings.Cut(key[strings.IndexByte(key, 0)+1:], "\x00")
		if ms, err := strconv.ParseInt(at, 10, 64); err == nil && ms < before.UnixMilli() {
			if err := s.Delete(key); err != nil {
				return err
			}
		}
	}
	return it.Err()
}

// Get returns all that a recipient was told, or nil: Scan of "recipient" reads
// it in pages. It does not block. The error is ErrNotReady until the view has
// caught up.
func (m *Messages) Get(recipient string) (*notification.Log, error) {
	parts, err := m.partitions()
	if err != nil {
		return nil, err
	}
	p := parts[partitionOf(recipient, len(parts))]
	if !p.enter() {
		return nil, m.notReady()
	}
	defer p.leave()
	it, err := p.Storage.IteratorWithRange([]byte(recipient+"\x00"), []byte(recipient+"\x01"))
	if err != nil {
		return nil, fmt.Errorf("view %s, recipient %q: %w", m.name, recipient, err)
	}
	defer it.Release()
	var values [][]byte
	for it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, fmt.Errorf("view %s, recipient %q: %w", m.name, recipient, err)
		}
		values = append(values, bytes.Clone(v))
	}
	if len(values) == 0 {
		return nil, it.Err()
	}
	log := &notification.Log{Recipient: recipient}
	for _, v := range values {
		n, err := m.decode(recipient, v)
		if err != nil {
			return nil, err
		}
		log.Messages = append(log.Messages, *n)
	}
	return log, it.Err()
}

// Package deadletters reads the dead letters of an installation, and puts what
// they hold back to where it came from, each once.
package deadletters

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/stream"
)

// Headers of a mark: a record among the dead letters without a value, which
// says that a letter was put back. It stands in the partition of its letter, behind
// it, so retention never takes it before the letter.
const (
	// HeaderReplayed holds PARTITION/OFFSET of the letter.
	HeaderReplayed = "baedal-replayed"
	// HeaderSource holds TOPIC/PARTITION/OFFSET where the letter's message was
	// read. Two letters may have the same one: a crash made the engine bury it
	// twice, or two groups could not handle it.
	HeaderSource = "baedal-source"
)

// ID is where a dead letter stands in the stream of dead letters.
type ID struct {
	Partition int32
	Offset    int64
}

// String returns PARTITION/OFFSET.
func (id ID) String() string { return fmt.Sprintf("%d/%d", id.Partition, id.Offset) }

// ParseID is the opposite of String.
func ParseID(s string) (ID, error) {
	p, o, ok := strings.Cut(s, "/")
	partition, err1 := strconv.ParseInt(p, 10, 32)
	offset, err2 := strconv.ParseInt(o, 10, 64)
	if !ok || err1 != nil || err2 != nil || partition < 0 || offset < 0 {
		return ID{}, fmt.Errorf("%q is no dead letter: PARTITION/OFFSET, as `baedal dead-letters list` shows it", s)
	}
	return ID{int32(partition), offset}, nil
}

// Source is where a message was read that became a dead letter.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns TOPIC/PARTITION/OFFSET.
func (s Source) String() string { return fmt.Sprintf("%s/%d/%d", s.Topic, s.Partition, s.Offset) }

func parseSource(s string) (Source, error) {
	topic, place, _ := strings.Cut(s, "/") // no topic has a slash
	id, err := ParseID(place)
	if err != nil || topic == "" {
		return Source{}, fmt.Errorf("%q is not TOPIC/PARTITION/OFFSET", s)
	}
	return Source{topic, id.Partition, id.Offset}, nil
}

// Letter is a dead letter.
type Letter struct {
	ID    ID
	From  Source
	Group string // who could not handle it, with the prefix
	Error string
	Stack string    // where a rule panicked
	At    time.Time // when it was buried

	// Key, Value and Headers are the message as it came, without what the engine
	// wrote beside it.
	Key, Value []byte
	Headers    []kgo.RecordHeader
	// Away says that the message was too long for a letter: it lies at From, while
	// retention keeps it. Here are the bytes of its value in number, and the first
	// of them.
	Away bool
	Size int64
	Head []byte

	// Replayed is when the message was put back; zero if it was not.
	Replayed time.Time
	// Broken says why this is no dead letter of the engine; nil if it is one.
	Broken error
}

// read makes a letter of a record.
func read(r *kgo.Record) *Letter {
	l := &Letter{ID: ID{r.Partition, r.Offset}, Key: r.Key, Value: r.Value, At: r.Timestamp}
	var own map[string]string
	l.Headers, own = foreign(r.Headers)
	if l.Size = int64(len(l.Value)); own[stream.HeaderSize] != "" {
		l.Away, l.Head = true, []byte(own[stream.HeaderHead])
		l.Size, _ = strconv.ParseInt(own[stream.HeaderSize], 10, 64)
	}
	l.Group, l.Error, l.Stack = own[stream.HeaderGroup], own[stream.HeaderError], own[stream.HeaderStack]
	if at, err := time.Parse(time.RFC3339, own[stream.HeaderAt]); err == nil {
		l.At = at
	}
	from, err := parseSource(own[stream.HeaderTopic] + "/" + own[stream.HeaderPartition] + "/" + own[stream.HeaderOffset])
	if err != nil {
		l.Broken = errors.New("it does not say where it came from: the engine did not write it")
	}
	l.From = from
	return l
}

// mark returns the record that says that a letter was put back.
func (l *Letter) mark(topic string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: l.ID.Partition, Key: l.Key, Headers: []kgo.RecordHeader{
		{Key: HeaderReplayed, Value: []byte(l.ID.String())},
		{Key: HeaderSource, Value: []byte(l.From.String())},
	}}
}

// marked returns the source that a record marks as put back, if it is a mark.
func marked(r *kgo.Record) (s Source, ok bool) {
	for _, h := range r.Headers {
		switch h.Key {
		case stream.HeaderTopic:
			return Source{}, false
		case HeaderReplayed:
			ok = true
		case HeaderSource:
			s, _ = parseSource(string(h.Value))
		}
	}
	return s, ok
}

// message returns the message of a letter as it goes back; from is the record
// where it lies, of one that is not here. It keeps the
// coordinates that it came with as its origin: they stand in for a missing id, so it
// is still the same message to the engine and to whoever waits for its verdict.
func (l *Letter) message(partitions int32, from *kgo.Record) *kgo.Record {
	r := &kgo.Record{Topic: l.From.Topic, Partition: l.From.Partition, Key: l.Key, Value: l.Value}
	r.Headers = append(r.Headers, l.Headers...)
	if from != nil {
		r.Key, r.Value = from.Key, from.Value
		r.Headers, _ = foreign(from.Headers)
	}
	known := false
	for _, h := range r.Headers {
		known = known || h.Key == stream.HeaderOrigin
	}
	if !known {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: stream.HeaderOrigin, Value: []byte(l.From.String())})
	}
	if len(r.Key) > 0 { // where its key belongs: anywhere else the engine would only forward it
		r.Partition = stream.Partition(string(r.Key), int(partitions))
	}
	return r
}

package stream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// A committed offset is a number that somebody wrote down once. What it is a
// number of may be gone: the topic was deleted and made anew, its oldest records
// were taken by retention or by an admin, its end was lost with a broker's disk,
// or the offset itself was set by an admin. So a commit says of which topic it
// is, a session believes none that can't be right, and what is gone is said, one
// line for each partition.

// marks is what is committed beside an offset: whose it is.
type marks struct {
	topic      string // its id; empty: not known
	partitions int    // of the installation
}

const (
	markTopic      = "topic="
	markPartitions = "partitions="
)

func (m marks) String() string {
	return markTopic + m.topic + " " + markPartitions + strconv.Itoa(m.partitions)
}

// readMarks returns false for an offset that nobody here has committed.
func readMarks(metadata string) (m marks, ours bool) {
	for word := range strings.FieldsSeq(metadata) {
		if id, ok := strings.CutPrefix(word, markTopic); ok {
			m.topic, ours = id, true
		}
		if n, ok := strings.CutPrefix(word, markPartitions); ok {
			m.partitions, _ = strconv.Atoi(n)
		}
	}
	return m, ours
}

// CommittedPartitions returns the partition count of the installation that
// committed an offset with this metadata, or 0 where it does not say.
func CommittedPartitions(metadata string) int {
	m, _ := readMarks(metadata)
	return m.partitions
}

// place is where a partition stands before it is read.
type place struct {
	committed  int64 // below 0: nothing is
	metadata   string
	remembered position // what this machine knows to have committed last
	start, end int64    // of what is there
	topic      string   // the id of the topic that is there
}

// position is an offset in the topic of an id.
type position struct {
	offset int64 // below 0: not known
	topic  string
}

// other reports whether two ids are those of two topics.
func other(x, y string) bool { return x != "" && y != "" && x != y }

// begin returns where to read from, and in words what is gone, "" for nothing.
func (p place) begin() (from int64, gone string) {
	m, ours := readMarks(p.metadata)
	sure := m.topic != "" && m.topic == p.topic // it is an offset of what is there
	before := p.remembered.offset
	if other(p.remembered.topic, p.topic) {
		if p.committed < 0 { // Kafka forgets the offsets of a topic that is deleted
			return p.start, madeAnew(before, p.start)
		}
		before = -1
	}
	switch {
	case p.committed < 0 && before >= 0:
		return p.start, fmt.Sprintf("the committed offset, %d or more, is gone: records come again from the oldest one on, at %d", before, p.start)
	case p.committed < 0 && p.start > 0:
		return p.start, fmt.Sprintf("offsets 0 to %d are gone unread: the group has not read here before, and the oldest record is at %d", p.start-1, p.start)
	case p.committed < 0:
		return p.start, ""
	case other(m.topic, p.topic):
		return p.start, madeAnew(p.committed, p.start)
	case p.committed > p.end && sure:
		return p.end, fmt.Sprintf("offsets %d to %d are gone, handled as they are: the brokers have lost the end of the topic", p.end, p.committed-1)
	case p.committed > p.end:
		return p.start, fmt.Sprintf("offset %d is committed and the topic ends at %d: it was made anew, or its end is gone; records come from the oldest one on, at %d", p.committed, p.end, p.start)
	case p.committed < p.start:
		return p.start, fmt.Sprintf("offsets %d to %d are gone unread (those that end a transaction held nothing): the oldest record is at %d", p.committed, p.start-1, p.start)
	case ours || before == p.committed:
	case before > p.committed:
		return p.committed, fmt.Sprintf("somebody has set the committed offset to %d: records up to %d come again", p.committed, before-1)
	case before >= 0:
		return p.committed, fmt.Sprintf("somebody has set the committed offset to %d: offsets %d to %d are left out", p.committed, before, p.committed-1)
	default:
		return p.committed, fmt.Sprintf("somebody else has set the committed offset to %d: what is before it and was not handled is left out, from there on records may come again", p.committed)
	}
	return p.committed, ""
}

func madeAnew(committed, start int64) string {
	return fmt.Sprintf("the topic was deleted and made anew: what it held up to offset %d is gone, and the oldest record is at %d", committed-1, start)
}

// places looks where partitions stand. An end that contradicts an offset is not
// believed at once: a new leader may know less of it for a moment. What can't be
// known, as a leader is away, is left out.
func (c Config) places(ctx context.Context, admin *kadm.Client, group string, claims map[string][]int32, ids map[string]string) (map[tp]place, error) {
	var topics []string
	for t := range claims {
		topics = append(topics, t)
	}
	if len(topics) == 0 {
		return nil, nil
	}
	for began := time.Now(); ; {
		committed, err := admin.FetchOffsets(kadm.RequireStable(ctx), group)
		if err != nil {
			return nil, fmt.Errorf("asking for the committed offsets: %w", err)
		}
		starts, err := admin.ListStartOffsets(ctx, topics...)
		if err != nil {
			return nil, fmt.Errorf("asking for the oldest offsets: %w", err)
		}
		ends, err := admin.ListEndOffsets(ctx, topics...)
		if err != nil {
			return nil, fmt.Errorf("asking for the newest offsets: %w", err)
		}
		all, again := map[tp]place{}, false
		for topic, partitions := range claims {
			for _, partition := range partitions {
				p := place{committed: -1, topic: ids[topic], remembered: c.remembered(group, topic, partition)}
				o, ok := committed.Lookup(topic, partition)
				start, known := starts.Lookup(topic, partition)
				end, there := ends.Lookup(topic, partition)
				if o.Err != nil || !known || !there || start.Err != nil || end.Err != nil {
					again = true
					continue
				}
				if ok {
					p.committed, p.metadata = o.At, o.Metadata
				}
				p.start, p.end = start.Offset, end.Offset
				m, _ := readMarks(p.metadata)
				again = again || p.committed > p.end && !other(m.topic, p.topic)
				all[tp{topic, partition}] = p
			}
		}
		if !again || time.Since(began) > 3*time.Second {
			return all, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// What is committed is noted on this machine, too: an admin who sets it to
// another offset leaves no trace of what it was.

func noteName(group, topic string, partition int32) string {
	return fmt.Sprintf("offset/%s/%s/%d", group, topic, partition)
}

func (c Config) remembered(group, topic string, partition int32) position {
	if c.State == nil {
		return position{offset: -1}
	}
	text, _ := c.State.Note(noteName(group, topic, partition)) // without it less can be said
	number, of, _ := strings.Cut(text, " ")
	offset, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return position{offset: -1}
	}
	return position{offset, of}
}

// remember notes what was committed.
func (c Config) remember(group string, offsets map[tp]int64, ids map[string]string) error {
	if c.State == nil || len(offsets) == 0 {
		return nil
	}
	notes := make(map[string]string, len(offsets))
	for at, offset := range offsets {
		notes[noteName(group, at.topic, at.partition)] = strconv.FormatInt(offset, 10) + " " + ids[at.topic]
	}
	return c.State.SetNotes(notes)
}

// correct lets a session begin where there is something to begin with, and says
// what is gone.
func (s *session) correct(ctx context.Context) error {
	places, err := s.run.cfg.places(ctx, kadm.NewClient(s.run.client.Client), s.run.group, s.Claims(), s.ids)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, p := range places {
		from, gone := p.begin()
		if gone == "" {
			continue
		}
		s.run.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "records are not as they were left", slog.String("group", s.run.group),
			slog.String("topic", at.topic), slog.Int("partition", int(at.partition)), slog.String("what", gone))
		mark := s.mark(at.topic)
		s.ConsumerGroupSession.ResetOffset(at.topic, at.partition, from, mark) // of both, the one counts that moves it
		s.ConsumerGroupSession.MarkOffset(at.topic, at.partition, from, mark)
		s.at(at.topic, at.partition).next = from // the next commit says so, and the line comes once
	}
	return nil
}

// lookAtChangelog learns what there is of the table.
func (s *session) lookAtChangelog(ctx context.Context) error {
	topic := s.run.tableName()
	if topic == "" {
		return nil
	}
	admin := kadm.NewClient(s.run.client.Client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking for the oldest offsets of %s: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking for the newest offsets of %s: %w", topic, err)
	}
	s.run.tables.changelog.Store(&changelog{id: s.ids[topic], start: known(starts), ends: known(ends)})
	return nil
}

func known(listed kadm.ListedOffsets) map[int32]int64 {
	all := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			all[o.Partition] = o.Offset
		}
	})
	return all
}

// cutEvery is the time between two looks at the oldest offsets of a changelog.
const cutEvery = 8 * time.Second

// watchChangelog says, until the session ends, when a changelog has lost its
// beginning: it is to be compacted, not to be deleted from. Nothing here notices
// otherwise, as the rows are on this machine, too.
func (s *session) watchChangelog() {
	topic, was := s.run.tableName(), map[int32]int64{}
	if topic == "" {
		return
	}
	if log := s.run.tables.changelog.Load(); log != nil {
		was = maps.Clone(log.start)
	}
	admin := kadm.NewClient(s.run.client.Client)
	tick := time.NewTicker(cutEvery)
	defer tick.Stop()
	for told := map[int32]bool{}; ; {
		select {
		case <-tick.C:
		case <-s.Context().Done():
			return
		}
		listed, err := admin.ListStartOffsets(s.Context(), topic)
		if err != nil {
			continue // the next look will tell
		}
		for partition, start := range known(listed) {
			if s.run.tables.get(partition) == nil || told[partition] || start <= was[partition] {
				continue
			}
			told[partition] = true
			s.run.cfg.Logger.Warn("a table is not as it was left", "topic", topic, "partition", partition, "what",
				fmt.Sprintf("offsets %d to %d of its changelog are gone: rows that changed there last are on this machine alone: kafka-configs.sh --alter --topic %s --add-config cleanup.policy=compact", was[partition], start-1, topic))
		}
	}
}

// mark is what is committed beside an offset of a topic.
func (s *session) mark(topic string) string {
	return marks{s.ids[topic], s.run.cfg.Partitions}.String()
}

// identify learns which topics the session works with. All sessions of a run work
// with the same ones, as a transaction's producer takes no other topic of the same
// name.
func (s *session) identify(ctx context.Context) error {
	if err := s.run.cfg.Watch.Look(ctx); err != nil {
		return err
	}
	s.ids = s.run.cfg.Watch.ids(s.run.topics())
	if topic, _ := s.run.cfg.Watch.replacedSince(s.run.replacements); topic != "" {
		return madeAnewWhileRunning(topic)
	}
	return nil
}

func madeAnewWhileRunning(topic string) error {
	return fmt.Errorf("topic %s was deleted and made anew", topic)
}

// untilReplaced ends the run when one of its topics was deleted and made anew:
// the next one begins at its start, and with the tables that are there then.
func (s *session) untilReplaced() {
	for {
		topic, changed := s.run.cfg.Watch.replacedSince(s.run.replacements)
		if s.Context().Err() != nil {
			return
		}
		if topic != "" {
			s.run.fail(madeAnewWhileRunning(topic))
			return
		}
		select {
		case <-changed:
		case <-s.Context().Done():
		}
	}
}

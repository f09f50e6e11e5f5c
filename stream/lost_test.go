package stream

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where a partition is read from, and what is said, whatever was done to topic and offset.
func TestPlace_Begin(t *testing.T) {
	ours := func(id string) string { return marks{id, 8}.String() }
	none := position{offset: -1}
	for name, one := range map[string]struct {
		place
		from int64
		says string // "": nothing
	}{
		"New":                      {place{-1, "", none, 0, 10, "a"}, 0, ""},
		"NewAfterRetention":        {place{-1, "", none, 4, 10, "a"}, 4, "offsets 0 to 3 are gone unread"},
		"GoesOn":                   {place{5, ours("a"), position{5, "a"}, 0, 10, "a"}, 5, ""},
		"GoesOnElsewhere":          {place{5, ours("a"), none, 0, 10, "a"}, 5, ""},
		"AtTheEnd":                 {place{10, ours("a"), none, 10, 10, "a"}, 10, ""},
		"OthersWentOn":             {place{9, ours("a"), position{5, "a"}, 0, 10, "a"}, 9, ""},
		"MadeAnew":                 {place{5, ours("a"), position{5, "a"}, 0, 10, "b"}, 0, "made anew: what it held up to offset 4 is gone"},
		"MadeAnewAndForgotten":     {place{-1, "", position{5, "a"}, 0, 10, "b"}, 0, "made anew: what it held up to offset 4 is gone"},
		"MadeAnewAndShorter":       {place{50, ours("a"), none, 2, 10, "b"}, 2, "made anew"},
		"IDsNotKnown":              {place{5, ours(""), position{5, ""}, 0, 10, ""}, 5, ""},
		"IDsBecomeKnown":           {place{5, ours(""), position{5, ""}, 0, 10, "a"}, 5, ""},
		"BeyondTheEnd":             {place{12, ours("a"), none, 0, 10, "a"}, 10, "offsets 10 to 11 are gone, handled as they are"},
		"BeyondTheEndNotKnown":     {place{12, ours(""), none, 0, 10, ""}, 0, "it was made anew, or its end is gone"},
		"TakenBeforeRead":          {place{5, ours("a"), none, 8, 10, "a"}, 8, "offsets 5 to 7 are gone unread"},
		"TakenAll":                 {place{5, ours("a"), none, 10, 10, "a"}, 10, "offsets 5 to 9 are gone unread"},
		"SetBack":                  {place{2, "", position{5, "a"}, 0, 10, "a"}, 2, "records up to 4 come again"},
		"SetForward":               {place{8, "", position{5, "a"}, 0, 10, "a"}, 8, "offsets 5 to 7 are left out"},
		"SetToWhatItWas":           {place{5, "", position{5, "a"}, 0, 10, "a"}, 5, ""},
		"SetElsewhere":             {place{8, "x", none, 0, 10, "a"}, 8, "somebody else has set the committed offset to 8"},
		"SetAfterMadeAnew":         {place{8, "", position{5, "a"}, 0, 10, "b"}, 8, "somebody else has set the committed offset to 8"},
		"Deleted":                  {place{-1, "", position{5, "a"}, 0, 10, "a"}, 0, "the committed offset, 5 or more, is gone"},
		"DeletedAndTakenBefore":    {place{-1, "", position{5, "a"}, 3, 10, "a"}, 3, "oldest one on, at 3"},
		"SetBeforeWhatIsThere":     {place{2, "", position{5, "a"}, 4, 10, "a"}, 4, "offsets 2 to 3 are gone unread"},
		"RememberedOfAnotherTopic": {place{5, ours("b"), position{9, "a"}, 0, 10, "b"}, 5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			from, gone := one.begin()
			require.Equal(t, one.from, from)
			if one.says == "" {
				require.Empty(t, gone)
			}
			require.Contains(t, gone, one.says)
			require.NotContains(t, gone, "\n")
		})
	}
}

func TestMarks(t *testing.T) {
	m, ours := readMarks(marks{"PGiY-_w", 12}.String())
	require.True(t, ours)
	require.Equal(t, marks{"PGiY-_w", 12}, m)
	m, ours = readMarks(marks{"", 8}.String())
	require.True(t, ours, "also without an id")
	require.Equal(t, marks{"", 8}, m)
	for _, foreign := range []string{"", "kafka-consumer-groups", "partitions=many"} {
		_, ours = readMarks(foreign)
		require.False(t, ours, foreign)
	}
}

// look is an answer about topics: a name, an id and a count; a count of 0 is a topic that is not there.
type look map[string]struct {
	id byte
	n  int
}

func (l look) response() *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	for name, one := range l {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic, t.TopicID[0] = &name, one.id
		if one.n == 0 {
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for range one.n {
			t.Partitions = append(t.Partitions, kmsg.NewMetadataResponseTopicPartition())
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func TestWatch(t *testing.T) {
	var log bytes.Buffer
	w := NewWatch(Config{Partitions: 4, Logger: slog.New(slog.NewTextHandler(&log, nil))}, "x", "y")
	replaced := []string{}
	w.onReplaced(func(topic string) { replaced = append(replaced, topic) })
	lines := func() int { return strings.Count(log.String(), "\n") }
	see := func(x, y struct {
		id byte
		n  int
	}) {
		w.learn(look{"x": x, "y": y}.response())
	}
	type at = struct {
		id byte
		n  int
	}
	see(at{1, 4}, at{2, 4})
	require.NoError(t, w.Err())
	id, gone := w.Incarnation("x")
	require.NotEmpty(t, id)

	see(at{1, 6}, at{2, 4})
	require.ErrorContains(t, w.Err(), "x (6)")
	require.NotContains(t, w.Err().Error(), "y (")
	see(at{1, 4}, at{2, 4}) // a broker that has not heard of it
	require.ErrorContains(t, w.Err(), "x (6)", "partitions are never taken back")
	see(at{1, 6}, at{2, 4})
	require.Equal(t, 1, lines(), "one line: %s", &log)

	see(at{1, 6}, at{0, 0})
	require.NotContains(t, w.Err().Error(), "missing", "one look is none")
	see(at{1, 6}, at{2, 4})
	see(at{1, 6}, at{0, 0})
	require.NotContains(t, w.Err().Error(), "missing", "two in a row")
	see(at{1, 6}, at{0, 0})
	require.ErrorContains(t, w.Err(), "missing: y")
	require.Empty(t, replaced)

	see(at{3, 4}, at{4, 4})
	require.NoError(t, w.Err(), "both were made anew as they should be")
	require.ElementsMatch(t, []string{"x", "y"}, replaced)
	select {
	case <-gone:
	default:
		require.Fail(t, "whoever holds to the old one must be told")
	}
	now, _ := w.Incarnation("x")
	require.NotEqual(t, id, now)
	before := lines()
	see(at{1, 6}, at{2, 4}) // a broker that has not heard of it
	require.NoError(t, w.Err())
	again, _ := w.Incarnation("x")
	require.Equal(t, now, again)
	require.Equal(t, before, lines())

	see(at{3, 2}, at{5, 2})
	require.ErrorContains(t, w.Err(), "fewer than 4 partitions: y (2)", "of x it is an old answer")
}

// What began before the first look knows of topics that are made anew, too.
func TestWatch_ReplacedSince(t *testing.T) {
	type at = struct {
		id byte
		n  int
	}
	w := NewWatch(Config{Partitions: 4, Logger: slog.New(slog.DiscardHandler)}, "x", "y")
	see := func(x, y byte) { w.learn(look{"x": at{x, 4}, "y": at{y, 4}}.response()) }
	since := func(before map[string]int) string {
		topic, _ := w.replacedSince(before)
		return topic
	}
	early := w.replacements([]string{"x", "y"})
	other := w.replacements([]string{"y"})
	see(1, 2)
	require.Empty(t, since(early), "now it is known what is there")
	see(3, 2)
	require.Equal(t, "x", since(early))
	require.Empty(t, since(other))
	later := w.replacements([]string{"x", "y"})
	require.Empty(t, since(later))
	see(1, 2) // a broker that has not heard of it
	require.Empty(t, since(later))
	_, changed := w.replacedSince(later)
	see(3, 4)
	require.Equal(t, "y", since(later))
	require.Equal(t, "y", since(other))
	select {
	case <-changed:
	default:
		require.Fail(t, "whoever waits must be told")
	}
}

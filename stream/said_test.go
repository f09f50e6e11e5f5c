package stream

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// story is one row of a partition that reads several inputs, at least once, as
// the engine goes about it: a row first, outputs in one lane behind it, offsets of
// the finished prefix; and a kill at any moment.
type story struct {
	inputs []string
	log    map[string]int // messages by input
	read   map[string]int // in this session
	done   map[string]int // finished in this session, or before
	commit map[string]int

	row struct {
		last   int
		causes map[string]int // what each message said
		note   string
	}
	lane  []parcelOf // not acknowledged, oldest first
	heard []int      // what a reader has seen
}

type parcelOf struct {
	input string
	says  []int
}

func newStory() *story {
	s := &story{inputs: []string{"a", "b", "c"}, log: map[string]int{}, read: map[string]int{}, done: map[string]int{}, commit: map[string]int{}}
	s.row.causes = map[string]int{}
	return s
}

func (s *story) fate(topic string, _ int32, offset int64) (read, settled bool) {
	return int(offset) < s.read[topic], int(offset) < s.done[topic]
}

// handle is what a handler of a Speaker does with the next message of an input,
// and what the engine does about it.
func (s *story) handle(input string, obey bool) {
	offset := s.read[input]
	s.read[input]++
	id := fmt.Sprint(input, offset)
	var says []int
	from := unsaid(s.row.note, 0, s, input, int64(offset))
	own, again := s.row.causes[id]
	if !again && offset%4 == 3 { // one that says nothing, and saves the row
		own = s.row.last
	} else if !again {
		own = s.row.last + 1
	}
	if from > 0 && obey {
		for n := from; n <= s.row.last && (!again || n < own); n++ {
			says = append(says, n)
		}
	}
	if again || own > s.row.last {
		says = append(says, own)
	}
	if !again {
		if from == 0 && own > s.row.last {
			from = own
		}
		s.row.note = noted(s.row.note, 0, s, input, int64(offset), from)
		if own > s.row.last {
			s.row.causes[id] = own
		}
		s.row.last = own
	}
	s.lane = append(s.lane, parcelOf{input, says})
}

// acknowledge lets the oldest parcels through, and their messages be finished.
func (s *story) acknowledge(n int) {
	for _, p := range s.lane[:n] {
		s.heard = append(s.heard, p.says...)
		s.done[p.input]++
	}
	s.lane = s.lane[n:]
}

// kill loses what is in the lane, but for what has left.
func (s *story) kill(left int) {
	for _, p := range s.lane[:left] {
		s.heard = append(s.heard, p.says...)
	}
	s.lane = nil
	for _, in := range s.inputs {
		s.read[in], s.done[in] = s.commit[in], s.commit[in]
	}
}

// tell runs a random story and returns what was heard for the first time, in
// its order.
func tell(t *rapid.T, obey bool) (first []int, last int) {
	s := newStory()
	for range rapid.IntRange(5, 60).Draw(t, "steps") {
		in := rapid.SampledFrom(s.inputs).Draw(t, "input")
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0:
			s.kill(rapid.IntRange(0, len(s.lane)).Draw(t, "left"))
		case 1:
			for _, in := range s.inputs {
				s.commit[in] = s.done[in]
			}
		case 2, 3:
			s.acknowledge(rapid.IntRange(0, len(s.lane)).Draw(t, "acknowledged"))
		default:
			s.log[in] = max(s.log[in], s.read[in]+1)
			s.handle(in, obey)
		}
		require.LessOrEqual(t, len(voices(s.row.note)), len(s.inputs), "a note does not grow")
	}
	for _, in := range s.inputs { // all is read again in the end
		for s.read[in] < s.log[in] {
			s.handle(in, obey)
		}
	}
	s.acknowledge(len(s.lane))
	for _, n := range s.heard {
		if !slices.Contains(first, n) {
			first = append(first, n)
		}
	}
	return first, s.row.last
}

// Whatever is killed when, and whichever input is read first then: what a row says
// is heard for the first time in its order, and all of it.
func TestSaid_InOrderThroughKills(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, last := tell(t, true)
		want := make([]int, last)
		for i := range want {
			want[i] = i + 1
		}
		if len(want) == 0 {
			want = nil
		}
		require.Equal(t, want, first)
	})
}

func TestSaid_Notes(t *testing.T) {
	require.Empty(t, voices(""))
	require.Equal(t, []voice{{"t", 5, 2}, {"u", 7, 3}}, voices("t/5/2 u/7/3"))
	for _, broken := range []string{"x", "a/b/c", "t/5", "t/5/2/1", "t/5/2 ?"} {
		require.Contains(t, voices(broken), voice{from: 1}, broken)
	}
	s := newStory()
	s.read["a"], s.done["a"], s.read["b"], s.done["b"] = 6, 3, 2, 2
	for note, want := range map[string]int{
		"":               0,
		"a/5/4":          0, // read in this session
		"a/6/4":          4,
		"b/1/2 c/0/3":    3, // committed before; not read
		"a/7/4 c/0/3":    3,
		"a/7/3 c/0/9":    3,
		"?":              1,
		"a/2/1 b/1/2":    0,
		"removed/100/12": 12,
	} {
		require.Equal(t, want, unsaid(note, 0, s, "new", 0), note)
	}
	require.Equal(t, 4, unsaid("a/5/4", 0, s, "a", 5), "what the message said of others, when it came first")
	require.Zero(t, unsaid("a/5/4", 0, s, "a", 6))
	require.Equal(t, "a/6/4 c/-1/1", noted("a/2/1 a/5/4 b/1/2 c/-1/1", 0, fatesOf{"a": {7, 5}, "b": {2, 2}, "c": {0, -5}}, "a", 6, 7), "what is settled is forgotten")
}

// fatesOf has how far each input was read and settled.
type fatesOf map[string][2]int64

func (f fatesOf) fate(topic string, _ int32, offset int64) (read, settled bool) {
	return offset < f[topic][0], offset < f[topic][1]
}

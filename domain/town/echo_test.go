package town_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// mostEchoes is how many messages a message that comes again may lead to, in
// all. The longest cascade is that of a repeat which makes orders ask dispatch
// again: all steps of the delivery are told again, and most of them are told on.
const mostEchoes = 60

// Whatever was sent ever may come again, at any time, and what it leads to ends.
// That holds for all groups together: what one of them repeats must not make
// another repeat what the first has repeated it for.
func TestTown_NothingEchoesForEver(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		require.NoError(t, f.Value.Set("100"))
	}
	longest := map[string]int{}
	echoes := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newTown(t)
		for range w.upTo("acts", 255) {
			w.act()
		}
		if w.rarely("the day is over") {
			w.drain()
		}
		w.settle()
		w.heard = func(string, *record) {} // what nobody remembers may be decided on anew, and differently
		for _, r := range w.everSent() {
			n := w.echo(r)
			longest[r.topic] = max(longest[r.topic], n)
			echoes++
		}
	})
	t.Logf("%d messages came again; the most that each led to:", echoes)
	for _, topic := range slices.Sorted(maps.Keys(longest)) {
		t.Logf("%-20s %d", topic, longest[topic])
	}
}

// settle lets everything that was said be heard, and what is due be done.
func (w *town) settle() {
	for _, l := range w.lanes {
		w.finish(l)
	}
	for {
		w.quiet(rand.New(rand.NewPCG(0, 0)))
		if !w.ringDue() {
			return
		}
	}
}

// ringDue rings what is due by now.
func (w *town) ringDue() (rang bool) {
	for _, a := range append(w.calls(), w.deadlines(false)...) {
		if a.at <= w.now {
			w.ring(a, false)
			rang = true
		}
	}
	return rang
}

// everSent returns all messages of all topics, each once.
func (w *town) everSent() (all []*record) {
	seen := map[string]bool{}
	for _, topic := range keys(w.topics) {
		for _, l := range w.topics[topic] {
			for _, r := range l.records {
				if name := topic + " " + r.key + " " + string(r.data); !seen[name] {
					seen[name] = true
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// echo delivers a message once more, and all that it leads to. It returns how
// many messages that were.
func (w *town) echo(r *record) (n int) {
	w.Logf("again: %s %s", r.topic, r.data)
	w.publish(r.topic, r.key, r.data)
	before := w.handled
	for {
		inputs := w.unread()
		if len(inputs) == 0 {
			if len(w.results) > 0 {
				w.result(0)
				continue
			}
			if !w.ringDue() {
				return w.handled - before
			}
			continue
		}
		w.handle(inputs[w.handled%len(inputs)], false)
		require.LessOrEqual(w, w.handled-before, mostEchoes, "%s %s leads to more and more", r.topic, r.id)
	}
}

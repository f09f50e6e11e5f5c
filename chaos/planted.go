package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"baedal/internal/failpoint"
	"baedal/stream"
)

// hunt says where a planted bug shows: faults that it does not survive.
type hunt struct {
	bug       string // its patch is chaos/planted/BUG.patch; "" for none
	kafka     bool   // exactly-once on Kafka; otherwise at-least-once on the embedded broker
	fault     string
	steps     []step
	commit    time.Duration
	mostRound int
}

func lingerAt(p failpoint.Point, where string, nth int) step {
	return step{point: p, where: where, nth: nth, action: "linger"}
}

func dieAt(p failpoint.Point, where string, nth int) step {
	return step{point: p, where: where, nth: nth, action: "kill"}
}

var (
	after = step{wait: time.Second, pause: 500 * time.Millisecond}
	spoil = step{pick: 5 << 8} // in rounds that end their installation; of partitions 0 and 2
)

var hunts = []hunt{
	{"commit-past-unfinished", false, "linger-at", []step{lingerAt(failpoint.OutputsHeld, "", 40), lingerAt(failpoint.OutputsHeld, "", 90), lingerAt(failpoint.OutputsHeld, "order", 60)}, 0, 5},
	{"flush-before-ack", false, "kill-at-wipe", []step{lingerAt(failpoint.RowKept, "order", 40), lingerAt(failpoint.RowKept, "stock", 30), lingerAt(failpoint.RowKept, "order", 90)}, 0, 6},
	{"flush-before-commit", true, "kill-at", []step{dieAt(failpoint.OffsetsAdded, "order", 8), dieAt(failpoint.OffsetsAdded, "order", 5), dieAt(failpoint.OffsetsAdded, "stock", 7)}, 0, 5},
	{"offset-ahead-of-rows", false, "kill-at", []step{dieAt(failpoint.Flushed, "order", 8), dieAt(failpoint.Flushed, "order", 11), dieAt(failpoint.Flushed, "stock", 9)}, 0, 4},
	{"output-before-row", false, "linger-at", []step{lingerAt(failpoint.RowUnsent, "order", 40), lingerAt(failpoint.RowUnsent, "order", 70), lingerAt(failpoint.RowUnsent, "stock", 30)}, 0, 5},
	{"offsets-outside-transaction", true, "kill-at", []step{dieAt(failpoint.OffsetsAdded, "order", 8), dieAt(failpoint.OffsetsAdded, "stock", 5)}, 0, 4},
	{"verdict-recomputed", false, "none", []step{after}, 0, 2},
	{"version-skipped", false, "none", []step{after}, 0, 2},
	{"reservation-revived", false, "kill-at", []step{dieAt(failpoint.Committing, "stock", 3), dieAt(failpoint.Committing, "stock", 2), dieAt(failpoint.Committing, "stock", 4)}, 400 * time.Millisecond, 5},
	{"stock-added-twice", false, "none", []step{after}, 0, 2},
	{"forward-dropped", false, "none", []step{after}, 0, 2},
	{"forward-applied", false, "none", []step{after}, 0, 2},
	{"forward-reordered", false, "none", []step{after}, 0, 3},
	{"dead-letter-dropped", false, "none", []step{after}, 0, 2},
	{"payment-again", false, "kill-at", []step{dieAt(failpoint.Committing, "payment", 2), dieAt(failpoint.Committing, "payment", 3), dieAt(failpoint.Committing, "order", 3)}, 400 * time.Millisecond, 5},
	{"rider-overloaded", false, "none", []step{after}, 0, 3},
	{"delivery-doubled", false, "kill-at", []step{dieAt(failpoint.Committing, "dispatch", 2), dieAt(failpoint.Committing, "dispatch", 3), dieAt(failpoint.Committing, "order", 3)}, 400 * time.Millisecond, 5},
	{"outputs-reversed", false, "none", []step{after}, 0, 2},
	{"accepted-in-vain", false, "none", []step{after}, 0, 2},
	{"order-overtaken", false, "kill-at", []step{dieAt(failpoint.OutputsHeld, "order-events", 40), dieAt(failpoint.OutputsHeld, "order-events", 90), dieAt(failpoint.OutputsHeld, "order-events", 60)}, 400 * time.Millisecond, 10},
	{"letter-too-long", false, "poison-sizes", []step{after}, 0, 1},
	{"topic-id-ignored", false, "topic-anew", []step{spoil}, 0, 1},
	{"gone-unsaid", false, "offsets-reset", []step{spoil}, 0, 1},
	{"forwarded-to-itself", false, "partitions-raised", []step{spoil}, 0, 1},
	{"storm", false, "poison-ids", []step{after, after}, 0, 3},
	{"zero-price", false, "poison-fields", []step{after}, 0, 1},
	{"timers-lost", false, "kill", []step{after, after, after}, 0, 4},
}

// controls have no bug: what finds one there would find anything.
var controls = []hunt{
	{"", false, "kill-at", []step{dieAt(failpoint.Committing, "stock", 3), dieAt(failpoint.Flushed, "order", 8)}, 400 * time.Millisecond, 2},
	{"", true, "kill-at", []step{dieAt(failpoint.OffsetsAdded, "order", 8), dieAt(failpoint.OffsetsAdded, "order", 5)}, 0, 2},
}

func bugNames() string {
	var names []string
	for _, h := range hunts {
		names = append(names, h.bug)
	}
	return strings.Join(names, ", ")
}

// findBugs checks the suite: each planted bug must be found, and without one
// nothing may be. The code is 1 when one was not.
func (s *suite) findBugs(ctx context.Context, only string) (int, error) {
	s.tally = map[string]*tally{}
	s.era = 1000
	for _, h := range hunts { // not only when its turn comes
		p, err := patchByName(h.bug)
		if err == nil {
			_, err = p.apply(".")
		}
		if err != nil {
			return 1, err
		}
	}
	was := s.options
	defer func() { was.keep = s.keep; s.options = was }()
	type row struct{ bug, by string }
	var rows []row
	code := 0
	for _, h := range append(controls, hunts...) {
		if only != "" && !slices.Contains(strings.Split(only, ","), cmp.Or(h.bug, "none")) {
			continue
		}
		// Shorter than a round wants: what is lost stays lost. But a group takes its
		// time to come back on Kafka, and a stall is no find.
		s.patience = 10 * time.Second
		if h.kafka {
			s.patience = 30 * time.Second
		}
		s.options.bin, s.options.broker, s.options.guarantee = was.bin, "embedded", stream.AtLeastOnce
		if h.kafka {
			s.options.broker, s.options.guarantee = "kafka", stream.ExactlyOnce
		}
		name := h.bug
		if name == "" {
			name = "none, " + s.options.broker
		} else {
			p, err := patchByName(name)
			if err != nil {
				return 1, err
			}
			if s.options.bin, err = p.build(ctx, ".", s.dir); err != nil {
				return 1, err
			}
		}
		by, err := s.hunt(ctx, h)
		if err != nil {
			return 1, err
		}
		fmt.Fprintf(s.out, "%-28s %s\n", name, by)
		if (by == "not found") != (h.bug == "") {
			code = 1
		}
		rows = append(rows, row{name, by})
	}
	fmt.Fprintf(s.out, "\n%-28s %s\n", "planted bug", "found by")
	for _, r := range rows {
		fmt.Fprintf(s.out, "%-28s %s\n", r.bug, r.by)
	}
	return code, ctx.Err()
}

// hunt runs rounds until the bug is found, and says by what.
func (s *suite) hunt(ctx context.Context, h hunt) (string, error) {
	if s.world != nil {
		s.world.close()
		s.world = nil
	}
	kafka := s.kafka
	if !h.kafka {
		s.kafka = nil // its worlds know by this which broker they have
	}
	defer func() {
		if s.kafka == nil {
			s.kafka = kafka
		}
	}()
	w, err := s.newWorld(ctx, "hunt-"+cmp.Or(h.bug, "nothing"))
	if err != nil {
		return "", err
	}
	s.world = w
	defer func() { w.close(); s.world = nil }()
	for n := 1; n <= h.mostRound; n++ {
		r := round{n: n, seed: s.seed, fault: h.fault, commit: 100 * time.Millisecond}
		if h.commit > 0 {
			r.commit = h.commit
		}
		rnd := chance(s.seed, n)
		for _, st := range h.steps {
			if st.point != "" && n > 1 { // another moment each round
				st.nth = 1 + rnd.IntN(2*st.nth)
			}
			r.steps = append(r.steps, st)
		}
		_, err := w.live(ctx, r)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			continue
		}
		if !errors.As(err, new(broken)) {
			return "", err
		}
		return fmt.Sprintf("round %d, %s: %s", n, h.fault, strings.Join(finders(err), " | ")), nil
	}
	return "not found", nil
}

// finders lists who found something, with the beginning of what.
func finders(err error) (all []string) {
	var list interface{ Unwrap() []error }
	if errors.As(err, &list) {
		for _, e := range list.Unwrap() {
			all = append(all, finders(e)...)
		}
		return all
	}
	text := err.Error()
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return []string{text}
}

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"baedal/internal/failpoint"
	"baedal/stream"
)

// round is what happens in one round. It follows from the seed and the number.
type round struct {
	n     int
	seed  uint64
	fault string
	steps []step
	// commit is the commit interval of what is started in this round. A long
	// one makes more come twice after a crash.
	commit time.Duration
}

// step is one fault. What it does not need is zero.
type step struct {
	wait   time.Duration // before it
	point  failpoint.Point
	where  string
	nth    int
	action string
	pause  time.Duration // between breaking and healing
	pick   uint64        // which of several
}

func (s step) spec() string {
	where := ""
	if s.where != "" {
		where = "@" + s.where
	}
	spec := fmt.Sprintf("%s%s:%d", s.point, where, s.nth)
	if s.action != "kill" {
		spec += ":" + s.action
	}
	return spec
}

func (s step) String() string {
	if s.point != "" {
		return s.spec()
	}
	if s.pause > 0 {
		return fmt.Sprintf("after %s for %s", s.wait, s.pause)
	}
	return fmt.Sprintf("after %s", s.wait)
}

func (r round) String() string {
	var steps []string
	for _, s := range r.steps {
		steps = append(steps, s.String())
	}
	return fmt.Sprintf("%s %s, commits every %s", r.fault, strings.Join(steps, " then "), r.commit)
}

// makeRound draws a round. Faults come in a shuffled order, each as often.
func makeRound(seed uint64, n int, g stream.Guarantee, names []string) round {
	deck := slices.Clone(names)
	chance(seed, -1-(n-1)/len(deck)).Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	rnd := chance(seed, n)
	r := round{n: n, seed: seed, fault: deck[(n-1)%len(deck)], commit: 100 * time.Millisecond}
	if rnd.IntN(3) == 0 {
		r.commit = 400 * time.Millisecond // more would be more than an area's row remembers
	}
	f := faultByName(r.fault)
	for range f.steps {
		r.steps = append(r.steps, f.draw(rnd, g))
	}
	return r
}

func millis(rnd *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+rnd.IntN(to-from)) * time.Millisecond
}

func anyStep(rnd *rand.Rand, _ stream.Guarantee) step {
	return step{wait: millis(rnd, 300, 2500), pause: millis(rnd, 300, 1500), pick: rnd.Uint64()}
}

// at draws a point of one of these kinds.
func at(action string, most int, kinds ...failpoint.When) func(*rand.Rand, stream.Guarantee) step {
	return func(rnd *rand.Rand, g stream.Guarantee) step {
		var points []failpoint.Point
		for _, p := range failpoint.Points {
			if slices.Contains(kinds, p.When) || slices.Contains(kinds, failpoint.Always) &&
				(p.When == failpoint.AtLeastOnce && g == stream.AtLeastOnce || p.When == failpoint.ExactlyOnce && g == stream.ExactlyOnce) {
				points = append(points, p.Point)
			}
		}
		s := anyStep(rnd, g)
		s.action = action
		s.point = points[rnd.IntN(len(points))]
		s.where = []string{"", "order", "order", "stock", "payment", "dispatch", "rider"}[rnd.IntN(7)]
		s.nth = 1 + rnd.IntN(most)
		if slices.Contains(kinds, failpoint.AtEnd) && s.where != "" {
			s.nth = 1 // a group's partitions are taken away once
		}
		switch s.point {
		case failpoint.Forwarding, failpoint.Forwarded, failpoint.Burying, failpoint.Buried:
			s.where, s.nth = "", 1+rnd.IntN(10)
		case failpoint.OutputsHeld, failpoint.OutputsSome, failpoint.OutputsSent, failpoint.OutputsAcked, failpoint.Ringing, failpoint.Rang:
			s.where = ""
		}
		return s
	}
}

package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"baedal/domain"
)

// Gateway moves money. It must treat calls of the same key as one call. It is
// called from several goroutines and may block until ctx is done.
type Gateway interface {
	// Call returns OK, Denied or Failed, and why. An error means that no answer
	// came, which says nothing about what was done: it counts as Failed.
	Call(ctx context.Context, c Call) (answer, reason string, err error)
}

// Simulated is a gateway that moves no money. What it answers depends on the
// call alone, so a run can be repeated and a key has one answer; only failures
// differ from try to try, and half of them come after the call was carried out, as a
// lost answer does. It takes on trust that what is captured was authorised: the
// ledger does not outlive the process. The zero value approves everything at
// once. The options must not be changed once it is called.
type Simulated struct {
	DeclineOver domain.Money  // authorisations of more are declined; 0: none
	DeclineRate float64       // the share of authorisations that are declined, 0 to 1
	FailOver    domain.Money  // calls of more fail; 0: none
	FailRate    float64       // the share of tries that fail, 0 to 1
	FailTries   int           // later tries do not fail; 0: any try may
	Latency     time.Duration // of every answer
	Keep        int           // keys that the ledger holds, the oldest are forgotten; 0: 10000

	mu     sync.Mutex
	ledger map[string]*Entry
	keys   []string // of the ledger, oldest first
}

// Entry is what a Simulated gateway did under one idempotency key.
type Entry struct {
	Call          // as it first came
	Answer string // OK or Denied
	Count  int    // how often it was called, failures before it was carried out left out
}

// Call implements Gateway.
func (s *Simulated) Call(ctx context.Context, c Call) (answer, reason string, err error) {
	if s.Latency > 0 {
		t := time.NewTimer(s.Latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return "", "", fmt.Errorf("the gateway did not answer: %w", context.Cause(ctx))
		}
	}
	fails := (s.FailTries == 0 || c.Try <= s.FailTries) &&
		(s.FailOver > 0 && c.Amount > s.FailOver || draw(c, "fail") < s.FailRate)
	if fails && draw(c, "lost") < 0.5 {
		return Failed, "the gateway is out of order", nil
	}
	answer, reason = s.decide(c)
	s.enter(c, answer)
	if fails {
		return Failed, "the gateway's answer was lost", nil
	}
	return answer, reason, nil
}

func (s *Simulated) decide(c Call) (answer, reason string) {
	first := c
	first.Try = 0 // one answer for all tries
	switch {
	case c.Kind != Authorize:
		return OK, ""
	case s.DeclineOver > 0 && c.Amount > s.DeclineOver:
		return Denied, fmt.Sprintf("%d is over the limit of %d", c.Amount, s.DeclineOver)
	case draw(first, "decline") < s.DeclineRate:
		return Denied, "the card was declined"
	}
	return OK, ""
}

func (s *Simulated) enter(c Call, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.Key()
	if e := s.ledger[key]; e != nil {
		e.Count++
		return
	}
	keep := s.Keep
	if keep == 0 {
		keep = 10_000
	}
	for len(s.keys) >= keep {
		delete(s.ledger, s.keys[0])
		s.keys = s.keys[1:]
	}
	if s.ledger == nil {
		s.ledger = make(map[string]*Entry)
	}
	s.ledger[key] = &Entry{Call: c, Answer: answer, Count: 1}
	s.keys = append(s.keys, key)
}

// Ledger returns what was done, each key once, oldest first.
func (s *Simulated) Ledger() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]Entry, len(s.keys))
	for i, k := range s.keys {
		entries[i] = *s.ledger[k]
	}
	return entries
}

// SimulatedUsage says what ParseSimulated accepts.
const SimulatedUsage = "approve, or any of decline-over=AMOUNT, decline-rate=0..1, fail-over=AMOUNT, fail-rate=0..1, fail-tries=N, latency=DURATION, separated by commas"

// ParseSimulated reads a flag such as decline-over=50000,fail-rate=0.1,latency=50ms.
// The error names every option that is wrong.
func ParseSimulated(text string) (*Simulated, error) {
	s := &Simulated{}
	options := map[string]func(string) error{
		"decline-over": amount(&s.DeclineOver),
		"decline-rate": share(&s.DeclineRate),
		"fail-over":    amount(&s.FailOver),
		"fail-rate":    share(&s.FailRate),
		"fail-tries":   count(&s.FailTries),
		"latency":      duration(&s.Latency),
	}
	if strings.TrimSpace(text) == "approve" {
		return s, nil
	}
	var errs []error
	var seen []string
	for option := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(option), "=")
		set, known := options[name]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("%q is no option: %s", name, SimulatedUsage))
			continue
		case slices.Contains(seen, name):
			errs = append(errs, fmt.Errorf("%s is given twice", name))
			continue
		}
		seen = append(seen, name)
		if err := set(value); err != nil {
			errs = append(errs, fmt.Errorf("%s=%s: %w", name, value, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("simulated gateway %q: %w", text, err)
	}
	return s, nil
}

func amount(to *domain.Money) func(string) error {
	return func(text string) (err error) {
		if *to, err = strconv.ParseInt(text, 10, 64); err != nil || *to < 1 {
			return errors.New("must be an amount of 1 or more")
		}
		return nil
	}
}

func share(to *float64) func(string) error {
	return func(text string) (err error) {
		if *to, err = strconv.ParseFloat(text, 64); err != nil || !(*to >= 0 && *to <= 1) {
			return errors.New("must be a share from 0 to 1")
		}
		return nil
	}
}

func count(to *int) func(string) error {
	return func(text string) (err error) {
		if *to, err = strconv.Atoi(text); err != nil || *to < 1 {
			return errors.New("must be a number of 1 or more")
		}
		return nil
	}
}

func duration(to *time.Duration) func(string) error {
	return func(text string) (err error) {
		if *to, err = time.ParseDuration(text); err != nil || *to < 0 {
			return errors.New("must be a duration such as 50ms")
		}
		return nil
	}
}

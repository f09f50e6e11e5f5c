package payment

import (
	"fmt"
	"hash/fnv"
	"time"
)

// Settings say when the gateway is asked again.
type Settings struct {
	// RetryFirst is about how long to wait after the first failure; it doubles
	// with every further one, up to RetryMax. There is no last try: an
	// authorisation ends with the order's own deadline, and the rest must be done.
	RetryFirst time.Duration
	RetryMax   time.Duration
	// RetryDenied is about how long to wait after the gateway has denied a
	// capture, void or refund.
	RetryDenied time.Duration
	// Keep is how long the row of money that is settled is kept: longer than
	// its order may take to ask for a refund and to be answered.
	Keep time.Duration
}

// DefaultSettings returns the settings that hold when nothing is said.
func DefaultSettings() Settings {
	return Settings{RetryFirst: 500 * time.Millisecond, RetryMax: time.Minute, RetryDenied: 15 * time.Minute, Keep: 144 * time.Hour}
}

// Validate says what is wrong with the settings.
func (s Settings) Validate() error {
	switch {
	case s.RetryFirst < time.Millisecond:
		return fmt.Errorf("the first retry comes after %s: at least 1ms", s.RetryFirst)
	case s.RetryMax < s.RetryFirst:
		return fmt.Errorf("retries come after %s at most, which is less than the first one's %s", s.RetryMax, s.RetryFirst)
	case s.RetryDenied < time.Millisecond:
		return fmt.Errorf("a denied call is retried after %s: at least 1ms", s.RetryDenied)
	case s.Keep <= 0:
		return fmt.Errorf("settled payments are kept for %s: must be above 0", s.Keep)
	}
	return nil
}

// wait is how long to wait after a call: capped exponential backoff with equal
// jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015): half of
// min(RetryMax, RetryFirst·2^(try-1)), and of the other half a part that is
// drawn by the call itself, so that a call handled again waits equally long
// while orders that failed together come back spread out.
func (s Settings) wait(c Call, denied bool) time.Duration {
	d := s.RetryFirst
	for try := 1; try < c.Try && d < s.RetryMax; try++ {
		d *= 2
	}
	d = min(d, s.RetryMax)
	if denied {
		d = s.RetryDenied
	}
	return d/2 + time.Duration(draw(c, "wait")*float64(d/2))
}

// draw draws a number from 0 to 1 by hash: the same for the same try of a call.
func draw(c Call, what string) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%s", c.Key(), c.Try, what)
	x := h.Sum64()
	// FNV leaves the high bits of short texts alike: mix them (MurmurHash3's finalizer).
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

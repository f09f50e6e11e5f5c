package stream

import (
	"fmt"
	"sync/atomic"
	"time"
)

// pulse notices that this process stood still: stopped, swapped out, or on a
// machine that was. A session that was not heard of for its timeout belongs to
// others, who may have handled on; whatever this process still says would
// overwrite newer rows. The brokers can refuse that only within a transaction.
type pulse struct {
	start  time.Time
	limit  time.Duration
	last   atomic.Int64 // since start
	missed atomic.Int64 // the longest gap beyond limit
}

func newPulse(limit time.Duration) *pulse { return &pulse{start: time.Now(), limit: limit} }

// beat returns an error once there was a gap. It is called at least ten times
// within the limit, and before everything that must not be said too late.
func (p *pulse) beat() error {
	now := int64(time.Since(p.start))
	if gap := now - p.last.Swap(now); gap > int64(p.limit) {
		p.missed.Store(gap)
	}
	if gap := p.missed.Load(); gap > 0 {
		return fmt.Errorf("this process stood still for %s, longer than its session: others may have its partitions by now", time.Duration(gap).Round(time.Millisecond))
	}
	return nil
}

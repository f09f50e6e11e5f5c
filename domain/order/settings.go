package order

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings shape the lives of orders.
type Settings struct {
	// Deadlines is how long an order waits in a status. For accepted and
	// cooking it is the slack behind the time at which the food was to be
	// ready, for refund_requested it passes twice: escalated, then refunded.
	Deadlines map[Status]time.Duration
	// RefundWindow is how long after the delivery a refund may be asked for.
	RefundWindow time.Duration
	// Keep is how long the row of a final order is kept.
	Keep time.Duration
}

// DefaultSettings returns the settings that hold when nothing is said.
func DefaultSettings() Settings {
	return Settings{
		Deadlines: map[Status]time.Duration{
			Placed:          10 * time.Second,
			Paying:          5 * time.Minute,
			Paid:            5 * time.Minute,
			AcceptedStatus:  5 * time.Minute,
			Cooking:         5 * time.Minute,
			Ready:           15 * time.Minute,
			Assigned:        20 * time.Minute,
			PickedUp:        time.Hour,
			Delivered:       2 * time.Hour,
			RefundRequested: 24 * time.Hour,
		},
		RefundWindow: 10 * time.Minute,
		Keep:         72 * time.Hour,
	}
}

// Longest is how long an order is known after its money was last moved: until
// the last word about a complaint, and then Keep.
func (s Settings) Longest() time.Duration {
	return s.Deadlines[Delivered] + s.RefundWindow + 2*s.Deadlines[RefundRequested] + s.Keep
}

// SetDeadline changes one deadline by STATUS=DURATION.
func (s *Settings) SetDeadline(text string) error {
	status, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q must be STATUS=DURATION, such as ready=15m", text)
	}
	if _, ok := s.Deadlines[Status(status)]; !ok {
		var known []string
		for k := range s.Deadlines {
			known = append(known, string(k))
		}
		slices.Sort(known)
		return fmt.Errorf("%q is no status that waits: one of %s", status, strings.Join(known, ", "))
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no duration above zero, such as 90s or 15m", value)
	}
	s.Deadlines[Status(status)] = d
	return nil
}

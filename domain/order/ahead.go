package order

import "slices"

// Reached reports whether the order has been in a status in its present attempt.
func (o *Order) Reached(s Status) bool { return o.had(s, o.attempt()) }

// CanReach reports whether the order can still come to a status.
func (o *Order) CanReach(s Status) bool { return slices.Contains(Statuses, s) && !o.Status.Final() }

// Failed reports whether the order came to nothing: it is over, and the customer
// has neither the food nor, where they complained about it, been refused.
func (o *Order) Failed() bool { return o.endedUnpaid() || o.Status == Refunded }

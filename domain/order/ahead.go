package order

import "slices"

// leads says to which statuses the rules of the machine may lead from each, in
// the first attempt, and in a second one, which is asked for once: its money was
// taken with the first, so what goes wrong is refunded, and nobody cancels it or
// complains about it. What is final has no line, but completed.
var leads = map[Status]struct{ first, second []Status }{
	None:            {first: []Status{Placed}},
	Placed:          {first: []Status{Paying, RefusedStatus, Cancelled}},
	Paying:          {first: []Status{Paid, PaymentFailed, Cancelled}},
	Paid:            {first: []Status{AcceptedStatus, Rejected, Cancelled}},
	AcceptedStatus:  {[]Status{Cooking, Cancelled, DeliveryFailed}, []Status{Cooking, Refunded}},
	Cooking:         {[]Status{Ready, DeliveryFailed}, []Status{Ready, Refunded}},
	Ready:           {[]Status{Assigned, DeliveryFailed}, []Status{Assigned, Refunded}},
	Assigned:        {[]Status{PickedUp, Ready, DeliveryFailed}, []Status{PickedUp, Ready, Refunded}},
	PickedUp:        {[]Status{Delivered}, []Status{Delivered}},
	Delivered:       {[]Status{Completed, RefundRequested}, []Status{Completed}},
	Completed:       {first: []Status{RefundRequested}},
	RefundRequested: {first: []Status{Refunded, RefundDenied, AcceptedStatus}},
}

// stage is where an order stands, as far as it says where it may go.
type stage struct {
	status Status
	second bool // attempt
}

// next returns the stages that may follow.
func (s stage) next() (all []stage) {
	to := leads[s.status].first
	if s.second {
		to = leads[s.status].second
	}
	for _, status := range to {
		all = append(all, stage{status, s.second || s.status == RefundRequested && status == AcceptedStatus})
	}
	return all
}

// ahead has what each stage may ever come to, by however many steps.
var ahead = func() map[stage][]Status {
	all := map[stage][]Status{}
	for _, status := range append([]Status{None}, Statuses...) {
		for _, second := range []bool{false, true} {
			from := stage{status, second}
			seen := map[stage]bool{}
			for todo := from.next(); len(todo) > 0; todo = todo[1:] {
				if s := todo[0]; !seen[s] {
					seen[s] = true
					todo = append(todo, s.next()...)
				}
			}
			for _, s := range Statuses {
				if seen[stage{s, false}] || seen[stage{s, true}] {
					all[from] = append(all[from], s)
				}
			}
		}
	}
	return all
}()

// Reached reports whether the order has been in a status in its present attempt.
func (o *Order) Reached(s Status) bool { return o.had(s, o.attempt()) }

// CanReach reports whether the order may still enter a status, by the rules of
// its life from where it is now, in this attempt or in a second one. It looks at
// no clock: a completed order may come to what a complaint brings, also when the
// window for one is over.
func (o *Order) CanReach(s Status) bool {
	return slices.Contains(ahead[stage{o.Status, o.attempt() > 1}], s)
}

// Failed reports whether the order came to nothing: it is over, and the customer
// has not paid, or has the money back.
func (o *Order) Failed() bool { return o.endedUnpaid() || o.Status == Refunded }

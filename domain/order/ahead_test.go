package order_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// Who waits for a status waits as long as it is still ahead.
func TestOrder_Ahead(t *testing.T) {
	confirmed := with(toDelivered, command(order.Confirm))
	for name, tt := range map[string]struct {
		life    []message
		status  order.Status
		reached bool
		can     bool
	}{
		"Unknown":                      {nil, order.Placed, false, true},
		"UnknownAndSecond":             {nil, order.Refunded, false, true},
		"PlacedIs":                     {toPlaced, order.Placed, true, false},
		"PlacedToDelivered":            {toPlaced, order.Delivered, false, true},
		"AcceptedToRejected":           {toAccepted, order.Rejected, false, false},
		"AcceptedToPaid":               {toAccepted, order.Paid, true, false},
		"CookingToCancelled":           {toCooking, order.Cancelled, false, false},
		"ReadyAgainAfterAssigned":      {toAssigned, order.Ready, true, true},
		"DeliveredMayBeCookedAgain":    {toDelivered, order.Cooking, true, true},
		"ConfirmedToRefundRequested":   {confirmed, order.RefundRequested, false, true},
		"ConfirmedAndRefundRequested":  {with(confirmed, command(order.RequestRefund)), order.RefundRequested, true, false},
		"ConfirmedAndWasCompleted":     {with(confirmed, command(order.RequestRefund)), order.Completed, true, true},
		"SecondToCooking":              {toSecond, order.Cooking, false, true},
		"SecondToAccepted":             {toSecond, order.AcceptedStatus, true, false},
		"SecondToCancelled":            {toSecond, order.Cancelled, false, false},
		"SecondToDeliveryFailed":       {toSecond, order.DeliveryFailed, false, false},
		"SecondToPaid":                 {toSecond, order.Paid, false, false},
		"SecondToRefundRequested":      {toSecond, order.RefundRequested, false, false},
		"SecondToRefunded":             {toSecond, order.Refunded, false, true},
		"SecondDeliveredToRefunded":    {toSecondDelivered, order.Refunded, false, false},
		"SecondCompletedIsTheEnd":      {with(toSecondDelivered, due{}), order.RefundRequested, false, false},
		"CancelledToAnything":          {reach[order.Cancelled], order.Completed, false, false},
		"RefundDeniedToAnything":       {reach[order.RefundDenied], order.Refunded, false, false},
		"NoSuchStatus":                 {toPlaced, "eaten", false, false},
		"NoStatusAtAll":                {toPlaced, order.None, false, false},
		"RiderFoundWhileCookingIsNone": {with(toCooking, delivery(dispatch.Assigned, Bora, 1)), order.Assigned, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, tt.life...)
			require.Equal(t, tt.reached, l.o.Reached(tt.status), "reached")
			require.Equal(t, tt.can, l.o.CanReach(tt.status), "can reach")
		})
	}
	for _, s := range order.Statuses {
		l := live(t, reach[s]...)
		require.True(t, l.o.Reached(s))
		for _, other := range order.Statuses {
			if s.Final() && s != order.Completed {
				require.False(t, l.o.CanReach(other), "%s is final, and can't come to %s", s, other)
			}
		}
		failed := []order.Status{order.RefusedStatus, order.PaymentFailed, order.Rejected, order.Cancelled, order.DeliveryFailed, order.Refunded}
		require.Equal(t, slices.Contains(failed, s), l.o.Failed(), s)
	}
	require.False(t, order.New(orderID).Failed())
}

// What is said to lie ahead is neither too little nor too much: of all that was
// ever seen to follow, in whole lives, everything is said, and all that is said
// of a status can be found in a life.
func TestOrder_AheadIsWhatHappens(t *testing.T) {
	type from struct {
		status  order.Status
		attempt int
	}
	comes := map[from]map[order.Status]bool{}
	note := func(f from, s order.Status) {
		if comes[f] == nil {
			comes[f] = map[order.Status]bool{}
		}
		comes[f][s] = true
	}
	lives := [][]message{}
	for _, way := range ways {
		var life []message
		for _, h := range way.story {
			life = append(life, h.when)
		}
		lives = append(lives, life)
	}
	// What the stories leave out.
	short := notReserved(stock.Short, 2, shortage)
	for _, before := range [][]message{toAccepted, toCooking, toReady, toAssigned} {
		lives = append(lives, with(before, delivery(dispatch.Failed, "", 1)))
	}
	second := with(toSecondReserved, again(command(order.StartCooking)))
	assigned := with(toSecondReady, delivery(dispatch.Assigned, Chul, 2))
	lives = append(lives, with(toSecond, short), with(toPaying, paid(payment.Declined)),
		with(second, delivery(dispatch.Failed, "", 2)), with(assigned, delivery(dispatch.Failed, "", 2)),
		with(assigned, delivery(dispatch.Unassigned, Chul, 2)))

	steps := map[from]map[order.Status]bool{}
	for _, life := range lives {
		l := live(t, life...)
		was := from{order.None, 1}
		for i, e := range l.o.Timeline {
			f := from{e.Status, max(1, e.Attempt)}
			if f == was || e.Type != string(e.Status) {
				continue
			}
			if steps[was] == nil {
				steps[was] = map[order.Status]bool{}
			}
			steps[was][e.Status] = true
			require.True(t, standing(was.status, was.attempt).CanReach(e.Status), "%v came to %s in version %d", was, e.Status, i+1)
			was = f
		}
	}
	// All that the steps lead to, one after the other.
	var walk func(start, at from, seen map[from]bool)
	walk = func(start, at from, seen map[from]bool) {
		for s := range steps[at] {
			next := from{s, at.attempt}
			if at.status == order.RefundRequested && s == order.AcceptedStatus {
				next.attempt = 2
			}
			note(start, s)
			if !seen[next] {
				seen[next] = true
				walk(start, next, seen)
			}
		}
	}
	for f := range steps {
		walk(f, f, map[from]bool{})
	}
	for _, status := range append([]order.Status{order.None}, order.Statuses...) {
		for attempt := 1; attempt <= 2; attempt++ {
			f := from{status, attempt}
			if attempt == 2 && !comes[f][order.Refunded] && status != order.Delivered && status != order.PickedUp {
				continue // a second attempt is never there
			}
			for _, s := range order.Statuses {
				require.Equal(t, comes[f][s], standing(status, attempt).CanReach(s), fmt.Sprintf("from %v to %s", f, s))
			}
		}
	}
}

func standing(s order.Status, attempt int) *order.Order {
	return &order.Order{ID: orderID, Status: s, Attempt: attempt, UserID: customer, StoreID: storeID, Lines: []domain.Line{}}
}

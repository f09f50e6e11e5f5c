package rider

import (
	"slices"

	"baedal/domain"
	"baedal/domain/dispatch"
)

// HandleEvent applies what dispatch tells the rider. The same event again
// changes nothing and sends the same again.
func (r *Rider) HandleEvent(e *dispatch.RiderEvent, now domain.Time) Out {
	t := &turn{Rider: r, by: eventMark(e), now: now}
	switch e.Type {
	case dispatch.Entered:
		t.entered(e)
	case dispatch.Left:
		t.left(e)
	case dispatch.Stays:
		t.stays(e)
	case dispatch.RiderAssigned:
		t.assigned(InHand{e.OrderID, e.Attempt})
	case dispatch.RiderUnassigned:
		t.over(InHand{e.OrderID, e.Attempt}, 0)
	case dispatch.RiderDelivered:
		t.over(InHand{e.OrderID, e.Attempt}, 1)
	}
	return t.out
}

// entered reaches the wish to be in that area. An area that the rider does not know to be
// in is left.
func (t *turn) entered(e *dispatch.RiderEvent) {
	switch {
	case e.Area == t.Area && e.Shift >= t.Shift:
		// A newer shift than ours: the row was reset, the area remembers.
		behind := e.Shift > t.Shift
		reached := t.Wish != nil && t.Wish.Area == t.Area && !t.Asked
		if behind || !t.On || reached {
			t.change()
		}
		t.Shift, t.On = e.Shift, true
		switch {
		case t.Asked && behind:
			t.ask()
		case reached:
			t.settle(domain.Refusal{})
		default:
			t.stale()
		}
	case e.Shift <= t.Shift:
		t.stale()
	default:
		t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
			Meta: domain.Meta{Type: dispatch.Leave, ID: dispatch.UndoID(t.ID, e.Shift), At: e.At},
			Area: e.Area, RiderID: t.ID, Shift: e.Shift,
		})
	}
}

// left ends the shift; the wish goes on from there.
func (t *turn) left(e *dispatch.RiderEvent) {
	if e.Area != t.Area || e.Shift < t.Shift {
		t.stale()
		return
	}
	t.change()
	t.Shift = e.Shift
	t.Area, t.On, t.Asked, t.Until = "", false, false, 0
	if e.Reason != "" && t.Wish != nil && t.Wish.Area == e.Area { // it had no room: asking again at once would bring the same
		t.settle(domain.Because(e.Reason))
	}
	t.pursue()
}

// stays refuses the wish to leave.
func (t *turn) stays(e *dispatch.RiderEvent) {
	if !t.Asked || e.ID != dispatch.StaysID(t.leaveID()) {
		t.stale()
		return
	}
	t.change()
	t.On, t.Asked = true, false
	if t.Wish != nil && t.Wish.Area != t.Area {
		t.settle(domain.Refuse(domain.CodeStatus, "%s", e.Reason))
	}
	t.pursue()
}

// stale handles an answer that comes again: so does what it brought.
func (t *turn) stale() {
	for _, a := range t.Recent {
		if a.By == t.by {
			t.say(a.name(), a.Verdict, a.Refusal, a.Version, a.At)
		}
	}
	t.ask()
}

// assigned may come again when the delivery is over: that is remembered, as no
// rider gets the same delivery twice.
func (t *turn) assigned(d InHand) {
	if slices.Contains(t.Deliveries, d) || slices.Contains(t.Over, d.mark()) {
		return
	}
	t.change()
	t.Deliveries = capped(append(t.Deliveries, d), KeepInHand)
}

// over takes the delivery out of his hands and counts it, once. It may come
// before assigned is known.
func (t *turn) over(d InHand, count int) {
	if slices.Contains(t.Over, d.mark()) {
		return
	}
	t.change()
	t.Deliveries = slices.DeleteFunc(t.Deliveries, func(o InHand) bool { return o == d })
	t.Over = capped(append(t.Over, d.mark()), KeepOver)
	t.DeliveredCount += count
	if count > 0 { // dispatch believes him at the drop now: it is told of the next move
		t.Told, t.ToldBy = nil, ""
	}
}

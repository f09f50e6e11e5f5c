package dispatch

import (
	"cmp"
	"fmt"
	"slices"

	"baedal/domain"
)

// answer reads from the row what must be sent for the message, whether it was
// decided just now or before.
func (t *turn) answer() (out Out) {
	switch t.c.Type {
	case Enter:
		out.Riders = t.shiftEvents(t.entered)
	case Leave:
		out.Riders = t.shiftEvents(t.left)
	}

	for _, p := range t.told() {
		de, re := p.d.events(t.ID, p.i)
		out.Deliveries = append(out.Deliveries, de)
		if re != nil && p.d.Steps[p.i].By == t.by {
			out.Riders = append(out.Riders, *re)
		}
	}
	// What a rider's own command did to him names that command.
	for i := range out.Riders {
		if out.Riders[i].RiderID == t.c.RiderID {
			out.Riders[i].CommandID = t.c.CommandID
		}
	}
	out.Verdicts = t.verdicts()
	return out
}

// part is step i of delivery d.
type part struct {
	d *Delivery
	i int
}

// told lists the steps to be sent, in the order in which they were taken: those
// that the message caused; for a request, all of its delivery, because orders
// asks again when it knows less than the area; for a withdraw, the end of its
// delivery, whatever brought it. Riders are told only what the message caused.
func (t *turn) told() (parts []part) {
	for d := range t.all() {
		named := d.OrderID == t.c.OrderID && d.Attempt == t.c.Attempt
		for i := range d.Steps {
			last := i == len(d.Steps)-1
			if d.Steps[i].By == t.by || named && t.c.Type == Request || named && t.c.Type == Withdraw && last && d.finished() {
				parts = append(parts, part{d, i})
			}
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.d.Steps[a.i].Version, b.d.Steps[b.i].Version) })
	return parts
}

func (t *turn) shiftEvents(of func() *RiderEvent) []RiderEvent {
	if e := of(); e != nil {
		e.Area, e.RiderID = t.ID, t.c.RiderID
		return []RiderEvent{*e}
	}
	return nil
}

// entered answers enter: what is true of the rider now.
func (t *turn) entered() *RiderEvent {
	if g := t.gone(t.c.RiderID); g != nil && g.Shift >= t.c.Shift {
		return t.leftEvent(g)
	}
	r := t.rider(t.c.RiderID)
	if r == nil {
		return nil
	}
	return shiftEvent(Entered, r.ID, r.Shift, r.EnteredAt)
}

// left answers leave.
func (t *turn) left() *RiderEvent {
	if a := t.recall(); a != nil {
		return &RiderEvent{
			Meta: domain.Meta{Type: Stays, ID: StaysID(t.c.ID), At: a.At}, Shift: t.c.Shift, Reason: a.Reason,
		}
	}
	if g := t.gone(t.c.RiderID); g != nil && g.Shift >= t.c.Shift {
		return t.leftEvent(g)
	}
	return nil
}

func (t *turn) leftEvent(g *Gone) *RiderEvent {
	e := shiftEvent(Left, g.RiderID, g.Shift, domain.Time(g.At))
	if g.Full {
		e.Reason = fmt.Sprintf("area %q has as many riders as it can take: try another one, or again when some have left", t.ID)
	}
	return e
}

func shiftEvent(kind, rider string, shift int, at domain.Time) *RiderEvent {
	return &RiderEvent{Meta: domain.Meta{Type: kind, ID: fmt.Sprintf("%s/%s/%d", rider, kind, shift), At: at}, Shift: shift}
}

// verdicts says a refusal always, an acceptance when it was asked for.
func (t *turn) verdicts() []RiderVerdict {
	switch t.c.Type {
	case Claim, Decline, PickedUp, Delivered:
	default:
		return nil // enter, leave and move: the rider's row gives the verdict
	}
	why, version, at := t.decided()
	if t.c.CommandID == "" || !why.Is() && !t.c.Verdict {
		return nil
	}
	return []RiderVerdict{{RiderID: t.c.RiderID, Verdict: domain.NewVerdict(verdictStream, t.c.RiderID, t.c.name(), why, version, at)}}
}

// decided returns what was decided about a rider's command, the version of the
// area that shows it, and when: it has left an Answer or a step.
func (t *turn) decided() (why domain.Refusal, version int, at domain.Time) {
	if a := t.recall(); a != nil {
		return a.Refusal, a.Version, a.At
	}
	if told := t.told(); len(told) > 0 {
		s := told[0].d.Steps[told[0].i]
		return why, s.Version, s.At
	}
	return why, t.Version, t.now
}

package dispatch

import (
	"bytes"
	"slices"
	"strconv"

	"baedal/domain"
)

// Millis is a domain.Time that a row writes as a number: shorter and faster.
type Millis domain.Time

// State is where a delivery stands.
type State string

// States.
const (
	StateOpen      State = "open"
	StateAssigned  State = "assigned"
	StatePickedUp  State = "picked_up"
	StateDelivered State = "delivered"
	StateFailed    State = "failed"
)

// Delivery is one attempt to bring one order. What became of it is its steps;
// every event about it is built from one of them, so an event sent again is the
// event that was sent. Its names in JSON are short: see pack.go.
type Delivery struct {
	OrderID     string       `json:"o"`
	Attempt     int          `json:"n"`
	Pickup      domain.Place `json:"from"`
	Drop        domain.Place `json:"to"`
	ReadyAt     Millis       `json:"ra,omitzero"`
	Ready       bool         `json:"r,omitzero"` // the food is
	RequestedAt Millis       `json:"at,omitzero"`
	Declined    []string     `json:"no,omitempty"` // riders who must not get it (again)
	Steps       []Step       `json:"s,omitempty"`

	fixed int // bytes of what does not change, once counted
}

// Step is one thing that became of a delivery: assigned, unassigned, picked_up,
// delivered or failed.
type Step struct {
	Version int // of the area with it: the order among all its steps
	Type    string
	At      domain.Time
	By      Mark // the message that caused it

	// of assigned: as they were then
	RiderID   string
	EtaPickup domain.Time
	EtaDrop   domain.Time
	ReadyAt   domain.Time

	Reason string // of unassigned and failed
}

// In a row, the type of a step is one letter and its other times are relative
// to At.
var (
	letter = map[string]string{Assigned: "a", Unassigned: "u", PickedUp: "p", Delivered: "d", Failed: "f"}
	typeOf = map[string]string{"a": Assigned, "u": Unassigned, "p": PickedUp, "d": Delivered, "f": Failed}
)

// AppendText implements encoding.TextAppender.
func (s Step) AppendText(b []byte) ([]byte, error) {
	p := pack(b)
	p.int(int64(s.Version))
	p.text(letter[s.Type])
	p.int(int64(s.At))
	p.text(string(s.By))
	p.text(s.RiderID)
	if s.Type == Assigned {
		p.int(int64(s.EtaPickup - s.At))
		p.int(int64(s.EtaDrop - s.At))
		p.int(int64(s.ReadyAt - s.At))
	}
	p.text(s.Reason)
	return p.done(), nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Step) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Step) UnmarshalText(b []byte) error {
	u := unpacker{rest: string(b)}
	*s = Step{Version: int(u.int()), Type: typeOf[u.text()], At: u.time(), By: Mark(u.text()), RiderID: u.text()}
	if s.Type == Assigned {
		s.EtaPickup, s.EtaDrop, s.ReadyAt = s.At+u.time(), s.At+u.time(), s.At+u.time()
	}
	s.Reason = u.rest
	return u.err
}

// Past is a finished delivery: what it was and its steps, its places are dropped.
// Nothing of it changes any more, so it is packed once: most of a row is these.
type Past struct {
	*Delivery
	packed []byte
}

func newPast(d *Delivery) Past {
	d = &Delivery{OrderID: d.OrderID, Attempt: d.Attempt, Steps: d.Steps}
	p := pack(nil)
	p.text(d.OrderID)
	p.int(int64(d.Attempt))
	for _, s := range d.Steps {
		step, _ := s.AppendText(nil)
		p.int(int64(len(step))) // a reason may be anything
		p.text(string(step))
	}
	return Past{d, p.done()}
}

// AppendText implements encoding.TextAppender.
func (p Past) AppendText(b []byte) ([]byte, error) { return append(b, p.packed...), nil }

// MarshalText implements encoding.TextMarshaler.
func (p Past) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Past) UnmarshalText(b []byte) error {
	u := unpacker{rest: string(b)}
	d := &Delivery{OrderID: u.text(), Attempt: int(u.int())}
	for u.rest != "" && u.err == nil {
		var s Step
		u.fail(u.rest, s.UnmarshalText([]byte(u.cut(int(u.int())))))
		d.Steps = append(d.Steps, s)
	}
	*p = Past{d, bytes.Clone(b)}
	return u.err
}

var stateAfter = map[string]State{
	Assigned: StateAssigned, Unassigned: StateOpen, PickedUp: StatePickedUp, Delivered: StateDelivered, Failed: StateFailed,
}

// State returns where the delivery stands.
func (d *Delivery) State() State {
	if len(d.Steps) == 0 {
		return StateOpen
	}
	return stateAfter[d.Steps[len(d.Steps)-1].Type]
}

func (d *Delivery) finished() bool { s := d.State(); return s == StateDelivered || s == StateFailed }

// Rider returns who has the delivery now, or "".
func (d *Delivery) Rider() string {
	if s := d.State(); s != StateAssigned && s != StatePickedUp {
		return ""
	}
	return d.holder(len(d.Steps) - 1).RiderID
}

// holder returns the assignment in force at step i; the zero Step if none was.
func (d *Delivery) holder(i int) Step {
	for ; i >= 0; i-- {
		switch d.Steps[i].Type {
		case Assigned:
			return d.Steps[i]
		case Unassigned:
			return Step{}
		}
	}
	return Step{}
}

func (d *Delivery) declinedBy(rider string) bool { return slices.Contains(d.Declined, rider) }

// events returns what step i is told to the order, and to the rider if it
// concerns him.
func (d *Delivery) events(area string, i int) (DeliveryEvent, *RiderEvent) {
	s := d.Steps[i]
	held := s
	switch s.Type {
	case Unassigned, Failed: // ends what the step before began
		held = d.holder(i - 1)
	case PickedUp, Delivered:
		held = d.holder(i)
	}

	id := d.OrderID + "/" + s.Type + "/" + strconv.Itoa(d.Attempt)
	if s.Type == Assigned || s.Type == Unassigned {
		id += "/" + strconv.Itoa(d.nth(i))
	}
	de := DeliveryEvent{
		Meta:    domain.Meta{Type: s.Type, ID: id, At: s.At},
		OrderID: d.OrderID, Attempt: d.Attempt, Area: area, RiderID: held.RiderID, Reason: s.Reason,
	}
	re := &RiderEvent{
		Meta: domain.Meta{Type: s.Type, ID: held.RiderID + "/" + id, At: s.At},
		Area: area, RiderID: held.RiderID, OrderID: d.OrderID, Attempt: d.Attempt, Reason: s.Reason,
	}
	switch s.Type {
	case Assigned:
		de.EtaPickup, de.EtaDrop = s.EtaPickup, s.EtaDrop
		pickup, drop := d.Pickup, d.Drop
		re.Type, re.Pickup, re.Drop = RiderAssigned, &pickup, &drop
		re.ReadyAt, re.EtaPickup, re.EtaDrop = s.ReadyAt, s.EtaPickup, s.EtaDrop
	case Unassigned:
		re.Type = RiderUnassigned
	case PickedUp:
		re = nil
	case Delivered:
		de.Success = new(true)
		re.Type = RiderDelivered
	case Failed:
		de.Success, de.RiderID = new(false), ""
		re.Type = RiderUnassigned
	}
	// A rider is not told again of a delivery that he had and has no more.
	if held.RiderID == "" || s.Type == Assigned && d.finished() {
		re = nil
	}
	return de, re
}

// tries counts the riders who have, or had, the delivery.
func (d *Delivery) tries() int { return d.nth(len(d.Steps) - 1) }

// nth counts the assignments up to step i.
func (d *Delivery) nth(i int) (n int) {
	for _, s := range d.Steps[:i+1] {
		if s.Type == Assigned {
			n++
		}
	}
	return n
}

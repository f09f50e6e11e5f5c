package dispatch

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"baedal/domain"
	"baedal/domain/decided"
)

// How much an area remembers of what is over. A message that comes again after
// as many others were remembered is taken for a new one: whoever gets an answer
// that they do not want any more undoes it.
const (
	KeepDone = 32 // finished deliveries
	KeepGone = 32 // riders who left

	// MaxAcceptedBytes bounds what is remembered of riders' commands beyond those
	// of the deliveries that are kept: some 60. Refusals are remembered for
	// domain.RefusedFor and within domain.MaxRefusedBytes, of all riders together,
	// which is some 100.
	MaxAcceptedBytes = 2_000
)

var remembers = decided.Bounds{Always: MaxAcceptedBytes, Refused: domain.MaxRefusedBytes}

// verdictStream is the contract's name of the stream that riders' commands come
// on (rider.Stream; rider imports this package).
const verdictStream = "rider-commands"

// Area is the row of one area. It is hot: what is in it is kept small.
type Area struct {
	ID         string      `json:"id"`
	Version    int         `json:"version,omitzero"` // counts the steps, and the other changes that readers may see
	Riders     []*Rider    `json:"riders,omitempty"`
	Deliveries []*Delivery `json:"deliveries,omitempty"` // open and assigned, oldest request first
	Done       []Past      `json:"done,omitempty"`       // finished, oldest end first
	Gone       []Gone      `json:"gone,omitempty"`
	Recent     []Answer    `json:"recent,omitempty"`
}

// NewArea returns the row of an area that nothing is known about.
func NewArea(id string) *Area { return &Area{ID: id} }

// Rider is a rider on shift in the area.
type Rider struct {
	ID        string
	Shift     int
	Place     domain.Place
	PlaceAt   domain.Time // since when he is known to be there
	Capacity  int
	IdleSince domain.Time // of one who has nothing in hand
	EnteredAt domain.Time
	Until     domain.Time // end of the shift: gets nothing that would be picked up after it
	Leaving   bool        // has asked to leave with something in hand: gets nothing new
}

// AppendText implements encoding.TextAppender.
func (r Rider) AppendText(b []byte) ([]byte, error) {
	var leaving int64
	if r.Leaving {
		leaving = 1
	}
	p := pack(b)
	p.text(r.ID)
	p.int(int64(r.Shift))
	p.float(r.Place.Lat)
	p.float(r.Place.Lon)
	p.int(int64(r.PlaceAt))
	p.int(int64(r.Capacity))
	p.int(int64(r.IdleSince))
	p.int(int64(r.EnteredAt))
	p.int(leaving)
	p.int(int64(r.Until))
	return p.done(), nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Rider) MarshalText() ([]byte, error) { return r.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rider) UnmarshalText(b []byte) error {
	u := unpacker{rest: string(b)}
	*r = Rider{
		ID: u.text(), Shift: int(u.int()), Place: domain.Place{Lat: u.float(), Lon: u.float()}, PlaceAt: u.time(),
		Capacity: int(u.int()), IdleSince: u.time(), EnteredAt: u.time(), Leaving: u.int() != 0, Until: u.time(),
	}
	return u.err
}

// Gone remembers the last shift of a rider who left: nothing of that shift or
// an older one may bring him back.
type Gone struct {
	RiderID string `json:"id"`
	Shift   int    `json:"shift"`
	At      Millis `json:"at"`
	Full    bool   `json:"full,omitzero"` // never came in: there was no room
}

// Answer is what was decided about a message that left no other trace, or whose
// trace is forgotten.
type Answer struct {
	By      Mark
	At      domain.Time
	Version int // of the area, once it was decided

	domain.Refusal // why it was refused
}

// AppendText implements encoding.TextAppender.
func (a Answer) AppendText(b []byte) ([]byte, error) {
	p := pack(b)
	p.text(string(a.By))
	p.text(strconv.FormatInt(int64(a.At), 36))
	p.text(strconv.FormatInt(int64(a.Version), 36))
	p.text(a.Code)
	p.text(a.Reason)
	return p.done(), nil
}

// MarshalText implements encoding.TextMarshaler.
func (a Answer) MarshalText() ([]byte, error) { return a.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Answer) UnmarshalText(b []byte) error {
	u := unpacker{rest: string(b)}
	*a = Answer{By: Mark(u.text()), At: domain.Time(u.int36()), Version: int(u.int36()), Refusal: domain.Refusal{Code: u.text()}}
	a.Reason = u.rest
	return u.err
}

// answerBytes is what an accepted one takes at most: its mark, a time, a version
// and what is between them.
const answerBytes = domain.MaxMark + 10 + 6 + 5

func (a *Answer) weigh() (domain.Time, int, bool) {
	if a.Is() {
		return a.At, decided.RefusalBytes(a.Reason), true
	}
	return a.At, answerBytes, false
}

// RiderVerdict is a verdict and the rider whose command it is about: its key.
type RiderVerdict struct {
	RiderID string
	domain.Verdict
}

// Out is what must be sent for a message, in this order per slice, and whether
// the row changed.
type Out struct {
	Deliveries []DeliveryEvent
	Riders     []RiderEvent
	Verdicts   []RiderVerdict
	Changed    bool
}

// Handle applies a valid command. The same message again changes nothing and
// gets the same answer.
//
// Everything that is sent is read from the row after the decision: a message
// that comes again skips the decision and is answered by the same reading.
func (a *Area) Handle(c *Command, now domain.Time, p Planner) Out {
	t := &turn{Area: a, c: c, by: MarkOf(c.Type, c.ID), now: now, plan: p.orDefaults()}
	changed, was := false, a.Version
	if !t.remembered() {
		if changed = rules[c.Type](t); changed {
			t.fill()
		}
		if changed && a.Version == was && !t.refused {
			a.Version++
		}
	}
	out := t.answer()
	out.Changed = changed
	return out
}

// turn is the handling of one message.
type turn struct {
	*Area
	c    *Command
	by   Mark
	now  domain.Time
	plan Planner

	refused bool // the row remembers that, and shows nothing of it
}

// rules says what each command does when it comes for the first time, and
// reports whether the row changed. A rule that may leave neither a step nor an
// Answer must find out by itself that it was applied before.
var rules = map[string]func(*turn) bool{
	Request: (*turn).request, Ready: (*turn).ready, Postpone: (*turn).postpone, GiveUp: (*turn).giveUp, Withdraw: (*turn).withdraw,
	Enter: (*turn).enter, Leave: (*turn).leave, Move: (*turn).move,
	Claim: (*turn).fromRider, Decline: (*turn).fromRider, PickedUp: (*turn).fromRider, Delivered: (*turn).fromRider,
}

// remembered reports whether this message has left a step or an Answer.
func (t *turn) remembered() bool {
	for d := range t.all() {
		for i := range d.Steps {
			if d.Steps[i].By == t.by {
				return true
			}
		}
	}
	return t.recall() != nil
}

func (t *turn) recall() *Answer {
	i := slices.IndexFunc(t.Recent, func(a Answer) bool { return a.By == t.by })
	if i < 0 {
		return nil
	}
	return &t.Recent[i]
}

func (t *turn) remember(why domain.Refusal) {
	t.Version++
	t.keep(Answer{By: t.by, At: t.now, Version: t.Version, Refusal: why})
}

func (t *turn) keep(all ...Answer) {
	t.Recent = decided.Trim(append(t.Recent, all...), t.now, remembers, (*Answer).weigh)
}

// capped forgets the oldest.
func capped[S ~[]E, E any](s S, n int) S { return slices.Delete(s, 0, max(0, len(s)-n)) }

// From orders.

func (t *turn) request() bool {
	if t.delivery() != nil {
		return false
	}
	d := &Delivery{
		OrderID: t.c.OrderID, Attempt: t.c.Attempt, Pickup: t.c.Pickup.Place(), Drop: t.c.Drop.Place(),
		ReadyAt: Millis(t.c.ReadyAt), RequestedAt: Millis(t.now),
	}
	full := t.deliveryBytes()+d.written() > RequestBytes
	t.Deliveries = append(t.Deliveries, d)
	if full {
		t.finish(d, Step{Type: Failed, Reason: AreaFull})
	}
	return true
}

func (t *turn) ready() bool {
	d := t.delivery()
	if d == nil || d.Ready || d.finished() {
		return false
	}
	d.Ready, d.ReadyAt = true, Millis(t.now)
	return true
}

// postpone makes the food ready later. It never makes it ready sooner, so one
// that comes again changes nothing.
func (t *turn) postpone() bool {
	d := t.delivery()
	if d == nil || d.Ready || d.finished() || Millis(t.c.ReadyAt) <= d.ReadyAt {
		return false
	}
	d.ReadyAt = Millis(t.c.ReadyAt)
	return true
}

// giveUp takes the delivery from a rider who did not come. A give_up that
// crossed his picking it up, or his losing it otherwise, is late: nothing.
func (t *turn) giveUp() bool {
	d := t.delivery()
	if d == nil || d.State() != StateAssigned || d.Rider() != t.c.RiderID {
		return false
	}
	t.unassign(d, cmp.Or(t.c.Reason, Late))
	return true
}

// withdraw closes a delivery; one that is not known is closed before it is
// requested. What a rider has picked up can't be undone: the withdraw crossed
// picked_up, which was first, and gets no answer; the events of picked_up tell
// the order.
func (t *turn) withdraw() bool {
	d := t.delivery()
	switch {
	case d == nil:
		d = &Delivery{OrderID: t.c.OrderID, Attempt: t.c.Attempt, RequestedAt: Millis(t.now)}
		t.Deliveries = append(t.Deliveries, d)
	case d.finished() || d.State() == StatePickedUp:
		return false
	}
	t.finish(d, Step{Type: Failed, Reason: cmp.Or(t.c.Reason, Withdrawn)})
	return true
}

// From riders: the shift.

// enter puts a rider on shift, or changes the place and capacity of one who is,
// when the shift is a newer one. It is idle when he has entered or left with
// this shift or a newer one: he is told which.
func (t *turn) enter() bool {
	if g := t.gone(t.c.RiderID); g != nil && g.Shift >= t.c.Shift {
		return false
	}
	r := t.rider(t.c.RiderID)
	if r != nil && r.Shift >= t.c.Shift {
		return false
	}
	if r == nil {
		if !t.mayEnter(t.c.RiderID) {
			t.went(true)
			return true
		}
		r = &Rider{ID: t.c.RiderID, IdleSince: t.now}
		t.Riders = append(t.Riders, r)
	}
	r.Shift, r.Capacity, r.EnteredAt, r.Leaving, r.Until = t.c.Shift, max(1, t.c.Capacity), t.now, false, t.c.Until
	r.Place, r.PlaceAt = t.c.Place.Place(), cmp.Or(t.c.PlaceAt, t.said())
	return true
}

// leave lets a rider go who has nothing in hand; one who has must ask again, and
// is given nothing new until then, or he could never leave a busy area. Leaving when not there is fine
// and remembered; a leave of an older shift is one that comes again.
func (t *turn) leave() bool {
	r, g := t.rider(t.c.RiderID), t.gone(t.c.RiderID)
	switch {
	case g != nil && g.Shift >= t.c.Shift, r != nil && r.Shift > t.c.Shift:
		return false
	case r != nil:
		if d := t.inHand(r.ID); len(d) > 0 {
			r.Leaving = true
			t.remember(domain.Refuse(domain.CodeStatus, "order %q is in hand: deliver or decline it first", d[0].OrderID))
			return true
		}
		t.Riders = slices.DeleteFunc(t.Riders, func(o *Rider) bool { return o == r })
	}
	t.went(false)
	return true
}

// went remembers that the shift is over; full, that it never began.
func (t *turn) went(full bool) {
	t.Gone = slices.DeleteFunc(t.Gone, func(g Gone) bool { return g.RiderID == t.c.RiderID })
	t.Gone = capped(append(t.Gone, Gone{RiderID: t.c.RiderID, Shift: t.c.Shift, At: Millis(t.now), Full: full}), KeepGone)
}

// move is idle when the area knows a newer place: the message comes again.
func (t *turn) move() bool {
	at, r, place := t.said(), t.rider(t.c.RiderID), t.c.Place.Place()
	if r == nil || r.Shift != t.c.Shift || at < r.PlaceAt || at == r.PlaceAt && place == r.Place {
		return false
	}
	r.Place, r.PlaceAt = place, at
	return true
}

// said returns when the message was made; places are compared by it.
func (t *turn) said() domain.Time { return cmp.Or(t.c.At, t.now) }

// From riders: a delivery. All of these are answered with a verdict.

func (t *turn) fromRider() bool {
	switch why, traced := t.decide(); {
	case why.Is():
		t.refused = true
		t.keep(Answer{By: t.by, At: t.now, Version: t.Version, Refusal: why})
	case !traced:
		t.remember(why)
	}
	return true
}

// notNow says why the rider who has a delivery can't do a thing in a state.
var notNow = map[string]map[State]string{
	Decline:   {StatePickedUp: "is picked up: it can only be delivered"},
	PickedUp:  {StatePickedUp: "is picked up already"},
	Delivered: {StateAssigned: "is not picked up yet: send picked_up first"},
}

// decide applies the command of a rider and returns why it is refused, and
// whether it left a step.
func (t *turn) decide() (why domain.Refusal, traced bool) {
	order, me := strconv.Quote(t.c.OrderID), t.c.RiderID
	status := func(format string, args ...any) (domain.Refusal, bool) {
		return domain.Refuse(domain.CodeStatus, format, args...), false
	}
	no := func(format string, args ...any) (domain.Refusal, bool) {
		return domain.Refuse(domain.CodeRefused, format, args...), false
	}
	r := t.rider(me)
	if r == nil {
		return status("rider %q is not on shift in area %q", me, t.ID)
	}
	d := t.latest(t.c.OrderID)
	switch {
	case d == nil:
		return no("order %s has no delivery in area %q", order, t.ID)
	case d.finished():
		return status("order %s is over: its delivery is %s", order, d.State())
	case t.c.Type == Claim:
		if code, reason := t.mayClaim(r, d); reason != "" {
			return domain.Refuse(code, "order %s %s", order, reason), false
		}
		t.assign(d, r)
		return why, true
	case t.c.Type == Decline && d.State() == StateOpen:
		if !d.declinedBy(me) {
			if !t.mayAssign(me) {
				return no("order %s can't be declined now: area %q is full", order, t.ID)
			}
			d.Declined = append(d.Declined, me)
		}
		return why, false
	case d.Rider() == "":
		return no("order %s is not yours: no rider has it", order)
	case d.Rider() != me:
		return no("order %s is not yours: rider %q has it", order, d.Rider())
	}
	if reason := notNow[t.c.Type][d.State()]; reason != "" {
		return status("order %s %s", order, reason)
	}
	switch t.c.Type {
	case Decline:
		t.unassign(d, Declined)
	case PickedUp:
		if !d.Ready {
			d.Ready, d.ReadyAt = true, Millis(t.now)
		}
		t.step(d, Step{Type: PickedUp})
	case Delivered:
		r.Place, r.PlaceAt = d.Drop, t.said()
		t.finish(d, Step{Type: Delivered})
	}
	return why, true
}

// mayClaim returns why not, and the code of that.
func (t *turn) mayClaim(r *Rider, d *Delivery) (code, reason string) {
	switch n := len(t.inHand(r.ID)); {
	case t.plan.Mode == Assign:
		return domain.CodeRefused, "can't be claimed: deliveries are assigned here"
	case d.Rider() != "":
		return domain.CodeStatus, fmt.Sprintf("is taken: rider %q has it", d.Rider())
	case d.declinedBy(r.ID):
		return domain.CodeRefused, "can't be claimed: you gave it back"
	case n >= r.Capacity:
		return domain.CodeRefused, fmt.Sprintf("can't be claimed: you have %d of %d in hand", n, r.Capacity)
	case !t.inTime(r, d):
		return domain.CodeRefused, fmt.Sprintf("can't be claimed: your shift ends at %s, and it can't be picked up before", r.Until)
	case !t.mayAssign(r.ID):
		return domain.CodeRefused, "can't be claimed now: the area is full, and other deliveries must end first"
	}
	return "", ""
}

// inTime reports whether the rider would pick the delivery up before their shift
// ends. One who is late all the same may pick it up: the food must leave.
func (t *turn) inTime(r *Rider, d *Delivery) bool {
	return r.Until == 0 || t.pickup(r, d) <= r.Until
}

// pickup is when the rider would pick the delivery up.
func (t *turn) pickup(r *Rider, d *Delivery) domain.Time {
	return max(t.now.Add(t.plan.Travel(r.Place, d.Pickup)), domain.Time(d.ReadyAt))
}

// What rules are made of.

func (t *turn) step(d *Delivery, s Step) {
	t.Version++
	s.Version, s.At, s.By = t.Version, t.now, t.by
	d.Steps = append(d.Steps, s)
}

func (t *turn) assign(d *Delivery, r *Rider) {
	pickup := t.pickup(r, d)
	t.step(d, Step{
		Type: Assigned, RiderID: r.ID, EtaPickup: pickup, EtaDrop: pickup.Add(t.plan.Travel(d.Pickup, d.Drop)),
		ReadyAt: domain.Time(d.ReadyAt),
	})
}

// unassign opens the delivery again, for anyone but who has it. One that
// MaxTries riders have lost has failed.
func (t *turn) unassign(d *Delivery, reason string) {
	if d.tries() >= MaxTries {
		t.finish(d, Step{Type: Failed, Reason: NoRider})
		return
	}
	rider := d.Rider()
	d.Declined = append(d.Declined, rider)
	t.step(d, Step{Type: Unassigned, Reason: reason})
	t.freed(rider)
}

func (t *turn) finish(d *Delivery, s Step) {
	rider := d.Rider()
	t.step(d, s)
	t.Deliveries = slices.DeleteFunc(t.Deliveries, func(o *Delivery) bool { return o == d })
	t.Done = append(t.Done, newPast(d))
	kept := newest(t.Done[max(0, len(t.Done)-KeepDone):], DoneBytes)
	for _, over := range t.Done[:len(t.Done)-len(kept)] {
		t.outlive(over)
	}
	t.Done = slices.Delete(t.Done, 0, len(t.Done)-len(kept))
	t.freed(rider)
}

// outlive remembers what riders said of a delivery that is forgotten.
func (t *turn) outlive(d Past) {
	for _, s := range d.Steps {
		byRider := s.Type == PickedUp || s.Type == Delivered || s.Reason == Declined || s.Type == Assigned && t.plan.Mode != Assign
		if byRider && !slices.ContainsFunc(t.Recent, func(a Answer) bool { return a.By == s.By }) {
			t.keep(Answer{By: s.By, At: s.At, Version: s.Version})
		}
	}
}

func (t *turn) freed(rider string) {
	if r := t.rider(rider); r != nil {
		r.IdleSince = t.now
	}
}

// fill gives open deliveries, the oldest first, to riders with room.
func (t *turn) fill() {
	if !slices.ContainsFunc(t.Deliveries, t.waits) {
		return
	}
	load := make(map[string]int, len(t.Deliveries))
	for _, d := range t.Deliveries {
		load[d.Rider()]++
	}
	free := slices.DeleteFunc(slices.Clone(t.Riders), func(r *Rider) bool {
		return r.Leaving || load[r.ID] >= r.Capacity
	})

	if len(free) == 0 {
		return
	}

	room := DeliveryBytes - t.deliveryBytes()
	if room < assignBytes("") {
		return
	}
	for _, d := range t.Deliveries {
		if len(free) == 0 {
			return
		}
		if !t.waits(d) {
			continue
		}
		r := t.choose(d, free, load)
		if r == nil {
			continue
		}
		if room -= assignBytes(r.ID); room < 0 {
			return
		}
		t.assign(d, r)
		if load[r.ID]++; load[r.ID] >= r.Capacity {
			free = slices.DeleteFunc(free, func(o *Rider) bool { return o == r })
		}
	}
}

func (t *turn) waits(d *Delivery) bool {
	return d.State() == StateOpen && t.plan.Mode.assigns(d, t.now)
}

// choose asks the policy. A rider whom it was not offered is not taken.
func (t *turn) choose(d *Delivery, free []*Rider, load map[string]int) *Rider {
	candidates := make([]Candidate, 0, len(free))
	for _, r := range free {
		if d.declinedBy(r.ID) || !t.inTime(r, d) {
			continue
		}
		c := Candidate{RiderID: r.ID, Place: r.Place, ToPickup: t.plan.Travel(r.Place, d.Pickup), IdleSince: r.IdleSince, InHand: load[r.ID]}
		if c.InHand > 0 {
			c.IdleSince = t.now
		}
		candidates = append(candidates, c)
	}
	if len(candidates) == 0 {
		return nil
	}
	id, ok := t.plan.Policy.Choose(*d, candidates)
	i := slices.IndexFunc(free, func(r *Rider) bool { return r.ID == id })
	if !ok || i < 0 || !slices.ContainsFunc(candidates, func(c Candidate) bool { return c.RiderID == id }) {
		return nil
	}
	return free[i]
}

func (a *Area) rider(id string) *Rider {
	for _, r := range a.Riders {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (a *Area) gone(id string) *Gone {
	i := slices.IndexFunc(a.Gone, func(g Gone) bool { return g.RiderID == id })
	if i < 0 {
		return nil
	}
	return &a.Gone[i]
}

func (a *Area) inHand(rider string) (ds []*Delivery) {
	for _, d := range a.Deliveries {
		if d.Rider() == rider {
			ds = append(ds, d)
		}
	}
	return ds
}

// all returns the deliveries, live and finished.
func (a *Area) all() iter.Seq[*Delivery] {
	return func(yield func(*Delivery) bool) {
		for _, d := range a.Deliveries {
			if !yield(d) {
				return
			}
		}
		for _, d := range a.Done {
			if !yield(d.Delivery) {
				return
			}
		}
	}
}

// delivery returns the one that the command names, live or finished.
func (t *turn) delivery() *Delivery {
	for d := range t.all() {
		if d.OrderID == t.c.OrderID && d.Attempt == t.c.Attempt {
			return d
		}
	}
	return nil
}

// latest returns the last attempt for an order: riders name no attempt.
func (a *Area) latest(order string) (last *Delivery) {
	for d := range a.all() {
		if d.OrderID == order && (last == nil || d.Attempt > last.Attempt) {
			last = d
		}
	}
	return last
}

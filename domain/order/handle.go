package order

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// Out is what a message did to an order: what to send, and whether the row has
// changed.
type Out struct {
	Events   []Event
	Stock    []stock.Command    // key: the order's store
	Payments []payment.Request  // key: the order
	Dispatch []dispatch.Command // key: its Area
	Verdicts []domain.Verdict   // key: the order
	Changed  bool
	Repeat   bool // the message was handled before, and Events are what was said then
	Forget   bool // the row is not needed any more
}

// New returns the row of an order that was not placed yet.
func New(id string) *Order { return &Order{ID: id} }

// Command applies a command. The same again sends again what was sent then, and
// changes nothing; another one under its id is refused, and leaves no trace.
func (o *Order) Command(c *Command, n domain.Name, now domain.Time, cfg Settings) (out Out) {
	verdict := func(refusal domain.Refusal, version int, at domain.Time) {
		if refusal.Is() || c.Verdict {
			out.Verdicts = append(out.Verdicts, domain.NewVerdict(Stream, o.ID, n, refusal, version, at))
		}
	}
	if version, at, ok := o.repeatCommand(n, &out); ok {
		verdict(domain.Refusal{}, version, at)
		return out
	}
	if i := slices.IndexFunc(o.Recent, func(a Answer) bool { return n.Is(a.CommandID, a.Mark) }); i >= 0 {
		a := o.Recent[i]
		verdict(a.Refusal, a.Version, a.At)
		return out
	}
	if version, at, ok := o.taken(n); ok {
		verdict(n.Refusal(), version, at)
		return out
	}
	s := &step{o: o, cfg: cfg, now: now, out: &out, kind: c.Type, id: n.ID, reason: c.Reason, command: c}
	refusal := domain.OtherVersion(fmt.Sprintf("order %q", o.ID), c.IfVersion, o.Version)
	if c.Type == Cancel {
		s.reason = strings.TrimSuffix(fmt.Sprintf("cancelled by the %s: %s", cmp.Or(c.By, Customer), c.Reason), ": ")
	}
	version := o.Version
	if !refusal.Is() {
		refusal = s.apply()
	}
	if o.Version > version {
		o.Commands = append(o.Commands, Cause{Version: version + 1, Last: o.Version, Mark: n.Mark})
	}
	if refusal.Is() {
		o.Recent = domain.Remember(o.Recent, Answer{CommandID: n.ID, Mark: n.Mark, Refusal: refusal, Version: o.Version, At: now}, (*Answer).about)
		if o.Status == None {
			o.wait(now, cfg)
		}
		out.Changed = true
	}
	verdict(refusal, o.Version, now)
	return out
}

// taken reports whether another command has the id of this one, since when, and
// with which version the order came out of that.
func (o *Order) taken(n domain.Name) (version int, at domain.Time, found bool) {
	for _, c := range o.Commands {
		if e := o.entry(c.Version); e != nil && n.Taken(e.CauseID, c.Mark) {
			return c.Last, e.At, true
		}
	}
	if i := slices.IndexFunc(o.Recent, func(a Answer) bool { return n.Taken(a.CommandID, a.Mark) }); i >= 0 {
		return o.Recent[i].Version, o.Recent[i].At, true
	}
	return 0, 0, false
}

func (o *Order) entry(version int) *Entry {
	i, ok := slices.BinarySearchFunc(o.Timeline, version, func(e Entry, v int) int { return e.Version - v })
	if !ok {
		return nil
	}
	return &o.Timeline[i]
}

// StockReply applies the store's answer to a reserve.
func (o *Order) StockReply(r *stock.Reply, now domain.Time, cfg Settings) (out Out) {
	again := o.repeat(r.ID, &out)
	if r.Type == stock.Reserved && o.unwanted(r.Attempt) && !o.had(Cooking, r.Attempt) {
		// What was cooked was committed: a release must not overtake that.
		out.Stock = append(out.Stock, o.release(o.end(r.Attempt, r.At), r.StoreID))
		return out
	}
	if !again && r.Attempt == o.attempt() && o.Reserved < r.Attempt {
		s := &step{o: o, cfg: cfg, now: now, out: &out, kind: stockMessage(r), id: r.ID, reason: r.Reason, stock: r}
		s.apply()
	}
	return out
}

// PaymentReply applies what payments says.
func (o *Order) PaymentReply(r *payment.Reply, now domain.Time, cfg Settings) (out Out) {
	again := o.repeat(r.ID, &out)
	if r.Type == payment.Approved && (o.Status == None || o.endedUnpaid()) {
		out.Payments = append(out.Payments, o.void(o.end(r.Attempt, r.At)))
		return out
	}
	if !again {
		s := &step{o: o, cfg: cfg, now: now, out: &out, kind: paymentMessage(r), id: r.ID, reason: r.Reason}
		s.apply()
	}
	return out
}

// Delivery applies what dispatch says.
func (o *Order) Delivery(e *dispatch.DeliveryEvent, now domain.Time, cfg Settings) (out Out) {
	again := o.repeat(e.ID, &out)
	if e.Type == dispatch.Assigned && o.unwanted(e.Attempt) && !(again && o.had(PickedUp, e.Attempt)) {
		out.Dispatch = append(out.Dispatch, o.withdraw(o.end(e.Attempt, e.At), e.Area))
		return out
	}
	if !again && e.Attempt == o.attempt() {
		s := &step{o: o, cfg: cfg, now: now, out: &out, kind: deliveryMessage(e), id: e.ID, reason: e.Reason, delivery: e}
		s.apply()
	}
	return out
}

// unwanted reports whether what another group grants for an attempt has no
// order any more that wants it: it is undone, also when it was wanted the first
// time, for the other group may have forgotten that it was undone already.
func (o *Order) unwanted(attempt int) bool {
	return o.Status == None || o.Status.Final() || attempt != o.attempt()
}

// end returns the entry to undo an unwanted answer by: the one with which the
// attempt ended, so that the undoing is the same message as then.
func (o *Order) end(attempt int, at domain.Time) Entry {
	if o.Status.Final() && attempt == o.attempt() {
		return o.Timeline[len(o.Timeline)-1]
	}
	return Entry{At: at, Attempt: attempt}
}

// Due applies a deadline. One that is not the order's any more is ignored, but
// what it asked is asked again while the order still waits for the answer.
func (o *Order) Due(d *Deadline, now domain.Time, cfg Settings) (out Out) {
	if o.repeat(d.ID, &out) {
		return out
	}
	if o.Deadline == nil || o.Version != d.Version || o.Deadline.At < d.Due {
		return out
	}
	s := &step{o: o, cfg: cfg, now: now, out: &out, kind: deadlinePassed, id: d.ID}
	switch repeat := asks[o.Status]; {
	case d.Due < o.Deadline.At:
		if repeat != nil {
			repeat(s)
		}
	case o.Deadline.Then == Forgotten && o.remembersUntil() > now:
		o.Deadline = &Wait{At: o.remembersUntil(), Then: Forgotten}
		out.Changed = true
	case o.Deadline.Then == Forgotten:
		out.Forget = true
	default:
		s.apply()
	}
	return out
}

// remembersUntil returns until when the row is needed for what it has refused.
func (o *Order) remembersUntil() (at domain.Time) {
	if n := len(o.Recent); n > 0 {
		at = o.Recent[n-1].At.Add(domain.RefusedFor) + 1
	}
	return at
}

// NextDeadline returns the message that is to be sent when the deadline has passed.
func (o *Order) NextDeadline() (Deadline, bool) {
	if o.Deadline == nil {
		return Deadline{}, false
	}
	return Deadline{Meta: domain.Meta{Type: DeadlineType, ID: fmt.Sprintf("deadline/%s/%d", o.ID, o.Version), At: o.Deadline.At},
		OrderID: o.ID, Version: o.Version, Due: o.Deadline.At}, true
}

func (s *step) apply() (refusal domain.Refusal) {
	r := machine[s.o.Status][s.kind]
	switch {
	case r != nil:
		return r(s)
	case s.command != nil:
		return s.o.refusal(s.command)
	}
	return done
}

// repeatCommand sends again what a command has caused, and reports when that was
// and the last version that it made.
func (o *Order) repeatCommand(n domain.Name, out *Out) (version int, at domain.Time, found bool) {
	for _, c := range o.Commands {
		if e := o.entry(c.Version); e != nil && n.Is(e.CauseID, c.Mark) {
			return c.Last, e.At, o.tellAgain(out, c.caused)
		}
	}
	return 0, 0, false
}

// repeat sends again what a message of another group or of the clock has
// caused. It reports whether there was any.
func (o *Order) repeat(id string, out *Out) (found bool) {
	return o.tellAgain(out, func(e *Entry) bool {
		return e.CauseID == id && !o.commanded(e)
	})
}

// commanded reports whether a client's command caused an entry.
func (o *Order) commanded(e *Entry) bool {
	return slices.ContainsFunc(o.Commands, func(c Cause) bool { return c.caused(e) })
}

// tellAgain sends again what was sent for entries of the timeline, as it was:
// the events, and what goes to other groups as far as it is still wanted.
func (o *Order) tellAgain(out *Out, these func(*Entry) bool) (found bool) {
	for i := range o.Timeline {
		if these(&o.Timeline[i]) {
			out.tell(o, i, true)
			found = true
		}
	}
	out.Repeat = found
	return found
}

// Event returns the event of the i-th entry of the timeline, as it was sent.
func (o *Order) Event(i int) Event {
	e := o.Timeline[i]
	ev := Event{
		Meta:    domain.Meta{Type: e.Type, ID: fmt.Sprintf("%s/%d", o.ID, e.Version), At: e.At},
		Version: e.Version, OrderID: o.ID, UserID: o.UserID, StoreID: o.StoreID, Status: e.Status, Attempt: max(1, e.Attempt),
		Lines: o.Lines, Total: o.Total, RiderID: e.RiderID, Reason: e.Reason, Short: e.Short, CauseID: e.CauseID,
	}
	if o.Store != nil {
		ev.Area = o.Store.Area
	}
	switch e.Type {
	case Rescheduled:
		ev.ReadyAt = e.ReadyAt
	case string(RefundRequested): // once per order
		ev.Wish = o.Wish
	}
	if e.Version == 1 { // what things cost was not known yet
		ev.Total, ev.Area = nil, ""
		ev.Lines = make([]domain.Line, len(o.Lines))
		for i, l := range o.Lines {
			ev.Lines[i] = domain.Line{Product: l.Product, Quantity: l.Quantity}
		}
	}
	return ev
}

// tell adds what is sent for the i-th entry of the timeline: its event always;
// a request, when it is sent again, only while the order still waits for its
// answer; an undoing always.
func (out *Out) tell(o *Order, i int, again bool) {
	out.Events = append(out.Events, o.Event(i))
	e := o.Timeline[i]
	if e.Type == Rescheduled && o.inKitchen() && o.attempt() == max(1, e.Attempt) {
		out.Dispatch = append(out.Dispatch, o.toDispatch(dispatch.Command{ReadyAt: e.ReadyAt,
			Meta: domain.Meta{Type: dispatch.Postpone, ID: fmt.Sprintf("%s/%s/%d", o.ID, dispatch.Postpone, e.Version), At: e.At}}))
	}
	if string(e.Status) != e.Type {
		return
	}
	wanted := !again || o.Status == e.Status && o.attempt() == max(1, e.Attempt)
	switch e.Status {
	case Placed:
		if wanted {
			out.Stock = append(out.Stock, o.reserve(e))
		}
	case Paying:
		if wanted {
			r := o.pay(payment.Authorize, e.At)
			r.UserID, r.Amount = o.UserID, o.Total
			out.Payments = append(out.Payments, r)
		}
	case AcceptedStatus:
		if e.Attempt > 1 && (!again || o.Reserved < e.Attempt && o.Status == AcceptedStatus) {
			out.Stock = append(out.Stock, o.reserve(e))
		}
		if !again || o.RiderID == "" && o.seeksRider() && o.attempt() == max(1, e.Attempt) {
			out.Dispatch = append(out.Dispatch, o.request(e))
		}
	case Cooking:
		out.Stock = append(out.Stock, stock.Command{Meta: domain.Meta{Type: stock.Commit, ID: o.about("commit", e), At: e.At},
			StoreID: o.StoreID, OrderID: o.ID, Attempt: max(1, e.Attempt)})
	case Ready:
		if o.seeksRider() && o.attempt() == max(1, e.Attempt) {
			out.Dispatch = append(out.Dispatch, o.toDispatch(dispatch.Command{
				Meta: domain.Meta{Type: dispatch.Ready, ID: fmt.Sprintf("%s/ready/%d", o.ID, e.Version), At: e.At}}))
		}
	case Delivered:
		if e.Attempt < 2 {
			out.Payments = append(out.Payments, o.pay(payment.Capture, e.At))
		}
	case Refunded:
		r := o.pay(payment.Refund, e.At)
		r.Reason = e.Reason
		out.Payments = append(out.Payments, r)
		out.undo(o, i)
	case PaymentFailed, Rejected, Cancelled, DeliveryFailed:
		out.undo(o, i)
	}
}

// undo takes back what the order had asked for in this attempt when it ended
// with the i-th entry.
func (out *Out) undo(o *Order, i int) {
	e := o.Timeline[i]
	had := func(s Status) bool { return o.had(s, max(1, e.Attempt)) }
	if (had(Placed) || e.Attempt > 1) && !had(Cooking) {
		out.Stock = append(out.Stock, o.release(e, o.StoreID))
	}
	if had(Paying) && e.Attempt < 2 && e.Status != Refunded {
		out.Payments = append(out.Payments, o.void(e))
	}
	// When dispatch itself said that the delivery failed there is nothing to
	// withdraw, and each withdrawal would be answered by the same failure.
	byDispatch := e.CauseID == o.about(dispatch.Failed, e)
	if had(AcceptedStatus) && !had(PickedUp) && !byDispatch {
		out.Dispatch = append(out.Dispatch, o.withdraw(e, o.Store.Area))
	}
}

// had reports whether an attempt was ever in a status.
func (o *Order) had(s Status, attempt int) bool {
	return slices.ContainsFunc(o.Timeline, func(e Entry) bool { return e.Type == string(s) && max(1, e.Attempt) == attempt })
}

// seeksRider reports whether a delivery is requested and not under way.
func (o *Order) seeksRider() bool {
	return slices.Contains([]Status{AcceptedStatus, Cooking, Ready, Assigned}, o.Status)
}

// inKitchen reports whether the store makes the food.
func (o *Order) inKitchen() bool { return o.Status == AcceptedStatus || o.Status == Cooking }

// endedUnpaid reports whether the order ended before anything was captured.
func (o *Order) endedUnpaid() bool {
	return slices.Contains([]Status{RefusedStatus, PaymentFailed, Rejected, Cancelled, DeliveryFailed}, o.Status)
}

// about makes an id of what a message is about: ORDERID/WHAT/ATTEMPT.
func (o *Order) about(what string, e Entry) string {
	return fmt.Sprintf("%s/%s/%d", o.ID, what, max(1, e.Attempt))
}

func (o *Order) reserve(e Entry) stock.Command {
	c := stock.Command{Meta: domain.Meta{Type: stock.Reserve, ID: o.about("reserve", e), At: e.At}, StoreID: o.StoreID,
		OrderID: o.ID, Attempt: max(1, e.Attempt)}
	for _, l := range o.Lines {
		c.Lines = append(c.Lines, domain.Line{Product: l.Product, Quantity: l.Quantity})
	}
	if e.Attempt < 2 {
		c.ExpectedTotal = o.Expected
	}
	return c
}

func (o *Order) release(e Entry, storeID string) stock.Command {
	return stock.Command{Meta: domain.Meta{Type: stock.Release, ID: o.about("release", e), At: e.At}, StoreID: storeID,
		OrderID: o.ID, Attempt: max(1, e.Attempt)}
}

func (o *Order) void(e Entry) payment.Request {
	r := o.pay(payment.Void, e.At)
	r.Reason = e.Reason
	return r
}

func (o *Order) withdraw(e Entry, area string) dispatch.Command {
	c := dispatch.Command{Meta: domain.Meta{Type: dispatch.Withdraw, ID: o.about("withdraw", e), At: e.At}, Area: area,
		OrderID: o.ID, Attempt: max(1, e.Attempt), Reason: dispatch.Withdrawn}
	if e.Reason == dispatch.NoRider {
		c.Reason = dispatch.NoRider
	}
	return c
}

func (o *Order) pay(kind string, at domain.Time) payment.Request {
	return payment.Request{Meta: domain.Meta{Type: kind, ID: fmt.Sprintf("%s/%s/1", o.ID, kind), At: at}, OrderID: o.ID, Attempt: 1}
}

func (o *Order) request(e Entry) dispatch.Command {
	return o.toDispatch(dispatch.Command{Meta: domain.Meta{Type: dispatch.Request, ID: o.about("request", e), At: e.At},
		Pickup: domain.PointAt(o.Store.Place()), Drop: domain.PointAt(o.Address.Place()), ReadyAt: e.ReadyAt})
}

func (o *Order) toDispatch(c dispatch.Command) dispatch.Command {
	c.Area, c.OrderID, c.Attempt = o.Store.Area, o.ID, o.attempt()
	return c
}

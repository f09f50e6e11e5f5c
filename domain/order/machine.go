package order

import (
	"fmt"
	"slices"
	"time"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// Messages that are not commands, as the machine calls them.
const (
	stockReserved      = "stock reserved"
	stockRefused       = "stock refused"
	paymentApproved    = "payment approved"
	paymentDeclined    = "payment declined"
	paymentDelayed     = "payment delayed"
	deliveryAssigned   = "delivery assigned"
	deliveryUnassigned = "delivery unassigned"
	deliveryPickedUp   = "delivery picked up"
	deliveryDelivered  = "delivery delivered"
	deliveryFailed     = "delivery failed"
	deadlinePassed     = "deadline passed"
)

// rule is what a message does to an order in a status. It makes transitions by
// enter and note, or returns why it does not. Which statuses it may lead to is
// written down in leads, see ahead.go.
type rule func(*step) domain.Refusal

// done is what a rule returns that has refused nothing.
var done domain.Refusal

// machine is the life of an order: (status, message) → transitions. What is not
// in it does not happen: a command is refused, anything else is ignored.
var machine = map[Status]map[string]rule{
	None: {
		Place: place,
	},
	Placed: {
		Cancel:         enter(Cancelled),
		stockReserved:  reserved,
		stockRefused:   enter(RefusedStatus),
		deadlinePassed: ask,
	},
	Paying: {
		Cancel:          enter(Cancelled),
		paymentApproved: enter(Paid),
		paymentDeclined: enter(PaymentFailed),
		paymentDelayed:  note(Delayed),
		deadlinePassed:  because("the payment took too long", enter(PaymentFailed)),
	},
	Paid: {
		Cancel:         enter(Cancelled),
		Accept:         accept,
		Reject:         because("the store rejected it", enter(Rejected)),
		deadlinePassed: because("the store did not answer", enter(Rejected)),
	},
	AcceptedStatus: {
		Cancel:             cancelBeforeCooking,
		StartCooking:       startCooking,
		Postpone:           postpone,
		stockReserved:      reservedAgain,
		stockRefused:       because("the store can't make it again", enter(Refunded)),
		deliveryAssigned:   riderFound,
		deliveryUnassigned: riderLost,
		deliveryPickedUp:   pickedUp,
		deliveryFailed:     noDelivery,
		deadlinePassed:     remind,
	},
	Cooking: {
		FinishCooking:      enter(Ready),
		Postpone:           postpone,
		deliveryAssigned:   riderFound,
		deliveryUnassigned: riderLost,
		deliveryPickedUp:   pickedUp,
		deliveryFailed:     noDelivery,
		deadlinePassed:     remind,
	},
	Ready: {
		deliveryAssigned: riderFound,
		deliveryPickedUp: pickedUp,
		deliveryFailed:   noDelivery,
		deadlinePassed:   ask,
	},
	Assigned: {
		deliveryAssigned:   riderFound,
		deliveryUnassigned: riderLost,
		deliveryPickedUp:   pickedUp,
		deliveryFailed:     noDelivery,
		deadlinePassed:     ask,
	},
	PickedUp: {
		deliveryDelivered: delivered,
		deadlinePassed:    note(Stuck),
	},
	Delivered: {
		Confirm:        enter(Completed),
		RequestRefund:  requestRefund,
		deadlinePassed: enter(Completed),
	},
	Completed: {
		RequestRefund: requestRefund,
	},
	RefundRequested: {
		ApproveRefund:  approveRefund,
		DenyRefund:     enter(RefundDenied),
		deadlinePassed: escalate,
	},
}

// asks is what an order asks another group when its deadline has passed and it
// is not for the order to decide. Asked again in the same version, it is the
// same message.
var asks = map[Status]func(*step){
	Placed:   askStockAgain,
	Ready:    giveUpDelivery,
	Assigned: giveUpRider,
}

// follow is what an order goes on to by itself when it has entered a status.
var follow = map[Status]func(*step) (Status, bool){
	Paid:           func(s *step) (Status, bool) { return AcceptedStatus, s.o.Store.AutoAccept },
	AcceptedStatus: func(s *step) (Status, bool) { return Cooking, s.o.cooksAtOnce() },
	Cooking:        func(s *step) (Status, bool) { return Ready, s.o.Store.AutoAccept && s.o.ReadyAt <= s.now },
	Ready:          func(s *step) (Status, bool) { return Assigned, s.o.RiderID != "" },
}

// waits says until when an order waits in a status, and what happens then.
var waits = map[Status]func(o *Order, now domain.Time, cfg Settings) Wait{
	Placed: after(Placed, "the store's stock is asked again"),
	Paying: after(Paying, string(PaymentFailed)),
	Paid:   after(Paid, string(Rejected)),
	Ready: func(o *Order, now domain.Time, cfg Settings) Wait {
		return Wait{At: now.Add(cfg.Deadlines[Ready]), Then: string(o.withoutRider())}
	},
	Assigned:       after(Assigned, "another rider is sought"),
	PickedUp:       after(PickedUp, Stuck),
	Delivered:      after(Delivered, string(Completed)),
	AcceptedStatus: func(o *Order, now domain.Time, cfg Settings) Wait { return o.kitchenWait(now, cfg) },
	Cooking: func(o *Order, now domain.Time, cfg Settings) Wait {
		if o.Store.AutoAccept {
			return Wait{At: max(o.ReadyAt, now), Then: string(Ready)}
		}
		return o.kitchenWait(now, cfg)
	},
	RefundRequested: func(o *Order, now domain.Time, cfg Settings) Wait {
		w := Wait{At: now.Add(cfg.Deadlines[RefundRequested]), Then: Escalated}
		if o.last(Escalated) {
			w.Then = string(Refunded)
		}
		return w
	},
}

func after(s Status, then string) func(*Order, domain.Time, Settings) Wait {
	return func(_ *Order, now domain.Time, cfg Settings) Wait {
		return Wait{At: now.Add(cfg.Deadlines[s]), Then: then}
	}
}

// kitchenWait is readyAt and some slack: the store is reminded, and after the
// same slack again the order goes on as ready.
func (o *Order) kitchenWait(now domain.Time, cfg Settings) Wait {
	slack := cfg.Deadlines[o.Status]
	if o.last(Reminded) {
		return Wait{At: now.Add(slack), Then: string(Ready)}
	}
	return Wait{At: max(o.ReadyAt, now).Add(slack), Then: Reminded}
}

// cooksAtOnce: a store that accepts by itself cooks as soon as it has the goods.
func (o *Order) cooksAtOnce() bool { return o.Store.AutoAccept && o.Reserved == o.attempt() }

// last reports whether the newest entry of the timeline is of a type.
func (o *Order) last(typ string) bool {
	return len(o.Timeline) > 0 && o.Timeline[len(o.Timeline)-1].Type == typ
}

// step is one message being applied to an order.
type step struct {
	o   *Order
	cfg Settings
	now domain.Time
	out *Out

	kind     string
	id       string
	reason   string
	command  *Command
	stock    *stock.Reply
	delivery *dispatch.DeliveryEvent
}

// enter makes the order enter a status and all that follow from it.
func (s *step) enter(to Status) {
	for ok := true; ok; {
		s.o.Status = to
		if to == AcceptedStatus && s.o.ReadyAt == 0 {
			s.o.ReadyAt = s.now.Add(s.o.cookingTime())
		}
		s.record(string(to))
		next := follow[to]
		if next == nil {
			return
		}
		to, ok = next(s)
	}
}

// keepsDeadline are the events that do not make an order wait anew.
var keepsDeadline = map[string]bool{Delayed: true, RiderAssigned: true, RiderLost: true}

// record adds an entry to the timeline, with what is sent for it.
func (s *step) record(typ string) {
	o := s.o
	o.Version++
	e := Entry{Version: o.Version, At: s.now, Type: typ, Status: o.Status, CauseID: s.id, RiderID: o.RiderID, Reason: s.reason}
	if o.Attempt > 1 {
		e.Attempt = o.Attempt
	}
	if s.stock != nil {
		e.Short = s.stock.Short
	}
	if typ == string(AcceptedStatus) || typ == Rescheduled {
		e.ReadyAt = o.ReadyAt
	}
	o.Timeline = append(o.Timeline, e)
	o.trim()
	o.Updated = s.now
	if typ == string(o.Status) {
		o.Reason, o.Short = s.reason, e.Short
	}
	if !keepsDeadline[typ] {
		o.wait(s.now, s.cfg)
	}
	s.out.Changed = true
	s.out.tell(o, len(o.Timeline)-1, false)
}

func enter(to Status) rule {
	return func(s *step) domain.Refusal { s.enter(to); return done }
}

func note(typ string) rule {
	return func(s *step) domain.Refusal { s.record(typ); return done }
}

// because gives a transition a reason where the message has none.
func because(reason string, r rule) rule {
	return func(s *step) domain.Refusal {
		if s.reason == "" {
			s.reason = reason
		}
		return r(s)
	}
}

func place(s *step) domain.Refusal {
	c := s.command
	*s.o = Order{ID: s.o.ID, Recent: s.o.Recent, Attempt: 1, UserID: c.UserID, StoreID: c.StoreID, Address: *c.Address,
		Expected: c.ExpectedTotal, Note: c.Note, Phone: c.Phone, PlacedAt: s.now}
	for _, l := range c.Lines {
		s.o.Lines = append(s.o.Lines, domain.Line{Product: l.Product, Quantity: l.Quantity})
	}
	s.enter(Placed)
	return done
}

// ask asks and waits on: the deadline moves without a transition.
func ask(s *step) domain.Refusal {
	asks[s.o.Status](s)
	s.o.wait(s.now, s.cfg)
	s.out.Changed = true
	return done
}

func askStockAgain(s *step) {
	s.out.Stock = append(s.out.Stock, s.o.reserve(s.o.Timeline[len(s.o.Timeline)-1]))
}

func reserved(s *step) domain.Refusal {
	s.o.Lines, s.o.Total, s.o.Store, s.o.Reserved = s.stock.Lines, s.stock.Total, s.stock.Store, s.stock.Attempt
	s.enter(Paying)
	return done
}

// reservedAgain is the store's answer for a second delivery.
func reservedAgain(s *step) domain.Refusal {
	s.o.Reserved = s.stock.Attempt
	s.out.Changed = true
	if s.o.cooksAtOnce() {
		s.enter(Cooking)
	}
	return done
}

func accept(s *step) domain.Refusal {
	s.o.CookFor = s.command.CookingTime
	s.enter(AcceptedStatus)
	return done
}

func cancelBeforeCooking(s *step) domain.Refusal {
	if s.o.attempt() > 1 {
		return s.o.refuse(domain.CodeRefused, s.command, "a second delivery can't be cancelled")
	}
	s.enter(Cancelled)
	return done
}

func startCooking(s *step) domain.Refusal {
	if s.o.Reserved < s.o.attempt() {
		return s.o.refuse(domain.CodeRefused, s.command, "the goods are not reserved yet: try again in a moment")
	}
	s.enter(Cooking)
	return done
}

// postpone moves the time at which the food is to be ready; where that has
// passed, it counts from now.
func postpone(s *step) domain.Refusal {
	by := s.command.postponed()
	at := max(s.o.ReadyAt, s.now).Add(by)
	switch {
	case at.Sub(s.now) > time.Duration(domain.MaxCookingTime):
		return s.o.refuse(domain.CodeRefused, s.command, fmt.Sprintf("it would be ready at %s: at most %s from now", at, domain.MaxCookingTime))
	case s.o.count(Rescheduled) >= MaxPostponed:
		return s.o.refuse(domain.CodeRefused, s.command, fmt.Sprintf("it was postponed %d times, which is the most", MaxPostponed))
	}
	s.o.ReadyAt = at
	s.record(Rescheduled)
	return done
}

// count returns how often something happened in the present attempt.
func (o *Order) count(typ string) (n int) {
	for _, e := range o.Timeline {
		if e.Type == typ && max(1, e.Attempt) == o.attempt() {
			n++
		}
	}
	return n
}

func riderFound(s *step) domain.Refusal {
	s.o.RiderID = s.delivery.RiderID
	switch s.o.Status {
	case Ready:
		s.enter(Assigned)
	default:
		s.record(RiderAssigned)
	}
	return done
}

func riderLost(s *step) domain.Refusal {
	if s.o.RiderID != s.delivery.RiderID {
		return done // lost already
	}
	s.record(RiderLost)
	s.o.RiderID, s.reason = "", ""
	if s.o.Status == Assigned {
		s.enter(Ready)
	}
	return done
}

// pickedUp: a rider who picks up says thereby that the food is ready, whatever
// the store has said so far. One who has lost the delivery says nothing.
func pickedUp(s *step) domain.Refusal {
	if s.o.lost(s.delivery.RiderID) {
		return done
	}
	s.o.RiderID = s.delivery.RiderID
	switch s.o.Status {
	case AcceptedStatus:
		s.o.Status = Cooking
		s.record(string(Cooking))
		fallthrough
	case Cooking:
		s.o.Status = Ready
		s.record(string(Ready))
		fallthrough
	case Ready:
		s.o.Status = Assigned
		s.record(string(Assigned))
	}
	s.enter(PickedUp)
	return done
}

// lost reports whether a rider had this attempt and has it no more.
func (o *Order) lost(rider string) bool {
	return rider != o.RiderID && slices.ContainsFunc(o.Timeline, func(e Entry) bool {
		return e.RiderID == rider && max(1, e.Attempt) == o.attempt()
	})
}

// giveUpRider asks dispatch to seek another rider: only dispatch knows whether
// he has picked up meanwhile.
func giveUpRider(s *step) {
	s.out.Dispatch = append(s.out.Dispatch, s.o.toDispatch(dispatch.Command{
		Meta:    domain.Meta{Type: dispatch.GiveUp, ID: fmt.Sprintf("%s/give_up/%d/%d", s.o.ID, s.o.attempt(), s.o.Version), At: s.o.Updated},
		RiderID: s.o.RiderID, Reason: dispatch.Late}))
}

// giveUpDelivery asks dispatch to take the delivery back: nobody came. Only
// dispatch knows whether somebody has picked up meanwhile, and he keeps it;
// otherwise it answers that the delivery failed, and with that the order ends.
// The message is not the undoing of an ended order and has an id of its own.
func giveUpDelivery(s *step) {
	s.out.Dispatch = append(s.out.Dispatch, s.o.toDispatch(dispatch.Command{
		Meta:   domain.Meta{Type: dispatch.Withdraw, ID: fmt.Sprintf("%s/withdraw/%d/%d", s.o.ID, s.o.attempt(), s.o.Version), At: s.o.Updated},
		Reason: dispatch.NoRider}))
}

// noDelivery ends an order that nobody brings.
func noDelivery(s *step) domain.Refusal {
	s.enter(s.o.withoutRider())
	return done
}

// withoutRider is how an order ends that nobody brings. A second delivery was
// paid for with the first, so its money goes back.
func (o *Order) withoutRider() Status {
	if o.attempt() > 1 {
		return Refunded
	}
	return DeliveryFailed
}

func delivered(s *step) domain.Refusal {
	if s.delivery.RiderID != s.o.RiderID {
		return done
	}
	s.o.Delivered = s.now
	s.enter(Delivered)
	return done
}

func remind(s *step) domain.Refusal {
	switch {
	case s.o.Status == Cooking && s.o.Store.AutoAccept:
		s.enter(Ready)
	case s.o.Deadline.Then == Reminded:
		s.record(Reminded)
	case s.o.Reserved < s.o.attempt():
		s.reason = "the store can't make it again"
		s.enter(Refunded)
	case s.o.Status == AcceptedStatus:
		s.o.Status = Cooking
		s.record(string(Cooking))
		s.enter(Ready)
	default:
		s.enter(Ready)
	}
	return done
}

func requestRefund(s *step) domain.Refusal {
	c := s.command
	switch {
	case c.UserID != s.o.UserID:
		return s.o.refuse(domain.CodeRefused, c, fmt.Sprintf("it is not the order of user %q", c.UserID))
	case slices.ContainsFunc(s.o.Timeline, func(e Entry) bool { return e.Type == string(RefundRequested) }):
		return s.o.refuse(domain.CodeRefused, c, "a refund was asked for already: once per order")
	case s.now.Sub(s.o.Delivered) > s.cfg.RefundWindow:
		return s.o.refuse(domain.CodeRefused, c, fmt.Sprintf("it was delivered at %s: a refund can be asked for within %s", s.o.Delivered, s.cfg.RefundWindow))
	}
	s.o.Wish, s.o.PhotoURL = c.Wish, c.PhotoURL
	s.enter(RefundRequested)
	return done
}

// approveRefund gives the money back or begins a second delivery: reserved and
// cooked anew, not paid again.
func approveRefund(s *step) domain.Refusal {
	if s.o.Wish != WishRedelivery {
		s.enter(Refunded)
		return done
	}
	s.o.Attempt, s.o.RiderID, s.o.ReadyAt = 2, "", 0
	s.enter(AcceptedStatus)
	return done
}

func escalate(s *step) domain.Refusal {
	if s.o.Deadline.Then == string(Refunded) {
		s.reason = "nobody answered"
		s.enter(Refunded)
		return done
	}
	s.record(Escalated)
	return done
}

func (o *Order) attempt() int { return max(1, o.Attempt) }

func (o *Order) cookingTime() time.Duration {
	if o.CookFor != nil {
		return time.Duration(*o.CookFor)
	}
	return time.Duration(o.Store.CookingTime)
}

// wait sets the deadline of the status that the order is in.
func (o *Order) wait(now domain.Time, cfg Settings) {
	o.Deadline = nil
	if w := waits[o.Status]; w != nil {
		d := w(o, now, cfg)
		o.Deadline = &d
		return
	}
	o.Deadline = &Wait{At: now.Add(cfg.Keep), Then: Forgotten}
}

// Forgotten is what happens to the row of an order that has been final for long.
const Forgotten = "forgotten"

// refusal says why a command can't be followed in the order's status.
func (o *Order) refusal(c *Command) domain.Refusal {
	if o.Status == None {
		return domain.Refuse(domain.CodeUnknown, "order %q is unknown: place it first", o.ID)
	}
	switch {
	case c.Type == Place:
		return domain.Refuse(domain.CodeStatus, "order %q exists already: a new order needs a new id", o.ID)
	case o.Status.Final():
		return domain.Refuse(domain.CodeStatus, "%s: order %q is %s, and that is final", c.Type, o.ID, o.Status)
	case c.Type == Cancel:
		return o.refuse(domain.CodeStatus, c, "it can be cancelled until cooking starts")
	}
	var from []string
	for _, st := range append([]Status{None}, Statuses...) {
		if machine[st][c.Type] != nil {
			from = append(from, string(st))
		}
	}
	return o.refuse(domain.CodeStatus, c, fmt.Sprintf("it must be %v", from))
}

func (o *Order) refuse(code string, c *Command, why string) domain.Refusal {
	return domain.Refuse(code, "%s: order %q is %s: %s", c.Type, o.ID, o.Status, why)
}

// messageOf names what came from another group.
func stockMessage(r *stock.Reply) string {
	return map[string]string{stock.Reserved: stockReserved, stock.Refused: stockRefused}[r.Type]
}

func paymentMessage(r *payment.Reply) string {
	return map[string]string{payment.Approved: paymentApproved, payment.Declined: paymentDeclined, payment.Delayed: paymentDelayed}[r.Type]
}

func deliveryMessage(e *dispatch.DeliveryEvent) string {
	return map[string]string{dispatch.Assigned: deliveryAssigned, dispatch.Unassigned: deliveryUnassigned,
		dispatch.PickedUp: deliveryPickedUp, dispatch.Delivered: deliveryDelivered, dispatch.Failed: deliveryFailed}[e.Type]
}

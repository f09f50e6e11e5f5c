package payment

import (
	"fmt"
	"slices"

	"baedal/domain"
)

// Statuses of an attempt. Those in which nothing is asked of the gateway are
// named like the reply that says so: Approved, Declined, Captured, Voided,
// Refunded. In these four a call is due until it is answered:
const (
	Authorizing = "authorizing"
	Capturing   = "capturing"
	Voiding     = "voiding"
	Refunding   = "refunding"

	none = "" // nothing was ever asked
)

// Payment is the row of one order's money. An order is paid for once, so there
// is one attempt; a row can tell more of them apart, each with its own keys at
// the gateway.
type Payment struct {
	OrderID  string      `json:"orderId"`
	Attempts []Attempt   `json:"attempts,omitempty"`
	Updated  domain.Time `json:"updatedAt,omitzero"`
}

// Attempt is one authorisation and what became of it.
type Attempt struct {
	Number int           `json:"attempt"`
	UserID string        `json:"userId,omitempty"`
	Amount *domain.Money `json:"amount,omitempty"` // nil: nothing was ever to be authorised
	Status string        `json:"status"`
	// Held says that the gateway has said ok to the authorisation.
	Held bool `json:"held,omitzero"`
	// Then is what was asked for while a call was due, to be applied after it.
	Then []string `json:"then,omitempty"`
	// Said is what orders was told, to be told again as it was.
	Said []Said `json:"said,omitempty"`

	// Of the call that is due: which try comes next and when, and the answer to
	// the one before.
	Try   int         `json:"try,omitzero"`
	Due   domain.Time `json:"due,omitzero"`
	Error string      `json:"error,omitempty"`
	// Stuck says that the gateway denies what must be done. It is asked again
	// all the same, rarely, and someone should look.
	Stuck bool `json:"stuck,omitzero"`
}

// calling reports whether a call is due.
func (a *Attempt) calling() bool { return calls[a.Status].kind != "" }

// Said is one reply: what of it is not in the attempt.
type Said struct {
	Type    string      `json:"type"`
	At      domain.Time `json:"at"`
	Reason  string      `json:"reason,omitempty"`
	Try     int         `json:"try,omitzero"`     // delayed: the one that failed
	RetryAt domain.Time `json:"retryAt,omitzero"` // delayed
}

// Out is what a message leads to.
type Out struct {
	Replies []Reply // for payment-replies
	Changed bool    // the row must be saved
	Forget  bool    // the row must be deleted
}

// Reasons of a declined reply that are not the gateway's.
const (
	voidedBefore  = "voided before it was authorised"
	notAuthorized = "nothing was authorised"
)

// New returns the row of an order of whose money nothing is known.
func New(orderID string) *Payment { return &Payment{OrderID: orderID} }

// move is what a request does: a status is entered, or the request waits for
// the call that is due, or orders is told again the first of these replies that
// it was told before. Where it was told none of them, it is told why not.
type move struct {
	to    string
	later bool
	again []string
	why   string // of declined
}

var (
	later      = move{later: true}
	answer     = move{again: []string{Approved, Declined, Delayed}}
	inFlight   = move{}
	stillThere = func(reply string) move { return move{again: []string{reply}} }
)

// requests has what each request does in each status. Money can take two ways
// only, authorised, captured, refunded or authorised, voided, and a request that
// does not lie on the way it took changes nothing: it is answered with where the
// money is. (A refund of what was never captured is answered approved, which
// makes an order that wants its money back void it.) An attempt that is
// captured, voided or refunded before it was authorised is over: it is never
// authorised any more.
//
// What comes while the gateway is asked waits for its answer. So an
// authorisation that is not wanted any more is asked about until the gateway
// has said whether it holds: only then is it known whether there is something
// to void, and repeating the call under its idempotency key is the one way to
// learn that which every gateway has.
var requests = map[string]map[string]move{
	none: {
		Authorize: {to: Authorizing},
		Capture:   {to: Declined, why: notAuthorized},
		Void:      {to: Voided},
		Refund:    {to: Declined, why: notAuthorized},
	},
	Authorizing: {Authorize: answer, Capture: later, Void: later, Refund: later},
	Approved:    {Authorize: answer, Capture: {to: Capturing}, Void: {to: Voiding}, Refund: stillThere(Approved)},
	Declined:    {Authorize: answer, Capture: stillThere(Declined), Void: {to: Voided}, Refund: stillThere(Declined)},
	Capturing:   {Authorize: answer, Capture: inFlight, Void: later, Refund: later},
	Captured:    {Authorize: answer, Capture: stillThere(Captured), Void: stillThere(Captured), Refund: {to: Refunding}},
	Voiding:     {Authorize: answer, Capture: later, Void: inFlight, Refund: later},
	Voided: {
		Authorize: {again: []string{Approved, Declined}, why: voidedBefore},
		Capture:   stillThere(Voided), Void: stillThere(Voided), Refund: stillThere(Voided),
	},
	Refunding: {Authorize: answer, Capture: stillThere(Captured), Void: later, Refund: inFlight},
	Refunded:  {Authorize: answer, Capture: stillThere(Captured), Void: stillThere(Refunded), Refund: stillThere(Refunded)},
}

// calls has what is asked of the gateway in a status and where its ok leads.
var calls = map[string]struct{ kind, done string }{
	Authorizing: {Authorize, Approved},
	Capturing:   {Capture, Captured},
	Voiding:     {Void, Voided},
	Refunding:   {Refund, Refunded},
}

// told has what orders is told about a call, the most telling first.
var told = map[string][]string{
	Authorize: {Approved, Declined, Delayed, Voided},
	Capture:   {Captured},
	Void:      {Voided},
	Refund:    {Refunded},
}

// Handle applies a request of orders. The same again is answered as it was, or
// not at all while its call is due.
func (p *Payment) Handle(r *Request, now domain.Time, cfg Settings) Out {
	s := &step{p: p, a: p.attempt(r), now: now, cfg: cfg}
	if s.a.Status == none && r.Type == Authorize {
		s.a.UserID, s.a.Amount = r.UserID, r.Amount
	}
	s.request(r.Type)
	return s.finish()
}

// HandleResult applies an answer of the gateway. One that is not waited for any
// more, be it of an older try or a repeat, changes nothing, and orders is told
// again what it led to; but an authorisation that is granted to nobody is voided.
func (p *Payment) HandleResult(r *Result, now domain.Time, cfg Settings) Out {
	i := slices.IndexFunc(p.Attempts, func(a Attempt) bool { return a.Number == r.Attempt })
	if i < 0 {
		return Out{} // a crash lost the row: its request is handled again
	}
	if r.Call.Kind == Forget {
		at, _, ok := p.Forget(cfg)
		return Out{Forget: ok && now >= at}
	}
	s := &step{p: p, a: &p.Attempts[i], now: now, cfg: cfg}
	s.result(r)
	return s.finish()
}

// attempt returns the attempt that a request is about. What is captured, voided
// or refunded for a later attempt than was authorised is the money of the last
// one before: a redelivery is not paid for again.
func (p *Payment) attempt(r *Request) *Attempt {
	i, found := slices.BinarySearchFunc(p.Attempts, r.Attempt, func(a Attempt, n int) int { return a.Number - n })
	if !found {
		if r.Type != Authorize && i > 0 {
			return &p.Attempts[i-1]
		}
		p.Attempts = slices.Insert(p.Attempts, i, Attempt{Number: r.Attempt})
	}
	return &p.Attempts[i]
}

// Next returns the call that is due first and when. It stays the same, by key
// and try, until its result was handled; calls of one order are made one at a
// time.
func (p *Payment) Next() (at domain.Time, call Call, ok bool) {
	for _, a := range p.Attempts {
		if a.calling() && (!ok || a.Due < at) {
			at, ok = a.Due, true
			call = Call{OrderID: p.OrderID, Kind: calls[a.Status].kind, Attempt: a.Number, Try: a.Try, UserID: a.UserID}
			if a.Amount != nil {
				call.Amount = *a.Amount
			}
		}
	}
	return at, call, ok
}

// Forget returns when a row may go in which nothing is left to do but a refund,
// and the call whose result then deletes it.
func (p *Payment) Forget(cfg Settings) (at domain.Time, call Call, ok bool) {
	if len(p.Attempts) == 0 || !p.Settled() { // a crash may have lost the row
		return 0, Call{}, false
	}
	return p.Updated.Add(cfg.Keep), Call{OrderID: p.OrderID, Kind: Forget, Attempt: p.Attempts[0].Number, Try: 1}, true
}

// Settled reports whether nothing is left to do but a refund.
func (p *Payment) Settled() bool {
	return !slices.ContainsFunc(p.Attempts, func(a Attempt) bool {
		return !slices.Contains([]string{Declined, Captured, Voided, Refunded}, a.Status)
	})
}

// step is one message being applied to one attempt.
type step struct {
	p   *Payment
	a   *Attempt
	now domain.Time
	cfg Settings
	out Out
}

func (s *step) request(kind string) {
	m := requests[s.a.Status][kind]
	switch {
	case m.later:
		if !slices.Contains(s.a.Then, kind) {
			s.a.Then = append(s.a.Then, kind)
			s.out.Changed = true
		}
	case m.to != "":
		s.enter(m.to, m.why)
	case !s.again(m.again) && m.why != "":
		s.say(Said{Type: Declined, Reason: m.why})
	}
}

func (s *step) result(r *Result) {
	c := calls[s.a.Status]
	awaited := c.kind == r.Call.Kind
	switch {
	case awaited && r.Answer == OK: // of whichever try: they have the same key
		s.a.Held = true
		s.enter(c.done, "")
	case r.Call.Kind == Authorize && r.Answer == OK && !s.a.Held:
		s.a.Held = true
		s.enter(Voiding, "")
	case awaited && r.Try == s.a.Try && r.Answer == Denied && c.kind == Authorize:
		s.enter(Declined, r.Reason)
	case awaited && r.Try == s.a.Try:
		s.retry(r)
	default:
		s.again(told[r.Call.Kind])
	}
}

// enter enters a status: a call is due from now on, or orders is told and what
// waited for the call is applied. Of an authorisation that is to be voided at
// once orders is not told: it would only undo it.
func (s *step) enter(status, why string) {
	a := s.a
	a.Status, a.Try, a.Due, a.Error, a.Stuck = status, 0, 0, "", false
	a.Said = slices.DeleteFunc(a.Said, func(d Said) bool { return d.Type == Delayed }) // it holds no more
	s.out.Changed = true
	if a.calling() {
		a.Try, a.Due = 1, s.now
		return
	}
	unwanted := len(a.Then) > 0 && a.Then[0] == Void && (status == Approved || status == Declined)
	if !unwanted {
		s.say(Said{Type: status, Reason: why})
	}
	for len(a.Then) > 0 && !a.calling() {
		kind := a.Then[0]
		a.Then = a.Then[1:]
		s.request(kind)
	}
}

// retry asks again later. Orders is told while it waits for an authorisation.
func (s *step) retry(r *Result) {
	a := s.a
	a.Stuck = r.Answer == Denied
	a.Error = r.Reason
	call := Call{OrderID: s.p.OrderID, Kind: r.Call.Kind, Attempt: a.Number, Try: a.Try}
	a.Due = s.now.Add(s.cfg.wait(call, a.Stuck))
	a.Try++
	s.out.Changed = true
	if a.Status == Authorizing && len(a.Then) == 0 {
		a.Said = slices.DeleteFunc(a.Said, func(d Said) bool { return d.Type == Delayed })
		s.say(Said{Type: Delayed, Reason: r.Reason, Try: call.Try, RetryAt: a.Due})
	}
}

// say tells orders something, as it was told before if it was.
func (s *step) say(d Said) {
	if s.again([]string{d.Type}) {
		return
	}
	d.At = s.now
	s.a.Said = append(s.a.Said, d)
	s.out.Changed = true
	s.again([]string{d.Type})
}

// again repeats the first of these replies that was said.
func (s *step) again(types []string) bool {
	for _, t := range types {
		i := slices.IndexFunc(s.a.Said, func(d Said) bool { return d.Type == t })
		if i < 0 {
			continue
		}
		s.out.Replies = append(s.out.Replies, s.reply(s.a.Said[i]))
		return true
	}
	return false
}

func (s *step) reply(d Said) Reply {
	id := fmt.Sprintf("%s/%s/%d", s.p.OrderID, d.Type, s.a.Number)
	if d.Type == Delayed {
		id = fmt.Sprintf("%s/%d", id, d.Try)
	}
	return Reply{
		Meta:    domain.Meta{Type: d.Type, ID: id, At: d.At},
		OrderID: s.p.OrderID,
		Attempt: s.a.Number,
		Amount:  s.a.Amount,
		Reason:  d.Reason,
		RetryAt: d.RetryAt,
	}
}

func (s *step) finish() Out {
	if s.out.Changed {
		s.p.Updated = s.now
	}
	return s.out
}

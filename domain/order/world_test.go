package order_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// A world is one order and small honest models of all that it talks to. Each
// stream is read in its order, streams are read in any order. Now and then the
// orders group crashes: it saved the row, what it sent is lost in part, and the
// last messages of a stream are handled again.
type world struct {
	t   *rapid.T
	cfg order.Settings
	now domain.Time

	o       *order.Order
	streams map[string]*stream // what orders reads
	handled int

	shop   shop
	bank   bank
	riders riders

	told     map[string]string // every message ever sent: stream and id → bytes
	versions map[int]string
	verdicts map[string]*domain.Verdict
	stages   []order.Order // where it stood so far
	commands int
}

type stream struct {
	log  []message
	next int
}

var streamNames = []string{"commands", "stock", "payments", "deliveries", "loop"}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, cfg: order.DefaultSettings(), now: noon, o: order.New(orderID), streams: map[string]*stream{},
		told: map[string]string{}, versions: map[int]string{}, verdicts: map[string]*domain.Verdict{}}
	for _, s := range streamNames {
		w.streams[s] = &stream{}
	}
	w.shop = shop{w: w, attempts: map[int]string{},
		store: rapid.SampledFrom([]stock.Store{Manual, AutoAccept, Fridge}).Draw(t, "store"),
		short: rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 2}).Draw(t, "short in attempt")}
	w.bank = bank{w: w, declines: rapid.IntRange(0, 9).Draw(t, "declines") == 9,
		forgets: rapid.Bool().Draw(t, "forgets")}
	w.riders = riders{w: w, deliveries: map[int]*trip{}}
	return w
}

func (w *world) say(to string, m message) { w.streams[to].log = append(w.streams[to].log, m) }

// unread returns the streams that orders has not read to the end.
func (w *world) unread() (names []string) {
	for _, s := range streamNames {
		if st := w.streams[s]; st.next < len(st.log) {
			names = append(names, s)
		}
	}
	return names
}

// read lets orders handle the next message of a stream. After a crash it is
// handled again, and what it sent is lost but for what keeps allows.
func (w *world) read(name string, crash bool, keeps func() bool) {
	s := w.streams[name]
	m := s.log[s.next]
	if !crash {
		s.next++
	}
	w.handled++
	before := w.o.Version
	out := handle(w.o, m, w.now, w.cfg)
	w.now++

	if w.o.Version != before {
		require.Equal(w.t, before+countNew(out, before), w.o.Version, "a version has no event")
	}
	row := MustReload(w.t, w.o)
	require.Equal(w.t, MustJSON(w.t, w.o), MustJSON(w.t, row))
	w.o = row

	for i := range out.Events {
		e := &out.Events[i]
		w.same(w.versions, e.Version, MustJSON(w.t, e))
	}
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		if was := w.verdicts[v.CommandID]; was != nil && (was.Verdict == domain.Accepted || v.At.Sub(was.At) <= domain.RefusedFor) {
			require.Equal(w.t, was, v, "another verdict within the hour")
		}
		w.verdicts[v.CommandID] = v
		require.LessOrEqual(w.t, v.Version, w.o.Version)
	}
	out.Verdicts = nil
	for key, data := range sent(w.t, out) {
		same(w.t, w.told, key, data)
	}
	w.walk()
	// What goes to one group stays in order.
	for i := range out.Stock {
		if keeps() {
			w.shop.handle(&out.Stock[i])
		}
	}
	for i := range out.Payments {
		if keeps() {
			w.bank.handle(&out.Payments[i])
		}
	}
	for i := range out.Dispatch {
		if keeps() {
			w.riders.handle(&out.Dispatch[i])
		}
	}
}

// walk checks what was said to lie ahead against where the order has come.
func (w *world) walk() {
	now := *w.o
	now.Timeline = slices.Clone(now.Timeline)
	for _, was := range w.stages {
		if was.Status != now.Status || was.Attempt != now.Attempt {
			require.True(w.t, was.CanReach(now.Status), "%s in attempt %d was said not to come to %s", was.Status, was.Attempt, now.Status)
		}
	}
	require.Equal(w.t, now.Status != order.None, now.Reached(now.Status))
	if n := len(w.stages); n == 0 || w.stages[n-1].Status != now.Status || w.stages[n-1].Attempt != now.Attempt {
		w.stages = append(w.stages, now)
	}
}

func countNew(out order.Out, before int) (n int) {
	for _, e := range out.Events {
		if e.Version > before {
			n++
		}
	}
	return n
}

func (w *world) same(seen map[int]string, key int, data string) { same(w.t, seen, key, data) }

func same[K comparable](t *rapid.T, seen map[K]string, key K, data string) {
	if was, ok := seen[key]; ok {
		require.Equal(t, was, data, "%v is sent again with other bytes", key)
	}
	seen[key] = data
}

func always() bool { return true }

// A shop reserves all or nothing, once per attempt.
type shop struct {
	w        *world
	store    stock.Store
	short    int // the attempt that it can't make
	attempts map[int]string
}

func (s *shop) handle(c *stock.Command) {
	require.NoError(s.w.t, c.Validate())
	require.Equal(s.w.t, storeID, c.StoreID)
	was := s.attempts[c.Attempt]
	switch {
	case c.Type == stock.Reserve && was == "" && c.Attempt == s.short:
		s.attempts[c.Attempt] = "refused"
	case c.Type == stock.Reserve && was == "":
		s.attempts[c.Attempt] = "reserved"
	case c.Type == stock.Commit && was == "reserved":
		s.attempts[c.Attempt] = "committed"
	case c.Type == stock.Release && was == "reserved":
		s.attempts[c.Attempt] = "released"
	case c.Type != stock.Reserve && was == "":
		s.attempts[c.Attempt] = "closed"
	}
	if c.Type == stock.Reserve {
		switch s.attempts[c.Attempt] {
		case "reserved":
			s.w.say("stock", reserved(s.store, c.Attempt))
		case "refused":
			s.w.say("stock", notReserved(stock.Short, c.Attempt, domain.Shortage{Product: "soju", Wanted: 1}))
		}
	}
}

// A bank asks a gateway that answers some time later, and does what is wanted
// once it can be done.
type bank struct {
	w        *world
	declines bool
	forgets  bool   // a void of what is not authorised yet
	state    string // "", asked, approved, declined, voided, captured, refunded
	delays   int
	void     bool
	capture  bool
	refund   bool
}

func (b *bank) handle(r *payment.Request) {
	require.NoError(b.w.t, r.Validate())
	switch r.Type {
	case payment.Authorize:
		require.Equal(b.w.t, Price, *r.Amount)
		if b.state == "" && !b.void {
			b.state = "asked"
		} else if b.state == "approved" {
			b.w.say("payments", paid(payment.Approved))
		}
	case payment.Void:
		require.False(b.w.t, b.capture, "what is captured is voided")
		b.void = b.void || b.state == "approved" || !b.forgets
	case payment.Capture:
		require.False(b.w.t, b.void, "what is voided is captured")
		b.capture = true
	case payment.Refund:
		b.refund = true
	}
	b.settle()
}

func (b *bank) settle() {
	for _, s := range []struct {
		wanted       bool
		from, to, by string
	}{
		{b.void, "approved", "voided", payment.Voided},
		{b.capture, "approved", "captured", payment.Captured},
		{b.refund, "captured", "refunded", payment.Refunded},
	} {
		if s.wanted && b.state == s.from {
			b.state = s.to
			b.w.say("payments", paid(s.by))
		}
	}
}

// answer lets the gateway answer, or take its time.
func (b *bank) answer(delayed bool) {
	switch {
	case delayed:
		b.delays++
		r := paid(payment.Delayed)
		r.ID = fmt.Sprintf("%s/delayed/%d", orderID, b.delays)
		b.w.say("payments", r)
	case b.declines:
		b.state = "declined"
		b.w.say("payments", paid(payment.Declined))
	default:
		b.state = "approved"
		b.w.say("payments", paid(payment.Approved))
		b.settle()
	}
}

// Riders of one area: a trip per attempt.
type riders struct {
	w          *world
	deliveries map[int]*trip
}

type trip struct {
	state string // open, assigned, picked_up, delivered, failed
	rider string
	nth   int
	last  *dispatch.DeliveryEvent
}

func (r *riders) tell(attempt int, typ, reason string) {
	d := r.deliveries[attempt]
	d.last = delivery(typ, d.rider, attempt)
	d.last.Reason = reason
	d.last.ID = fmt.Sprintf("%s/%s/%d", orderID, typ, attempt)
	if typ == dispatch.Assigned || typ == dispatch.Unassigned {
		d.last.ID += fmt.Sprintf("/%d", d.nth)
	}
	r.w.say("deliveries", d.last)
}

func (r *riders) handle(c *dispatch.Command) {
	require.NoError(r.w.t, c.Validate())
	require.Equal(r.w.t, area, c.Area)
	d := r.deliveries[c.Attempt]
	if d == nil {
		d = &trip{}
		r.deliveries[c.Attempt] = d
	}
	switch c.Type {
	case dispatch.Request:
		switch {
		case d.state == "":
			d.state = "open"
		case d.last != nil:
			r.w.say("deliveries", d.last)
		}
	case dispatch.GiveUp:
		if d.state == "assigned" && d.rider == c.RiderID {
			r.unassign(c.Attempt, c.Reason)
		}
	case dispatch.Withdraw:
		switch d.state {
		case "", "open", "assigned": // a rider who only has it loses it
			d.state, d.rider = "failed", ""
			r.tell(c.Attempt, dispatch.Failed, c.Reason)
		case "failed", "delivered":
			r.w.say("deliveries", d.last)
		}
	}
}

func (r *riders) unassign(attempt int, reason string) {
	r.tell(attempt, dispatch.Unassigned, reason)
	d := r.deliveries[attempt]
	d.state, d.rider = "open", ""
}

// act does what a rider, or the lack of them, may do with a trip.
func (r *riders) act(attempt int, what string) {
	d := r.deliveries[attempt]
	switch d.state + " " + what {
	case "open assign":
		d.nth++
		d.state, d.rider = "assigned", fmt.Sprintf("rider-%d", d.nth)
		r.tell(attempt, dispatch.Assigned, "")
	case "open give up":
		d.state = "failed"
		r.tell(attempt, dispatch.Failed, dispatch.NoRider)
	case "assigned decline":
		r.unassign(attempt, dispatch.Declined)
	case "assigned go on":
		d.state = "picked_up"
		r.tell(attempt, dispatch.PickedUp, "")
	case "picked_up go on":
		d.state = "delivered"
		r.tell(attempt, dispatch.Delivered, "")
	}
}

// likely are the commands that take an order on, per status.
var likely = map[order.Status][]string{
	order.None: {order.Place}, order.Paid: {order.Accept, order.Accept, order.Reject, order.Cancel},
	order.AcceptedStatus: {order.StartCooking, order.StartCooking, order.Cancel}, order.Cooking: {order.FinishCooking, order.FinishCooking, order.Postpone},
	order.Delivered: {order.RequestRefund, order.RequestRefund, order.Confirm}, order.Completed: {order.RequestRefund},
	order.RefundRequested: {order.ApproveRefund, order.ApproveRefund, order.DenyRefund},
}

func (w *world) command() {
	if w.commands++; w.commands > 5 && len(w.streams["commands"].log) > 0 && rapid.IntRange(0, 5).Draw(w.t, "a client repeats") == 0 {
		w.say("commands", rapid.SampledFrom(w.streams["commands"].log).Draw(w.t, "repeated"))
		return
	}
	types := likely[w.o.Status]
	if types == nil || rapid.IntRange(0, 9).Draw(w.t, "any command") == 9 {
		types = order.CommandTypes
	}
	c := command(rapid.SampledFrom(types).Draw(w.t, "command"))
	c.ID = fmt.Sprintf("client-%d", w.commands)
	if rapid.IntRange(0, 4).Draw(w.t, "if it has a version") == 0 {
		c.IfVersion = new(max(0, w.o.Version-rapid.IntRange(0, 1).Draw(w.t, "versions ago")))
	}
	if c.Type == order.RequestRefund && rapid.Bool().Draw(w.t, "wants it again") {
		c.Wish = order.WishRedelivery
	}
	w.say("commands", c)
}

// ring lets time pass until the order's deadline.
func (w *world) ring() {
	if d, ok := w.o.NextDeadline(); ok && w.o.Deadline.Then != order.Forgotten {
		w.now = max(w.now, d.Due)
		w.say("loop", &d)
	}
}

func (w *world) act() {
	crashes := func(name string) bool { return rapid.IntRange(0, 9).Draw(w.t, name) == 9 }
	switch what := rapid.SampledFrom([]string{"onwards", "onwards", "onwards", "onwards", "onwards", "onwards", "onwards", "onwards", "onwards", "read", "read", "read", "read", "command", "command", "gateway", "rider", "rider", "rider", "again", "time", "last minute"}).Draw(w.t, "then"); what {
	case "read":
		if names := w.unread(); names != nil {
			if crashes("crash") {
				w.read(rapid.SampledFrom(names).Draw(w.t, "stream"), true, func() bool { return rapid.Bool().Draw(w.t, "kept") })
			} else {
				w.read(rapid.SampledFrom(names).Draw(w.t, "stream"), false, always)
			}
		}
	case "onwards":
		w.onwards()
	case "command":
		w.command()
	case "gateway":
		if w.bank.state == "asked" {
			w.bank.answer(rapid.IntRange(0, 3).Draw(w.t, "delayed") == 0)
		}
	case "rider":
		if len(w.riders.deliveries) > 0 {
			attempt := rapid.SampledFrom(slices.Sorted(maps.Keys(w.riders.deliveries))).Draw(w.t, "trip")
			w.riders.act(attempt, rapid.SampledFrom([]string{"assign", "assign", "go on", "go on", "go on", "decline", "give up"}).Draw(w.t, "rider does"))
		}
	case "again": // the last messages of a stream are handled again
		s := w.streams[rapid.SampledFrom(streamNames).Draw(w.t, "stream")]
		s.next -= rapid.IntRange(0, min(4, s.next)).Draw(w.t, "messages again")
	case "time":
		if rapid.IntRange(0, 5).Draw(w.t, "deadline passes") == 5 {
			w.ring()
		}
	case "last minute": // a rider comes while the order loses its patience
		attempt := max(1, w.o.Attempt)
		if d := w.riders.deliveries[attempt]; w.o.Status == order.Ready && d != nil {
			w.riders.act(attempt, "assign")
			w.riders.act(attempt, rapid.SampledFrom([]string{"go on", "go on", "decline", "wait"}).Draw(w.t, "rider does"))
			w.ring()
			for s := w.streams["loop"]; s.next < len(s.log); {
				w.read("loop", false, always)
			}
		}
	}
}

// onwards does what takes the order to its good end.
func (w *world) onwards() {
	trip := w.riders.deliveries[max(1, w.o.Attempt)]
	switch names := w.unread(); {
	case names != nil:
		w.read(names[0], false, always)
	case w.bank.state == "asked":
		w.bank.answer(false)
	case likely[w.o.Status] != nil:
		w.command()
	case trip != nil && trip.state == "open":
		w.riders.act(max(1, w.o.Attempt), "assign")
	case trip != nil:
		w.riders.act(max(1, w.o.Attempt), "go on")
	}
}

// settle lets everything happen that is under way: no more crashes and
// commands; who has picked up, delivers.
func (w *world) settle() {
	for n := 0; ; n++ {
		require.Less(w.t, n, 500, "the messages never end: %v", w.unread())
		for _, attempt := range slices.Sorted(maps.Keys(w.riders.deliveries)) {
			if w.riders.deliveries[attempt].state == "picked_up" {
				w.riders.act(attempt, "go on")
			}
		}
		if w.bank.state == "asked" {
			w.bank.answer(false)
		}
		names := w.unread()
		if names == nil {
			return
		}
		w.read(rapid.SampledFrom(names).Draw(w.t, "stream"), false, always)
	}
}

func (w *world) check() {
	require.LessOrEqual(w.t, len(w.versions), w.o.Version)
	for v := range w.o.Version {
		e := w.o.Event(v)
		require.Equal(w.t, w.versions[v+1], MustJSON(w.t, &e), "version %d", v+1)
	}
	for _, m := range w.streams["commands"].log {
		require.Contains(w.t, w.verdicts, m.(*order.Command).ID, "a command has no verdict")
	}
	if w.o.Status == order.Assigned {
		d := w.riders.deliveries[max(1, w.o.Attempt)]
		require.Equal(w.t, "assigned", d.state)
		require.Equal(w.t, d.rider, w.o.RiderID, "the order waits for another rider than the one who has it")
	}
	if !w.o.Status.Final() {
		_, waits := w.o.NextDeadline()
		require.True(w.t, waits || w.o.Status == order.None, "%s waits for ever", w.o.Status)
		return
	}
	for attempt, s := range w.shop.attempts {
		require.NotEqual(w.t, "reserved", s, "goods of attempt %d stay reserved", attempt)
	}
	for _, e := range w.o.Timeline {
		if s := w.shop.attempts[max(1, e.Attempt)]; e.Type == string(order.Cooking) {
			require.NotEqual(w.t, "released", s, "what was cooked was given back")
		}
	}
	for attempt, d := range w.riders.deliveries {
		require.Contains(w.t, []string{"", "delivered", "failed"}, d.state, "a rider is bound to attempt %d", attempt)
	}
	if last := w.o.Timeline[w.o.Version-1]; last.Reason == dispatch.NoRider {
		require.Equal(w.t, "failed", w.riders.deliveries[max(1, last.Attempt)].state, "what has no rider is brought, and not paid")
	}
	money := map[order.Status][]string{
		order.Completed: {"captured"}, order.RefundDenied: {"captured"}, order.Refunded: {"refunded"},
		order.RefusedStatus: {""}, order.Rejected: {"voided"}, order.DeliveryFailed: {"voided"},
		order.PaymentFailed: {"declined", "voided", ""}, order.Cancelled: {"declined", "voided", ""},
	}
	require.Contains(w.t, money[w.o.Status], w.bank.state, "the money of an order that is %s", w.o.Status)
}

func TestOrder_World(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		require.NoError(t, f.Value.Set("400"))
	}
	ends := map[order.Status]int{}
	seconds := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(10, 120).Draw(t, "steps") {
			w.act()
		}
		w.settle()
		w.check()

		// Nobody says anything any more: every order ends all the same.
		for n := 0; w.o.Status != order.None && !w.o.Status.Final(); n++ {
			require.Less(t, n, 20, "the order hangs: %s", w.o.Status)
			w.ring()
			w.settle()
		}
		w.check()
		sentMessages := 0
		for key := range w.told {
			if !strings.HasPrefix(key, "verdict ") {
				sentMessages++
			}
		}
		require.Less(t, w.handled, 1000)
		require.Less(t, sentMessages, 300)
		ends[w.o.Status]++
		if w.o.Attempt > 1 {
			seconds++
		}
	})
	t.Logf("ends: %v, second deliveries: %d", ends, seconds)
}

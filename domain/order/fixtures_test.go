package order_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// Named things that orders in these tests are about.
const (
	orderID  = "o-1"
	customer = "user-1"
	storeID  = "store-1"
	area     = "gangnam"
	Bora     = "rider-bora"
	Chul     = "rider-chul"

	cookingTime = 10 * time.Minute
)

var (
	noon = domain.At(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))

	Bibimbap = domain.Line{Product: "bibimbap", Quantity: 2, Name: "Bibimbap", Price: new(domain.Money(9_000))}
	Soju     = domain.Line{Product: "soju", Quantity: 1, Name: "Soju", Price: new(domain.Money(5_000))}
	Dinner   = []domain.Line{Bibimbap, Soju}
	Wanted   = []domain.Line{{Product: "bibimbap", Quantity: 2}, {Product: "soju", Quantity: 1}}
	Price    = domain.Money(23_000)

	Home       = order.Address{Text: "Teheran-ro 1", Lat: new(37.51), Lon: new(127.04)}
	Manual     = stock.Store{Name: "Hansot", Area: area, Lat: 37.50, Lon: 127.03, CookingTime: domain.Duration(cookingTime)}
	AutoAccept = stock.Store{Name: "Kimbap Heaven", Area: area, Lat: 37.50, Lon: 127.03, AutoAccept: true, CookingTime: domain.Duration(cookingTime)}
	Fridge     = stock.Store{Name: "Convenience", Area: area, Lat: 37.50, Lon: 127.03, AutoAccept: true}
)

// message is what comes in: a *order.Command, *stock.Reply, *payment.Reply,
// *dispatch.DeliveryEvent or *order.Deadline.
type message any

// Commands are named by what they are; with gives a second one another id.
func command(typ string) *order.Command {
	c := &order.Command{Meta: domain.Meta{Type: typ, ID: "client-" + typ}, Verdict: true}
	switch typ {
	case order.Place:
		home, price := Home, Price
		c.UserID, c.StoreID, c.Lines, c.Address, c.ExpectedTotal = customer, storeID, slices.Clone(Wanted), &home, &price
		c.Note, c.Phone = "ring twice", "+82 10-1234-5678"
	case order.Cancel:
		c.By, c.Reason = order.Customer, "changed my mind"
	case order.Reject:
		c.Reason = "kitchen on fire"
	case order.RequestRefund:
		c.UserID, c.Reason, c.PhotoURL, c.Wish = customer, "it is cold", "https://photos.example/1.jpg", order.WishRefund
	case order.Postpone:
		c.By = "5m"
	case order.DenyRefund:
		c.Reason = "it was hot"
	}
	return c
}

func again(c *order.Command) *order.Command { c.ID += "/another"; return c }

func redelivery() *order.Command {
	c := command(order.RequestRefund)
	c.Wish = order.WishRedelivery
	return c
}

func reserved(store stock.Store, attempt int) *stock.Reply {
	return &stock.Reply{Meta: domain.Meta{Type: stock.Reserved, ID: fmt.Sprintf("%s/reserved/%d", orderID, attempt), At: noon + 1},
		OrderID: orderID, StoreID: storeID, Attempt: attempt, Lines: slices.Clone(Dinner), Total: new(Price), Store: &store}
}

func notReserved(reason string, attempt int, short ...domain.Shortage) *stock.Reply {
	return &stock.Reply{Meta: domain.Meta{Type: stock.Refused, ID: fmt.Sprintf("%s/refused/%d", orderID, attempt), At: noon + 1},
		OrderID: orderID, StoreID: storeID, Attempt: attempt, Reason: reason, Short: short}
}

func paid(typ string) *payment.Reply {
	r := &payment.Reply{Meta: domain.Meta{Type: typ, ID: orderID + "/" + typ + "/1", At: noon + 2}, OrderID: orderID, Attempt: 1}
	if typ == payment.Declined {
		r.Reason = "card expired"
	}
	return r
}

func delivery(typ, rider string, attempt int) *dispatch.DeliveryEvent {
	id := fmt.Sprintf("%s/%s/%d", orderID, typ, attempt)
	if typ == dispatch.Assigned || typ == dispatch.Unassigned {
		id += "/" + rider
	}
	e := &dispatch.DeliveryEvent{Meta: domain.Meta{Type: typ, ID: id, At: noon + 3}, OrderID: orderID, Attempt: attempt, Area: area, RiderID: rider}
	switch typ {
	case dispatch.Unassigned:
		e.Reason = dispatch.Declined
	case dispatch.Failed:
		e.RiderID, e.Reason = "", dispatch.NoRider
	}
	return e
}

// due stands for the order's own deadline, read when it has passed.
type due struct{}

// later stands for time that passes.
type later time.Duration

// life is one order under test and all that came and went.
type life struct {
	t   testing.TB
	o   *order.Order
	cfg order.Settings
	now domain.Time
	log []handled
}

type handled struct {
	m   message
	out order.Out
}

func newLife(t testing.TB) *life {
	return &life{t: t, o: order.New(orderID), cfg: order.DefaultSettings(), now: noon}
}

// live lets messages come one after another, a second between them.
func live(t testing.TB, messages ...message) *life {
	l := newLife(t)
	for _, m := range messages {
		l.do(m)
	}
	return l
}

func (l *life) do(m message) order.Out {
	l.t.Helper()
	if passes, ok := m.(later); ok {
		l.now = l.now.Add(time.Duration(passes))
		return order.Out{}
	}
	l.now = l.now.Add(time.Second)
	if m == (due{}) {
		d := l.MustDeadline()
		l.now, m = max(l.now, d.Due), &d
	}
	out := handle(l.o, m, l.now, l.cfg)
	l.log = append(l.log, handled{m, out})
	return out
}

func (l *life) MustDeadline() order.Deadline {
	l.t.Helper()
	d, ok := l.o.NextDeadline()
	require.True(l.t, ok, "order is %s and has no deadline", l.o.Status)
	return d
}

func handle(o *order.Order, m message, now domain.Time, cfg order.Settings) order.Out {
	switch m := m.(type) {
	case *order.Command:
		return o.Command(m, domain.Name{ID: m.ID, Own: true, Mark: "mark"}, now, cfg)
	case *stock.Reply:
		return o.StockReply(m, now, cfg)
	case *payment.Reply:
		return o.PaymentReply(m, now, cfg)
	case *dispatch.DeliveryEvent:
		return o.Delivery(m, now, cfg)
	case *order.Deadline:
		return o.Due(m, now, cfg)
	}
	panic(fmt.Sprintf("%T is no message to an order", m))
}

// idOf returns a pointer to the id of a message.
func idOf(m message) *string {
	switch m := m.(type) {
	case *order.Command:
		return &m.ID
	case *stock.Reply:
		return &m.ID
	case *payment.Reply:
		return &m.ID
	case *dispatch.DeliveryEvent:
		return &m.ID
	case *order.Deadline:
		return &m.ID
	}
	panic(fmt.Sprintf("%T is no message to an order", m))
}

// said writes what goes out, events without their times, one line each.
func said(out order.Out) []string {
	s := []string{}
	for _, e := range out.Events {
		line := "event " + e.Type
		if e.Type != string(e.Status) {
			line += " while " + string(e.Status)
		}
		for _, about := range []string{e.RiderID, e.Reason} {
			if about != "" {
				line += ", " + about
			}
		}
		for _, sh := range e.Short {
			line += fmt.Sprintf(", short of %s: %d of %d", sh.Product, sh.Available, sh.Wanted)
		}
		s = append(s, line)
	}
	return append(s, requests(out)...)
}

// requests writes what goes to other groups and clients.
func requests(out order.Out) []string {
	s := []string{}
	for _, c := range out.Stock {
		s = append(s, fmt.Sprintf("stock %s %d", c.Type, c.Attempt))
	}
	for _, r := range out.Payments {
		line := "payment " + r.Type
		if r.Amount != nil {
			line += fmt.Sprintf(" %d of %s", *r.Amount, r.UserID)
		}
		if r.Reason != "" {
			line += ", " + r.Reason
		}
		s = append(s, line)
	}
	for _, c := range out.Dispatch {
		line := fmt.Sprintf("dispatch %s %d", c.Type, c.Attempt)
		for _, about := range []string{c.RiderID, c.Reason} {
			if about != "" {
				line += ", " + about
			}
		}
		s = append(s, line)
	}
	for _, v := range out.Verdicts {
		line := "verdict " + v.Verdict
		if v.Reason != "" {
			line += ": " + v.Reason
		}
		s = append(s, line)
	}
	if out.Forget {
		s = append(s, "forget")
	}
	return s
}

// sent returns the JSON of every message that goes out, by stream and id.
func sent(t require.TestingT, out order.Out) map[string]string {
	all := map[string]string{}
	add := func(stream, id string, m any) { all[stream+" "+id] = MustJSON(t, m) }
	for i := range out.Events {
		add("event", out.Events[i].ID, &out.Events[i])
	}
	for i := range out.Stock {
		add("stock", out.Stock[i].ID, &out.Stock[i])
	}
	for i := range out.Payments {
		add("payment", out.Payments[i].ID, &out.Payments[i])
	}
	for i := range out.Dispatch {
		add("dispatch", out.Dispatch[i].ID, &out.Dispatch[i])
	}
	for i := range out.Verdicts {
		add("verdict", out.Verdicts[i].ID, &out.Verdicts[i])
	}
	return all
}

func MustJSON(t require.TestingT, v any) string {
	b, err := codecs.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// MustReload sends a row through its JSON, as a table does.
func MustReload(t require.TestingT, o *order.Order) *order.Order {
	again, err := codecs.Decode[order.Order]([]byte(MustJSON(t, o)))
	require.NoError(t, err)
	return again
}

// Prefixes of lives, by the status that they reach.
var (
	toPlaced    = []message{command(order.Place)}
	toPaying    = with(toPlaced, reserved(Manual, 1))
	toPaid      = with(toPaying, paid(payment.Approved))
	toAccepted  = with(toPaid, command(order.Accept))
	toCooking   = with(toAccepted, command(order.StartCooking))
	toReady     = with(toCooking, command(order.FinishCooking))
	toAssigned  = with(toReady, delivery(dispatch.Assigned, Bora, 1))
	toPickedUp  = with(toAssigned, delivery(dispatch.PickedUp, Bora, 1))
	toDelivered = with(toPickedUp, delivery(dispatch.Delivered, Bora, 1))
	toComplaint = with(toDelivered, command(order.RequestRefund))

	toSecond          = with(toDelivered, redelivery(), command(order.ApproveRefund))
	toSecondReserved  = with(toSecond, reserved(Manual, 2))
	toSecondReady     = with(toSecondReserved, again(command(order.StartCooking)), again(command(order.FinishCooking)))
	toSecondDelivered = with(toSecondReady, delivery(dispatch.Assigned, Chul, 2), delivery(dispatch.PickedUp, Chul, 2), delivery(dispatch.Delivered, Chul, 2))
)

var reach = map[order.Status][]message{
	order.None:            {},
	order.Placed:          toPlaced,
	order.Paying:          toPaying,
	order.Paid:            toPaid,
	order.AcceptedStatus:  toAccepted,
	order.Cooking:         toCooking,
	order.Ready:           toReady,
	order.Assigned:        toAssigned,
	order.PickedUp:        toPickedUp,
	order.Delivered:       toDelivered,
	order.RefundRequested: toComplaint,
	order.Completed:       with(toDelivered, command(order.Confirm)),
	order.RefusedStatus:   with(toPlaced, notReserved(stock.Closed, 1)),
	order.PaymentFailed:   with(toPaying, paid(payment.Declined)),
	order.Rejected:        with(toPaid, command(order.Reject)),
	order.Cancelled:       with(toAccepted, command(order.Cancel)),
	order.DeliveryFailed:  with(toReady, due{}, delivery(dispatch.Failed, "", 1)),
	order.Refunded:        with(toComplaint, command(order.ApproveRefund)),
	order.RefundDenied:    with(toComplaint, command(order.DenyRefund)),
}

// with continues a life; it never writes into the life that it continues.
func with(before []message, more ...message) []message { return slices.Concat(before, more) }

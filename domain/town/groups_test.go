package town_test

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// Topics, as in package topics.
const (
	orderCommands    = order.Stream
	orderEvents      = "order-events"
	verdicts         = "verdicts"
	storeCommands    = stock.Stream
	stockReplies     = "stock-replies"
	paymentRequests  = "payment-requests"
	paymentReplies   = "payment-replies"
	riderCommands    = rider.Stream
	riderEvents      = "rider-events"
	dispatchCommands = "dispatch-commands"
	deliveryEvents   = "delivery-events"
	notifications    = "notifications"
	messageLog       = "message-log"
	ordersLoop       = "orders-loop"
	paymentsLoop     = "payments-loop"
	projectionsLoop  = "projections-loop"
)

// open joins the groups as package processors does.
func (w *town) open() {
	w.join("orders", w.orders, orderCommands, stockReplies, paymentReplies, deliveryEvents, ordersLoop)
	w.join("stock", w.stock, storeCommands)
	w.join("payments", w.payments, paymentRequests, paymentsLoop)
	w.join("riders", w.riders, riderCommands, riderEvents)
	w.join("dispatch", w.dispatch, dispatchCommands)
	w.join("notifier", w.notifier, orderEvents)
	w.join("messenger", w.messenger, notifications)
	w.join("projections", w.projections, orderEvents, projectionsLoop)
}

func (w *town) orders(c *context) {
	o := row(c, order.New)
	var out order.Out
	switch c.topic {
	case orderCommands:
		m := message[order.Command](c)
		before := row(c, order.New)
		out = o.Command(m, name(c, m.Meta, m.Digest), c.now, w.lives)
		if refused(out.Verdicts) {
			require.Equal(c, forgetful(before), forgetful(o), "a refused %s changed the order", m.Type)
			require.Empty(c, out.Events)
		}
	case stockReplies:
		out = o.StockReply(message[stock.Reply](c), c.now, w.lives)
	case paymentReplies:
		out = o.PaymentReply(message[payment.Reply](c), c.now, w.lives)
	case deliveryEvents:
		out = o.Delivery(message[dispatch.DeliveryEvent](c), c.now, w.lives)
	case ordersLoop:
		out = o.Due(message[order.Deadline](c), c.now, w.lives)
	}
	sendAll(c, orderEvents, c.key(), out.Events)
	sendAll(c, paymentRequests, c.key(), out.Payments)
	sendAll(c, verdicts, c.key(), out.Verdicts)
	for i := range out.Stock {
		c.send(storeCommands, out.Stock[i].StoreID, &out.Stock[i])
	}
	for i := range out.Dispatch {
		c.send(dispatchCommands, out.Dispatch[i].Area, &out.Dispatch[i])
	}
	if out.Forget {
		c.remove()
		return
	}
	save(c, o, out.Changed)
}

// name returns what a command is known again by, as package processors does.
func name(c *context, m domain.Meta, digest string) domain.Name {
	return domain.NameOf(m.ID, digest, fmt.Sprintf("%s/%d/%d", c.topic, c.lane.partition, c.record.offset), "")
}

// forgetful is an order without what it remembers of refusals.
func forgetful(o *order.Order) order.Order {
	f := *o
	f.Recent = nil
	if f.Status == order.None {
		f.Deadline = nil
	}
	return f
}

func refused(vs []domain.Verdict) bool { return len(vs) == 1 && vs[0].Verdict == domain.Refused }

func (w *town) stock(c *context) {
	s := row(c, stock.NewInventory)
	m := message[stock.Command](c)
	before := row(c, stock.NewInventory)
	out := s.Handle(m, name(c, m.Meta, m.Digest), c.now)
	if out.Reply != nil {
		c.send(stockReplies, out.Reply.OrderID, out.Reply)
	}
	if out.Verdict != nil {
		c.send(verdicts, c.key(), out.Verdict)
		if out.Verdict.Verdict == domain.Refused {
			b, a := *before, *s
			b.Decided, a.Decided = nil, nil
			require.Equal(c, string(encode(c, b)), string(encode(c, a)), "a refused %s changed the store", m.Type)
		}
	}
	save(c, s, out.Changed)

	reserved := map[string]int{}
	for _, r := range s.Reservations {
		for _, l := range r.Lines {
			reserved[l.Product] += l.Quantity
		}
	}
	for _, p := range s.Products {
		require.Equal(c, p.Added, p.Free()+p.Reserved+p.Sold+p.Removed, "the sum of %s/%s", s.StoreID, p.ID)
		require.Equal(c, reserved[p.ID], p.Reserved, "reserved of %s/%s", s.StoreID, p.ID)
		require.GreaterOrEqual(c, min(p.Free(), p.Reserved, p.Sold, p.Removed), 0, "%s/%s is below zero", s.StoreID, p.ID)
	}
}

func (w *town) payments(c *context) {
	p := row(c, payment.New)
	var out payment.Out
	switch c.topic {
	case paymentRequests:
		out = p.Handle(message[payment.Request](c), c.now, w.retries)
	case paymentsLoop:
		out = p.HandleResult(message[payment.Result](c), c.now, w.retries)
	}
	sendAll(c, paymentReplies, c.key(), out.Replies)
	if out.Forget {
		c.remove()
		return
	}
	save(c, p, out.Changed)
}

func (w *town) riders(c *context) {
	r := row(c, rider.NewRider)
	var out rider.Out
	switch c.topic {
	case riderCommands:
		m := message[rider.Command](c)
		out = r.Handle(m, name(c, m.Meta, m.Digest), c.now)
	case riderEvents:
		out = r.HandleEvent(message[dispatch.RiderEvent](c), c.now)
	}
	for i := range out.Dispatch {
		c.send(dispatchCommands, out.Dispatch[i].Area, &out.Dispatch[i])
	}
	sendAll(c, verdicts, c.key(), out.Verdicts)
	save(c, r, out.Changed)
}

func (w *town) dispatch(c *context) {
	a := row(c, dispatch.NewArea)
	m := message[dispatch.Command](c)
	before := row(c, dispatch.NewArea)
	out := a.Handle(m, c.now, w.plan)
	for i := range out.Deliveries {
		c.send(deliveryEvents, out.Deliveries[i].OrderID, &out.Deliveries[i])
	}
	for i := range out.Riders {
		c.send(riderEvents, out.Riders[i].RiderID, &out.Riders[i])
	}
	for i := range out.Verdicts {
		c.send(verdicts, out.Verdicts[i].RiderID, &out.Verdicts[i].Verdict)
		if out.Verdicts[i].Verdict.Verdict == domain.Refused && w.plan.Mode != dispatch.Hybrid { // there time alone assigns
			b, after := *before, *a
			b.Recent, after.Recent = nil, nil
			require.Equal(c, string(encode(c, b)), string(encode(c, after)), "a refused %s changed the area", m.Type)
		}
	}
	save(c, a, out.Changed)
	w.checkArea(c, before, a)
}

// checkArea: who was given something has room for it, and a rider is in one area.
func (w *town) checkArea(c *context, before, after *dispatch.Area) {
	held := map[string]string{}
	for _, d := range before.Deliveries {
		held[d.OrderID] = d.Rider()
	}
	inHand := map[string]int{}
	for _, d := range after.Deliveries {
		if d.Rider() != "" {
			inHand[d.Rider()]++
		}
	}
	riders := map[string]*dispatch.Rider{}
	for _, r := range after.Riders {
		require.Nil(c, riders[r.ID], "rider %s is twice in area %s", r.ID, after.ID)
		riders[r.ID] = r
		for id, other := range all[dispatch.Area](w.bus, "dispatch", true) {
			for _, o := range other.Riders {
				require.False(c, id != after.ID && o.ID == r.ID, "rider %s is in area %s and in %s", r.ID, id, after.ID)
			}
		}
	}
	for _, d := range after.Deliveries {
		who := d.Rider()
		if who == "" {
			continue
		}
		require.NotNil(c, riders[who], "rider %s of order %s is not in the area", who, d.OrderID)
		if held[d.OrderID] != who {
			require.LessOrEqual(c, inHand[who], riders[who].Capacity, "rider %s has more than he can carry", who)
		}
	}
}

func (w *town) notifier(c *context) {
	for _, n := range notification.Of(message[order.Event](c), notification.English) {
		c.send(notifications, n.Recipient, &n)
	}
}

func (w *town) messenger(c *context) {
	c.send(messageLog, c.key(), message[notification.Notification](c))
}

func (w *town) projections(c *context) {
	m := row(c, func(key string) *projection.Model { return &projection.Model{Key: key} })
	if c.topic == projectionsLoop {
		n := message[projection.Note](c)
		if n.Type == projection.Forgotten {
			if at, _, ok := m.Forget(w.lives.Keep); ok && at <= n.At {
				c.remove()
			}
			return
		}
		changed := m.Apply(n)
		save(c, m, changed)
		return
	}
	e := message[order.Event](c)
	if e.Type != string(e.Status) || e.Status != order.Paid && !e.Status.Final() {
		return
	}
	notes, changed := m.Event(e, projection.Spot{Partition: int32(c.lane.partition), Offset: c.record.offset})
	save(c, m, changed)
	for i := range notes {
		c.send(projectionsLoop, notes[i].Key, &notes[i])
	}
}

func sendAll[M any](c *context, topic, key string, all []M) {
	for i := range all {
		c.send(topic, key, &all[i])
	}
}

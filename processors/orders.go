package processors

import (
	"context"
	"time"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/stock"
	"baedal/stream"
	"baedal/topics"
)

// Orders is the saga: what a customer, a store, the stock, the money, the
// delivery or the clock says about an order is decided on here, one message
// after the other.
//
// once says that a transaction has made all known that a message caused: what
// comes again has been said, and is not said again.
func Orders(t *topics.Catalog, cfg order.Settings, once bool) stream.Definition {
	o := orders{t, cfg, once}
	return stream.Group[order.Order]{
		Name:  t.Group(topics.Orders),
		Table: t.OrdersTable,
		Inputs: []stream.Input[order.Order]{
			stream.From(t.OrderCommands, o.command),
			stream.From(t.StockReplies, o.stockReply),
			stream.From(t.PaymentReplies, o.paymentReply),
			stream.From(t.DeliveryEvents, o.delivery),
			stream.FromLoop(t.OrdersLoop, o.deadline),
		},
		Outputs:     []stream.Sink{t.OrderEvents, t.StoreCommands, t.PaymentRequests, t.DispatchCommands, t.Verdicts},
		DeadLetters: t.DeadLetters,
		MaxAge:      cfg.Keep,
		Timer:       stream.Wake(t.OrdersLoop, 16, dueOrder, ringOrder),
		Offbeat:     true, // all others answer to it
	}
}

type orders struct {
	t    *topics.Catalog
	cfg  order.Settings
	once bool
}

type orderContext = stream.Context[order.Order]

func (p orders) command(c *orderContext, m *order.Command) {
	n := named(c, m.Meta, m.Digest)
	o := p.order(c, n.ID)
	p.tell(c, o, o.Command(m, n, now(c), p.cfg))
}

func (p orders) stockReply(c *orderContext, m *stock.Reply) {
	o := p.order(c, m.ID)
	p.tell(c, o, o.StockReply(m, now(c), p.cfg))
}

func (p orders) paymentReply(c *orderContext, m *payment.Reply) {
	o := p.order(c, m.ID)
	p.tell(c, o, o.PaymentReply(m, now(c), p.cfg))
}

func (p orders) delivery(c *orderContext, m *dispatch.DeliveryEvent) {
	o := p.order(c, m.ID)
	p.tell(c, o, o.Delivery(m, now(c), p.cfg))
}

func (p orders) deadline(c *orderContext, m *order.Deadline) {
	o := p.order(c, m.ID)
	p.tell(c, o, o.Due(m, now(c), p.cfg))
}

// order returns the row. What a crash may have left unsaid is said first, as the
// message behind it may be on another stream, and be read later than this one.
func (p orders) order(c *orderContext, id string) *order.Order {
	o := row(c, order.New)
	p.tell(c, o, o.Again(c.Unsaid(), id))
	return o
}

// tell sends what was decided to those whom it concerns.
func (p orders) tell(c *orderContext, o *order.Order, out order.Out) {
	if !out.Repeat || !p.once {
		sendAll(c, p.t.OrderEvents, o.ID, out.Events)
	}
	sendAll(c, p.t.PaymentRequests, o.ID, out.Payments)
	sendAll(c, p.t.Verdicts, o.ID, out.Verdicts)
	for i := range out.Stock {
		stream.Send(c, p.t.StoreCommands, out.Stock[i].StoreID, &out.Stock[i])
	}
	for i := range out.Dispatch {
		stream.Send(c, p.t.DispatchCommands, out.Dispatch[i].Area, &out.Dispatch[i])
	}
	switch {
	case out.Forget:
		c.Delete()
	case out.Changed:
		c.Save(o)
	}
}

func dueOrder(o *order.Order) (time.Time, order.Deadline, bool) {
	d, ok := o.NextDeadline()
	return d.Due.Time(), d, ok
}

func ringOrder(_ context.Context, d order.Deadline) (*order.Deadline, error) { return &d, nil }

func now(c interface{ Now() time.Time }) domain.Time { return domain.At(c.Now()) }

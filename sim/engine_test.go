package sim

import (
	"context"
	"fmt"
	"maps"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/internal/kafkatest"
	"baedal/topics"
)

// fakeEngine answers commands as far as the simulated people can tell, with none of the engine's promises: one goroutine, all in
// memory. It lets these tests run without the processors.
type fakeEngine struct {
	told    int // riders have been
	t       testing.TB
	cat     *topics.Catalog
	cl      *kgo.Client
	stores  map[string]*stock.Command
	stock   map[string]int
	prices  map[string]domain.Money
	riders  map[string]*fakeRider
	orders  map[string]*fakeOrder
	open    []string // orders that seek a rider
	dropAll bool     // says nothing about orders
}

type fakeRider struct {
	area           string
	at             domain.Place
	capacity, load int
}

type fakeOrder struct {
	order.Event
	pickup, drop domain.Place
	readyAt      domain.Time
	declined     map[string]bool
	cooked       bool
}

func startEngine(t *testing.T) ([]string, *topics.Catalog, *fakeEngine) {
	t.Helper()
	b := kafkatest.Embedded(t)
	cat := topics.New(b.Prefix(t), 4)
	e := &fakeEngine{t: t, cat: cat, stores: map[string]*stock.Command{}, stock: map[string]int{}, prices: map[string]domain.Money{},
		riders: map[string]*fakeRider{}, orders: map[string]*fakeOrder{}}
	e.cl = b.Client(t, kgo.ConsumeTopics(cat.OrderCommands.Name(), cat.StoreCommands.Name(), cat.RiderCommands.Name()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(Partitioner()), kgo.ProducerLinger(0))
	create := kmsg.NewPtrCreateTopicsRequest()
	for _, s := range cat.All() {
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = s.Topic, int32(s.Partitions), 1
		create.Topics = append(create.Topics, one)
	}
	_, err := create.RequestWith(t.Context(), e.cl)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return []string{b.Addr}, cat, e
}

func (e *fakeEngine) run(ctx context.Context) {
	for ctx.Err() == nil {
		poll, stop := context.WithTimeout(ctx, 20*time.Millisecond)
		fetches := e.cl.PollRecords(poll, 1000)
		stop()
		fetches.EachRecord(func(r *kgo.Record) {
			key := string(r.Key)
			switch r.Topic {
			case e.cat.StoreCommands.Name():
				c, err := codecs.Decode[stock.Command](r.Value)
				if e.ok(err) {
					e.store(key, c)
				}
			case e.cat.RiderCommands.Name():
				c, err := codecs.Decode[rider.Command](r.Value)
				if e.ok(err) {
					e.rider(key, c)
				}
			case e.cat.OrderCommands.Name():
				c, err := codecs.Decode[order.Command](r.Value)
				if e.ok(err) && !e.dropAll {
					e.order(key, c)
				}
			}
		})
		e.assign()
	}
}

func (e *fakeEngine) ok(err error) bool {
	if err != nil {
		e.t.Errorf("a command is not valid: %v", err)
	}
	return err == nil
}

func (e *fakeEngine) emit(topic, key string, msg any) {
	value, err := codecs.Marshal(msg)
	if e.ok(err) {
		e.cl.Produce(context.Background(), &kgo.Record{Topic: topic, Key: []byte(key), Value: value}, nil)
	}
}

func (e *fakeEngine) verdict(stream, key, id, reason string, asked bool) {
	if reason != "" || asked {
		v := domain.NewVerdict(stream, key, domain.Name{ID: id, Own: true}, domain.Because(reason), 0, domain.At(time.Now()))
		e.emit(e.cat.Verdicts.Name(), key, &v)
	}
}

func (e *fakeEngine) store(id string, c *stock.Command) {
	switch c.Type {
	case stock.Register:
		e.stores[id] = c
	case stock.PutProduct:
		e.prices[id+"/"+c.Product] = *c.Price
	case stock.AddStock:
		e.stock[id+"/"+c.Product] += c.Quantity
	}
	e.verdict(stock.Stream, id, c.ID, "", c.Verdict)
}

func (e *fakeEngine) event(o *fakeOrder, kind string, cause string) {
	o.Version++
	o.Type, o.ID, o.At, o.CauseID = kind, fmt.Sprintf("%s/%d", o.OrderID, o.Version), domain.At(time.Now()), cause
	switch kind {
	case order.RiderAssigned, order.RiderLost, order.Rescheduled:
	default:
		o.Status = order.Status(kind)
	}
	e.emit(e.cat.OrderEvents.Name(), o.OrderID, &o.Event)
}

func (e *fakeEngine) order(id string, c *order.Command) {
	o := e.orders[id]
	refuse := func(reason string) { e.verdict(order.Stream, id, c.ID, reason, false) }
	if c.Type == order.Place {
		if o != nil {
			return
		}
		o = &fakeOrder{Event: order.Event{OrderID: id, UserID: c.UserID, StoreID: c.StoreID, Lines: c.Lines, Attempt: 1},
			drop: c.Address.Place(), declined: map[string]bool{}}
		e.orders[id] = o
		e.event(o, "placed", c.ID)
		s := e.stores[c.StoreID]
		for i, l := range o.Lines {
			o.Lines[i].Name, o.Lines[i].Price = l.Product, new(e.prices[c.StoreID+"/"+l.Product])
			if s == nil || e.stock[c.StoreID+"/"+l.Product] < l.Quantity {
				o.Reason = stock.Short
				o.Short = []domain.Shortage{{Product: l.Product, Wanted: l.Quantity}}
				e.event(o, "refused", c.ID)
				return
			}
			e.stock[c.StoreID+"/"+l.Product] -= l.Quantity
		}
		o.Area, o.Total, o.pickup = *s.Area, new(domain.Total(o.Lines)), domain.Place{Lat: *s.Lat, Lon: *s.Lon}
		e.event(o, "paying", c.ID)
		e.event(o, "paid", c.ID)
		if *s.AutoAccept {
			e.accept(o, time.Duration(*s.CookingTime), c.ID)
			e.event(o, "cooking", c.ID)
			e.ready(o, c.ID)
		}
		return
	}
	if o == nil {
		refuse("unknown order")
		return
	}
	from := map[string][]order.Status{order.Cancel: {order.Placed, order.Paying, order.Paid, order.AcceptedStatus}, order.Accept: {order.Paid},
		order.Reject: {order.Paid}, order.StartCooking: {order.AcceptedStatus}, order.Postpone: {order.AcceptedStatus, order.Cooking}, order.FinishCooking: {order.Cooking}, order.Confirm: {order.Delivered}, order.RequestRefund: {order.Delivered}, order.ApproveRefund: {order.RefundRequested}, order.DenyRefund: {order.RefundRequested}}
	allowed := false
	for _, s := range from[c.Type] {
		allowed = allowed || s == o.Status
	}
	if !allowed {
		refuse("not while " + string(o.Status))
		return
	}
	switch c.Type {
	case order.Cancel:
		o.Reason = c.Reason
		e.event(o, "cancelled", c.ID)
	case order.Reject:
		o.Reason = c.Reason
		e.event(o, "rejected", c.ID)
	case order.Accept:
		e.accept(o, time.Duration(*c.CookingTime), c.ID)
	case order.StartCooking:
		e.event(o, "cooking", c.ID)
	case order.FinishCooking:
		e.ready(o, c.ID)
	case order.Postpone:
		e.event(o, order.Rescheduled, c.ID)
	case order.RequestRefund, order.ApproveRefund, order.DenyRefund:
		o.Reason = c.Reason
		e.event(o, map[string]string{order.RequestRefund: "refund_requested", order.ApproveRefund: "refunded", order.DenyRefund: "refund_denied"}[c.Type], c.ID)
	case order.Confirm:
		e.event(o, "completed", c.ID)
	}
}

func (e *fakeEngine) accept(o *fakeOrder, cooking time.Duration, cause string) {
	o.readyAt = domain.At(time.Now().Add(cooking))
	e.event(o, "accepted", cause)
	e.open = append(e.open, o.OrderID)
}

func (e *fakeEngine) ready(o *fakeOrder, cause string) {
	o.cooked = true
	e.event(o, "ready", cause)
	if o.RiderID != "" {
		e.event(o, "assigned", cause)
	}
}

// assign gives each open order the nearest free rider.
func (e *fakeEngine) assign() {
	var left []string
	for _, id := range e.open {
		o := e.orders[id]
		if o.Status.Final() {
			continue
		}
		best, far := "", math.Inf(1)
		for rid, r := range e.riders {
			d := math.Hypot(r.at.Lat-o.pickup.Lat, r.at.Lon-o.pickup.Lon)
			if r.area == o.Area && r.load < r.capacity && !o.declined[rid] && d < far {
				best, far = rid, d
			}
		}
		if best == "" {
			left = append(left, id)
			continue
		}
		e.riders[best].load++
		o.RiderID = best
		kind := order.RiderAssigned
		if o.cooked {
			kind = "assigned"
		}
		e.event(o, kind, "dispatch")
		e.tell(best, dispatch.RiderAssigned, id, "")
	}
	e.open = left
}

func (e *fakeEngine) tell(riderID, kind, orderID, cause string) {
	ev := dispatch.RiderEvent{RiderID: riderID, Area: e.riders[riderID].area, OrderID: orderID, CommandID: cause}
	e.told++
	ev.At = domain.At(time.Now())
	switch ev.Type = kind; kind {
	case dispatch.Entered, dispatch.Left:
		ev.Shift, ev.ID = e.told, fmt.Sprintf("%s/%s/%d", riderID, kind, e.told)
	case dispatch.Stays:
		ev.Shift, ev.ID = e.told, dispatch.StaysID(dispatch.LeaveID(riderID, e.told, 1))
	case dispatch.RiderDelivered:
		ev.ID = fmt.Sprintf("%s/%s/%s/1", riderID, orderID, kind)
	default:
		ev.ID = fmt.Sprintf("%s/%s/%s/1/%d", riderID, orderID, kind, e.told)
	}
	if o := e.orders[orderID]; o != nil {
		ev.Attempt, ev.Pickup, ev.Drop, ev.ReadyAt = o.Attempt, &o.pickup, &o.drop, o.readyAt
	}
	e.emit(e.cat.RiderEvents.Name(), riderID, &ev)
}

func (e *fakeEngine) rider(id string, c *rider.Command) {
	r := e.riders[id]
	if r == nil {
		r = &fakeRider{}
		e.riders[id] = r
	}
	o := e.orders[c.OrderID]
	switch c.Type {
	case rider.Online:
		r.area, r.at, r.capacity = c.Area, c.Place(), *c.Capacity
		e.tell(id, dispatch.Entered, "", c.ID)
	case rider.Offline:
		if r.load > 0 {
			e.tell(id, dispatch.Stays, "", c.ID)
			e.verdict(rider.Stream, id, c.ID, "has a delivery in hand", false)
			return
		}
		e.tell(id, dispatch.Left, "", c.ID)
		r.area = ""
	case rider.Move:
		r.at = c.Place()
	case rider.PickedUp, rider.Delivered, rider.Decline:
		if o == nil || o.RiderID != id || o.Status.Final() || o.Status == order.Delivered {
			e.verdict(rider.Stream, id, c.ID, "not yours", false)
			return
		}
		switch c.Type {
		case rider.PickedUp:
			if !o.cooked {
				e.ready(o, c.ID)
			}
			e.event(o, "picked_up", c.ID)
		case rider.Delivered:
			r.load--
			e.tell(id, dispatch.RiderDelivered, c.OrderID, c.ID)
			e.event(o, "delivered", c.ID)
		case rider.Decline:
			r.load--
			o.declined[id] = true
			e.tell(id, dispatch.RiderUnassigned, c.OrderID, c.ID)
			o.RiderID = ""
			e.event(o, order.RiderLost, c.ID)
			e.open = append(e.open, c.OrderID)
		}
	}
}

// watchOrders returns the newest status of each order, as the events since the beginning say.
func watchOrders(t *testing.T, brokers []string, cat *topics.Catalog) func() map[string]order.Status {
	t.Helper()
	c, err := Dial(t.Context(), cat, brokers, math.MaxInt32, cat.OrderEvents.Name())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	var once sync.Once
	all := make(map[string]order.Status)
	caughtUp, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Read(ctx, func(batch []*kgo.Record, live bool) {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range batch {
				if e, err := codecs.Decode[order.Event](r.Value); err == nil {
					all[e.OrderID] = e.Status
				}
			}
			if live {
				once.Do(func() { close(caughtUp) })
			}
		})
	}()
	t.Cleanup(func() { stop(); <-done; c.Close() })
	select {
	case <-caughtUp:
	case <-time.After(20 * time.Second):
		t.Fatal("the events so far were not read within 20 s")
	}
	return func() map[string]order.Status {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(all)
	}
}

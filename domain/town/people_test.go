package town_test

import (
	gocontext "context"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// Some are named like another, or like a part of what messages are named.
var (
	users    = []string{"u-1", "r-1"}
	stores   = []string{"s-1", "deadline"}
	foods    = []string{"bibimbap", "gimbap", "1"}
	areas    = []string{"a-1", "enter"}
	riderIDs = []string{"r-1", "assigned", "deadline"}
)

// oddOrders are names of orders that others have, too, or that are words of the engine's.
var oddOrders = []string{"deadline", "r-1", "assigned", "s-1", "reserved", "1", "order-commands", "approved", "undo", "주 문 %:", "leave"}

// said is a command of a person.
type said struct {
	topic, key, id, kind string
	answer               bool // a verdict on acceptance is asked for
	taken                bool // the id names another command of the same key
	digest               string
	data                 []byte
}

func (s *said) name() string { return fmt.Sprint(s.topic, " ", s.key, " ", s.id, " ", s.digest) }

// say sends a command. Most people want to be told what became of it.
func (w *town) say(topic, key, kind string, make func(domain.Meta, bool) any) {
	s := &said{topic: topic, key: key, kind: kind, id: fmt.Sprintf("c-%d", len(w.said)+1), answer: len(w.said)%5 != 4}
	meta := domain.Meta{Type: kind, ID: s.id}
	if len(w.said)%2 == 0 {
		meta.At = w.now
	}
	if other := w.recently(topic, key); w.careless && other != nil && w.upTo("under the id of another command", 3) == 3 {
		meta.ID, s.id, s.taken = other.id, other.id, true
	}
	s.data = encode(w, make(meta, s.answer))
	var err error
	s.digest, err = codecs.Digest(s.data)
	require.NoError(w, err)
	if s.taken && slices.ContainsFunc(w.said, func(o *said) bool { return o.name() == s.name() }) {
		return // it says the same: a repeat
	}
	w.said = append(w.said, s)
	w.publish(topic, key, s.data)
}

func (w *town) orderSays(id string, c order.Command) {
	w.say(orderCommands, id, c.Type, func(m domain.Meta, v bool) any {
		c.Meta, c.Verdict = m, v
		return &c
	})
}

func (w *town) storeSays(id string, c stock.Command) {
	w.say(storeCommands, id, c.Type, func(m domain.Meta, v bool) any {
		c.Meta, c.Verdict = m, v
		return &c
	})
}

func (w *town) riderSays(id string, c rider.Command) {
	w.say(riderCommands, id, c.Type, func(m domain.Meta, v bool) any {
		c.Meta, c.Verdict = m, v
		return &c
	})
}

// recently returns a command of a key that rows still remember.
func (w *town) recently(topic, key string) *said {
	var all []*said
	for _, s := range w.said[max(0, len(w.said)-12):] {
		if s.topic == topic && s.key == key && !s.taken {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1-w.upTo("whose id", min(len(all)-1, 3))]
}

// repeat is a client who had no answer in time. Rows remember the last commands.
func (w *town) repeat() {
	if n := len(w.said); n > 0 {
		s := w.said[n-1-w.upTo("repeated", min(n-1, 7))]
		w.publish(s.topic, s.key, s.data)
	}
}

func typed(kind string) domain.Meta { return domain.Meta{Type: kind} }

// Customers.

const mostOrders = 6

func (w *town) customerOrders() {
	if len(w.customers) == mostOrders {
		return
	}
	id := fmt.Sprintf("o-%d-%d", w.seed, len(w.customers)+1)
	if w.odd {
		id = oddOrders[(w.seed+len(w.customers))%len(oddOrders)]
	}
	user := w.pick("user", users)
	w.customers = append(w.customers, customer{order: id, user: user})
	c := order.Command{Meta: typed(order.Place), UserID: user, StoreID: w.pick("store", stores), Address: &order.Address{Lat: new(37.5), Lon: new(127.03)}}
	first := w.upTo("food", len(foods)-1)
	for i := range 1 + w.upTo("more foods", 1) {
		c.Lines = append(c.Lines, domain.Line{Product: foods[(first+i)%len(foods)], Quantity: 1 + w.upTo("more pieces", 2)})
	}
	if w.rarely("note") {
		c.Note, c.Phone = "ring twice", "+82 10-1234-5678"
	}
	if w.rarely("expects") {
		total := domain.Money(c.Lines[0].Quantity) * 1000
		c.ExpectedTotal = &total
	}
	w.orderSays(id, c)
}

func (w *town) anOrder() string {
	if len(w.customers) == 0 || w.rarely("stranger") {
		return "o-unknown"
	}
	return w.customers[w.upTo("order", len(w.customers)-1)].order
}

// anyOrderCommand says anything of any order, sensible or not.
func (w *town) anyOrderCommand() {
	id := w.anOrder()
	c := order.Command{Meta: typed(w.pick("command", order.CommandTypes)), UserID: w.pick("user", users), Reason: "because"}
	switch c.Type {
	case order.Place:
		c.StoreID, c.Address, c.Lines = stores[0], &order.Address{Lat: new(0.0), Lon: new(0.0)}, []domain.Line{{Product: foods[0], Quantity: 1}}
	case order.Cancel:
		c.By = order.Customer
	case order.Postpone:
		c.By = w.pick("later by", []string{"1m", "10m"})
	case order.RequestRefund:
		w.asksRefund(id, c.UserID)
		return
	}
	if w.rarely("of a version") {
		c.IfVersion = new(w.upTo("version", 5))
	}
	w.orderSays(id, c)
}

func (w *town) asksRefund(id, user string) {
	wish := []string{order.WishRefund, order.WishRedelivery}[w.upTo("wish", 1)]
	w.orderSays(id, order.Command{Meta: typed(order.RequestRefund), UserID: user, Reason: "cold", PhotoURL: "https://photos.example/1", Wish: wish})
}

// Everybody who can take an order on does so; refund says whether its customer
// is one who complains. It reports whether anybody could.
func (w *town) helpOrder(id string, refund bool) bool {
	o := one[order.Order](w.bus, "orders", id)
	if o == nil {
		return false
	}
	say := func(kind, reason string) bool {
		if !w.patient(id, kind, o.Version) {
			return false
		}
		w.orderSays(id, order.Command{Meta: typed(kind), Reason: reason})
		return true
	}
	switch {
	case o.Status == order.Paid:
		return say(order.Accept, "")
	case o.Status == order.AcceptedStatus && o.Reserved == o.Attempt:
		return say(order.StartCooking, "")
	case o.Status == order.Cooking:
		return say(order.FinishCooking, "")
	case o.Status == order.Delivered && refund && o.Wish == "" && w.patient(id, "refund"):
		w.asksRefund(id, o.UserID)
		return true
	case o.Status == order.Delivered:
		return say(order.Confirm, "")
	case o.Status == order.RefundRequested && len(o.Timeline)%4 != 0:
		return say(order.ApproveRefund, "")
	case o.Status == order.RefundRequested:
		return say(order.DenyRefund, "no")
	}
	return false
}

// patient reports whether somebody says a thing once more who has heard nothing.
func (w *town) patient(what ...any) bool {
	key := fmt.Sprint(what...)
	w.tries[key]++
	return w.tries[key] <= 2
}

// Stores.

func (w *town) register(store string, area string, auto bool) {
	w.storeSays(store, stock.Command{Meta: typed(stock.Register), Name: &store, Area: &area, Lat: new(37.5), Lon: new(127.03),
		AutoAccept: &auto, CookingTime: new(domain.Duration(10 * time.Minute))})
}

func (w *town) putProduct(store, food string) {
	w.storeSays(store, stock.Command{Meta: typed(stock.PutProduct), Product: food, Name: &food, Price: new(domain.Money(1000))})
}

func (w *town) addStock(store, food string, n int) {
	w.storeSays(store, stock.Command{Meta: typed(stock.AddStock), Product: food, Quantity: n})
}

func (w *town) anyStoreCommand() {
	store := w.pick("store", stores)
	food := w.pick("food", foods)
	kind := w.pick("store says", []string{stock.AddStock, stock.RemoveStock, stock.PutProduct, stock.Register, stock.Close, stock.Open})
	if w.rarely("another thing") {
		kind = w.pick("a store says", []string{stock.Update, stock.Unregister, stock.Slow, stock.Pause, stock.UpdateProduct, stock.RemoveProduct, stock.SoldOut})
	}
	until := w.now.Add(time.Duration(w.upTo("minutes", 20)) * time.Minute)
	switch kind {
	case stock.Update:
		w.storeSays(store, stock.Command{Meta: typed(kind), AutoAccept: new(w.upTo("auto", 1) == 1)})
	case stock.Slow, stock.Pause:
		w.storeSays(store, stock.Command{Meta: typed(kind), Until: until, By: new(domain.Duration(5 * time.Minute))})
	case stock.SoldOut:
		w.storeSays(store, stock.Command{Meta: typed(kind), Product: food, Until: until})
	case stock.Register:
		w.register(store, w.pick("area", areas), w.upTo("auto", 1) == 1)
	case stock.PutProduct, stock.UpdateProduct:
		w.storeSays(store, stock.Command{Meta: typed(kind), Product: food, Name: &food, Price: new(domain.Money(1000 + w.upTo("price", 2)))})
	default:
		c := stock.Command{Meta: typed(kind), Product: food, Quantity: 1 + w.upTo("quantity", 4)}
		if w.rarely("of a version") {
			c.IfVersion = new(w.upTo("version", 3))
		}
		w.storeSays(store, c)
	}
}

// Riders.

func (w *town) anyRiderCommand() {
	r := w.pick("rider", riderIDs)
	at := 37.5 + 0.01*float64(w.upTo("km", 5))
	lon := 127.03
	c := rider.Command{Meta: typed(w.pick("rider says", rider.CommandTypes)), Lat: &at, Lon: &lon, OrderID: w.anOrder()}
	if c.Type == rider.Online {
		c.Area, c.Capacity = w.pick("area", areas), new(1+w.upTo("capacity", 1))
	}
	if row := one[rider.Rider](w.bus, "riders", r); row != nil && len(row.Deliveries) > 0 && !w.rarely("of another order") {
		c.OrderID = row.Deliveries[0].OrderID
	}
	if w.rarely("of a version") {
		c.IfVersion = new(w.upTo("version", 3))
	}
	w.riderSays(r, c)
}

func (w *town) online(r, area string, capacity int) {
	lat, lon := 37.5, 127.03
	w.riderSays(r, rider.Command{Meta: typed(rider.Online), Area: area, Capacity: &capacity, Lat: &lat, Lon: &lon})
}

// helpRider lets a rider bring what he has, and fetch what he may.
func (w *town) helpRider(id string) bool {
	r := one[rider.Rider](w.bus, "riders", id)
	if r == nil || !r.On {
		return false
	}
	a := one[dispatch.Area](w.bus, "dispatch", r.Area)
	if a == nil {
		return false
	}
	for _, d := range a.Deliveries {
		kind := ""
		switch {
		case d.Rider() == id && d.State() == dispatch.StatePickedUp:
			kind = rider.Delivered
		case d.Rider() == id && (d.Ready || w.seed%2 == 0):
			kind = rider.PickedUp
		case d.State() == dispatch.StateOpen && w.plan.Mode != dispatch.Assign:
			kind = rider.Claim
		}
		if kind != "" && w.patient(id, kind, d.OrderID, d.Attempt) {
			w.riderSays(id, rider.Command{Meta: typed(kind), OrderID: d.OrderID})
			return true
		}
	}
	return false
}

// The clock.

// alarm is what a timer waits for.
type alarm struct {
	at   domain.Time
	ring func(lose bool)
}

// deadlines returns what orders wait for, in the order of their ids.
func (w *town) deadlines(forgotten bool) (alarms []alarm) {
	rows := all[order.Order](w.bus, "orders", true)
	for _, id := range keys(rows) {
		o := rows[id]
		d, ok := o.NextDeadline()
		if !ok || (o.Deadline.Then == order.Forgotten) != forgotten {
			continue
		}
		alarms = append(alarms, alarm{d.Due, func(lose bool) {
			if !lose {
				w.publish(ordersLoop, id, encode(w, &d))
			}
		}})
	}
	return alarms
}

// calls returns the calls to the gateway that are due sooner or later. A call is
// made beside the stream: its result may come late or, after a crash, never.
func (w *town) calls() (alarms []alarm) {
	rows := all[payment.Payment](w.bus, "payments", true)
	for _, id := range keys(rows) {
		at, call, ok := rows[id].Next()
		if !ok {
			continue
		}
		alarms = append(alarms, alarm{at, func(lose bool) {
			answer, reason, err := w.gateway.Call(gocontext.Background(), call)
			require.NoError(w, err)
			if !lose {
				r := payment.NewResult(call, answer, reason, w.now)
				w.results = append(w.results, r)
			}
		}})
	}
	return alarms
}

// result brings one of the gateway's answers that are under way.
func (w *town) result(i int) {
	r := w.results[i]
	w.results = slices.Delete(w.results, i, i+1)
	w.publish(paymentsLoop, r.OrderID, encode(w, &r))
}

func (w *town) ring(a alarm, lose bool) {
	w.now = max(w.now, a.at)
	a.ring(lose)
}

// Chance. The smallest draw is the calmest. Rapid's own ranges favour small
// numbers, which would be calm most of the time.

func (w *town) upTo(label string, n int) int { return even(n).Draw(w.T, label) }

var evens = map[int]*rapid.Generator[int]{}

func even(n int) *rapid.Generator[int] {
	if evens[n] == nil {
		evens[n] = rapid.Custom(func(t *rapid.T) (i int) {
			for range bits.Len(uint(n)) + 2 {
				i *= 2
				if coin.Draw(t, "") {
					i++
				}
			}
			return i % (n + 1)
		})
	}
	return evens[n]
}

var coin = rapid.Bool()

func (w *town) rarely(label string) bool { return w.upTo(label, 9) == 9 }

func (w *town) pick(label string, from []string) string { return from[w.upTo(label, len(from)-1)] }

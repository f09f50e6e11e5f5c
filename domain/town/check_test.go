package town_test

import (
	"fmt"
	"slices"
	"strings"

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

// book is what somebody knows who hears every stream.
type book struct {
	said     once                      // topic, key and id
	names    map[string]string         // what an id stands for, see checkName
	versions once                      // order and version
	events   map[string][]*order.Event // by order, each version once
	trips    map[string][]*dispatch.DeliveryEvent
	verdicts map[string]*domain.Verdict // by the names of commands
	messages once                       // of the message log, by id
	reserved map[string]bool            // order and attempt
	final    map[string]string
	second   int
	crossed  int // events that came before one of an older version: a crash lost that, and it is sent again
}

func newBook() book {
	return book{said: once{}, names: map[string]string{}, versions: once{}, events: map[string][]*order.Event{}, trips: map[string][]*dispatch.DeliveryEvent{},
		verdicts: map[string]*domain.Verdict{}, messages: once{}, reserved: map[string]bool{}, final: map[string]string{}}
}

// checkName: an id names one thing, for who reads the stream and for the row of
// each group. (Over all streams the deadline of the order "reserved" and what
// stock replies to the order "deadline" share one; no row hears of both.)
func (w *town) checkName(r *record) {
	name := r.topic + " " + r.id
	if key, known := w.book.names[name]; known {
		require.Equal(w, key, r.key, "%s names two things", name)
	}
	w.book.names[name] = r.key
	for _, g := range w.groups {
		for _, in := range g.lanes[0].inputs {
			if in.topic == r.topic {
				name := g.name + " " + r.key + " " + r.id
				if topic, known := w.book.names[name]; known {
					require.Equal(w, topic, r.topic, "%s names two things", name)
				}
				w.book.names[name] = r.topic
			}
		}
	}
}

// hear writes down what leaves: what is said again must be the same bytes.
func (w *town) hear(topic string, r *record) {
	switch topic {
	case ordersLoop, paymentsLoop: // a timer may ring for a row that a crash loses
		return
	}
	m := decode[domain.Meta](w, r.data)
	if !strings.Contains(m.ID, "/") {
		return // a client's, who may say anything under an id
	}
	w.checkName(r)
	if topic == verdicts {
		w.hearVerdict(r, m.ID)
		return
	}
	first := w.book.said.add(w, r.data, topic, " ", r.key, " ", m.ID)
	switch topic {
	case orderEvents:
		e := decode[order.Event](w, r.data)
		if w.book.versions.add(w, r.data, r.key, " version ", e.Version) {
			if e.Version != len(w.book.events[r.key])+1 {
				w.book.crossed++
			}
			w.book.events[r.key] = append(w.book.events[r.key], e)
		}
	case deliveryEvents:
		if first {
			e := decode[dispatch.DeliveryEvent](w, r.data)
			trip := r.key + " " + string(rune('0'+e.Attempt))
			w.book.trips[trip] = append(w.book.trips[trip], e)
		}
	case stockReplies:
		if a := decode[stock.Reply](w, r.data); a.Type == stock.Reserved {
			w.book.reserved[fmt.Sprint(r.key, " ", a.Attempt)] = true
		}
	case messageLog:
		w.book.messages.add(w, r.data, m.ID)
	}
}

// hearVerdict: a verdict stays the same, but for a refusal that is so old that
// its row may have forgotten it.
func (w *town) hearVerdict(r *record, id string) {
	v := decode[domain.Verdict](w, r.data)
	require.NoError(w, v.Validate())
	require.Equal(w, r.key, v.Key)
	name := fmt.Sprint(v.Stream, " ", v.Key, " ", v.CommandID, " ", v.Digest)
	if was := w.book.verdicts[name]; was != nil && was.Verdict == domain.Refused && v.At.Sub(was.At) > domain.RefusedFor {
		delete(w.book.said, fmt.Sprint(verdicts, " ", r.key, " ", id))
	}
	w.book.said.add(w, r.data, verdicts, " ", r.key, " ", id)
	w.book.verdicts[name] = v
}

func (w *town) check() {
	w.checkOrders()
	w.checkVerdicts()
	w.checkStock()
	w.checkMoney()
	w.checkTrips()
	w.checkRiders()
	w.checkProjections()
	w.checkMessages()
}

// ways are the statuses that follow one another, by the page on the life of an order.
var ways = map[order.Status][]order.Status{
	order.None:            {order.Placed},
	order.Placed:          {order.Paying, order.RefusedStatus, order.Cancelled},
	order.Paying:          {order.Paid, order.PaymentFailed, order.Cancelled},
	order.Paid:            {order.AcceptedStatus, order.Rejected, order.Cancelled},
	order.AcceptedStatus:  {order.Cooking, order.Cancelled, order.DeliveryFailed, order.Refunded},
	order.Cooking:         {order.Ready, order.DeliveryFailed, order.Refunded},
	order.Ready:           {order.Assigned, order.DeliveryFailed, order.Refunded},
	order.Assigned:        {order.PickedUp, order.Ready, order.DeliveryFailed, order.Refunded},
	order.PickedUp:        {order.Delivered},
	order.Delivered:       {order.Completed, order.RefundRequested},
	order.Completed:       {order.RefundRequested},
	order.RefundRequested: {order.RefundDenied, order.Refunded, order.AcceptedStatus},
}

func (w *town) checkOrders() {
	rows := all[order.Order](w.bus, "orders", false)
	for id, events := range w.book.events {
		o := rows[id]
		require.NotNil(w, o, "order %s has events and no row", id)
		require.Equal(w, o.Version, len(events), "an event of order %s was never sent", id)
		slices.SortFunc(events, func(a, b *order.Event) int { return a.Version - b.Version })
		was := order.None
		for i, e := range events {
			require.Equal(w, i+1, e.Version, "order %s has a gap", id)
			if e.Type != string(e.Status) {
				require.Equal(w, was, e.Status, "%s changed the status", e.Type)
				continue
			}
			require.Contains(w, ways[was], e.Status, "order %s became %s when it was %s", id, e.Status, was)
			require.False(w, e.Attempt > 1 && (e.Status == order.Cancelled || e.Status == order.DeliveryFailed), "the money of a second delivery that is %s", e.Status)
			was = e.Status
		}
		require.Equal(w, was, o.Status)
		require.True(w, was.Final(), "order %s stays %s", id, was)
		w.book.final[id] = string(was)
		if o.Attempt > 1 {
			w.book.second++
		}
	}
}

// checkVerdicts: every command has its one verdict, and of the commands of orders
// those and only those that were accepted caused something.
func (w *town) checkVerdicts() {
	causes := map[string]domain.Time{}
	for _, events := range w.book.events {
		for _, e := range events {
			causes[e.CauseID] = e.At
		}
	}
	for _, s := range w.said {
		v := w.book.verdicts[s.name()]
		switch {
		case s.taken:
			require.NotNil(w, v, "%s %s of %s has an id that is taken, and no verdict", s.kind, s.id, s.key)
			if !strings.Contains(v.Reason, "names another command") {
				require.True(w, w.wasFree(s, v.At), "%s %s of %s has an id that is taken: %s", s.kind, s.id, s.key, v.Reason)
			}
			continue
		case v == nil:
			require.False(w, s.answer, "%s %s of %s has no verdict", s.kind, s.id, s.key)
		case v.Verdict == domain.Accepted:
			require.True(w, s.answer, "%s %s has a verdict that nobody asked for", s.kind, s.id)
		}
		if s.topic == orderCommands {
			at, caused := causes[s.id]
			if caused && v != nil && v.Verdict == domain.Refused && at.Sub(v.At) > domain.RefusedFor {
				continue // its repeat was decided on anew, and nobody asked for a verdict
			}
			require.Equal(w, w.accepted(s), caused, "%s %s of %s caused something, or it was accepted", s.kind, s.id, s.key)
		}
	}
}

// wasFree reports whether the id of a command was free again: what it had named
// was refused so long ago that its row may have forgotten it.
func (w *town) wasFree(s *said, at domain.Time) bool {
	return slices.ContainsFunc(w.said, func(o *said) bool {
		v := w.book.verdicts[o.name()]
		return o != s && !o.taken && o.topic == s.topic && o.key == s.key && o.id == s.id &&
			v != nil && v.Verdict == domain.Refused && at.Sub(v.At) > domain.RefusedFor
	})
}

func (w *town) accepted(s *said) bool {
	v := w.book.verdicts[s.name()]
	return v == nil || v.Verdict == domain.Accepted
}

// cooked returns what was cooked per store and food. A rider who claims to have
// fetched a second delivery before the store has said whether it can make it
// takes the order on without goods: that is not counted.
func (w *town) cooked() map[[2]string]int {
	n := map[[2]string]int{}
	for _, events := range w.book.events {
		for _, e := range events {
			if e.Type == string(order.Cooking) && w.book.reserved[fmt.Sprint(e.OrderID, " ", e.Attempt)] {
				for _, l := range e.Lines {
					n[[2]string{e.StoreID, l.Product}] += l.Quantity
				}
			}
		}
	}
	return n
}

func (w *town) checkStock() {
	added, removed := map[[2]string]int{}, map[[2]string]int{}
	emptied := map[[2]string]bool{} // what was on hand was removed, however much that was
	for _, s := range w.said {
		if s.topic == storeCommands && w.accepted(s) {
			c := decode[stock.Command](w, s.data)
			switch c.Type {
			case stock.AddStock:
				added[[2]string{s.key, c.Product}] += c.Quantity
			case stock.RemoveStock:
				removed[[2]string{s.key, c.Product}] += c.Quantity
			case stock.RemoveProduct:
				emptied[[2]string{s.key, c.Product}] = true
			case stock.Unregister:
				for _, food := range foods {
					emptied[[2]string{s.key, food}] = true
				}
			}
		}
	}
	cooked := w.cooked()
	for id, s := range all[stock.Inventory](w.bus, "stock", false) {
		require.Empty(w, s.Reservations, "store %s", id)
		for _, p := range s.Products {
			at := [2]string{id, p.ID}
			require.Equal(w, added[at], p.Added, "added of %v", at)
			require.Equal(w, p.Added, p.OnHand+p.Sold+p.Removed, "counts of %v", at)
			if emptied[at] {
				require.LessOrEqual(w, removed[at], p.Removed, "removed of %v", at)
			} else {
				require.Equal(w, removed[at], p.Removed, "removed of %v", at)
			}
			require.Equal(w, cooked[at], p.Sold, "sold of %v", at)
			require.Zero(w, p.Reserved, "reserved of %v", at)
		}
	}
}

func (w *town) checkMoney() {
	done := map[string]payment.Entry{}
	for _, e := range w.gateway.Ledger() {
		require.Equal(w, 1, e.Attempt, "order %s is paid for again", e.OrderID)
		key := e.OrderID + " " + e.Kind
		require.NotContains(w, done, key)
		did := func(kind string) bool { return done[e.OrderID+" "+kind].Answer == payment.OK }
		switch e.Kind {
		case payment.Capture, payment.Void:
			require.True(w, did(payment.Authorize), "%s of what is not authorised", key)
		case payment.Refund:
			require.True(w, did(payment.Capture), "%s of what is not captured", key)
		}
		done[key] = e
	}
	for _, c := range w.customers {
		entry := func(kind string) bool { return done[c.order+" "+kind].Answer == payment.OK }
		was := map[string]bool{}
		var total domain.Money
		for _, e := range w.book.events[c.order] {
			was[e.Type] = true
			if e.Total != nil {
				total = *e.Total
			}
		}
		final := w.book.final[c.order]
		if entry(payment.Authorize) {
			require.Equal(w, total, done[c.order+" "+payment.Authorize].Amount, "amount of %s", c.order)
			require.NotEqual(w, entry(payment.Capture), entry(payment.Void), "the money of %s, which is %s, is captured or voided, one of both", c.order, final)
		}
		require.False(w, was[string(order.Paid)] && !entry(payment.Authorize), "%s is paid, and not authorised", c.order)
		require.Equal(w, was[string(order.Delivered)], entry(payment.Capture), "%s, which is %s, is captured if it was delivered", c.order, final)
		require.Equal(w, final == string(order.Refunded), entry(payment.Refund), "%s, which is %s, is refunded if that is said", c.order, final)
	}
	for id, p := range all[payment.Payment](w.bus, "payments", false) {
		require.True(w, p.Settled(), "the money of %s is not settled", id)
	}
}

// checkTrips: a delivery has one rider at a time, and one end.
func (w *town) checkTrips() {
	for trip, events := range w.book.trips {
		who, over, away := "", false, false
		gaveBack := map[string]bool{}
		for _, e := range events {
			require.False(w, over, "%s goes on after its end: %s", trip, e.Type)
			switch e.Type {
			case dispatch.Assigned:
				require.Empty(w, who, "%s is given to %s, too", trip, e.RiderID)
				require.False(w, gaveBack[e.RiderID], "%s is given to %s again", trip, e.RiderID)
				who = e.RiderID
			case dispatch.Unassigned:
				require.Equal(w, who, e.RiderID, trip)
				require.False(w, away, "%s is taken from who has picked it up", trip)
				gaveBack[who] = true
				who = ""
			case dispatch.PickedUp:
				require.Equal(w, who, e.RiderID, trip)
				away = true
			case dispatch.Delivered:
				require.Equal(w, who, e.RiderID, trip)
				require.True(w, away, "%s is delivered before it was fetched", trip)
				over = true
			case dispatch.Failed:
				require.False(w, away, "%s fails on its way", trip)
				over = true
			}
		}
		require.True(w, over, "%s never ends", trip)
	}
	for _, c := range w.customers {
		knows, cooked := [3]bool{}, [3]bool{}
		for _, e := range w.book.events[c.order] {
			cooked[e.Attempt] = cooked[e.Attempt] || e.Type == string(order.Cooking)
			if e.Type == string(order.Delivered) {
				knows[e.Attempt] = true
				trip := w.book.trips[c.order+" "+string(rune('0'+e.Attempt))]
				require.NotEmpty(w, trip)
				require.Equal(w, dispatch.Delivered, trip[len(trip)-1].Type)
				require.Equal(w, trip[len(trip)-1].RiderID, e.RiderID)
			}
		}
		for attempt := 1; attempt <= 2; attempt++ {
			// A rider who claims to have fetched what was never cooked may cross its cancellation.
			trip := w.book.trips[c.order+" "+string(rune('0'+attempt))]
			if len(trip) > 0 && trip[len(trip)-1].Type == dispatch.Delivered && cooked[attempt] {
				require.True(w, knows[attempt], "%s was delivered, and the order does not know it", c.order)
			}
		}
	}
}

// checkRiders: a rider and his area know the same of each other.
func (w *town) checkRiders() {
	delivered := map[string]int{}
	for _, events := range w.book.trips {
		for _, e := range events {
			if e.Type == dispatch.Delivered {
				delivered[e.RiderID]++
			}
		}
	}
	areas := all[dispatch.Area](w.bus, "dispatch", false)
	for id, a := range areas {
		require.Empty(w, a.Deliveries, "area %s", id)
	}
	for id, r := range all[rider.Rider](w.bus, "riders", false) {
		require.Nil(w, r.Wish, "rider %s waits", id)
		require.False(w, r.Asked, "rider %s waits", id)
		require.Empty(w, r.Deliveries, "rider %s", id)
		require.Equal(w, delivered[id], r.DeliveredCount, "rider %s", id)
		require.Equal(w, r.Area != "", r.On, "rider %s", id)
		for _, a := range areas {
			in := slices.IndexFunc(a.Riders, func(o *dispatch.Rider) bool { return o.ID == id })
			require.Equal(w, r.On && r.Area == a.ID, in >= 0, "rider %s in %s", id, a.ID)
			if in >= 0 {
				require.Equal(w, r.Shift, a.Riders[in].Shift)
			}
		}
	}
}

func (w *town) checkProjections() {
	type food struct{ store, product string }
	count, quantity := map[food]int64{}, map[food]int64{}
	for _, id := range keys(w.book.events) {
		paid, lost := false, false
		var last *order.Event
		for _, e := range w.book.events[id] {
			paid = paid || e.Type == string(order.Paid)
			lost = lost || slices.Contains([]string{"cancelled", "rejected", "delivery_failed", "refunded"}, e.Type)
			last = e
		}
		if !paid || lost {
			continue
		}
		for _, l := range last.Lines {
			count[food{last.StoreID, l.Product}]++
			quantity[food{last.StoreID, l.Product}] += int64(l.Quantity)
		}
	}
	for key, m := range all[projection.Model](w.bus, "projections", false) {
		store, product, is := m.Food()
		if !is {
			continue
		}
		f := food{store, product}
		require.Equal(w, count[f], m.Count, "orders of %s", key)
		require.Equal(w, quantity[f], m.Quantity, "pieces of %s", key)
		delete(count, f)
	}
	require.Empty(w, count, "foods without a row")
}

func (w *town) checkMessages() {
	n := 0
	for _, events := range w.book.events {
		for _, e := range events {
			for _, m := range notification.Of(e, notification.English) {
				require.Contains(w, w.book.messages, m.ID)
				n++
			}
		}
	}
	require.Len(w, w.book.messages, n)
}

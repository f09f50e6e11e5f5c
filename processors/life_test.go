package processors_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

// town is all groups on one bench, with everything that was ever sent.
type town struct {
	*bench
	sent []record
}

func newTown(t *testing.T) *town { return &town{bench: newBench(t, topics.Groups...)} }

func (w *town) say(topic, key, value string) {
	w.t.Helper()
	w.sent = append(w.sent, w.send(topic, key, value)...)
	w.sent = append(w.sent, w.ring()...)
}

func (w *town) order(value string) { w.t.Helper(); w.say(w.OrderCommands.Name(), "o-1", value) }
func (w *town) rider(value string) { w.t.Helper(); w.say(w.RiderCommands.Name(), "r-1", value) }

func (w *town) begin(autoAccept bool) {
	w.t.Helper()
	extra := ""
	if autoAccept {
		extra = `,"autoAccept":true`
	}
	w.store(extra)
	w.rider(`{"type":"online","id":"on","area":"a-1","lat":37.5,"lon":127,"verdict":true}`)
}

func (w *town) status(want order.Status) {
	w.t.Helper()
	o := row(w.bench, w.OrdersTable, "o-1")
	require.NotNil(w.t, o)
	require.Equal(w.t, want, o.Status)
}

func (w *town) types() (all []string) {
	for i, e := range only(w.bench, w.OrderEvents, w.sent) {
		require.Equal(w.t, i+1, e.Version)
		all = append(all, e.Type)
	}
	return all
}

func (w *town) stock() stock.Product {
	return row(w.bench, w.StockTable, "s-1").Products[0]
}

func (w *town) money() (all []string) {
	for _, e := range w.gateway.Ledger() {
		require.Equal(w.t, 1, e.Count, e.Key())
		all = append(all, e.Key())
	}
	return all
}

func (w *town) told(recipient string) (all []string) {
	for _, n := range only(w.bench, w.MessageLog, w.sent) {
		if n.Recipient == recipient {
			all = append(all, n.Type)
		}
	}
	return all
}

// verdicts is what commands were answered, by their ids.
func (w *town) verdicts() map[string]string {
	all := map[string]string{}
	for _, v := range only(w.bench, w.Verdicts, w.sent) {
		require.NotContains(w.t, all, v.CommandID, "one verdict for a command")
		all[v.CommandID] = v.Verdict
	}
	return all
}

func (w *town) model(key string) *projection.Model { return row(w.bench, w.ProjectionsTable, key) }

// sound holds at the end of every life.
func (w *town) sound() {
	w.t.Helper()
	for _, r := range w.sent {
		require.NotEqual(w.t, w.DeadLetters.Name(), r.topic, "%s: %s", r.value, r.headers["baedal-error"])
	}
	for _, p := range row(w.bench, w.StockTable, "s-1").Products {
		require.Equal(w.t, p.Added, p.OnHand+p.Sold+p.Removed)
	}
	require.Empty(w.t, row(w.bench, w.StockTable, "s-1").Reservations)
	require.Empty(w.t, row(w.bench, w.DispatchTable, "a-1").Deliveries)
	require.Empty(w.t, row(w.bench, w.RidersTable, "r-1").Deliveries)
}

func TestLife_Delivered(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	w.order(placeJSON("p", 2))
	w.status(order.Paid)
	require.Equal(t, []string{"o-1/authorize/1"}, w.money())
	require.Equal(t, 8, func() int { p := w.stock(); return p.Free() }())

	w.order(`{"type":"accept","id":"acc","verdict":true}`)
	require.Equal(t, []rider.InHand{{OrderID: "o-1", Attempt: 1}}, row(w.bench, w.RidersTable, "r-1").Deliveries)
	w.order(`{"type":"start_cooking","id":"cook"}`)
	require.Equal(t, []int{8, 2, 0}, func() []int { p := w.stock(); return []int{p.OnHand, p.Sold, p.Reserved} }())
	w.rider(`{"type":"offline","id":"off","verdict":true}`) // has a delivery in hand
	w.order(`{"type":"finish_cooking","id":"fin"}`)
	w.status(order.Assigned)
	w.rider(`{"type":"picked_up","id":"pick","orderId":"o-1","verdict":true}`)
	w.order(`{"type":"cancel","id":"late","by":"customer"}`)
	w.rider(`{"type":"delivered","id":"del","orderId":"o-1","verdict":true}`)
	require.Equal(t, []string{"o-1/authorize/1", "o-1/capture/1"}, w.money())
	w.order(`{"type":"confirm","id":"con","verdict":true}`)

	w.status(order.Completed)
	require.Equal(t, []string{"placed", "paying", "paid", "accepted", "rider_assigned", "cooking", "ready", "assigned", "picked_up",
		"delivered", "completed"}, w.types())
	require.Equal(t, map[string]string{"p": domain.Accepted, "acc": domain.Accepted, "on": domain.Accepted, "off": domain.Refused,
		"pick": domain.Accepted, "late": domain.Refused, "del": domain.Accepted, "con": domain.Accepted}, w.verdicts())
	require.Equal(t, "captured", row(w.bench, w.PaymentsTable, "o-1").Attempts[0].Status)
	r := row(w.bench, w.RidersTable, "r-1")
	require.Equal(t, rider.StateIdle, r.View(fitsAt).State)
	require.Equal(t, 1, r.DeliveredCount)
	food := w.model("s-1/bibimbap")
	require.Equal(t, []int64{1, 2}, []int64{food.Count, food.Quantity})
	require.Equal(t, []string{"placed", "paid", "accepted", "rider_assigned", "cooking", "assigned", "picked_up", "delivered"}, w.told("u-1"))
	require.Equal(t, []string{"paid", "rider_assigned", "picked_up"}, w.told("s-1"))
	require.Equal(t, []string{"rider_assigned", "assigned", "delivered"}, w.told("r-1"))
	require.Len(t, only(w.bench, w.MessageLog, w.sent), len(only(w.bench, w.Notifications, w.sent)))
	w.sound()

	w.pass(73 * time.Hour)
	w.sent = append(w.sent, w.ring()...)
	require.Nil(t, row(w.bench, w.OrdersTable, "o-1"))
}

// A store that accepts by itself: the clock alone brings the food to be ready.
func TestLife_ByItself(t *testing.T) {
	w := newTown(t)
	w.begin(true)
	w.order(placeJSON("p", 1))
	w.status(order.Cooking)
	w.pass(10 * time.Minute)
	w.sent = append(w.sent, w.ring()...)
	w.status(order.Assigned)
	w.rider(`{"type":"picked_up","orderId":"o-1"}`)
	w.rider(`{"type":"delivered","orderId":"o-1"}`)
	w.pass(2 * time.Hour)
	w.sent = append(w.sent, w.ring()...)
	w.status(order.Completed)
	w.sound()
}

// Cancelled with a rider on the way: goods, money and rider are free again.
func TestLife_Cancelled(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	w.order(placeJSON("p", 2))
	w.order(`{"type":"accept","id":"acc"}`)
	require.Equal(t, []rider.InHand{{OrderID: "o-1", Attempt: 1}}, row(w.bench, w.RidersTable, "r-1").Deliveries)
	w.order(`{"type":"cancel","id":"can","by":"customer","reason":"changed my mind","verdict":true}`)

	w.status(order.Cancelled)
	require.Equal(t, []string{"placed", "paying", "paid", "accepted", "rider_assigned", "cancelled"}, w.types())
	require.Equal(t, domain.Accepted, w.verdicts()["can"])
	p := w.stock()
	require.Equal(t, []int{10, 0, 0}, []int{p.OnHand, p.Reserved, p.Sold})
	require.Equal(t, []string{"o-1/authorize/1", "o-1/void/1"}, w.money())
	require.Equal(t, "voided", row(w.bench, w.PaymentsTable, "o-1").Attempts[0].Status)
	require.Equal(t, rider.StateIdle, row(w.bench, w.RidersTable, "r-1").View(fitsAt).State)
	require.Zero(t, row(w.bench, w.RidersTable, "r-1").DeliveredCount)
	require.Equal(t, []string{"rider_assigned", "cancelled"}, w.told("r-1"))
	w.sound()

	// The rider is free for another order.
	w.say(w.OrderCommands.Name(), "o-2", placeJSON("p2", 1))
	w.say(w.OrderCommands.Name(), "o-2", `{"type":"accept","id":"acc2"}`)
	require.Equal(t, []rider.InHand{{OrderID: "o-2", Attempt: 1}}, row(w.bench, w.RidersTable, "r-1").Deliveries)
}

// Nobody can pay it.
func TestLife_Declined(t *testing.T) {
	w := newTown(t)
	w.gateway.DeclineOver = 10_000
	w.begin(false)
	w.order(placeJSON("p", 2))
	w.status(order.PaymentFailed)
	p := w.stock()
	require.Equal(t, []int{10, 0, 0}, []int{p.OnHand, p.Reserved, p.Sold})
	require.Nil(t, w.model("s-1/bibimbap"))
	require.Equal(t, []string{"placed", "payment_failed"}, w.told("u-1"))
}

// Complained about and brought again: cooked anew, not paid again, and open in the store until the second one is over.
func TestLife_Redelivered(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	deliver := func() {
		w.order(`{"type":"start_cooking"}`)
		w.order(`{"type":"finish_cooking"}`)
		w.rider(`{"type":"picked_up","orderId":"o-1"}`)
		w.rider(`{"type":"delivered","orderId":"o-1"}`)
		w.order(`{"type":"confirm"}`)
	}
	w.order(placeJSON("p", 2))
	w.order(`{"type":"accept","id":"acc"}`)
	deliver()
	w.status(order.Completed)

	w.order(`{"type":"request_refund","id":"ref","userId":"u-1","reason":"cold","photoUrl":"https://x/y.jpg","wish":"redelivery","verdict":true}`)
	w.status(order.RefundRequested)
	w.order(`{"type":"approve_refund","id":"app"}`)
	w.status(order.AcceptedStatus)
	deliver()
	w.status(order.Completed)
	p := w.stock()
	require.Equal(t, []int{6, 0, 4}, []int{p.OnHand, p.Reserved, p.Sold})
	require.Equal(t, []string{"o-1/authorize/1", "o-1/capture/1"}, w.money())
	require.Equal(t, 2, row(w.bench, w.RidersTable, "r-1").DeliveredCount)
	require.Equal(t, int64(1), w.model("s-1/bibimbap").Count)
	w.sound()
}

// All that was ever sent comes once more, oldest first, as after a crash of everything: no row of orders, stock, payments,
// riders or areas changes, and no notification is new.
func TestLife_EverythingTwice(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	w.order(placeJSON("p", 2))
	w.order(`{"type":"accept","id":"acc"}`)
	w.order(`{"type":"start_cooking","id":"cook"}`)
	w.order(`{"type":"finish_cooking","id":"fin"}`)
	w.rider(`{"type":"picked_up","id":"pick","orderId":"o-1"}`)
	w.rider(`{"type":"delivered","id":"del","orderId":"o-1"}`)
	w.order(`{"type":"confirm","id":"con"}`)
	w.sound()

	said := map[string]notification.Notification{}
	for _, n := range only(w.bench, w.MessageLog, w.sent) {
		said[n.ID] = n
	}
	before, money := w.rows(), w.money()
	for _, r := range w.sent {
		if r.value == "" || r.topic == w.DeadLetters.Name() || r.topic == w.Verdicts.Name() || r.topic == w.MessageLog.Name() {
			continue
		}
		w.pass(time.Millisecond)
		for _, again := range w.send(r.topic, r.key, r.value) {
			if again.topic == w.MessageLog.Name() {
				n, err := codecs.Decode[notification.Notification]([]byte(again.value))
				require.NoError(t, err)
				require.Equal(t, said[n.ID], *n)
			}
		}
		require.Empty(t, w.ring())
	}
	require.Equal(t, money, w.money())
	after := w.rows()
	require.Equal(t, before, after)
}

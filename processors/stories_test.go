package processors_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

func TestStock(t *testing.T) {
	b := newBench(t, topics.Stock)
	in := b.StoreCommands.Name()
	reserve := func(orderID string, quantity int) string {
		return fmt.Sprintf(`{"type":"reserve","id":"%s/reserve/1","orderId":%q,"attempt":1,"lines":[{"product":"bibimbap","quantity":%d}]}`, orderID, orderID, quantity)
	}

	t.Run("Unregistered", func(t *testing.T) {
		open := `{"type":"open","id":"early"}`
		out := b.once(in, "s-1", open)
		require.Equal(t, []string{"verdicts s-1"}, b.toTopics(out))
		require.Equal(t, []domain.Verdict{domain.NewVerdict("store-commands", "s-1", nameOf(t, "early", open), domain.Refuse(domain.CodeUnknown, `store "s-1" is not registered: register it first`), 0, domain.At(b.clock)-1000)},
			only(b, b.Verdicts, out))
		out = b.once(in, "s-1", reserve("o-early", 1))
		require.Equal(t, stock.UnknownStore, only(b, b.StockReplies, out)[0].Reason)
	})
	t.Run("Settings", func(t *testing.T) {
		b.store("")
		out := b.once(in, "s-1", `{"type":"add_stock","id":"more","product":"bibimbap","quantity":5,"verdict":true}`)
		require.Equal(t, "accepted", only(b, b.Verdicts, out)[0].Verdict)
		require.Equal(t, []stock.Level{{Product: "bibimbap", Name: "Bibimbap", Price: 9000, OnHand: 15, Available: 15, Version: 4}}, row(b, b.StockTable, "s-1").Levels(domain.At(b.clock)))
		out = b.once(in, "s-1", `{"type":"remove_stock","id":"less","product":"bibimbap","quantity":16}`)
		require.Contains(t, only(b, b.Verdicts, out)[0].Reason, "remove 15 or less")
	})
	t.Run("Reserve", func(t *testing.T) {
		out := b.once(in, "s-1", reserve("o-1", 4))
		require.Equal(t, []string{"stock-replies o-1"}, b.toTopics(out))
		reply := only(b, b.StockReplies, out)[0]
		require.Equal(t, []domain.Line{{Product: "bibimbap", Quantity: 4, Name: "Bibimbap", Price: new(domain.Money(9000))}}, reply.Lines)
		require.Equal(t, domain.Money(36000), *reply.Total)
		require.Equal(t, "a-1", reply.Store.Area)
		out = b.once(in, "s-1", reserve("o-2", 12))
		require.Equal(t, []domain.Shortage{{Product: "bibimbap", Wanted: 12, Available: 11}}, only(b, b.StockReplies, out)[0].Short)
	})
	t.Run("SoldOutAndPaused", func(t *testing.T) {
		b.once(in, "s-1", `{"type":"sold_out","id":"none","product":"bibimbap","until":"2100-01-01T00:00:00Z"}`)
		out := b.once(in, "s-1", reserve("o-sold-out", 1))
		require.Equal(t, []domain.Shortage{{Product: "bibimbap", Wanted: 1, Available: 0}}, only(b, b.StockReplies, out)[0].Short)
		b.once(in, "s-1", `{"type":"sold_out","id":"some","product":"bibimbap","until":"2000-01-01T00:00:00Z"}`)
		b.once(in, "s-1", `{"type":"pause","id":"pause","until":"2100-01-01T00:00:00Z"}`)
		out = b.once(in, "s-1", reserve("o-paused", 1))
		require.Equal(t, []any{stock.Closed, "2100-01-01T00:00:00.000Z"}, []any{only(b, b.StockReplies, out)[0].Reason, only(b, b.StockReplies, out)[0].Until.String()})
		out = b.once(in, "s-1", `{"type":"open","id":"opens","ifVersion":6,"verdict":true}`)
		require.Equal(t, domain.CodeVersion, only(b, b.Verdicts, out)[0].Code)
		out = b.once(in, "s-1", `{"type":"open","id":"opens-now","ifVersion":7,"verdict":true}`)
		require.Equal(t, 8, only(b, b.Verdicts, out)[0].Version)
	})
	t.Run("Ends", func(t *testing.T) {
		require.Empty(t, b.once(in, "s-1", `{"type":"commit","id":"o-1/commit/1","orderId":"o-1","attempt":1}`))
		require.Equal(t, 11, row(b, b.StockTable, "s-1").Levels(domain.At(b.clock))[0].OnHand)
		b.once(in, "s-1", reserve("o-3", 1))
		require.Empty(t, b.once(in, "s-1", `{"type":"release","id":"o-3/release/1","orderId":"o-3","attempt":1}`))
		require.Equal(t, 11, row(b, b.StockTable, "s-1").Levels(domain.At(b.clock))[0].Available)
	})
	t.Run("WithoutID", func(t *testing.T) {
		add := `{"type":"add_stock","product":"bibimbap","quantity":1,"verdict":true}`
		first, second := b.send(in, "s-1", add), b.send(in, "s-1", add)
		require.Equal(t, 13, row(b, b.StockTable, "s-1").Levels(domain.At(b.clock))[0].OnHand, "two records are two commands")
		ids := []string{only(b, b.Verdicts, first)[0].CommandID, only(b, b.Verdicts, second)[0].CommandID}
		require.Regexp(t, `^t\.store-commands/0/\d+$`, ids[0])
		require.NotEqual(t, ids[0], ids[1])
	})
}

// nameOf returns what a command is known again by.
func nameOf(t *testing.T, id, command string) domain.Name {
	t.Helper()
	digest, err := codecs.Digest([]byte(command))
	require.NoError(t, err)
	return domain.NameOf(id, digest, "", "")
}

func TestPayments(t *testing.T) {
	b := newBench(t, topics.Payments)
	b.gateway.DeclineOver = 50_000
	in := b.PaymentRequests.Name()
	request := func(kind, orderID string, amount int) string {
		return fmt.Sprintf(`{"type":%q,"id":"%s/%s/1","orderId":%q,"attempt":1,"userId":"u-1","amount":%d}`, kind, orderID, kind, orderID, amount)
	}
	said := func(out []record) (all []string) {
		for _, r := range only(b, b.PaymentReplies, out) {
			require.Equal(t, fmt.Sprintf("%s/%s/1", r.OrderID, r.Type), r.ID)
			all = append(all, r.OrderID+" "+r.Type)
		}
		return all
	}

	require.Empty(t, b.once(in, "o-1", request("authorize", "o-1", 36_000)), "the gateway has not answered")
	require.Equal(t, []string{"o-1 approved"}, said(b.ring()))
	require.Equal(t, []string{"o-1 approved"}, said(b.once(in, "o-1", request("authorize", "o-1", 36_000))))
	b.send(in, "o-1", request("capture", "o-1", 0))
	require.Equal(t, []string{"o-1 captured"}, said(b.ring()))
	b.send(in, "o-1", request("refund", "o-1", 0))
	require.Equal(t, []string{"o-1 refunded"}, said(b.ring()))
	require.Equal(t, []string{"o-1 refunded"}, said(b.once(in, "o-1", request("refund", "o-1", 0))))

	b.send(in, "o-2", request("authorize", "o-2", 50_001))
	require.Equal(t, []string{"o-2 declined"}, said(b.ring()))

	require.Equal(t, []string{"o-3 voided"}, said(b.once(in, "o-3", request("void", "o-3", 0))), "before it was authorised")
	require.Equal(t, []string{"o-3 voided"}, said(b.once(in, "o-3", request("void", "o-3", 0))))
	require.Empty(t, b.ring())
	b.pass(payment.DefaultSettings().Keep)
	b.ring()
	require.Empty(t, b.rows(), "forgotten once nobody asks for it any more")

	var done []string
	for _, e := range b.gateway.Ledger() {
		require.Equal(t, 1, e.Count)
		done = append(done, e.Key()+" "+e.Answer)
	}
	require.Equal(t, []string{"o-1/authorize/1 ok", "o-1/capture/1 ok", "o-1/refund/1 ok", "o-2/authorize/1 denied"}, done)
}

// A result that comes again is told again and changes nothing.
func TestPayments_ResultTwice(t *testing.T) {
	b := newBench(t, topics.Payments)
	b.send(b.PaymentRequests.Name(), "o-1", `{"type":"authorize","id":"o-1/authorize/1","orderId":"o-1","attempt":1,"userId":"u-1","amount":5}`)
	out := b.once(b.PaymentsLoop.Name(), "o-1", `{"type":"result","id":"o-1/authorize/1/1/result","orderId":"o-1","kind":"authorize","attempt":1,"try":1,"answer":"ok"}`)
	require.Equal(t, payment.Approved, only(b, b.PaymentReplies, out)[0].Type)
}

func TestRiders(t *testing.T) {
	b := newBench(t, topics.Riders)
	in := b.RiderCommands.Name()
	out := b.once(in, "r-1", `{"type":"claim","id":"c-0","orderId":"o-1"}`)
	require.Equal(t, domain.CodeUnknown, only(b, b.Verdicts, out)[0].Code)

	out = b.once(in, "r-1", `{"type":"online","id":"on","area":"a-1","lat":37.5,"lon":127,"verdict":true}`)
	require.Equal(t, []string{"dispatch-commands a-1"}, b.toTopics(out))
	enter := only(b, b.DispatchCommands, out)[0]
	require.Equal(t, dispatch.Enter, enter.Type)
	require.Equal(t, "r-1/enter/1", enter.ID)

	out = b.once(b.RiderEvents.Name(), "r-1", `{"type":"entered","id":"r-1/entered/1","area":"a-1","riderId":"r-1","shift":1}`)
	require.Equal(t, []string{"verdicts r-1"}, b.toTopics(out))
	require.Equal(t, "on", only(b, b.Verdicts, out)[0].CommandID)

	require.Empty(t, b.once(in, "r-1", `{"type":"move","id":"m-1","lat":37.5005,"lon":127}`), "not far")
	out = b.once(in, "r-1", `{"type":"move","id":"m-2","lat":37.51,"lon":127}`)
	require.Equal(t, dispatch.Move, only(b, b.DispatchCommands, out)[0].Type)
	out = b.once(in, "r-1", `{"type":"move","id":"m-3","lat":37.51,"lon":127,"verdict":true}`)
	require.Equal(t, []any{"m-3", row(b, b.RidersTable, "r-1").Version}, []any{only(b, b.Verdicts, out)[0].CommandID, only(b, b.Verdicts, out)[0].Version})
	out = b.once(in, "r-1", `{"type":"offline","id":"off","ifVersion":1}`)
	require.Equal(t, domain.CodeVersion, only(b, b.Verdicts, out)[0].Code)

	out = b.once(in, "r-1", `{"type":"picked_up","id":"p-1","orderId":"o-1"}`)
	require.Equal(t, []string{"dispatch-commands a-1"}, b.toTopics(out))
	require.Equal(t, "p-1", only(b, b.DispatchCommands, out)[0].CommandID)

	require.Empty(t, b.once(b.RiderEvents.Name(), "r-1", `{"type":"assigned","id":"r-1/o-1/assigned/1/1","area":"a-1","riderId":"r-1","orderId":"o-1","attempt":1}`))
	require.Equal(t, []rider.InHand{{OrderID: "o-1", Attempt: 1}}, row(b, b.RidersTable, "r-1").Deliveries)

	// Another area: this one is left first, and entered once it has let him go.
	out = b.once(in, "r-1", `{"type":"online","id":"on-2","area":"a-2","lat":37.6,"lon":127}`)
	require.Equal(t, []string{"dispatch-commands a-1"}, b.toTopics(out))
	leave := only(b, b.DispatchCommands, out)[0]
	require.Equal(t, dispatch.Leave, leave.Type)
	out = b.once(b.RiderEvents.Name(), "r-1", `{"type":"left","id":"r-1/left/1","area":"a-1","riderId":"r-1","shift":1}`)
	require.Equal(t, []string{"dispatch-commands a-2"}, b.toTopics(out))
}

func TestDispatch(t *testing.T) {
	b := newBench(t, topics.Dispatch)
	in := b.DispatchCommands.Name()
	const place = `"place":{"lat":37.5,"lon":127}`
	events := func(out []record) (all []string) {
		for _, e := range only(b, b.DeliveryEvents, out) {
			all = append(all, e.OrderID+" "+e.Type+" "+e.RiderID)
		}
		return all
	}

	require.Empty(t, b.once(in, "a-1", `{"type":"request","id":"o-1/request/1","orderId":"o-1","attempt":1,"pickup":{"lat":37.5,"lon":127},"drop":{"lat":37.51,"lon":127}}`))
	out := b.once(in, "a-1", `{"type":"enter","id":"r-1/enter/1","riderId":"r-1","shift":1,"capacity":1,`+place+`}`)
	require.Equal(t, []string{"o-1 assigned r-1"}, events(out))
	require.ElementsMatch(t, []string{"delivery-events o-1", "rider-events r-1", "rider-events r-1"}, b.toTopics(out))

	out = b.once(in, "a-1", `{"type":"leave","id":"r-1/leave/1/1","riderId":"r-1","shift":1}`)
	require.Equal(t, dispatch.Stays, only(b, b.RiderEvents, out)[0].Type)
	out = b.once(in, "a-1", `{"type":"claim","id":"r-2/claim/m/c","riderId":"r-2","orderId":"o-1","commandId":"c","mark":"m"}`)
	require.Equal(t, []string{"verdicts r-2"}, b.toTopics(out))
	require.Equal(t, []any{domain.Refused, domain.CodeStatus}, []any{only(b, b.Verdicts, out)[0].Verdict, only(b, b.Verdicts, out)[0].Code})

	out = b.once(in, "a-1", `{"type":"picked_up","id":"r-1/picked_up/m/p","riderId":"r-1","orderId":"o-1","commandId":"p","mark":"m","verdict":true}`)
	require.Equal(t, []string{"o-1 picked_up r-1"}, events(out))
	require.Equal(t, []any{"p", row(b, b.DispatchTable, "a-1").Version}, []any{only(b, b.Verdicts, out)[0].CommandID, only(b, b.Verdicts, out)[0].Version})
	out = b.once(in, "a-1", `{"type":"delivered","id":"r-1/delivered/m/d","riderId":"r-1","orderId":"o-1","commandId":"d","mark":"m"}`)
	require.Equal(t, []string{"o-1 delivered r-1"}, events(out))
	require.True(t, *only(b, b.DeliveryEvents, out)[0].Success)

	out = b.once(in, "a-1", `{"type":"withdraw","id":"o-2/withdraw/1","orderId":"o-2","attempt":1}`)
	require.Equal(t, []string{"o-2 failed "}, events(out))
	require.Equal(t, dispatch.Withdrawn, only(b, b.DeliveryEvents, out)[0].Reason)
	out = b.send(in, "a-1", `{"type":"leave","id":"r-1/leave/1/2","riderId":"r-1","shift":1}`)
	require.Equal(t, dispatch.Left, only(b, b.RiderEvents, out)[0].Type)
}

// An order among the messages of the others, each of which comes twice.
func TestOrders(t *testing.T) {
	b := newBench(t, topics.Orders)
	events := func(out []record) (all []string) {
		for _, e := range only(b, b.OrderEvents, out) {
			all = append(all, fmt.Sprintf("%d %s", e.Version, e.Type))
		}
		return all
	}
	in := b.OrderCommands.Name()

	out := b.once(in, "o-1", placeJSON("p", 2))
	require.Equal(t, []string{"verdicts o-1", "order-events o-1", "store-commands s-1"}, sorted(b.toTopics(out), "verdicts", "order-events", "store-commands"))
	require.Equal(t, "o-1/reserve/1", only(b, b.StoreCommands, out)[0].ID)

	out = b.once(b.StockReplies.Name(), "o-1", `{"type":"reserved","id":"o-1/reserved/1","orderId":"o-1","storeId":"s-1","attempt":1,"total":18000,
		"lines":[{"product":"bibimbap","quantity":2,"name":"Bibimbap","price":9000}],"store":{"name":"Kim's","area":"a-1","lat":37.5,"lon":127,"cookingTime":"10m"}}`)
	require.Equal(t, []string{"2 paying"}, events(out))
	require.Equal(t, domain.Money(18000), *only(b, b.PaymentRequests, out)[0].Amount)

	out = b.once(b.PaymentReplies.Name(), "o-1", `{"type":"approved","id":"o-1/approved/1","orderId":"o-1","attempt":1}`)
	require.Equal(t, []string{"3 paid"}, events(out))

	out = b.once(in, "o-1", `{"type":"start_cooking","id":"early"}`)
	require.Contains(t, only(b, b.Verdicts, out)[0].Reason, "order \"o-1\" is paid")
	out = b.once(in, "o-1", `{"type":"accept","id":"acc"}`)
	require.Equal(t, []string{"4 accepted"}, events(out))
	require.Equal(t, []string{"order-events o-1", "dispatch-commands a-1"}, sorted(b.toTopics(out), "order-events", "dispatch-commands"))

	out = b.once(b.DeliveryEvents.Name(), "o-1", `{"type":"assigned","id":"o-1/assigned/1/1","orderId":"o-1","attempt":1,"area":"a-1","riderId":"r-1"}`)
	require.Equal(t, []string{"5 rider_assigned"}, events(out))
	out = b.once(in, "o-1", `{"type":"start_cooking","id":"cook"}`)
	require.Equal(t, stock.Commit, only(b, b.StoreCommands, out)[0].Type)
	require.Equal(t, []string{"7 ready", "8 assigned"}, events(b.once(in, "o-1", `{"type":"finish_cooking","id":"fin"}`)))
	out = b.once(in, "o-1", `{"type":"cancel","id":"can","by":"customer"}`)
	require.Contains(t, only(b, b.Verdicts, out)[0].Reason, "until cooking starts")

	require.Equal(t, []string{"9 picked_up"}, events(b.once(b.DeliveryEvents.Name(), "o-1", `{"type":"picked_up","id":"o-1/picked_up/1","orderId":"o-1","attempt":1,"area":"a-1","riderId":"r-1"}`)))
	out = b.once(b.DeliveryEvents.Name(), "o-1", `{"type":"delivered","id":"o-1/delivered/1","orderId":"o-1","attempt":1,"area":"a-1","riderId":"r-1","success":true}`)
	require.Equal(t, payment.Capture, only(b, b.PaymentRequests, out)[0].Type)
	require.Equal(t, []string{"11 completed"}, events(b.once(in, "o-1", `{"type":"confirm","id":"con"}`)))

	before := b.rows()
	require.Empty(t, b.ring(), "nothing is due yet")
	require.Equal(t, before, b.rows())
	b.pass(73 * time.Hour)
	b.ring()
	require.Empty(t, b.rows(), "a final order is forgotten after its time")
}

// A verdict says what kind of refusal it is, and the version of the order that
// decided: a repeat the same, however the order went on meanwhile.
func TestOrders_Verdicts(t *testing.T) {
	b := newBench(t, topics.Orders)
	in := b.OrderCommands.Name()
	verdict := func(command string) string {
		v := only(b, b.Verdicts, b.once(in, "o-1", command))[0]
		return fmt.Sprintf("%s %s %d", v.Verdict, v.Code, v.Version)
	}
	commands := []string{
		`{"type":"confirm","id":"unknown","verdict":true}`,
		`{"type":"place","id":"third","ifVersion":3,"userId":"u-1","storeId":"s-1","lines":[{"product":"p","quantity":1}],"address":{"lat":1,"lon":2},"verdict":true}`,
		placeJSON("p", 2),
		`{"type":"confirm","id":"early","verdict":true}`,
		`{"type":"cancel","id":"other","ifVersion":0,"verdict":true}`,
		`{"type":"confirm","id":"p","verdict":true}`,
		`{"type":"cancel","id":"now","ifVersion":1,"verdict":true}`,
		`{"type":"cancel","id":"again","ifVersion":2,"verdict":true}`,
	}
	var said []string
	for _, c := range commands {
		said = append(said, verdict(c))
	}
	require.Equal(t, []string{"refused unknown 0", "refused version 0", "accepted  1", "refused status 1", "refused version 1", "refused reused 1", "accepted  2", "refused status 2"}, said)
	b.pass(59 * time.Minute)
	for i, c := range commands {
		require.Equal(t, said[i], verdict(c), c)
	}
}

// A store that needs longer says so: its area and the customer are told.
func TestOrders_Postponed(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	w.order(`{"type":"place","id":"p","userId":"u-1","storeId":"s-1","lines":[{"product":"bibimbap","quantity":2}],"address":{"text":"Home","lat":37.51,"lon":127.04},"note":"ring twice","phone":"010-1234-5678"}`)
	w.rider(`{"type":"offline","id":"off"}`)
	w.order(`{"type":"accept","id":"acc","cookingTime":"10m"}`)
	readyAt := row(w.bench, w.OrdersTable, "o-1").ReadyAt
	w.order(`{"type":"postpone","id":"later","by":"20m","verdict":true}`)
	o := row(w.bench, w.OrdersTable, "o-1")
	require.Equal(t, readyAt.Add(20*time.Minute), o.ReadyAt)
	require.Equal(t, []string{"ring twice", "010-1234-5678", "Home"}, []string{o.Note, o.Phone, o.Address.Text})
	require.Equal(t, dispatch.Millis(o.ReadyAt), row(w.bench, w.DispatchTable, "a-1").Deliveries[0].ReadyAt)
	w.rider(`{"type":"online","id":"on again","area":"a-1","lat":37.5,"lon":127}`)
	assigned := only(w.bench, w.DeliveryEvents, w.sent)[0]
	require.Equal(t, o.ReadyAt, assigned.EtaPickup, "the rider is not expected before the food")
	require.Contains(t, w.told("u-1"), "rescheduled")
	require.Equal(t, "accepted", w.verdicts()["later"])
}

// The clock's message comes twice too.
func TestOrders_Deadline(t *testing.T) {
	b := newBench(t, topics.Orders)
	b.send(b.OrderCommands.Name(), "o-1", placeJSON("p", 2))
	b.send(b.StockReplies.Name(), "o-1", `{"type":"reserved","id":"o-1/reserved/1","orderId":"o-1","storeId":"s-1","attempt":1,"total":18000,
		"lines":[{"product":"bibimbap","quantity":2,"name":"Bibimbap","price":9000}],"store":{"name":"Kim's","area":"a-1"}}`)
	d, ok := row(b, b.OrdersTable, "o-1").NextDeadline()
	require.True(t, ok)
	require.Equal(t, "deadline/o-1/2", d.ID)
	data, err := b.OrdersLoop.Encode(&d)
	require.NoError(t, err)
	b.pass(5 * time.Minute)
	out := b.once(b.OrdersLoop.Name(), "o-1", string(data))
	require.Equal(t, string(order.PaymentFailed), only(b, b.OrderEvents, out)[0].Type)
	require.Equal(t, stock.Release, only(b, b.StoreCommands, out)[0].Type)
	require.Equal(t, payment.Void, only(b, b.PaymentRequests, out)[0].Type)
}

// A client that names its commands by nothing: the record's coordinates do.
func TestOrders_WithoutID(t *testing.T) {
	b := newBench(t, topics.Orders)
	out := b.send(b.OrderCommands.Name(), "o-1", placeJSON("", 1))
	require.Equal(t, "t.order-commands/0/0", only(b, b.OrderEvents, out)[0].CauseID)
	require.Equal(t, "t.order-commands/0/0", only(b, b.Verdicts, out)[0].CommandID)
	out = b.send(b.OrderCommands.Name(), "o-1", placeJSON("", 1))
	require.Equal(t, []string{"verdicts o-1"}, b.toTopics(out))
	v := only(b, b.Verdicts, out)[0]
	require.Equal(t, []string{"t.order-commands/0/1", domain.Refused}, []string{v.CommandID, v.Verdict})
}

func TestNotifierAndMessenger(t *testing.T) {
	event := `{"type":"rider_assigned","id":"o-1/5","version":5,"orderId":"o-1","userId":"u-1","storeId":"s-1","riderId":"r-1","status":"accepted","attempt":1,"lines":[],"causeId":"x"}`
	b := newBench(t, topics.Notifier)
	out := b.once(b.OrderEvents.Name(), "o-1", event)
	require.Equal(t, []string{"notifications u-1", "notifications s-1", "notifications r-1"}, b.toTopics(out))

	m := newBench(t, topics.Messenger)
	for _, r := range out {
		logged := one(t, m.once(m.Notifications.Name(), r.key, r.value))
		require.Equal(t, m.MessageLog.Name(), logged.topic)
		require.Equal(t, r.key, logged.key)
		require.Equal(t, r.value, logged.value)
	}
}

func TestNotifier_Language(t *testing.T) {
	s := settings(nil)
	s.Language = "ko"
	b := newBenchWith(t, s, nil, topics.Notifier)
	out := b.send(b.OrderEvents.Name(), "o-1", `{"type":"placed","id":"o-1/1","version":1,"orderId":"o-1","userId":"u-1","storeId":"s-1","status":"placed","attempt":1}`)
	require.Contains(t, only(b, b.Notifications, out)[0].Message, "주문 o-1")
}

func TestProjections(t *testing.T) {
	b := newBench(t, topics.Projections)
	event := func(orderID string, version int, typ string, status order.Status) string {
		return fmt.Sprintf(`{"type":%q,"id":"%s/%d","at":"2026-01-02T12:00:0%d.000Z","version":%d,"orderId":%q,"userId":"u-1","storeId":"s-1","status":%q,"attempt":1,
			"lines":[{"product":"bibimbap","quantity":2},{"product":"kimchi","quantity":1}]}`, typ, orderID, version, version, version, orderID, status)
	}
	in := b.OrderEvents.Name()
	model := func(key string) *projection.Model { return row(b, b.ProjectionsTable, key) }
	counted := func(product string) (orders, pieces int64) {
		m := model("s-1/" + product)
		if m == nil {
			return 0, 0
		}
		return m.Count, m.Quantity
	}
	is := func(product string, orders, pieces int64) {
		t.Helper()
		o, p := counted(product)
		require.Equal(t, []int64{orders, pieces}, []int64{o, p}, product)
	}

	b.once(in, "o-1", event("o-1", 1, "placed", order.Placed))
	b.once(in, "o-2", event("o-2", 1, "placed", order.Placed))
	require.Nil(t, model("o-1"), "nothing is counted yet")
	b.once(in, "o-1", event("o-1", 3, "paid", order.Paid))
	b.once(in, "o-2", event("o-2", 3, "paid", order.Paid))
	b.once(in, "o-1", event("o-1", 3, "paid", order.Paid))
	is("bibimbap", 2, 4)
	is("kimchi", 2, 2)
	require.NotNil(t, model("o-1"), "remembers that it was counted")

	b.once(in, "o-1", event("o-1", 4, "rejected", order.Rejected))
	is("bibimbap", 1, 2)
	is("kimchi", 1, 1)
	b.once(in, "o-1", event("o-1", 3, "paid", order.Paid))
	b.once(in, "o-1", event("o-1", 4, "rejected", order.Rejected))
	is("bibimbap", 1, 2)
	b.once(in, "o-2", event("o-2", 8, "completed", order.Completed))
	is("bibimbap", 1, 2)
	b.once(in, "o-2", event("o-2", 9, "refunded", order.Refunded))
	is("bibimbap", 0, 0)
}

// sorted puts records' places into the order of their topics.
func sorted(places []string, topics ...string) (all []string) {
	for _, t := range topics {
		for _, p := range places {
			if len(p) > len(t) && p[:len(t)+1] == t+" " {
				all = append(all, p)
			}
		}
	}
	return all
}

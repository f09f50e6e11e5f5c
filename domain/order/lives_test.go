package order_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// happens is one message and all that goes out for it, nothing more.
type happens struct {
	when message
	says []string
}

func nothing(m message) happens { return happens{m, []string{}} }

// beforehand are messages whose effects another life shows.
func beforehand(messages []message) (h []happens) {
	for _, m := range messages {
		h = append(h, happens{when: m})
	}
	return h
}

func storyFrom(before []message, then ...happens) []happens {
	return append(beforehand(before), then...)
}

// stale is said for Bora, who has lost the delivery.
func stale(typ string) *dispatch.DeliveryEvent {
	e := delivery(typ, Bora, 1)
	e.ID += "/stale"
	return e
}

var (
	placing  = happens{command(order.Place), []string{"event placed", "stock reserve 1", accepted}}
	shortage = domain.Shortage{Product: "soju", Wanted: 1, Available: 0}
	voided   = nothing(paid(payment.Voided))
	freed    = nothing(delivery(dispatch.Failed, "", 1))
	released = "stock release 1"
)

// ways has every way through a life, and how it ends.
var ways = map[string]struct {
	story []happens
	ends  order.Status
}{
	"HappyPath": {[]happens{
		placing,
		{reserved(Manual, 1), []string{"event paying", "payment authorize 23000 of user-1"}},
		{paid(payment.Approved), []string{"event paid"}},
		{command(order.Accept), []string{"event accepted", "dispatch request 1", accepted}},
		{command(order.StartCooking), []string{"event cooking", commit, accepted}},
		{command(order.FinishCooking), []string{"event ready", foodReady, accepted}},
		{delivery(dispatch.Assigned, Bora, 1), []string{"event assigned, " + Bora}},
		{delivery(dispatch.PickedUp, Bora, 1), []string{"event picked_up, " + Bora}},
		{delivery(dispatch.Delivered, Bora, 1), []string{"event delivered, " + Bora, capture}},
		nothing(paid(payment.Captured)),
		{command(order.Confirm), []string{"event completed, " + Bora, accepted}},
	}, order.Completed},
	"AutoAcceptAndRiderFoundWhileCooking": {[]happens{
		placing,
		{reserved(AutoAccept, 1), []string{"event paying", "payment authorize 23000 of user-1"}},
		{paid(payment.Approved), []string{"event paid", "event accepted", "event cooking", commit, "dispatch request 1"}},
		{delivery(dispatch.Assigned, Bora, 1), []string{"event rider_assigned while cooking, " + Bora}},
		{due{}, []string{"event ready, " + Bora, "event assigned, " + Bora, foodReady}},
		{delivery(dispatch.PickedUp, Bora, 1), []string{"event picked_up, " + Bora}},
		{delivery(dispatch.Delivered, Bora, 1), []string{"event delivered, " + Bora, capture}},
		{due{}, []string{"event completed, " + Bora}},
	}, order.Completed},
	"NothingToCook": {[]happens{
		placing,
		{reserved(Fridge, 1), []string{"event paying", "payment authorize 23000 of user-1"}},
		{paid(payment.Approved), []string{"event paid", "event accepted", "event cooking", "event ready",
			commit, "dispatch request 1", foodReady}},
	}, order.Ready},

	"UnknownStore":   {[]happens{placing, {notReserved(stock.UnknownStore, 1), []string{"event refused, unknown_store"}}}, order.RefusedStatus},
	"ClosedStore":    {[]happens{placing, {notReserved(stock.Closed, 1), []string{"event refused, closed"}}}, order.RefusedStatus},
	"UnknownProduct": {[]happens{placing, {notReserved(stock.UnknownProduct, 1), []string{"event refused, unknown_product"}}}, order.RefusedStatus},
	"OtherPrice":     {[]happens{placing, {notReserved(stock.PriceChanged, 1), []string{"event refused, price_changed"}}}, order.RefusedStatus},
	"ShortStock": {[]happens{placing,
		{notReserved(stock.Short, 1, shortage), []string{"event refused, short, short of soju: 0 of 1"}}}, order.RefusedStatus},

	"PaymentDeclined": {storyFrom(toPaying,
		happens{paid(payment.Declined), []string{"event payment_failed, card expired", released, "payment void, card expired"}},
	), order.PaymentFailed},
	"PaymentTooLateIsVoided": {storyFrom(toPaying,
		happens{paid(payment.Delayed), []string{"event delayed while paying"}},
		happens{due{}, []string{"event payment_failed, " + tooLong, released, "payment void, " + tooLong}},
		happens{paid(payment.Approved), []string{"payment void, " + tooLong}},
		voided,
	), order.PaymentFailed},

	"StoreRejects": {storyFrom(toPaid,
		happens{command(order.Reject), []string{"event rejected, kitchen on fire", released, "payment void, kitchen on fire", accepted}},
		voided,
	), order.Rejected},
	"StoreIsSilent": {storyFrom(toPaid,
		happens{due{}, []string{"event rejected, " + noAnswer, released, "payment void, " + noAnswer}},
	), order.Rejected},

	// When patience is over dispatch decides, whatever it has said meanwhile.
	"NoRiderWithinPatience": {storyFrom(toReady,
		happens{due{}, []string{withdraw}},
		happens{due{}, []string{withdraw}}, // the same message
		happens{delivery(dispatch.Failed, "", 1), []string{"event delivery_failed, no_rider", "payment void, no_rider"}},
	), order.DeliveryFailed},
	"RiderFoundTooLateIsFreed": {storyFrom(toReady,
		happens{due{}, []string{withdraw}},
		happens{delivery(dispatch.Failed, "", 1), []string{"event delivery_failed, no_rider", "payment void, no_rider"}},
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"dispatch withdraw 1, no_rider"}},
		nothing(delivery(dispatch.Unassigned, Bora, 1)),
	), order.DeliveryFailed},
	"AssignedCrossesTheEndOfPatience": {storyFrom(toReady,
		happens{due{}, []string{withdraw}},
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event assigned, " + Bora}},
		happens{delivery(dispatch.Failed, "", 1), []string{"event delivery_failed, " + Bora + ", no_rider", "payment void, no_rider"}},
		nothing(delivery(dispatch.Unassigned, Bora, 1)),
	), order.DeliveryFailed},
	"DeclineCrossesTheEndOfPatience": {storyFrom(toReady,
		happens{due{}, []string{withdraw}},
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event assigned, " + Bora}},
		happens{delivery(dispatch.Unassigned, Bora, 1), []string{"event rider_lost while assigned, " + Bora + ", declined", "event ready", foodReady}},
		happens{due{}, []string{withdraw}}, // another message: the order was taken since
		happens{delivery(dispatch.Failed, "", 1), []string{"event delivery_failed, no_rider", "payment void, no_rider"}},
	), order.DeliveryFailed},
	"PickUpCrossesTheEndOfPatience": {storyFrom(toReady,
		happens{due{}, []string{withdraw}},
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event assigned, " + Bora}},
		happens{delivery(dispatch.PickedUp, Bora, 1), []string{"event picked_up, " + Bora}},
		happens{delivery(dispatch.Delivered, Bora, 1), []string{"event delivered, " + Bora, capture}},
		nothing(paid(payment.Captured)),
		happens{due{}, []string{"event completed, " + Bora}},
	), order.Completed},

	"CancelledWhilePlaced": {storyFrom(toPlaced,
		happens{command(order.Cancel), []string{"event cancelled, " + byClient, released, accepted}},
		happens{reserved(Manual, 1), []string{released}},
	), order.Cancelled},
	"CancelledWhilePaying": {storyFrom(toPaying,
		happens{command(order.Cancel), []string{"event cancelled, " + byClient, released, "payment void, " + byClient, accepted}},
		happens{paid(payment.Approved), []string{"payment void, " + byClient}},
		voided,
	), order.Cancelled},
	"CancelledWhilePaid": {storyFrom(toPaid,
		happens{command(order.Cancel), []string{"event cancelled, " + byClient, released, "payment void, " + byClient, accepted}},
	), order.Cancelled},
	"CancelledWithARider": {storyFrom(toAccepted,
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event rider_assigned while accepted, " + Bora}},
		happens{command(order.Cancel), []string{"event cancelled, " + Bora + ", " + byClient,
			released, "payment void, " + byClient, "dispatch withdraw 1, withdrawn", accepted}},
		freed,
	), order.Cancelled},
	"CancelCrossesAssigned": {storyFrom(toAccepted,
		happens{command(order.Cancel), []string{"event cancelled, " + byClient,
			released, "payment void, " + byClient, "dispatch withdraw 1, withdrawn", accepted}},
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"dispatch withdraw 1, withdrawn"}},
		freed,
	), order.Cancelled},
	"CancelTooLate": {storyFrom(toCooking,
		happens{command(order.Cancel), []string{
			`verdict refused: cancel: order "o-1" is cooking: it can be cancelled until cooking starts`}},
	), order.Cooking},
	"CancelOfNothing": {[]happens{
		{command(order.Cancel), []string{`verdict refused: order "o-1" is unknown: place it first`}},
		placing, // the refusal is no obstacle
	}, order.Placed},

	"RiderDeclinesAndAnotherComes": {storyFrom(toAssigned,
		happens{delivery(dispatch.Unassigned, Bora, 1), []string{"event rider_lost while assigned, " + Bora + ", declined", "event ready", foodReady}},
		nothing(stale(dispatch.PickedUp)),
		happens{delivery(dispatch.Assigned, Chul, 1), []string{"event assigned, " + Chul}},
		nothing(stale(dispatch.PickedUp)),
		happens{delivery(dispatch.PickedUp, Chul, 1), []string{"event picked_up, " + Chul}},
		nothing(stale(dispatch.Delivered)),
		happens{delivery(dispatch.Delivered, Chul, 1), []string{"event delivered, " + Chul, capture}},
	), order.Delivered},
	"RiderLostBeforeCooking": {storyFrom(toAccepted,
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event rider_assigned while accepted, " + Bora}},
		happens{delivery(dispatch.Unassigned, Bora, 1), []string{"event rider_lost while accepted, " + Bora + ", declined"}},
		happens{command(order.StartCooking), []string{"event cooking", commit, accepted}},
	), order.Cooking},
	"RiderLostWhileCooking": {storyFrom(toCooking,
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event rider_assigned while cooking, " + Bora}},
		happens{delivery(dispatch.Unassigned, Bora, 1), []string{"event rider_lost while cooking, " + Bora + ", declined"}},
		happens{command(order.FinishCooking), []string{"event ready", foodReady, accepted}},
	), order.Ready},
	"RiderIsGivenUp": {storyFrom(toAssigned,
		happens{due{}, []string{"dispatch give_up 1, " + Bora + ", late"}},
		happens{due{}, []string{"dispatch give_up 1, " + Bora + ", late"}}, // the same message
		happens{delivery(dispatch.Unassigned, Bora, 1), []string{"event rider_lost while assigned, " + Bora + ", declined", "event ready", foodReady}},
	), order.Ready},
	"PickedUpBeforeTheStoreSaysReady": {storyFrom(toAccepted,
		happens{delivery(dispatch.Assigned, Bora, 1), []string{"event rider_assigned while accepted, " + Bora}},
		happens{delivery(dispatch.PickedUp, Bora, 1), []string{"event cooking, " + Bora, "event ready, " + Bora,
			"event assigned, " + Bora, "event picked_up, " + Bora, commit, foodReady}},
		happens{again(command(order.FinishCooking)), []string{
			`verdict refused: finish_cooking: order "o-1" is picked_up: it must be [cooking]`}},
	), order.PickedUp},

	"Refunded": {storyFrom(toDelivered,
		happens{command(order.RequestRefund), []string{"event refund_requested, " + Bora + ", it is cold", accepted}},
		happens{command(order.ApproveRefund), []string{"event refunded, " + Bora, "payment refund", accepted}},
		nothing(paid(payment.Refunded)),
	), order.Refunded},
	"RefundDenied": {storyFrom(toDelivered,
		happens{command(order.RequestRefund), []string{"event refund_requested, " + Bora + ", it is cold", accepted}},
		happens{command(order.DenyRefund), []string{"event refund_denied, " + Bora + ", it was hot", accepted}},
	), order.RefundDenied},
	"RefundOfACompletedOrder": {storyFrom(with(toDelivered, command(order.Confirm)),
		happens{command(order.RequestRefund), []string{"event refund_requested, " + Bora + ", it is cold", accepted}},
		happens{command(order.ApproveRefund), []string{"event refunded, " + Bora, "payment refund", accepted}},
	), order.Refunded},
	"NobodyAnswersAComplaint": {storyFrom(toComplaint,
		happens{due{}, []string{"event escalated while refund_requested, " + Bora}},
		happens{due{}, []string{"event refunded, " + Bora + ", nobody answered", "payment refund, nobody answered"}},
	), order.Refunded},

	"SecondDelivery": {storyFrom(toDelivered,
		happens{redelivery(), []string{"event refund_requested, " + Bora + ", it is cold", accepted}},
		happens{command(order.ApproveRefund), []string{"event accepted", "stock reserve 2", "dispatch request 2", accepted}},
		nothing(delivery(dispatch.Unassigned, Bora, 1)), // of the first attempt
		nothing(delivery(dispatch.Failed, "", 1)),
		nothing(reserved(Manual, 2)),
		happens{again(command(order.StartCooking)), []string{"event cooking", "stock commit 2", accepted}},
		happens{again(command(order.FinishCooking)), []string{"event ready", "dispatch ready 2", accepted}},
		happens{delivery(dispatch.Assigned, Chul, 1), []string{"dispatch withdraw 1, withdrawn"}},
		happens{delivery(dispatch.Assigned, Chul, 2), []string{"event assigned, " + Chul}},
		happens{delivery(dispatch.PickedUp, Chul, 2), []string{"event picked_up, " + Chul}},
		happens{delivery(dispatch.Delivered, Chul, 2), []string{"event delivered, " + Chul}}, // captured with the first
		happens{due{}, []string{"event completed, " + Chul}},
	), order.Completed},
	"SecondDeliveryFromAnAutomat": {storyFrom([]message{command(order.Place), reserved(AutoAccept, 1), paid(payment.Approved), due{},
		delivery(dispatch.Assigned, Bora, 1), delivery(dispatch.PickedUp, Bora, 1), delivery(dispatch.Delivered, Bora, 1), redelivery()},
		happens{command(order.ApproveRefund), []string{"event accepted", "stock reserve 2", "dispatch request 2", accepted}},
		happens{reserved(AutoAccept, 2), []string{"event cooking", "stock commit 2"}},
		happens{due{}, []string{"event ready", "dispatch ready 2"}},
	), order.Ready},
	"SecondDeliveryIsShort": {storyFrom(toSecond,
		happens{notReserved(stock.Short, 2, shortage), []string{"event refunded, short, short of soju: 0 of 1",
			"stock release 2", "payment refund, short", "dispatch withdraw 2, withdrawn"}},
	), order.Refunded},
	"SecondDeliveryIsNeverReserved": {storyFrom(toSecond,
		happens{due{}, []string{"event reminded while accepted"}},
		happens{due{}, []string{"event refunded, the store can't make it again",
			"stock release 2", "payment refund, the store can't make it again", "dispatch withdraw 2, withdrawn"}},
		happens{reserved(Manual, 2), []string{"stock release 2"}},
	), order.Refunded},
	"SecondDeliveryFindsNoRider": {storyFrom(toSecondReady,
		happens{due{}, []string{"dispatch withdraw 2, no_rider"}},
		nothing(delivery(dispatch.Failed, "", 1)), // of the first attempt
		happens{delivery(dispatch.Failed, "", 2), []string{"event refunded, no_rider", "payment refund, no_rider"}},
	), order.Refunded},
	"SecondPickUpCrossesTheEndOfPatience": {storyFrom(toSecondReady,
		happens{due{}, []string{"dispatch withdraw 2, no_rider"}},
		happens{delivery(dispatch.Assigned, Chul, 2), []string{"event assigned, " + Chul}},
		happens{delivery(dispatch.PickedUp, Chul, 2), []string{"event picked_up, " + Chul}},
		happens{delivery(dispatch.Delivered, Chul, 2), []string{"event delivered, " + Chul}},
	), order.Delivered},
	"SecondDeliveryFailsBeforeCooking": {storyFrom(toSecondReserved,
		happens{delivery(dispatch.Failed, "", 2), []string{"event refunded, no_rider", "stock release 2", "payment refund, no_rider"}},
	), order.Refunded},
}

func TestOrder_EveryWayThroughALife(t *testing.T) {
	reached := map[order.Status]bool{}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			for i, h := range way.story {
				out := l.do(h.when)
				if h.says != nil {
					require.Equal(t, h.says, said(out), "message %d: %s", i, MustJSON(t, l.log[len(l.log)-1].m))
				}
			}
			require.Equal(t, way.ends, l.o.Status)
			checkVersions(t, l)
			for _, e := range l.o.Timeline {
				reached[e.Status] = true
			}
		})
	}
	for _, s := range order.Statuses {
		require.True(t, reached[s], "no way leads through %s", s)
	}
}

// What the lines above leave out: everything that a message carries.
func TestOrder_MessagesInFull(t *testing.T) {
	l := live(t, with(toReady, delivery(dispatch.Assigned, Bora, 1))...)
	out := func(i int) order.Out { return l.log[i].out }
	second := func(n int) domain.Time { return noon.Add(time.Duration(n) * time.Second) }
	price := Price
	pickup, drop := domain.PointAt(Manual.Place()), domain.PointAt(Home.Place())

	require.Equal(t, order.Event{
		Meta: domain.Meta{Type: "placed", ID: "o-1/1", At: second(1)}, Version: 1, OrderID: orderID, UserID: customer, StoreID: storeID,
		Status: order.Placed, Attempt: 1, Lines: Wanted, CauseID: "client-place",
	}, out(0).Events[0])
	require.Equal(t, domain.Verdict{
		Meta: domain.Meta{Type: "accepted", ID: "o-1/verdict/order-commands/mark/client-place", At: second(1)}, CommandID: "client-place",
		Stream: "order-commands", Key: "o-1", Verdict: "accepted", Version: 1,
	}, out(0).Verdicts[0])
	require.Equal(t, stock.Command{
		Meta: domain.Meta{Type: "reserve", ID: "o-1/reserve/1", At: second(1)}, StoreID: storeID, OrderID: orderID, Attempt: 1,
		Lines: Wanted, ExpectedTotal: &price,
	}, out(0).Stock[0])
	require.Equal(t, payment.Request{
		Meta: domain.Meta{Type: "authorize", ID: "o-1/authorize/1", At: second(2)}, OrderID: orderID, Attempt: 1, UserID: customer, Amount: &price,
	}, out(1).Payments[0])
	require.Equal(t, dispatch.Command{
		Meta: domain.Meta{Type: "request", ID: "o-1/request/1", At: second(4)}, Area: area, OrderID: orderID, Attempt: 1,
		Pickup: pickup, Drop: drop, ReadyAt: second(4).Add(cookingTime),
	}, out(3).Dispatch[0])
	require.Equal(t, stock.Command{
		Meta: domain.Meta{Type: "commit", ID: "o-1/commit/1", At: second(5)}, StoreID: storeID, OrderID: orderID, Attempt: 1,
	}, out(4).Stock[0])
	require.Equal(t, dispatch.Command{
		Meta: domain.Meta{Type: "ready", ID: "o-1/ready/6", At: second(6)}, Area: area, OrderID: orderID, Attempt: 1,
	}, out(5).Dispatch[0])
	require.Equal(t, order.Event{
		Meta: domain.Meta{Type: "assigned", ID: "o-1/7", At: second(7)}, Version: 7, OrderID: orderID, UserID: customer, StoreID: storeID,
		Status: order.Assigned, Attempt: 1, Lines: Dinner, Total: &price, Area: area, RiderID: Bora, CauseID: "o-1/assigned/1/rider-bora",
	}, out(6).Events[0])

	out2 := live(t, toSecond...).log[len(toSecond)-1].out
	require.Equal(t, "o-1/reserve/2", out2.Stock[0].ID)
	require.Nil(t, out2.Stock[0].ExpectedTotal, "the price was agreed on and paid")
	require.Equal(t, Wanted, out2.Stock[0].Lines)
	require.Equal(t, 2, out2.Events[0].Attempt)

	cancelled := live(t, with(toAccepted, command(order.Cancel))...).log[len(toAccepted)].out
	require.Len(t, requests(cancelled), 4)
	require.Equal(t, "o-1/release/1", cancelled.Stock[0].ID)
	require.Equal(t, storeID, cancelled.Stock[0].StoreID)
	require.Equal(t, "o-1/void/1", cancelled.Payments[0].ID)
	require.Equal(t, "o-1/withdraw/1", cancelled.Dispatch[0].ID)
	require.Equal(t, area, cancelled.Dispatch[0].Area)

	late := live(t, with(toReady, due{})...).log[len(toReady)].out
	require.Equal(t, []dispatch.Command{{
		Meta: domain.Meta{Type: "withdraw", ID: "o-1/withdraw/1/6", At: second(6)}, Area: area, OrderID: orderID, Attempt: 1, Reason: "no_rider",
	}}, late.Dispatch)

	unknown := live(t, delivery(dispatch.Assigned, Bora, 1)).log[0].out
	require.Len(t, unknown.Dispatch, 1)
	require.Equal(t, area, unknown.Dispatch[0].Area, "an unknown order withdraws in the area that the answer names")
}

func TestOrder_TheStoresWordOnCookingTime(t *testing.T) {
	c := command(order.Accept)
	c.CookingTime = new(domain.Duration(25 * time.Minute))
	l := live(t, with(toPaid, c)...)
	require.Equal(t, l.now.Add(25*time.Minute), l.o.ReadyAt)
	require.Equal(t, l.o.ReadyAt, l.log[3].out.Dispatch[0].ReadyAt)
}

func TestCommand_CookingTime(t *testing.T) {
	for text, problem := range map[string]string{
		"-1ns": "cookingTime: must be from 0s to 24h", "0s": "", "24h": "", "24h0m0.001s": "cookingTime: must be from 0s to 24h",
	} {
		c := command(order.Accept)
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		c.CookingTime = new(domain.Duration(d))
		if problem == "" {
			require.NoError(t, c.Validate(), text)
		} else {
			require.ErrorContains(t, c.Validate(), problem, text)
		}
	}
}

func TestOrder_KeepsWhatTheStoreDecidesAComplaintBy(t *testing.T) {
	l := live(t, toComplaint...)
	require.Equal(t, order.WishRefund, l.o.Wish)
	require.Equal(t, "https://photos.example/1.jpg", l.o.PhotoURL)
	require.Equal(t, "it is cold", l.o.Reason)
}

// A storeless sanity check of the fixtures themselves.
func TestFixtures(t *testing.T) {
	require.Equal(t, Price, domain.Total(Dinner))
	for _, typ := range order.CommandTypes {
		require.NoError(t, command(typ).Validate(), typ)
	}
}

// 0s is ready now, and not what the store has registered.
func TestOrder_ReadyNow(t *testing.T) {
	c := command(order.Accept)
	c.CookingTime = new(domain.Duration(0))
	l := live(t, with(toPaid, c)...)
	require.Equal(t, l.now, l.o.ReadyAt)
	require.Equal(t, l.o.ReadyAt, MustReload(t, l.o).ReadyAt)
	l = live(t, with(toPaid, command(order.Accept))...)
	require.Equal(t, l.now.Add(cookingTime), l.o.ReadyAt)
}

// What costs nothing is said to cost 0, and nothing is said of what is not known.
func TestOrder_FreeOfCharge(t *testing.T) {
	r := reserved(Manual, 1)
	for i := range r.Lines {
		r.Lines[i].Price = new(domain.Money(0))
	}
	r.Total = new(domain.Money(0))
	place := command(order.Place)
	place.ExpectedTotal = new(domain.Money(0))
	l := live(t, place, r)
	placed, paying := MustJSON(t, &l.log[0].out.Events[0]), MustJSON(t, &l.log[1].out.Events[0])
	require.NotContains(t, placed, `"total"`)
	require.NotContains(t, placed, `"price"`)
	require.Contains(t, paying, `"total":0`)
	require.Contains(t, paying, `"price":0`)
	require.Contains(t, MustJSON(t, &l.log[0].out.Stock[0]), `"expectedTotal":0`)
	require.Contains(t, MustJSON(t, &l.log[1].out.Payments[0]), `"amount":0`)
	require.Contains(t, MustJSON(t, l.o), `"total":0`)
	require.NotContains(t, MustJSON(t, live(t, command(order.Place), command(order.Cancel)).o), `"total":`)
}

// Riders that come and go without end leave no trace without end; what ever
// happened is still known, and the newest is said again as it was.
func TestOrder_TimelineIsBounded(t *testing.T) {
	l := live(t, toAccepted...)
	for n := range 200 {
		who := fmt.Sprint("r-", n)
		a, u := delivery(dispatch.Assigned, who, 1), delivery(dispatch.Unassigned, who, 1)
		l.do(a)
		last := sent(t, l.do(u))
		require.Equal(t, last, sent(t, l.do(u)), "a repeat")
		require.LessOrEqual(t, len(l.o.Timeline), order.MaxTimeline)
	}
	require.Equal(t, 404, l.o.Version)
	for i := 1; i < len(l.o.Timeline); i++ {
		require.Less(t, l.o.Timeline[i-1].Version, l.o.Timeline[i].Version)
	}
	var first []string
	for _, e := range l.o.Timeline[:6] {
		first = append(first, e.Type)
	}
	require.Equal(t, []string{"placed", "paying", "paid", "accepted", "rider_assigned", "rider_lost"}, first)
	l.do(command(order.StartCooking))
	l.do(command(order.FinishCooking))
	out := l.do(delivery(dispatch.Failed, "", 1))
	require.Equal(t, order.DeliveryFailed, l.o.Status)
	require.Equal(t, []string{"event delivery_failed, no_rider", "payment void, no_rider"}, said(out))
}

// What a full area doesn't take ends the order, nobody pays, and the reason is told.
func TestOrder_AreaIsFull(t *testing.T) {
	for _, before := range [][]message{toAccepted, with(toAccepted, command(order.StartCooking)), toReady} {
		e := delivery(dispatch.Failed, "", 1)
		e.Reason = dispatch.AreaFull
		require.NoError(t, e.Validate())
		l := live(t, with(before, e)...)
		require.Equal(t, order.DeliveryFailed, l.o.Status)
		require.Equal(t, "area_full", l.o.Reason)
		out := l.log[len(before)].out
		require.Equal(t, "area_full", out.Events[0].Reason)
		require.Equal(t, payment.Void, out.Payments[0].Type)
		require.Empty(t, out.Dispatch, "there is nothing to withdraw")
	}
}

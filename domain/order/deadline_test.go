package order_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
)

// Each status waits as long as it is set to, from when it was entered.
func TestOrder_Deadlines(t *testing.T) {
	d := order.DefaultSettings().Deadlines
	automat := with(toPlaced, reserved(AutoAccept, 1), paid(payment.Approved))
	reminded := with(toCooking, due{})
	for name, tt := range map[string]struct {
		life []message
		wait time.Duration // from the last message on
		then string
	}{
		"Placed":                {toPlaced, d[order.Placed], "the store's stock is asked again"},
		"PlacedAskedAgain":      {with(toPlaced, due{}), d[order.Placed], "the store's stock is asked again"},
		"Paying":                {toPaying, d[order.Paying], "payment_failed"},
		"Paid":                  {toPaid, d[order.Paid], "rejected"},
		"Accepted":              {toAccepted, cookingTime + d[order.AcceptedStatus], "reminded"},
		"AcceptedReminded":      {with(toAccepted, due{}), d[order.AcceptedStatus], "ready"},
		"Cooking":               {toCooking, cookingTime - time.Second + d[order.Cooking], "reminded"},
		"CookingReminded":       {reminded, d[order.Cooking], "ready"},
		"CookingAfterReminder":  {with(toAccepted, due{}, command(order.StartCooking)), d[order.Cooking], "reminded"},
		"CookingByItself":       {automat, cookingTime, "ready"},
		"Ready":                 {toReady, d[order.Ready], "delivery_failed"},
		"ReadyWithdrawn":        {with(toReady, due{}), d[order.Ready], "delivery_failed"},
		"ReadySecond":           {toSecondReady, d[order.Ready], "refunded"},
		"Assigned":              {toAssigned, d[order.Assigned], "another rider is sought"},
		"AssignedGivenUp":       {with(toAssigned, due{}), d[order.Assigned], "another rider is sought"},
		"ReadyAgain":            {with(toAssigned, delivery(dispatch.Unassigned, Bora, 1)), d[order.Ready], "delivery_failed"},
		"PickedUp":              {toPickedUp, d[order.PickedUp], "stuck"},
		"PickedUpStuck":         {with(toPickedUp, due{}), d[order.PickedUp], "stuck"},
		"Delivered":             {toDelivered, d[order.Delivered], "completed"},
		"RefundRequested":       {toComplaint, d[order.RefundRequested], "escalated"},
		"RefundEscalated":       {with(toComplaint, due{}), d[order.RefundRequested], "refunded"},
		"Completed":             {with(toDelivered, due{}), 72 * time.Hour, "forgotten"},
		"UnknownButRemembered":  {[]message{command(order.Cancel)}, 72 * time.Hour, "forgotten"},
		"ARefusalChangesNoWait": {with(toComplaint, later(time.Minute), command(order.Cancel)), d[order.RefundRequested] - time.Minute - time.Second, "escalated"},
		// What happens beside the status does not make an order wait anew.
		"DelayedPayment":     {with(toPaying, later(time.Minute), paid(payment.Delayed)), d[order.Paying] - time.Minute - time.Second, "payment_failed"},
		"RiderWhileCooking":  {with(automat, delivery(dispatch.Assigned, Bora, 1)), cookingTime - time.Second, "ready"},
		"RiderLostInKitchen": {with(automat, delivery(dispatch.Assigned, Bora, 1), delivery(dispatch.Unassigned, Bora, 1)), cookingTime - 2*time.Second, "ready"},
		"RiderAfterReminder": {with(reminded, delivery(dispatch.Assigned, Bora, 1)), d[order.Cooking] - time.Second, "ready"},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, tt.life...)
			require.NotNil(t, l.o.Deadline)
			require.Equal(t, order.Wait{At: l.now.Add(tt.wait), Then: tt.then}, *l.o.Deadline, "now is %s", l.now)
		})
	}
}

func TestOrder_EveryStatusHasADeadline(t *testing.T) {
	for _, s := range order.Statuses {
		l := live(t, reach[s]...)
		d := l.MustDeadline()
		require.Equal(t, l.o.Version, d.Version)
		require.Greater(t, d.Due, l.now, s)
		require.Equal(t, d.Due, d.At)
	}
	_, waits := order.New(orderID).NextDeadline()
	require.False(t, waits)
}

// A deadline fires once, and one that the order has gone past does nothing.
func TestOrder_DeadlineOfThePast(t *testing.T) {
	for _, s := range order.Statuses {
		if s.Final() {
			continue
		}
		t.Run(string(s), func(t *testing.T) {
			l := live(t, reach[s]...)
			d := l.MustDeadline()
			wrong := d
			wrong.Due++
			require.Empty(t, said(l.do(&wrong)), "it is due at another time")
			wrong = d
			wrong.Version++
			require.Empty(t, said(l.do(&wrong)), "it is of another version")

			require.NotEmpty(t, said(l.do(&d)))
			row := MustJSON(t, l.o)
			l.now = l.now.Add(time.Hour)
			for _, r := range l.do(&d).Events {
				require.Equal(t, d.ID, r.CauseID)
			}
			require.Equal(t, row, MustJSON(t, l.o), "the second time it decides nothing")
		})
	}
}

// A deadline that comes again is no later one: what is not asked again stays.
func TestOrder_EarlierDeadlineForgetsNothing(t *testing.T) {
	l := live(t, command(order.Cancel))
	early := l.MustDeadline()
	l.do(again(command(order.Cancel))) // keeps the row for longer
	require.Equal(t, order.Out{}, l.do(&early))
	require.True(t, l.do(due{}).Forget)
}

// When nobody says anything any more but dispatch, which answers a withdrawal,
// every order comes to its end, but one that is under way with a rider: that is
// reported.
func TestOrder_SilenceEndsEveryOrder(t *testing.T) {
	ends := map[order.Status]order.Status{
		order.Paying: order.PaymentFailed, order.Paid: order.Rejected, order.AcceptedStatus: order.DeliveryFailed,
		order.Cooking: order.DeliveryFailed, order.Ready: order.DeliveryFailed, order.Delivered: order.Completed,
		order.RefundRequested: order.Refunded,
		// These wait for an answer that is given sooner or later.
		order.Placed: order.Placed, order.Assigned: order.Assigned, order.PickedUp: order.PickedUp,
	}
	for s, end := range ends {
		t.Run(string(s), func(t *testing.T) {
			l := live(t, reach[s]...)
			for range 5 {
				if !l.o.Status.Final() {
					if out := l.do(due{}); len(out.Dispatch) > 0 && out.Dispatch[0].Type == dispatch.Withdraw {
						l.do(delivery(dispatch.Failed, "", 1))
					}
				}
			}
			require.Equal(t, end, l.o.Status)
			checkVersions(t, l)
		})
	}
}

func TestOrder_AcceptedGoesOnAsReadyWithoutTheStore(t *testing.T) {
	l := live(t, with(toAccepted, due{})...)
	require.Equal(t, []string{"event cooking", "event ready", commit, foodReady}, said(l.do(due{})))
}

func TestOrder_ForgetsWhatWasFinalForLong(t *testing.T) {
	l := live(t, with(toDelivered, command(order.Confirm))...)
	early := l.MustDeadline()
	l.do(command(order.RequestRefund))
	require.False(t, l.do(&early).Forget, "it is not final any more")
	l.do(command(order.DenyRefund))
	require.True(t, l.do(due{}).Forget)
}

func TestSettings_SetDeadline(t *testing.T) {
	s := order.DefaultSettings()
	require.NoError(t, s.SetDeadline("ready=90s"))
	require.Equal(t, 90*time.Second, s.Deadlines[order.Ready])
	for text, problem := range map[string]string{
		"ready":         "must be STATUS=DURATION",
		"completed=90s": "no status that waits",
		"ready=soon":    "no duration above zero",
		"ready=-1s":     "no duration above zero",
		"ready=0s":      "no duration above zero",
	} {
		require.ErrorContains(t, s.SetDeadline(text), problem)
	}
	l := live(t, toCooking...)
	l.cfg = s
	l.do(command(order.FinishCooking))
	require.Equal(t, domain.Time(l.now.Add(90*time.Second)), l.o.Deadline.At)
}

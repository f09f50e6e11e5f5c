package order_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/stock"
)

// The messages that may meet an order, by the names that the table below uses.
var incoming = map[string]func() message{
	"stock reserved":      func() message { return reserved(Manual, 1) },
	"stock refused":       func() message { return notReserved(stock.Closed, 1) },
	"payment approved":    func() message { return paid(payment.Approved) },
	"payment declined":    func() message { return paid(payment.Declined) },
	"payment delayed":     func() message { return paid(payment.Delayed) },
	"payment captured":    func() message { return paid(payment.Captured) },
	"payment voided":      func() message { return paid(payment.Voided) },
	"payment refunded":    func() message { return paid(payment.Refunded) },
	"delivery assigned":   func() message { return delivery(dispatch.Assigned, Chul, 1) },
	"delivery unassigned": func() message { return delivery(dispatch.Unassigned, Bora, 1) },
	"delivery picked_up":  func() message { return delivery(dispatch.PickedUp, Bora, 1) },
	"delivery delivered":  func() message { return delivery(dispatch.Delivered, Bora, 1) },
	"delivery failed":     func() message { return delivery(dispatch.Failed, "", 1) },
	"deadline":            func() message { return due{} },
}

func init() {
	for _, typ := range order.CommandTypes {
		incoming[typ] = func() message { return command(typ) }
	}
}

const (
	accepted  = "verdict accepted"
	wanted    = "changed my mind"
	byClient  = "cancelled by the customer: " + wanted
	tooLong   = "the payment took too long"
	noAnswer  = "the store did not answer"
	commit    = "stock commit 1"
	release   = "stock release 1"
	capture   = "payment capture"
	foodReady = "dispatch ready 1"
	withdraw  = "dispatch withdraw 1, no_rider" // patience is over
)

// legal is every pair of a status and a message that does something, and all
// that goes out for it. What is not in it is refused or ignored.
var legal = map[order.Status]map[string][]string{
	order.None: {
		order.Place:         {"event placed", "stock reserve 1", accepted},
		"stock reserved":    {release},
		"payment approved":  {"payment void"},
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
	},
	order.Placed: {
		order.Cancel:     {"event cancelled, " + byClient, release, accepted},
		"stock reserved": {"event paying", "payment authorize 23000 of user-1"},
		"stock refused":  {"event refused, closed"},
		"deadline":       {"stock reserve 1"},
	},
	order.Paying: {
		order.Cancel:       {"event cancelled, " + byClient, release, "payment void, " + byClient, accepted},
		"payment approved": {"event paid"},
		"payment declined": {"event payment_failed, card expired", release, "payment void, card expired"},
		"payment delayed":  {"event delayed while paying"},
		"deadline":         {"event payment_failed, " + tooLong, release, "payment void, " + tooLong},
	},
	order.Paid: {
		order.Cancel: {"event cancelled, " + byClient, release, "payment void, " + byClient, accepted},
		order.Accept: {"event accepted", "dispatch request 1", accepted},
		order.Reject: {"event rejected, kitchen on fire", release, "payment void, kitchen on fire", accepted},
		"deadline":   {"event rejected, " + noAnswer, release, "payment void, " + noAnswer},
	},
	order.AcceptedStatus: {
		order.Cancel:          {"event cancelled, " + byClient, release, "payment void, " + byClient, "dispatch withdraw 1, withdrawn", accepted},
		order.StartCooking:    {"event cooking", commit, accepted},
		order.Postpone:        {"event rescheduled while accepted", "dispatch postpone 1", accepted},
		"delivery assigned":   {"event rider_assigned while accepted, " + Chul},
		"delivery unassigned": {}, // nobody had it
		"delivery picked_up": {"event cooking, " + Bora, "event ready, " + Bora, "event assigned, " + Bora, "event picked_up, " + Bora,
			commit, foodReady},
		"delivery failed": {"event delivery_failed, no_rider", release, "payment void, no_rider"},
		"deadline":        {"event reminded while accepted"},
	},
	order.Cooking: {
		order.FinishCooking:   {"event ready", foodReady, accepted},
		order.Postpone:        {"event rescheduled while cooking", "dispatch postpone 1", accepted},
		"delivery assigned":   {"event rider_assigned while cooking, " + Chul},
		"delivery unassigned": {},
		"delivery picked_up":  {"event ready, " + Bora, "event assigned, " + Bora, "event picked_up, " + Bora, foodReady},
		"delivery failed":     {"event delivery_failed, no_rider", "payment void, no_rider"},
		"deadline":            {"event reminded while cooking"},
	},
	order.Ready: {
		"delivery assigned":  {"event assigned, " + Chul},
		"delivery picked_up": {"event assigned, " + Bora, "event picked_up, " + Bora},
		"delivery failed":    {"event delivery_failed, no_rider", "payment void, no_rider"},
		"deadline":           {withdraw},
	},
	order.Assigned: {
		"delivery assigned":   {"event rider_assigned while assigned, " + Chul},
		"delivery unassigned": {"event rider_lost while assigned, " + Bora + ", declined", "event ready", foodReady},
		"delivery picked_up":  {"event picked_up, " + Bora},
		"delivery failed":     {"event delivery_failed, " + Bora + ", no_rider", "payment void, no_rider"},
		"deadline":            {"dispatch give_up 1, " + Bora + ", late"},
	},
	order.PickedUp: {
		"delivery delivered": {"event delivered, " + Bora, capture},
		"deadline":           {"event stuck while picked_up, " + Bora},
	},
	order.Delivered: {
		order.Confirm:       {"event completed, " + Bora, accepted},
		order.RequestRefund: {"event refund_requested, " + Bora + ", it is cold", accepted},
		"deadline":          {"event completed, " + Bora},
	},
	order.RefundRequested: {
		order.ApproveRefund: {"event refunded, " + Bora, "payment refund", accepted},
		order.DenyRefund:    {"event refund_denied, " + Bora + ", it was hot", accepted},
		"deadline":          {"event escalated while refund_requested, " + Bora},
	},
	order.Completed: {
		order.RequestRefund: {"event refund_requested, " + Bora + ", it is cold", accepted},
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
	order.RefusedStatus: {
		"stock reserved":    {release},
		"payment approved":  {"payment void, closed"},
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
	order.PaymentFailed: {
		"stock reserved":    {release},
		"payment approved":  {"payment void, card expired"},
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
	order.Rejected: {
		"stock reserved":    {release},
		"payment approved":  {"payment void, kitchen on fire"},
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
	order.Cancelled: {
		"stock reserved":    {release},
		"payment approved":  {"payment void, " + byClient},
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
	order.DeliveryFailed: {
		"payment approved":  {"payment void, no_rider"},
		"delivery assigned": {"dispatch withdraw 1, no_rider"},
		"deadline":          {"forget"},
	},
	order.Refunded: {
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
	order.RefundDenied: {
		"delivery assigned": {"dispatch withdraw 1, withdrawn"},
		"deadline":          {"forget"},
	},
}

func TestOrder_EveryStatusMeetsEveryMessage(t *testing.T) {
	require.Len(t, reach, len(order.Statuses)+1, "a status is not reached")
	for _, status := range append([]order.Status{order.None}, order.Statuses...) {
		for name, message := range incoming {
			t.Run(fmt.Sprintf("%s/%s", cmpOr(string(status), "none"), name), func(t *testing.T) {
				l := live(t, reach[status]...)
				require.Equal(t, status, l.o.Status)
				before := MustReload(t, l.o)
				m := message()
				if m == (due{}) {
					if l.o.Deadline == nil {
						require.Equal(t, order.None, status)
						return
					}
				} else if slices.ContainsFunc(l.o.Timeline, func(e order.Entry) bool { return e.CauseID == *idOf(m) }) {
					*idOf(m) += "/another" // this is about a message that did not come yet
				}
				out := l.do(m)

				expected, ok := legal[status][name]
				c, isCommand := m.(*order.Command)
				switch {
				case ok:
					require.Equal(t, expected, said(out))
				case isCommand:
					require.Len(t, out.Verdicts, 1)
					v := out.Verdicts[0]
					require.Equal(t, domain.Refused, v.Verdict)
					require.Equal(t, c.ID, v.CommandID)
					require.Contains(t, v.Reason, orderID)
					require.Equal(t, before.Version, v.Version)
					require.Equal(t, map[bool]string{true: domain.CodeUnknown, false: domain.CodeStatus}[status == order.None], v.Code)
					if status == order.None {
						require.Contains(t, v.Reason, "unknown")
					} else if c.Type != order.Place {
						require.Contains(t, v.Reason, "is "+string(status))
					}
					require.True(t, out.Changed, "the refusal is remembered")
					require.Len(t, requests(out), 1, "nothing but the verdict")
				default:
					require.Empty(t, said(out))
				}
				moved := slices.ContainsFunc(expected, func(s string) bool { return strings.HasPrefix(s, "event ") })
				if !moved {
					require.Equal(t, before.Version, l.o.Version)
					require.Equal(t, before.Timeline, MustReload(t, l.o).Timeline)
					require.Equal(t, before.Status, l.o.Status)
					require.Empty(t, out.Events)
				}
				if !isCommand && !moved && name != "deadline" {
					require.False(t, out.Changed)
					require.Equal(t, MustJSON(t, before), MustJSON(t, l.o))
				}
				if name == "deadline" {
					require.Equal(t, !out.Forget, out.Changed, "it goes on or waits anew")
				}
				checkVersions(t, l)
			})
		}
	}
}

func cmpOr(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

// checkVersions requires that a life told every version once, as its timeline says.
func checkVersions(t require.TestingT, l *life) {
	var told []order.Event
	for _, h := range l.log {
		told = append(told, h.out.Events...)
	}
	require.Len(t, l.o.Timeline, len(told))
	require.Equal(t, len(told), l.o.Version)
	for i, e := range told {
		require.Equal(t, i+1, e.Version)
		again := l.o.Event(i)
		require.Equal(t, MustJSON(t, &e), MustJSON(t, &again), "version %d is not told as it was", e.Version)
	}
	if n := len(told); n > 0 {
		require.Equal(t, l.o.Status, told[n-1].Status)
	}
}

func TestOrder_RefusedForAReason(t *testing.T) {
	stranger := command(order.RequestRefund)
	stranger.UserID = "user-2"
	for name, tt := range map[string]struct {
		before []message
		c      *order.Command
		reason string
	}{
		"CancelSecondDelivery":   {toSecond, command(order.Cancel), "a second delivery can't be cancelled"},
		"CookWithoutGoods":       {toSecond, again(command(order.StartCooking)), "not reserved yet"},
		"RefundForAStranger":     {toDelivered, stranger, `not the order of user "user-2"`},
		"RefundTooLate":          {with(toDelivered, later(order.DefaultSettings().RefundWindow)), command(order.RequestRefund), "within 10m0s"},
		"RefundTwice":            {toSecondDelivered, again(command(order.RequestRefund)), "once per order"},
		"RefundLongAfterwards":   {with(toDelivered, due{}), command(order.RequestRefund), "within 10m0s"},
		"CancelAfterDelivery":    {toDelivered, command(order.Cancel), "it can be cancelled until cooking starts"},
		"AcceptAfterCancel":      {reach[order.Cancelled], again(command(order.Accept)), "is cancelled, and that is final"},
		"RejectCrossesCancel":    {with(toPaid, command(order.Cancel)), command(order.Reject), "is cancelled, and that is final"},
		"CancelCrossesReject":    {with(toPaid, command(order.Reject)), command(order.Cancel), "is rejected, and that is final"},
		"AcceptByAnAutomatStore": {with(toPlaced, reserved(AutoAccept, 1), paid(payment.Approved)), command(order.Accept), "is cooking: it must be [paid]"},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, tt.before...)
			before := MustReload(t, l.o)
			for range 2 { // and the same for a repeat
				out := l.do(tt.c)
				require.Len(t, said(out), 1)
				require.Equal(t, domain.Refused, out.Verdicts[0].Verdict)
				require.Contains(t, out.Verdicts[0].Reason, tt.reason)
				require.Contains(t, out.Verdicts[0].Reason, fmt.Sprintf("%s: order %q is %s", tt.c.Type, orderID, before.Status))
			}
			first, second := l.log[len(l.log)-2].out, l.log[len(l.log)-1].out
			require.Equal(t, first.Verdicts, second.Verdicts)
			require.False(t, second.Changed)
			require.Equal(t, before.Timeline, MustReload(t, l.o).Timeline)
		})
	}
}

func TestOrder_AcceptanceIsSaidWhenAskedFor(t *testing.T) {
	l := newLife(t)
	c := command(order.Place)
	c.Verdict = false
	require.Empty(t, l.do(c).Verdicts)

	bad := again(command(order.Place))
	bad.Verdict = false
	require.Len(t, l.do(bad).Verdicts, 1, "a refusal is said always")
}

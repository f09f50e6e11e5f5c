package notification_test

import (
	"regexp"
	"slices"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/notification"
	"baedal/domain/order"
)

var extra = []string{order.RiderAssigned, order.RiderLost, order.Delayed, order.Reminded, order.Stuck, order.Escalated, order.Rescheduled}

func types() (all []string) {
	for _, s := range order.Statuses {
		all = append(all, string(s))
	}
	return append(all, extra...)
}

func event(typ string) *order.Event {
	e := &order.Event{
		Meta:    domain.Meta{Type: typ, ID: "o-7/4", At: 1_767_355_200_000},
		Version: 4, OrderID: "o-7", UserID: "u-7", StoreID: "s-7", RiderID: "r-7", Status: order.Cooking, Attempt: 1,
		Total: new(domain.Money(18000)), Reason: "the reason", CauseID: "c", ReadyAt: 1_767_356_100_000, Wish: order.WishRefund,
	}
	if slices.Contains(order.Statuses, order.Status(typ)) {
		e.Status = order.Status(typ)
	}
	return e
}

// Who is told what: what a change of it would break.
var audience = map[string][]string{
	"placed":           {"customer"},
	"paid":             {"customer", "store"},
	"accepted":         {"customer"},
	"cooking":          {"customer"},
	"rider_assigned":   {"customer", "store", "rider"},
	"assigned":         {"customer", "rider"},
	"rider_lost":       {"customer", "rider"},
	"picked_up":        {"customer", "store"},
	"delivered":        {"customer", "rider"},
	"delayed":          {"customer"},
	"reminded":         {"store"},
	"rescheduled":      {"customer", "rider"},
	"refused":          {"customer"},
	"payment_failed":   {"customer"},
	"rejected":         {"customer"},
	"cancelled":        {"customer", "store", "rider"},
	"delivery_failed":  {"customer", "store", "rider"},
	"refund_requested": {"customer", "store"},
	"refunded":         {"customer", "store"},
	"refund_denied":    {"customer"},
}

func TestOf(t *testing.T) {
	recipients := map[string]string{notification.Customer: "u-7", notification.Store: "s-7", notification.Rider: "r-7"}
	for _, l := range []notification.Language{notification.English, notification.Korean} {
		for _, typ := range types() {
			var told []string
			e := event(typ)
			for _, n := range notification.Of(e, l) {
				told = append(told, n.Audience)
				require.Equal(t, domain.Meta{Type: typ, ID: "o-7/4/" + n.Audience, At: e.At}, n.Meta)
				require.Equal(t, recipients[n.Audience], n.Recipient)
				require.Equal(t, n.Recipient, n.Names())
				require.Equal(t, "o-7", n.OrderID)
				require.Equal(t, string(e.Status), n.Status)
				require.Contains(t, n.Message, "o-7", "%s to the %s", typ, n.Audience)
				require.NotRegexp(t, `[{}]`, n.Message)
				require.Regexp(t, `[.!?]$`, n.Message)
				korean := regexp.MustCompile(`\p{Hangul}`).MatchString(n.Message)
				require.Equal(t, l == notification.Korean, korean, n.Message)
				require.False(t, unicode.IsSpace(rune(n.Message[0])))
			}
			require.Equal(t, audience[typ], told, typ)
			require.Equal(t, notification.Of(e, l), notification.Of(e, l), "the same event, the same notifications")
		}
	}
}

// What is filled in is taken as it is.
func TestOf_FilledIn(t *testing.T) {
	e := event("cancelled")
	e.Reason = "cancelled by the customer: {rider} {order} \\1 100%"
	for _, n := range notification.Of(e, notification.English) {
		require.Equal(t, `Order o-7 is cancelled by the customer: {rider} {order} \1 100%.`, n.Message)
	}
	require.Equal(t, "Order o-7 is paid: 18000.", notification.Of(event("paid"), notification.English)[0].Message)
	require.Equal(t, "r-7 will bring order o-7.", notification.Of(event("rider_assigned"), notification.English)[0].Message)
	require.Equal(t, "We have your order o-7 and are asking s-7.", notification.Of(event("placed"), notification.English)[0].Message)
}

// No rider, no message to him.
func TestOf_NobodyThere(t *testing.T) {
	e := event("cancelled")
	e.RiderID = ""
	all := notification.Of(e, notification.English)
	require.Len(t, all, 2)
	for _, n := range all {
		require.NotEqual(t, notification.Rider, n.Audience)
	}
	e.Type = "of a later version"
	require.Empty(t, notification.Of(e, notification.English))
}

func TestParseLanguage(t *testing.T) {
	for _, s := range []string{"en", "ko"} {
		l, err := notification.ParseLanguage(s)
		require.NoError(t, err)
		require.NotEmpty(t, notification.Of(event("placed"), l)[0].Message)
	}
	_, err := notification.ParseLanguage("de")
	require.EqualError(t, err, `"de" is no language of the notifications: en or ko`)
}

// Reasons that groups give each other are said in words, those of people as they are.
func TestOf_Reason(t *testing.T) {
	said := func(typ, reason string, l notification.Language) string {
		e := event(typ)
		e.Reason = reason
		all := notification.Of(e, l)
		return all[len(all)-1].Message
	}
	require.Equal(t, "Order o-7 can't be delivered: too many deliveries are waiting in the area. Nobody pays for it.", said("delivery_failed", "area_full", notification.English))
	require.Contains(t, said("delivery_failed", "area_full", notification.Korean), "지역에 대기 중인 배달이 너무 많습니다")
	require.Contains(t, said("delivery_failed", "no_rider", notification.English), "no rider was found")
	require.Contains(t, said("refused", "short", notification.English), "it is sold out")
	require.Contains(t, said("rider_lost", "late", notification.English), "not picked up in time")
	require.Contains(t, said("rejected", "closed", notification.English), ": closed.")
	require.Equal(t, "The customer of order o-7 asks for a refund: it is cold. Please decide.", said("refund_requested", "it is cold", notification.English))
	again := event("refund_requested")
	again.Wish = order.WishRedelivery
	require.Contains(t, notification.Of(again, notification.English)[1].Message, "asks for another delivery: the reason.")
	require.Contains(t, notification.Of(again, notification.Korean)[1].Message, "재배달을(를) 요청")
	require.Contains(t, notification.Of(event("rescheduled"), notification.English)[0].Message, "later than we said: at 2026-01-02T12:15:00.000Z.")
	e := event("paid")
	e.Total = new(domain.Money(0))
	require.Contains(t, notification.Of(e, notification.English)[0].Message, "is paid: 0.")
}

package order_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
)

// undoing is sent again always; anything else only while it is still wanted. A
// withdrawal that names a version is no undoing but asks for a decision.
var undoing = regexp.MustCompile(`/(commit|release|void|capture|refund|withdraw)/\d+$`)

func isUndoing(key string) bool { return undoing.MatchString(key) }

// After any part of any life, each message that was handled is handled again,
// as after a crash, with the row ahead of it.
func TestOrder_ComingTwice(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			ever := map[string]string{}
			for _, h := range way.story {
				out := l.do(h.when)
				for key, data := range sent(t, out) {
					if before, ok := ever[key]; ok {
						require.Equal(t, before, data, "%s was sent before with other bytes", key)
					}
					ever[key] = data
				}
				row := MustJSON(t, l.o)
				for i, h := range l.log {
					o := MustReload(t, l.o)
					again := handle(o, h.m, l.now.Add(time.Hour), l.cfg)
					label := fmt.Sprintf("message %d (%s) comes again after message %d", i, MustJSON(t, h.m), len(l.log)-1)

					require.Equal(t, row, MustJSON(t, o), label)
					require.False(t, again.Changed, label)
					require.Equal(t, len(h.out.Events), len(again.Events), label)
					was, is := sent(t, h.out), sent(t, again)
					for key, data := range was {
						if strings.HasPrefix(key, "event ") || strings.HasPrefix(key, "verdict ") || isUndoing(key) {
							require.Equal(t, data, is[key], label)
						}
					}
					for key, data := range is {
						if _, ok := ever[key]; !ok { // a grant to an order that dispatch has ended is undone
							require.Contains(t, key, "/withdraw/", label)
							ever[key] = data
						}
						require.Equal(t, ever[key], data, "%s: %s", label, key)
						if _, ok := was[key]; !ok {
							require.True(t, isUndoing(key), "%s: %s is new", label, key)
						}
					}
				}
			}
		})
	}
}

// After any part of any life, what was said from a version on is said again, in its order and byte for byte, up to what the
// message says itself that is handled then.
func TestOrder_Again(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			said := map[int]string{}
			for _, h := range way.story {
				out := l.do(h.when)
				for i := range out.Events {
					said[out.Events[i].Version] = MustJSON(t, &out.Events[i])
				}
				row := MustJSON(t, l.o)
				require.Empty(t, l.o.Again(0, "any").Events)
				for from := 1; from <= l.o.Version; from++ {
					for _, entry := range append(l.o.Timeline, order.Entry{Version: l.o.Version + 1, CauseID: "new"}) {
						again := l.o.Again(from, entry.CauseID)
						first := l.o.Timeline[0]
						for _, first = range append(l.o.Timeline, order.Entry{Version: l.o.Version + 1, CauseID: "new"}) {
							if first.CauseID == entry.CauseID {
								break
							}
						}
						require.Len(t, again.Events, max(0, first.Version-from))
						for i := range again.Events {
							require.Equal(t, said[from+i], MustJSON(t, &again.Events[i]))
						}
						require.False(t, again.Changed || again.Forget)
					}
				}
				require.Equal(t, row, MustJSON(t, l.o), "the row stays")
			}
		})
	}
}

// A request is sent again while its answer is waited for, and then no more.
func TestOrder_RequestsComingTwice(t *testing.T) {
	for name, tt := range map[string]struct {
		life   []message
		repeat int // which of them comes again
		sends  []string
	}{
		"PlacedAndWaiting":         {toPlaced, 0, []string{"stock reserve 1", accepted}},
		"PlacedAndReserved":        {toPaying, 0, []string{accepted}},
		"PlacedAndCancelled":       {with(toPlaced, command(order.Cancel)), 0, []string{accepted}},
		"ReservedAndWaiting":       {toPaying, 1, []string{"payment authorize 23000 of user-1"}},
		"ReservedAndPaid":          {toPaid, 1, []string{}},
		"ReservedAndCancelled":     {with(toPaying, command(order.Cancel)), 1, []string{"stock release 1"}},
		"PaidAndCancelled":         {with(toPaid, command(order.Cancel)), 2, []string{"payment void, " + byClient}},
		"AcceptedAndSeeking":       {toReady, 3, []string{"dispatch request 1", accepted}},
		"AcceptedAndRiderFound":    {toAssigned, 3, []string{accepted}},
		"AcceptedAndCancelled":     {with(toAccepted, command(order.Cancel)), 3, []string{accepted}},
		"CookingIsCommittedAlways": {toComplaint, 4, []string{commit, accepted}},
		"ReadyAndSeeking":          {toReady, 5, []string{foodReady, accepted}},
		"ReadyAndPickedUp":         {toPickedUp, 5, []string{accepted}},
		"DeliveredIsCaptured":      {toSecond, 8, []string{capture}},
		"SecondAndWaiting":         {toSecond, 10, []string{"stock reserve 2", "dispatch request 2", accepted}},
		"SecondAndReserved":        {toSecondReserved, 10, []string{"dispatch request 2", accepted}},
		"SecondAndDelivered":       {toSecondDelivered, 10, []string{accepted}},
		"FirstRequestInSecond":     {toSecond, 3, []string{accepted}},
		"FirstReadyInSecond":       {toSecond, 5, []string{accepted}},
		// So with what a deadline asked.
		"StockAskedAgainAndWaiting":   {with(toPlaced, due{}), 1, []string{"stock reserve 1"}},
		"StockAskedAgainAndReserved":  {with(toPlaced, due{}, reserved(Manual, 1)), 1, []string{}},
		"GivenUpAndWaiting":           {with(toAssigned, due{}), 7, []string{"dispatch give_up 1, " + Bora + ", late"}},
		"GivenUpAndLost":              {with(toAssigned, due{}, delivery(dispatch.Unassigned, Bora, 1)), 7, []string{}},
		"WithdrawnAndWaiting":         {with(toReady, due{}), 6, []string{withdraw}},
		"WithdrawnAgainAndWaiting":    {with(toReady, due{}, due{}), 6, []string{withdraw}},
		"WithdrawnAndAssigned":        {with(toReady, due{}, delivery(dispatch.Assigned, Bora, 1)), 6, []string{}},
		"WithdrawnAndReadyAgain":      {with(toReady, due{}, delivery(dispatch.Assigned, Bora, 1), delivery(dispatch.Unassigned, Bora, 1)), 6, []string{}},
		"WithdrawnAndFailed":          {reach[order.DeliveryFailed], 6, []string{}},
		"FailedAfterWithdrawalIsVoid": {reach[order.DeliveryFailed], 7, []string{"payment void, no_rider"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, tt.life...)
			out := l.do(l.log[tt.repeat].m)
			require.Equal(t, tt.sends, requests(out))
			require.False(t, out.Changed)
		})
	}
}

// What was decided is remembered, however the order went on.
func TestOrder_ARefusalStaysARefusal(t *testing.T) {
	tooEarly := command(order.StartCooking)
	l := live(t, with(toPaid, tooEarly)...)
	refused := l.log[len(l.log)-1].out.Verdicts
	require.Equal(t, domain.Refused, refused[0].Verdict)
	l.do(command(order.Accept))

	out := l.do(tooEarly) // would be legal now
	require.Equal(t, refused, out.Verdicts)
	require.Equal(t, order.AcceptedStatus, l.o.Status)
	require.Equal(t, order.Cooking, func() order.Status { l.do(again(command(order.StartCooking))); return l.o.Status }())
}

// Refusals are remembered for an hour, also over the place that comes after them.
func TestOrder_RefusalsAreRememberedForAnHour(t *testing.T) {
	early := command(order.Cancel)
	l := live(t, early)
	first := l.log[0].out.Verdicts
	require.Equal(t, domain.CodeUnknown, first[0].Code)
	for _, m := range toPlaced {
		l.do(m)
	}
	refused := func() { l.do(again(command(order.Place))) }
	refused()
	l.do(later(time.Hour - 10*time.Second))
	c := command(order.Place)
	c.ID += "/within the hour"
	l.do(c)
	require.Equal(t, first, l.do(early).Verdicts)
	l.do(later(time.Minute))
	c = command(order.Place)
	c.ID += "/after it"
	l.do(c)
	require.Equal(t, domain.Accepted, l.do(early).Verdicts[0].Verdict, "it is forgotten, and can be followed now")
	require.Equal(t, order.Cancelled, l.o.Status)
}

// An order is not forgotten before its refusals are, however short it is kept.
func TestOrder_IsKeptForItsRefusals(t *testing.T) {
	for name, before := range map[string][]message{"Cancelled": reach[order.Cancelled], "Unknown": nil} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.cfg.Keep = time.Minute
			for _, m := range before {
				l.do(m)
			}
			l.do(later(50 * time.Second))
			c := again(command(order.Accept))
			refused := l.do(c).Verdicts
			at := l.now
			require.Equal(t, domain.Refused, refused[0].Verdict)
			out := l.do(due{})
			require.False(t, out.Forget)
			require.True(t, out.Changed)
			require.Less(t, l.now.Sub(at), 2*time.Minute)
			l.now = at.Add(domain.RefusedFor - time.Second)
			require.Equal(t, refused, l.do(c).Verdicts)
			require.True(t, l.do(due{}).Forget)
			require.Greater(t, l.now.Sub(at), domain.RefusedFor)
		})
	}
}

// The group compares ifVersion with the order's version before its rules.
func TestOrder_IfVersion(t *testing.T) {
	for name, tt := range map[string]struct {
		before  []message
		typ     string
		want    int
		code    string // "": accepted
		reason  string
		version int
	}{
		"PlaceIfNone":        {nil, order.Place, 0, "", "", 1},
		"PlaceIfThird":       {nil, order.Place, 3, "version", `order "o-1" does not exist, and ifVersion is 3: only 0 fits`, 0},
		"PlaceAgain":         {toPlaced, order.Place, 0, "version", `order "o-1" exists, in version 1, and ifVersion is 0: it must not exist yet`, 1},
		"AcceptOfTheThird":   {toPaid, order.Accept, 3, "", "", 4},
		"AcceptOfTheSecond":  {toPaid, order.Accept, 2, "version", `order "o-1" has version 3, and ifVersion is 2: read it again, then decide`, 3},
		"BeforeTheRules":     {toPlaced, order.Confirm, 7, "version", "has version 1, and ifVersion is 7", 1},
		"TheRulesComeAfter":  {toPlaced, order.Confirm, 1, "status", "must be [delivered]", 1},
		"UnknownIfNone":      {nil, order.Confirm, 0, "unknown", "is unknown", 0},
		"SeveralTransitions": {with(toPlaced, reserved(AutoAccept, 1), paid(payment.Approved)), order.Cancel, 5, "status", "until cooking starts", 5},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, tt.before...)
			c := again(command(tt.typ))
			c.IfVersion = new(tt.want)
			for range 2 { // the same for a repeat, whatever the version is then
				v := l.do(c).Verdicts[0]
				require.Equal(t, tt.code, v.Code)
				require.Equal(t, tt.code != "", v.Verdict == domain.Refused)
				require.Contains(t, v.Reason, tt.reason)
				require.Equal(t, tt.version, v.Version)
			}
		})
	}
	c := command(order.Confirm)
	c.IfVersion = new(-1)
	require.ErrorContains(t, c.Validate(), "ifVersion: must be from 0")
	require.Nil(t, command(order.Confirm).Own().IfVersion)
	c.IfVersion = new(0)
	require.Contains(t, MustJSON(t, c.Own()), `"ifVersion":0`, "0 is something else than nothing")
}

func TestOrder_RefusalsAreBounded(t *testing.T) {
	l := live(t, toPlaced...)
	for i := range 1000 {
		c := command(order.Confirm)
		c.ID = fmt.Sprintf("client-%d", i)
		l.do(c)
	}
	require.Equal(t, 1, l.o.Version)
	n := len(l.o.Recent)
	require.Equal(t, "client-999", l.o.Recent[n-1].CommandID)
	row := MustJSON(t, l.o.Recent)
	require.Greater(t, n, 100, "an order has few refusals, and all are remembered")
	require.Less(t, len(row), domain.MaxRefusedBytes)
	sum := 0
	for _, a := range l.o.Recent {
		require.Less(t, len(MustJSON(t, &a)), domain.RefusedBytes(a.CommandID, a.Reason), "it counts for more than it takes")
		sum += domain.RefusedBytes(a.CommandID, a.Reason)
	}
	require.Greater(t, sum, domain.MaxRefusedBytes-400, "as many as may be are remembered")
	verdict := func(i int) domain.Verdict {
		c := command(order.Confirm)
		c.ID = fmt.Sprintf("client-%d", i)
		return handle(l.o, c, l.now, l.cfg).Verdicts[0]
	}
	require.Equal(t, l.log[1+1000-n].out.Verdicts[0], verdict(1000-n), "the oldest that is remembered")
	require.Equal(t, row, MustJSON(t, l.o.Recent))
	require.Greater(t, verdict(1000-n-1).At, l.log[1+1000-n-1].out.Verdicts[0].At, "the one before it is decided on anew")
}

// The same life told with the row sent through its JSON between any two
// messages is the same life.
func TestOrder_RowSurvivesItsJSON(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			plain, reloaded := newLife(t), newLife(t)
			for _, h := range way.story {
				a, b := plain.do(h.when), reloaded.do(h.when)
				require.Equal(t, sent(t, a), sent(t, b))
				require.Equal(t, a.Changed, b.Changed)
				reloaded.o = MustReload(t, reloaded.o)
				require.Equal(t, MustJSON(t, plain.o), MustJSON(t, reloaded.o))
			}
		})
	}
}

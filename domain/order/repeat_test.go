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

func TestOrder_RefusalsAreBounded(t *testing.T) {
	l := live(t, toPlaced...)
	for i := range 1000 {
		c := command(order.Confirm)
		c.ID = fmt.Sprintf("client-%d", i)
		l.do(c)
	}
	require.Len(t, l.o.Recent, 32)
	require.Equal(t, "client-999", l.o.Recent[31].CommandID)
	require.Equal(t, 1, l.o.Version)
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

package order_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/order"
)

// undoings are sent again always; anything else only while it is still wanted.
var undoings = []string{"/commit/", "/release/", "/void/", "/capture/", "/refund/", "/withdraw/"}

func isUndoing(key string) bool {
	for _, u := range undoings {
		if strings.Contains(key, u) {
			return true
		}
	}
	return false
}

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
		c.ID = fmt.Sprintf("client/%d", i)
		l.do(c)
	}
	require.Len(t, l.o.Recent, 32)
	require.Equal(t, "client/999", l.o.Recent[31].CommandID)
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

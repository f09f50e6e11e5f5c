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
)

func postpone(by string) *order.Command {
	c := command(order.Postpone)
	c.ID, c.By = "postpone "+by, by
	return c
}

// A store that needs longer says so: the deadline moves, the area is told, and
// what was said before is said again as it was.
func TestOrder_Postpone(t *testing.T) {
	l := live(t, toAccepted...)
	promised := l.o.ReadyAt
	request := l.log[len(l.log)-1].out.Dispatch[0]
	require.Equal(t, promised, request.ReadyAt)

	out := l.do(postpone("5m"))
	later := promised.Add(5 * time.Minute)
	require.Equal(t, later, l.o.ReadyAt)
	require.Equal(t, order.Wait{At: later.Add(l.cfg.Deadlines[order.AcceptedStatus]), Then: order.Reminded}, *l.o.Deadline)
	require.Equal(t, order.Event{
		Meta: domain.Meta{Type: "rescheduled", ID: "o-1/5", At: l.now}, Version: 5, OrderID: orderID, UserID: customer, StoreID: storeID,
		Status: order.AcceptedStatus, Attempt: 1, Lines: Dinner, Total: new(Price), Area: area, CauseID: "postpone 5m", ReadyAt: later,
	}, out.Events[0])
	require.NoError(t, out.Events[0].Validate())
	told := out.Dispatch[0]
	require.Equal(t, dispatch.Command{Meta: domain.Meta{Type: "postpone", ID: "o-1/postpone/5", At: l.now}, Area: area, OrderID: orderID, Attempt: 1, ReadyAt: later}, told)
	require.NoError(t, told.Validate())
	require.NoError(t, told.CheckName())
	require.Equal(t, 5, out.Verdicts[0].Version)

	l.do(command(order.StartCooking))
	l.do(postpone("1m"))
	require.Equal(t, later.Add(time.Minute), l.o.ReadyAt)
	require.Equal(t, request, l.do(command(order.Accept)).Dispatch[0], "the request is the one that it was")
	require.Equal(t, sent(t, out), sent(t, l.do(postpone("5m"))), "and so is what postponed it")

	// What is late already counts from now.
	l = live(t, with(toAccepted, due{})...)
	require.Equal(t, order.Reminded, l.o.Timeline[4].Type)
	l.do(postpone("10m"))
	require.Equal(t, l.now.Add(10*time.Minute), l.o.ReadyAt)
	require.Equal(t, order.Reminded, l.o.Deadline.Then, "the store is reminded once more")

	// A store that cooks by itself is ready later.
	l = live(t, toPlaced[0], reserved(AutoAccept, 1), paid(payment.Approved), postpone("5m"))
	require.Equal(t, order.Wait{At: l.o.ReadyAt, Then: string(order.Ready)}, *l.o.Deadline)
	l.do(due{})
	require.Equal(t, order.Ready, l.o.Status)
	require.Empty(t, l.do(postpone("5m")).Dispatch, "it is ready: a repeat tells the area nothing")

	// A second delivery has its own time.
	l = live(t, with(toAccepted, postpone("5m"))...)
	for _, m := range toSecond[len(toAccepted):] {
		l.do(m)
	}
	require.Equal(t, 2, l.o.Attempt)
	require.Equal(t, l.now.Add(cookingTime), l.o.ReadyAt)
	require.Empty(t, l.do(postpone("5m")).Dispatch, "it was about the first delivery")
}

func TestOrder_PostponeIsBounded(t *testing.T) {
	l := live(t, toAccepted...)
	v := l.do(postpone("23h50m2s")).Verdicts[0]
	require.Equal(t, domain.CodeRefused, v.Code)
	require.Contains(t, v.Reason, `postpone: order "o-1" is accepted: it would be ready at 2026-01-03T12:00:06.000Z: at most 24h from now`)
	for i := range order.MaxPostponed {
		require.Equal(t, domain.Accepted, l.do(postpone(fmt.Sprintf("%ds", i+1))).Verdicts[0].Verdict)
	}
	require.Contains(t, l.do(postpone("1m")).Verdicts[0].Reason, "it was postponed 8 times, which is the most")

	// Riders that come and go don't make it forget what a command has caused.
	version := l.o.Version
	for n := range 100 {
		who := fmt.Sprint("r-", n)
		l.do(delivery(dispatch.Assigned, who, 1))
		l.do(delivery(dispatch.Unassigned, who, 1))
	}
	require.LessOrEqual(t, len(l.o.Timeline), order.MaxTimeline)
	require.Equal(t, version+200, l.o.Version)
	for i := range order.MaxPostponed {
		out := l.do(postpone(fmt.Sprintf("%ds", i+1)))
		require.True(t, out.Repeat)
		require.Equal(t, domain.Accepted, out.Verdicts[0].Verdict)
	}
	require.Equal(t, version+200, l.o.Version)

	for by, problem := range map[string]string{
		"": "by: is missing", "soon": `by: "soon" is not a duration`, "-5m": "by: must be from 1s to 24h", "0s": "by: must be from 1s", "24h1s": "by: must be from 1s",
		"24h": "", "90s": "",
	} {
		c := postpone(by)
		c.ID = ""
		if err := c.Validate(); problem == "" {
			require.NoError(t, err, by)
		} else {
			require.ErrorContains(t, err, problem, by)
		}
	}
}

// What the customer says when they order is kept for those who need it.
func TestOrder_KeepsWhatIsSaidWhenItIsPlaced(t *testing.T) {
	l := live(t, toPlaced...)
	require.Equal(t, "ring twice", l.o.Note)
	require.Equal(t, "+82 10-1234-5678", l.o.Phone)
	require.Equal(t, Home, l.o.Address)
	event := MustJSON(t, &l.log[0].out.Events[0])
	require.NotContains(t, event, "+82", "who it is not for does not see it")

	own := command(order.Place).Own()
	require.Equal(t, []string{"ring twice", "+82 10-1234-5678"}, []string{own.Note, own.Phone})
	other := command(order.Confirm)
	other.Note, other.Phone = "x", "1"
	require.Empty(t, other.Own().Note+other.Own().Phone, "they are of place alone")

	for field, change := range map[string]func(*order.Command){
		"note: is longer than 1000 bytes":                func(c *order.Command) { c.Note = string(make([]byte, 1001)) },
		"note: is not UTF-8":                             func(c *order.Command) { c.Note = "\xff" },
		"phone: is longer than 50 bytes":                 func(c *order.Command) { c.Phone = fmt.Sprintf("%051d", 1) },
		"phone: must not contain control characters":     func(c *order.Command) { c.Phone = "1\n2" },
		"ifVersion: must be from 0 to 1000000000: 0 whe": func(c *order.Command) { c.IfVersion = new(-1) },
	} {
		c := command(order.Place)
		change(c)
		require.ErrorContains(t, c.Validate(), field)
	}
}

// What the store had too little of is in the row as long as it is why the order
// stands where it does.
func TestOrder_Short(t *testing.T) {
	l := live(t, with(toPlaced, notReserved("short", 1, shortage))...)
	require.Equal(t, []domain.Shortage{shortage}, l.o.Short)
	require.Equal(t, l.o.Short, MustReload(t, l.o).Short)
	l = live(t, with(toSecond, notReserved("short", 2, shortage))...)
	require.Equal(t, order.Refunded, l.o.Status)
	require.Equal(t, []domain.Shortage{shortage}, l.o.Short)
}

package order_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
)

func known(id, mark string) domain.Name { return domain.Name{ID: id, Own: true, Mark: mark} }

// An id that names one command names no other: neither one that was obeyed nor
// one that was refused. The refusal leaves nothing, and is the same each time.
func TestOrder_IDTaken(t *testing.T) {
	l := newLife(t)
	for _, m := range toPaid {
		l.do(m)
	}
	accept, cancel := command(order.Accept), command(order.Cancel)
	require.NotEmpty(t, l.o.Command(accept, known("c-1", "accept"), l.now, l.cfg).Events)
	confirm := command(order.Confirm)
	require.Equal(t, domain.Refused, l.o.Command(confirm, known("c-2", "confirm"), l.now, l.cfg).Verdicts[0].Verdict, "too early")

	row := MustJSON(t, l.o)
	var said []string
	for range 2 {
		l.now = l.now.Add(time.Hour)
		for _, id := range []string{"c-1", "c-2"} {
			out := l.o.Command(cancel, known(id, "cancel"), l.now, l.cfg)
			require.Len(t, out.Verdicts, 1)
			require.Equal(t, domain.CodeReused, out.Verdicts[0].Code)
			require.Equal(t, map[string]int{"c-1": 4, "c-2": 4}[id], out.Verdicts[0].Version, "of when the first was decided")
			require.Contains(t, out.Verdicts[0].Reason, `the id "`+id+`" names another command`)
			require.Equal(t, order.Out{Verdicts: out.Verdicts}, out)
			said = append(said, MustJSON(t, out.Verdicts))
		}
		require.Equal(t, row, MustJSON(t, l.o))
	}
	require.Equal(t, said[:2], said[2:], "the same answer, whenever")
	require.NotEqual(t, said[0], said[1])

	again := l.o.Command(accept, known("c-1", "accept"), l.now, l.cfg)
	require.Equal(t, domain.Accepted, again.Verdicts[0].Verdict, "the first one's answer stays")
	require.True(t, again.Repeat)

	anew := known("t/0/7", "one")
	anew.Own = false
	l.o.Command(confirm, anew, l.now, l.cfg)
	anew.Mark = "of the topic that was made anew"
	out := l.o.Command(cancel, anew, l.now, l.cfg)
	require.Equal(t, domain.Accepted, out.Verdicts[0].Verdict, "coordinates that come again are another command")
	require.Equal(t, order.Cancelled, l.o.Status)
}

// Only a command repeats a command: what another group says under its id is
// news. (The checks of ids keep the two apart before they come to the row.)
func TestOrder_NoRepeatOfAnotherSender(t *testing.T) {
	l := newLife(t)
	for _, m := range toPaid {
		l.do(m)
	}
	const id = orderID + "/assigned/1/1"
	require.NotEmpty(t, l.o.Command(command(order.Accept), known(id, "accept"), l.now, l.cfg).Dispatch)
	e := &dispatch.DeliveryEvent{Meta: domain.Meta{Type: dispatch.Assigned, ID: id, At: l.now}, OrderID: orderID, Attempt: 1, Area: Manual.Area, RiderID: "r-1"}
	out := l.o.Delivery(e, l.now, l.cfg)
	require.Empty(t, out.Dispatch, "dispatch is not asked again")
	require.Len(t, out.Events, 1)
	require.Equal(t, order.RiderAssigned, out.Events[0].Type)
	again := l.o.Delivery(e, l.now, l.cfg)
	require.True(t, again.Repeat)
	require.Equal(t, out.Events, again.Events)
	require.Empty(t, again.Dispatch)
	repeat := l.o.Command(command(order.Accept), known(id, "accept"), l.now, l.cfg)
	require.Len(t, repeat.Events, 1)
	require.Equal(t, "accepted", repeat.Events[0].Type)
}

// A command's id is an id like any other; the place that HTTP sends is named
// after its order.
func TestCommand_ID(t *testing.T) {
	for id, wrong := range map[string]string{
		"": "", "c-1": "", "o-1/assigned/1/1": "id: must not contain a slash", "o-1/place": "id: must not contain a slash", "/": "id: must not contain a slash",
	} {
		c := command(order.Accept)
		c.ID, c.OrderID = id, orderID
		if err := c.Validate(); wrong == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, wrong)
		}
	}
	p := command(order.Place)
	p.OrderID, p.ID = orderID, order.PlaceID(orderID)
	require.NoError(t, p.Validate())
	p.OrderID = ""
	require.Error(t, p.Validate(), "of which order it does not say")
	p.OrderID = "o-2"
	require.Error(t, p.Validate(), "of another order")
}

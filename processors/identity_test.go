package processors_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/stream"
)

// A client that names its command as dispatch will name its event must not set
// the two off against each other.
func TestIdentity_ForgedName(t *testing.T) {
	w := newTown(t)
	w.store("")
	w.order(placeJSON("p", 2))
	w.status(order.Paid)
	forged := `{"type":"accept","id":"o-1/assigned/1/1","verdict":true}`
	out := w.send(w.OrderCommands.Name(), "o-1", forged)
	letter := one(t, out)
	require.Equal(t, w.DeadLetters.Name(), letter.topic)
	require.Equal(t, "id: must not contain a slash", string(letter.headers[stream.HeaderError]))
	w.status(order.Paid)

	w.order(`{"type":"accept","id":"acc","verdict":true}`)
	before := len(w.sent)
	w.rider(`{"type":"online","id":"on","area":"a-1","lat":37.5,"lon":127,"verdict":true}`)
	require.Len(t, only(w.bench, w.DispatchCommands, w.sent[before:]), 1, "the rider enters, and nobody asks again")
	require.Len(t, only(w.bench, w.DeliveryEvents, w.sent[before:]), 1)
	require.Equal(t, []string{"placed", "paying", "paid", "accepted", "rider_assigned"}, w.types())
}

// The same id with other content is refused by whichever group the command is
// for, and the verdict tells the two apart.
func TestIdentity_Taken(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	w.order(placeJSON("p", 2))
	for _, c := range []struct{ topic, key, first, second string }{
		{w.OrderCommands.Name(), "o-1", `{"type":"accept","id":"c","verdict":true}`, `{"type":"start_cooking","id":"c"}`},
		{w.StoreCommands.Name(), "s-1", `{"type":"add_stock","id":"c","product":"bibimbap","quantity":1,"verdict":true}`, `{"type":"add_stock","id":"c","product":"bibimbap","quantity":2}`},
		{w.RiderCommands.Name(), "r-1", `{"type":"picked_up","id":"c","orderId":"o-1","verdict":true}`, `{"type":"decline","id":"c","orderId":"o-1"}`},
		{w.RiderCommands.Name(), "r-1", `{"type":"online","id":"on","area":"a-1","lat":37.5,"lon":127,"verdict":true}`, `{"type":"offline","id":"on"}`},
	} {
		first := only(w.bench, w.Verdicts, w.send(c.topic, c.key, c.first))
		require.Len(t, first, 1, c.first)
		require.Equal(t, domain.Accepted, first[0].Verdict, c.first)
		before := w.rows()
		second := only(w.bench, w.Verdicts, w.send(c.topic, c.key, c.second))
		require.Len(t, second, 1, c.second)
		require.Equal(t, domain.Refused, second[0].Verdict, c.second)
		require.Contains(t, second[0].Reason, "names another command")
		require.Equal(t, before, w.rows(), c.second)
		for i, v := range []domain.Verdict{first[0], second[0]} {
			command := []string{c.first, c.second}[i]
			require.Equal(t, c.key, v.Key)
			require.Equal(t, nameOf(t, "c", command).Digest, v.Digest, command)
			require.Equal(t, w.Short(c.topic), v.Stream)
		}
		require.Equal(t, first, only(w.bench, w.Verdicts, w.send(c.topic, c.key, c.first)), "the first one's answer stays")
	}
}

// HTTP names the place of an order after the order; a client's own place of it
// is another command, and the order that came first stays.
func TestIdentity_PlaceOverHTTP(t *testing.T) {
	w := newTown(t)
	w.begin(false)
	w.order(`{"type":"place","id":"o-1/place","orderId":"o-1",` + placeJSON("x", 2)[len(`{"type":"place","id":"x",`):])
	require.Equal(t, domain.Accepted, w.verdicts()["o-1/place"])
	w.order(placeJSON("own", 1))
	require.Equal(t, domain.Refused, w.verdicts()["own"])
	require.Equal(t, 2, row(w.bench, w.OrdersTable, "o-1").Lines[0].Quantity)
}

package dispatch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain/dispatch"
)

// Food that is ready later moves the time at which a rider is expected, and the
// time at which a delivery that waits for a claim is given to somebody.
func TestArea_Postpone(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	later := t0.Add(30 * time.Minute)
	w.do(request("o-1", 1))
	require.Empty(t, said(w.do(postpone("o-1", later))))
	require.Equal(t, dispatch.Millis(later), w.area.Deliveries[0].ReadyAt)
	require.False(t, w.do(postpone("o-1", later.Add(-time.Minute))).Changed, "never sooner: it is one that comes again")
	require.False(t, w.do(postpone("o-2", later)).Changed, "nobody knows it")

	out := w.do(enter("r-1", 1, 1, 1))
	require.Equal(t, later, out.Deliveries[0].EtaPickup)
	was, _ := w.area.DeliveryView("o-1")
	w.do(postpone("o-1", later.Add(time.Minute)))
	is, _ := w.area.DeliveryView("o-1")
	require.Equal(t, dispatch.Eta{Pickup: was.Eta.Pickup.Add(time.Minute), Drop: was.Eta.Drop.Add(time.Minute)}, *is.Eta)
	w.do(ofOrder(dispatch.Ready, "o-1"))
	require.False(t, w.do(postpone("o-1", later.Add(time.Hour))).Changed, "it is ready")
	w.do(says("r-1", dispatch.PickedUp, "o-1"))
	w.do(says("r-1", dispatch.Delivered, "o-1"))
	require.False(t, w.do(postpone("o-1", later.Add(2*time.Hour))).Changed, "it is over")

	c := ofOrder(dispatch.Postpone, "o-1")
	require.EqualError(t, c.Validate(), "readyAt: is missing")
	require.NoError(t, c.CheckName())
	c.ID = "o-2/postpone/1"
	require.Error(t, c.CheckName())
}

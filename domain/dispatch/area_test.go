package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
)

const t0 = domain.Time(1_760_000_000_000)

// Places along a meridian; 0.001 degrees are 111 m.
func at(km float64) *domain.Point {
	return domain.PointAt(domain.Place{Lat: 37.5 + km/111.195, Lon: 127.03})
}

// town is an area, its planner and its clock. Every command goes through JSON
// and is repeated: the repeat must change nothing and say the same.
type town struct {
	*testing.T
	area *dispatch.Area
	plan dispatch.Planner
	now  domain.Time
}

func newTown(t *testing.T, mode dispatch.Mode) *town {
	return &town{T: t, area: dispatch.NewArea("a-1"), plan: dispatch.Planner{Mode: mode}, now: t0}
}

func (w *town) do(c dispatch.Command) dispatch.Out {
	w.Helper()
	require.NoError(w, c.Validate())
	w.now = w.now.Add(time.Second)
	out := w.area.Handle(&c, w.now, w.plan)
	before := mustJSON(w, w.area)
	w.area = mustRow(w, before)

	again := w.area.Handle(&c, w.now.Add(time.Hour), w.plan)
	assert.False(w, again.Changed, "the repeat of %s changed the row", c.ID)
	assert.Equal(w, string(before), string(mustJSON(w, w.area)), "the repeat of %s changed the row", c.ID)
	if c.Type != dispatch.Withdraw && c.Type != dispatch.Delivered {
		// A withdraw that was late is told the end of the delivery later; the
		// rider's assigned event is not sent again when the delivery is over.
		again.Changed = out.Changed
		assert.Equal(w, out, again, "the repeat of %s", c.ID)
	}
	return out
}

func mustJSON(t require.TestingT, v any) []byte {
	b, err := codecs.Marshal(v)
	require.NoError(t, err)
	return b
}

func mustRow(t require.TestingT, b []byte) *dispatch.Area {
	a := new(dispatch.Area)
	require.NoError(t, codecs.Unmarshal(b, a))
	return a
}

func meta(kind, id string) domain.Meta { return domain.Meta{Type: kind, ID: id} }

func enter(rider string, km float64, capacity, shift int) dispatch.Command {
	return dispatch.Command{
		Meta: meta(dispatch.Enter, fmt.Sprintf("%s/enter/%d", rider, shift)), RiderID: rider, Place: at(km), Capacity: capacity, Shift: shift,
	}
}

func leave(rider string, shift, n int) dispatch.Command {
	return dispatch.Command{Meta: meta(dispatch.Leave, fmt.Sprintf("%s/leave/%d/%d", rider, shift, n)), RiderID: rider, Shift: shift}
}

func request(order string, km float64) dispatch.Command {
	return dispatch.Command{
		Meta: meta(dispatch.Request, order+"/request/1"), OrderID: order, Attempt: 1, Pickup: at(km), Drop: at(km + 1), ReadyAt: t0.Add(10 * time.Minute),
	}
}

func ofOrder(kind, order string) dispatch.Command {
	return dispatch.Command{Meta: meta(kind, order+"/"+kind+"/1"), OrderID: order, Attempt: 1}
}

func postpone(order string, to domain.Time) dispatch.Command {
	c := ofOrder(dispatch.Postpone, order)
	c.ID += "/" + to.String()
	c.ReadyAt = to
	return c
}

func giveUp(order, rider string) dispatch.Command {
	c := ofOrder(dispatch.GiveUp, order)
	c.RiderID = rider
	return c
}

func says(rider, kind, order string) dispatch.Command {
	id := kind + "-" + order
	return dispatch.Command{Meta: meta(kind, rider+"/"+kind+"/mark/"+id), RiderID: rider, OrderID: order, CommandID: id, Mark: "mark", Verdict: true}
}

// said lists what an Out tells, shortened.
func said(out dispatch.Out) (s []string) {
	for _, e := range out.Deliveries {
		s = append(s, e.ID+cond(e.RiderID != "", " "+e.RiderID)+cond(e.Reason != "", " ("+e.Reason+")"))
	}
	for _, e := range out.Riders {
		s = append(s, "> "+e.ID+cond(e.Reason != "", " ("+e.Reason+")"))
	}
	for _, v := range out.Verdicts {
		s = append(s, v.RiderID+": "+v.Verdict.Verdict+cond(v.Reason != "", " "+v.Reason))
	}
	return s
}

func cond(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// line is a command and what must be said to it.
type line struct {
	c    dispatch.Command
	want []string
}

func TestArea_Handle(t *testing.T) {
	stories := map[string]struct {
		mode  dispatch.Mode
		lines []line
	}{
		"Delivered": {lines: []line{
			{enter("r-1", 0, 1, 1), []string{"> r-1/entered/1"}},
			{request("o-1", 1), []string{"o-1/assigned/1/1 r-1", "> r-1/o-1/assigned/1/1"}},
			{ofOrder(dispatch.Ready, "o-1"), nil},
			{says("r-1", dispatch.Delivered, "o-1"), []string{`r-1: refused order "o-1" is not picked up yet: send picked_up first`}},
			{says("r-1", dispatch.PickedUp, "o-1"), []string{"o-1/picked_up/1 r-1", "r-1: accepted"}},
			{ofOrder(dispatch.Withdraw, "o-1"), nil},
			{giveUp("o-1", "r-1"), nil},
			{says("r-1", dispatch.Decline, "o-1"), []string{`r-1: refused order "o-1" is picked up: it can only be delivered`}},
			{says("r-1", dispatch.PickedUp, "o-1"), []string{"o-1/picked_up/1 r-1", "r-1: accepted"}},
		}},
		"Queue": {lines: []line{
			{request("o-1", 1), nil},
			{request("o-2", 1), nil},
			{request("o-3", 1), nil},
			{enter("r-1", 0, 2, 1), []string{"o-1/assigned/1/1 r-1", "o-2/assigned/1/1 r-1", "> r-1/entered/1", "> r-1/o-1/assigned/1/1", "> r-1/o-2/assigned/1/1"}},
			{says("r-1", dispatch.Decline, "o-1"), []string{"o-1/unassigned/1/1 r-1 (declined)", "o-3/assigned/1/1 r-1",
				"> r-1/o-1/unassigned/1/1 (declined)", "> r-1/o-3/assigned/1/1", "r-1: accepted"}},
			{enter("r-2", 9, 1, 1), []string{"o-1/assigned/1/2 r-2", "> r-2/entered/1", "> r-2/o-1/assigned/1/2"}},
			{giveUp("o-1", "r-1"), nil}, // he has lost it already
			{says("r-1", dispatch.PickedUp, "o-1"), []string{`r-1: refused order "o-1" is not yours: rider "r-2" has it`}},
			{giveUp("o-1", "r-2"), []string{"o-1/unassigned/1/2 r-2 (late)", "> r-2/o-1/unassigned/1/2 (late)"}},
			{says("r-2", dispatch.PickedUp, "o-1"), []string{`r-2: refused order "o-1" is not yours: no rider has it`}},
			{leave("r-2", 1, 1), []string{"> r-2/left/1"}},
		}},
		"Withdraw": {lines: []line{
			{ofOrder(dispatch.Withdraw, "o-9"), []string{"o-9/failed/1 (withdrawn)"}},
			{request("o-9", 1), []string{"o-9/failed/1 (withdrawn)"}},
			{enter("r-1", 0, 1, 1), []string{"> r-1/entered/1"}},
			{request("o-1", 1), []string{"o-1/assigned/1/1 r-1", "> r-1/o-1/assigned/1/1"}},
			{request("o-2", 1), nil},
			{ofOrder(dispatch.Withdraw, "o-1"), []string{"o-1/failed/1 (withdrawn)", "o-2/assigned/1/1 r-1", "> r-1/o-1/failed/1 (withdrawn)", "> r-1/o-2/assigned/1/1"}},
			{says("r-1", dispatch.PickedUp, "o-1"), []string{`r-1: refused order "o-1" is over: its delivery is failed`}},
			{says("r-1", dispatch.PickedUp, "o-7"), []string{`r-1: refused order "o-7" has no delivery in area "a-1"`}},
		}},
		"Shifts": {lines: []line{
			{leave("r-1", 3, 1), []string{"> r-1/left/3"}},
			{enter("r-1", 0, 1, 2), []string{"> r-1/left/3"}},
			{enter("r-1", 0, 1, 3), []string{"> r-1/left/3"}},
			{enter("r-1", 0, 1, 4), []string{"> r-1/entered/4"}},
			{enter("r-1", 0, 2, 5), []string{"> r-1/entered/5"}},
			{enter("r-1", 0, 1, 4), []string{"> r-1/entered/5"}},
			{leave("r-1", 3, 1), []string{"> r-1/left/3"}},
			{leave("r-1", 4, 1), nil},
			{request("o-1", 1), []string{"o-1/assigned/1/1 r-1", "> r-1/o-1/assigned/1/1"}},
			{request("o-2", 1), []string{"o-2/assigned/1/1 r-1", "> r-1/o-2/assigned/1/1"}},
			{request("o-3", 1), nil},
			{says("r-2", dispatch.Claim, "o-3"), []string{`r-2: refused rider "r-2" is not on shift in area "a-1"`}},
			{says("r-1", dispatch.Claim, "o-3"), []string{`r-1: refused order "o-3" can't be claimed: deliveries are assigned here`}},
		}},
		"Claim": {mode: dispatch.ClaimOnly, lines: []line{
			{enter("r-1", 0, 1, 1), []string{"> r-1/entered/1"}},
			{enter("r-2", 0, 1, 1), []string{"> r-2/entered/1"}},
			{request("o-1", 1), nil},
			{request("o-2", 1), nil},
			{ofOrder(dispatch.Ready, "o-1"), nil},
			{says("r-2", dispatch.Decline, "o-2"), []string{"r-2: accepted"}},
			{says("r-2", dispatch.Claim, "o-2"), []string{`r-2: refused order "o-2" can't be claimed: you gave it back`}},
			{says("r-1", dispatch.Claim, "o-1"), []string{"o-1/assigned/1/1 r-1", "> r-1/o-1/assigned/1/1", "r-1: accepted"}},
			{says("r-2", dispatch.Claim, "o-1"), []string{`r-2: refused order "o-1" is taken: rider "r-1" has it`}},
			{says("r-1", dispatch.Claim, "o-2"), []string{`r-1: refused order "o-2" can't be claimed: you have 1 of 1 in hand`}},
		}},
		"Hybrid": {mode: dispatch.Hybrid, lines: []line{
			{enter("r-1", 0, 1, 1), []string{"> r-1/entered/1"}},
			{enter("r-2", 5, 1, 1), []string{"> r-2/entered/1"}},
			{request("o-1", 1), nil},
			{request("o-2", 1), nil},
			{says("r-2", dispatch.Claim, "o-1"), []string{"o-1/assigned/1/1 r-2", "> r-2/o-1/assigned/1/1", "r-2: accepted"}},
			{ofOrder(dispatch.Ready, "o-2"), []string{"o-2/assigned/1/1 r-1", "> r-1/o-2/assigned/1/1"}},
		}},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, story.mode)
			for i, l := range story.lines {
				require.Equal(t, l.want, said(w.do(l.c)), "line %d: %s", i, l.c.ID)
			}
		})
	}
}

func TestArea_Delivered(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	w.do(enter("r-1", 0, 1, 1))
	first := w.do(request("o-1", 1))
	w.do(request("o-2", 3))
	w.do(says("r-1", dispatch.PickedUp, "o-1"))
	out := w.do(says("r-1", dispatch.Delivered, "o-1"))
	require.Equal(t, []string{"o-1/delivered/1 r-1", "o-2/assigned/1/1 r-1", "> r-1/o-1/delivered/1", "> r-1/o-2/assigned/1/1", "r-1: accepted"}, said(out))
	assert.True(t, *out.Deliveries[0].Success)
	assert.Equal(t, at(2).Place(), w.place(), "he is at the drop now")

	// Asked again, orders is told all of it, as it was.
	r := request("o-1", 1)
	again := w.area.Handle(&r, w.now, w.plan)
	require.Equal(t, []string{"o-1/assigned/1/1 r-1", "o-1/picked_up/1 r-1", "o-1/delivered/1 r-1"}, said(again))
	assert.Equal(t, first.Deliveries[0], again.Deliveries[0])
	// A withdraw that comes too late is told the end.
	late := ofOrder(dispatch.Withdraw, "o-1")
	assert.Equal(t, []string{"o-1/delivered/1 r-1"}, said(w.area.Handle(&late, w.now, w.plan)))
}

func TestArea_DeclineOfOpen(t *testing.T) {
	w := newTown(t, dispatch.Hybrid)
	w.do(enter("r-1", 0, 1, 1))
	w.do(request("o-1", 1))
	for _, id := range []string{"first", "second"} {
		c := says("r-1", dispatch.Decline, "o-1")
		c.ID, c.CommandID = id, id
		assert.Equal(t, []string{"r-1: accepted"}, said(w.do(c)))
	}
	assert.Equal(t, []string{"r-1"}, w.area.Deliveries[0].Declined)
	assert.Empty(t, said(w.do(ofOrder(dispatch.Ready, "o-1"))), "he is not asked")
}

// A policy may leave a delivery open; whom it was not offered it can't choose.
func TestArea_Policy(t *testing.T) {
	for name, p := range map[string]policy{"Leaves": {"r-1", false}, "Full": {"r-2", true}, "Stranger": {"r-9", true}} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, dispatch.Assign)
			w.do(enter("r-2", 0, 1, 1))
			w.do(request("o-1", 1))
			w.do(enter("r-1", 0, 1, 1))
			w.plan.Policy = p
			assert.Empty(t, said(w.do(request("o-2", 1))))
			w.plan.Policy = policy{"r-1", true}
			assert.NotEmpty(t, said(w.do(request("o-3", 1))))
		})
	}
}

type policy struct {
	id string
	ok bool
}

func (p policy) Choose(dispatch.Delivery, []dispatch.Candidate) (string, bool) { return p.id, p.ok }

func TestArea_Etas(t *testing.T) {
	cases := map[string]struct {
		readyIn    time.Duration // from the request
		wantPickup time.Duration
	}{
		"TravelIsLonger": {0, 200 * time.Second}, // 1 km at 5 m/s
		"FoodIsLonger":   {time.Hour, time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, dispatch.Assign)
			w.do(enter("r-1", 0, 1, 1))
			asked := w.now.Add(time.Second)
			r := request("o-1", 1)
			r.ReadyAt = asked.Add(c.readyIn)
			out := w.do(r)
			e, re := out.Deliveries[0], out.Riders[0]
			assert.InDelta(t, c.wantPickup.Seconds(), e.EtaPickup.Sub(asked).Seconds(), 0.1)
			assert.InDelta(t, 200, e.EtaDrop.Sub(e.EtaPickup).Seconds(), 0.1)
			assert.Equal(t, []any{e.EtaPickup, e.EtaDrop, r.ReadyAt, 1}, []any{re.EtaPickup, re.EtaDrop, re.ReadyAt, re.Attempt})
			assert.Equal(t, []any{r.Pickup.Place(), r.Drop.Place()}, []any{*re.Pickup, *re.Drop})
		})
	}
}

func TestArea_Move(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	w.do(enter("r-1", 0, 1, 2))
	move := func(km float64, shift int, after time.Duration) domain.Place {
		c := dispatch.Command{Meta: meta(dispatch.Move, fmt.Sprint(km, shift, after)), RiderID: "r-1", Shift: shift, Place: at(km)}
		c.At = t0.Add(time.Minute + after)
		w.do(c)
		return w.place()
	}
	assert.Equal(t, at(3).Place(), move(3, 2, 2*time.Second))
	assert.Equal(t, at(3).Place(), move(4, 2, time.Second), "older than what is known")
	assert.Equal(t, at(3).Place(), move(4, 1, time.Hour), "of another shift")
	assert.Equal(t, at(5).Place(), move(5, 2, 3*time.Second))
}

func TestArea_ForgetsTheOldest(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	for i := range 400 {
		w.do(ofOrder(dispatch.Withdraw, fmt.Sprint("o-", i)))
		w.do(leave(fmt.Sprint("r-", i), 1, 1))
		w.do(says("r-1", dispatch.Claim, fmt.Sprint("x-", i)))
	}
	assert.Len(t, w.area.Done, dispatch.KeepDone)
	assert.Len(t, w.area.Gone, dispatch.KeepGone)
	size := len(mustJSON(t, w.area.Recent))
	assert.LessOrEqual(t, size, domain.MaxRefusedBytes+2)
	assert.Greater(t, size, domain.MaxRefusedBytes/4)
}

// What riders said of a delivery outlives the delivery: the same again, long
// after, gets the same verdict.
func TestArea_VerdictsOutliveDeliveries(t *testing.T) {
	w := newTown(t, dispatch.ClaimOnly)
	w.do(enter("r-1", 0, 1, 1))
	const n = 2*dispatch.KeepDone - 14
	first := map[string]dispatch.RiderVerdict{}
	all := []string{dispatch.Claim, dispatch.PickedUp, dispatch.Delivered}
	for i := range n {
		o := fmt.Sprint("o-", i)
		w.do(request(o, 1))
		for _, kind := range all {
			out := w.do(says("r-1", kind, o))
			require.Equal(t, domain.Accepted, out.Verdicts[0].Verdict.Verdict)
			require.LessOrEqual(t, out.Verdicts[0].Version, w.area.Version, "a reader need not wait for more")
			require.Positive(t, out.Verdicts[0].Version)
			first[kind+o] = out.Verdicts[0]
		}
	}
	require.Len(t, w.area.Done, dispatch.KeepDone)
	for i := range n {
		for _, kind := range all {
			c := says("r-1", kind, fmt.Sprint("o-", i))
			out := w.area.Handle(&c, w.now.Add(time.Minute), w.plan)
			require.False(t, out.Changed)
			require.Equal(t, []dispatch.RiderVerdict{first[kind+fmt.Sprint("o-", i)]}, out.Verdicts)
		}
	}
}

// Every change has a version of its own; a repeat and a refusal have none.
func TestArea_Version(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	for i, c := range []dispatch.Command{
		enter("r-1", 0, 1, 1), request("o-1", 1), ofOrder(dispatch.Ready, "o-1"), says("r-1", dispatch.Claim, "o-2"), leave("r-1", 1, 1),
		says("r-1", dispatch.PickedUp, "o-1"), says("r-1", dispatch.Delivered, "o-1"), leave("r-1", 1, 2),
	} {
		was := w.area.Version
		out := w.do(c)
		require.True(t, out.Changed, i)
		if len(out.Verdicts) > 0 && out.Verdicts[0].Code != "" {
			was--
		}
		require.Equal(t, was+1, w.area.Version, c.Type)
		for _, v := range out.Verdicts {
			require.Equal(t, w.area.Version, v.Version)
			require.NoError(t, v.Validate())
		}
	}
}

// A rider gets nothing that would be picked up after their shift.
func TestArea_ShiftEnds(t *testing.T) {
	from := func(mode dispatch.Mode, until domain.Time) *town {
		w := newTown(t, mode)
		c := enter("r-1", 0, 2, 1)
		c.Until = until
		w.do(c)
		return w
	}
	pickup := from(dispatch.Assign, 0).do(request("o-1", 5)).Deliveries[0].EtaPickup
	t.Run("InTime", func(t *testing.T) {
		require.Equal(t, dispatch.Assigned, from(dispatch.Assign, pickup).do(request("o-1", 5)).Deliveries[0].Type)
	})
	t.Run("TooLate", func(t *testing.T) {
		w := from(dispatch.Assign, pickup-1)
		require.Empty(t, w.do(request("o-1", 5)).Deliveries)
		c := enter("r-1", 0, 2, 2)
		require.Equal(t, dispatch.Assigned, w.do(c).Deliveries[0].Type, "a shift without an end")
	})
	t.Run("Claim", func(t *testing.T) {
		w := from(dispatch.ClaimOnly, pickup-1)
		w.do(request("o-1", 5))
		v := w.do(says("r-1", dispatch.Claim, "o-1")).Verdicts[0]
		require.Equal(t, domain.CodeRefused, v.Code)
		require.Contains(t, v.Reason, "your shift ends at")
	})
	t.Run("LatePickUp", func(t *testing.T) {
		w := from(dispatch.Assign, pickup)
		w.do(request("o-1", 5))
		w.now = pickup.Add(time.Hour)
		require.Equal(t, dispatch.PickedUp, w.do(says("r-1", dispatch.PickedUp, "o-1")).Deliveries[0].Type, "the food must leave")
	})
	t.Run("View", func(t *testing.T) {
		w := from(dispatch.Assign, pickup)
		require.Equal(t, "idle", w.area.RidersView(pickup - 1)[0].State)
		require.Equal(t, "offline", w.area.RidersView(pickup)[0].State)
		w.do(request("o-1", 5))
		require.Equal(t, "busy", w.area.RidersView(pickup)[0].State)
	})
}

func TestArea_Views(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	w.do(enter("r-2", 0, 1, 1))
	w.do(enter("r-1", 5, 1, 1))
	w.do(leave("r-1", 1, 1))
	w.do(request("o-1", 1))
	w.do(request("o-2", 1))
	w.do(enter("r-1", 5, 2, 2))
	w.do(request("o-3", 1))
	w.do(request("o-4", 1))
	w.do(says("r-2", dispatch.PickedUp, "o-1"))

	riders, ds := w.area.RidersView(w.now), w.area.DeliveriesView()
	require.Len(t, riders, 2)
	assert.Equal(t, []any{"r-1", "busy", []string{"o-2", "o-3"}}, []any{riders[0].ID, riders[0].State, riders[0].Deliveries})
	assert.Equal(t, []any{"r-2", "busy", []string{"o-1"}}, []any{riders[1].ID, riders[1].State, riders[1].Deliveries})
	require.Len(t, ds.Open, 1)
	assert.Equal(t, "o-4", ds.Open[0].OrderID)
	require.Len(t, ds.Assigned, 3)
	assert.Equal(t, []any{"o-1", dispatch.StatePickedUp, "r-2"}, []any{ds.Assigned[0].OrderID, ds.Assigned[0].State, ds.Assigned[0].RiderID})
	assert.NotZero(t, ds.Assigned[0].Eta.Drop)
	assert.Equal(t, w.now, ds.Assigned[0].Eta.Pickup, "it is picked up: not what was believed before")
	assert.JSONEq(t, `{"open":[],"assigned":[]}`, string(mustJSON(t, dispatch.NewArea("a-2").DeliveriesView())))
}

func TestAnswer_Text(t *testing.T) {
	for _, a := range []dispatch.Answer{
		{By: "x", At: t0, Version: 7},
		{By: "x", At: t0, Version: 8, Refusal: domain.Refuse(domain.CodeStatus, "order \"a/b\" is / over/")},
	} {
		b, err := a.MarshalText()
		require.NoError(t, err)
		var back dispatch.Answer
		require.NoError(t, back.UnmarshalText(b))
		assert.Equal(t, a, back)
	}
}

func TestStep_Text(t *testing.T) {
	for _, s := range []dispatch.Step{
		{Version: 1, Type: dispatch.Unassigned, At: t0, By: "x", Reason: "late/again/"},
		{Version: 2, Type: dispatch.Assigned, At: t0, By: "x", RiderID: "라이더 1", EtaPickup: t0, EtaDrop: t0 + 9, ReadyAt: 5},
		{Version: 3, Type: dispatch.PickedUp, At: t0, By: "x"},
	} {
		b, err := s.MarshalText()
		require.NoError(t, err)
		var back dispatch.Step
		require.NoError(t, back.UnmarshalText(b))
		assert.Equal(t, s, back)
	}
	assert.ErrorContains(t, new(dispatch.Step).UnmarshalText([]byte("one/assigned")), `damaged at "one"`)
}

// place returns where the area believes its first rider.
func (w *town) place() domain.Place {
	v := w.area.RidersView(w.now)[0]
	return domain.Place{Lat: v.Lat, Lon: v.Lon}
}

// BenchmarkArea is a busy area: 50 riders, 40 deliveries in hand, memories full.
func BenchmarkArea(b *testing.B) {
	a, now := dispatch.NewArea("a-1"), t0
	handle := func(c dispatch.Command) {
		now += 100
		a.Handle(&c, now, dispatch.Planner{})
	}
	for i := range 50 {
		handle(enter(fmt.Sprintf("rider-%03d", i), float64(i)/10.003, 1, 1))
	}
	n := 0
	lifecycle := func() {
		n++
		order := fmt.Sprintf("01999999-aaaa-bbbb-cccc-%012d", n)
		handle(request(order, float64(n%50)/10.007))
		handle(ofOrder(dispatch.Ready, order))
		if len(a.Deliveries) > 40 {
			oldest := a.Deliveries[0]
			rider, order := oldest.Rider(), oldest.OrderID
			handle(says(rider, dispatch.PickedUp, order))
			handle(says(rider, dispatch.Delivered, order))
		}
		a = mustRow(b, mustJSON(b, a))
	}
	for range 100 {
		lifecycle()
	}
	b.ReportMetric(float64(len(mustJSON(b, a))), "B/row")
	for b.Loop() {
		lifecycle()
	}
	b.ReportMetric(float64(len(mustJSON(b, a))), "B/row")
}

// A rider who may not leave yet is given nothing new, or he could never leave a
// busy area. When he enters again, he is given again.
func TestArea_WhoWantsToLeaveIsGivenNothingNew(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	w.do(enter("r-1", 0, 1, 1))
	w.do(request("o-1", 1))
	w.do(request("o-2", 1))
	assert.Equal(t, []string{`> r-1/leave/1/1/stays (order "o-1" is in hand: deliver or decline it first)`}, said(w.do(leave("r-1", 1, 1))))
	assert.Equal(t, []string{"o-1/unassigned/1/1 r-1 (declined)", "> r-1/o-1/unassigned/1/1 (declined)", "r-1: accepted"},
		said(w.do(says("r-1", dispatch.Decline, "o-1"))))
	assert.Equal(t, []string{"> r-1/left/1"}, said(w.do(leave("r-1", 1, 2))))
	assert.Contains(t, said(w.do(enter("r-1", 0, 1, 2))), "o-2/assigned/1/1 r-1")
}

// A full area takes no new delivery and no new rider, and says so in a way that
// is the same when it is asked again; whoever is there can end what they have.
func TestArea_Full(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	w.do(enter("r-1", 0, 1, 1))
	w.do(request("o-mine", 1))
	full := *w.area
	for i := range 10_000 { // as the row would be after as many requests
		full.Deliveries = append(full.Deliveries, &dispatch.Delivery{OrderID: fmt.Sprintf("o-%d", i), Attempt: 1, RequestedAt: dispatch.Millis(t0)})
	}
	for i := range 2_000 {
		full.Riders = append(full.Riders, &dispatch.Rider{ID: fmt.Sprintf("rider-%d", i), Shift: 1, Capacity: 1, EnteredAt: t0, Leaving: true})
	}
	w.area = mustRow(t, mustJSON(t, &full))

	out := w.do(request("o-new", 1))
	require.Len(t, out.Deliveries, 1)
	e := out.Deliveries[0]
	assert.Equal(t, []any{dispatch.Failed, "o-new/failed/1", "area_full", false}, []any{e.Type, e.ID, e.Reason, *e.Success})

	out = w.do(enter("r-new", 0, 1, 1))
	require.Len(t, out.Riders, 1)
	assert.Equal(t, []any{dispatch.Left, "r-new/left/1", 1}, []any{out.Riders[0].Type, out.Riders[0].ID, out.Riders[0].Shift})
	assert.Equal(t, `area "a-1" has as many riders as it can take: try another one, or again when some have left`, out.Riders[0].Reason)
	out = w.do(dispatch.Command{Meta: meta(dispatch.Leave, "r-new/leave/1/1"), RiderID: "r-new", Shift: 1})
	assert.Equal(t, "r-new/left/1", out.Riders[0].ID)
	assert.NotEmpty(t, out.Riders[0].Reason, "the same message has the same words")

	out = w.do(enter("r-1", 5, 1, 2))
	assert.Equal(t, dispatch.Entered, out.Riders[0].Type, "one who is in may change")
	assert.Len(t, w.do(says("r-1", dispatch.PickedUp, "o-mine")).Deliveries, 1)
	out = w.do(says("r-1", dispatch.Delivered, "o-mine"))
	require.Len(t, out.Deliveries, 1, "and there is no room to give another one away")
	assert.Equal(t, dispatch.Delivered, out.Deliveries[0].Type)
	out = w.do(dispatch.Command{Meta: meta(dispatch.Withdraw, "o-7/withdraw/1"), OrderID: "o-7", Attempt: 1})
	assert.Equal(t, dispatch.Failed, out.Deliveries[0].Type)
	assert.Equal(t, dispatch.Left, w.do(dispatch.Command{Meta: meta(dispatch.Leave, "r-1/leave/2/1"), RiderID: "r-1", Shift: 2}).Riders[0].Type)
}

// A delivery that riders lose without end comes to an end.
func TestArea_MaxTries(t *testing.T) {
	w := newTown(t, dispatch.Assign)
	w.do(request("o-1", 1))
	for n := 1; n <= dispatch.MaxTries; n++ {
		who := fmt.Sprint("r-", n)
		require.Equal(t, dispatch.Assigned, w.do(enter(who, 0, 1, 1)).Deliveries[0].Type)
		out := w.do(says(who, dispatch.Decline, "o-1"))
		require.Len(t, out.Deliveries, 1)
		if e := out.Deliveries[0]; n < dispatch.MaxTries {
			require.Equal(t, []string{dispatch.Unassigned, "declined"}, []string{e.Type, e.Reason})
		} else {
			require.Equal(t, []string{dispatch.Failed, "no_rider", "o-1/failed/1"}, []string{e.Type, e.Reason, e.ID})
			require.Equal(t, dispatch.RiderUnassigned, out.Riders[0].Type, "who had it last is told")
		}
	}
	require.Empty(t, w.area.Deliveries)
}

package rider_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/rider"
)

const t0 = domain.Time(1_760_000_000_000)

// named is the name of a command that says what it always says.
func named(id string) domain.Name { return domain.Name{ID: id, Own: true, Mark: "mark"} }

func km(n float64) float64 { return 37.5 + n/111.195 }

func online(id, area string, n float64, capacity int) *rider.Command {
	lat, lon := km(n), 127.03
	return &rider.Command{Meta: domain.Meta{Type: rider.Online, ID: id}, Verdict: true, Area: area, Lat: &lat, Lon: &lon, Capacity: &capacity}
}

func move(id string, n float64) *rider.Command {
	lat, lon := km(n), 127.03
	return &rider.Command{Meta: domain.Meta{Type: rider.Move, ID: id}, Lat: &lat, Lon: &lon}
}

func offline(id string) *rider.Command {
	return &rider.Command{Meta: domain.Meta{Type: rider.Offline, ID: id}, Verdict: true}
}

func says(kind, id, order string) *rider.Command {
	return &rider.Command{Meta: domain.Meta{Type: kind, ID: id}, Verdict: true, OrderID: order}
}

func event(kind, area, id string, shift int) *dispatch.RiderEvent {
	e := &dispatch.RiderEvent{Meta: domain.Meta{Type: kind, ID: id}, Area: area, RiderID: "r-1", Shift: shift}
	if kind == dispatch.Stays {
		e.Reason = "busy"
	}
	return e
}

func entered(area string, shift int) *dispatch.RiderEvent {
	return event(dispatch.Entered, area, fmt.Sprintf("r-1/entered/%d", shift), shift)
}

func left(area string, shift int) *dispatch.RiderEvent {
	return event(dispatch.Left, area, fmt.Sprintf("r-1/left/%d", shift), shift)
}

func stays(area string, shift, n int) *dispatch.RiderEvent {
	return event(dispatch.Stays, area, fmt.Sprintf("r-1/leave/%d/%d/stays", shift, n), shift)
}

func delivery(kind, order string, attempt int) *dispatch.RiderEvent {
	return &dispatch.RiderEvent{
		Meta: domain.Meta{Type: kind, ID: fmt.Sprintf("r-1/%s/%s/%d", order, kind, attempt)}, Area: "a-1", RiderID: "r-1", OrderID: order, Attempt: attempt,
	}
}

// said lists what an Out tells, shortened.
func said(out rider.Out) (s []string) {
	for _, c := range out.Dispatch {
		s = append(s, c.Area+" "+c.Type+" "+c.ID)
	}
	for _, v := range out.Verdicts {
		reason := ""
		if v.Reason != "" {
			reason = " (" + v.Reason + ")"
		}
		s = append(s, v.CommandID+": "+v.Verdict+reason)
	}
	return s
}

// shift is a rider and his clock. Every message is repeated at once: the repeat
// must change nothing and send the same, byte for byte.
type shift struct {
	*testing.T
	r   *rider.Rider
	now domain.Time
}

func newShift(t *testing.T) *shift { return &shift{t, rider.NewRider("r-1"), t0} }

func (s *shift) do(m any) rider.Out {
	s.Helper()
	s.now += 1000
	out := s.handle(m)
	before := mustJSON(s, s.r)
	s.r = new(rider.Rider)
	require.NoError(s, codecs.Unmarshal(before, s.r))

	s.now += 1000
	again := s.handle(m)
	assert.False(s, again.Changed, "the repeat of %v changed the row", m)
	assert.Equal(s, string(before), string(mustJSON(s, s.r)), "the repeat of %v changed the row", m)
	again.Changed = out.Changed
	assert.Equal(s, out, again, "the repeat of %v", m)
	return out
}

func (s *shift) handle(m any) rider.Out {
	switch m := m.(type) {
	case *rider.Command:
		require.NoError(s, m.Validate())
		return s.r.Handle(m, named(m.ID), s.now)
	case *dispatch.RiderEvent:
		return s.r.HandleEvent(m, s.now)
	}
	panic("neither a command nor an event")
}

func mustJSON(t require.TestingT, v any) []byte {
	b, err := codecs.Marshal(v)
	require.NoError(t, err)
	return b
}

type line struct {
	m    any
	want []string
}

func TestRider_Handle(t *testing.T) {
	on := []line{
		{online("c-1", "a-1", 0, 1), []string{"a-1 enter r-1/enter/1"}},
		{entered("a-1", 1), []string{"c-1: accepted"}},
	}
	then := func(lines ...line) []line { return append(on[:2:2], lines...) }

	stories := map[string]struct {
		lines []line
		want  string // area, state
	}{
		"Online":  {on, "a-1 idle"},
		"Waiting": {on[:1], " offline"},
		"Offline": {then(
			line{offline("c-2"), []string{"a-1 leave r-1/leave/1/1"}},
			line{left("a-1", 1), []string{"c-2: accepted"}},
			line{offline("c-3"), []string{"c-3: accepted"}},    // nothing to do
			line{entered("a-1", 1), []string{"c-1: accepted"}}, // comes again
			line{says(rider.Claim, "c-4", "o-1"), []string{`c-4: refused (rider "r-1" is not on shift: send online first)`}},
			line{move("m-1", 5), nil},
		), " offline"},
		"OfflineInHand": {then(
			line{offline("c-2"), []string{"a-1 leave r-1/leave/1/1"}},
			line{stays("a-1", 1, 1), []string{"c-2: refused (busy)"}},
			line{offline("c-3"), []string{"a-1 leave r-1/leave/1/2"}},
			line{stays("a-1", 1, 1), []string{"a-1 leave r-1/leave/1/2", "c-2: refused (busy)"}}, // the first one, again
			line{left("a-1", 1), []string{"c-3: accepted"}},
		), " offline"},
		"OtherArea": {then(
			line{online("c-2", "a-2", 0, 1), []string{"a-1 leave r-1/leave/1/1"}},
			line{says(rider.PickedUp, "c-3", "o-1"), []string{"a-1 picked_up r-1/picked_up/mark/c-3"}},
			line{left("a-1", 1), []string{"a-2 enter r-1/enter/2"}},
			line{left("a-1", 1), []string{"a-2 enter r-1/enter/2"}},
			line{says(rider.PickedUp, "c-3", "o-1"), []string{"a-1 picked_up r-1/picked_up/mark/c-3"}}, // where it was decided
			line{entered("a-2", 2), []string{"c-2: accepted"}},
		), "a-2 idle"},
		"OtherAreaInHand": {then(
			line{online("c-2", "a-2", 0, 1), []string{"a-1 leave r-1/leave/1/1"}},
			line{stays("a-1", 1, 1), []string{"c-2: refused (busy)"}},
		), "a-1 idle"},
		"SameArea": {then(
			line{online("c-2", "a-1", 1, 3), []string{"a-1 enter r-1/enter/2"}},
			line{entered("a-1", 1), []string{"a-1 enter r-1/enter/2", "c-1: accepted"}}, // the first one, again
			line{entered("a-1", 2), []string{"c-2: accepted"}},
		), "a-1 idle"},
		"NewestWishWins": {then(
			line{online("c-2", "a-2", 0, 1), []string{"a-1 leave r-1/leave/1/1"}},
			line{offline("c-3"), []string{`c-2: refused (superseded by command "c-3")`, "a-1 leave r-1/leave/1/1"}},
			line{left("a-1", 1), []string{"c-3: accepted"}},
		), " offline"},
		"BackAgain": {then(
			line{offline("c-2"), []string{"a-1 leave r-1/leave/1/1"}},
			line{online("c-3", "a-1", 1, 1), []string{`c-2: refused (superseded by command "c-3")`, "a-1 leave r-1/leave/1/1"}},
			line{stays("a-1", 1, 1), []string{"a-1 enter r-1/enter/2"}},
			line{entered("a-1", 2), []string{"c-3: accepted"}},
		), "a-1 idle"},
		"OfflineBeforeEntered": {[]line{
			on[0],
			{offline("c-2"), []string{"a-1 leave r-1/leave/1/1", `c-1: refused (superseded by command "c-2")`}},
			{entered("a-1", 1), []string{"a-1 leave r-1/leave/1/1"}},
			{left("a-1", 1), []string{"c-2: accepted"}},
		}, " offline"},
		"BackBeforeEntered": {[]line{
			on[0],
			{offline("c-2"), []string{"a-1 leave r-1/leave/1/1", `c-1: refused (superseded by command "c-2")`}},
			{online("c-3", "a-1", 1, 1), []string{"a-1 leave r-1/leave/1/1", `c-2: refused (superseded by command "c-3")`}},
			{entered("a-1", 1), []string{"a-1 leave r-1/leave/1/1"}}, // he is about to be let go
			{left("a-1", 1), []string{"a-1 enter r-1/enter/2"}},
			{entered("a-1", 2), []string{"c-3: accepted"}},
		}, "a-1 idle"},
		"UnwantedArea": {then(
			line{entered("a-9", 7), []string{"a-9 leave r-1/leave/7/undo"}},
			line{left("a-9", 7), nil},
		), "a-1 idle"},
		"RowWasReset": {[]line{
			on[0],
			{left("a-1", 7), []string{"a-1 enter r-1/enter/8"}},
			{entered("a-1", 8), []string{"c-1: accepted"}},
		}, "a-1 idle"},
		"Deliveries": {then(
			line{delivery(dispatch.RiderAssigned, "o-1", 1), nil},
			line{says(rider.PickedUp, "c-2", "o-1"), []string{"a-1 picked_up r-1/picked_up/mark/c-2"}},
		), "a-1 busy"},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			s := newShift(t)
			for i, l := range story.lines {
				require.ElementsMatch(t, l.want, said(s.do(l.m)), "line %d: %v", i, l.m)
			}
			v := s.r.View()
			assert.Equal(t, story.want, v.Area+" "+v.State)
		})
	}
}

func TestRider_Commands(t *testing.T) {
	s := newShift(t)
	enter := s.do(online("c-1", "a-1", 2, 3)).Dispatch[0]
	assert.Equal(t, []any{"r-1", 1, 3, domain.Place{Lat: km(2), Lon: 127.03}}, []any{enter.RiderID, enter.Shift, enter.Capacity, enter.Place.Place()})
	s.do(entered("a-1", 1))
	for _, kind := range []string{rider.Claim, rider.Decline, rider.PickedUp, rider.Delivered} {
		c := s.do(says(kind, kind+"-1", "o-1")).Dispatch[0]
		require.NoError(t, c.Validate())
		assert.Equal(t, []any{kind, "o-1", "r-1", kind + "-1", true}, []any{c.Type, c.OrderID, c.RiderID, c.CommandID, c.Verdict})
	}
	leave := s.do(offline("c-2")).Dispatch[0]
	assert.Equal(t, []any{"r-1", 1}, []any{leave.RiderID, leave.Shift})
}

func TestRider_SilentWithoutWish(t *testing.T) {
	s := newShift(t)
	c := online("c-1", "a-1", 0, 1)
	c.Verdict = false
	s.do(c)
	assert.Empty(t, s.do(entered("a-1", 1)).Verdicts, "an acceptance nobody asked for")
	c = offline("c-2")
	c.Verdict = false
	s.do(c)
	assert.Len(t, s.do(stays("a-1", 1, 1)).Verdicts, 1, "a refusal is always said")
}

func TestRider_Move(t *testing.T) {
	s := newShift(t)
	s.do(online("c-1", "a-1", 0, 1))
	s.do(entered("a-1", 1))
	for _, c := range []struct {
		id   string
		km   float64
		want []string
	}{
		{"m-1", 0.1, nil},
		{"m-2", 0.19, nil},
		{"m-3", 0.21, []string{"a-1 move r-1/move/1/mark/m-3"}},
		{"m-4", 0.4, nil},
		{"m-5", -0.1, []string{"a-1 move r-1/move/1/mark/m-5"}},
	} {
		assert.Equal(t, c.want, said(s.do(move(c.id, c.km))), c.id)
		assert.Equal(t, km(c.km), *s.r.View().Lat, c.id)
	}
	assert.Empty(t, said(s.do(move("m-1", 0.1))), "an old place, again")
	assert.Equal(t, km(-0.1), *s.r.View().Lat)

	// Dispatch believes him at the drop: it is told of the next move.
	s.do(delivery(dispatch.RiderDelivered, "o-1", 1))
	assert.Equal(t, []string{"a-1 move r-1/move/1/mark/m-6"}, said(s.do(move("m-6", -0.1))))
}

func TestRider_Deliveries(t *testing.T) {
	s := newShift(t)
	for _, c := range []struct {
		e     *dispatch.RiderEvent
		want  []string
		count int
	}{
		{delivery(dispatch.RiderAssigned, "o-1", 1), []string{"o-1"}, 0},
		{delivery(dispatch.RiderAssigned, "o-2", 1), []string{"o-1", "o-2"}, 0},
		{delivery(dispatch.RiderUnassigned, "o-1", 1), []string{"o-2"}, 0},
		{delivery(dispatch.RiderAssigned, "o-1", 1), []string{"o-2"}, 0}, // again
		{delivery(dispatch.RiderDelivered, "o-2", 1), []string{}, 1},
		{delivery(dispatch.RiderAssigned, "o-2", 1), []string{}, 1}, // again
		{delivery(dispatch.RiderDelivered, "o-2", 1), []string{}, 1},
		{delivery(dispatch.RiderDelivered, "o-3", 1), []string{}, 2}, // assigned was not seen
		{delivery(dispatch.RiderAssigned, "o-2", 2), []string{"o-2"}, 2},
	} {
		s.do(c.e)
		v := s.r.View()
		assert.Equal(t, c.want, v.Deliveries, c.e.ID)
		assert.Equal(t, c.count, v.DeliveredCount, c.e.ID)
	}
}

func TestRider_ForgetsTheOldest(t *testing.T) {
	s := newShift(t)
	for i := range 2 * rider.KeepOver {
		s.do(offline(fmt.Sprint("c-", i)))
		s.do(move(fmt.Sprint("m-", i), float64(i)))
		s.do(delivery(dispatch.RiderDelivered, fmt.Sprint("o-", i), 1))
	}
	assert.Len(t, s.r.Recent, rider.KeepRecent)
	assert.Len(t, s.r.Moves, rider.KeepMoves)
	assert.Len(t, s.r.Over, rider.KeepOver)
	assert.Equal(t, 2*rider.KeepOver, s.r.View().DeliveredCount)
}

func TestRider_View(t *testing.T) {
	assert.JSONEq(t, `{"id":"r-1","state":"offline","deliveries":[],"deliveredCount":0}`, string(mustJSON(t, rider.NewRider("r-1").View())))
}

// An area without room says left to who asks to come in: that is refused, and
// not asked again at once.
func TestRider_AreaIsFull(t *testing.T) {
	s := newShift(t)
	s.do(online("c-1", "a-1", 0, 1))
	e := left("a-1", 1)
	e.Reason = "full"
	assert.Equal(t, []string{"c-1: refused (full)"}, said(s.do(e)))
	assert.Equal(t, rider.StateOffline, s.r.View().State)
	assert.Equal(t, []string{"a-1 enter r-1/enter/2"}, said(s.do(online("c-2", "a-1", 0, 1))), "asked again it tries again")

	s = newShift(t)
	s.do(online("c-1", "a-1", 0, 1))
	s.do(online("c-2", "a-2", 0, 1)) // meanwhile it wants elsewhere
	e = left("a-1", 1)
	e.Reason = "full"
	assert.Equal(t, []string{"a-2 enter r-1/enter/2"}, said(s.do(e)))
}

// The place 0,0 is a place: whoever is there is known to be there.
func TestRider_NullIsland(t *testing.T) {
	s := newShift(t)
	at := func(kind, id string, lat float64) *rider.Command {
		return &rider.Command{Meta: domain.Meta{Type: kind, ID: id}, Area: "a-1", Lat: &lat, Lon: new(0.0)}
	}
	s.do(at(rider.Online, "c-1", 0))
	s.do(entered("a-1", 1))
	require.Equal(t, []float64{0, 0}, []float64{*s.r.View().Lat, *s.r.View().Lon})
	require.Empty(t, said(s.do(at(rider.Move, "m-1", 0.0001))), "dispatch knows where that is")
	require.Empty(t, said(s.do(at(rider.Move, "m-2", 0))))
	require.Len(t, said(s.do(at(rider.Move, "m-3", 1))), 1)
	require.Len(t, said(s.do(at(rider.Move, "m-4", 0))), 1)
	require.Empty(t, said(s.do(at(rider.Move, "m-5", 0.0001))))
	require.Nil(t, rider.NewRider("r-2").View().Lat, "of others no place is known")
}

package rider_test

import (
	"fmt"
	"testing"
	"time"

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
			v := s.r.View(t0)
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

// An online that is refused, as the rider must stay where they are, says nothing of
// them: neither their name nor their place. One that is followed does.
func TestRider_RefusedOnline(t *testing.T) {
	s := newShift(t)
	s.do(online("c-1", "a-1", 0, 1))
	s.do(entered("a-1", 1))
	elsewhere := func(id string) *rider.Command {
		c := online(id, "a-2", 9, 1)
		name := "Zed"
		c.Name = &name
		return c
	}
	was := s.r.View(s.now)
	s.do(elsewhere("c-2"))
	s.do(stays("a-1", 1, 1))
	is := s.r.View(s.now)
	assert.Equal(t, []any{was.Name, *was.Lat, was.At}, []any{is.Name, *is.Lat, is.At})

	s.do(elsewhere("c-3"))
	enter := s.do(left("a-1", 1)).Dispatch[0]
	assert.Equal(t, domain.PointAt(domain.Place{Lat: km(9), Lon: 127.03}), enter.Place)
	is = s.r.View(s.now)
	assert.Equal(t, []any{"Zed", km(9)}, []any{is.Name, *is.Lat})
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
		assert.Equal(t, km(c.km), *s.r.View(t0).Lat, c.id)
	}
	assert.Empty(t, said(s.do(move("m-1", 0.1))), "an old place, again")
	assert.Equal(t, km(-0.1), *s.r.View(t0).Lat)

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
		v := s.r.View(t0)
		ids := []string{}
		for _, d := range v.Deliveries {
			ids = append(ids, d.OrderID)
		}
		assert.Equal(t, c.want, ids, c.e.ID)
		assert.Equal(t, c.count, v.DeliveredCount, c.e.ID)
	}
}

func TestRider_ForgetsTheOldest(t *testing.T) {
	s := newShift(t)
	s.do(online("c-on", "a-1", 0, 1))
	s.do(entered("a-1", 1))
	for i := range 100 {
		s.do(says(rider.Claim, fmt.Sprint("c-", i), "o-1"))
		s.do(move(fmt.Sprint("m-", i), float64(i)))
		s.do(delivery(dispatch.RiderDelivered, fmt.Sprint("o-", i), 1))
	}
	size := len(mustJSON(t, s.r.Recent))
	assert.LessOrEqual(t, size, rider.MaxAcceptedBytes+2)
	assert.Greater(t, size, rider.MaxAcceptedBytes/2)
	size = len(mustJSON(t, s.r.Moves))
	assert.LessOrEqual(t, size, rider.MaxMoveBytes+2)
	assert.Greater(t, size, rider.MaxMoveBytes/2)
	assert.Len(t, s.r.Over, rider.KeepOver)
	assert.Equal(t, 100, s.r.View(t0).DeliveredCount)

	// A refusal is remembered beside them, for an hour.
	at := s.now
	no := s.do(ifVersion(1, offline("no"))).Verdicts[0]
	for i := range 100 {
		s.do(says(rider.Claim, fmt.Sprint("d-", i), "o-1"))
	}
	for i := range 30 {
		s.do(ifVersion(1, offline(fmt.Sprint("no-", i))))
	}
	assert.Equal(t, []domain.Verdict{no}, s.r.Handle(ifVersion(1, offline("no")), named("no"), s.now).Verdicts)
	s.now = at.Add(domain.RefusedFor + time.Minute)
	s.do(says(rider.Claim, "e-1", "o-1"))
	assert.NotEqual(t, no, s.do(ifVersion(1, offline("no"))).Verdicts[0], "decided anew")
}

func ifVersion(v int, c *rider.Command) *rider.Command {
	c.IfVersion = &v
	return c
}

// verdict is what a command got, without what is the same of all.
type verdict struct {
	code    string
	version int
}

func TestRider_Verdicts(t *testing.T) {
	s := newShift(t)
	for i, l := range []struct {
		m    any
		want []verdict
	}{
		// Of whom nothing is known can only come online.
		{offline("u-1"), []verdict{{domain.CodeUnknown, 0}}},
		{move("u-2", 0), []verdict{{domain.CodeUnknown, 0}}},
		{says(rider.Claim, "u-3", "o-1"), []verdict{{domain.CodeUnknown, 0}}},
		{ifVersion(0, says(rider.Claim, "u-4", "o-1")), []verdict{{domain.CodeUnknown, 0}}},
		{ifVersion(1, online("u-5", "a-1", 0, 1)), []verdict{{domain.CodeVersion, 0}}},

		{ifVersion(0, online("c-1", "a-1", 0, 1)), nil},
		{entered("a-1", 1), []verdict{{"", 2}}},
		{ifVersion(0, online("c-2", "a-1", 0, 1)), []verdict{{domain.CodeVersion, 2}}},
		{ifVersion(1, move("c-3", 0)), []verdict{{domain.CodeVersion, 2}}},
		{ifVersion(1, says(rider.Claim, "c-4", "o-1")), []verdict{{domain.CodeVersion, 2}}},
		{ifVersion(2, says(rider.Claim, "c-5", "o-1")), nil}, // dispatch decides
		{ifVersion(2, offline("c-6")), nil},
		{offline("c-7"), []verdict{{domain.CodeRefused, 4}}}, // of c-6
		{stays("a-1", 1, 1), []verdict{{domain.CodeStatus, 5}}},
		{offline("c-8"), nil},
		{left("a-1", 1), []verdict{{"", 7}}},
		{says(rider.Claim, "c-9", "o-1"), []verdict{{domain.CodeStatus, 7}}},
	} {
		var got []verdict
		for _, v := range s.do(l.m).Verdicts {
			require.NoError(t, v.Validate())
			require.LessOrEqual(t, v.Version, s.r.Version, "a reader need not wait for more")
			got = append(got, verdict{v.Code, v.Version})
		}
		require.Equal(t, l.want, got, "line %d: %v", i, l.m)
	}
	v := s.do(ifVersion(3, offline("c-10"))).Verdicts[0]
	require.Equal(t, `rider "r-1" has version 7, and ifVersion is 3: read it again, then decide`, v.Reason)
}

// A move says a verdict when it is asked to.
func TestRider_MoveVerdict(t *testing.T) {
	s := newShift(t)
	s.do(online("c-1", "a-1", 0, 1))
	quiet, asked := move("m-1", 1), move("m-2", 2)
	asked.Verdict = true
	require.Empty(t, s.do(quiet).Verdicts)
	v := s.do(asked).Verdicts
	require.Len(t, v, 1)
	require.Equal(t, []any{domain.Accepted, s.r.Version}, []any{v[0].Verdict, v[0].Version})
}

// An older place never replaces a newer one, however late it comes.
func TestRider_OlderPlace(t *testing.T) {
	at := func(after time.Duration, c *rider.Command) *rider.Command {
		c.At = t0.Add(after)
		return c
	}
	s := newShift(t)
	s.now = t0.Add(time.Hour)
	enter := s.do(at(10*time.Minute, online("c-1", "a-1", 1, 1))).Dispatch[0]
	require.Equal(t, t0.Add(10*time.Minute), enter.PlaceAt)
	for _, m := range []struct {
		c    *rider.Command
		want float64
		at   time.Duration
		told bool
	}{
		{at(20*time.Minute, move("m-1", 2)), 2, 20 * time.Minute, true},
		{at(15*time.Minute, move("m-2", 3)), 2, 20 * time.Minute, false},
		{at(20*time.Minute, move("m-3", 4)), 4, 20 * time.Minute, true},
		{at(5*time.Minute, online("c-2", "a-1", 9, 1)), 4, 20 * time.Minute, true}, // enters where the rider is known to be
	} {
		out := s.do(m.c)
		v := s.r.View(s.now)
		require.Equal(t, []any{km(m.want), t0.Add(m.at)}, []any{*v.Lat, v.At}, m.c.ID)
		require.Equal(t, m.told, len(out.Dispatch) > 0, m.c.ID)
		for _, d := range out.Dispatch {
			require.NoError(t, d.Validate())
			require.Equal(t, domain.Place{Lat: km(m.want), Lon: 127.03}, d.Place.Place())
			require.Equal(t, t0.Add(m.at), max(d.PlaceAt, d.At*domain.Time(b2i(d.Type == dispatch.Move))))
		}
	}
	before := s.r.Version
	s.do(at(time.Minute, move("m-4", 5)))
	require.Equal(t, before, s.r.Version, "what changes nothing counts for nothing")

	s.do(at(100*time.Hour, move("m-5", 6)))
	require.LessOrEqual(t, s.r.PlacedAt, s.now, "nobody knows where they will be")
	s.do(move("m-6", 7))
	require.Equal(t, km(7), *s.r.View(t0).Lat)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestRider_NameAndShift(t *testing.T) {
	s := newShift(t)
	until := t0.Add(time.Hour)
	c := online("c-1", "a-1", 0, 1)
	c.Name, c.Until = new("Kim"), until
	enter := s.do(c).Dispatch[0]
	require.Equal(t, until, enter.Until)
	s.do(entered("a-1", 1))
	v := s.r.View(until - 1)
	require.Equal(t, []any{"Kim", until, rider.StateIdle}, []any{v.Name, v.Until, v.State})
	require.Equal(t, rider.StateOffline, s.r.View(until).State, "the shift ends by itself")
	s.do(delivery(dispatch.RiderAssigned, "o-1", 1))
	require.Equal(t, rider.StateBusy, s.r.View(until).State)
	s.do(delivery(dispatch.RiderDelivered, "o-1", 1))

	// A shift that could not begin leaves the one before as it is.
	s.do(online("c-2", "a-2", 0, 1))
	require.Equal(t, until, s.r.View(t0).Until)
	s.do(stays("a-1", 1, 1))
	require.Equal(t, until, s.r.View(t0).Until)
	s.do(offline("c-3"))
	s.do(left("a-1", 1))
	v = s.r.View(t0)
	require.Equal(t, []any{"Kim", domain.Time(0)}, []any{v.Name, v.Until}, "a name stays")
}

func TestRider_Shows(t *testing.T) {
	s := newShift(t)
	s.do(online("c-1", "a-1", 0, 2))
	shows := func() (all []bool) {
		for _, kind := range []string{rider.Claim, rider.PickedUp, rider.Delivered, rider.Decline} {
			all = append(all, s.r.Shows(kind, "o-1"))
		}
		return all
	}
	require.Equal(t, []bool{false, false, false, true}, shows())
	s.do(delivery(dispatch.RiderAssigned, "o-1", 1))
	require.Equal(t, []bool{true, true, false, false}, shows())
	s.do(delivery(dispatch.RiderDelivered, "o-1", 1))
	require.Equal(t, []bool{true, true, true, true}, shows())
	s.do(delivery(dispatch.RiderAssigned, "o-1", 2)) // a redelivery
	require.Equal(t, []bool{true, true, false, false}, shows())
	s.do(delivery(dispatch.RiderUnassigned, "o-1", 2))
	require.Equal(t, []bool{true, true, true, true}, shows())
}

func TestAnswer_Text(t *testing.T) {
	for _, a := range []rider.Answer{
		{Of: "x", Name: "n", At: t0, Version: 7, Area: "a 1"},
		{Of: "x", Name: "n", At: t0, Version: 7},
		{Of: "x", Name: "n", At: t0, Refusal: domain.Refuse(domain.CodeStatus, "a/b / c/")},
		{Of: "x", Name: "n", At: t0, Version: 7, Refusal: domain.Refuse(domain.CodeStatus, "a/b"), By: "y",
			Asker: rider.Asker{CommandID: "t/0/7", Digest: "d", Mark: "n", Verdict: true, AskedAt: t0}},
		{Of: "x", Name: "n", At: t0, Version: 7, By: "y", Asker: rider.Asker{CommandID: "c-1", Digest: "d", Mark: "n", AskedAt: t0}},
	} {
		b, err := a.MarshalText()
		require.NoError(t, err)
		var back rider.Answer
		require.NoError(t, back.UnmarshalText(b), string(b))
		require.Equal(t, a, back, string(b))
	}
	for _, damaged := range []string{"x/n/!", "x/n/1/2/a/c/y/v/1/d/z/short"} {
		require.Error(t, new(rider.Answer).UnmarshalText([]byte(damaged)), damaged)
	}
	require.Error(t, new(rider.Moved).UnmarshalText([]byte("x/n/!")))
}

func TestRider_View(t *testing.T) {
	assert.JSONEq(t, `{"id":"r-1","state":"offline","deliveries":[],"deliveredCount":0,"version":0}`, string(mustJSON(t, rider.NewRider("r-1").View(t0))))
}

// An area without room says left to who asks to come in: that is refused, and
// not asked again at once.
func TestRider_AreaIsFull(t *testing.T) {
	s := newShift(t)
	s.do(online("c-1", "a-1", 0, 1))
	e := left("a-1", 1)
	e.Reason = "full"
	assert.Equal(t, []string{"c-1: refused (full)"}, said(s.do(e)))
	assert.Equal(t, rider.StateOffline, s.r.View(t0).State)
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
	require.Equal(t, []float64{0, 0}, []float64{*s.r.View(t0).Lat, *s.r.View(t0).Lon})
	require.Empty(t, said(s.do(at(rider.Move, "m-1", 0.0001))), "dispatch knows where that is")
	require.Empty(t, said(s.do(at(rider.Move, "m-2", 0))))
	require.Len(t, said(s.do(at(rider.Move, "m-3", 1))), 1)
	require.Len(t, said(s.do(at(rider.Move, "m-4", 0))), 1)
	require.Empty(t, said(s.do(at(rider.Move, "m-5", 0.0001))))
	require.Nil(t, rider.NewRider("r-2").View(t0).Lat, "of others no place is known")
}

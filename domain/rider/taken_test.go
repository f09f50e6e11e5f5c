package rider_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/rider"
)

// An id that names one command names no other, be that one waiting, decided on
// here or forwarded, or a move.
func TestRider_IDTaken(t *testing.T) {
	r, now := rider.NewRider("r-1"), t0
	name := func(id, mark string) domain.Name { return domain.Name{ID: id, Own: true, Digest: mark, Mark: mark} }
	handle := func(c *rider.Command, mark string) rider.Out {
		now += 1000
		return r.Handle(c, name(c.ID, mark), now)
	}
	taken := func(id string) {
		t.Helper()
		row := string(mustJSON(t, r))
		first := handle(says(rider.Decline, id, "o-9"), "another")
		require.Len(t, first.Verdicts, 1)
		require.Contains(t, first.Verdicts[0].Reason, `the id "`+id+`" names another command`)
		require.Equal(t, "another", first.Verdicts[0].Digest)
		require.Equal(t, rider.Out{Verdicts: first.Verdicts}, first)
		require.Equal(t, first, handle(says(rider.Decline, id, "o-9"), "another"), "the same answer, whenever")
		require.Equal(t, row, string(mustJSON(t, r)))
	}
	online := online("c-1", "a-1", 0, 1)
	handle(online, "online")
	taken("c-1")
	early := handle(says(rider.Decline, "c-1", "o-9"), "another")
	require.Equal(t, domain.Accepted, r.HandleEvent(entered("a-1", 1), now).Verdicts[0].Verdict)
	taken("c-1")
	require.Equal(t, early, handle(says(rider.Decline, "c-1", "o-9"), "another"), "the same before the first one was decided on, and after")
	require.Equal(t, domain.Accepted, handle(online, "online").Verdicts[0].Verdict, "the first one's answer stays")

	claim := says(rider.Claim, "c-2", "o-1")
	forwarded := handle(claim, "claim").Dispatch
	require.Equal(t, "r-1/claim/claim/c-2", forwarded[0].ID)
	require.NoError(t, forwarded[0].CheckName())
	taken("c-2")
	require.Equal(t, forwarded, handle(claim, "claim").Dispatch)

	handle(move("m-1", 5), "move")
	taken("m-1")

	unnamed := domain.Name{ID: "t/0/7", Mark: "one"}
	c := says(rider.Claim, "", "o-1")
	one := r.Handle(c, unnamed, now).Dispatch[0]
	unnamed.Mark = "anew"
	anew := r.Handle(c, unnamed, now).Dispatch[0]
	require.NotEqual(t, one.ID, anew.ID, "coordinates that come again are another command")
	require.Equal(t, []string{"t/0/7", "t/0/7"}, []string{one.CommandID, anew.CommandID})
}

// What dispatch decides for a rider's command says which command it was.
func TestRider_ForwardedVerdict(t *testing.T) {
	r := rider.NewRider("r-1")
	lat, lon := 1.0, 2.0
	r.Handle(&rider.Command{Meta: domain.Meta{Type: rider.Online}, Area: "a-1", Lat: &lat, Lon: &lon}, named("on"), t0)
	n := domain.Name{ID: "c-1", Own: true, Digest: "digest", Mark: "mark"}
	c := r.Handle(says(rider.Claim, "c-1", "o-1"), n, t0).Dispatch[0]
	v := dispatch.NewArea("a-1").Handle(&c, t0, dispatch.Planner{}).Verdicts[0]
	require.Equal(t, domain.NewVerdict(rider.Stream, "r-1", n, domain.Refuse(domain.CodeStatus, "%s", v.Reason), 0, t0), v.Verdict)
	require.NotEmpty(t, v.Reason)
}

package dispatch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
)

// A finished delivery comes back from a row as it was, whatever its reasons are.
func TestPast(t *testing.T) {
	for _, reason := range []string{"", "plain", "a/b/3/c", `"quoted" \ and 늦음`, "12/", "\n"} {
		row := dispatch.NewArea("a")
		for _, c := range []dispatch.Command{
			{Meta: domain.Meta{Type: dispatch.Enter, ID: "r-1/enter/1"}, RiderID: "r-1", Shift: 1, Capacity: 1, Place: domain.PointAt(domain.Place{})},
			{Meta: domain.Meta{Type: dispatch.Request, ID: "o-1/request/2"}, OrderID: "o-1", Attempt: 2, Pickup: domain.PointAt(domain.Place{}), Drop: domain.PointAt(domain.Place{})},
			{Meta: domain.Meta{Type: dispatch.Withdraw, ID: "o-1/withdraw/2"}, OrderID: "o-1", Attempt: 2, Reason: reason},
		} {
			row.Handle(&c, 1_767_355_200_000, dispatch.Planner{})
		}
		require.Len(t, row.Done, 1)
		data, err := codecs.Marshal(row)
		require.NoError(t, err)
		back := new(dispatch.Area)
		require.NoError(t, codecs.Unmarshal(data, back))
		require.Equal(t, row.Done, back.Done)
		require.Equal(t, "o-1", back.Done[0].OrderID)
		require.Equal(t, 2, back.Done[0].Attempt)
		require.Len(t, back.Done[0].Steps, 2, "assigned and failed")
	}
	for _, damaged := range []string{"o/x", "o/1/99/1/a", "o/1/-1/a", "o/1/x"} {
		require.Error(t, new(dispatch.Past).UnmarshalText([]byte(damaged)), damaged)
	}
}

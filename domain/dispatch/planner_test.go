package dispatch_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/domain"
	"baedal/domain/dispatch"
)

func TestParseMode(t *testing.T) {
	for in, want := range map[string]dispatch.Mode{"": dispatch.Assign, "assign": dispatch.Assign, "claim": dispatch.ClaimOnly, "hybrid": dispatch.Hybrid} {
		m, err := dispatch.ParseMode(in)
		require.NoError(t, err)
		assert.Equal(t, want, m)
	}
	_, err := dispatch.ParseMode("auction")
	assert.EqualError(t, err, `dispatch mode "auction" is unknown: assign, claim or hybrid`)
}

func TestMetres(t *testing.T) {
	seoul, busan := domain.Place{Lat: 37.5665, Lon: 126.978}, domain.Place{Lat: 35.1796, Lon: 129.0756}
	assert.Zero(t, dispatch.Metres(seoul, seoul))
	assert.InDelta(t, 325_100, dispatch.Metres(seoul, busan), 500)
	assert.Equal(t, dispatch.Metres(seoul, busan), dispatch.Metres(busan, seoul))
	half := math.Pi * dispatch.EarthRadius
	assert.InDelta(t, half, dispatch.Metres(domain.Place{Lat: 90}, domain.Place{Lat: -90}), 1)
	assert.InDelta(t, half, dispatch.Metres(domain.Place{Lon: -90}, domain.Place{Lon: 90}), 1)
	assert.InDelta(t, half/180, dispatch.Metres(domain.Place{}, domain.Place{Lat: 1}), 1)
	assert.InDelta(t, float64(time.Minute), float64(dispatch.Cruise(half/180/60)(domain.Place{}, domain.Place{Lat: 1})), float64(time.Millisecond))
}

// Nobody is better than who is chosen, whatever the order of candidates.
func TestNearest_BruteForce(t *testing.T) {
	candidate := rapid.Custom(func(t *rapid.T) dispatch.Candidate {
		return dispatch.Candidate{
			RiderID:   rapid.StringMatching(`r-[0-9]{2}`).Draw(t, "id"),
			ToPickup:  time.Duration(rapid.IntRange(0, 3).Draw(t, "travel")) * time.Minute,
			IdleSince: domain.Time(rapid.IntRange(0, 3).Draw(t, "idle")),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		cs := rapid.SliceOfNDistinct(candidate, 1, 12, func(c dispatch.Candidate) string { return c.RiderID }).Draw(t, "candidates")
		id, ok := dispatch.Nearest{}.Choose(dispatch.Delivery{}, cs)
		require.True(t, ok)
		var chosen dispatch.Candidate
		for _, c := range cs {
			if c.RiderID == id {
				chosen = c
			}
		}
		require.NotEmpty(t, chosen.RiderID, "not a candidate")
		for _, c := range cs {
			if c.RiderID == id {
				continue
			}
			require.False(t, c.ToPickup < chosen.ToPickup, "%v is nearer", c)
			if c.ToPickup == chosen.ToPickup {
				require.False(t, c.IdleSince < chosen.IdleSince, "%v is idle for longer", c)
				if c.IdleSince == chosen.IdleSince {
					require.Less(t, chosen.RiderID, c.RiderID)
				}
			}
		}
	})
}

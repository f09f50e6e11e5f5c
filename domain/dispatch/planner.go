package dispatch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"baedal/domain"
)

// Mode says how deliveries find their riders.
type Mode string

// Modes.
const (
	// Assign gives each delivery to a rider as soon as there is one. The default.
	Assign Mode = "assign"
	// ClaimOnly gives nothing by itself: riders claim.
	ClaimOnly Mode = "claim"
	// Hybrid lets riders claim while the food is being made and assigns what is
	// still open once it is ready.
	Hybrid Mode = "hybrid"
)

// ParseMode returns the mode of that name; "" is Assign.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Assign, nil
	case Assign, ClaimOnly, Hybrid:
		return m, nil
	}
	return "", fmt.Errorf("dispatch mode %q is unknown: assign, claim or hybrid", s)
}

// assigns reports whether d may be given away without a claim.
func (m Mode) assigns(d *Delivery, now domain.Time) bool {
	switch m {
	case ClaimOnly:
		return false
	case Hybrid:
		return d.Ready || d.ReadyAt <= Millis(now)
	}
	return true
}

// EarthRadius is the mean radius R1 of the Earth in metres (IUGG; Moritz,
// Geodetic Reference System 1980, Journal of Geodesy 74, 2000).
const EarthRadius = 6371008.8

// Metres returns the great-circle distance by the haversine formula (R. W.
// Sinnott, Virtues of the Haversine, Sky & Telescope 68, 1984).
func Metres(from, to domain.Place) float64 {
	const rad = math.Pi / 180
	sinLat := math.Sin((to.Lat - from.Lat) * rad / 2)
	sinLon := math.Sin((to.Lon - from.Lon) * rad / 2)
	h := sinLat*sinLat + math.Cos(from.Lat*rad)*math.Cos(to.Lat*rad)*sinLon*sinLon
	return 2 * EarthRadius * math.Asin(math.Sqrt(min(1, h)))
}

// Travel estimates how long a rider needs. It must be a pure function.
type Travel func(from, to domain.Place) time.Duration

// CruiseSpeed is the default speed in metres per second: a scooter in a city,
// stops and detours included.
const CruiseSpeed = 5.0

// Cruise travels along the great circle at one speed, which must be above zero.
func Cruise(metresPerSecond float64) Travel {
	return func(from, to domain.Place) time.Duration {
		return time.Duration(Metres(from, to) / metresPerSecond * float64(time.Second))
	}
}

// Candidate is a rider on shift who can take one more delivery and has not
// declined this one.
type Candidate struct {
	RiderID   string
	Place     domain.Place
	ToPickup  time.Duration // from his place; what he has in hand is not counted in
	IdleSince domain.Time   // now, for one who has a delivery in hand
	InHand    int
}

// Policy chooses who gets a delivery. Candidates come in no particular order,
// at least one. ok is false to leave the delivery open for now. It must be a
// pure function and must not keep or change what it is given.
type Policy interface {
	Choose(d Delivery, candidates []Candidate) (riderID string, ok bool)
}

// Nearest chooses who is soonest at the pick-up; among equals who has been idle
// longest, then the smallest id.
type Nearest struct{}

// Choose implements Policy.
func (Nearest) Choose(_ Delivery, candidates []Candidate) (string, bool) {
	best := slices.MinFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.ToPickup, b.ToPickup), cmp.Compare(a.IdleSince, b.IdleSince), cmp.Compare(a.RiderID, b.RiderID))
	})
	return best.RiderID, true
}

// Planner is how an area gives deliveries away. The zero Planner assigns the
// nearest rider at CruiseSpeed.
type Planner struct {
	Policy Policy // Nearest when nil
	Travel Travel // Cruise(CruiseSpeed) when nil
	Mode   Mode   // Assign when empty
}

var cruise = Cruise(CruiseSpeed)

func (p Planner) orDefaults() Planner {
	if p.Policy == nil {
		p.Policy = Nearest{}
	}
	if p.Travel == nil {
		p.Travel = cruise
	}
	if p.Mode == "" {
		p.Mode = Assign
	}
	return p
}

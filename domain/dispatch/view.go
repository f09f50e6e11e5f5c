package dispatch

import (
	"cmp"
	"slices"

	"baedal/domain"
)

// RiderView is a rider on shift as readers see him.
type RiderView struct {
	ID         string      `json:"id"`
	State      string      `json:"state"` // idle or busy
	Lat        float64     `json:"lat"`
	Lon        float64     `json:"lon"`
	Capacity   int         `json:"capacity"`
	Deliveries []string    `json:"deliveries"` // order ids
	Since      domain.Time `json:"since"`      // on shift
}

// DeliveryView is a delivery that is not finished as readers see it.
type DeliveryView struct {
	OrderID     string       `json:"orderId"`
	Attempt     int          `json:"attempt"`
	State       State        `json:"state"` // open, assigned or picked_up
	Pickup      domain.Place `json:"pickup"`
	Drop        domain.Place `json:"drop"`
	RequestedAt domain.Time  `json:"requestedAt"`
	ReadyAt     domain.Time  `json:"readyAt"`
	Ready       bool         `json:"ready"`
	RiderID     string       `json:"riderId,omitempty"`
	EtaPickup   domain.Time  `json:"etaPickup,omitzero"`
	EtaDrop     domain.Time  `json:"etaDrop,omitzero"`
}

// DeliveriesView holds the deliveries of an area, the oldest request first.
type DeliveriesView struct {
	Open     []DeliveryView `json:"open"`
	Assigned []DeliveryView `json:"assigned"`
}

// RidersView returns the riders on shift in order of their ids.
func (a *Area) RidersView() []RiderView {
	views := make([]RiderView, 0, len(a.Riders))
	for _, r := range a.Riders {
		v := RiderView{
			ID: r.ID, State: "idle", Lat: r.Place.Lat, Lon: r.Place.Lon, Capacity: r.Capacity, Deliveries: []string{}, Since: r.EnteredAt,
		}
		for _, d := range a.inHand(r.ID) {
			v.State = "busy"
			v.Deliveries = append(v.Deliveries, d.OrderID)
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b RiderView) int { return cmp.Compare(a.ID, b.ID) })
	return views
}

// DeliveriesView returns what is open, which riders may claim where the mode
// lets them, and what riders have in hand.
func (a *Area) DeliveriesView() DeliveriesView {
	views := DeliveriesView{Open: []DeliveryView{}, Assigned: []DeliveryView{}}
	for _, d := range a.Deliveries {
		v := DeliveryView{
			OrderID: d.OrderID, Attempt: d.Attempt, State: d.State(), Pickup: d.Pickup, Drop: d.Drop,
			RequestedAt: domain.Time(d.RequestedAt), ReadyAt: domain.Time(d.ReadyAt), Ready: d.Ready,
		}
		if v.State == StateOpen {
			views.Open = append(views.Open, v)
			continue
		}
		held := d.holder(len(d.Steps) - 1)
		v.RiderID, v.EtaPickup, v.EtaDrop = held.RiderID, held.EtaPickup, held.EtaDrop
		views.Assigned = append(views.Assigned, v)
	}
	return views
}

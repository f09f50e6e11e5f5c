package dispatch

import (
	"cmp"
	"slices"

	"baedal/domain"
)

// RiderView is a rider on shift as readers see him.
type RiderView struct {
	ID         string      `json:"id"`
	State      string      `json:"state"` // idle, busy, or offline when the shift has ended by itself
	Lat        float64     `json:"lat"`
	Lon        float64     `json:"lon"`
	Capacity   int         `json:"capacity"`
	Deliveries []string    `json:"deliveries"`     // order ids
	At         domain.Time `json:"at"`             // when the rider was there
	Since      domain.Time `json:"since"`          // on shift
	Until      domain.Time `json:"until,omitzero"` // end of the shift
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
	Eta         *Eta         `json:"eta,omitempty"` // of one that a rider has
}

// Eta is when a rider is believed to be at the store, and at the customer's.
type Eta struct {
	Pickup domain.Time `json:"pickup"`
	Drop   domain.Time `json:"drop"`
}

// DeliveriesView holds the deliveries of an area, the oldest request first.
type DeliveriesView struct {
	Open     []DeliveryView `json:"open"`
	Assigned []DeliveryView `json:"assigned"`
}

// RidersView returns the riders on shift in order of their ids, as they are now.
// One whose shift has ended by itself is there until they leave.
func (a *Area) RidersView(now domain.Time) []RiderView {
	views := make([]RiderView, 0, len(a.Riders))
	for _, r := range a.Riders {
		v := RiderView{
			ID: r.ID, State: "idle", Lat: r.Place.Lat, Lon: r.Place.Lon, Capacity: r.Capacity, Deliveries: []string{}, At: r.PlaceAt, Since: r.EnteredAt, Until: r.Until,
		}
		if r.Until != 0 && now >= r.Until {
			v.State = "offline"
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

// Has reports whether a rider is on shift here.
func (a *Area) Has(riderID string) bool {
	return slices.ContainsFunc(a.Riders, func(r *Rider) bool { return r.ID == riderID })
}

// DeliveriesView returns what is open, which riders may claim where the mode
// lets them, and what riders have in hand.
func (a *Area) DeliveriesView() DeliveriesView {
	views := DeliveriesView{Open: []DeliveryView{}, Assigned: []DeliveryView{}}
	for _, d := range a.Deliveries {
		v := d.view()
		if v.State == StateOpen {
			views.Open = append(views.Open, v)
		} else {
			views.Assigned = append(views.Assigned, v)
		}
	}
	return views
}

// DeliveryView returns a delivery that is not finished.
func (a *Area) DeliveryView(orderID string) (v DeliveryView, found bool) {
	for _, d := range a.Deliveries {
		if d.OrderID == orderID && (!found || d.Attempt > v.Attempt) {
			v, found = d.view(), true
		}
	}
	return v, found
}

func (d *Delivery) view() DeliveryView {
	v := DeliveryView{
		OrderID: d.OrderID, Attempt: d.Attempt, State: d.State(), Pickup: d.Pickup, Drop: d.Drop,
		RequestedAt: domain.Time(d.RequestedAt), ReadyAt: domain.Time(d.ReadyAt), Ready: d.Ready,
	}
	if held := d.holder(len(d.Steps) - 1); d.Rider() != "" {
		pickup := held.EtaPickup
		if last := d.Steps[len(d.Steps)-1]; last.Type == PickedUp {
			pickup = last.At // earlier or later than was believed
		} else if !d.Ready {
			pickup = max(pickup, v.ReadyAt) // the food may have been postponed since
		}
		v.RiderID, v.Eta = held.RiderID, &Eta{pickup, pickup + held.EtaDrop - held.EtaPickup}
	}
	return v
}

package rider

import (
	"slices"

	"baedal/domain"
)

// States of a rider as readers see him.
const (
	StateOffline = "offline"
	StateIdle    = "idle"
	StateBusy    = "busy"
)

// View is a rider as readers see them. What an order has to say of its delivery
// is in its own row, and where the delivery stands in the area's.
type View struct {
	ID             string      `json:"id"`
	Name           string      `json:"name,omitempty"`
	Area           string      `json:"area,omitempty"`
	Lat            *float64    `json:"lat,omitempty"` // left out while no place is known
	Lon            *float64    `json:"lon,omitempty"`
	At             domain.Time `json:"at,omitzero"` // when the rider was there
	State          string      `json:"state"`
	Until          domain.Time `json:"until,omitzero"` // end of the shift
	Deliveries     []InHand    `json:"deliveries"`
	DeliveredCount int         `json:"deliveredCount"`
	Version        int         `json:"version"`
}

// View returns what readers see now. A rider is offline until the area has let
// them in, and still on shift until it has let them go, or until the shift ends
// by itself: then nothing new is given to them.
func (r *Rider) View(now domain.Time) View {
	v := View{
		ID: r.ID, Name: r.Name, At: r.PlacedAt, State: StateOffline, Deliveries: append([]InHand{}, r.Deliveries...),
		DeliveredCount: r.DeliveredCount, Version: r.Version,
	}
	if r.Place != nil {
		v.Lat, v.Lon = &r.Place.Lat, &r.Place.Lon
	}
	if r.On {
		v.Area, v.State, v.Until = r.Area, StateIdle, r.Until
		switch {
		case len(v.Deliveries) > 0:
			v.State = StateBusy
		case r.Until != 0 && now >= r.Until:
			v.State = StateOffline
		}
	}
	return v
}

// Known reports whether the rider has ever been online. Commands of others are
// refused as unknown.
func (r *Rider) Known() bool { return r != nil && r.Version > 0 }

// Shows reports whether the row shows what an accepted claim, decline, picked_up
// or delivered led to, which dispatch decided: the delivery is in hand, or was,
// or is no more.
func (r *Rider) Shows(kind, orderID string) bool {
	inHand := r.Holds(orderID)
	switch kind {
	case Claim, PickedUp:
		return inHand || r.had(orderID)
	case Delivered:
		return !inHand && r.had(orderID)
	}
	return !inHand
}

// Holds reports whether a delivery of the order is in hand.
func (r *Rider) Holds(orderID string) bool {
	return slices.ContainsFunc(r.Deliveries, func(d InHand) bool { return d.OrderID == orderID })
}

// had reports whether an attempt of the order was in hand and is over.
func (r *Rider) had(orderID string) bool {
	for attempt := 1; attempt <= domain.MaxAttempts; attempt++ {
		if slices.Contains(r.Over, InHand{orderID, attempt}.mark()) {
			return true
		}
	}
	return false
}

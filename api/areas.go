package api

import (
	"net/http"

	"baedal/domain"
	"baedal/domain/dispatch"
)

// areaSummary is an area in the list of all.
type areaSummary struct {
	ID       string `json:"id"`
	Riders   int    `json:"riders"`   // on shift
	Idle     int    `json:"idle"`     // of them
	Open     int    `json:"open"`     // deliveries that nobody has
	Assigned int    `json:"assigned"` // deliveries that a rider has
}

type areaPage struct {
	Areas  []areaSummary `json:"areas"`
	Cursor string        `json:"cursor,omitempty"`
}

// areaRider is a rider on shift, with the name that the riders' view knows.
type areaRider struct {
	Name string `json:"name"`
	dispatch.RiderView
}

type areaRidersAnswer struct {
	Area   string      `json:"area"`
	Riders []areaRider `json:"riders"`
}

type areaDeliveriesAnswer struct {
	Area     string           `json:"area"`
	Open     []deliveryAnswer `json:"open"`
	Assigned []deliveryAnswer `json:"assigned"`
}

// listAreas lists the areas where something has happened, by their ids.
func (s *server) listAreas(w http.ResponseWriter, r *http.Request) error {
	p, err := pageOf(r, r.URL.Query(), "all")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Areas)
	out := areaPage{Areas: []areaSummary{}}
	out.Cursor, err = walk(r, s.Tables.Areas, "all", "", p, func(_ string, row *dispatch.Area) (bool, error) {
		deliveries, a := row.DeliveriesView(), areaSummary{ID: row.ID}
		for _, v := range row.RidersView(now()) {
			a.Riders++
			if len(v.Deliveries) == 0 {
				a.Idle++
			}
		}
		a.Open, a.Assigned = len(deliveries.Open), len(deliveries.Assigned)
		out.Areas = append(out.Areas, a)
		return true, nil
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
}

// area returns the row of an area. Areas are not registered: one where nothing
// has happened yet is empty.
func (s *server) area(r *http.Request) (*dispatch.Area, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return nil, err
	}
	row, err := s.Tables.Areas.Get(id)
	if row == nil && err == nil {
		row = dispatch.NewArea(id)
	}
	return row, err
}

func (s *server) areaRiders(w http.ResponseWriter, r *http.Request) error {
	stale(w, s.Tables.Areas, s.Tables.Riders)
	row, err := s.area(r)
	if err != nil {
		return err
	}
	riders, err := s.areaRiderAnswers(row)
	if err != nil {
		return err
	}
	return writeList(w, r, areaRidersAnswer{row.ID, riders})
}

// areaRiderAnswers are the riders on shift in an area, by their ids.
func (s *server) areaRiderAnswers(row *dispatch.Area) ([]areaRider, error) {
	views := row.RidersView(now())
	out := make([]areaRider, len(views))
	for i, v := range views {
		known, err := s.Tables.Riders.Get(v.ID)
		if err != nil {
			return nil, err
		}
		out[i].RiderView = v
		if known != nil {
			out[i].Name = known.Name
		}
	}
	return out, nil
}

// areaDeliveries shows what can be claimed in an area, and who has what. A rider who
// asks learns how far each store is from them.
func (s *server) areaDeliveries(w http.ResponseWriter, r *http.Request) error {
	rider, err := idFilter(r.URL.Query(), "riderId")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Areas, s.Tables.Orders, s.Tables.Riders)
	row, err := s.area(r)
	if err != nil {
		return err
	}
	var from *domain.Place
	if rider != "" {
		known, err := s.Tables.Riders.Get(rider)
		if err != nil {
			return err
		}
		if !known.Known() {
			return unknownRider(rider)
		}
		from = known.Place
	}
	out := areaDeliveriesAnswer{Area: row.ID}
	if out.Open, out.Assigned, err = s.areaDeliveryAnswers(row); err != nil {
		return err
	}
	for i := range out.Open {
		if d := &out.Open[i]; from != nil {
			metres := int(dispatch.Metres(*from, domain.Place{Lat: d.Pickup.Lat, Lon: d.Pickup.Lon}) + 0.5)
			d.Distance = &metres
		}
	}
	return writeList(w, r, out)
}

// areaDeliveryAnswers are the deliveries of an area that are not finished, the oldest
// request first.
func (s *server) areaDeliveryAnswers(row *dispatch.Area) (open, assigned []deliveryAnswer, err error) {
	all := func(views []dispatch.DeliveryView) []deliveryAnswer {
		out := make([]deliveryAnswer, len(views))
		for i, v := range views {
			if err == nil {
				out[i], err = s.deliveryAnswer(v, false)
			}
		}
		return out
	}
	v := row.DeliveriesView()
	open, assigned = all(v.Open), all(v.Assigned)
	return open, assigned, err
}

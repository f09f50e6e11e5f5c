package api

import (
	"net/http"
	"net/url"

	"baedal/domain/dispatch"
)

func riderPath(id string) string { return "/v1/riders/" + url.PathEscape(id) }

func unknownRider(id string) error {
	return problemf(http.StatusNotFound, "rider %q is not known: POST %s/online begins a shift, which takes a moment to show", id, riderPath(id))
}

func (s *server) getRider(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Riders)
	row, err := s.Tables.Riders.Get(id)
	if err != nil {
		return err
	}
	if !row.Known() {
		return unknownRider(id)
	}
	a, err := s.riderAnswer(row)
	if err != nil {
		return err
	}
	return writeThing(w, r, http.StatusOK, a)
}

type areaRidersAnswer struct {
	Area   string               `json:"area"`
	Riders []dispatch.RiderView `json:"riders"`
}

type areaDeliveriesAnswer struct {
	Area string `json:"area"`
	dispatch.DeliveriesView
}

// area returns the row of an area. Areas are not registered: one where nothing
// has happened yet is empty.
func (s *server) area(w http.ResponseWriter, r *http.Request) (*dispatch.Area, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return nil, err
	}
	stale(w, s.Tables.Areas)
	row, err := s.Tables.Areas.Get(id)
	if row == nil && err == nil {
		row = dispatch.NewArea(id)
	}
	return row, err
}

func (s *server) areaRiders(w http.ResponseWriter, r *http.Request) error {
	row, err := s.area(w, r)
	if err != nil {
		return err
	}
	return writeList(w, r, areaRidersAnswer{row.ID, row.RidersView()})
}

func (s *server) areaDeliveries(w http.ResponseWriter, r *http.Request) error {
	row, err := s.area(w, r)
	if err != nil {
		return err
	}
	return writeList(w, r, areaDeliveriesAnswer{row.ID, row.DeliveriesView()})
}

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/rider"
)

func riderPath(id string) string { return "/v1/riders/" + url.PathEscape(id) }

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
	if row == nil {
		return problemf(http.StatusNotFound, "rider %q is not known: POST %s/online begins a shift, which takes a moment to show", id, riderPath(id))
	}
	return writeTable(w, r, "", row.View(domain.At(time.Now())))
}

func (s *server) riderVerb(kind string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, "id")
		if err != nil {
			return err
		}
		if _, err := timeout(r); err != nil {
			return err
		}
		c := &rider.Command{}
		if err := readBody(w, r, c); err != nil {
			return err
		}
		if c.RiderID != "" && c.RiderID != id {
			return wrong("riderId", "is not the rider of the path: leave it out")
		}
		if c.ID, err = commandID(r, c.ID); err != nil {
			return err
		}
		c.Type, c.RiderID = kind, "" // the key says it
		if err := c.Validate(); err != nil {
			return err
		}
		c = c.Own()
		return s.send(w, r, c.ID, riderPath(id), func(ctx context.Context) error { return s.Commands.SendRider(ctx, id, c) })
	}
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
	return writeTable(w, r, "", areaRidersAnswer{row.ID, row.RidersView(domain.At(time.Now()))})
}

func (s *server) areaDeliveries(w http.ResponseWriter, r *http.Request) error {
	row, err := s.area(w, r)
	if err != nil {
		return err
	}
	return writeTable(w, r, "", areaDeliveriesAnswer{row.ID, row.DeliveriesView()})
}

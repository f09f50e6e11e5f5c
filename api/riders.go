package api

import (
	"net/http"
	"net/url"

	"baedal/domain/rider"
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
	stale(w, s.Tables.Riders, s.Tables.Areas, s.Tables.Orders)
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

type riderPage struct {
	Riders []*riderAnswer `json:"riders"`
	Cursor string         `json:"cursor,omitempty"`
}

// listRiders lists the riders who were ever online by their ids, or, sorted by
// delivered, who has delivered most first. In an area are those on shift there.
func (s *server) listRiders(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	area, wrongArea := idFilter(q, "area")
	state, wrongState := wordFilter(q, "state", rider.StateOffline, rider.StateIdle, rider.StateBusy)
	sort, wrongSort := wordFilter(q, "sort", "delivered")
	index, group := "all", ""
	switch {
	case sort != "":
		index = sort
	case area != "":
		index, group = "area", area
	}
	p, err := pageOf(r, q, index)
	if err := together(wrongArea, wrongState, wrongSort, err); err != nil {
		return err
	}
	stale(w, s.Tables.Riders, s.Tables.Areas, s.Tables.Orders)
	out := riderPage{Riders: []*riderAnswer{}}
	out.Cursor, err = walk(r, s.Tables.Riders, index, group, p, func(_ string, row *rider.Rider) (bool, error) {
		v := row.View(now())
		if !row.Known() || area != "" && v.Area != area || state != "" && v.State != state {
			return false, nil
		}
		a, err := s.riderWith(row, false)
		out.Riders = append(out.Riders, a)
		return true, err
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
}

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/views"
)

// placed reports whether there is an order; a row may also only remember that
// commands for an unknown order were refused.
func placed(o *order.Order) bool { return o != nil && o.Status != order.None }

func unknownOrder(id string) error {
	return problemf(http.StatusNotFound, "order %q is not known: POST /v1/orders places one, which takes a moment to show; final ones are forgotten after some days", id)
}

func orderPath(id string) string { return "/v1/orders/" + url.PathEscape(id) }

func (s *server) getOrder(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	until, err := waitFor(r)
	if err != nil {
		return err
	}
	if until.asked {
		preferred(w, r)
	}
	return s.readOrder(w, r, id, until)
}

// readOrder answers with an order, once it is as waited for or time is up.
func (s *server) readOrder(w http.ResponseWriter, r *http.Request, id string, until until) error {
	stale(w, s.Tables.Orders)
	o, err := s.await(r, id, until)
	if err != nil {
		return err
	}
	if !placed(o) {
		return unknownOrder(id)
	}
	if until.asked { // the answer is newer than the wait is long
		stale(w, s.Tables.Orders)
	}
	return s.writeOrder(w, r, o)
}

type orderPage struct {
	Orders []orderSummary `json:"orders"`
	Cursor string         `json:"cursor,omitempty"` // for the next page; none on the last
}

// orderFilter is what a list of orders is filtered by; what is empty filters nothing.
type orderFilter struct {
	status                   order.Status
	store, user, rider, area string
	since, until             domain.Time // of placing: from since on, before until
	hasSince, hasUntil       bool
}

func orderFilterOf(q url.Values) (f orderFilter, err error) {
	var errs [7]error
	if q.Has("status") {
		f.status = order.Status(q.Get("status"))
		errs[0] = knownStatus("status", q.Get("status"))
	}
	f.store, errs[1] = idFilter(q, "storeId")
	f.user, errs[2] = idFilter(q, "userId")
	f.rider, errs[3] = idFilter(q, "riderId")
	f.area, errs[4] = idFilter(q, "area")
	f.since, f.hasSince, errs[5] = timeFilter(q, "since")
	f.until, f.hasUntil, errs[6] = timeFilter(q, "until")
	return f, together(errs[:]...)
}

// index returns the index, and the group in it, that has the fewest orders beside
// those that are wanted. All are sorted by the time of placing, newest first.
func (f orderFilter) index() (index, group string) {
	switch {
	case f.user != "":
		return "user", f.user
	case f.rider != "":
		return "rider", f.rider
	case f.store != "" && f.status != "" && f.status.Final():
		return "storeOver", f.store + "\x00" + string(f.status)
	case f.store != "" && f.status != "":
		return "board", f.store
	case f.store != "":
		return "store", f.store
	case f.status != "" && (f.area == "" || !f.status.Final()):
		return "status", string(f.status)
	case f.area != "":
		return "area", f.area
	}
	return "time", ""
}

func (f orderFilter) match(o *order.Order) bool {
	return placed(o) &&
		(f.status == "" || o.Status == f.status) &&
		(f.store == "" || o.StoreID == f.store) &&
		(f.user == "" || o.UserID == f.user) &&
		(f.rider == "" || o.RiderID == f.rider) &&
		(f.area == "" || o.Store != nil && o.Store.Area == f.area) &&
		(!f.hasUntil || o.PlacedAt < f.until)
}

// afterKeys sorts behind every key: it is in no UTF-8 text.
const afterKeys = "\xff"

func (s *server) listOrders(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := orderFilterOf(q)
	if err != nil {
		_, more := limit(q)
		return together(err, more)
	}
	return s.writeOrders(w, r, q, f)
}

// writeOrders answers with a page of the orders that a filter wants, newest first.
func (s *server) writeOrders(w http.ResponseWriter, r *http.Request, q url.Values, f orderFilter) error {
	index, group := f.index()
	p, err := pageOf(r, q, index)
	if err != nil {
		return err
	}
	if f.hasUntil && p.after == (views.Entry{}) {
		p.after = views.Entry{Sort: views.Newest(f.until), Key: afterKeys}
	}
	stale(w, s.Tables.Orders)
	out := orderPage{Orders: []orderSummary{}}
	out.Cursor, err = walk(r, s.Tables.Orders, index, group, p, func(_ string, o *order.Order) (bool, error) {
		switch {
		case f.hasSince && o.PlacedAt < f.since:
			return false, errEnd
		case !f.match(o):
			return false, nil
		}
		out.Orders = append(out.Orders, summaryOf(o))
		return true, nil
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
}

func knownStatus(field, status string) error {
	if !slices.Contains(order.Statuses, order.Status(status)) {
		return wrong(field, "is not a status of an order: one of "+joined(order.Statuses))
	}
	return nil
}

func joined(statuses []order.Status) string {
	out := make([]string, len(statuses))
	for i, s := range statuses {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"baedal/domain"
	"baedal/domain/order"
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
	a, err := s.orderAnswer(o)
	if err != nil {
		return err
	}
	return writeThing(w, r, http.StatusOK, a)
}

type orderPage struct {
	Orders []orderSummary `json:"orders"`
	Cursor string         `json:"cursor,omitempty"` // for the next page; none on the last
}

// scanLimit bounds how many rows one request looks at, so that a rare status
// does not make it walk over the whole table: the page is then short, and its
// cursor leads on.
const scanLimit = 20_000

func (s *server) listOrders(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	status, store := order.Status(q.Get("status")), q.Get("storeId")
	if q.Has("status") {
		if err := knownStatus("status", string(status)); err != nil {
			return err
		}
	}
	if q.Has("storeId") {
		if err := domain.CheckID("storeId", store); err != nil {
			return err
		}
	}
	n, err := limit(r)
	if err != nil {
		return err
	}
	from, err := cursor(r, "order")
	if err != nil {
		return err
	}
	if from != "" {
		from += "\x00" // the key after it
	}
	stale(w, s.Tables.Orders)
	page := orderPage{Orders: []orderSummary{}}
	last, scanned, more := "", 0, false
	err = s.Tables.Orders.Each(from, func(key string, o *order.Order) bool {
		if len(page.Orders) == n || scanned == scanLimit || r.Context().Err() != nil {
			more = true
			return false
		}
		last = key
		scanned++
		if placed(o) && (status == "" || o.Status == status) && (store == "" || o.StoreID == store) {
			page.Orders = append(page.Orders, summaryOf(o))
		}
		return true
	})
	if err != nil {
		return err
	}
	if more && last != "" {
		page.Cursor = encodeCursor("order", last)
	}
	return writeList(w, r, page)
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

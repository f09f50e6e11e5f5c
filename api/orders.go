package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

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

// orderTaken is the answer to an order that was not waited for.
type orderTaken struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Detail string `json:"detail"`
}

func (s *server) placeOrder(w http.ResponseWriter, r *http.Request) error {
	c := &order.Command{}
	if err := readBody(w, r, c); err != nil {
		return err
	}
	until, err := waitFor(r)
	if err != nil {
		return err
	}
	id := cmp.Or(c.ID, idempotencyKey(r))
	mine := id == "" // nobody else can have used it
	if mine {
		id = uuid.Must(uuid.NewV7()).String()
	}
	if err := domain.CheckID("id", id); err != nil {
		return err
	}
	if c.OrderID != "" && c.OrderID != id {
		return wrong("orderId", "is not the id of the order: leave it out")
	}
	// A function of the order, so that a repeat is the same message.
	c.Meta, c.OrderID = domain.Meta{Type: order.Place, ID: order.PlaceID(id)}, id
	if err := c.Validate(); err != nil {
		return err
	}
	c = c.Own()
	known, claimed := false, false
	if !mine {
		if known, claimed, err = s.placedBefore(c, id); err != nil {
			return err
		}
	}
	if !known {
		began := time.Now()
		if err := s.hand(r, id, func(ctx context.Context) error { return s.Commands.SendOrder(ctx, id, c) }); err != nil {
			if p := (*problem)(nil); claimed && errors.As(err, &p) && p.Sent == "no" {
				s.recent.release(id)
			}
			return err
		}
		until.timeout -= time.Since(began)
	}
	w.Header().Set("Location", orderPath(id))
	if until.asked {
		return s.awaitPlaced(w, r, id, until)
	}
	return acceptedOrder(w, id)
}

// placedBefore reports whether the order shows in its table already, so that it
// need not be sent again, and whether this request is the first that this process
// knows under the id. Another order under the same id is a conflict.
//
// Between the moment an order is accepted and the one it shows, this process
// remembers what was ordered. An order that was accepted by another process and
// does not show yet is not noticed (see recent).
func (s *server) placedBefore(c *order.Command, id string) (known, claimed bool, err error) {
	conflict := problemf(http.StatusConflict, "order %q was placed with another content: choose another id, or leave it out", id)
	sum, err := fingerprint(c)
	if err != nil {
		return false, false, err
	}
	// While the table cannot be read, orders are still taken.
	if o, err := s.Tables.Orders.Get(id); err == nil && placed(o) {
		was, err := fingerprint(placedAs(o))
		if err != nil {
			return false, false, err
		}
		if was != sum {
			return false, false, conflict
		}
		return true, false, nil
	}
	claimed, same := s.recent.claim(id, sum)
	if !same {
		return false, false, conflict
	}
	return false, claimed, nil
}

func acceptedOrder(w http.ResponseWriter, id string) error {
	return writeJSON(w, http.StatusAccepted, orderTaken{
		ID:     id,
		Status: processing,
		Detail: "the order is in its stream; " + orderPath(id) + " shows what becomes of it",
	})
}

// awaitPlaced answers an order once it has come as far as the client asked for.
func (s *server) awaitPlaced(w http.ResponseWriter, r *http.Request, id string, until until) error {
	o, err := s.await(r, id, until)
	switch {
	case err != nil:
		// The order is taken whether it can be seen or not.
		s.Logger.Warn("waiting for an order", "order", id, "error", err)
		return acceptedOrder(w, id)
	case !until.met(o):
		return acceptedOrder(w, id)
	case until.failed(o):
		p := problemf(http.StatusConflict, "order %q is %s: %s", id, o.Status, cmp.Or(o.Reason, "no reason was given"))
		p.ID, p.Reason = id, o.Reason
		p.Order, err = s.orderAnswer(o)
		return cmp.Or[error](err, p)
	}
	stale(w, s.Tables.Orders)
	a, err := s.orderAnswer(o)
	if err != nil {
		return err
	}
	return writeThing(w, r, http.StatusCreated, a)
}

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
	return f, cmp.Or(errs[:]...)
}

// index returns the index, and the group in it, that has the fewest orders beside
// those that are wanted. All are sorted by the time of placing, newest first.
func (f orderFilter) index() (index, group string) {
	switch {
	case f.user != "":
		return "user", f.user
	case f.rider != "":
		return "rider", f.rider
	case f.store != "" && f.status != "":
		return "storeStatus", f.store + "\x00" + string(f.status)
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
		return err
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

// verb spells the type of a command as its path does.
func verb(kind string) string { return strings.ReplaceAll(kind, "_", "-") }

// orderVerb hands on a command about an order.
func (s *server) orderVerb(kind string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, "id")
		if err != nil {
			return err
		}
		if _, err := timeout(r); err != nil {
			return err
		}
		c := &order.Command{}
		if err := readBody(w, r, c); err != nil {
			return err
		}
		if c.OrderID != "" && c.OrderID != id {
			return wrong("orderId", "is not the order of the path: leave it out")
		}
		if c.ID, err = commandID(r, c.ID); err != nil {
			return err
		}
		c.Type, c.OrderID = kind, "" // the key says it: the same command on the stream has no other words
		if err := c.Validate(); err != nil {
			return err
		}
		c = c.Own()
		return s.send(w, r, c.ID, orderPath(id), func(ctx context.Context) error { return s.Commands.SendOrder(ctx, id, c) })
	}
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

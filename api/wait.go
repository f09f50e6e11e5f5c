package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"baedal/domain/order"
)

// until is what a client waits for: ?wait=STATUS or ?after=VERSION, and timeout.
type until struct {
	asked   bool
	status  order.Status
	after   int // version
	timeout time.Duration
}

func waitFor(r *http.Request) (u until, err error) {
	q := r.URL.Query()
	if u.timeout, err = timeout(r); err != nil {
		return u, err
	}
	switch wait, after := q.Has("wait"), q.Has("after"); {
	case wait && after:
		return u, wrong("after", "cannot be used together with wait: choose one")
	case wait:
		u.asked, u.status = true, order.Status(q.Get("wait"))
		return u, knownStatus("wait", q.Get("wait"))
	case after && r.Method != http.MethodPost:
		u.asked = true
		if u.after, err = strconv.Atoi(q.Get("after")); err != nil || u.after < 0 {
			return u, wrong("after", "must be the version of an order, 0 or more")
		}
	}
	return u, nil
}

// path lists the statuses of a good life in their order. One that is reached
// means that all before it were, or were passed over. Beside delivered there is
// no single way on, so what follows it stands side by side.
var path = [][]order.Status{
	{order.Placed}, {order.Paying}, {order.Paid}, {order.AcceptedStatus}, {order.Cooking}, {order.Ready}, {order.Assigned}, {order.PickedUp},
	{order.Delivered}, {order.Completed, order.RefundRequested},
}

// rank returns how far on the path a status is, or -1 when it is not on it.
func rank(s order.Status) int {
	return slices.IndexFunc(path, func(step []order.Status) bool { return slices.Contains(step, s) })
}

// met reports whether the order has come as far as waited for. An order that is
// final goes nowhere any more, so every status is met by it.
func (u until) met(o *order.Order) bool {
	switch {
	case !placed(o):
		return false
	case u.status == "":
		return o.Version > u.after
	case o.Status == u.status || o.Status.Final():
		return true
	}
	want := rank(u.status)
	return slices.ContainsFunc(o.Timeline, func(e order.Entry) bool {
		return e.Status == u.status || want >= 0 && rank(e.Status) >= want
	})
}

// failed reports whether the order has come to nothing, other than waited for.
func (u until) failed(o *order.Order) bool {
	switch o.Status {
	case order.RefusedStatus, order.PaymentFailed, order.Rejected, order.Cancelled, order.DeliveryFailed:
		return o.Status != u.status
	}
	return false
}

// await returns the row of an order, once it is as waited for or time is up.
func (s *server) await(r *http.Request, id string, u until) (*order.Order, error) {
	if !u.asked {
		return s.Tables.Orders.Get(id)
	}
	ctx, cancel := waitContext(r, u.timeout)
	defer cancel()
	o, err := s.Tables.Orders.Wait(ctx, id, u.met)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return o, nil
	}
	return o, err
}

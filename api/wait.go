package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"baedal/domain/order"
)

// until is what a client waits for: ?wait=STATUS or ?after=VERSION.
type until struct {
	asked  bool
	status order.Status
	after  int // version
}

func waitFor(r *http.Request) (u until, err error) {
	q := r.URL.Query()
	switch wait, after := q.Has("wait"), q.Has("after"); {
	case wait && after:
		return u, wrong("after", "cannot be used together with wait: choose one")
	case wait:
		u.asked, u.status = true, order.Status(q.Get("wait"))
		return u, knownStatus("wait", q.Get("wait"))
	case after:
		u.asked = true
		if u.after, err = strconv.Atoi(q.Get("after")); err != nil || u.after < 0 {
			return u, wrong("after", "must be the version of an order, 0 or more")
		}
	}
	return u, nil
}

// met reports whether there is nothing left to wait for: the order has been in
// the status in its present attempt, or can't come to it any more.
func (u until) met(o *order.Order) bool {
	switch {
	case !placed(o):
		return false
	case u.status == "":
		return o.Version > u.after
	}
	return o.Reached(u.status) || !o.CanReach(u.status)
}

// failed reports whether the order came to something else than was waited for.
func (u until) failed(o *order.Order) bool {
	return u.status != "" && !o.Reached(u.status) && !o.CanReach(u.status)
}

// await returns the row of an order, once it is as waited for or time is up.
func (s *server) await(r *http.Request, id string, u until) (*order.Order, error) {
	if !u.asked {
		return s.Tables.Orders.Get(id)
	}
	ctx, cancel := waitContext(r, preferenceOf(r.Header).wait)
	defer cancel()
	o, err := s.Tables.Orders.Wait(ctx, id, u.met)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return o, nil
	}
	return o, err
}

// shown waits until a table shows what is looked for, and reports whether it does in time.
func shown[R any](t *turn, table Table[R], key string, cond func(*R) bool) (row *R, ok bool, err error) {
	row, err = table.Wait(t.ctx, key, cond)
	if err == nil {
		return row, true, nil
	}
	return row, false, outOfTime(err)
}

// outOfTime returns nil for what only says that there was no time to see it.
func outOfTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || notReady(err) {
		return nil
	}
	return err
}

package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/views"
)

// placeOrder places an order. Whether its id is free is decided by the group that
// owns the row: the same order again gets the same answer, another one under its
// id is refused, through any instance.
func (s *server) placeOrder(w http.ResponseWriter, r *http.Request) error {
	c := &order.Command{}
	form, err := readBody(w, r, c)
	if err != nil {
		return err
	}
	until, wrongWait := waitFor(r)
	id, wrongID := orderID(r, c.ID, c.UserID)
	other := contradicts("type", c.Type, order.Place)
	if wrongID == nil {
		other = domain.All(other, contradicts("orderId", c.OrderID, id))
	}
	var wrongVersion error
	c.IfVersion, wrongVersion = ifVersion(r, c.IfVersion)
	// A function of the order, so that a repeat is the same message.
	c.Meta, c.OrderID, c.Verdict = domain.Meta{Type: order.Place, ID: order.PlaceID(id)}, id, true
	if wrongID != nil {
		c.ID, c.OrderID = order.PlaceID("o"), "o" // only the others are judged
	}
	if err := together(wrongID, other, whole(form, c), wrongWait, wrongVersion); err != nil {
		return err
	}
	c = c.Own()
	command, err := newCommand(order.Stream, id, c.ID, c, func(ctx context.Context) error { return s.Commands.SendOrder(ctx, id, c) })
	if err != nil {
		return err
	}
	command.about = id
	return s.decide(w, r, command, func(t *turn, out *views.Outcome) (bool, error) {
		o, ok, err := t.order(out)
		if err != nil || !ok {
			return false, err
		}
		if out.Verdict.Verdict == domain.Refused {
			return false, t.orderRefusal(out, o)
		}
		if until.asked {
			if o, ok, err = shown(t, s.Tables.Orders, id, until.met); err != nil || !ok {
				if err == nil && placed(o) {
					t.unmet = fmt.Sprintf("order %q is %s, and not %s yet: GET %s?wait=%s goes on waiting", id, o.Status, until.status, orderPath(id), until.status)
				}
				return false, err
			}
			if until.failed(o) {
				return false, t.cameToNothing(o, until.status)
			}
		}
		a, err := s.orderAnswer(o)
		if err != nil {
			return false, err
		}
		w.Header().Set("Location", orderPath(id))
		s.staleOrder(w, o)
		return true, writeThing(w, r, http.StatusCreated, a)
	})
}

// cameToNothing is the answer to an order that can't come any more to where it
// was waited for.
func (t *turn) cameToNothing(o *order.Order, wanted order.Status) error {
	p := problemf(http.StatusConflict, "order %q is %s and can't be %s any more: %s", o.ID, o.Status, wanted, cmp.Or(o.Reason, "no reason was given"))
	p.ID, p.Reason, p.Short, p.name = o.ID, o.Reason, o.Short, "not-reached"
	return t.withOrder(p, o)
}

package api

import (
	"hash/maphash"
	"net/http"
	"sync/atomic"

	"baedal/codecs"
	"baedal/domain/order"
)

// encodedSlots bounds how many orders are kept as they were answered last: at some
// 4 KB each with their rows, 16 MB.
const encodedSlots = 4096

// encoded keeps answers about orders that are asked for again and again. A view
// returns the same row until it changes, so an answer is good as long as the rows
// that it was made from are the ones that the views return.
type encoded struct {
	seed  maphash.Seed
	slots [encodedSlots]atomic.Pointer[encodedOrder]
}

type encodedOrder struct {
	order    *order.Order
	carriage carriage
	thing    tagged
}

func newEncoded() *encoded { return &encoded{seed: maphash.MakeSeed()} }

// of returns the answer about an order that was placed.
func (e *encoded) of(o *order.Order, c carriage) (*encodedOrder, error) {
	slot := &e.slots[maphash.String(e.seed, o.ID)%encodedSlots]
	if kept := slot.Load(); kept != nil && kept.order == o && kept.carriage == c {
		return kept, nil
	}
	a := orderWith(o, c)
	body, err := codecs.Marshal(a)
	if err != nil {
		return nil, err
	}
	made := &encodedOrder{order: o, carriage: c, thing: newTagged(tagOf(a, body), append(body, '\n'))}
	slot.Store(made)
	return made, nil
}

// writeOrder answers with an order as it is.
func (s *server) writeOrder(w http.ResponseWriter, r *http.Request, o *order.Order) error {
	if carried(o) {
		also(w, s.Tables.Riders)
		also(w, s.Tables.Areas)
	}
	c, err := s.carriage(o)
	if err != nil {
		return err
	}
	e, err := s.encoded.of(o, c)
	if err != nil {
		return err
	}
	return e.thing.write(w, r, http.StatusOK)
}

package api

import (
	"hash/maphash"
	"net/http"
	"sync/atomic"

	"baedal/codecs"
	"baedal/domain/order"
	"baedal/domain/rider"
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
	order *order.Order
	rider *rider.Rider // nil where no rider has it, or none is known
	thing tagged
}

func newEncoded() *encoded { return &encoded{seed: maphash.MakeSeed()} }

// of returns the answer about an order that was placed.
func (e *encoded) of(o *order.Order, has *rider.Rider) (*encodedOrder, error) {
	slot := &e.slots[maphash.String(e.seed, o.ID)%encodedSlots]
	if kept := slot.Load(); kept != nil && kept.order == o && kept.rider == has {
		return kept, nil
	}
	a := orderWith(o, has)
	body, err := codecs.Marshal(a)
	if err != nil {
		return nil, err
	}
	made := &encodedOrder{order: o, rider: has, thing: newTagged(tagOf(a, body), append(body, '\n'))}
	slot.Store(made)
	return made, nil
}

// writeOrder answers with an order as it is.
func (s *server) writeOrder(w http.ResponseWriter, r *http.Request, o *order.Order) error {
	var has *rider.Rider
	if carried(o) {
		also(w, s.Tables.Riders)
		var err error
		if has, err = s.Tables.Riders.Get(o.RiderID); err != nil {
			return err
		}
	}
	e, err := s.encoded.of(o, has)
	if err != nil {
		return err
	}
	return e.thing.write(w, r, http.StatusOK)
}

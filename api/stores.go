package api

import (
	"net/http"
	"net/url"

	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/stock"
)

type stockAnswer struct {
	StoreID  string        `json:"storeId"`
	Products []stock.Level `json:"products"`
}

// boardAnswer is what a store has to do. It has the statuses that are there only.
type boardAnswer struct {
	StoreID string                          `json:"storeId"`
	Orders  map[order.Status][]orderSummary `json:"orders"`
}

func storePath(id string) string { return "/v1/stores/" + url.PathEscape(id) }

func unknownStore(id string) error {
	return problemf(http.StatusNotFound, "store %q is not registered: PUT %s registers it, which takes a moment to show", id, storePath(id))
}

// store returns the row of a registered store.
func (s *server) store(w http.ResponseWriter, r *http.Request) (string, *stock.Inventory, error) {
	id, err := pathID(r, "id")
	if err != nil {
		return "", nil, err
	}
	stale(w, s.Tables.Stock)
	row, err := s.Tables.Stock.Get(id)
	if err != nil {
		return id, nil, err
	}
	if row == nil || row.Store == nil {
		return id, nil, unknownStore(id)
	}
	return id, row, nil
}

func (s *server) getStore(w http.ResponseWriter, r *http.Request) error {
	_, row, err := s.store(w, r)
	if err != nil {
		return err
	}
	a, err := s.storeAnswer(row)
	if err != nil {
		return err
	}
	return writeThing(w, r, http.StatusOK, a)
}

func (s *server) getStock(w http.ResponseWriter, r *http.Request) error {
	id, row, err := s.store(w, r)
	if err != nil {
		return err
	}
	return writeList(w, r, stockAnswer{id, row.Levels(now())})
}

// storeOrders is the store's board: its open orders by status, newest first.
func (s *server) storeOrders(w http.ResponseWriter, r *http.Request) error {
	id, _, err := s.store(w, r)
	if err != nil {
		return err
	}
	stale(w, s.Tables.Stock, s.Tables.Models, s.Tables.Orders)
	refs, err := s.refs(projection.StoreKey(id))
	if err != nil {
		return err
	}
	refs, _, err = newestFirst(refs, "", "", len(refs), refPlace)
	if err != nil {
		return err
	}
	board := boardAnswer{id, map[order.Status][]orderSummary{}}
	for _, ref := range refs {
		o, err := s.Tables.Orders.Get(ref.OrderID)
		if err != nil {
			return err
		}
		if placed(o) && !o.Status.Final() {
			board.Orders[o.Status] = append(board.Orders[o.Status], summaryOf(o))
		}
	}
	return writeList(w, r, board)
}

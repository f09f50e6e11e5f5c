package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/mux"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/stock"
)

type storeAnswer struct {
	ID string `json:"id"`
	stock.Store
	Open bool `json:"open"`
}

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
		return id, nil, problemf(http.StatusNotFound, "store %q is not registered: PUT %s registers it, which takes a moment to show", id, storePath(id))
	}
	return id, row, nil
}

func (s *server) getStore(w http.ResponseWriter, r *http.Request) error {
	id, row, err := s.store(w, r)
	if err != nil {
		return err
	}
	return writeTable(w, r, "", storeAnswer{id, *row.Store, row.Open})
}

func (s *server) getStock(w http.ResponseWriter, r *http.Request) error {
	id, row, err := s.store(w, r)
	if err != nil {
		return err
	}
	return writeTable(w, r, "", stockAnswer{id, row.Levels(domain.At(time.Now()))})
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
	return writeTable(w, r, "", board)
}

func (s *server) registerStore(w http.ResponseWriter, r *http.Request) error {
	return s.storeCommand(w, r, stock.Register)
}

func (s *server) putProduct(w http.ResponseWriter, r *http.Request) error {
	return s.storeCommand(w, r, stock.PutProduct)
}

func (s *server) storeVerb(kind string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error { return s.storeCommand(w, r, kind) }
}

func (s *server) storeCommand(w http.ResponseWriter, r *http.Request, kind string) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	product := ""
	if mux.Vars(r)["product"] != "" {
		if product, err = pathID(r, "product"); err != nil {
			return err
		}
	}
	if _, err := timeout(r); err != nil {
		return err
	}
	c := &stock.Command{}
	if err := readBody(w, r, c); err != nil {
		return err
	}
	if r.Method == http.MethodPut {
		// The body of a PUT is the thing itself: an id in it is the thing's. Taken
		// for the command's, it would make every later PUT a repeat of the first.
		c.ID = ""
	}
	if c.ID, err = commandID(r, c.ID); err != nil {
		return err
	}
	if c.StoreID != "" && c.StoreID != id {
		return wrong("storeId", "is not the store of the path: leave it out")
	}
	if product != "" && c.Product != "" && c.Product != product {
		return wrong("product", "is not the product of the path: leave it out")
	}
	c.Type, c.StoreID, c.Product = kind, "", product // the key says which store
	if err := c.Validate(); err != nil {
		return err
	}
	c = c.Own()
	location := storePath(id)
	if product != "" {
		location += "/stock"
	}
	return s.send(w, r, c.ID, location, func(ctx context.Context) error { return s.Commands.SendStore(ctx, id, c) })
}

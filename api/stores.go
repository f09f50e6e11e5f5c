package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"

	"baedal/domain/order"
	"baedal/domain/stock"
	"baedal/views"
)

type storePage struct {
	Stores []stock.StoreView `json:"stores"`
	Cursor string            `json:"cursor,omitempty"`
}

type productPage struct {
	Products []stock.Level `json:"products"`
	Cursor   string        `json:"cursor,omitempty"`
}

type stockAnswer struct {
	StoreID  string        `json:"storeId"`
	Products []stock.Level `json:"products"`
}

// boardAnswer is what a store has to do. It has the statuses that are there only.
type boardAnswer struct {
	StoreID string                        `json:"storeId"`
	Orders  map[order.Status][]boardOrder `json:"orders"`
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

// listStores lists the stores that are registered, by their ids.
func (s *server) listStores(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	area, wrongArea := idFilter(q, "area")
	open, wrongOpen := wordFilter(q, "open", "true", "false")
	index := "all"
	if area != "" {
		index = "area"
	}
	p, err := pageOf(r, q, index)
	if err := together(wrongArea, wrongOpen, err); err != nil {
		return err
	}
	stale(w, s.Tables.Stock)
	at, out := now(), storePage{Stores: []stock.StoreView{}}
	out.Cursor, err = walk(r, s.Tables.Stock, index, area, p, func(_ string, row *stock.Inventory) (bool, error) {
		v := row.View(at)
		if v == nil || area != "" && v.Area != area || open != "" && v.Open != (open == "true") {
			return false, nil
		}
		out.Stores = append(out.Stores, *v)
		return true, nil
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
}

// listProducts lists what a store sells, by the products' ids.
func (s *server) listProducts(w http.ResponseWriter, r *http.Request) error {
	p, err := pageOf(r, r.URL.Query(), "products")
	if err != nil {
		return err
	}
	_, row, err := s.store(w, r)
	if err != nil {
		return err
	}
	levels := row.Levels(now())
	from, _ := slices.BinarySearchFunc(levels, p.after.Key+"\x00", func(l stock.Level, id string) int { return cmp.Compare(l.Product, id) })
	if p.after.Key == "" {
		from = 0
	}
	out := productPage{Products: levels[from:min(len(levels), from+p.limit)]}
	if n := len(out.Products); from+n < len(levels) {
		out.Cursor = p.cursor(views.Entry{Key: out.Products[n-1].Product})
	}
	return writeList(w, r, out)
}

func (s *server) getProduct(w http.ResponseWriter, r *http.Request) error {
	product, err := pathID(r, "product")
	if err != nil {
		return err
	}
	id, row, err := s.store(w, r)
	if err != nil {
		return err
	}
	a, err := s.productAnswer(row, product)
	if err != nil {
		return err
	}
	if a == nil {
		return problemf(http.StatusNotFound, "store %q has no product %q: PUT %s/products/%s puts it on the menu", id, product, storePath(id), url.PathEscape(product))
	}
	return writeThing(w, r, http.StatusOK, a)
}

// storeOrders is the store's board: its orders that are not over by status, newest
// first. It is whole: a store has to see all that it has to do.
func (s *server) storeOrders(w http.ResponseWriter, r *http.Request) error {
	id, _, err := s.store(w, r)
	if err != nil {
		return err
	}
	stale(w, s.Tables.Stock, s.Tables.Orders)
	board := boardAnswer{id, map[order.Status][]boardOrder{}}
	err = s.Tables.Orders.Scan("board", id, views.Entry{}, func(_ views.Entry, _ string, o *order.Order) bool {
		if placed(o) && !o.Status.Final() {
			board.Orders[o.Status] = append(board.Orders[o.Status], boardOf(o))
		}
		return r.Context().Err() == nil
	})
	if err != nil {
		return err
	}
	return writeList(w, r, board)
}

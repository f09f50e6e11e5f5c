package api

import (
	"net/http"
	"time"

	"baedal/domain"
	"baedal/domain/projection"
)

// foodAnswer says how often a food of a store was ordered and paid for.
type foodAnswer struct {
	Product  string `json:"product"`
	StoreID  string `json:"storeId"`
	Name     string `json:"name,omitempty"` // while the store has the product
	Orders   int64  `json:"orders"`
	Quantity int64  `json:"quantity"`
}

type foodPage struct {
	Foods  []foodAnswer `json:"foods"`
	Cursor string       `json:"cursor,omitempty"`
}

// listFoods lists foods by store and product, all or those of one store.
func (s *server) listFoods(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	store, err := idFilter(q, "storeId")
	if err != nil {
		return err
	}
	if store == "" {
		return s.foods(w, r, "foods", "")
	}
	return s.foods(w, r, "store", store)
}

// getFood lists the stores that a product was ordered from.
func (s *server) getFood(w http.ResponseWriter, r *http.Request) error {
	product, err := pathID(r, "product")
	if err != nil {
		return err
	}
	return s.foods(w, r, "product", product)
}

func (s *server) foods(w http.ResponseWriter, r *http.Request, index, group string) error {
	p, err := pageOf(r, r.URL.Query(), index)
	if err != nil {
		return err
	}
	stale(w, s.Tables.Models, s.Tables.Stock)
	out := foodPage{Foods: []foodAnswer{}}
	out.Cursor, err = walk(r, s.Tables.Models, index, group, p, func(_ string, m *projection.Model) (bool, error) {
		store, product, _ := m.Food()
		a := foodAnswer{Product: product, StoreID: store, Orders: m.Count, Quantity: m.Quantity}
		row, err := s.Tables.Stock.Get(store)
		if err != nil {
			return false, err
		}
		if row != nil {
			if level, has := row.Level(product, domain.At(time.Now())); has {
				a.Name = level.Name
			}
		}
		out.Foods = append(out.Foods, a)
		return true, nil
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
}

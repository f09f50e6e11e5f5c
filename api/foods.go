package api

import (
	"net/http"
	"strings"

	"baedal/domain/projection"
)

type foodAnswer struct {
	Product  string `json:"product"`
	Orders   int64  `json:"orders"`
	Quantity int64  `json:"quantity"`
}

type foodPage struct {
	Foods  []foodAnswer `json:"foods"`
	Cursor string       `json:"cursor,omitempty"`
}

func foodOf(product string, m *projection.Model) foodAnswer {
	return foodAnswer{product, m.Count, m.Quantity}
}

// listFoods lists what was ordered and paid, in order of the products' ids.
func (s *server) listFoods(w http.ResponseWriter, r *http.Request) error {
	n, err := limit(r)
	if err != nil {
		return err
	}
	last, err := cursor(r, "food")
	if err != nil {
		return err
	}
	from := projection.FoodPrefix
	if last != "" {
		from = projection.FoodKey(last) + "\x00" // the key after it
	}
	stale(w, s.Tables.Models)
	page := foodPage{Foods: []foodAnswer{}}
	err = s.Tables.Models.Each(from, func(key string, m *projection.Model) bool {
		product, is := strings.CutPrefix(key, projection.FoodPrefix)
		if !is {
			return false
		}
		if len(page.Foods) == n {
			page.Cursor = encodeCursor("food", page.Foods[n-1].Product)
			return false
		}
		page.Foods = append(page.Foods, foodOf(product, m))
		return true
	})
	if err != nil {
		return err
	}
	return writeList(w, r, page)
}

func (s *server) getFood(w http.ResponseWriter, r *http.Request) error {
	product, err := pathID(r, "product")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Models)
	row, err := s.Tables.Models.Get(projection.FoodKey(product))
	if err != nil {
		return err
	}
	if row == nil {
		return problemf(http.StatusNotFound, "food %q has not been ordered yet: GET /v1/foods lists those that were", product)
	}
	return writeList(w, r, foodOf(product, row))
}

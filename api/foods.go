package api

import (
	"net/http"
	"strings"

	"baedal/domain/projection"
	"baedal/views"
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
	p, err := pageOf(r, r.URL.Query(), "foods")
	if err != nil {
		return err
	}
	from := projection.FoodPrefix
	if p.after.Key != "" {
		from = projection.FoodKey(p.after.Key) + "\x00" // the key after it
	}
	stale(w, s.Tables.Models)
	out := foodPage{Foods: []foodAnswer{}}
	err = s.Tables.Models.Each(from, func(key string, m *projection.Model) bool {
		product, is := strings.CutPrefix(key, projection.FoodPrefix)
		if !is {
			return false
		}
		if n := len(out.Foods); n == p.limit {
			out.Cursor = p.cursor(views.Entry{Key: out.Foods[n-1].Product})
			return false
		}
		out.Foods = append(out.Foods, foodOf(product, m))
		return true
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
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

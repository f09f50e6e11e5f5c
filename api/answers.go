package api

import (
	"cmp"
	"slices"
	"time"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// answer is a single thing as clients see it. Its version is that of the row which
// If-Match compares. It is alone when the answer shows nothing but that: then the
// version tells two answers apart.
type answer interface {
	tag() (version int, alone bool)
}

// orderSummary is an order in a list.
type orderSummary struct {
	ID        string        `json:"id"`
	Status    order.Status  `json:"status"`
	Version   int           `json:"version"`
	Attempt   int           `json:"attempt"`
	UserID    string        `json:"userId"`
	StoreID   string        `json:"storeId"`
	Area      string        `json:"area"` // "" until the store has reserved
	Lines     []domain.Line `json:"lines"`
	Total     *domain.Money `json:"total"` // null until the store has reserved
	RiderID   string        `json:"riderId"`
	Reason    string        `json:"reason"`
	Deadline  *order.Wait   `json:"deadline"`
	PlacedAt  domain.Time   `json:"placedAt"`
	UpdatedAt domain.Time   `json:"updatedAt"`
}

// orderAnswer is an order by itself.
type orderAnswer struct {
	orderSummary
	Address  order.Address     `json:"address"`
	Short    []domain.Shortage `json:"short,omitempty"`
	Wish     string            `json:"wish,omitempty"`
	PhotoURL string            `json:"photoUrl,omitempty"`
	Rider    *courier          `json:"rider,omitempty"` // who has it
	Timeline []order.Entry     `json:"timeline"`
}

// courier is the rider of an order, as the one who waits for it sees them.
type courier struct {
	ID  string   `json:"id"`
	Lat *float64 `json:"lat,omitempty"` // left out while no place is known
	Lon *float64 `json:"lon,omitempty"`
}

func (a *orderAnswer) tag() (int, bool) { return a.Version, a.Rider == nil }

// storeAnswer is a store by itself.
type storeAnswer struct {
	ID string `json:"id"`
	stock.Store
	Open bool `json:"open"`
}

func (a *storeAnswer) tag() (int, bool) { return 0, false }

// productAnswer is a product of a store and what there is of it.
type productAnswer struct {
	stock.Level
}

func (a *productAnswer) tag() (int, bool) { return 0, false }

// riderAnswer is a rider by themself.
type riderAnswer struct {
	rider.View
}

func (a *riderAnswer) tag() (int, bool) { return 0, false }

// summaryOf is what a list shows of an order.
func summaryOf(o *order.Order) orderSummary {
	out := orderSummary{
		ID: o.ID, Status: o.Status, Version: o.Version, Attempt: max(o.Attempt, 1), UserID: o.UserID, StoreID: o.StoreID,
		Lines: o.Lines, Total: o.Total, RiderID: o.RiderID, Reason: o.Reason, Deadline: o.Deadline, PlacedAt: o.PlacedAt, UpdatedAt: o.Updated,
	}
	if o.Store != nil {
		out.Area = o.Store.Area
	}
	return out
}

// orderAnswer is what is told of an order that was placed. Where its rider is, the
// riders' view says.
func (s *server) orderAnswer(o *order.Order) (*orderAnswer, error) {
	a := &orderAnswer{orderSummary: summaryOf(o), Address: o.Address, Wish: o.Wish, PhotoURL: o.PhotoURL, Timeline: o.Timeline}
	for _, e := range slices.Backward(o.Timeline) {
		if e.Type == string(o.Status) {
			a.Short = e.Short
			break
		}
	}
	if o.RiderID == "" || o.Status.Final() || o.Status == order.Delivered || o.Status == order.RefundRequested {
		return a, nil
	}
	row, err := s.Tables.Riders.Get(o.RiderID)
	if err != nil {
		return nil, err
	}
	a.Rider = &courier{ID: o.RiderID}
	if row != nil && row.Place != nil {
		a.Rider.Lat, a.Rider.Lon = &row.Place.Lat, &row.Place.Lon
	}
	return a, nil
}

// storeAnswer is what is told of a store, or nil when the row is not that of a
// registered one.
func (s *server) storeAnswer(row *stock.Inventory) (*storeAnswer, error) {
	if row == nil || row.Store == nil {
		return nil, nil
	}
	return &storeAnswer{ID: row.StoreID, Store: *row.Store, Open: row.Open}, nil
}

// productAnswer is what is told of a product, or nil when the store has none of
// that name.
func (s *server) productAnswer(row *stock.Inventory, product string) (*productAnswer, error) {
	if row == nil || row.Store == nil {
		return nil, nil
	}
	levels := row.Levels(domain.At(time.Now()))
	i, ok := slices.BinarySearchFunc(levels, product, func(l stock.Level, id string) int { return cmp.Compare(l.Product, id) })
	if !ok {
		return nil, nil
	}
	return &productAnswer{Level: levels[i]}, nil
}

// riderAnswer is what is told of a rider, or nil when nothing is known of them.
func (s *server) riderAnswer(row *rider.Rider) (*riderAnswer, error) {
	if row == nil {
		return nil, nil
	}
	return &riderAnswer{View: row.View()}, nil
}

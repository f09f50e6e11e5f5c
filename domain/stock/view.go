package stock

import "baedal/domain"

// StoreView is a store as readers see it.
type StoreView struct {
	ID string `json:"id"`
	Store
	// Open is whether it takes orders now: open, and not paused.
	Open        bool        `json:"open"`
	PausedUntil domain.Time `json:"pausedUntil,omitzero"`
	Slow        *SlowView   `json:"slow,omitempty"`
	Version     int         `json:"version"`
}

// SlowView says how much longer cooking takes, and until when.
type SlowView struct {
	Until domain.Time     `json:"until"`
	By    domain.Duration `json:"by"`
}

// View returns what readers see of the store now, or nil if it is not
// registered. Its cooking time is without what slow adds.
func (s *Inventory) View(now domain.Time) *StoreView {
	if s.Store == nil {
		return nil
	}
	v := &StoreView{ID: s.StoreID, Store: *s.Store, Open: s.Open, Version: s.StoreVersion}
	if s.paused(now) {
		v.Open, v.PausedUntil = false, s.PausedUntil
	}
	if now < s.SlowUntil {
		v.Slow = &SlowView{Until: s.SlowUntil, By: s.SlowBy}
	}
	return v
}

// Level is a product as readers see it.
type Level struct {
	Product      string       `json:"product"`
	Name         string       `json:"name"`
	Price        domain.Money `json:"price"`
	OnHand       int          `json:"onHand"`
	Reserved     int          `json:"reserved"`
	Available    int          `json:"available"` // can be sold now
	SoldOut      bool         `json:"soldOut,omitzero"`
	SoldOutUntil domain.Time  `json:"soldOutUntil,omitzero"`
	Version      int          `json:"version"`
}

// Levels lists the products by their ids as they are now. It is never nil.
func (s *Inventory) Levels(now domain.Time) []Level {
	levels := make([]Level, 0, len(s.Products))
	for i := range s.Products {
		if p := &s.Products[i]; !p.Gone {
			levels = append(levels, p.level(now))
		}
	}
	return levels
}

// Level returns one product as it is now.
func (s *Inventory) Level(product string, now domain.Time) (l Level, found bool) {
	i, found := s.find(product)
	if !found || s.Products[i].Gone {
		return l, false
	}
	return s.Products[i].level(now), true
}

func (p *Product) level(now domain.Time) Level {
	l := Level{
		Product: p.ID, Name: p.Name, Price: p.Price, OnHand: p.OnHand, Reserved: p.Reserved, Available: p.available(now), Version: p.Version,
	}
	if p.soldOut(now) {
		l.SoldOut, l.SoldOutUntil = true, p.SoldOutUntil
	}
	return l
}

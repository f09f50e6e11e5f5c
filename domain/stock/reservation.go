package stock

import (
	"fmt"
	"slices"

	"baedal/domain"
)

// Reservation is what is set aside for one attempt of an order. To keep the row
// small it repeats nothing of the products and the store: only when those
// change, it takes with it how they were, so that its answer stays the same.
type Reservation struct {
	OrderID string        `json:"orderId"`
	Attempt int           `json:"attempt"`
	At      domain.Time   `json:"at"`
	Lines   []domain.Line `json:"lines"`          // without a name: as the product is
	Store   *Store        `json:"store,omitzero"` // nil: as the store is
	// Slow is how much longer cooking takes, as was said then.
	Slow domain.Duration `json:"slow,omitzero"`
}

func (r *Reservation) keepStore(was *Store) {
	if r.Store == nil {
		r.Store = was
	}
}

func (r *Reservation) keepPrice(was *Product) {
	for i := range r.Lines {
		if l := &r.Lines[i]; keeps(l, was) {
			l.Name, l.Price = was.Name, new(was.Price)
		}
	}
}

// keeps reports whether a line has the name and price of a product that changes.
func keeps(l *domain.Line, was *Product) bool { return l.Product == was.ID && l.Name == "" }

// reserve sets all lines aside or none. An attempt that was committed or
// released already gets no answer: it had one, or the order stopped waiting.
// That way no attempt is ever told both reserved and refused.
func (s *Inventory) reserve(c *Command, now domain.Time) Out {
	if i := s.reservation(c); i >= 0 {
		return Out{Reply: s.reservedReply(&s.Reservations[i])}
	}
	if i := s.refusal(c); i >= 0 {
		return Out{Reply: s.refusedReply(&s.Refused[i])}
	}
	if s.Closed.has(attemptKey(c)) {
		return Out{}
	}

	lines := make([]domain.Line, len(c.Lines))
	for i, l := range c.Lines { // what the command says of names and prices does not count
		lines[i] = domain.Line{Product: l.Product, Quantity: l.Quantity}
	}
	r := Reservation{OrderID: c.OrderID, Attempt: c.Attempt, At: now, Lines: lines}
	if now < s.SlowUntil {
		r.Slow = s.SlowBy
	}
	if reason, short := s.refuses(&r, c.ExpectedTotal); reason != "" {
		no := Refusal{OrderID: c.OrderID, Attempt: c.Attempt, At: now, Reason: reason, Short: short}
		if reason == Closed && s.Open { // paused
			no.Until = s.PausedUntil
		}
		s.Refused = append(s.Refused, no)
		s.Refused = newest(s.Refused[max(0, len(s.Refused)-KeepRefused):], 1, MaxRefusedBytes, (*Refusal).written)
		return Out{Reply: s.refusedReply(&s.Refused[len(s.Refused)-1]), Changed: true}
	}
	for _, l := range lines {
		i, _ := s.find(l.Product)
		s.Products[i].Reserved += l.Quantity
	}
	s.Reservations = append(s.Reservations, r)
	return Out{Reply: s.reservedReply(&r), Changed: true}
}

// refuses returns the first reason against a reservation, in the contract's
// order, and every product that is short.
func (s *Inventory) refuses(r *Reservation, expected *domain.Money) (reason string, short []domain.Shortage) {
	switch {
	case s.Store == nil:
		return UnknownStore, nil
	case !s.Open, s.paused(r.At):
		return Closed, nil
	}
	var total domain.Money
	for _, l := range r.Lines {
		i, found := s.find(l.Product)
		if !found || s.Products[i].Gone {
			return UnknownProduct, nil
		}
		p := &s.Products[i]
		if can := p.available(r.At); l.Quantity > can {
			short = append(short, domain.Shortage{Product: p.ID, Wanted: l.Quantity, Available: can})
		}
		total += domain.Money(l.Quantity) * p.Price
	}
	open := len(r.Lines)
	for _, r := range s.Reservations {
		open += len(r.Lines)
	}
	switch {
	case short != nil:
		return Short, short
	case expected != nil && *expected != total:
		return PriceChanged, nil
	case open > MaxReservedLines, s.reservedBytes()+r.written() > MaxReservedBytes:
		return Busy, nil
	}
	return "", nil
}

// end commits or releases a reservation: its goods are sold or free again. One
// that is not open is remembered all the same, so that a reserve that comes
// later does not come alive.
func (s *Inventory) end(c *Command, now domain.Time) Out {
	i := s.reservation(c)
	if i < 0 {
		if s.refusal(c) >= 0 || s.Closed.has(attemptKey(c)) {
			return Out{}
		}
		s.Closed.add(attemptKey(c), now)
		return Out{Changed: true}
	}
	for _, l := range s.Reservations[i].Lines {
		j, _ := s.find(l.Product)
		p := &s.Products[j]
		p.Reserved -= l.Quantity
		switch {
		case c.Type == Commit:
			p.OnHand -= l.Quantity
			p.Sold += l.Quantity
		case p.Gone: // nobody can have it any more
			p.OnHand -= l.Quantity
			p.Removed += l.Quantity
		}
		p.forget()
	}
	s.Reservations = slices.Delete(s.Reservations, i, i+1)
	s.Closed.add(attemptKey(c), now)
	return Out{Changed: true}
}

func (s *Inventory) reservation(c *Command) int {
	return slices.IndexFunc(s.Reservations, func(r Reservation) bool { return r.OrderID == c.OrderID && r.Attempt == c.Attempt })
}

func (s *Inventory) refusal(c *Command) int {
	return slices.IndexFunc(s.Refused, func(r Refusal) bool { return r.OrderID == c.OrderID && r.Attempt == c.Attempt })
}

func (s *Inventory) reservedReply(r *Reservation) *Reply {
	reply := s.reply(Reserved, r.OrderID, r.Attempt, r.At)
	reply.Lines = slices.Clone(r.Lines)
	for i := range reply.Lines {
		if l := &reply.Lines[i]; l.Name == "" {
			j, _ := s.find(l.Product)
			l.Name, l.Price = s.Products[j].Name, new(s.Products[j].Price)
		}
	}
	reply.Total = new(domain.Total(reply.Lines))
	reply.Store = r.Store
	if reply.Store == nil {
		reply.Store = s.Store
	}
	if r.Slow > 0 {
		slowed := *reply.Store
		slowed.CookingTime = min(slowed.CookingTime+r.Slow, domain.MaxCookingTime)
		reply.Store = &slowed
	}
	return reply
}

func (s *Inventory) refusedReply(r *Refusal) *Reply {
	reply := s.reply(Refused, r.OrderID, r.Attempt, r.At)
	reply.Reason, reply.Short, reply.Until = r.Reason, r.Short, r.Until
	return reply
}

func (s *Inventory) reply(kind, orderID string, attempt int, at domain.Time) *Reply {
	return &Reply{
		Meta:    domain.Meta{Type: kind, ID: fmt.Sprintf("%s/%s/%d", orderID, kind, attempt), At: at},
		OrderID: orderID,
		StoreID: s.StoreID,
		Attempt: attempt,
	}
}

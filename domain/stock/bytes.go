package stock

import "baedal/domain"

// How many bytes the parts of a row take when it is written, numbers at their
// longest: what changes only a number needs no room.
const (
	productBytes     = 265 // of a product beside its id and name
	lineBytes        = 35  // of a line beside its product
	keptBytes        = 30  // of the name and price that a line keeps, beside the name
	storeBytes       = 160 // of the store that a reservation keeps, beside its name and area
	reservationBytes = 110 // of a reservation beside its order and lines
	refusalBytes     = 160
	shortageBytes    = 80 // of a shortage beside its product
)

func (p *Product) written() int {
	return productBytes + domain.Written(p.ID) + domain.Written(p.Name)
}

func (s *Store) written() int { return storeBytes + domain.Written(s.Name) + domain.Written(s.Area) }

func (r *Reservation) written() int {
	n := reservationBytes + domain.Written(r.OrderID)
	for _, l := range r.Lines {
		n += lineBytes + domain.Written(l.Product)
		if l.Name != "" {
			n += keptBytes + domain.Written(l.Name)
		}
	}
	if r.Store != nil {
		n += r.Store.written()
	}
	return n
}

// keeping returns how much longer keepPrice makes the reservation.
func (r *Reservation) keeping(p *Product) (n int) {
	for i := range r.Lines {
		if keeps(&r.Lines[i], p) {
			n += keptBytes + domain.Written(p.Name)
		}
	}
	return n
}

func (r *Refusal) written() int {
	n := refusalBytes + domain.Written(r.OrderID)
	for _, s := range r.Short {
		n += shortageBytes + domain.Written(s.Product)
	}
	return n
}

func (s *Inventory) productBytes() (n int) {
	for i := range s.Products {
		n += s.Products[i].written()
	}
	return n
}

func (s *Inventory) reservedBytes() (n int) {
	for i := range s.Reservations {
		n += s.Reservations[i].written()
	}
	return n
}

// newest returns the last of all that take no more than most bytes, but at
// least keep of them.
func newest[E any](all []E, keep, most int, written func(*E) int) []E {
	sum := 0
	for i := len(all) - 1; i >= 0; i-- {
		if sum += written(&all[i]); sum > most && len(all)-i > keep {
			return all[i+1:]
		}
	}
	return all
}

package stock

import "baedal/domain"

// Decision returns what the row remembers of the decision on the command of an
// id: why it was refused, if it was, the store's version then, and when.
func (s *Inventory) Decision(id string) (why domain.Refusal, version int, at domain.Time, found bool) {
	of := domain.Hash64(id)
	for _, d := range s.Decided {
		if d.Of == of {
			return d.Refusal, d.Version, d.At, true
		}
	}
	return why, 0, 0, false
}

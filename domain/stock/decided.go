package stock

import (
	"slices"

	"baedal/domain"
)

// Decision returns what the row remembers of the decision on the command of an
// id: why it was refused, if it was, the store's version then, and when.
func (s *Inventory) Decision(id string) (why domain.Refusal, version int, at domain.Time, found bool) {
	i := slices.IndexFunc(s.Decided, func(d Decision) bool { return d.ID == id })
	if i < 0 {
		return why, 0, 0, false
	}
	d := s.Decided[i]
	return domain.Because(d.Reason), 0, d.At, true
}

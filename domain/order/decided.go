package order

import (
	"slices"

	"baedal/domain"
)

// Decided returns what the row remembers of the decision on the command of an id:
// why it was refused, if it was, the order's version then, and when.
func (o *Order) Decided(id string) (why domain.Refusal, version int, at domain.Time, found bool) {
	for _, c := range o.Commands {
		if e := o.entry(c.Version); e != nil && e.CauseID == id {
			return why, c.Last, e.At, true
		}
	}
	if i := slices.IndexFunc(o.Recent, func(a Answer) bool { return a.CommandID == id }); i >= 0 {
		a := o.Recent[i]
		return a.Refusal, a.Version, a.At, true
	}
	return why, 0, 0, false
}

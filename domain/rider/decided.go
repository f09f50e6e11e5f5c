package rider

import (
	"baedal/domain"
	"baedal/domain/dispatch"
)

// Decision returns what the row remembers of the decision on the command of an
// id: why it was refused, if it was, the rider's version then, and when. One that
// is open waits for an area, which may have decided on it by now.
func (r *Rider) Decision(id string) (why domain.Refusal, version int, at domain.Time, found, open bool) {
	of := dispatch.MarkOf(id)
	if r.Wish != nil && r.Wish.CommandID == id {
		return why, 0, r.Wish.AskedAt, true, true
	}
	for _, a := range r.Recent {
		if a.Of == of {
			return domain.Because(a.Reason), 0, a.At, true, a.Area != "" && a.Reason == ""
		}
	}
	for _, m := range r.Moves {
		if m.Of == of {
			return why, 0, m.At, true, false
		}
	}
	return why, 0, 0, false, false
}

// Package decided is what a row remembers of the commands that it decided, so
// that one that comes again gets the same answer and does nothing twice.
package decided

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"baedal/domain"
)

// Bounds are how many bytes of decisions a row keeps, as they are written. What
// was accepted would be done twice, so the newest of it are kept however old they
// are. What was refused has room of its own: a client who is refused without end
// makes a row forget nothing that it did.
type Bounds struct {
	Accepted int // of domain.RefusedFor
	Always   int // of any time
	Refused  int // of domain.RefusedFor
}

// Trim drops what need not be remembered any more, from elements that stand
// oldest first. weigh says of one when it was decided, how many bytes it takes,
// and whether it is a refusal. The newest is always kept.
//
// Nothing is forgotten but by a new decision: those come after all that a crash
// makes come again, however long it took.
func Trim[E any](all []E, now domain.Time, b Bounds, weigh func(*E) (at domain.Time, bytes int, refused bool)) []E {
	keep := make([]bool, len(all))
	kept, accepted, refused := 0, 0, 0
	for i := len(all) - 1; i >= 0; i-- {
		at, n, no := weigh(&all[i])
		sum, most := &accepted, max(b.Accepted, b.Always)
		if no {
			sum, most = &refused, b.Refused
		}
		*sum += n // behind one that does not fit no older one is kept
		old := now.Sub(at) > domain.RefusedFor && (no || accepted > b.Always)
		if i == len(all)-1 || *sum <= most && !old {
			keep[i] = true
			kept++
		}
	}
	if kept == len(all) {
		return all
	}
	i := -1
	return slices.DeleteFunc(all, func(E) bool { i++; return !keep[i] })
}

// Decision is what was decided about a command. In a row its parts stand side by
// side, the reason last.
type Decision struct {
	Of      string // the mark of its id; see domain.Hash64
	Name    string // the mark of its name
	At      domain.Time
	Version int // of the row, once it was decided
	domain.Refusal
}

// AppendText implements encoding.TextAppender.
func (d Decision) AppendText(b []byte) ([]byte, error) {
	b = append(append(append(append(b, d.Of...), '/'), d.Name...), '/')
	b = append(strconv.AppendInt(b, int64(d.At), 36), '/')
	b = strconv.AppendInt(b, int64(d.Version), 36)
	if d.Is() {
		b = append(append(append(append(b, '/'), d.Code...), '/'), d.Reason...)
	}
	return b, nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Decision) MarshalText() ([]byte, error) { return d.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Decision) UnmarshalText(b []byte) error {
	f := strings.SplitN(string(b), "/", 6)
	if len(f) != 4 && len(f) != 6 {
		return fmt.Errorf("%q is no decision of a row", domain.Clip(string(b)))
	}
	at, err := strconv.ParseInt(f[2], 36, 64)
	if err != nil {
		return fmt.Errorf("%q is no decision of a row: %w", domain.Clip(string(b)), err)
	}
	version, err := strconv.ParseInt(f[3], 36, 64)
	if err != nil {
		return fmt.Errorf("%q is no decision of a row: %w", domain.Clip(string(b)), err)
	}
	*d = Decision{Of: f[0], Name: f[1], At: domain.Time(at), Version: int(version)}
	if len(f) == 6 {
		d.Refusal = domain.Refusal{Code: f[4], Reason: f[5]}
	}
	return nil
}

// decisionBytes is what an accepted one takes at most: its marks, its time and
// version, and what is between them.
const decisionBytes = 2*domain.MaxMark + 10 + 6 + 6

func (d *Decision) weigh() (domain.Time, int, bool) {
	if d.Is() {
		return d.At, RefusalBytes(d.Reason), true
	}
	return d.At, decisionBytes, false
}

// RefusalBytes is what a refusal counts for that is remembered without the id of
// its command: no more than domain.RefusedBytes, so that all is remembered that
// a reader of the verdicts expects, and no less than it takes.
func RefusalBytes(reason string) int { return domain.RefusedBytes("", reason) }

// Memory is the decisions of a row, the oldest first.
type Memory []Decision

// Find returns what was decided about this very command.
func (m Memory) Find(n domain.Name) (d Decision, found bool) {
	of := domain.Hash64(n.ID)
	for i := range m {
		if m[i].Of == of && m[i].Name == n.Mark {
			return m[i], true
		}
	}
	return d, false
}

// Taken returns what was decided about another command under the id that the
// client chose for this one.
func (m Memory) Taken(n domain.Name) (d Decision, taken bool) {
	if !n.Own {
		return d, false
	}
	of := domain.Hash64(n.ID)
	for i := range m {
		if m[i].Of == of && m[i].Name != n.Mark {
			return m[i], true
		}
	}
	return d, false
}

// Add remembers what was decided about a command.
func (m *Memory) Add(n domain.Name, why domain.Refusal, version int, now domain.Time) Decision {
	d := Decision{Of: domain.Hash64(n.ID), Name: n.Mark, At: now, Version: version, Refusal: why}
	*m = append(*m, d)
	return d
}

// Trim forgets what need not be remembered any more; see Trim.
func (m Memory) Trim(now domain.Time, b Bounds) Memory { return Trim(m, now, b, (*Decision).weigh) }

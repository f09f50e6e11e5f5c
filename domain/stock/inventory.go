package stock

import (
	"cmp"
	"slices"

	"baedal/domain"
	"baedal/domain/decided"
)

// What bounds the row of one store, which is written whole on every change: some
// 200 KB when the first two are reached with usual ids and names. The others
// are for long ones: in bytes, as the row is written. What ends a reservation
// needs no room, so that it is always taken.
const (
	MaxProducts      = 1000
	MaxReservedLines = 4000 // of all open reservations together

	MaxProductBytes  = 400_000
	MaxReservedBytes = 250_000 // with what they keep of names and prices that have changed
	MaxRefusedBytes  = 100_000 // of reservations refused that are remembered, beyond the newest
	MaxAcceptedBytes = 24_000  // of accepted commands of an hour that are remembered: some 550
	KeepBytes        = 2_000   // and of older ones, with them: some 45
)

var remembers = decided.Bounds{Accepted: MaxAcceptedBytes, Always: KeepBytes, Refused: domain.MaxRefusedBytes}

// Inventory is the row of one store: its settings, its products, what of them
// is reserved for which order, and what was decided lately (see memory.go). It
// exists from the first message on, also for a store that nobody registered, so
// that refusals are remembered.
type Inventory struct {
	StoreID string `json:"storeId"`
	Version int    `json:"version,omitzero"` // counts the commands that changed the store or a product; no reservation does

	Store        *Store          `json:"store,omitzero"`        // nil: not registered; replaced, never changed in place
	StoreVersion int             `json:"storeVersion,omitzero"` // Version when the store last changed; 0: not registered
	Open         bool            `json:"open,omitzero"`
	PausedUntil  domain.Time     `json:"pausedUntil,omitzero"`
	SlowUntil    domain.Time     `json:"slowUntil,omitzero"`
	SlowBy       domain.Duration `json:"slowBy,omitzero"` // is added to the cooking time until then

	Products     []Product     `json:"products,omitempty"`     // sorted by ID
	Reservations []Reservation `json:"reservations,omitempty"` // neither committed nor released, oldest first

	Decided decided.Memory `json:"decided,omitempty"` // commands of the store
	Refused []Refusal      `json:"refused,omitempty"` // reservations refused, oldest first
	Closed  Memory         `json:"closed,omitzero"`   // reservations committed or released
}

// Product is one product of a store. Two sums hold at any time:
// Added = OnHand + Sold + Removed, and Reserved is what Reservations add up to.
type Product struct {
	ID      string       `json:"product"`
	Version int          `json:"version,omitzero"` // Inventory.Version when it last changed by a command
	Name    string       `json:"name"`
	Price   domain.Money `json:"price"`
	Gone    bool         `json:"gone,omitzero"` // removed: kept for its counts and what is still reserved
	// SoldOut is on until SoldOutUntil or, where that is 0, until stock is added.
	SoldOut      bool        `json:"soldOut,omitzero"`
	SoldOutUntil domain.Time `json:"soldOutUntil,omitzero"`
	OnHand       int         `json:"onHand"`   // free and reserved
	Reserved     int         `json:"reserved"` // of it for orders
	Added        int         `json:"added"`    // ever
	Sold         int         `json:"sold"`     // ever
	Removed      int         `json:"removed"`  // ever
}

// Free is what can still be sold or removed.
func (p *Product) Free() int { return p.OnHand - p.Reserved }

// available is what can be sold now.
func (p *Product) available(now domain.Time) int {
	if p.Gone || p.soldOut(now) {
		return 0
	}
	return p.Free()
}

func (p *Product) soldOut(now domain.Time) bool {
	return p.SoldOut && (p.SoldOutUntil == 0 || now < p.SoldOutUntil)
}

func (s *Inventory) paused(now domain.Time) bool { return now < s.PausedUntil }

// Out is what a message leads to.
type Out struct {
	Reply   *Reply          // for stock-replies
	Verdict *domain.Verdict // for verdicts
	Changed bool            // the row must be saved
}

// NewInventory returns the row of a store of which nothing is known.
func NewInventory(storeID string) *Inventory { return &Inventory{StoreID: storeID} }

// Handle applies a valid message to the row. What was decided before is answered
// again as it was, byte for byte, and changes nothing; another command under the
// id of one that was decided is refused, and leaves no trace.
func (s *Inventory) Handle(c *Command, n domain.Name, now domain.Time) (out Out) {
	switch c.Type {
	case Reserve:
		out = s.reserve(c, now)
	case Commit, Release:
		out = s.end(c, now)
	default:
		out = s.command(c, n, now)
	}
	if out.Changed {
		s.Decided = s.Decided.Trim(now, remembers)
	}
	return out
}

func (s *Inventory) command(c *Command, n domain.Name, now domain.Time) (out Out) {
	d, again := s.Decided.Find(n)
	if !again {
		if d, taken := s.Decided.Taken(n); taken {
			v := domain.NewVerdict(Stream, s.StoreID, n, n.Refusal(), d.Version, d.At)
			return Out{Verdict: &v}
		}
		t := &turn{Inventory: s, c: c, now: now}
		why := t.decide()
		d = s.Decided.Add(n, why, s.Version, now)
		out.Changed = true
	}
	if d.Is() || c.Verdict {
		v := domain.NewVerdict(Stream, s.StoreID, n, d.Refusal, d.Version, d.At)
		out.Verdict = &v
	}
	return out
}

// find returns where a product is or belongs.
func (s *Inventory) find(product string) (int, bool) {
	return slices.BinarySearchFunc(s.Products, product, func(p Product, id string) int { return cmp.Compare(p.ID, id) })
}

package stock

import (
	"cmp"
	"fmt"
	"slices"

	"baedal/domain"
)

// What bounds the row of one store, which is written whole on every change: some
// 200 KB when the first two are reached with usual ids and names. The others
// are for long ones: in bytes, as the row is written. What ends a reservation
// needs no room, so that it is always taken.
const (
	MaxProducts      = 1000
	MaxReservedLines = 4000 // of all open reservations together

	MaxProductBytes  = 350_000
	MaxReservedBytes = 250_000 // with what they keep of names and prices that have changed
	MaxDecidedBytes  = 100_000 // of decisions remembered, beyond the KeepDecided newest
	MaxRefusedBytes  = 100_000 // of refusals remembered, beyond the newest
)

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

	Decided []Decision `json:"decided,omitempty"` // commands of the store, oldest first
	Refused []Refusal  `json:"refused,omitempty"` // reservations refused, oldest first
	Closed  Memory     `json:"closed,omitzero"`   // reservations committed or released
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
		s.Decided = recent(s.Decided, now)
	}
	return out
}

// rules has what each command of a store does. A rule either changes the row or
// says why it refuses to.
var rules = map[string]func(*Inventory, *Command) (refusal string){
	Register:    (*Inventory).register,
	Open:        (*Inventory).open,
	Close:       (*Inventory).close,
	PutProduct:  (*Inventory).putProduct,
	AddStock:    (*Inventory).addStock,
	RemoveStock: (*Inventory).removeStock,
}

func (s *Inventory) command(c *Command, n domain.Name, now domain.Time) (out Out) {
	i := slices.IndexFunc(s.Decided, func(d Decision) bool { return n.Is(d.ID, d.Mark) })
	if taken := slices.IndexFunc(s.Decided, func(d Decision) bool { return n.Taken(d.ID, d.Mark) }); i < 0 && taken >= 0 {
		v := domain.NewVerdict(Stream, s.StoreID, n, n.Refusal(), 0, s.Decided[taken].At)
		return Out{Verdict: &v}
	}
	if i < 0 {
		d := Decision{ID: n.ID, Mark: n.Mark, At: now}
		if s.Store == nil && c.Type != Register {
			d.Reason = fmt.Sprintf("store %q is not registered: register it first", s.StoreID)
		} else {
			d.Reason = rules[c.Type](s, c)
		}
		s.Decided = append(s.Decided, d)
		i = len(s.Decided) - 1
		out.Changed = true
	}
	if d := s.Decided[i]; d.Reason != "" || c.Verdict {
		v := domain.NewVerdict(Stream, s.StoreID, n, domain.Because(d.Reason), 0, d.At)
		out.Verdict = &v
	}
	return out
}

func (s *Inventory) register(c *Command) string {
	settings := c.settings(Store{})
	switch {
	case s.Store == nil:
		s.Open = true
	case *s.Store == settings:
		return ""
	}
	keeps := 0
	for i := range s.Reservations {
		if s.Reservations[i].Store == nil && s.Store != nil {
			keeps += s.Store.written()
		}
	}
	if keeps > 0 && s.reservedBytes()+keeps > MaxReservedBytes {
		return s.busy()
	}
	for i := range s.Reservations {
		s.Reservations[i].keepStore(s.Store)
	}
	s.Store = &settings
	return ""
}

// busy refuses a change that open reservations would have to remember.
func (s *Inventory) busy() string {
	return fmt.Sprintf("store %q has %d open reservations, which can't keep how it was before the change: try again when some have ended", s.StoreID, len(s.Reservations))
}

func (s *Inventory) open(*Command) string {
	s.Open = true
	return ""
}

func (s *Inventory) close(*Command) string {
	s.Open = false
	return ""
}

func (s *Inventory) putProduct(c *Command) string {
	i, found := s.find(c.Product)
	p := Product{ID: c.Product, Name: *c.Name, Price: *c.Price}
	more := p.written()
	if found {
		more -= s.Products[i].written()
	}
	switch {
	case !found && len(s.Products) >= MaxProducts:
		return fmt.Sprintf("store %q has %d products, which is the most: put %q into another store", s.StoreID, MaxProducts, c.Product)
	case more > 0 && s.productBytes()+more > MaxProductBytes:
		return fmt.Sprintf("the ids and names of the products of store %q are as long as they may be together: shorten some, or put %q into another store", s.StoreID, c.Product)
	case !found:
		s.Products = slices.Insert(s.Products, i, p)
		return ""
	}
	was := &s.Products[i]
	if was.Name == p.Name && was.Price == p.Price {
		return ""
	}
	keeps := 0
	for i := range s.Reservations {
		keeps += s.Reservations[i].keeping(was)
	}
	if keeps > 0 && s.reservedBytes()+keeps > MaxReservedBytes {
		return s.busy()
	}
	for i := range s.Reservations {
		s.Reservations[i].keepPrice(was)
	}
	was.Name, was.Price = p.Name, p.Price
	return ""
}

func (s *Inventory) addStock(c *Command) string {
	p, refusal := s.product(c)
	if p == nil {
		return refusal
	}
	if p.OnHand+c.Quantity > MaxQuantity {
		return fmt.Sprintf("%d of %q are on hand and at most %d may be: add %d or less", p.OnHand, p.ID, MaxQuantity, MaxQuantity-p.OnHand)
	}
	p.OnHand += c.Quantity
	p.Added += c.Quantity
	return ""
}

func (s *Inventory) removeStock(c *Command) string {
	p, refusal := s.product(c)
	if p == nil {
		return refusal
	}
	if c.Quantity > p.Free() {
		return fmt.Sprintf("%d of %q are free (%d on hand, %d reserved): remove %d or less, not %d", p.Free(), p.ID, p.OnHand, p.Reserved, p.Free(), c.Quantity)
	}
	p.OnHand -= c.Quantity
	p.Removed += c.Quantity
	return ""
}

// product returns the command's product, or why it is refused.
func (s *Inventory) product(c *Command) (*Product, string) {
	i, found := s.find(c.Product)
	if !found {
		return nil, fmt.Sprintf("store %q has no product %q: put the product first", s.StoreID, c.Product)
	}
	return &s.Products[i], ""
}

// find returns where a product is or belongs.
func (s *Inventory) find(product string) (int, bool) {
	return slices.BinarySearchFunc(s.Products, product, func(p Product, id string) int { return cmp.Compare(p.ID, id) })
}

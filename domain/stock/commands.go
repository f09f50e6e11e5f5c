package stock

import (
	"fmt"
	"slices"

	"baedal/domain"
)

// turn is the handling of one command of a store.
type turn struct {
	*Inventory
	c      *Command
	now    domain.Time
	counts bool // Version counts it already
}

// rules has what each command does. A rule either changes the row or says why it
// refuses to. What changes nothing is accepted, too.
var rules = map[string]func(*turn) domain.Refusal{
	Register:   (*turn).register,
	Update:     (*turn).update,
	Unregister: (*turn).unregister,
	Open:       (*turn).open,
	Close:      (*turn).close,
	Slow:       (*turn).slow,
	Pause:      (*turn).pause,

	PutProduct:    (*turn).putProduct,
	UpdateProduct: (*turn).updateProduct,
	RemoveProduct: (*turn).removeProduct,
	SoldOut:       (*turn).soldOut,
	AddStock:      (*turn).addStock,
	RemoveStock:   (*turn).removeStock,
}

// nothing is refused.
var nothing domain.Refusal

func (t *turn) decide() domain.Refusal {
	thing, version := fmt.Sprintf("store %q", t.StoreID), t.StoreVersion
	product := slices.Contains(ProductTypes, t.c.Type)
	if product {
		thing, version = fmt.Sprintf("product %q of store %q", t.c.Product, t.StoreID), t.productVersion(t.c.Product)
	}
	if why := domain.OtherVersion(thing, t.c.IfVersion, version); why.Is() {
		return why
	}
	if t.Store == nil && t.c.Type != Register {
		return domain.Refuse(domain.CodeUnknown, "store %q is not registered: register it first", t.StoreID)
	}
	if product && t.c.Type != PutProduct && version == 0 {
		return domain.Refuse(domain.CodeUnknown, "store %q has no product %q: put the product first", t.StoreID, t.c.Product)
	}
	return rules[t.c.Type](t)
}

// count counts the command in Version, once.
func (t *turn) count() int {
	if !t.counts {
		t.Version++
		t.counts = true
	}
	return t.Version
}

func (t *turn) storeChanged()             { t.StoreVersion = t.count() }
func (t *turn) productChanged(p *Product) { p.Version = t.count() }

// The store.

func (t *turn) register() domain.Refusal {
	if t.Store != nil {
		return t.replace(t.c.settings(Store{}))
	}
	settings := t.c.settings(Store{})
	t.Store, t.Open = &settings, true
	t.storeChanged()
	return nothing
}

func (t *turn) update() domain.Refusal { return t.replace(t.c.settings(*t.Store)) }

// replace puts other settings into force. Open reservations keep those that they
// were answered with.
func (t *turn) replace(settings Store) domain.Refusal {
	if *t.Store == settings {
		return nothing
	}
	keeps := 0
	for i := range t.Reservations {
		if t.Reservations[i].Store == nil {
			keeps += t.Store.written()
		}
	}
	if keeps > 0 && t.reservedBytes()+keeps > MaxReservedBytes {
		return t.busy()
	}
	for i := range t.Reservations {
		t.Reservations[i].keepStore(t.Store)
	}
	t.Store = &settings
	t.storeChanged()
	return nothing
}

// busy refuses a change that open reservations would have to remember.
func (t *turn) busy() domain.Refusal {
	return domain.Refuse(domain.CodeRefused, "store %q has %d open reservations, which can't keep how it was before the change: try again when some have ended", t.StoreID, len(t.Reservations))
}

// unregister ends the store with its products: what is on hand counts as
// removed. The row knows the orders that still hold goods of it, which are those
// that are not cooked yet; the ones that are go on without their store.
func (t *turn) unregister() domain.Refusal {
	if n := len(t.Reservations); n > 0 {
		return domain.Refuse(domain.CodeStatus, "store %q has %d open orders, such as %q: let them end first, and close it so that no new ones come", t.StoreID, n, t.Reservations[0].OrderID)
	}
	for i := range t.Products {
		if p := &t.Products[i]; !p.Gone {
			p.remove()
			t.productChanged(p)
		}
	}
	t.Store, t.Open, t.PausedUntil, t.SlowUntil, t.SlowBy = nil, false, 0, 0, 0
	t.count()
	t.StoreVersion = 0
	return nothing
}

// open ends a pause and a slow, too.
func (t *turn) open() domain.Refusal {
	if !t.Open || t.paused(t.now) || t.now < t.SlowUntil {
		t.storeChanged()
	}
	t.Open, t.PausedUntil, t.SlowUntil, t.SlowBy = true, 0, 0, 0
	return nothing
}

func (t *turn) close() domain.Refusal {
	if t.Open {
		t.Open = false
		t.storeChanged()
	}
	return nothing
}

// slow and pause hold until a time; one that has passed ends them at once.
func (t *turn) slow() domain.Refusal {
	if t.SlowUntil != t.c.Until || t.SlowBy != *t.c.By {
		t.SlowUntil, t.SlowBy = t.c.Until, *t.c.By
		t.storeChanged()
	}
	return nothing
}

func (t *turn) pause() domain.Refusal {
	if t.PausedUntil != t.c.Until {
		t.PausedUntil = t.c.Until
		t.storeChanged()
	}
	return nothing
}

// Products.

func (t *turn) putProduct() domain.Refusal {
	i, found := t.find(t.c.Product)
	if found {
		return t.change(&t.Products[i], Product{Name: *t.c.Name, Price: *t.c.Price})
	}
	p := Product{ID: t.c.Product, Name: *t.c.Name, Price: *t.c.Price}
	t.makeRoom(1, p.written())
	switch {
	case len(t.Products) >= MaxProducts:
		return domain.Refuse(domain.CodeRefused, "store %q has %d products, which is the most: remove one, or put %q into another store", t.StoreID, MaxProducts, t.c.Product)
	case t.productBytes()+p.written() > MaxProductBytes:
		return t.tooLong()
	}
	i, _ = t.find(t.c.Product)
	t.Products = slices.Insert(t.Products, i, p)
	t.productChanged(&t.Products[i])
	return nothing
}

func (t *turn) tooLong() domain.Refusal {
	return domain.Refuse(domain.CodeRefused, "the ids and names of the products of store %q are as long as they may be together: shorten some, or put %q into another store", t.StoreID, t.c.Product)
}

// makeRoom forgets products that were removed, with their counts, the longest
// gone first, until as many and as long ones can be put.
func (t *turn) makeRoom(products, bytes int) {
	for len(t.Products)+products > MaxProducts || t.productBytes()+bytes > MaxProductBytes {
		oldest := -1
		for i, p := range t.Products {
			if p.Gone && p.Reserved == 0 && p.ID != t.c.Product && (oldest < 0 || p.Version < t.Products[oldest].Version) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		t.Products = slices.Delete(t.Products, oldest, oldest+1)
	}
}

func (t *turn) updateProduct() domain.Refusal {
	i, _ := t.find(t.c.Product)
	p := &t.Products[i]
	to := Product{Name: p.Name, Price: p.Price}
	set(&to.Name, t.c.Name)
	set(&to.Price, t.c.Price)
	return t.change(p, to)
}

// change gives a product another name and price, and puts it back if it was
// removed. Open reservations keep the ones that they were answered with.
func (t *turn) change(p *Product, to Product) domain.Refusal {
	if !p.Gone && p.Name == to.Name && p.Price == to.Price {
		return nothing
	}
	keeps := 0
	for i := range t.Reservations {
		keeps += t.Reservations[i].keeping(p)
	}
	if keeps > 0 && t.reservedBytes()+keeps > MaxReservedBytes {
		return t.busy()
	}
	if more := domain.Written(to.Name) - domain.Written(p.Name); more > 0 && t.productBytes()+more > MaxProductBytes {
		t.makeRoom(0, more)
		if t.productBytes()+more > MaxProductBytes {
			return t.tooLong()
		}
		i, _ := t.find(t.c.Product) // room was made before it
		p = &t.Products[i]
	}
	for i := range t.Reservations {
		t.Reservations[i].keepPrice(p)
	}
	p.Name, p.Price, p.Gone = to.Name, to.Price, false
	t.productChanged(p)
	return nothing
}

func (t *turn) removeProduct() domain.Refusal {
	i, _ := t.find(t.c.Product)
	t.Products[i].remove()
	t.productChanged(&t.Products[i])
	return nothing
}

// remove takes what is free away. What is reserved goes when its reservation
// ends, see Inventory.end. Its counts stay, so that they hold for good.
func (p *Product) remove() {
	p.Gone, p.SoldOut, p.SoldOutUntil = true, false, 0
	p.Removed += p.Free()
	p.OnHand = p.Reserved
	p.forget()
}

// forget drops what nobody asks of a product that is gone.
func (p *Product) forget() {
	if p.Gone && p.Reserved == 0 {
		p.Name, p.Price = "", 0
	}
}

// soldOut holds until a time; one that has passed ends it at once. Without one it
// holds until stock is added.
func (t *turn) soldOut() domain.Refusal {
	i, _ := t.find(t.c.Product)
	p := &t.Products[i]
	on := t.c.Until == 0 || t.now < t.c.Until
	if p.SoldOut != on || on && p.SoldOutUntil != t.c.Until {
		p.SoldOut, p.SoldOutUntil = on, 0
		if on {
			p.SoldOutUntil = t.c.Until
		}
		t.productChanged(p)
	}
	return nothing
}

func (t *turn) addStock() domain.Refusal {
	i, _ := t.find(t.c.Product)
	p := &t.Products[i]
	if p.OnHand+t.c.Quantity > MaxQuantity {
		return domain.Refuse(domain.CodeRefused, "%d of %q are on hand and at most %d may be: add %d or less", p.OnHand, p.ID, MaxQuantity, MaxQuantity-p.OnHand)
	}
	p.OnHand += t.c.Quantity
	p.Added += t.c.Quantity
	if p.SoldOutUntil == 0 {
		p.SoldOut = false
	}
	t.productChanged(p)
	return nothing
}

func (t *turn) removeStock() domain.Refusal {
	i, _ := t.find(t.c.Product)
	p := &t.Products[i]
	if t.c.Quantity > p.Free() {
		return domain.Refuse(domain.CodeShort, "%d of %q are free (%d on hand, %d reserved): remove %d or less, not %d", p.Free(), p.ID, p.OnHand, p.Reserved, p.Free(), t.c.Quantity)
	}
	p.OnHand -= t.c.Quantity
	p.Removed += t.c.Quantity
	t.productChanged(p)
	return nothing
}

// productVersion returns the version of a product, 0 of one that is not there.
func (s *Inventory) productVersion(product string) int {
	if i, found := s.find(product); found && !s.Products[i].Gone {
		return s.Products[i].Version
	}
	return 0
}

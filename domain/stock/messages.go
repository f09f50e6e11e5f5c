// Package stock is one store: its settings, its products and what of them is
// reserved for which order.
package stock

import (
	"cmp"
	"fmt"
	"slices"

	"baedal/domain"
)

// Stream is the name of the stream that commands come on; verdicts repeat it.
const Stream = "store-commands"

// Command types. The last three come from orders only.
const (
	Register      = "register"
	Update        = "update"
	Unregister    = "unregister"
	Open          = "open"
	Close         = "close"
	Slow          = "slow"
	Pause         = "pause"
	PutProduct    = "put_product"
	UpdateProduct = "update_product"
	RemoveProduct = "remove_product"
	SoldOut       = "sold_out"
	AddStock      = "add_stock"
	RemoveStock   = "remove_stock"
	Reserve       = "reserve"
	Commit        = "commit"
	Release       = "release"
)

// CommandTypes lists the types of a Command.
var CommandTypes = []string{
	Register, Update, Unregister, Open, Close, Slow, Pause, PutProduct, UpdateProduct, RemoveProduct, SoldOut, AddStock, RemoveStock,
	Reserve, Commit, Release,
}

// ProductTypes lists those that are about one product.
var ProductTypes = []string{PutProduct, UpdateProduct, RemoveProduct, SoldOut, AddStock, RemoveStock}

// MaxQuantity and MaxPrice bound what one command may say and what may be on
// hand, so that no sum overflows.
const (
	MaxQuantity = domain.MaxQuantity
	MaxPrice    = domain.MaxPrice
)

// Command is a message of store-commands. Which fields matter depends on its type.
type Command struct {
	domain.Meta
	StoreID string `json:"storeId,omitempty"` // may repeat the key
	Verdict bool   `json:"verdict,omitzero"`  // asks for a verdict on acceptance too
	Digest  string `json:"-"`                 // of the bytes that it was read from

	// IfVersion is the version that the store, or the product, must have for the
	// command to be decided on; 0 means that it must not exist.
	IfVersion *int `json:"ifVersion,omitempty"`

	// register needs all of them, and 0, false and 0s mean something; update
	// changes what is named
	Name        *string          `json:"name,omitempty"` // put_product and update_product too
	Area        *string          `json:"area,omitempty"`
	Lat         *float64         `json:"lat,omitempty"`
	Lon         *float64         `json:"lon,omitempty"`
	AutoAccept  *bool            `json:"autoAccept,omitempty"`
	CookingTime *domain.Duration `json:"cookingTime,omitempty"`

	// slow, pause, and sold_out, which may leave it out
	Until domain.Time      `json:"until,omitzero"`
	By    *domain.Duration `json:"by,omitempty"` // slow: what is added to the cooking time

	// put_product, update_product, remove_product, sold_out, add_stock, remove_stock
	Product  string        `json:"product,omitempty"`
	Price    *domain.Money `json:"price,omitempty"`
	Quantity int           `json:"quantity,omitzero"`

	// reserve, commit, release
	OrderID       string        `json:"orderId,omitempty"`
	Attempt       int           `json:"attempt,omitzero"`
	Lines         []domain.Line `json:"lines,omitempty"`
	ExpectedTotal *domain.Money `json:"expectedTotal,omitempty"`
}

// Validate returns what is missing or wrong: a domain.FieldError or domain.FieldErrors.
func (c *Command) Validate() error {
	if !slices.Contains(CommandTypes, c.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a command of a store: one of %v", domain.Clip(c.Type), CommandTypes))
	}
	return domain.All(c.checkID(), domain.CheckIfVersion(c.IfVersion), c.checkOwn())
}

// checkOwn checks the fields that only some types have.
func (c *Command) checkOwn() error {
	switch c.Type {
	case Register, Update:
		return c.checkSettings(c.Type == Register)
	case Slow, Pause:
		return domain.All(c.checkUntil(), c.checkBy())
	case PutProduct, UpdateProduct:
		needed := c.Type == PutProduct
		return domain.All(label("name", c.Name, needed), price(c.Price, needed), domain.CheckID("product", c.Product))
	case RemoveProduct, SoldOut:
		return domain.CheckID("product", c.Product)
	case AddStock, RemoveStock:
		return domain.All(domain.CheckRange("quantity", c.Quantity, 1, MaxQuantity), domain.CheckID("product", c.Product))
	case Reserve, Commit, Release:
		var lines, total error
		if c.Type == Reserve {
			lines = domain.CheckLines(c.Lines)
			total = domain.Optional(c.ExpectedTotal, func(m domain.Money) error { return domain.CheckMoney("expectedTotal", &m, domain.MaxTotal) })
		}
		return domain.All(domain.CheckCount("attempt", c.Attempt, domain.MaxAttempts), domain.CheckID("orderId", c.OrderID), lines, total)
	}
	return nil
}

func (c *Command) checkUntil() error {
	if c.Until == 0 {
		return domain.Wrong("until", "is missing")
	}
	return nil
}

func (c *Command) checkBy() error {
	switch {
	case c.Type == Pause:
		return nil
	case c.By == nil:
		return domain.Wrong("by", "is missing")
	case *c.By <= 0:
		return domain.Wrong("by", "must be more than 0s")
	}
	return domain.CheckCookingTime("by", *c.By)
}

func (c *Command) checkSettings(needed bool) error {
	at := domain.Point{Lat: c.Lat, Lon: c.Lon}
	if !needed { // either coordinate may change alone
		if at.Lat == nil {
			at.Lat = new(0.0)
		}
		if at.Lon == nil {
			at.Lon = new(0.0)
		}
	}
	var autoAccept, cookingTime error
	if c.AutoAccept == nil && needed {
		autoAccept = domain.Wrong("autoAccept", "is missing")
	}
	switch {
	case c.CookingTime != nil:
		cookingTime = domain.CheckCookingTime("cookingTime", *c.CookingTime)
	case needed:
		cookingTime = domain.Wrong("cookingTime", "is missing")
	}
	return domain.All(label("name", c.Name, needed), area(c.Area, needed), at.Check(""), autoAccept, cookingTime)
}

func label(field string, name *string, needed bool) error {
	switch {
	case name != nil:
		return domain.CheckLabel(field, *name)
	case needed:
		return domain.Wrong(field, "is missing")
	}
	return nil
}

func area(id *string, needed bool) error {
	switch {
	case id != nil:
		return domain.CheckID("area", *id)
	case needed:
		return domain.Wrong("area", "is missing")
	}
	return nil
}

func price(m *domain.Money, needed bool) error {
	if m == nil && !needed {
		return nil
	}
	return domain.CheckMoney("price", m, MaxPrice)
}

// settings returns the store as a register or update leaves it.
func (c *Command) settings(was Store) Store {
	s := was
	set(&s.Name, c.Name)
	set(&s.Area, c.Area)
	set(&s.Lat, c.Lat)
	set(&s.Lon, c.Lon)
	set(&s.AutoAccept, c.AutoAccept)
	set(&s.CookingTime, c.CookingTime)
	s.Lat, s.Lon = s.Lat+0, s.Lon+0 // 0 for -0; see domain.Point
	return s
}

func set[T any](to, said *T) {
	if said != nil {
		*to = *said
	}
}

// Own returns the command without the fields that its type does not have. They
// are ignored, so nobody need send them.
func (c *Command) Own() *Command {
	own := &Command{Meta: c.Meta, StoreID: c.StoreID, Verdict: c.Verdict}
	if !c.fromOrders() {
		own.IfVersion = c.IfVersion
	}
	switch c.Type {
	case Register, Update:
		own.Name, own.Area, own.Lat, own.Lon, own.AutoAccept, own.CookingTime = c.Name, c.Area, c.Lat, c.Lon, c.AutoAccept, c.CookingTime
	case Slow:
		own.Until, own.By = c.Until, c.By
	case Pause:
		own.Until = c.Until
	case PutProduct, UpdateProduct:
		own.Product, own.Name, own.Price = c.Product, c.Name, c.Price
	case RemoveProduct:
		own.Product = c.Product
	case SoldOut:
		own.Product, own.Until = c.Product, c.Until
	case AddStock, RemoveStock:
		own.Product, own.Quantity = c.Product, c.Quantity
	case Reserve:
		own.ExpectedTotal = c.ExpectedTotal
		for _, l := range c.Lines {
			own.Lines = append(own.Lines, domain.Line{Product: l.Product, Quantity: l.Quantity})
		}
		fallthrough
	case Commit, Release:
		own.OrderID, own.Attempt = c.OrderID, c.Attempt
	}
	return own
}

// Names returns the key that the message itself claims, or "".
func (c *Command) Names() string { return c.StoreID }

// Reply types.
const (
	Reserved = "reserved"
	Refused  = "refused"
)

// Reasons of a refused reservation.
const (
	UnknownStore   = "unknown_store"
	Closed         = "closed"
	UnknownProduct = "unknown_product"
	Short          = "short"
	PriceChanged   = "price_changed"
	Busy           = "busy" // MaxReservedLines are reserved already, or MaxReservedBytes
)

// Store is what an order needs to know of its store.
type Store struct {
	Name        string          `json:"name"`
	Area        string          `json:"area"`
	Lat         float64         `json:"lat"`
	Lon         float64         `json:"lon"`
	AutoAccept  bool            `json:"autoAccept"`
	CookingTime domain.Duration `json:"cookingTime"`
}

// Place returns where the store is.
func (s Store) Place() domain.Place { return domain.Place{Lat: s.Lat, Lon: s.Lon} }

// Reply is a message of stock-replies (key: order id): the answer to a reserve.
type Reply struct {
	domain.Meta
	OrderID string            `json:"orderId"`
	StoreID string            `json:"storeId"`
	Attempt int               `json:"attempt"`
	Lines   []domain.Line     `json:"lines,omitempty"`
	Total   *domain.Money     `json:"total,omitempty"` // of reserved
	Store   *Store            `json:"store,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Short   []domain.Shortage `json:"short,omitempty"`
	Until   domain.Time       `json:"until,omitzero"` // of closed: when a pause ends
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (r *Reply) Validate() error {
	err := cmp.Or(domain.CheckOneOf("type", r.Type, Reserved, Refused), domain.CheckMadeID(r.ID),
		domain.CheckID("orderId", r.OrderID), domain.CheckText("storeId", r.StoreID, domain.MaxID),
		domain.CheckCount("attempt", r.Attempt, domain.MaxAttempts))
	switch {
	case err != nil:
		return err
	case r.Type == Refused:
		return cmp.Or(
			domain.CheckOneOf("reason", r.Reason, UnknownStore, Closed, UnknownProduct, Short, PriceChanged, Busy),
			domain.CheckShort(r.Short))
	case r.Store == nil:
		return domain.Wrong("store", "is missing")
	}
	return cmp.Or(
		domain.CheckPriced(r.Lines),
		domain.CheckMoney("total", r.Total, domain.MaxTotal),
		domain.CheckLabel("store.name", r.Store.Name),
		domain.CheckID("store.area", r.Store.Area),
		r.Store.Place().Check("store."),
		domain.CheckCookingTime("store.cookingTime", r.Store.CookingTime))
}

// Names returns the key that the message itself claims.
func (r *Reply) Names() string { return r.OrderID }

// Package stock is one store: its settings, its products and what of them is
// reserved for which order.
package stock

import (
	"fmt"
	"slices"
	"time"

	"baedal/domain"
)

// Stream is the name of the stream that commands come on; verdicts repeat it.
const Stream = "store-commands"

// Command types. The last three come from orders only.
const (
	Register    = "register"
	Open        = "open"
	Close       = "close"
	PutProduct  = "put_product"
	AddStock    = "add_stock"
	RemoveStock = "remove_stock"
	Reserve     = "reserve"
	Commit      = "commit"
	Release     = "release"
)

// CommandTypes lists the types of a Command.
var CommandTypes = []string{Register, Open, Close, PutProduct, AddStock, RemoveStock, Reserve, Commit, Release}

// MaxQuantity and MaxPrice bound what one command may say and what may be on
// hand, so that no sum overflows: an order has at most 100 lines of at most a
// million pieces, 10^18 in all.
const (
	MaxQuantity = 1_000_000_000
	MaxPrice    = domain.Money(10_000_000_000)
)

// Command is a message of store-commands. Which fields matter depends on its type.
type Command struct {
	domain.Meta
	StoreID string `json:"storeId,omitempty"` // may repeat the key
	Verdict bool   `json:"verdict,omitzero"`  // asks for a verdict on acceptance too
	Digest  string `json:"-"`                 // of the bytes that it was read from

	// register
	Name        string          `json:"name,omitempty"` // put_product too
	Area        string          `json:"area,omitempty"`
	Lat         float64         `json:"lat,omitzero"`
	Lon         float64         `json:"lon,omitzero"`
	AutoAccept  bool            `json:"autoAccept,omitzero"`
	CookingTime domain.Duration `json:"cookingTime,omitzero"`

	// put_product, add_stock, remove_stock
	Product  string       `json:"product,omitempty"`
	Price    domain.Money `json:"price,omitzero"`
	Quantity int          `json:"quantity,omitzero"`

	// reserve, commit, release
	OrderID       string        `json:"orderId,omitempty"`
	Attempt       int           `json:"attempt,omitzero"`
	Lines         []domain.Line `json:"lines,omitempty"`
	ExpectedTotal *domain.Money `json:"expectedTotal,omitempty"`
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (c *Command) Validate() error {
	if !slices.Contains(CommandTypes, c.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a command of a store: one of %v", c.Type, CommandTypes))
	}
	if err := c.checkID(); err != nil {
		return err
	}
	switch c.Type {
	case Register:
		if len(c.Name) == 0 || len(c.Name) > 500 {
			return domain.Wrong("name", "must be 1 to 500 bytes long")
		}
		if err := domain.CheckID("area", c.Area); err != nil {
			return err
		}
		if c.CookingTime < 0 || c.CookingTime > domain.Duration(24*time.Hour) {
			return domain.Wrong("cookingTime", "must be from 0s to 24h")
		}
		return domain.Place{Lat: c.Lat, Lon: c.Lon}.Check("")
	case PutProduct:
		if len(c.Name) == 0 || len(c.Name) > 500 {
			return domain.Wrong("name", "must be 1 to 500 bytes long")
		}
		if c.Price < 0 || c.Price > MaxPrice {
			return domain.Wrong("price", fmt.Sprintf("must be from 0 to %d", MaxPrice))
		}
		return domain.CheckID("product", c.Product)
	case AddStock, RemoveStock:
		if c.Quantity < 1 || c.Quantity > MaxQuantity {
			return domain.Wrong("quantity", fmt.Sprintf("must be from 1 to %d", MaxQuantity))
		}
		return domain.CheckID("product", c.Product)
	case Reserve:
		if err := domain.CheckLines(c.Lines); err != nil {
			return err
		}
		fallthrough
	case Commit, Release:
		if c.Attempt < 1 {
			return domain.Wrong("attempt", "must be 1 or more")
		}
		return domain.CheckID("orderId", c.OrderID)
	}
	return nil
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
	Busy           = "busy" // MaxReservedLines are reserved already
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
	Total   domain.Money      `json:"total,omitzero"`
	Store   *Store            `json:"store,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Short   []domain.Shortage `json:"short,omitempty"`
}

// Names returns the key that the message itself claims.
func (r *Reply) Names() string { return r.OrderID }

// Package rider is one rider: his shift, where he is, and what he has in hand.
// What he may do with a delivery, and whether he may leave an area, is decided
// by dispatch; a rider only asks.
package rider

import (
	"fmt"
	"slices"

	"baedal/domain"
	"baedal/domain/dispatch"
)

// Stream is the name of the stream that commands come on; verdicts repeat it.
const Stream = "rider-commands"

// Command types.
const (
	Online    = "online"
	Offline   = "offline"
	Move      = "move"
	Claim     = "claim"
	Decline   = "decline"
	PickedUp  = "picked_up"
	Delivered = "delivered"
)

// CommandTypes lists the types of a Command.
var CommandTypes = []string{Online, Offline, Move, Claim, Decline, PickedUp, Delivered}

// MaxCapacity bounds how many deliveries a rider may carry at once.
const MaxCapacity = dispatch.MaxCapacity

// Command is a message of rider-commands (key: rider id).
type Command struct {
	domain.Meta
	RiderID string `json:"riderId,omitempty"` // may repeat the key
	Verdict bool   `json:"verdict,omitzero"`  // asks for a verdict on acceptance too
	Digest  string `json:"-"`                 // of the bytes that it was read from
	// IfVersion is the version that the rider must have for the command to be
	// decided on; 0 means that nothing may be known of the rider.
	IfVersion *int `json:"ifVersion,omitempty"`

	Area     string   `json:"area,omitempty"`
	Lat      *float64 `json:"lat,omitempty"`
	Lon      *float64 `json:"lon,omitempty"`
	Name     *string  `json:"name,omitempty"`     // nil: as before
	Capacity *int     `json:"capacity,omitempty"` // deliveries at once; nil means 1
	// Until is when the shift ends: no delivery is given that would be picked up
	// after it.
	Until   domain.Time `json:"until,omitzero"`
	OrderID string      `json:"orderId,omitempty"`
}

func (c *Command) point() *domain.Point { return &domain.Point{Lat: c.Lat, Lon: c.Lon} }

// Place returns where the command says the rider is.
func (c *Command) Place() domain.Place { return c.point().Place() }

// capacity is how many deliveries the rider carries at once.
func (c *Command) capacity() int {
	if c.Capacity == nil {
		return 1
	}
	return *c.Capacity
}

// Validate returns what is missing or wrong: a domain.FieldError or domain.FieldErrors.
func (c *Command) Validate() error {
	if !slices.Contains(CommandTypes, c.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a command of a rider: one of %v", domain.Clip(c.Type), CommandTypes))
	}
	return domain.All(domain.CheckCommandID(c.ID), domain.CheckIfVersion(c.IfVersion), c.checkOwn())
}

// checkOwn checks the fields that only some types have.
func (c *Command) checkOwn() error {
	switch c.Type {
	case Online:
		name := domain.Optional(c.Name, func(n string) error { return domain.CheckLabel("name", n) })
		return domain.All(c.point().Check(""), domain.CheckRange("capacity", c.capacity(), 1, MaxCapacity), name, domain.CheckID("area", c.Area))
	case Move:
		return c.point().Check("")
	case Claim, Decline, PickedUp, Delivered:
		return domain.CheckID("orderId", c.OrderID)
	}
	return nil
}

// SetDigest keeps the digest of the bytes that the command was read from.
func (c *Command) SetDigest(d string) { c.Digest = d }

// Own returns the command without the fields that its type does not have. They
// are ignored, so nobody need send them.
func (c *Command) Own() *Command {
	own := &Command{Meta: c.Meta, RiderID: c.RiderID, Verdict: c.Verdict, IfVersion: c.IfVersion}
	switch c.Type {
	case Online:
		own.Area, own.Lat, own.Lon, own.Capacity = c.Area, c.Lat, c.Lon, c.Capacity
		own.Name, own.Until = c.Name, c.Until
	case Move:
		own.Lat, own.Lon = c.Lat, c.Lon
	case Claim, Decline, PickedUp, Delivered:
		own.OrderID = c.OrderID
	}
	return own
}

// Names returns the key that the message itself claims, or "".
func (c *Command) Names() string { return c.RiderID }

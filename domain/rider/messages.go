// Package rider is one rider: his shift, where he is, and what he has in hand.
// What he may do with a delivery, and whether he may leave an area, is decided
// by dispatch; a rider only asks.
package rider

import (
	"fmt"
	"slices"

	"baedal/domain"
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
const MaxCapacity = 20

// Command is a message of rider-commands (key: rider id).
type Command struct {
	domain.Meta
	RiderID  string   `json:"riderId,omitempty"` // may repeat the key
	Verdict  bool     `json:"verdict,omitzero"`  // asks for a verdict on acceptance too
	Digest   string   `json:"-"`                 // of the bytes that it was read from
	Area     string   `json:"area,omitempty"`
	Lat      *float64 `json:"lat,omitempty"`
	Lon      *float64 `json:"lon,omitempty"`
	Capacity int      `json:"capacity,omitzero"` // deliveries at once; 0 means 1
	OrderID  string   `json:"orderId,omitempty"`
}

// Place returns where the command says the rider is.
func (c *Command) Place() domain.Place {
	if c.Lat == nil || c.Lon == nil {
		return domain.Place{}
	}
	return domain.Place{Lat: *c.Lat, Lon: *c.Lon}
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (c *Command) Validate() error {
	if !slices.Contains(CommandTypes, c.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a command of a rider: one of %v", c.Type, CommandTypes))
	}
	if err := domain.CheckCommandID(c.ID); err != nil {
		return err
	}
	switch c.Type {
	case Online, Move:
		if c.Lat == nil {
			return domain.Wrong("lat", "is missing")
		}
		if c.Lon == nil {
			return domain.Wrong("lon", "is missing")
		}
		if err := c.Place().Check(""); err != nil {
			return err
		}
		if c.Type == Move {
			return nil
		}
		if c.Capacity < 0 || c.Capacity > MaxCapacity {
			return domain.Wrong("capacity", fmt.Sprintf("must be from 1 to %d", MaxCapacity))
		}
		return domain.CheckID("area", c.Area)
	case Claim, Decline, PickedUp, Delivered:
		return domain.CheckID("orderId", c.OrderID)
	}
	return nil
}

// SetDigest keeps the digest of the bytes that the command was read from.
func (c *Command) SetDigest(d string) { c.Digest = d }

// Names returns the key that the message itself claims, or "".
func (c *Command) Names() string { return c.RiderID }

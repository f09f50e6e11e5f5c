// Package dispatch is one area: the riders on shift in it and the deliveries
// that are open or assigned. Who gets which delivery is one decision of one
// writer, so no rider ever has two deliveries that he can't carry.
package dispatch

import (
	"cmp"
	"fmt"
	"slices"

	"baedal/domain"
)

// Command types. request, ready, postpone, give_up and withdraw come from
// orders, the rest from riders.
const (
	Request   = "request"
	Ready     = "ready"
	Postpone  = "postpone" // the food will be ready later, at readyAt
	GiveUp    = "give_up"  // the assigned rider did not come: seek another one
	Withdraw  = "withdraw"
	Enter     = "enter"
	Leave     = "leave"
	Move      = "move"
	Claim     = "claim"
	Decline   = "decline"
	PickedUp  = "picked_up"
	Delivered = "delivered"
)

// CommandTypes lists the types of a Command.
var CommandTypes = []string{Request, Ready, Postpone, GiveUp, Withdraw, Enter, Leave, Move, Claim, Decline, PickedUp, Delivered}

// Command is a message of dispatch-commands (key: area id); internal.
type Command struct {
	domain.Meta
	Area string `json:"area,omitempty"` // may repeat the key

	// of a delivery
	OrderID string        `json:"orderId,omitempty"`
	Attempt int           `json:"attempt,omitzero"`
	Pickup  *domain.Point `json:"pickup,omitempty"`
	Drop    *domain.Point `json:"drop,omitempty"`
	ReadyAt domain.Time   `json:"readyAt,omitzero"`
	Reason  string        `json:"reason,omitempty"` // withdraw: no_rider or withdrawn; give_up: why

	// of a rider
	RiderID  string        `json:"riderId,omitempty"`
	Shift    int           `json:"shift,omitzero"` // counts a rider's entries; enter, leave and move carry it
	Place    *domain.Point `json:"place,omitempty"`
	PlaceAt  domain.Time   `json:"placeAt,omitzero"`  // of enter: since when the rider is known to be there
	Capacity int           `json:"capacity,omitzero"` // of enter, 1 or more
	Until    domain.Time   `json:"until,omitzero"`    // of enter: the end of the shift

	// The rider's command behind it, to be answered with a verdict: a refusal
	// always, an acceptance when Verdict is set. Digest and Mark are of its name.
	CommandID string `json:"commandId,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Mark      string `json:"mark,omitempty"`
	Verdict   bool   `json:"verdict,omitzero"`
}

// MaxCapacity bounds how many deliveries a rider may carry at once.
const MaxCapacity = 20

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (c *Command) Validate() error {
	if !slices.Contains(CommandTypes, c.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a command of dispatch: one of %v", domain.Clip(c.Type), CommandTypes))
	}
	if err := cmp.Or(domain.CheckMadeID(c.ID), domain.CheckText("commandId", c.CommandID, domain.MaxCommandID),
		domain.CheckText("digest", c.Digest, domain.MaxDigest), domain.CheckText("mark", c.Mark, domain.MaxMark)); err != nil {
		return err
	}
	switch c.Type {
	case Request, Ready, Postpone, GiveUp, Withdraw:
		return c.ofDelivery()
	case Claim, Decline, PickedUp, Delivered:
		return cmp.Or(domain.CheckID("orderId", c.OrderID), domain.CheckID("riderId", c.RiderID), c.checkAsker())
	}
	if err := cmp.Or(domain.CheckID("riderId", c.RiderID), domain.CheckCount("shift", c.Shift, domain.MaxCount)); err != nil || c.Type == Leave {
		return err
	}
	if err := checkPoint("place", c.Place); err != nil || c.Type == Move {
		return err
	}
	if c.Capacity < 1 || c.Capacity > MaxCapacity {
		return domain.Wrong("capacity", fmt.Sprintf("must be from 1 to %d", MaxCapacity))
	}
	return nil
}

func (c *Command) ofDelivery() error {
	if err := cmp.Or(domain.CheckCount("attempt", c.Attempt, domain.MaxAttempts), domain.CheckID("orderId", c.OrderID)); err != nil {
		return err
	}
	switch c.Type {
	case Request:
		return cmp.Or(checkPoint("pickup", c.Pickup), checkPoint("drop", c.Drop))
	case Postpone:
		if c.ReadyAt == 0 {
			return domain.Wrong("readyAt", "is missing")
		}
	case GiveUp:
		return cmp.Or(domain.CheckID("riderId", c.RiderID), checkReason(c.Reason))
	case Withdraw:
		return checkReason(c.Reason)
	}
	return nil
}

// checkAsker says what is missing of the rider's command that is answered.
func (c *Command) checkAsker() error {
	switch "" {
	case c.CommandID:
		return domain.Wrong("commandId", "is missing")
	case c.Mark:
		return domain.Wrong("mark", "is missing")
	}
	return nil
}

func checkPoint(field string, p *domain.Point) error {
	if p == nil {
		return domain.Wrong(field, "is missing")
	}
	return p.Check(field + ".")
}

func checkReason(reason string) error {
	if reason == "" {
		return nil
	}
	return domain.CheckOneOf("reason", reason, NoRider, Withdrawn, Declined, Late, AreaFull)
}

// Names returns the key that the message itself claims, or "".
func (c *Command) Names() string { return c.Area }

// Types of a RiderEvent.
const (
	Entered         = "entered"
	Left            = "left"
	Stays           = "stays" // may not leave: has a delivery in hand
	RiderAssigned   = "assigned"
	RiderUnassigned = "unassigned"
	RiderDelivered  = "delivered"
)

// RiderEvent is a message of rider-events (key: rider id): what dispatch tells a rider.
type RiderEvent struct {
	domain.Meta
	Area      string `json:"area"`
	RiderID   string `json:"riderId"`
	Shift     int    `json:"shift,omitzero"` // of the enter or leave that is answered
	OrderID   string `json:"orderId,omitempty"`
	Attempt   int    `json:"attempt,omitzero"`
	CommandID string `json:"commandId,omitempty"`
	Reason    string `json:"reason,omitempty"`

	// of an assigned delivery, so that a rider's client needs no other source
	Pickup    *domain.Place `json:"pickup,omitempty"`
	Drop      *domain.Place `json:"drop,omitempty"`
	ReadyAt   domain.Time   `json:"readyAt,omitzero"`
	EtaPickup domain.Time   `json:"etaPickup,omitzero"`
	EtaDrop   domain.Time   `json:"etaDrop,omitzero"`
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (e *RiderEvent) Validate() error {
	if err := cmp.Or(
		domain.CheckOneOf("type", e.Type, Entered, Left, Stays, RiderAssigned, RiderUnassigned, RiderDelivered),
		domain.CheckMadeID(e.ID),
		domain.CheckID("area", e.Area),
		domain.CheckID("riderId", e.RiderID),
		domain.CheckText("commandId", e.CommandID, domain.MaxCommandID),
		domain.CheckText("reason", e.Reason, domain.MaxReply),
	); err != nil {
		return err
	}
	switch e.Type {
	case Entered, Left, Stays:
		return domain.CheckCount("shift", e.Shift, domain.MaxCount)
	}
	return cmp.Or(domain.CheckID("orderId", e.OrderID), domain.CheckCount("attempt", e.Attempt, domain.MaxAttempts))
}

// Names returns the key that the message itself claims.
func (e *RiderEvent) Names() string { return e.RiderID }

// Types of a DeliveryEvent; picked_up and delivered are spelled as the commands.
const (
	Assigned   = "assigned"
	Unassigned = "unassigned"
	Failed     = "failed"
)

// Reasons of an unassigned or failed delivery.
const (
	NoRider   = "no_rider"
	Withdrawn = "withdrawn"
	Declined  = "declined"
	Late      = "late"
	AreaFull  = "area_full" // of failed: the area has no room for another delivery, or for another rider for it
)

// DeliveryEvent is a message of delivery-events (key: order id): what became of
// a delivery. Success is set on delivered (true) and failed (false).
type DeliveryEvent struct {
	domain.Meta
	OrderID   string      `json:"orderId"`
	Attempt   int         `json:"attempt"`
	Area      string      `json:"area"`
	RiderID   string      `json:"riderId,omitempty"`
	EtaPickup domain.Time `json:"etaPickup,omitzero"`
	EtaDrop   domain.Time `json:"etaDrop,omitzero"`
	Success   *bool       `json:"success,omitempty"`
	Reason    string      `json:"reason,omitempty"`
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (e *DeliveryEvent) Validate() error {
	if err := cmp.Or(
		domain.CheckOneOf("type", e.Type, Assigned, Unassigned, PickedUp, Delivered, Failed),
		domain.CheckMadeID(e.ID),
		domain.CheckID("orderId", e.OrderID),
		domain.CheckCount("attempt", e.Attempt, domain.MaxAttempts),
		domain.CheckID("area", e.Area),
		checkReason(e.Reason),
	); err != nil || e.Type == Failed {
		return err
	}
	return domain.CheckID("riderId", e.RiderID)
}

// Names returns the key that the message itself claims.
func (e *DeliveryEvent) Names() string { return e.OrderID }

// Package order is the life of an order: the commands that may come, the table
// of what each does in each status, and what must be sent for it.
package order

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"time"

	"baedal/domain"
)

// Stream is the name of the stream that commands come on; verdicts repeat it.
const Stream = "order-commands"

// Command types.
const (
	Place         = "place"
	Cancel        = "cancel"
	Accept        = "accept"
	Reject        = "reject"
	StartCooking  = "start_cooking"
	FinishCooking = "finish_cooking"
	Confirm       = "confirm"
	RequestRefund = "request_refund"
	ApproveRefund = "approve_refund"
	DenyRefund    = "deny_refund"
	Postpone      = "postpone"
)

// CommandTypes lists the types of a Command.
var CommandTypes = []string{Place, Cancel, Accept, Reject, StartCooking, FinishCooking, Confirm, RequestRefund, ApproveRefund, DenyRefund, Postpone}

// Who may cancel.
const (
	Customer = "customer"
	Store    = "store"
	Operator = "operator"
)

// Wishes of a customer who asks for a refund.
const (
	WishRefund     = "refund"
	WishRedelivery = "redelivery"
)

// MaxPostponed is how often the food of one attempt may be postponed.
const MaxPostponed = 8

// Address is where an order goes.
type Address struct {
	Text string   `json:"text,omitempty"`
	Lat  *float64 `json:"lat,omitempty"`
	Lon  *float64 `json:"lon,omitempty"`
}

func (a Address) point() domain.Point { return domain.Point{Lat: a.Lat, Lon: a.Lon} }

// Place returns the point of an address that was checked.
func (a Address) Place() domain.Place { return a.point().Place() }

// Command is a message of order-commands. Which fields matter depends on its
// type; Validate names the one that is missing or wrong.
type Command struct {
	domain.Meta
	// OrderID may repeat the record's key; when it contradicts it, the command
	// is a dead letter.
	OrderID string `json:"orderId,omitempty"`
	// Verdict asks for a verdict on acceptance too.
	Verdict bool `json:"verdict,omitzero"`
	// Digest is that of the bytes that the command was read from.
	Digest string `json:"-"`
	// IfVersion is the version that the order must have; 0: it must not exist.
	IfVersion *int `json:"ifVersion,omitempty"`

	UserID        string        `json:"userId,omitempty"`
	StoreID       string        `json:"storeId,omitempty"`
	Lines         []domain.Line `json:"lines,omitempty"`
	Address       *Address      `json:"address,omitempty"`
	ExpectedTotal *domain.Money `json:"expectedTotal,omitempty"`
	Note          string        `json:"note,omitempty"`  // for whoever cooks and brings it
	Phone         string        `json:"phone,omitempty"` // of the customer, for the store and the rider who has it

	// By of cancel says who: customer ("" too), store or operator. By of
	// postpone says by how much, such as 10m.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`

	// CookingTime of accept: 0s is ready now, nil as the store has registered.
	CookingTime *domain.Duration `json:"cookingTime,omitempty"`

	PhotoURL string `json:"photoUrl,omitempty"`
	Wish     string `json:"wish,omitempty"`
}

// Validate returns what is missing or wrong: a domain.FieldError or domain.FieldErrors.
func (c *Command) Validate() error {
	if !slices.Contains(CommandTypes, c.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a command of an order: one of %v", domain.Clip(c.Type), CommandTypes))
	}
	return domain.All(c.checkID(), domain.CheckIfVersion(c.IfVersion), domain.CheckText("reason", c.Reason, domain.MaxReason), c.checkOwn())
}

// checkOwn checks the fields that only some types have.
func (c *Command) checkOwn() error {
	switch c.Type {
	case Place:
		total := domain.Optional(c.ExpectedTotal, func(m domain.Money) error { return domain.CheckMoney("expectedTotal", &m, domain.MaxTotal) })
		return domain.All(domain.CheckID("userId", c.UserID), domain.CheckID("storeId", c.StoreID), domain.CheckLines(c.Lines),
			c.Address.check(), domain.CheckText("note", c.Note, domain.MaxText), domain.CheckPhone("phone", c.Phone), total)
	case Cancel:
		if c.By != "" {
			return domain.CheckOneOf("by", c.By, Customer, Store, Operator)
		}
	case Postpone:
		return checkDelay("by", c.By)
	case Accept:
		return domain.Optional(c.CookingTime, func(d domain.Duration) error { return domain.CheckCookingTime("cookingTime", d) })
	case RequestRefund:
		return domain.All(domain.CheckID("userId", c.UserID), domain.CheckNeeded("reason", c.Reason), checkPhoto("photoUrl", c.PhotoURL),
			domain.CheckOneOf("wish", c.Wish, WishRefund, WishRedelivery))
	case DenyRefund:
		return domain.CheckNeeded("reason", c.Reason)
	}
	return nil
}

func (a *Address) check() error {
	if a == nil {
		return domain.Wrong("address", "is missing: {text, lat, lon}")
	}
	return domain.All(domain.CheckText("address.text", a.Text, domain.MaxText), a.point().Check("address."))
}

func checkDelay(field, by string) error {
	if by == "" {
		return domain.Wrong(field, "is missing: how much later the food is ready, such as 10m")
	}
	var d domain.Duration
	if err := d.UnmarshalText([]byte(by)); err != nil {
		return domain.Wrong(field, err.Error())
	}
	if d < domain.Duration(time.Second) || d > domain.MaxCookingTime {
		return domain.Wrong(field, fmt.Sprintf("must be from 1s to %s", domain.MaxCookingTime))
	}
	return nil
}

func checkPhoto(field, photo string) error {
	if len(photo) > domain.MaxURL {
		return domain.Wrong(field, fmt.Sprintf("is longer than %d bytes", domain.MaxURL))
	}
	if u, err := url.Parse(photo); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return domain.Wrong(field, "must be an http or https URL of a photo")
	}
	return nil
}

// Own returns the command without the fields that its type does not have. They
// are ignored, so nobody need send them.
func (c *Command) Own() *Command {
	own := &Command{Meta: c.Meta, OrderID: c.OrderID, Verdict: c.Verdict, IfVersion: c.IfVersion, Reason: c.Reason}
	switch c.Type {
	case Place:
		own.UserID, own.StoreID, own.Address, own.ExpectedTotal = c.UserID, c.StoreID, c.Address, c.ExpectedTotal
		own.Note, own.Phone = c.Note, c.Phone
		own.Reason = ""
		for _, l := range c.Lines { // names and prices are the store's
			own.Lines = append(own.Lines, domain.Line{Product: l.Product, Quantity: l.Quantity})
		}
	case Cancel, Postpone:
		own.By = c.By
	case Accept:
		own.CookingTime = c.CookingTime
	case RequestRefund:
		own.UserID, own.PhotoURL, own.Wish = c.UserID, c.PhotoURL, c.Wish
	}
	return own
}

// postponed returns by how much a postpone that was checked makes the food later.
func (c *Command) postponed() time.Duration {
	by, _ := time.ParseDuration(c.By)
	return by
}

// Names returns the key that the message itself claims, or "".
func (c *Command) Names() string { return c.OrderID }

// Status is where an order stands.
type Status string

// Statuses.
const (
	None            Status = "" // not placed: only verdicts on it are remembered
	Placed          Status = "placed"
	Paying          Status = "paying"
	Paid            Status = "paid"
	AcceptedStatus  Status = "accepted"
	Cooking         Status = "cooking"
	Ready           Status = "ready"
	Assigned        Status = "assigned"
	PickedUp        Status = "picked_up"
	Delivered       Status = "delivered"
	RefundRequested Status = "refund_requested"
	Completed       Status = "completed"
	RefusedStatus   Status = "refused"
	PaymentFailed   Status = "payment_failed"
	Rejected        Status = "rejected"
	Cancelled       Status = "cancelled"
	DeliveryFailed  Status = "delivery_failed"
	Refunded        Status = "refunded"
	RefundDenied    Status = "refund_denied"
)

// Statuses lists them all in the order of a life.
var Statuses = []Status{Placed, Paying, Paid, AcceptedStatus, Cooking, Ready, Assigned, PickedUp, Delivered, RefundRequested,
	Completed, RefusedStatus, PaymentFailed, Rejected, Cancelled, DeliveryFailed, Refunded, RefundDenied}

// Final reports whether nothing happens to the order any more. A completed
// order may still be complained about for the refund window.
func (s Status) Final() bool {
	switch s {
	case Completed, RefusedStatus, PaymentFailed, Rejected, Cancelled, DeliveryFailed, Refunded, RefundDenied:
		return true
	}
	return false
}

// Events that leave the status alone.
const (
	RiderAssigned = "rider_assigned"
	RiderLost     = "rider_lost"
	Delayed       = "delayed"
	Reminded      = "reminded"
	Stuck         = "stuck"
	Escalated     = "escalated"
	Rescheduled   = "rescheduled"
)

var asides = []string{RiderAssigned, RiderLost, Delayed, Reminded, Stuck, Escalated, Rescheduled}

// Event is a message of order-events: Type is the status just entered, or one
// of the events that leave it alone.
type Event struct {
	domain.Meta
	Version int               `json:"version"`
	OrderID string            `json:"orderId"`
	UserID  string            `json:"userId"`
	StoreID string            `json:"storeId"`
	Status  Status            `json:"status"`
	Attempt int               `json:"attempt"`
	Lines   []domain.Line     `json:"lines"`
	Total   *domain.Money     `json:"total,omitempty"` // once stock has reserved
	Area    string            `json:"area,omitempty"`
	RiderID string            `json:"riderId,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Short   []domain.Shortage `json:"short,omitempty"`
	ReadyAt domain.Time       `json:"readyAt,omitzero"` // of rescheduled: when the food is to be ready now
	Wish    string            `json:"wish,omitempty"`   // of refund_requested: who decides is told it by messages made of events
	CauseID string            `json:"causeId"`
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (e *Event) Validate() error {
	if !slices.Contains(Statuses, Status(e.Type)) && !slices.Contains(asides, e.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not an event of an order", domain.Clip(e.Type)))
	}
	if !slices.Contains(Statuses, e.Status) {
		return domain.Wrong("status", fmt.Sprintf("%q is not a status of an order", domain.Clip(string(e.Status))))
	}
	var lines, total, wish error
	if e.Wish != "" {
		wish = domain.CheckOneOf("wish", e.Wish, WishRefund, WishRedelivery)
	}
	switch {
	case e.Total != nil: // the store has reserved
		lines, total = domain.CheckPriced(e.Lines), domain.CheckMoney("total", e.Total, domain.MaxTotal)
	case len(e.Lines) > 0:
		lines = domain.CheckLines(e.Lines)
	}
	return cmp.Or(
		domain.CheckMadeID(e.ID),
		domain.CheckCount("version", e.Version, domain.MaxCount),
		domain.CheckID("orderId", e.OrderID),
		domain.CheckID("userId", e.UserID),
		domain.CheckID("storeId", e.StoreID),
		domain.CheckCount("attempt", e.Attempt, domain.MaxAttempts),
		lines,
		total,
		domain.CheckText("area", e.Area, domain.MaxID),
		domain.CheckText("riderId", e.RiderID, domain.MaxID),
		domain.CheckText("reason", e.Reason, domain.MaxTold),
		domain.CheckShort(e.Short),
		wish,
		domain.CheckText("causeId", e.CauseID, domain.MaxMadeID),
	)
}

// Names returns the key that the message itself claims.
func (e *Event) Names() string { return e.OrderID }

// Deadline is what the orders group tells itself when an order has waited long
// enough. Due must still be the order's deadline when it is read, or it is late.
type Deadline struct {
	domain.Meta
	OrderID string      `json:"orderId"`
	Version int         `json:"version"`
	Due     domain.Time `json:"due"`
}

// DeadlineType is the type of a Deadline.
const DeadlineType = "deadline"

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (d *Deadline) Validate() error {
	if err := domain.CheckOneOf("type", d.Type, DeadlineType); err != nil {
		return err
	}
	if err := domain.CheckMadeID(d.ID); err != nil {
		return err
	}
	if d.Version < 0 || d.Version > domain.MaxCount {
		return domain.Wrong("version", fmt.Sprintf("must be from 0 to %d", domain.MaxCount))
	}
	return domain.CheckID("orderId", d.OrderID)
}

// Names returns the key that the message itself claims.
func (d *Deadline) Names() string { return d.OrderID }

package order

import "baedal/domain"

// What the messages of orders are called.

// PlaceID returns the id of the place command of an order that is placed over
// HTTP. The order's id is all that its client chooses, so the command is named
// after it, as no command of a client can be.
func PlaceID(orderID string) string { return orderID + "/" + Place }

func (c *Command) checkID() error {
	if c.Type == Place && c.OrderID != "" && c.ID == PlaceID(c.OrderID) {
		return nil
	}
	return domain.CheckCommandID(c.ID)
}

// SetDigest keeps the digest of the bytes that the command was read from.
func (c *Command) SetDigest(d string) { c.Digest = d }

// CheckName says what is wrong with the event's id: it is ORDERID/VERSION.
func (e *Event) CheckName() error { return domain.CheckName(e.ID, e.OrderID, e.Version) }

// CheckName says what is wrong with the deadline's id: it is
// deadline/ORDERID/VERSION.
func (d *Deadline) CheckName() error {
	return domain.CheckName(d.ID, DeadlineType, d.OrderID, d.Version)
}

package stock

import "baedal/domain"

// What the messages to and from a store's stock are called.

// fromOrders reports whether orders alone say this to a store.
func (c *Command) fromOrders() bool {
	return c.Type == Reserve || c.Type == Commit || c.Type == Release
}

// checkID says what is wrong with the id that a client chose. What orders say is
// only bounded here: see CheckName.
func (c *Command) checkID() error {
	if c.fromOrders() {
		return domain.CheckMadeID(c.ID)
	}
	return domain.CheckCommandID(c.ID)
}

// CheckName says what is wrong with the id of what orders say: it is
// ORDERID/TYPE/ATTEMPT.
func (c *Command) CheckName() error {
	if !c.fromOrders() {
		return nil
	}
	return domain.CheckName(c.ID, c.OrderID, c.Type, c.Attempt)
}

// SetDigest keeps the digest of the bytes that the command was read from.
func (c *Command) SetDigest(d string) { c.Digest = d }

// CheckName says what is wrong with the reply's id: it is ORDERID/TYPE/ATTEMPT.
func (r *Reply) CheckName() error { return domain.CheckName(r.ID, r.OrderID, r.Type, r.Attempt) }

package dispatch

import (
	"fmt"

	"baedal/domain"
)

// What the messages to and from an area are called.

// EnterID returns the id of the enter that begins a shift.
func EnterID(rider string, shift int) string { return fmt.Sprintf("%s/%s/%d", rider, Enter, shift) }

// LeaveID returns the id of the nth leave of a shift. A rider may ask to leave
// more than once in a shift and must know which asking is answered.
func LeaveID(rider string, shift, n int) string {
	return fmt.Sprintf("%s/%s/%d/%d", rider, Leave, shift, n)
}

// UndoID returns the id of the leave with which a rider answers that an area let
// them in who is elsewhere.
func UndoID(rider string, shift int) string {
	return fmt.Sprintf("%s/%s/%d/undo", rider, Leave, shift)
}

// StaysID returns the id of the stays event that answers a leave.
func StaysID(leaveID string) string { return leaveID + "/" + Stays }

// MoveID returns the id of the move that a rider's own command leads to in a
// shift.
func MoveID(rider string, shift int, n domain.Name) string {
	return fmt.Sprintf("%s/%s/%d/%s/%s", rider, Move, shift, n.Mark, n.ID)
}

// CommandID returns the id of what else a rider's own command leads to.
func CommandID(rider, kind string, n domain.Name) string {
	return rider + "/" + kind + "/" + n.Mark + "/" + n.ID
}

// name returns the name of the rider's own command behind it.
func (c *Command) name() domain.Name {
	return domain.Name{ID: c.CommandID, Digest: c.Digest, Mark: c.Mark}
}

// CheckName says what is wrong with the command's id: see EnterID, LeaveID,
// UndoID, MoveID and CommandID; that of orders is ORDERID/TYPE/ATTEMPT, with the
// order's version where it may be asked more than once.
func (c *Command) CheckName() error {
	switch c.Type {
	case Request:
		return domain.CheckName(c.ID, c.OrderID, c.Type, c.Attempt)
	case Ready, Postpone:
		return domain.CheckName(c.ID, c.OrderID, c.Type, domain.AnyNumber)
	case GiveUp:
		return domain.CheckName(c.ID, c.OrderID, c.Type, c.Attempt, domain.AnyNumber)
	case Withdraw:
		return either(domain.CheckName(c.ID, c.OrderID, c.Type, c.Attempt), domain.CheckName(c.ID, c.OrderID, c.Type, c.Attempt, domain.AnyNumber))
	case Enter:
		return domain.CheckName(c.ID, c.RiderID, c.Type, c.Shift)
	case Leave:
		return either(domain.CheckName(c.ID, c.RiderID, c.Type, c.Shift, domain.AnyNumber), domain.CheckName(c.ID, c.RiderID, c.Type, c.Shift, "undo"))
	case Move:
		return domain.CheckName(c.ID, c.RiderID, c.Type, c.Shift, domain.AnyWord, domain.AnyRest)
	}
	return domain.CheckName(c.ID, c.RiderID, c.Type, c.Mark, c.CommandID)
}

// CheckName says what is wrong with the event's id: of a shift it is
// RIDERID/TYPE/SHIFT, of a leave that is refused see StaysID, of a delivery it
// is RIDERID and the id of the DeliveryEvent that tells the order the same.
func (e *RiderEvent) CheckName() error {
	switch e.Type {
	case Entered, Left:
		return domain.CheckName(e.ID, e.RiderID, e.Type, e.Shift)
	case Stays:
		return either(domain.CheckName(e.ID, e.RiderID, Leave, e.Shift, domain.AnyNumber, Stays), domain.CheckName(e.ID, e.RiderID, Leave, e.Shift, "undo", Stays))
	case RiderUnassigned:
		return either(domain.CheckName(e.ID, e.RiderID, e.OrderID, Unassigned, e.Attempt, domain.AnyNumber), domain.CheckName(e.ID, e.RiderID, e.OrderID, Failed, e.Attempt))
	case RiderAssigned:
		return domain.CheckName(e.ID, e.RiderID, e.OrderID, Assigned, e.Attempt, domain.AnyNumber)
	}
	return domain.CheckName(e.ID, e.RiderID, e.OrderID, e.Type, e.Attempt)
}

// CheckName says what is wrong with the event's id: it is ORDERID/TYPE/ATTEMPT,
// and of what may happen more than once the count comes last.
func (e *DeliveryEvent) CheckName() error {
	switch e.Type {
	case Assigned, Unassigned:
		return domain.CheckName(e.ID, e.OrderID, e.Type, e.Attempt, domain.AnyNumber)
	}
	return domain.CheckName(e.ID, e.OrderID, e.Type, e.Attempt)
}

// either returns nil if one of two forms of an id fits.
func either(a, b error) error {
	if b == nil {
		return nil
	}
	return a
}

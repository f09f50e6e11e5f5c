package notification

import "baedal/domain"

// CheckName says what is wrong with the notification's id: it is that of the
// order's event and the audience.
func (n *Notification) CheckName() error {
	return domain.CheckName(n.ID, n.OrderID, domain.AnyNumber, n.Audience)
}

// Package notification turns events of orders into sentences for the people
// who wait for them, and keeps what each of them was told.
package notification

import "baedal/domain"

// Audiences.
const (
	Customer = "customer"
	Store    = "store"
	Rider    = "rider"
)

// Notification is a message of notifications and of message-log (key: the
// recipient's id). Its type repeats the event's.
type Notification struct {
	domain.Meta
	Recipient string `json:"recipient"`
	Audience  string `json:"audience"`
	OrderID   string `json:"orderId"`
	Status    string `json:"status"`
	Message   string `json:"message"`
}

// Names returns the key that the message itself claims.
func (n *Notification) Names() string { return n.Recipient }

package notification

// Log is what one recipient was told, oldest first.
type Log struct {
	Recipient string         `json:"recipient"`
	Messages  []Notification `json:"messages,omitempty"`
}

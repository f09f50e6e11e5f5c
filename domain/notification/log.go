package notification

// Log is the row of one recipient: what he was told last.
type Log struct {
	Recipient string `json:"recipient"`
}

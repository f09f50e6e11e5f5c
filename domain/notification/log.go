package notification

import "slices"

// Log is the row of one recipient: what he was told last, oldest first.
type Log struct {
	Recipient string         `json:"recipient"`
	Messages  []Notification `json:"messages,omitempty"`
}

// Remembered is how many messages a Log holds. The stream message-log has them all.
const Remembered = 20

// Add notes a message. It reports whether the log has changed; a message that
// is there already is not noted twice.
func (l *Log) Add(n *Notification) bool {
	if slices.ContainsFunc(l.Messages, func(m Notification) bool { return m.ID == n.ID }) {
		return false
	}
	l.Messages = append(l.Messages, *n)
	l.Messages = slices.Clone(l.Messages[max(0, len(l.Messages)-Remembered):])
	return true
}

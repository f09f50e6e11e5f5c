package stock

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"baedal/domain"
)

// How much of its past a row remembers of orders; of clients' commands see
// package decided. A message comes again after a crash, or because its sender
// repeats it. After a crash the part of the partition comes again, in order,
// whose offsets were not committed: the messages of one commit interval (100ms)
// and of a stalled commit. So whatever was ended within the window is kept (up to
// a limit that bounds the row), and of older times only the last few.
//
// Beyond that: a refused reservation that comes again may be granted; its order
// is final and releases it. A reservation that was ended may come alive again,
// and is ended again by its own commit or release, which follows it in the
// stream: released it is harmless, committed it counts its goods as sold twice.
// That takes a crash with more than MaxClosed ended reservations of one
// store uncommitted, or with commits stalled for more than ClosedWindow;
// exactly-once has no such repeats.
const (
	KeepRefused = 32

	KeepClosed   = 32
	MaxClosed    = 512
	ClosedWindow = 10 * time.Second
)

// Refusal is the answer to a reservation that was refused.
type Refusal struct {
	OrderID string            `json:"orderId"`
	Attempt int               `json:"attempt"`
	At      domain.Time       `json:"at"`
	Reason  string            `json:"reason"`
	Short   []domain.Shortage `json:"short,omitempty"`
	Until   domain.Time       `json:"until,omitzero"`
}

// Memory is a set of the keys that were added last, in two generations: when
// the young one has lasted for the window, it becomes the old one, and what was
// the old one is forgotten. As only membership matters and the row is written
// on every change, a key is kept as 64 bits of its SHA-256, in base64: two keys
// of a memory are taken for the same once in some 10^16 questions.
type Memory struct {
	Young string      `json:"young,omitempty"`
	Old   string      `json:"old,omitempty"`
	Since domain.Time `json:"since,omitzero"` // when the young one began
}

const digestLen = 11 // of 8 bytes in base64

func (m *Memory) add(key string, now domain.Time) {
	n := len(m.Young) / digestLen
	if n >= MaxClosed || n >= KeepClosed && now.Sub(m.Since) >= ClosedWindow {
		m.Old, m.Young = m.Young, ""
	}
	if m.Young == "" {
		m.Since = now
	}
	m.Young += digest(key)
}

func (m *Memory) has(key string) bool {
	if m.Young == "" {
		return false
	}
	d := digest(key)
	return contains(m.Young, d) || contains(m.Old, d)
}

func contains(digests, d string) bool {
	for i := 0; i < len(digests); i += digestLen {
		if digests[i:i+digestLen] == d {
			return true
		}
	}
	return false
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:8])
}

// attemptKey names the attempt of an order that a command is about.
func attemptKey(c *Command) string { return c.OrderID + "/" + strconv.Itoa(c.Attempt) }

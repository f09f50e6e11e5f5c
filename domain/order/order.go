package order

import (
	"slices"

	"baedal/domain"
	"baedal/domain/stock"
)

// Order is the row of one order: where it stands, how it came there, and what
// was decided about recent commands that changed nothing. An order whose status
// is None was never placed; its row only remembers refusals.
type Order struct {
	ID       string        `json:"id"`
	Status   Status        `json:"status,omitempty"`
	Version  int           `json:"version,omitzero"`
	Attempt  int           `json:"attempt,omitzero"`
	UserID   string        `json:"userId,omitempty"`
	StoreID  string        `json:"storeId,omitempty"`
	Lines    []domain.Line `json:"lines,omitempty"`
	Total    *domain.Money `json:"total,omitempty"` // known once stock is reserved
	Address  Address       `json:"address,omitzero"`
	Expected *domain.Money `json:"expectedTotal,omitempty"`
	Store    *stock.Store  `json:"store,omitempty"` // known once stock is reserved

	RiderID   string           `json:"riderId,omitempty"`    // who has the delivery now
	Reason    string           `json:"reason,omitempty"`     // why the status was entered, where somebody said
	ReadyAt   domain.Time      `json:"readyAt,omitzero"`     // when the food is to be ready, once accepted
	CookFor   *domain.Duration `json:"cookFor,omitempty"`    // the store's word on accepting
	Reserved  int              `json:"reserved,omitzero"`    // the attempt that the store has reserved for
	Delivered domain.Time      `json:"deliveredAt,omitzero"` // when; a refund is asked for within a while of it
	Wish      string           `json:"wish,omitempty"`       // what the customer wants instead of what came
	PhotoURL  string           `json:"photoUrl,omitempty"`   // of what came

	Deadline *Wait       `json:"deadline,omitempty"`
	PlacedAt domain.Time `json:"placedAt,omitzero"`
	Updated  domain.Time `json:"updatedAt,omitzero"`
	Timeline []Entry     `json:"timeline,omitempty"`
	Recent   []Answer    `json:"recent,omitempty"`
}

// Wait says until when an order waits in its status, and what happens then.
type Wait struct {
	At   domain.Time `json:"at"`
	Then string      `json:"then"`
}

// Entry is one transition of an order: all that its event carries beside what
// never changes about the order.
type Entry struct {
	Version int               `json:"version"`
	At      domain.Time       `json:"at"`
	Type    string            `json:"type"`
	Status  Status            `json:"status"`
	Attempt int               `json:"attempt,omitzero"` // 0 means 1
	CauseID string            `json:"causeId"`
	RiderID string            `json:"riderId,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Short   []domain.Shortage `json:"short,omitempty"`
}

// MaxTimeline is how many entries of a timeline are kept. It is more than twice
// as many as there are types in all attempts, see trim.
const MaxTimeline = 100

// trim forgets the oldest entry that tells nothing more: one with another of its
// type in its attempt before it, and one after it. What comes and goes without
// end, such as riders, keeps its beginning and its newest part, and what ever
// happened stays in the timeline. Versions have gaps then.
func (o *Order) trim() {
	for len(o.Timeline) > MaxTimeline {
		type kind struct {
			typ     string
			attempt int
		}
		left := map[kind]int{}
		of := func(e Entry) kind { return kind{e.Type, max(1, e.Attempt)} }
		for _, e := range o.Timeline {
			left[of(e)]++
		}
		seen := map[kind]bool{}
		i := slices.IndexFunc(o.Timeline, func(e Entry) bool {
			k := of(e)
			left[k]--
			again := seen[k] && left[k] > 0
			seen[k] = true
			return again
		})
		if i < 0 {
			return
		}
		o.Timeline = slices.Delete(o.Timeline, i, i+1)
	}
}

// Answer is what was decided about a command that made no transition.
type Answer struct {
	CommandID string      `json:"commandId"`
	Reason    string      `json:"reason,omitempty"` // why it was refused
	At        domain.Time `json:"at"`
}

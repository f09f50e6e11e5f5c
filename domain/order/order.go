package order

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	Note     string        `json:"note,omitempty"`  // for whoever cooks and brings it
	Phone    string        `json:"phone,omitempty"` // for the store and the rider who has it
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

	Short []domain.Shortage `json:"short,omitempty"` // what the store had too little of, where that ended it

	Deadline *Wait       `json:"deadline,omitempty"`
	PlacedAt domain.Time `json:"placedAt,omitzero"`
	Updated  domain.Time `json:"updatedAt,omitzero"`
	Timeline []Entry     `json:"timeline,omitempty"`
	Commands []Cause     `json:"commands,omitempty"` // those that made transitions
	Recent   []Answer    `json:"recent,omitempty"`

	Unheard string `json:"unheard,omitempty"` // the engine's note: who said what is not known to be acknowledged
}

// Spoken implements stream.Speaker: events are numbered by their versions.
func (o *Order) Spoken() (last int, note *string) { return o.Version, &o.Unheard }

// Again returns what was said for the versions from one on (0: none), as it is
// said when their messages come again. It is sent before what the message with
// this id causes; a message that comes again says the rest itself.
func (o *Order) Again(from int, id string) (out Out) {
	if from == 0 {
		return out
	}
	for i, e := range o.Timeline {
		if e.CauseID == id {
			break
		}
		if e.Version >= from {
			out.tell(o, i, true)
		}
	}
	return out
}

// Cause is a command that made transitions, from a version to a last one; the
// timeline has its id. What else is in the timeline came from the engine. A row
// is written with every transition: there a Cause is VERSION/LAST/MARK.
type Cause struct {
	Version int
	Last    int
	Mark    string // see domain.Name
}

// MarshalText implements encoding.TextMarshaler.
func (c Cause) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d/%d/%s", c.Version, c.Last, c.Mark), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Cause) UnmarshalText(b []byte) error {
	version, rest, _ := strings.Cut(string(b), "/")
	last, mark, _ := strings.Cut(rest, "/")
	from, err := strconv.Atoi(version)
	to, err2 := strconv.Atoi(last)
	*c = Cause{Version: from, Last: to, Mark: mark}
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("%q is no command of an order's row: %w", b, err)
	}
	return nil
}

func (c Cause) caused(e *Entry) bool { return c.Version <= e.Version && e.Version <= c.Last }

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
	ReadyAt domain.Time       `json:"readyAt,omitzero"` // of accepted and rescheduled
}

// MaxTimeline is how many entries of a timeline are kept. It is more than twice
// as many as there are types in all attempts, and what was postponed, see trim.
const MaxTimeline = 120

// trim forgets the oldest entry that tells nothing more: one with another of its
// type in its attempt before it, and one after it. What comes and goes without
// end, such as riders, keeps its beginning and its newest part, and what ever
// happened stays in the timeline. What a command caused stays, too: a repeat is
// known by it. Versions have gaps then.
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
			again := seen[k] && left[k] > 0 && !o.commanded(&e)
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
	Mark      string      `json:"mark,omitempty"` // see domain.Name
	At        domain.Time `json:"at"`
	Version   int         `json:"version,omitzero"` // of the order then
	domain.Refusal
}

func (a *Answer) about() (domain.Time, int) { return a.At, domain.RefusedBytes(a.CommandID, a.Reason) }

// Package projection counts for ever what orders come to: how often each food of
// a store was ordered and paid for. Orders are forgotten after some days, so this
// can't be read from them.
package projection

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"baedal/domain"
	"baedal/domain/order"
)

// Note types.
const (
	Eaten     = "eaten"     // of a food: an order of it is paid
	TakenOff  = "taken_off" // of a food: that order has ended, and is not paid for
	Forgotten = "forgotten" // of an order that was counted and has ended long ago
)

// Note is what the projections group tells itself under the key of a model.
type Note struct {
	domain.Meta
	Key      string `json:"key"`
	OrderID  string `json:"orderId"`
	Quantity int    `json:"quantity,omitzero"`
	Spot            // of a note to a food
}

// Spot is where on order-events an order was first seen as paid, or as ended
// unpaid for. A food's notes from one partition come in the order of their
// offsets, so an offset that is not above the last one has been counted. A topic
// that is made anew begins with offset 0 again: Topic tells those of one name apart.
type Spot struct {
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition,omitzero"`
	Offset    int64  `json:"offset,omitzero"`
}

// lane names the partition.
func (s Spot) lane() string {
	if s.Topic == "" {
		return strconv.Itoa(int(s.Partition))
	}
	return s.Topic + "/" + strconv.Itoa(int(s.Partition))
}

// What bounds the partitions that a food's row can tell apart: all of one topic,
// with ids as long as they may be, are below seenBytes.
const (
	maxPartitions = 10_000
	maxTopic      = 22 // bytes of a topic's id, as Kafka's tools spell it
	maxLane       = maxTopic + len(`"/9999":9223372036854775807,`)
	seenBytes     = maxPartitions * maxLane
)

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (n *Note) Validate() error {
	if err := cmp.Or(
		domain.CheckOneOf("type", n.Type, Eaten, TakenOff, Forgotten),
		domain.CheckMadeID(n.ID),
		domain.CheckText("key", n.Key, len(FoodKey("", ""))+2*domain.MaxID),
		domain.CheckID("orderId", n.OrderID),
	); err != nil {
		return err
	}
	switch {
	case n.Key == "":
		return domain.Wrong("key", "is missing")
	case n.Type != Forgotten && (n.Quantity < 1 || n.Quantity > domain.MaxLineQuantity):
		return domain.Wrong("quantity", fmt.Sprintf("must be from 1 to %d", domain.MaxLineQuantity))
	case n.Partition < 0 || n.Partition >= maxPartitions:
		return domain.Wrong("partition", fmt.Sprintf("must be from 0 to %d", maxPartitions-1))
	case len(n.Topic) > maxTopic || strings.ContainsFunc(n.Topic, notInTopic):
		return domain.Wrong("topic", fmt.Sprintf("must be at most %d letters, digits, - and _", maxTopic))
	case n.Offset < 0:
		return domain.Wrong("offset", "must not be negative")
	}
	return nil
}

// notInTopic reports whether a topic's id, which is base64, has no such rune.
func notInTopic(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// Names returns the key that the message itself claims.
func (n *Note) Names() string { return n.Key }

// Model is a row: of a food, or of an order that has been counted.
type Model struct {
	Key string `json:"key"`
	// Count and Quantity of a food: how many orders, how many pieces.
	Count    int64            `json:"count,omitzero"`
	Quantity int64            `json:"quantity,omitzero"`
	Seen     map[string]int64 `json:"seen,omitempty"` // the highest offset by the Spot's lane
	// Counted is where an order was first seen as paid, Off where it was first seen
	// as ended unpaid for, Ended when it came to an end.
	Counted *Spot       `json:"counted,omitempty"`
	Off     *Spot       `json:"off,omitempty"`
	Ended   domain.Time `json:"endedAt,omitzero"`
}

// FoodKey is the key of a store's food. No order's id has its slash.
func FoodKey(store, product string) string { return store + "/" + product }

// Food returns whose food a row counts; is is false for the row of an order.
func (m *Model) Food() (store, product string, is bool) { return strings.Cut(m.Key, "/") }

// unpaid reports whether an order that was paid has ended with the money given
// back, or never taken.
func unpaid(s order.Status) bool {
	switch s {
	case order.Cancelled, order.Rejected, order.DeliveryFailed, order.Refunded:
		return true
	}
	return false
}

// Event applies an event of an order to the order's row, and returns the notes for
// the foods that it is about: with where it was seen first, however often it is
// said. The row remembers both, and is not gone when the order ends: payments that
// crash and come back say `approved` again, and the order, as long as it has a row
// itself, says paid again. After a crash the end may also be said before paid is:
// such an order is not counted at all.
func (m *Model) Event(e *order.Event, at Spot) (notes []Note, changed bool) {
	if e.Type != string(e.Status) {
		return nil, false
	}
	switch {
	case e.Status == order.Paid:
		if m.Counted == nil {
			m.Counted, changed = &at, true
		}
		if m.Off != nil && *m.Off == *m.Counted {
			return nil, changed
		}
		return foods(e, Eaten, *m.Counted), changed
	case e.Status == order.RefusedStatus, e.Status == order.PaymentFailed, !e.Status.Final():
		return nil, false // never paid; or not over
	}
	if e.At > m.Ended {
		m.Ended, changed = e.At, true
	}
	if !unpaid(e.Status) {
		return nil, changed
	}
	if m.Off == nil {
		m.Off, changed = &at, true
		if m.Counted == nil {
			m.Counted = m.Off
		}
	}
	if *m.Off == *m.Counted {
		return nil, changed
	}
	return foods(e, TakenOff, *m.Off), changed
}

func foods(e *order.Event, kind string, at Spot) (all []Note) {
	for _, l := range e.Lines {
		key := FoodKey(e.StoreID, l.Product)
		all = append(all, Note{Meta: domain.Meta{Type: kind, ID: e.ID + "/" + key, At: e.At}, Key: key, OrderID: e.OrderID,
			Quantity: l.Quantity, Spot: at})
	}
	return all
}

// Forget returns when the row of an order is not needed any more, and the note
// that says so then. keep is how long the orders group keeps its row.
func (m *Model) Forget(keep time.Duration) (at domain.Time, n Note, ok bool) {
	if m.Ended == 0 {
		return 0, Note{}, false
	}
	at = m.Ended.Add(keep + time.Hour) // what is on its way arrives
	return at, Note{Meta: domain.Meta{Type: Forgotten, ID: m.Key + "/" + Forgotten, At: at}, Key: m.Key, OrderID: m.Key}, true
}

// Apply changes a food's row by a note and reports whether it has changed.
func (m *Model) Apply(n *Note) bool {
	if n.Type != Eaten && n.Type != TakenOff || !m.see(n.Spot) {
		return false
	}
	by := int64(1)
	if n.Type == TakenOff {
		by = -1
	}
	m.Count += by
	m.Quantity += by * int64(n.Quantity)
	return true
}

// see reports whether a spot was not counted yet, and notes it. When there is no
// room for another partition, those of the other topics are forgotten: they were
// made anew, and what is still said of them counts again.
func (m *Model) see(s Spot) bool {
	last, known := m.Seen[s.lane()]
	switch {
	case known && s.Offset <= last:
		return false
	case m.Seen == nil:
		m.Seen = map[string]int64{}
	case !known && (len(m.Seen)+1)*maxLane > seenBytes:
		maps.DeleteFunc(m.Seen, func(lane string, _ int64) bool {
			topic, _, made := strings.Cut(lane, "/")
			return made != (s.Topic != "") || made && topic != s.Topic
		})
	}
	m.Seen[s.lane()] = s.Offset
	return true
}

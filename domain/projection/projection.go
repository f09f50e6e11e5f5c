// Package projection re-keys what happens to orders: which orders a user has,
// which are open in a store, and how often a food is ordered. The orders
// themselves are not copied; who reads a model looks them up.
package projection

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"baedal/domain"
	"baedal/domain/order"
)

// Note types.
const (
	Ordered   = "ordered"   // of a user and of a store; of a store once more when it must decide on a refund
	Ended     = "ended"     // of a store
	Eaten     = "eaten"     // of a food: quantity more of it
	Forgotten = "forgotten" // of an order that was counted and has ended long ago
)

// Note is what the projections group tells itself under the key of a model.
type Note struct {
	domain.Meta
	Key      string `json:"key"`
	OrderID  string `json:"orderId"`
	Version  int    `json:"version,omitzero"` // of the order's event
	Quantity int    `json:"quantity,omitzero"`
	Spot            // of an Eaten note
}

// Spot is where on order-events an order was first seen as paid. A food's notes
// from one partition come in the order of their offsets, so an offset that is
// not above the last one has been counted. A topic that is made anew begins with
// offset 0 again: Topic tells those of one name apart.
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
		domain.CheckOneOf("type", n.Type, Ordered, Ended, Eaten, Forgotten),
		domain.CheckMadeID(n.ID),
		domain.CheckText("key", n.Key, len(StoreKey(""))+domain.MaxID),
		domain.CheckID("orderId", n.OrderID),
	); err != nil {
		return err
	}
	switch {
	case n.Key == "":
		return domain.Wrong("key", "is missing")
	case n.Type == Eaten && (n.Quantity < 1 || n.Quantity > domain.MaxLineQuantity):
		return domain.Wrong("quantity", fmt.Sprintf("must be from 1 to %d", domain.MaxLineQuantity))
	case n.Partition < 0 || n.Partition >= maxPartitions:
		return domain.Wrong("partition", fmt.Sprintf("must be from 0 to %d", maxPartitions-1))
	case len(n.Topic) > maxTopic || strings.ContainsFunc(n.Topic, notInTopic):
		return domain.Wrong("topic", fmt.Sprintf("must be at most %d letters, digits, - and _", maxTopic))
	case n.Offset < 0:
		return domain.Wrong("offset", "must not be negative")
	case n.Version < 0 || n.Version > domain.MaxCount:
		return domain.Wrong("version", fmt.Sprintf("must be from 0 to %d", domain.MaxCount))
	}
	return nil
}

// notInTopic reports whether a topic's id, which is base64, has no such rune.
func notInTopic(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

// Names returns the key that the message itself claims.
func (n *Note) Names() string { return n.Key }

// Ref is an order in a list, by the event that put it there. In a row it is
// written as order/milliseconds since 1970/version: lists are long and hot.
type Ref struct {
	OrderID string
	At      domain.Time
	Version int
}

// AppendText implements encoding.TextAppender.
func (r Ref) AppendText(b []byte) ([]byte, error) {
	b = append(append(b, r.OrderID...), '/')
	b = append(strconv.AppendInt(b, int64(r.At), 10), '/')
	return strconv.AppendInt(b, int64(r.Version), 10), nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return r.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ref) UnmarshalText(b []byte) error {
	front, version, ok := cutLast(string(b))
	id, at, ok2 := cutLast(front)
	if !ok || !ok2 {
		return fmt.Errorf("%q is not order/time/version", b)
	}
	ms, err := strconv.ParseInt(at, 10, 64)
	n, err2 := strconv.Atoi(version)
	*r = Ref{OrderID: id, At: domain.Time(ms), Version: n}
	return errors.Join(err, err2)
}

// cutLast cuts at the last slash: an id should have none, but nobody checks that
// of an event.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Model is a row of the read models: of a user, a store or a food by its key,
// or of an order that has been counted.
type Model struct {
	Key string `json:"key"`
	// Orders of a user (the newest Listed) or open in a store, oldest first.
	Orders []Ref `json:"orders,omitempty"`
	// Gone are the orders of a store that ended last: only a newer event
	// brings one back.
	Gone []Ref `json:"gone,omitempty"`
	// Count and Quantity of a food: how many orders, how many pieces.
	Count    int64            `json:"count,omitzero"`
	Quantity int64            `json:"quantity,omitzero"`
	Seen     map[string]int64 `json:"seen,omitempty"` // the highest offset by the Spot's lane
	// Counted is where an order was first seen as paid, Ended when it came to
	// an end.
	Counted *Spot       `json:"counted,omitempty"`
	Ended   domain.Time `json:"endedAt,omitzero"`
}

// Bounds of the lists.
const (
	Listed     = 100
	Remembered = 50
	// OpenBytes bounds the open orders of a store, as they are written: some
	// ten thousand with usual ids. Beyond it the oldest are not listed any more.
	OpenBytes = 500_000
)

// Keys of the models.
func UserKey(id string) string  { return "user/" + id }
func StoreKey(id string) string { return "store/" + id }
func FoodKey(id string) string  { return "food/" + id }

// FoodPrefix is what the keys of foods begin with.
const FoodPrefix = "food/"

// CountAt is called with an order's row when the order is paid. It returns where
// its foods are counted: where the event was first, however often it is sent.
func (m *Model) CountAt(at Spot) (first Spot, changed bool) {
	if m.Counted != nil {
		return *m.Counted, false
	}
	m.Counted = &at
	return at, true
}

// End is called with an order's row when the order has ended, and reports
// whether the row has changed. It is not gone by that: payments that crash and
// come back say `approved` again, and the order, as long as it has a row itself,
// says paid again. After a crash the end may also be said before paid is.
func (m *Model) End(e *order.Event) (changed bool) {
	if e.Status == order.RefusedStatus || e.Status == order.PaymentFailed || e.At <= m.Ended {
		return false // never paid; or known
	}
	m.Ended = e.At
	return true
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

// Notes returns what an event means for the models of others.
func Notes(e *order.Event) (all []Note) {
	note := func(typ, key string) {
		all = append(all, Note{Meta: domain.Meta{Type: typ, ID: e.ID + "/" + key, At: e.At}, Key: key, OrderID: e.OrderID, Version: e.Version})
	}
	switch {
	case e.Type == string(order.Placed):
		note(Ordered, UserKey(e.UserID))
		note(Ordered, StoreKey(e.StoreID))
	case e.Type == string(order.RefundRequested): // of a completed order, too
		note(Ordered, StoreKey(e.StoreID))
	case e.Type == string(e.Status) && e.Status.Final():
		note(Ended, StoreKey(e.StoreID))
	}
	return all
}

// Foods returns the notes for the foods of a paid order, by where it was first
// seen as paid.
func Foods(e *order.Event, first Spot) (all []Note) {
	for _, l := range e.Lines {
		key := FoodKey(l.Product)
		all = append(all, Note{Meta: domain.Meta{Type: Eaten, ID: e.ID + "/" + key, At: e.At}, Key: key, OrderID: e.OrderID,
			Quantity: l.Quantity, Spot: first})
	}
	return all
}

// newest returns the last of all that take no more than most bytes.
func newest(all []Ref, most int) []Ref {
	if len(all) <= most/maxRef {
		return all
	}
	sum := 0
	for i := len(all) - 1; i >= 0; i-- {
		if sum += domain.Written(all[i].OrderID) + refBytes; sum > most {
			return slices.Clone(all[i+1:])
		}
	}
	return all
}

// How many bytes a Ref takes when it is written, beside its order and at most.
const (
	refBytes = 30
	maxRef   = 2*domain.MaxID + refBytes
)

// Apply changes the model by a note and reports whether it has changed.
func (m *Model) Apply(n *Note) bool {
	ref := Ref{OrderID: n.OrderID, At: n.At, Version: n.Version}
	find := func(in []Ref) int { return slices.IndexFunc(in, func(r Ref) bool { return r.OrderID == n.OrderID }) }
	switch n.Type {
	case Ordered:
		if find(m.Orders) >= 0 {
			return false
		}
		if at := find(m.Gone); at >= 0 {
			if m.Gone[at].Version >= n.Version {
				return false
			}
			m.Gone = slices.Delete(m.Gone, at, at+1)
		}
		m.Orders = append(m.Orders, ref)
		if m.Key != "" && m.Key[0] == 'u' { // a store's list is as long as it has open orders
			m.Orders = slices.Clone(m.Orders[max(0, len(m.Orders)-Listed):])
		} else {
			m.Orders = newest(m.Orders, OpenBytes)
		}
	case Ended:
		if find(m.Gone) >= 0 {
			return false
		}
		if at := find(m.Orders); at >= 0 {
			if m.Orders[at].Version > n.Version {
				return false
			}
			m.Orders = slices.Delete(m.Orders, at, at+1)
		}
		m.Gone = append(m.Gone, ref)
		m.Gone = slices.Clone(m.Gone[max(0, len(m.Gone)-Remembered):])
	case Eaten:
		if !m.see(n.Spot) {
			return false
		}
		m.Count++
		m.Quantity += int64(n.Quantity)
	}
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

package projection_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/projection"
)

func event(orderID string, version int, typ string, status order.Status) *order.Event {
	return &order.Event{
		Meta:    domain.Meta{Type: typ, ID: fmt.Sprintf("%s/%d", orderID, version), At: domain.Time(1000 * version)},
		Version: version, OrderID: orderID, UserID: "u-1", StoreID: "s-1", Status: status,
		Lines: []domain.Line{{Product: "bibimbap", Quantity: 2}, {Product: "kimchi", Quantity: 1}},
	}
}

func entered(orderID string, version int, status order.Status) *order.Event {
	return event(orderID, version, string(status), status)
}

func at(offset int) projection.Spot { return projection.Spot{Offset: int64(offset)} }

// said are the notes of an event, by type and key.
func said(notes []projection.Note) (all []string) {
	for _, n := range notes {
		all = append(all, n.Type+" "+n.Key)
	}
	return all
}

// What each status means for the foods of an order that was paid.
func TestModel_Event(t *testing.T) {
	eaten := []string{"eaten s-1/bibimbap", "eaten s-1/kimchi"}
	off := []string{"taken_off s-1/bibimbap", "taken_off s-1/kimchi"}
	want := map[order.Status][]string{order.Paid: eaten,
		order.Cancelled: off, order.Rejected: off, order.DeliveryFailed: off, order.Refunded: off}
	for _, s := range order.Statuses {
		m := &projection.Model{Key: "o-1"}
		if s != order.Paid {
			m.Event(entered("o-1", 3, order.Paid), at(3))
		}
		e := entered("o-1", 7, s)
		notes, _ := m.Event(e, at(7))
		require.Equal(t, want[s], said(notes), s)
		for _, n := range notes {
			require.Equal(t, "o-1/7/"+n.Key, n.ID)
			require.Equal(t, e.At, n.At)
			require.Equal(t, n.Key, n.Names())
			require.NoError(t, n.Validate())
			require.NoError(t, n.CheckName())
			require.Equal(t, at(7), n.Spot)
		}
		again, changed := m.Event(e, at(9))
		require.Equal(t, notes, again, "where it was seen first")
		require.False(t, changed)
	}
	for _, typ := range []string{order.RiderAssigned, order.RiderLost, order.Delayed, order.Reminded, order.Stuck, order.Escalated} {
		for _, s := range order.Statuses {
			m := &projection.Model{}
			notes, changed := m.Event(event("o-1", 7, typ, s), at(7))
			require.Empty(t, notes, "%s while %s", typ, s)
			require.False(t, changed)
		}
	}
}

// An order that has ended unpaid for before paid was heard is not counted.
func TestModel_EndedFirst(t *testing.T) {
	m := &projection.Model{Key: "o-1"}
	notes, _ := m.Event(entered("o-1", 7, order.Cancelled), at(1))
	require.Empty(t, notes)
	notes, _ = m.Event(entered("o-1", 3, order.Paid), at(2))
	require.Empty(t, notes)

	m = &projection.Model{Key: "o-1"}
	m.Event(entered("o-1", 7, order.Completed), at(1))
	notes, _ = m.Event(entered("o-1", 3, order.Paid), at(2))
	require.Len(t, notes, 2, "completed is paid for")
}

func TestModel_UnknownNote(t *testing.T) {
	m := &projection.Model{Key: "s-1/bibimbap"}
	m.Apply(&projection.Note{Meta: domain.Meta{Type: "of a later version"}, OrderID: "o-1"})
	require.Equal(t, &projection.Model{Key: "s-1/bibimbap"}, m)
}

func TestModel_Food(t *testing.T) {
	store, product, is := (&projection.Model{Key: projection.FoodKey("s", "p")}).Food()
	require.Equal(t, []any{"s", "p", true}, []any{store, product, is})
	_, _, is = (&projection.Model{Key: "o-1"}).Food()
	require.False(t, is)
}

// An order-events that was made anew counts from 0 again: what is on it has not been counted.
func TestModel_TopicMadeAnew(t *testing.T) {
	food := &projection.Model{Key: projection.FoodKey("s-1", "bibimbap")}
	count := func(id, topic string, offset int64) {
		notes, _ := (&projection.Model{Key: id}).Event(entered(id, 3, order.Paid), projection.Spot{Topic: topic, Offset: offset})
		for _, n := range notes {
			if n.Key == food.Key {
				food.Apply(&n)
			}
		}
	}
	count("o-1", "x", 5)
	count("o-1", "x", 5)
	count("o-2", "y", 0)
	count("o-2", "y", 0)
	require.EqualValues(t, 2, food.Count)
}

// The orders group says paid again also behind the end of an order: payments that come back after a crash repeat their
// answer. Until the order's own row is gone, it must be known that it was counted.
func TestModel_RemembersWhatEnded(t *testing.T) {
	const keep = 72 * time.Hour
	m := &projection.Model{Key: "o-1"}
	ends := func(when domain.Time, as order.Status) bool {
		_, changed := m.Event(&order.Event{Meta: domain.Meta{Type: string(as), At: when}, Status: as}, at(9))
		return changed
	}
	require.False(t, ends(1000, order.RefusedStatus), "never paid")
	require.False(t, ends(1000, order.PaymentFailed), "never paid")
	_, _, ok := m.Forget(keep)
	require.False(t, ok)

	require.True(t, ends(1000, order.Completed), "also before paid is heard")
	require.False(t, ends(1000, order.Completed), "again")
	require.True(t, ends(5000, order.Refunded), "completed, and refunded later")
	require.False(t, ends(1000, order.Completed))

	due, n, ok := m.Forget(keep)
	require.True(t, ok)
	require.Equal(t, domain.Time(5000).Add(keep+time.Hour), due)
	require.Equal(t, projection.Note{Meta: domain.Meta{Type: projection.Forgotten, ID: "o-1/forgotten", At: due}, Key: "o-1", OrderID: "o-1"}, n)
}

// Foods are counted once for each order that is paid and has not ended unpaid for, however often and from wherever the
// group handles its input again: it goes on from any earlier offset, and its notes to itself may be read again from any
// earlier offset too.
func TestFoods_CountedOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 3
		food := &projection.Model{Key: projection.FoodKey("s-1", "bibimbap")}
		orders := map[string]*projection.Model{}
		logs := make([][]*order.Event, partitions) // order-events
		var loop []projection.Note                 // projections-loop, the food's partition
		read := 0                                  // how far it is read
		handled := make([]int, partitions)
		paid, lost := map[string]bool{}, map[string]bool{}

		handle := func(p, offset int) {
			e := logs[p][offset]
			m := orders[e.OrderID]
			if m == nil {
				m = &projection.Model{Key: e.OrderID}
				orders[e.OrderID] = m
			}
			notes, _ := m.Event(e, projection.Spot{Partition: int32(p), Offset: int64(offset)})
			for _, n := range notes {
				if n.Key == food.Key {
					loop = append(loop, n)
				}
			}
		}
		drawn := func(rt *rapid.T) (int, string) {
			p := rapid.IntRange(0, partitions-1).Draw(rt, "partition")
			return p, fmt.Sprintf("o-%d-%d", p, rapid.IntRange(0, 9).Draw(rt, "order"))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"order is paid, maybe said before, also behind its end": func(rt *rapid.T) {
				p, id := drawn(rt)
				paid[id] = true
				logs[p] = append(logs[p], entered(id, 3, order.Paid))
			},
			"order ends unpaid for": func(rt *rapid.T) {
				p, id := drawn(rt)
				lost[id] = true
				end := rapid.SampledFrom([]order.Status{order.Cancelled, order.Rejected, order.DeliveryFailed, order.Refunded}).Draw(rt, "end")
				logs[p] = append(logs[p], entered(id, 9, end))
			},
			"order completes": func(rt *rapid.T) {
				p, id := drawn(rt)
				logs[p] = append(logs[p], entered(id, 8, order.Completed))
			},
			"events are handled": func(rt *rapid.T) {
				p := rapid.IntRange(0, partitions-1).Draw(rt, "partition")
				for ; handled[p] < len(logs[p]); handled[p]++ {
					handle(p, handled[p])
				}
			},
			"events are handled again": func(rt *rapid.T) {
				p := rapid.IntRange(0, partitions-1).Draw(rt, "partition")
				handled[p] = rapid.IntRange(0, handled[p]).Draw(rt, "from")
			},
			"notes are handled": func(*rapid.T) {
				for ; read < len(loop); read++ {
					food.Apply(&loop[read])
				}
			},
			"notes are handled again": func(rt *rapid.T) { read = rapid.IntRange(0, read).Draw(rt, "from") },
		})
		for p := range logs {
			for ; handled[p] < len(logs[p]); handled[p]++ {
				handle(p, handled[p])
			}
		}
		for ; read < len(loop); read++ {
			food.Apply(&loop[read])
		}
		want := 0
		for id := range paid {
			if !lost[id] {
				want++
			}
		}
		if int(food.Count) != want || int(food.Quantity) != 2*want {
			rt.Fatalf("%d orders are paid for, but %d of them with %d pieces are counted", want, food.Count, food.Quantity)
		}
	})
}

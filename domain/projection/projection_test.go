package projection_test

import (
	"fmt"
	"slices"
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

func ids(refs []projection.Ref) (all []string) {
	for _, r := range refs {
		all = append(all, r.OrderID)
	}
	return all
}

func TestNotes(t *testing.T) {
	const user, store = "ordered user/u-1", "ordered store/s-1"
	want := map[order.Status][]string{order.Placed: {user, store}, order.RefundRequested: {store}}
	for _, s := range order.Statuses {
		if s.Final() {
			want[s] = []string{"ended store/s-1"}
		}
		var got []string
		e := entered("o-1", 7, s)
		for _, n := range projection.Notes(e) {
			got = append(got, n.Type+" "+n.Key)
			require.Equal(t, "o-1/7/"+n.Key, n.ID)
			require.Equal(t, e.At, n.At)
			require.Equal(t, 7, n.Version)
			require.Equal(t, n.Key, n.Names())
		}
		require.Equal(t, want[s], got, s)
	}
	for _, typ := range []string{order.RiderAssigned, order.RiderLost, order.Delayed, order.Reminded, order.Stuck, order.Escalated} {
		for _, s := range order.Statuses {
			require.Empty(t, projection.Notes(event("o-1", 7, typ, s)), "%s while %s", typ, s)
		}
	}
}

func TestModel_User(t *testing.T) {
	m := &projection.Model{Key: projection.UserKey("u-1")}
	note := func(i int) *projection.Note {
		return &projection.Notes(entered(fmt.Sprintf("o-%03d", i), 1, order.Placed))[0]
	}
	for i := range projection.Listed + 5 {
		require.True(t, m.Apply(note(i)))
		require.False(t, m.Apply(note(i)), "again")
	}
	require.Len(t, m.Orders, projection.Listed)
	require.Equal(t, "o-005", m.Orders[0].OrderID, "the newest stay")
	require.Equal(t, "o-104", m.Orders[projection.Listed-1].OrderID)
}

func TestModel_Store(t *testing.T) {
	m := &projection.Model{Key: projection.StoreKey("s-1")}
	apply := func(e *order.Event) bool {
		changed := false
		for _, n := range projection.Notes(e) {
			if n.Key == m.Key {
				changed = m.Apply(&n)
			}
		}
		return changed
	}
	require.True(t, apply(entered("o-1", 1, order.Placed)))
	require.True(t, apply(entered("o-2", 1, order.Placed)))
	require.True(t, apply(entered("o-1", 9, order.Completed)))
	require.Equal(t, []string{"o-2"}, ids(m.Orders))
	require.False(t, apply(entered("o-1", 1, order.Placed)), "a repeat of what is over")
	require.False(t, apply(entered("o-1", 9, order.Completed)))

	require.True(t, apply(entered("o-1", 10, order.RefundRequested)))
	require.Equal(t, []string{"o-2", "o-1"}, ids(m.Orders))
	require.Empty(t, m.Gone)
	require.False(t, apply(entered("o-1", 9, order.Completed)), "a repeat from before the complaint")
	require.False(t, apply(entered("o-1", 1, order.Placed)))
	require.True(t, apply(entered("o-1", 11, order.Refunded)))
	require.False(t, apply(entered("o-1", 10, order.RefundRequested)))
	require.Equal(t, []string{"o-2"}, ids(m.Orders))

	// A store has as many open orders as it has, and remembers some that ended.
	for i := range 2 * projection.Listed {
		apply(entered(fmt.Sprintf("x-%d", i), 1, order.Placed))
	}
	require.Len(t, m.Orders, 2*projection.Listed+1)
	for i := range 2 * projection.Listed {
		apply(entered(fmt.Sprintf("x-%d", i), 2, order.Rejected))
	}
	require.Equal(t, []string{"o-2"}, ids(m.Orders))
	require.Len(t, m.Gone, projection.Remembered)
}

// The two loop messages of an order go to one key, but after a crash an old one may come behind a new one.
func TestModel_EndedFirst(t *testing.T) {
	m := &projection.Model{Key: projection.StoreKey("s-1")}
	require.True(t, m.Apply(&projection.Note{Meta: domain.Meta{Type: projection.Ended}, OrderID: "o-1", Version: 5}))
	require.False(t, m.Apply(&projection.Note{Meta: domain.Meta{Type: projection.Ordered}, OrderID: "o-1", Version: 1}))
	require.Empty(t, m.Orders)
}

func TestModel_UnknownNote(t *testing.T) {
	m := &projection.Model{Key: "store/s-1"}
	m.Apply(&projection.Note{Meta: domain.Meta{Type: "of a later version"}, OrderID: "o-1"})
	require.Equal(t, &projection.Model{Key: "store/s-1"}, m)
}

func TestModel_CountAt(t *testing.T) {
	m := &projection.Model{}
	first, changed := m.CountAt(at(0))
	require.True(t, changed)
	require.Zero(t, first)
	first, changed = m.CountAt(at(17))
	require.False(t, changed)
	require.Zero(t, first, "the first time counts")
}

func at(offset int) projection.Spot { return projection.Spot{Offset: int64(offset)} }

// An order-events that was made anew counts from 0 again: what is on it has not been counted.
func TestModel_TopicMadeAnew(t *testing.T) {
	food := &projection.Model{Key: projection.FoodKey("bibimbap")}
	count := func(order, topic string, offset int64) {
		e := entered(order, 3, "paid")
		for _, n := range projection.Foods(e, projection.Spot{Topic: topic, Offset: offset}) {
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
	ends := func(at domain.Time, as order.Status) bool {
		return m.End(&order.Event{Meta: domain.Meta{At: at}, Status: as})
	}
	require.False(t, ends(1000, order.RefusedStatus), "never paid")
	require.False(t, ends(1000, order.PaymentFailed), "never paid")
	_, _, ok := m.Forget(keep)
	require.False(t, ok)

	require.True(t, ends(1000, order.Completed), "also before paid is heard")
	require.False(t, ends(1000, order.Completed), "again")
	require.True(t, ends(5000, order.Refunded), "completed, and refunded later")
	require.False(t, ends(1000, order.Completed))
	m.CountAt(at(4))
	first, changed := m.CountAt(at(12))
	require.False(t, changed)
	require.Equal(t, at(4), first)

	at, n, ok := m.Forget(keep)
	require.True(t, ok)
	require.Equal(t, domain.Time(5000).Add(keep+time.Hour), at)
	require.Equal(t, projection.Note{Meta: domain.Meta{Type: projection.Forgotten, ID: "o-1/forgotten", At: at}, Key: "o-1", OrderID: "o-1"}, n)
}

// Foods are counted once for each paid order, however often and from wherever the group handles its input again: it goes on
// from any earlier offset, and its notes to itself may be read again from any earlier offset too.
func TestFoods_CountedOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 3
		food := &projection.Model{Key: projection.FoodKey("bibimbap")}
		orders := map[string]*projection.Model{}
		logs := make([][]*order.Event, partitions) // order-events
		var loop []projection.Note                 // projections-loop, the food's partition
		read := 0                                  // how far it is read
		handled := make([]int, partitions)
		paid := map[string]bool{}

		handle := func(p, offset int) {
			e := logs[p][offset]
			m := orders[e.OrderID]
			if m == nil {
				m = &projection.Model{Key: e.OrderID}
				orders[e.OrderID] = m
			}
			at, _ := m.CountAt(projection.Spot{Partition: int32(p), Offset: int64(offset)})
			for _, n := range projection.Foods(e, at) {
				if n.Key == food.Key {
					loop = append(loop, n)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"order is paid, maybe said before": func(rt *rapid.T) {
				p := rapid.IntRange(0, partitions-1).Draw(rt, "partition")
				id := fmt.Sprintf("o-%d-%d", p, rapid.IntRange(0, 9).Draw(rt, "order"))
				paid[id] = true
				logs[p] = append(logs[p], entered(id, 3, order.Paid))
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
		if int(food.Count) != len(paid) || int(food.Quantity) != 2*len(paid) {
			rt.Fatalf("%d orders are paid, but %d of them with %d pieces are counted", len(paid), food.Count, food.Quantity)
		}
	})
}

// The board is what the newest event of each order says, in whatever order old ones are repeated in between.
func TestModel_Board(t *testing.T) {
	life := []*order.Event{entered("o", 1, order.Placed), entered("o", 8, order.Completed), entered("o", 9, order.RefundRequested), entered("o", 12, order.RefundDenied)}
	rapid.Check(t, func(rt *rapid.T) {
		m := &projection.Model{Key: projection.StoreKey("s-1")}
		for known := range life {
			for _, at := range append(rapid.SliceOfN(rapid.IntRange(0, known), 0, 6).Draw(rt, "repeats"), known) {
				if at > 0 && at == known { // the one before has been there at least once
					apply(m, life[at-1])
				}
				apply(m, life[at])
			}
			open := life[known].Type != string(order.Completed) && life[known].Type != string(order.RefundDenied)
			if slices.Contains(ids(m.Orders), "o") != open {
				rt.Fatalf("after %s: on the board %v", life[known].Type, !open)
			}
		}
	})
}

func apply(m *projection.Model, e *order.Event) {
	for _, n := range projection.Notes(e) {
		if n.Key == m.Key {
			m.Apply(&n)
		}
	}
}

func TestRef(t *testing.T) {
	for _, r := range []projection.Ref{{}, {OrderID: "o-1", At: 1_767_355_200_123, Version: 10}, {OrderID: "주문 \"1\"", At: -1}, {OrderID: "a/b/1", At: 1}} {
		b, err := r.MarshalText()
		require.NoError(t, err)
		var back projection.Ref
		require.NoError(t, back.UnmarshalText(b))
		require.Equal(t, r, back)
	}
	for _, wrong := range []string{"", "o", "o/1", "o/x/1", "o/1/x"} {
		require.Error(t, new(projection.Ref).UnmarshalText([]byte(wrong)), wrong)
	}
}

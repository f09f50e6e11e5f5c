package views_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/stock"
	"baedal/topics"
	"baedal/views"
)

const noon = domain.Time(1_767_225_600_000)

func newOrders(t *testing.T) *views.Memory[order.Order] {
	t.Helper()
	m, err := views.NewMemory("orders", topics.New("", 4).OrdersTable, views.OrderIndexes...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// orderOf returns an order whose version is that of its status.
func orderOf(n int, user, store string, status order.Status) *order.Order {
	return &order.Order{ID: fmt.Sprintf("o-%03d", n), UserID: user, StoreID: store, Status: status, Version: 1 + slices.Index(order.Statuses, status), PlacedAt: noon + domain.Time(n)}
}

// scan returns the keys of a group.
func scan[R any](t *testing.T, v *views.View[R], index, group string, after views.Entry, limit int) (keys []string, last views.Entry) {
	t.Helper()
	require.NoError(t, v.Scan(index, group, after, func(at views.Entry, key string, row *R) bool {
		require.NotNil(t, row)
		require.Equal(t, key, at.Key)
		keys, last = append(keys, key), at
		return len(keys) != limit
	}))
	return keys, last
}

func TestView_Scan(t *testing.T) {
	m := newOrders(t)
	for n := range 20 {
		o := orderOf(n, fmt.Sprint("u-", n%2), "s-1", order.Placed)
		require.NoError(t, m.Put(o.ID, o))
	}
	keys, last := scan(t, m.View, "user", "u-1", views.Entry{}, 3)
	require.Equal(t, []string{"o-019", "o-017", "o-015"}, keys, "newest first")
	o := orderOf(21, "u-1", "s-1", order.Placed)
	require.NoError(t, m.Put(o.ID, o))
	keys, _ = scan(t, m.View, "user", "u-1", last, 2)
	require.Equal(t, []string{"o-013", "o-011"}, keys, "a page goes on behind its entry, whatever comes before")
}

func put(t *testing.T, m *views.Memory[order.Order], orders ...*order.Order) {
	t.Helper()
	for _, o := range orders {
		require.NoError(t, m.Put(o.ID, o))
	}
}

func later(version int, o *order.Order) *order.Order {
	o.Version = version
	return o
}

// said returns KEY for a row that changed in the group, -KEY for one that left
// it, --KEY for one that is gone.
func said(t *testing.T, v *views.View[order.Order], index, group string, since views.Cursor) ([]string, views.Cursor) {
	t.Helper()
	changes, next, err := v.Changes(index, group, since)
	require.NoError(t, err)
	out := []string{}
	for _, c := range changes {
		switch {
		case c.Row == nil:
			require.False(t, c.In)
			out = append(out, "--"+c.Key)
		case !c.In:
			out = append(out, "-"+c.Key)
		default:
			out = append(out, c.Key)
		}
	}
	return out, next
}

func TestView_Lists(t *testing.T) {
	m := newOrders(t)
	for n := range 40 {
		put(t, m, orderOf(n, fmt.Sprint("u-", n%2), fmt.Sprint("s-", n%3), order.Paid))
	}
	put(t, m, orderOf(3, "u-1", "s-0", order.Completed), &order.Order{ID: "refused", Recent: []order.Answer{{CommandID: "c", Refusal: domain.Refuse(domain.CodeRefused, "no")}}})
	require.NoError(t, m.Put("o-006", nil))
	far := orderOf(9, "u-1", "s-0", order.PickedUp)
	far.RiderID, far.Store = "r-1", &stock.Store{Area: "gangnam"}
	put(t, m, far)
	for range 2 {
		all, _ := scan(t, m.View, "time", "", views.Entry{}, 100)
		require.Len(t, all, 39, "refusals are no orders")
		require.Equal(t, "o-039", all[0])
		store, _ := scan(t, m.View, "store", "s-0", views.Entry{}, 100)
		require.Len(t, store, 13)
		board, _ := scan(t, m.View, "board", "s-0", views.Entry{}, 100)
		require.Len(t, board, 12)
		require.NotContains(t, board, "o-003")
		over, _ := scan(t, m.View, "storeOver", "s-0\x00completed", views.Entry{}, 100)
		require.Equal(t, []string{"o-003"}, over)
		for index, group := range map[string]string{"status": string(order.PickedUp), "rider": "r-1", "area": "gangnam"} {
			found, _ := scan(t, m.View, index, group, views.Entry{}, 100)
			require.Equal(t, []string{"o-009"}, found, index)
		}
		var users []string
		require.NoError(t, m.Groups("user", "u", func(g string) bool { users = append(users, g); return true }))
		require.Equal(t, []string{"u-0", "u-1"}, users)
		var states []string
		require.NoError(t, m.Groups("status", "p", func(g string) bool { states = append(states, g); return true }))
		require.Equal(t, []string{"paid", "picked_up"}, states)

		var pages []string
		for last, keys := (views.Entry{}), []string(nil); ; {
			if keys, last = scan(t, m.View, "time", "", last, 7); len(keys) == 0 {
				break
			}
			pages = append(pages, keys...)
		}
		require.Equal(t, all, pages)
		require.NoError(t, m.Restart())
	}
	require.ErrorContains(t, m.Scan("colour", "", views.Entry{}, nil), "no index")
	_, _, err := m.Changes("time", "", m.Cursor())
	require.ErrorContains(t, err, "keeps no feed")
}

// A row that is written without another version is no change, but for who reads it.
func TestView_ChangesGoByVersion(t *testing.T) {
	m := newOrders(t)
	paid := orderOf(1, "u-1", "s-1", order.Paid)
	put(t, m, paid)
	seen := m.Cursor()
	woken, stop := m.Watch("board", "s-1")
	defer stop()
	again := *paid
	again.Reason = "it remembers something"
	put(t, m, &again)
	board, next := said(t, m.View, "board", "s-1", seen)
	require.Empty(t, board)
	require.True(t, next.Reaches(m.Cursor()))
	require.False(t, seen.Reaches(next))
	require.Empty(t, woken)
	row, err := m.Get("o-001")
	require.NoError(t, err)
	require.Equal(t, again.Reason, row.Reason)

	put(t, m, orderOf(1, "u-1", "s-1", order.Cooking))
	board, _ = said(t, m.View, "board", "s-1", seen)
	require.Equal(t, []string{"o-001"}, board)
	require.NotEmpty(t, woken)
}

func TestView_Changes(t *testing.T) {
	m := newOrders(t)
	begin := m.Cursor()
	put(t, m, orderOf(1, "u-1", "s-1", order.Paid), orderOf(2, "u-1", "s-1", order.Paid), orderOf(3, "u-1", "s-2", order.Paid))
	board, seen := said(t, m.View, "board", "s-1", begin)
	require.ElementsMatch(t, []string{"o-001", "o-002"}, board, "from the first record on, all is known")
	again, same := said(t, m.View, "board", "s-1", seen)
	require.Empty(t, again)
	require.Equal(t, seen, same)

	parsed, err := views.ParseCursor(seen.String())
	require.NoError(t, err)
	require.True(t, seen.Equal(parsed))

	put(t, m, later(2, orderOf(2, "u-1", "s-1", order.Cooking)), later(2, orderOf(1, "u-1", "s-1", order.Completed)), later(3, orderOf(2, "u-1", "s-1", order.PickedUp)),
		orderOf(4, "u-2", "s-1", order.Paid), orderOf(5, "u-2", "s-1", order.Paid))
	require.NoError(t, m.Put("o-005", nil))
	for _, restarted := range []bool{false, true} {
		if restarted {
			require.NoError(t, m.Restart())
		}
		board, next := said(t, m.View, "board", "s-1", parsed)
		require.ElementsMatch(t, []string{"-o-001", "o-002", "o-004", "--o-005"}, board, "each once")
		user, _ := said(t, m.View, "user", "u-1", parsed)
		require.ElementsMatch(t, []string{"o-001", "o-002"}, user)
		require.False(t, next.Equal(parsed))
		_, err = views.ParseCursor(next.String() + "!")
		require.Error(t, err)
	}

	_, _, err = m.Changes("board", "s-1", views.Cursor{})
	require.ErrorIs(t, err, views.ErrGap)
	other, err := views.NewMemory("orders", topics.New("", 3).OrdersTable, views.OrderIndexes...)
	require.NoError(t, err)
	defer other.Close()
	_, _, err = m.Changes("board", "s-1", other.Cursor())
	require.ErrorIs(t, err, views.ErrGap, "of a topic with other partitions")
}

// A cursor of an instance that is ahead waits for this one, and loses nothing.
func TestView_ChangesOfOneThatIsBehind(t *testing.T) {
	ahead, behind := newOrders(t), newOrders(t)
	var log []*order.Order
	for n := range 20 {
		log = append(log, orderOf(n%5, "u-1", "s-1", order.Paid))
		log[n].Version = n + 1
	}
	put(t, ahead, log[:12]...)
	put(t, behind, log[:4]...)
	_, cursor := said(t, ahead.View, "user", "u-1", behind.Cursor())
	for _, o := range log[4:12] {
		put(t, behind, o)
		changes, next, err := behind.Changes("user", "u-1", cursor)
		require.NoError(t, err)
		require.Empty(t, changes)
		require.Equal(t, cursor, next, "it never goes back")
	}
	put(t, behind, log[12:]...)
	got, _ := said(t, behind.View, "user", "u-1", cursor)
	put(t, ahead, log[12:]...)
	want, _ := said(t, ahead.View, "user", "u-1", cursor)
	require.ElementsMatch(t, want, got)
	require.Len(t, got, 5)
}

func woken(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestView_Watch(t *testing.T) {
	m := newOrders(t)
	board, stopBoard := m.Watch("board", "s-1")
	other, stopOther := m.Watch("board", "s-2")
	row, stopRow := m.WatchKey("o-001")
	defer stopOther()
	put(t, m, orderOf(1, "u-1", "s-1", order.Paid), orderOf(1, "u-1", "s-1", order.Cooking))
	require.True(t, woken(board))
	require.False(t, woken(board), "one wake-up for both")
	require.True(t, woken(row))
	require.False(t, woken(other))
	put(t, m, orderOf(1, "u-1", "s-1", order.Completed))
	require.True(t, woken(board), "it has left")
	put(t, m, orderOf(1, "u-1", "s-1", order.Refunded))
	require.False(t, woken(board))
	stopBoard()
	stopRow()
	stopBoard()
	put(t, m, orderOf(1, "u-1", "s-1", order.Paid))
	require.False(t, woken(board))
}

// Whoever is woken sees what woke them, in the feed as in the list.
func TestView_NoChangeIsMissed(t *testing.T) {
	m := newOrders(t)
	const orders, changes = 20, 2000
	var readers sync.WaitGroup
	for r := range 3 {
		wake, stop := m.Watch("user", "u-1")
		cursor := m.Cursor()
		readers.Go(func() {
			defer stop()
			versions, last := map[string]int{}, map[string]int{}
			for done := 0; done < orders; {
				select {
				case <-wake:
				case <-time.After(20 * time.Second):
					t.Error("a wake-up was lost")
					return
				}
				all, next, err := m.Changes("user", "u-1", cursor)
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range all {
					if c.Row.Version < versions[c.Key] {
						t.Errorf("%s went back from version %d to %d", c.Key, versions[c.Key], c.Row.Version)
					}
					if versions[c.Key] = c.Row.Version; c.Row.Version == changes/orders && last[c.Key] == 0 {
						last[c.Key] = 1
						done++
					}
				}
				if cursor = next; r == 0 {
					n := 0
					if err := m.Scan("user", "u-1", views.Entry{}, func(_ views.Entry, key string, row *order.Order) bool {
						if n++; row.Version < versions[key] {
							t.Errorf("the list has %s in version %d after %d", key, row.Version, versions[key])
						}
						return true
					}); err != nil || n < len(versions) {
						t.Error(n, err)
					}
				}
			}
		})
	}
	for version := 1; version <= changes/orders; version++ {
		for n := range orders {
			o := orderOf(n, "u-1", "s-1", order.Paid)
			o.Version = version
			put(t, m, o)
		}
	}
	readers.Wait()
}

// The cache shows what the storage shows, whoever reads and writes.
func TestView_CacheIsNeverBehind(t *testing.T) {
	m := newOrders(t)
	put(t, m, orderOf(1, "u-1", "s-1", order.Paid))
	first, err := m.Get("o-001")
	require.NoError(t, err)
	again, err := m.Get("o-001")
	require.NoError(t, err)
	require.Same(t, first, again, "a hot row is not decoded again")

	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Int64
	written.Store(1)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				least := written.Load()
				row, err := m.Get("o-001")
				if err != nil || int64(row.Version) < least {
					t.Error(row, least, err)
					return
				}
			}
		})
	}
	for version := 2; version < 3000; version++ {
		o := orderOf(1, "u-1", "s-1", order.Paid)
		o.Version = version
		put(t, m, o)
		written.Store(int64(version))
	}
	stop()
	readers.Wait()
}

func TestMessages(t *testing.T) {
	m, log, err := views.NewMemoryMessages("messages", topics.New("", 3).MessageLog)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, log.Close()) })
	tell := func(recipient string, n int) {
		require.NoError(t, log.Put(recipient, &notification.Notification{Meta: domain.Meta{ID: fmt.Sprintf("o-1/%d/customer", n), Type: "paid", At: noon + domain.Time(n)},
			Recipient: recipient, Audience: notification.Customer, OrderID: "o-1", Status: "paid", Message: "m"}))
	}
	list := func(after views.Entry, limit int) (ids []string, last views.Entry) {
		require.NoError(t, m.Scan("recipient", "u-1", after, func(at views.Entry, _ string, n *notification.Notification) bool {
			ids, last = append(ids, n.ID), at
			return len(ids) != limit
		}))
		return ids, last
	}
	wake, stop := m.Watch("recipient", "u-1")
	defer stop()
	const many = 1500
	for n := 1; n <= many; n++ {
		tell("u-1", n)
		tell("u-2", n)
	}
	require.True(t, woken(wake))
	whole, _ := list(views.Entry{}, -1)
	require.Len(t, whole, many)
	require.Equal(t, "o-1/1500/customer", whole[0])
	page, last := list(views.Entry{}, 2)
	tell("u-1", many+1)
	next, _ := list(last, 2)
	require.Equal(t, []string{"o-1/1500/customer", "o-1/1499/customer", "o-1/1498/customer", "o-1/1497/customer"}, append(page, next...))

	seen := m.Cursor()
	require.NoError(t, log.Restart())
	tell("u-1", many+1) // comes again, which changes nothing
	tell("u-1", many+2)
	tell("u-2", many+2)
	changes, _, err := m.Changes("recipient", "u-1", seen)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, "o-1/1502/customer", changes[0].Row.ID)
	whole, _ = list(views.Entry{}, -1)
	require.Len(t, whole, many+2)
	all, err := m.Get("u-1")
	require.NoError(t, err)
	require.Len(t, all.Messages, many+2)
}

func TestParseCursor(t *testing.T) {
	zero, err := views.ParseCursor("")
	require.NoError(t, err)
	require.True(t, zero.IsZero())
	for _, bad := range []string{"x", "!!", "AAAAAAAAAAA", "AAAAAAAAAAD_", "AAAAAAAAAAD___________8B"} {
		_, err := views.ParseCursor(bad)
		require.Error(t, err, bad)
	}
	c := newOrders(t).Cursor()
	require.Regexp(t, `^[A-Za-z0-9_-]+$`, c.String())
}

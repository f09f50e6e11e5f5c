package views_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/order"
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

func orderOf(n int, user, store string, status order.Status) *order.Order {
	return &order.Order{ID: fmt.Sprintf("o-%03d", n), UserID: user, StoreID: store, Status: status, Version: 1, PlacedAt: noon + domain.Time(n)}
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

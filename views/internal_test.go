package views

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain/order"
	"baedal/domain/stock"
)

// The indexes see the same in a brief row as in a whole one.
func TestBriefOrder(t *testing.T) {
	for _, o := range []*order.Order{
		{ID: "o-1", Recent: []order.Answer{{CommandID: "c"}}},
		{ID: "o-1", Status: order.Placed, Version: 1, UserID: "u-1", StoreID: "s-1", PlacedAt: 5},
		{ID: "o-1", Status: order.PickedUp, Version: 7, UserID: "u-1", StoreID: "s-1", RiderID: "r-1", PlacedAt: 1_767_225_600_000, Store: &stock.Store{Name: "Mine", Area: "a-1"}},
		{ID: "o-1", Status: order.Completed, Version: 9, UserID: "u-1", StoreID: "s-1", RiderID: "r-1", PlacedAt: 1_767_225_600_000, Store: &stock.Store{Area: "a-1"}},
	} {
		data, err := codecs.Marshal(o)
		require.NoError(t, err)
		brief, err := briefOrder(data)
		require.NoError(t, err)
		for _, ix := range OrderIndexes {
			require.Equal(t, ix.Of("o-1", o), ix.Of("o-1", brief), ix.Name)
			if ix.Mark != nil {
				require.Equal(t, ix.Mark(o), ix.Mark(brief), ix.Name)
			}
		}
	}
	_, err := briefOrder([]byte("null"))
	require.Error(t, err)
}

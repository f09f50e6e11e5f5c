package views

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// The indexes see the same in a brief row as in a whole one.
func TestBrief(t *testing.T) {
	sameBriefly(t, OrderIndexes, briefOrder, map[string][]*order.Order{"o-1": {
		{ID: "o-1", Recent: []order.Answer{{CommandID: "c"}}},
		{ID: "o-1", Status: order.Placed, Version: 1, UserID: "u-1", StoreID: "s-1", PlacedAt: 5},
		{ID: "o-1", Status: order.PickedUp, Version: 7, UserID: "u-\"1\u2028", StoreID: "s-1", RiderID: "r-1", PlacedAt: 1_767_225_600_000, Store: &stock.Store{Name: "Mine", Area: "a-1"}},
		{ID: "o-1", Status: order.Completed, Version: 9, UserID: "u-1", StoreID: "s-1", RiderID: "r-1", PlacedAt: 1_767_225_600_000, Store: &stock.Store{Area: "a-1"}},
	}})
	sameBriefly(t, RiderIndexes, briefRider, map[string][]*rider.Rider{"r-1": {
		{ID: "r-1"},
		{ID: "r-1", Area: "a-1"},
		{ID: "r-1", Area: "a-1", On: true, DeliveredCount: 7},
	}})
	sameBriefly(t, StoreIndexes, briefInventory, map[string][]*stock.Inventory{"s-1": {
		{StoreID: "s-1"},
		{StoreID: "s-1", Store: &stock.Store{Name: "Mine", Area: "a-1"}},
	}})
	sameBriefly(t, AreaIndexes, briefDispatch, map[string][]*dispatch.Area{"a-1": {{ID: "a-1", Version: 3}}})
	sameBriefly(t, FoodIndexes, briefModel, map[string][]*projection.Model{
		"s-1/p-1": {{Key: "s-1/p-1", Count: 5}},
		"o-1":     {{Key: "o-1", Ended: 7}},
	})
	sameBriefly(t, []Index[notification.Notification]{ByRecipient}, briefMessage, map[string][]*notification.Notification{
		"user:u-1\x001767225600000\x00m-1": {{Recipient: "user:u-1", Meta: domain.Meta{Type: "notified", ID: "m-1", At: 1_767_225_600_000}}},
	})
	for _, brief := range []func([]byte) error{
		func(b []byte) error { _, err := briefOrder("", b); return err },
		func(b []byte) error { _, err := briefRider("", b); return err },
		func(b []byte) error { _, err := briefInventory("", b); return err },
	} {
		require.Error(t, brief([]byte("null")))
		require.Error(t, brief([]byte(`{"version":7`)))
	}
}

func sameBriefly[R any](t *testing.T, indexes []Index[R], brief func(string, []byte) (*R, error), rows map[string][]*R) {
	for key, rows := range rows {
		for _, row := range rows {
			data, err := codecs.Marshal(row)
			require.NoError(t, err)
			b, err := brief(key, data)
			require.NoError(t, err)
			for _, ix := range indexes {
				require.Equal(t, ix.Of(key, row), ix.Of(key, b), ix.Name)
				if ix.Mark != nil {
					require.Equal(t, ix.Mark(row), ix.Mark(b), ix.Name)
				}
			}
		}
	}
}

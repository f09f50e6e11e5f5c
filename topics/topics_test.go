package topics_test

import (
	"strings"
	"testing"

	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"

	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

func names(c *topics.Catalog) (all []string) {
	for _, s := range c.All() {
		all = append(all, s.Topic)
	}
	return all
}

// The names are the product's surface.
func TestCatalog_Names(t *testing.T) {
	require.Equal(t, []string{
		"order-commands", "verdicts", "order-events", "store-commands", "stock-replies", "payment-requests", "payment-replies",
		"rider-commands", "dispatch-commands", "rider-events", "delivery-events", "notifications", "message-log", "dead-letters",
		"orders-loop", "payments-loop", "projections-loop",
		"orders-table", "stock-table", "payments-table", "riders-table", "dispatch-table", "projections-table",
	}, names(topics.New("", 8)))
	require.Equal(t, "order-commands", order.Stream)
	require.Equal(t, "store-commands", stock.Stream)
	require.Equal(t, "rider-commands", rider.Stream)
}

func TestCatalog_Prefix(t *testing.T) {
	c, plain := topics.New("eu.", 8), topics.New("", 8)
	seen := map[string]bool{}
	for i, name := range names(c) {
		require.Equal(t, "eu."+names(plain)[i], name)
		require.Equal(t, names(plain)[i], c.Short(name))
		require.False(t, seen[name], name)
		seen[name] = true
	}
	require.Equal(t, "eu.orders", c.Group(topics.Orders))
	require.Equal(t, "eu.dead-letters", c.DeadLetters.Name())
	require.Equal(t, "eu.order-commands", c.OrderCommands.Name())
	require.Equal(t, "eu.orders-table", c.OrdersTable.Name())
}

// goka names loops and tables itself.
func TestCatalog_AsGokaNamesThem(t *testing.T) {
	c := topics.New("eu.", 8)
	tables := map[string]interface {
		goka.Codec
		Name() string
	}{
		topics.Orders: c.OrdersTable, topics.Stock: c.StockTable, topics.Payments: c.PaymentsTable, topics.Riders: c.RidersTable,
		topics.Dispatch: c.DispatchTable, topics.Projections: c.ProjectionsTable,
	}
	loops := map[string]string{topics.Orders: c.OrdersLoop.Name(), topics.Payments: c.PaymentsLoop.Name(), topics.Projections: c.ProjectionsLoop.Name()}
	for group, table := range tables {
		require.Contains(t, topics.Groups, group)
		require.Equal(t, string(goka.GroupTable(goka.Group(c.Group(group)))), table.Name())
		g := goka.DefineGroup(goka.Group(c.Group(group)), goka.Persist(table), goka.Loop(table, func(goka.Context, any) {}))
		require.Equal(t, g.GroupTable().Topic(), table.Name())
		if loop, ok := loops[group]; ok {
			require.Equal(t, g.LoopStream().Topic(), loop)
		}
	}
}

func TestCatalog_CoPartitioned(t *testing.T) {
	for _, partitions := range []int{1, 8, 12} {
		for _, s := range topics.New("", partitions).All() {
			require.Equal(t, partitions, s.Partitions, s.Topic)
		}
	}
}

func TestCatalog_Cleanup(t *testing.T) {
	for _, s := range topics.New("", 8).All() {
		table := strings.HasSuffix(s.Topic, "-table")
		require.Equal(t, table, s.Cleanup == topics.Compact, s.Topic)
		require.Equal(t, !table, s.Cleanup == topics.Delete && s.Retention == topics.Retention, s.Topic)
		require.NotEmpty(t, s.Key, s.Topic)
		require.NotEmpty(t, s.Message, s.Topic)
		forClients := s.Topic == "order-commands" || s.Topic == "store-commands" || s.Topic == "rider-commands"
		require.Equal(t, !forClients, s.Internal, s.Topic)
	}
}

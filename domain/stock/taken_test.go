package stock_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/stock"
)

func TestInventory_IDTaken(t *testing.T) {
	s := kitchen(t)
	name := func(id, mark string) domain.Name { return domain.Name{ID: id, Own: true, Mark: mark} }
	add, remove := quantity(stock.AddStock, "mandu", 1), quantity(stock.RemoveStock, "mandu", 1000)
	first := s.row.Handle(add, name("c-1", "add"), noon)
	require.Equal(t, domain.Refused, s.row.Handle(remove, name("c-2", "remove"), noon).Verdict.Verdict)

	row, level := encoded(t, s.row), s.level("mandu").OnHand
	for _, id := range []string{"c-1", "c-2"} {
		out := s.row.Handle(quantity(stock.AddStock, "mandu", 2), name(id, "add two"), noon.Add(time.Minute))
		require.Contains(t, out.Verdict.Reason, `the id "`+id+`" names another command`)
		require.Equal(t, stock.Out{Verdict: out.Verdict}, out)
		require.Equal(t, out, s.row.Handle(quantity(stock.AddStock, "mandu", 2), name(id, "add two"), noon.Add(time.Hour)), "the same answer, whenever")
		require.Equal(t, row, encoded(t, s.row))
	}
	again := s.row.Handle(add, name("c-1", "add"), noon.Add(time.Hour))
	require.Equal(t, first.Verdict, again.Verdict, "the first one's answer stays")

	unnamed := func(mark string) domain.Name { return domain.Name{ID: "t/0/7", Mark: mark} }
	s.row.Handle(add, unnamed("one"), noon)
	s.row.Handle(add, unnamed("one"), noon)
	s.row.Handle(add, unnamed("of the topic that was made anew"), noon)
	require.Equal(t, level+2, s.level("mandu").OnHand, "coordinates that come again are another command")
}

// What orders say is named by what it is about; a client's id has no slash.
func TestCommand_Name(t *testing.T) {
	for _, tt := range []struct {
		kind, id string
		ok       bool
	}{
		{stock.Reserve, "o-1/reserve/1", true}, {stock.Commit, "o-1/commit/1", true}, {stock.Release, "o-1/release/1", true},
		{stock.Reserve, "o-1/release/1", false}, {stock.Reserve, "o-1/reserve/2", false}, {stock.Release, "", false}, {stock.Commit, "c-1", false},
		{stock.Open, "", true}, {stock.Open, "c-1", true}, {stock.Open, "o-1/reserve/1", false},
	} {
		c := &stock.Command{Meta: domain.Meta{Type: tt.kind, ID: tt.id}}
		if tt.kind != stock.Open {
			c.OrderID, c.Attempt, c.Lines = "o-1", 1, []domain.Line{some("mandu", 1)}
		}
		err := c.Validate()
		if err == nil {
			err = c.CheckName()
		}
		require.Equal(t, tt.ok, err == nil, "%s %q: %v", tt.kind, tt.id, err)
	}
}

package stock_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/domain"
	"baedal/domain/stock"
)

// TestInventory_Promises throws random commands at a store, each of them again
// at random, long after, and orders' own in any order; it counts with a model
// of its own and with nothing of the row but its JSON.
func TestInventory_Promises(t *testing.T) {
	products := []string{"a", "b", "c"}
	kinds := []string{
		stock.Reserve, stock.Reserve, stock.Reserve, stock.Commit, stock.Release,
		stock.AddStock, stock.AddStock, stock.RemoveStock, stock.PutProduct, stock.Register, stock.Open, stock.Close,
		stock.Update, stock.Unregister, stock.Slow, stock.Pause, stock.UpdateProduct, stock.RemoveProduct, stock.SoldOut,
	}
	rapid.Check(t, func(t *rapid.T) {
		type said struct {
			id      string
			command *stock.Command
			answer  string
		}
		var (
			row      = stock.NewInventory("s-1")
			now      = noon
			history  []said
			added    = map[string]int{} // by product
			removed  = map[string]int{}
			sold     = map[string]int{}
			gone     = map[string]bool{}
			reserved = map[string][]domain.Line{} // open, by order and attempt
			granted  = map[string]bool{}          // ever
			ended    = map[string]bool{}
			answers  = map[string]string{} // to the reserve, by order and attempt
		)
		answer := func(out stock.Out) string {
			return encoded(t, out.Reply) + encoded(t, out.Verdict)
		}
		check := func() {
			held := map[string]int{}
			for _, lines := range reserved {
				for _, l := range lines {
					held[l.Product] += l.Quantity
				}
			}
			for _, p := range row.Products {
				require.Equal(t, added[p.ID], p.Free()+p.Reserved+sold[p.ID]+removed[p.ID], "conservation of %s", p.ID)
				require.Equal(t, held[p.ID], p.Reserved, "reserved of %s", p.ID)
				require.GreaterOrEqual(t, p.Free(), 0)
				if l, found := row.Level(p.ID, now); found {
					require.LessOrEqual(t, l.Available, p.Free())
				} else {
					require.Zero(t, p.Free(), "nothing is free of a product that is gone")
				}
				require.Equal(t, []int{added[p.ID], sold[p.ID], removed[p.ID]}, []int{p.Added, p.Sold, p.Removed}, "counters of %s", p.ID)
				require.Equal(t, p.Added, p.OnHand+p.Sold+p.Removed)
			}
			require.Len(t, row.Reservations, len(reserved))
		}
		handle := func(id string, c *stock.Command) stock.Out {
			// The row that comes back from the changelog is the row.
			before := encoded(t, row)
			copied := stock.NewInventory("")
			require.NoError(t, json.Unmarshal([]byte(before), copied))
			require.Equal(t, before, encoded(t, copied))
			if rapid.Bool().Draw(t, "restored") {
				row = copied
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
			out := row.Handle(c, named(id), now)
			version := 0
			if v := out.Verdict; v != nil && out.Changed {
				require.NoError(t, v.Validate())
				require.Equal(t, row.Version, v.Version)
			}
			require.NoError(t, json.Unmarshal([]byte(before), &struct {
				Version *int `json:"version"`
			}{&version}))
			require.True(t, row.Version == version || row.Version == version+1, "a command counts once")
			if !out.Changed {
				require.Equal(t, before, encoded(t, row), "the row changes only when it says so")
			}
			return out
		}

		for n := range rapid.IntRange(1, 60).Draw(t, "commands") {
			if len(history) > 0 && rapid.IntRange(0, 2).Draw(t, "again") == 0 {
				h := rapid.SampledFrom(history).Draw(t, "which")
				out := handle(h.id, h.command)
				require.False(t, out.Changed)
				if key := fmt.Sprint(h.command.OrderID, h.command.Attempt); h.command.Type == stock.Reserve && ended[key] {
					require.Equal(t, stock.Out{}, out, "an ended reservation has no answer any more")
				} else {
					require.Equal(t, h.answer, answer(out))
				}
				check()
				continue
			}

			c := &stock.Command{Meta: domain.Meta{Type: rapid.SampledFrom(kinds).Draw(t, "type")}, Verdict: rapid.Bool().Draw(t, "verdict")}
			key := ""
			switch c.Type {
			case stock.Register, stock.Update:
				c.Name, c.Area = new(rapid.SampledFrom([]string{"X", "Y"}).Draw(t, "name")), new("mapo")
				c.Lat, c.Lon, c.AutoAccept, c.CookingTime = new(0.0), new(0.0), new(false), new(domain.Duration(0))
			case stock.Slow, stock.Pause:
				c.Until, c.By = now.Add(time.Duration(rapid.IntRange(-1, 2).Draw(t, "until"))*time.Second), new(domain.Duration(time.Second))
			case stock.SoldOut:
				c.Product = rapid.SampledFrom(products).Draw(t, "product")
				if n := rapid.IntRange(-1, 2).Draw(t, "until"); n != 0 {
					c.Until = now.Add(time.Duration(n) * time.Second)
				}
			case stock.PutProduct, stock.AddStock, stock.RemoveStock, stock.UpdateProduct, stock.RemoveProduct:
				c.Product = rapid.SampledFrom(products).Draw(t, "product")
				c.Name = new(rapid.SampledFrom([]string{"X", "Y"}).Draw(t, "name"))
				c.Price = new(domain.Money(rapid.IntRange(0, 2).Draw(t, "price")))
				c.Quantity = rapid.IntRange(1, 9).Draw(t, "quantity")
			case stock.Reserve, stock.Commit, stock.Release:
				c.OrderID = rapid.SampledFrom([]string{"o-1", "o-2", "o-3", "o-4"}).Draw(t, "order")
				c.Attempt = rapid.IntRange(1, 2).Draw(t, "attempt")
				key = fmt.Sprint(c.OrderID, c.Attempt)
				if c.Type == stock.Reserve {
					for _, p := range products {
						if q := rapid.IntRange(0, 4).Draw(t, "wanted"); q > 0 {
							c.Lines = append(c.Lines, domain.Line{Product: p, Quantity: q})
						}
					}
					if len(c.Lines) == 0 {
						c.Lines = []domain.Line{{Product: "a", Quantity: 1}}
					}
					if rapid.Bool().Draw(t, "expecting") {
						total := domain.Money(rapid.IntRange(0, 4).Draw(t, "total"))
						c.ExpectedTotal = &total
					}
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "conditional") == 0 {
				c.IfVersion = new(rapid.IntRange(0, row.Version+1).Draw(t, "ifVersion"))
			}
			c = c.Own()
			require.NoError(t, c.Validate())
			free := func(p string) int {
				n := added[p] - sold[p] - removed[p]
				for _, lines := range reserved {
					for _, l := range lines {
						if l.Product == p {
							n -= l.Quantity
						}
					}
				}
				return n
			}
			id := fmt.Sprintf("m-%d", n)
			out := handle(id, c)
			history = append(history, said{id, c, answer(out)})

			accepted := out.Verdict == nil || out.Verdict.Verdict == domain.Accepted
			switch c.Type {
			case stock.Unregister:
				for _, p := range products {
					if accepted {
						removed[p] += free(p)
						gone[p] = true
					}
				}
			case stock.RemoveProduct:
				if accepted {
					removed[c.Product] += free(c.Product)
					gone[c.Product] = true
				}
			case stock.PutProduct:
				gone[c.Product] = gone[c.Product] && !accepted
			case stock.AddStock, stock.RemoveStock:
				count := map[string]map[string]int{stock.AddStock: added, stock.RemoveStock: removed}[c.Type]
				if accepted {
					count[c.Product] += c.Quantity
				}
			case stock.Reserve:
				switch {
				case ended[key]:
					require.Equal(t, stock.Out{}, out, "an ended reservation is not revived")
				case answers[key] != "":
					require.Equal(t, answers[key], answer(out), "a reservation has one answer")
				default:
					answers[key] = answer(out)
					if out.Reply.Type == stock.Reserved {
						reserved[key], granted[key] = c.Lines, true
					}
				}
			case stock.Commit, stock.Release:
				require.Nil(t, out.Reply)
				if c.Type == stock.Commit {
					for _, l := range reserved[key] {
						sold[l.Product] += l.Quantity
					}
				}
				for _, l := range reserved[key] {
					if c.Type == stock.Release && gone[l.Product] {
						removed[l.Product] += l.Quantity
					}
				}
				delete(reserved, key)
				// One that was refused goes on to be answered refused.
				ended[key] = ended[key] || granted[key] || answers[key] == ""
			}
			check()
		}
	})
}

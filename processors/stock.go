package processors

import (
	"baedal/domain/stock"
	"baedal/stream"
	"baedal/topics"
)

// Stock decides for one store what may be sold: everything that is said to a
// store comes in one stream, so nothing is sold twice.
func Stock(t *topics.Catalog) stream.Definition {
	return stream.Group[stock.Inventory]{
		Name:  t.Group(topics.Stock),
		Table: t.StockTable,
		Inputs: []stream.Input[stock.Inventory]{
			stream.From(t.StoreCommands, func(c *stream.Context[stock.Inventory], m *stock.Command) {
				n := named(c, m.Meta, m.Digest)
				s := row(c, stock.NewInventory)
				out := s.Handle(m, n, now(c))
				if out.Reply != nil {
					stream.Send(c, t.StockReplies, out.Reply.OrderID, out.Reply)
				}
				if out.Verdict != nil {
					stream.Send(c, t.Verdicts, c.Key(), out.Verdict)
				}
				if out.Changed {
					c.Save(s)
				}
			}),
		},
		Outputs:     []stream.Sink{t.StockReplies, t.Verdicts},
		DeadLetters: t.DeadLetters,
	}
}

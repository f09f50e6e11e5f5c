// Package stream is what goka leaves to its user: safe client settings, offsets
// that are committed in order, dead letters, forwarding of records that another
// client put into the wrong partition, timers, metrics and supervision.
//
// A processor group is a Group: the table of its rows, the streams that come in
// with the function that decides on each message, and the streams that go out.
// A decision is made first and told afterwards: what a handler sends and saves
// is held back until it returns, so one that panics leaves no trace but a dead
// letter.
//
//	counts := stream.Group[Count]{
//		Name:        "counts",
//		Table:       countsTable,
//		Inputs:      []stream.Input[Count]{stream.From(clicks, func(c *stream.Context[Count], m *Click) {
//			row := c.Row()
//			if row == nil {
//				row = &Count{}
//			}
//			row.N++
//			c.Save(row)
//			stream.Send(c, totals, c.Key(), &Total{N: row.N})
//		})},
//		Outputs:     []stream.Sink{totals},
//		DeadLetters: deadLetters,
//	}
//	err := stream.Run(ctx, config, counts)
//
// At least once, the messages since the last commit are handled again after a
// crash, with rows that may already know them: a handler must answer a message
// that it has seen before as it did then. Exactly once, Config.Guarantee, rows,
// outputs and offsets are one Kafka transaction, and what was not committed has
// left no trace; a client may still send the same message twice.
package stream

package processors

import (
	"baedal/domain/dispatch"
	"baedal/stream"
	"baedal/topics"
)

// Dispatch joins what is to be delivered in an area with the riders on shift
// there, and says what became of it.
func Dispatch(t *topics.Catalog, plan dispatch.Planner) stream.Definition {
	return stream.Group[dispatch.Area]{
		Name:  t.Group(topics.Dispatch),
		Table: t.DispatchTable,
		Inputs: []stream.Input[dispatch.Area]{
			stream.From(t.DispatchCommands, func(c *stream.Context[dispatch.Area], m *dispatch.Command) {
				checkKey(c)
				a := row(c, dispatch.NewArea)
				out := a.Handle(m, now(c), plan)
				for i := range out.Deliveries {
					stream.Send(c, t.DeliveryEvents, out.Deliveries[i].OrderID, &out.Deliveries[i])
				}
				for i := range out.Riders {
					stream.Send(c, t.RiderEvents, out.Riders[i].RiderID, &out.Riders[i])
				}
				for i := range out.Verdicts {
					stream.Send(c, t.Verdicts, out.Verdicts[i].RiderID, &out.Verdicts[i].Verdict)
				}
				if out.Changed {
					c.Save(a)
				}
			}),
		},
		Outputs:     []stream.Sink{t.DeliveryEvents, t.RiderEvents, t.Verdicts},
		DeadLetters: t.DeadLetters,
	}
}

package processors

import (
	"baedal/domain/dispatch"
	"baedal/domain/rider"
	"baedal/stream"
	"baedal/topics"
)

// Riders keeps each rider's shift and place, and asks dispatch for all that
// concerns a delivery or an area.
func Riders(t *topics.Catalog) stream.Definition {
	p := riders{t}
	return stream.Group[rider.Rider]{
		Name:  t.Group(topics.Riders),
		Table: t.RidersTable,
		Inputs: []stream.Input[rider.Rider]{
			stream.From(t.RiderCommands, p.command),
			stream.From(t.RiderEvents, p.event),
		},
		Outputs:     []stream.Sink{t.DispatchCommands, t.Verdicts},
		DeadLetters: t.DeadLetters,
		Offbeat:     true, // it asks dispatch
	}
}

type riders struct{ t *topics.Catalog }

type riderContext = stream.Context[rider.Rider]

func (p riders) command(c *riderContext, m *rider.Command) {
	n := named(c, m.Meta, m.Digest)
	r := row(c, rider.NewRider)
	p.tell(c, r, r.Handle(m, n, now(c)))
}

func (p riders) event(c *riderContext, e *dispatch.RiderEvent) {
	r := row(c, rider.NewRider)
	p.tell(c, r, r.HandleEvent(e, now(c)))
}

func (p riders) tell(c *riderContext, r *rider.Rider, out rider.Out) {
	for i := range out.Dispatch {
		stream.Send(c, p.t.DispatchCommands, out.Dispatch[i].Area, &out.Dispatch[i])
	}
	sendAll(c, p.t.Verdicts, c.Key(), out.Verdicts)
	if out.Changed {
		c.Save(r)
	}
}

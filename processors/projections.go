package processors

import (
	"context"
	"time"

	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/stream"
	"baedal/topics"
)

// Projections counts foods: an event comes in under its order, and goes to the
// group itself under the foods that it is about. keep is how long the orders group
// keeps the row of an order that has ended: as long is remembered that it was
// counted.
func Projections(t *topics.Catalog, keep time.Duration) stream.Definition {
	p := projections{t, keep}
	return stream.Group[projection.Model]{
		Name:  t.Group(topics.Projections),
		Table: t.ProjectionsTable,
		Inputs: []stream.Input[projection.Model]{
			stream.From(t.OrderEvents, p.event),
			stream.FromLoop(t.ProjectionsLoop, p.note),
		},
		DeadLetters: t.DeadLetters,
		Timer:       stream.Wake(t.ProjectionsLoop, 1, p.due, forgetModel),
		Gather:      forReaders,
	}
}

type projections struct {
	t    *topics.Catalog
	keep time.Duration
}

type modelContext = stream.Context[projection.Model]

func (p projections) event(c *modelContext, e *order.Event) {
	switch { // what counts nothing has no row
	case e.Type != string(e.Status):
		return
	case e.Status != order.Paid && !e.Status.Final():
		return
	}
	m := row(c, newModel)
	notes, changed := m.Event(e, projection.Spot{Topic: c.Incarnation(), Partition: c.Partition(), Offset: c.Offset()})
	if changed {
		c.Save(m)
	}
	for _, n := range notes {
		stream.Loop(c, p.t.ProjectionsLoop, n.Key, &n)
	}
}

func (p projections) note(c *modelContext, n *projection.Note) {
	m := row(c, newModel)
	switch {
	case n.Type == projection.Forgotten:
		if at, _, ok := m.Forget(p.keep); ok && at <= n.At {
			c.Delete()
		}
	case m.Apply(n):
		c.Save(m)
	}
}

func (p projections) due(m *projection.Model) (time.Time, projection.Note, bool) {
	at, n, ok := m.Forget(p.keep)
	return at.Time(), n, ok
}

func forgetModel(_ context.Context, n projection.Note) (*projection.Note, error) { return &n, nil }

func newModel(key string) *projection.Model { return &projection.Model{Key: key} }

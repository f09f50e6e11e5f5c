package processors

import (
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/stream"
	"baedal/topics"
)

// Projections re-keys what happens to orders: an event comes in under its
// order, and goes to the group itself under the user, the store and the foods
// that it is about.
func Projections(t *topics.Catalog) stream.Definition {
	p := projections{t}
	return stream.Group[projection.Model]{
		Name:  t.Group(topics.Projections),
		Table: t.ProjectionsTable,
		Inputs: []stream.Input[projection.Model]{
			stream.From(t.OrderEvents, p.event),
			stream.FromLoop(t.ProjectionsLoop, p.note),
		},
		DeadLetters: t.DeadLetters,
	}
}

type projections struct{ t *topics.Catalog }

type modelContext = stream.Context[projection.Model]

func (p projections) event(c *modelContext, e *order.Event) {
	notes := projection.Notes(e)
	switch {
	case e.Type == string(order.Paid):
		m := row(c, newModel)
		at, changed := m.CountAt(c.Offset())
		if changed {
			c.Save(m)
		}
		notes = append(notes, projection.Foods(e, c.Partition(), at)...)
	case e.Type == string(e.Status) && e.Status.Final() && c.Row() != nil:
		c.Delete()
	}
	for _, n := range notes {
		stream.Loop(c, p.t.ProjectionsLoop, n.Key, &n)
	}
}

func (p projections) note(c *modelContext, n *projection.Note) {
	if m := row(c, newModel); m.Apply(n) {
		c.Save(m)
	}
}

func newModel(key string) *projection.Model { return &projection.Model{Key: key} }

package processors

import (
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/stream"
	"baedal/topics"
)

// Notifier tells customers, stores and riders what happens to their orders. It
// keeps nothing: the same event gives the same notifications.
func Notifier(t *topics.Catalog, l notification.Language) stream.Definition {
	return stream.Group[struct{}]{
		Name: t.Group(topics.Notifier),
		Inputs: []stream.Input[struct{}]{
			stream.From(t.OrderEvents, func(c *stream.Context[struct{}], e *order.Event) {
				for _, n := range notification.Of(e, l) {
					stream.Send(c, t.Notifications, n.Recipient, &n)
				}
			}),
		},
		Outputs:     []stream.Sink{t.Notifications},
		DeadLetters: t.DeadLetters,
	}
}

// Messenger keeps what each recipient was told, and writes the log of it.
func Messenger(t *topics.Catalog) stream.Definition {
	return stream.Group[notification.Log]{
		Name:  t.Group(topics.Messenger),
		Table: t.MessengerTable,
		Inputs: []stream.Input[notification.Log]{
			stream.From(t.Notifications, func(c *stream.Context[notification.Log], n *notification.Notification) {
				log := row(c, func(key string) *notification.Log { return &notification.Log{Recipient: key} })
				if log.Add(n) {
					c.Save(log)
				}
				stream.Send(c, t.MessageLog, c.Key(), n)
			}),
		},
		Outputs:     []stream.Sink{t.MessageLog},
		DeadLetters: t.DeadLetters,
	}
}

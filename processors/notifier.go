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
		Gather:      forReaders,
	}
}

// Messenger delivers what people are told, and logs it. Delivery here is the
// log itself; a carrier of real messages would be called with the
// notification's id as its idempotency key, so a repeat arrives once.
func Messenger(t *topics.Catalog) stream.Definition {
	return stream.Group[struct{}]{
		Name: t.Group(topics.Messenger),
		Inputs: []stream.Input[struct{}]{
			stream.From(t.Notifications, func(c *stream.Context[struct{}], n *notification.Notification) {
				stream.Send(c, t.MessageLog, c.Key(), n)
			}),
		},
		Outputs:     []stream.Sink{t.MessageLog},
		DeadLetters: t.DeadLetters,
		Gather:      forReaders,
	}
}

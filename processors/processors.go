// Package processors holds one file per group: which streams come in, which
// decision of the domain is taken, what goes out.
package processors

import (
	"time"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/stream"
	"baedal/topics"
)

// Settings shape what the groups decide.
type Settings struct {
	Orders   order.Settings
	Payments payment.Settings
	Gateway  payment.Gateway
	Planner  dispatch.Planner
	Language notification.Language
	// ExactlyOnce is whether the groups run so; see stream.ExactlyOnce.
	ExactlyOnce bool
}

// forReaders is how long records gather in groups that tell people and keep what
// is looked up: no order waits for them.
const forReaders = 20 * time.Millisecond

// All returns the definitions of all groups, by their names.
func All(t *topics.Catalog, s Settings) map[string]stream.Definition {
	return map[string]stream.Definition{
		topics.Orders:      Orders(t, s.Orders, s.ExactlyOnce),
		topics.Stock:       Stock(t),
		topics.Payments:    Payments(t, s.Payments, s.Gateway),
		topics.Riders:      Riders(t),
		topics.Dispatch:    Dispatch(t, s.Planner),
		topics.Notifier:    Notifier(t, s.Language),
		topics.Messenger:   Messenger(t),
		topics.Projections: Projections(t, s.Orders.Keep),
	}
}

// about is what every decision needs to know of the message it is about.
type about interface {
	Key() string
	Coordinates() string
	Incarnation() string
	Reject(error)
}

// named returns what a client's command is known again by. A key that can't be
// the id of a thing makes a dead letter.
func named(c about, m domain.Meta, digest string) domain.Name {
	checkKey(c)
	return domain.NameOf(m.ID, digest, c.Coordinates(), c.Incarnation())
}

func checkKey(c about) {
	if err := domain.CheckID("key", c.Key()); err != nil {
		c.Reject(err)
	}
}

// row returns the row of the message's key, or a new one.
func row[R any](c *stream.Context[R], fresh func(key string) *R) *R {
	if r := c.Row(); r != nil {
		return r
	}
	return fresh(c.Key())
}

// sendAll sends messages under one key.
func sendAll[M any](c stream.Sender, t stream.Topic[M], key string, all []M) {
	for i := range all {
		stream.Send(c, t, key, &all[i])
	}
}

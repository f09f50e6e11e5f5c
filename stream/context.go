package stream

import (
	"fmt"
	"time"

	"github.com/lovoo/goka"

	"baedal/state"
)

// Context is what a handler sees of the message it decides on, and where it
// puts what it decided. It must not be used after the handler has returned.
type Context[R any] struct {
	h     *handler[R]
	g     goka.Context
	now   time.Time
	table *state.Table // nil under goka's tester

	row    *R
	loaded bool
	saved  bool
	gone   bool
	out    []outgoing
}

type outgoing struct {
	topic string
	key   string
	data  []byte
	loop  bool
}

// Key returns the message's key.
func (c *Context[R]) Key() string { return c.g.Key() }

// Now returns the time at which the message is handled.
func (c *Context[R]) Now() time.Time { return c.now }

// Coordinates returns topic/partition/offset of the record as its producer was
// told them: they name a message that has no id of its own.
func (c *Context[R]) Coordinates() string {
	if o := c.g.Headers()[HeaderOrigin]; o != nil {
		return string(o)
	}
	return coordinates(c.g)
}

func coordinates(g goka.Context) string {
	return fmt.Sprintf("%s/%d/%d", g.Topic(), g.Partition(), g.Offset())
}

// Partition and Offset return where the record was read.
func (c *Context[R]) Partition() int32 { return c.g.Partition() }

// Offset returns the record's offset in its partition.
func (c *Context[R]) Offset() int64 { return c.g.Offset() }

// Row returns the row of the message's key, or nil. It may be changed in place
// when Save follows; it is dropped and read anew if the handler panics.
func (c *Context[R]) Row() *R {
	if c.loaded {
		return c.row
	}
	c.loaded = true
	if c.table == nil {
		if v := c.g.Value(); v != nil {
			c.row = v.(*R)
		}
		return c.row
	}
	if v, ok := c.table.Cached(c.Key()); ok {
		c.row = v.(*R)
		return c.row
	}
	data, err := c.table.Get(c.Key())
	if err != nil {
		panic(fatal{err})
	}
	if data == nil {
		return nil
	}
	v, err := c.h.Table.Decode(data)
	if err != nil {
		panic(fatal{fmt.Errorf("row %q of %s can't be decoded: %w", c.Key(), c.h.Table.Name(), err)})
	}
	c.row = v.(*R)
	return c.row
}

// Save sets the row of the message's key, once the handler has returned.
func (c *Context[R]) Save(row *R) {
	if row == nil {
		panic(fmt.Errorf("nil was saved as the row of %q", c.Key()))
	}
	c.row, c.loaded, c.saved = row, true, true
}

// Delete removes the row of the message's key, once the handler has returned.
func (c *Context[R]) Delete() {
	c.row, c.loaded, c.gone = nil, true, true
}

// Reject ends the handler: the message becomes a dead letter with this error.
func (c *Context[R]) Reject(err error) { panic(rejection{err}) }

func (c *Context[R]) send(o outgoing) { c.out = append(c.out, o) }

// Sender is a Context of any row type.
type Sender interface{ send(outgoing) }

// Send sends m, once the handler has returned.
func Send[M any](c Sender, t Topic[M], key string, m *M) {
	c.send(outgoing{topic: t.Name(), key: key, data: encode(t, m)})
}

// Loop sends m to the group itself, under any key.
func Loop[M any](c Sender, t Topic[M], key string, m *M) {
	c.send(outgoing{topic: t.Name(), key: key, data: encode(t, m), loop: true})
}

func encode[M any](t Topic[M], m *M) []byte {
	data, err := t.Encode(m)
	if err != nil {
		panic(fmt.Errorf("a message for %s can't be encoded: %w", t.Name(), err))
	}
	return data
}

// tell makes the decision known: outputs first, then the row.
func (c *Context[R]) tell() {
	h := c.h
	var opts []goka.ContextOption
	if trace := c.g.Headers()[headerTrace]; trace != nil {
		opts = append(opts, goka.WithCtxEmitHeaders(goka.Headers{headerTrace: trace}))
	}
	for _, o := range c.out {
		if o.loop {
			c.g.Loopback(o.key, o.data, opts...)
		} else {
			c.g.Emit(goka.Stream(o.topic), o.key, o.data, opts...)
		}
		h.meter.out.WithLabelValues(h.Name, o.topic).Inc()
	}
	if c.gone {
		c.g.Delete()
		if c.table != nil {
			c.table.Uncache(c.Key())
		}
		if h.timers != nil {
			h.timers.set(c.Partition(), c.Key(), Alarm{})
		}
		return
	}
	if !c.saved {
		return
	}
	c.g.SetValue(c.row)
	if c.table != nil {
		c.table.Cache(c.Key(), c.row)
	}
	if h.timers != nil {
		h.timers.set(c.Partition(), c.Key(), h.Timer.next(c.row))
	}
}

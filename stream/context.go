package stream

import (
	"fmt"
	"strconv"
	"time"

	"github.com/lovoo/goka"

	"baedal/internal/failpoint"
)

// Context is what a handler sees of the message it decides on, and where it
// puts what it decided. It must not be used after the handler has returned.
type Context[R any] struct {
	h     *handler[R]
	g     goka.Context
	now   time.Time
	table *table // nil under goka's tester

	row    *R
	loaded bool
	saved  bool
	gone   bool
	data   []byte // the saved row
	spoken int    // of a Speaker: the last number it had said
	unsaid int    // and from which on that is not known
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
	if o, ok := origin(c.g); ok {
		return o
	}
	return coordinates(c.g)
}

// Incarnation tells apart topics of one name that were made one after the other:
// a short form of the topic's id (KIP-516), or "" while it is not known. The
// coordinates of a message are its name for ever only together with it. What
// stands in the header of a forwarded record is of the same topic.
//
// The engine does not know the topic's id yet: where the session learns it, this
// returns it.
func (c *Context[R]) Incarnation() string { return "" }

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
	if !c.loaded {
		c.loaded = true
		c.load()
		c.listen()
	}
	return c.row
}

func (c *Context[R]) load() {
	if c.table == nil {
		if v := c.g.Value(); v != nil {
			c.row = v.(*R)
		}
		return
	}
	if v, ok := c.table.Cached(c.Key()); ok {
		c.row = v.(*R)
		return
	}
	data, err := c.table.Get(c.Key())
	if err != nil {
		panic(fatal{err})
	}
	if data == nil {
		return
	}
	v, err := c.h.Table.Decode(data)
	if err != nil {
		panic(fatal{fmt.Errorf("row %q of %s can't be decoded: %w", c.Key(), c.h.Table.Name(), err)})
	}
	c.row = v.(*R)
}

// Save sets the row of the message's key, once the handler has returned. Of
// Save and Delete the last one called counts.
func (c *Context[R]) Save(row *R) {
	if row == nil {
		panic(fmt.Errorf("nil was saved as the row of %q", c.Key()))
	}
	c.row, c.loaded, c.saved, c.gone = row, true, true, false
}

// Delete removes the row of the message's key, once the handler has returned.
func (c *Context[R]) Delete() {
	c.row, c.loaded, c.saved, c.gone = nil, true, false, true
}

// Reject ends the handler: the message becomes a dead letter with this error.
func (c *Context[R]) Reject(err error) { panic(rejection{err}) }

func (c *Context[R]) send(o outgoing) { c.out = append(c.out, o) }

// Sender is a Context of any row type.
type Sender interface{ send(outgoing) }

// Send sends m, once the handler has returned.
func Send[M any](c Sender, t Topic[M], key string, m *M) {
	c.send(outgoing{topic: t.Name(), key: key, data: encode(t, key, m)})
}

// Loop sends m to the group itself, under any key.
func Loop[M any](c Sender, t Topic[M], key string, m *M) {
	c.send(outgoing{topic: t.Name(), key: key, data: encode(t, key, m), loop: true})
}

func encode[M any](t Topic[M], key string, m *M) []byte {
	data, err := t.Encode(m)
	if err != nil {
		panic(fmt.Errorf("a message for %s can't be encoded: %w", t.Name(), err))
	}
	if err := tooLong(key, data); err != nil {
		panic(fmt.Errorf("a message for %s: %w", t.Name(), err))
	}
	return data
}

// tell makes the decision known: the row, and the outputs once the row is
// acknowledged.
func (c *Context[R]) tell() {
	h := c.h
	headers := c.headers()
	for _, o := range c.out {
		h.meter.out.WithLabelValues(h.Name, o.topic).Inc()
	}
	// A row without outputs takes its place, too: what is answered from it later
	// must not leave before it is acknowledged.
	if box := h.outbox.Load(); box != nil && (len(c.out) > 0 || c.saved || c.gone) {
		p := &parcel{partition: c.Partition(), done: c.g.DeferCommit()}
		for _, o := range c.out {
			p.outputs = append(p.outputs, output{o.topic, o.key, o.data, headers})
		}
		box.put(p, c.saved || c.gone)
	} else {
		c.emit(goka.WithCtxEmitHeaders(headers))
	}
	failpoint.Hit(failpoint.RowUnsent, h.Name)
	switch {
	case c.gone:
		c.g.Delete()
	case c.saved:
		c.g.SetValue(c.data)
	default:
		return
	}
	failpoint.Hit(failpoint.RowSent, h.Name)
	if c.table != nil {
		if c.gone {
			c.table.Uncache(c.Key())
		} else {
			c.table.Cache(c.Key(), c.row)
		}
	}
	if h.timers != nil {
		next := Alarm{}
		if !c.gone {
			next = h.Timer.next(c.row)
		}
		h.timers.set(c.Partition(), c.Key(), next)
	}
}

// headers returns what goes with all outputs: the trace, and how many messages
// led to them without a row changing.
func (c *Context[R]) headers() goka.Headers {
	t := c.g.Headers()[headerTrace]
	traced, idle := t != nil && len(t) <= maxTrace, !c.saved && !c.gone
	if len(c.out) == 0 || !traced && !idle {
		return nil
	}
	headers := goka.Headers{}
	if traced {
		headers[headerTrace] = t
	}
	if idle {
		headers[HeaderHops] = strconv.AppendInt(nil, int64(hops(c.g)+1), 10)
	}
	return headers
}

// emit sends the outputs at once.
func (c *Context[R]) emit(opt goka.ContextOption) {
	for _, o := range c.out {
		if o.loop {
			c.g.Loopback(o.key, o.data, opt)
		} else {
			c.g.Emit(goka.Stream(o.topic), o.key, o.data, opt)
		}
	}
}

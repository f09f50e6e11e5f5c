package stream

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka"

	"baedal/internal/failpoint"
	"baedal/state"
)

// Sink is a topic that a group may send to.
type Sink interface {
	Name() string
	goka.Codec
}

// Topic is a topic of messages of type M: its codec decodes to *M.
type Topic[M any] interface {
	Sink
	New() *M
}

// Input is a stream that comes into a group, with what is done about a message.
type Input[R any] struct {
	sink   Sink
	loop   bool
	handle func(*Context[R], any)
}

// From lets every message of a stream be decided on by handle, one after the
// other for each partition.
func From[R, M any](t Topic[M], handle func(*Context[R], *M)) Input[R] {
	return Input[R]{sink: t, handle: func(c *Context[R], m any) { handle(c, m.(*M)) }}
}

// FromLoop is From for the stream that a group writes to itself, by Loop or by
// its timer. Its name must be the group's with -loop behind it.
func FromLoop[R, M any](t Topic[M], handle func(*Context[R], *M)) Input[R] {
	in := From(t, handle)
	in.loop = true
	return in
}

// Group is the definition of a processor group. R is the type of its rows.
type Group[R any] struct {
	// Name is the name of the consumer group.
	Name string
	// Table holds the rows; nil for a group without state. Its name must be
	// the group's with -table behind it.
	Table Topic[R]
	// Inputs are the streams that come in. They must have the same number of
	// partitions as the table.
	Inputs []Input[R]
	// Outputs are the streams that Send may send to.
	Outputs []Sink
	// DeadLetters takes the messages that can't be decided on.
	DeadLetters Sink
	// MaxAge makes records older than this dead letters; 0 takes any.
	MaxAge time.Duration
	// Timer wakes rows up; nil for none. It needs a loop input.
	Timer Timer[R]
	// Gather is how long records may gather on their way in, and again on their
	// way out. Every batch costs the brokers and this process about as much as
	// some records more in it: where nobody waits for what the group says, 20ms
	// save most of that. 0 is Config's FetchPause and Linger.
	Gather time.Duration
	// Offbeat commits halfway between the commits of the others. Exactly once,
	// what a group sends can be read when it is committed; two that answer each
	// other wait least where one of them is offbeat.
	Offbeat bool
}

// Definition is a Group of any row type.
type Definition interface {
	name() string
	gather() time.Duration
	offbeat() bool
	instance(Config) *instance
	wiring() Wiring
}

func (g Group[R]) name() string          { return g.Name }
func (g Group[R]) gather() time.Duration { return g.Gather }
func (g Group[R]) offbeat() bool         { return g.Offbeat }

// instance is a group bound to a configuration: what goka is given.
type instance struct {
	graph   *goka.GroupGraph
	tables  *tables
	meter   *meter
	timers  *timers // nil without a timer
	letters letters
	dead    string // the topic of its dead letters
	outbox  atomic.Pointer[outbox]
}

// envelope is a decoded input message together with the bytes it came as. A
// codec of an input must not fail, or goka stops the processor.
type envelope struct {
	raw []byte
	msg any
	err error
}

type inputCodec struct{ goka.Codec }

func (c inputCodec) Decode(data []byte) (any, error) {
	if len(data) > MaxRecord {
		return &envelope{raw: data}, nil // see check
	}
	m, err := c.Codec.Decode(data)
	return &envelope{raw: data, msg: m, err: err}, nil
}

func (g Group[R]) instance(cfg Config) *instance {
	in := &instance{meter: newMeter(g.Name, cfg.Registerer), tables: newTables(), dead: g.DeadLetters.Name()}
	h := &handler[R]{Group: g, cfg: cfg, instance: in}

	var edges []goka.Edge
	for _, i := range g.Inputs {
		codec := inputCodec{i.sink}
		if i.loop {
			edges = append(edges, goka.Loop(codec, h.callback(i)))
			if g.Timer != nil {
				in.timers = newTimers(g.Timer.workers(), i.sink.Name(), cfg)
			}
			continue
		}
		// An input is an output too: a record in the wrong partition is forwarded.
		edges = append(edges,
			goka.Input(goka.Stream(i.sink.Name()), codec, h.callback(i)),
			goka.Output(goka.Stream(i.sink.Name()), codec))
	}
	for _, o := range append(slices.Clone(g.Outputs), g.DeadLetters) {
		// goka's tester wants one type of codec for a topic, be it read or written.
		edges = append(edges, goka.Output(goka.Stream(o.Name()), inputCodec{o}))
	}
	if g.Table != nil {
		edges = append(edges, goka.Persist(g.Table))
	}
	in.graph = goka.DefineGroup(goka.Group(g.Name), edges...)
	if in.timers != nil {
		in.tables.onRecovered = h.rebuildTimers
	}
	return in
}

// handler runs the decisions of a group.
type handler[R any] struct {
	Group[R]
	cfg Config
	*instance
}

func (h *handler[R]) callback(in Input[R]) goka.ProcessCallback {
	topic := in.sink.Name()
	counted := h.meter.in.WithLabelValues(h.Name, topic)
	return func(g goka.Context, m any) {
		if s, ok := g.(*sessionContext); ok {
			s.enter()
		}
		failpoint.Hit(failpoint.Entered, h.Name)
		counted.Inc()
		now := h.cfg.Now()
		if err := h.check(g, m, now); err != nil {
			h.bury(g, m, err)
			return
		}
		if h.cfg.Partitions > 0 && Partition(g.Key(), h.cfg.Partitions) != g.Partition() {
			h.forward(g, in, m.(*envelope).raw)
			failpoint.Hit(failpoint.Forwarded, h.Name)
			return
		}
		c := &Context[R]{h: h, g: g, now: now, table: h.tables.get(g.Partition())}
		if err := c.decide(in, m.(*envelope).msg); err != nil {
			h.bury(g, m, err)
			return
		}
		failpoint.Hit(failpoint.Decided, h.Name)
		c.tell()
	}
}

// check says why a record is a dead letter whatever the row is. It comes before
// forwarding, which would make a new record of an old one.
func (h *handler[R]) check(g goka.Context, m any, now time.Time) error {
	e, _ := m.(*envelope)
	if e == nil {
		e = &envelope{} // goka gives none for null
	}
	if err := unfit(g.Key(), g.Headers(), e.raw); err != nil {
		return err
	}
	if err := endless(g.Headers()); err != nil {
		return err
	}
	switch {
	case g.Key() == "":
		return errors.New("the record has no key: produce it under the id that it is about")
	case e.raw == nil:
		return errors.New("the value is null: a message must be a JSON object")
	case e.err != nil:
		return e.err
	}
	if n, ok := e.msg.(interface{ Names() string }); ok && n.Names() != "" && n.Names() != g.Key() {
		return fmt.Errorf("the message names %q but its key is %q: produce it under its own key", n.Names(), g.Key())
	}
	if age := now.Sub(g.Timestamp()); h.MaxAge > 0 && age > h.MaxAge && !g.Timestamp().IsZero() {
		return fmt.Errorf("stale: the record is %s old, and rows are kept for %s", age.Round(time.Second), h.MaxAge)
	}
	return nil
}

// forward sends a record that a client with another partitioner put here to
// where its key belongs. Coordinates travel along: they may be its id.
func (h *handler[R]) forward(g goka.Context, in Input[R], raw []byte) {
	from, ok := origin(string(g.Topic()), g.Headers()) // the first one stays
	if !ok {
		from = coordinates(g)
	}
	headers := g.Headers().Merged(goka.Headers{HeaderOrigin: []byte(from), HeaderHops: strconv.AppendInt(nil, int64(hops(g.Headers())+1), 10)})
	h.meter.forwarded.WithLabelValues(h.Name, in.sink.Name()).Inc()
	failpoint.Hit(failpoint.Forwarding, h.Name)
	if in.loop {
		g.Loopback(g.Key(), raw, goka.WithCtxEmitHeaders(headers))
		return
	}
	g.Emit(goka.Stream(in.sink.Name()), g.Key(), raw, goka.WithCtxEmitHeaders(headers))
}

// rejection is the error of a message that its handler wants to be a dead letter.
type rejection struct{ err error }

// stacked is an error with the stack of the panic behind it.
type stacked struct {
	error
	stack []byte
}

// fatal is trouble of this machine, not of the message: the session must end
// with the message unfinished.
type fatal struct{ error }

// decide lets the handler decide. An error means that nothing was decided and
// that the message is to be a dead letter.
func (c *Context[R]) decide(in Input[R], m any) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if c.table != nil {
			c.table.Uncache(c.Key()) // it may be half changed
		}
		switch r := r.(type) {
		case rejection:
			err = r.err
		case fatal:
			c.g.Fail(r)
			panic(r)
		default:
			err = stacked{fmt.Errorf("panic: %v", r), debug.Stack()}
		}
	}()
	in.handle(c, m)
	if c.saved {
		c.note()
		if c.data, err = c.h.Table.Encode(c.row); err != nil {
			panic(fmt.Errorf("the row can't be encoded: %w", err))
		}
		if len(c.data) > MaxRecord {
			panic(fmt.Errorf("the row would be %d bytes long: at most %d", len(c.data), MaxRecord))
		}
	}
	return nil
}

// rebuildTimers is called with a table that has just been recovered.
func (h *handler[R]) rebuildTimers(partition int32, t *state.Table) error {
	it, err := t.Iterator()
	if err != nil {
		return err
	}
	defer it.Release()
	for it.Next() {
		data, err := it.Value()
		if err != nil {
			return err
		}
		row, err := h.Table.Decode(data)
		if err != nil {
			return fmt.Errorf("row %q of %s: %w", it.Key(), h.Table.Name(), err)
		}
		h.timers.set(partition, string(it.Key()), h.Timer.next(row.(*R)))
	}
	return it.Err()
}

package town_test

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/codecs"
	"baedal/domain"
)

// bus is Kafka and the groups on it under at-least-once, as package stream has
// it. Topics have partitions; a lane is the part of a group that handles one
// partition of its inputs, one message after the other. A row is durable before
// the outputs that were decided with it leave, and the outputs of a lane leave
// in the order of its messages. A crash forgets what is not durable, and the
// messages behind the committed offset of each input are handled again.
type bus struct {
	*rapid.T
	now        domain.Time
	partitions int
	topics     map[string][]*log
	groups     map[string]*group
	lanes      []*lane
	heard      func(topic string, r *record) // of everything that leaves

	handled, lost, again int
}

// log is one partition of a topic.
type log struct{ records []*record }

type record struct {
	topic, key, id string
	data           []byte
	offset         int64
	cause          *record // that it was sent for; nil: from outside, or a timer
}

type group struct {
	name   string
	handle func(*context)
	lanes  []*lane
}

type lane struct {
	group     *group
	partition int
	inputs    []*input
	rows      map[string][]byte // as the group sees them
	durable   map[string][]byte // as the changelog has them
	pending   []*parcel         // handled, not finished, oldest first
}

// input is how far a lane has read a log.
type input struct {
	lane            *lane
	topic           string
	log             *log
	next, committed int
	handled         int // the highest offset ever handled
}

// parcel is what one message led to.
type parcel struct {
	in      *input
	offset  int
	key     string
	row     []byte // nil: deleted
	written bool   // durable, or there is no row
	outputs []*output
}

type output struct {
	topic, key string
	data       []byte
	cause      *record
	left       bool
}

func (p *parcel) finished() bool {
	return p.written && !slices.ContainsFunc(p.outputs, func(o *output) bool { return !o.left })
}

func newBus(t *rapid.T, now domain.Time, partitions int) *bus {
	return &bus{T: t, now: now, partitions: partitions, topics: map[string][]*log{}, groups: map[string]*group{}}
}

func (b *bus) join(name string, handle func(*context), topics ...string) {
	g := &group{name: name, handle: handle}
	for p := range b.partitions {
		l := &lane{group: g, partition: p, rows: map[string][]byte{}, durable: map[string][]byte{}}
		for _, t := range topics {
			l.inputs = append(l.inputs, &input{lane: l, topic: t, log: b.log(t, p), handled: -1})
		}
		g.lanes = append(g.lanes, l)
	}
	b.groups[name] = g
	b.lanes = append(b.lanes, g.lanes...)
}

func (b *bus) log(topic string, partition int) *log {
	if b.topics[topic] == nil {
		b.topics[topic] = make([]*log, b.partitions)
		for p := range b.partitions {
			b.topics[topic][p] = &log{}
		}
	}
	return b.topics[topic][partition]
}

func (b *bus) partition(key string) int {
	h := fnv.New32a()
	h.Write([]byte(key))
	return int(h.Sum32() % uint32(b.partitions))
}

// publish appends to a topic what comes from outside, or from a timer.
func (b *bus) publish(topic, key string, data []byte) { b.follow(nil, topic, key, data) }

// follow appends to a topic what a message has led to.
func (b *bus) follow(cause *record, topic, key string, data []byte) {
	l := b.log(topic, b.partition(key))
	r := &record{topic: topic, key: key, id: decode[domain.Meta](b, data).ID, data: data, offset: int64(len(l.records)), cause: cause}
	l.records = append(l.records, r)
	b.checkChain(r)
	b.heard(topic, r)
}

// checkChain: a message that leads to itself would do so for ever.
func (b *bus) checkChain(r *record) {
	for c := r.cause; c != nil; c = c.cause {
		if c.topic == r.topic && c.key == r.key && c.id == r.id {
			chain := fmt.Sprintf("%s %s", r.topic, r.id)
			for c := r.cause; c != nil; c = c.cause {
				chain = fmt.Sprintf("%s %s → %s", c.topic, c.id, chain)
			}
			require.Fail(b, "a message leads to itself", chain)
		}
	}
}

// unread returns the inputs that have something to be handled.
func (b *bus) unread() (all []*input) {
	for _, l := range b.lanes {
		for _, in := range l.inputs {
			if in.next < len(in.log.records) {
				all = append(all, in)
			}
		}
	}
	return all
}

// Most messages of a lane that a crash makes it handle again: far less than
// the rows remember of their past.
const mostUncommitted = 12

// handle takes the next message of an input. What it leads to leaves at once
// unless it is held.
func (b *bus) handle(in *input, hold bool) {
	l := in.lane
	r := in.log.records[in.next]
	if b.handled++; in.next <= in.handled {
		b.again++
	}
	c := &context{bus: b, lane: l, topic: in.topic, record: r, before: l.rows[r.key]}
	b.Logf("%s %s handles %s", b.now.Time().Format("15:04:05.000"), l.group.name, r.data)
	l.group.handle(c)
	p := &parcel{in: in, offset: in.next, key: r.key, written: !c.saved, outputs: c.outputs}
	if c.saved {
		p.row = c.after
		set(l.rows, r.key, c.after)
	}
	in.handled = max(in.handled, in.next)
	in.next++
	l.pending = append(l.pending, p)
	if !hold {
		b.finish(l)
	}
	if uncommitted := 0; true {
		for _, in := range l.inputs {
			uncommitted += in.next - in.committed
		}
		if uncommitted > mostUncommitted {
			b.finish(l)
			l.commit(func() bool { return true })
		}
	}
	b.now++
}

func set(rows map[string][]byte, key string, row []byte) {
	if row == nil {
		delete(rows, key)
		return
	}
	rows[key] = row
}

// finish lets everything become durable and leave.
func (b *bus) finish(l *lane) { b.leave(l, func(n int) int { return n }) }

// leave makes some of the rows of a lane durable and lets some of the outputs
// go that may: some returns how many of n.
func (b *bus) leave(l *lane, some func(n int) int) {
	var rows []*parcel
	for _, p := range l.pending {
		if !p.written {
			rows = append(rows, p)
		}
	}
	for _, p := range rows[:some(len(rows))] {
		p.written = true
		set(l.durable, p.key, p.row)
	}
	type to struct {
		topic     string
		partition int
	}
	ready := map[to][]*output{}
	var order []to
	for _, p := range l.pending {
		if !p.written {
			break
		}
		for _, o := range p.outputs {
			at := to{o.topic, b.partition(o.key)}
			if !o.left {
				if ready[at] == nil {
					order = append(order, at)
				}
				ready[at] = append(ready[at], o)
			}
		}
	}
	for _, at := range order {
		for _, o := range ready[at][:some(len(ready[at]))] {
			o.left = true
			b.follow(o.cause, o.topic, o.key, o.data)
		}
	}
	for len(l.pending) > 0 && l.pending[0].finished() {
		l.pending = l.pending[1:]
	}
}

// commit commits the finished prefix of the inputs for which also says so.
func (l *lane) commit(also func() bool) {
	for _, in := range l.inputs {
		upTo := in.next
		for _, p := range l.pending {
			if p.in == in && !p.finished() {
				upTo = min(upTo, p.offset)
			}
		}
		if upTo > in.committed && also() {
			in.committed = upTo
		}
	}
}

// crash ends a group and starts it again. Of what was not durable and had not
// left some may have.
func (b *bus) crash(g *group, some func(n int) int) {
	b.Logf("%s crashes", g.name)
	for _, l := range g.lanes {
		b.leave(l, some)
		for _, p := range l.pending {
			for _, o := range p.outputs {
				if !o.left {
					b.lost++
				}
			}
		}
		l.pending = nil
		l.rows = maps.Clone(l.durable)
		for _, in := range l.inputs {
			in.next = in.committed
		}
	}
}

// context is what a group sees of a message.
type context struct {
	*bus
	lane    *lane
	topic   string
	record  *record
	before  []byte
	after   []byte
	saved   bool
	outputs []*output
}

func (c *context) key() string { return c.record.key }

func (c *context) send(topic, key string, m any) {
	c.outputs = append(c.outputs, &output{topic: topic, key: key, data: encode(c, m), cause: c.record})
}

// save ends the handling of a message: what was not saved must not have changed,
// as rows are cached.
func save[R any](c *context, row *R, changed bool) {
	data := encode(c, row)
	if !changed {
		if c.before != nil {
			require.True(c, sameJSON(c.before, data), "%s changed a row without saying so: %s → %s", c.lane.group.name, c.before, data)
		}
		return
	}
	again := encode(c, decode[R](c, data))
	require.True(c, sameJSON(data, again), "a row of %s comes back from the table as another: %s → %s", c.lane.group.name, data, again)
	c.after, c.saved = data, true
}

func (c *context) remove() { c.after, c.saved = nil, true }

// message returns the message, which must be valid and under its own key.
func message[M any](c *context) *M {
	m := decode[M](c, c.record.data)
	if n, ok := any(m).(interface{ Names() string }); ok && n.Names() != "" {
		require.Equal(c, c.record.key, n.Names(), "%s has a message under another key", c.topic)
	}
	return m
}

// row returns the row of the message's key.
func row[R any](c *context, fresh func(string) *R) *R {
	if c.before == nil {
		return fresh(c.record.key)
	}
	return decode[R](c, c.before)
}

func encode(t require.TestingT, v any) []byte {
	data, err := codecs.Marshal(v)
	require.NoError(t, err)
	return data
}

func decode[M any](t require.TestingT, data []byte) *M {
	m, err := codecs.Decode[M](data)
	require.NoError(t, err, "%s", data)
	return m
}

// sameJSON compares; maps are written in any order.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return codecs.Unmarshal(a, &x) == nil && codecs.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// all returns the rows of a group by key: those that readers see, or those that
// the group itself has in memory.
func all[R any](b *bus, group string, memory bool) map[string]*R {
	rows := map[string]*R{}
	for _, l := range b.groups[group].lanes {
		from := l.durable
		if memory {
			from = l.rows
		}
		for k, data := range from {
			rows[k] = decode[R](b, data)
		}
	}
	return rows
}

func one[R any](b *bus, group, key string) *R {
	data := b.groups[group].lanes[b.partition(key)].durable[key]
	if data == nil {
		return nil
	}
	return decode[R](b, data)
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// once keeps what was said under an id: it must stay the same.
type once map[string][]byte

func (o once) add(t require.TestingT, data []byte, name ...any) (first bool) {
	key := fmt.Sprint(name...)
	was, ok := o[key]
	if ok && !bytes.Equal(was, data) {
		require.Equal(t, string(was), string(data), "%s was said again with other bytes", key)
	}
	o[key] = data
	return !ok
}

package api_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
	"baedal/views"
)

// groups decide on commands as the groups do: with the rules of the domain, from
// the bytes that a stream would carry. What it decides shows in the tables and the
// verdicts of any number of instances.
type groups struct {
	t  *testing.T
	mu sync.Mutex

	orders map[string][]byte // rows as a table keeps them
	stores map[string][]byte
	riders map[string][]byte
	areas  map[string][]byte

	queue     []func()
	stopped   bool // nothing is decided until go on
	blind     bool // nothing shows in the tables until look
	hidden    []func()
	lateAreas bool // as blind, for the areas alone
	decided   int  // commands
	err       error
	instances []*fixture
}

func newGroups(t *testing.T) *groups {
	return &groups{t: t, orders: map[string][]byte{}, stores: map[string][]byte{}, riders: map[string][]byte{}, areas: map[string][]byte{}}
}

// instance returns one more instance of the API, whose views are empty so far.
func (w *groups) instance() *fixture {
	f := emptyFixture(w.t)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instances = append(w.instances, f)
	return f.with(w)
}

func (w *groups) now() domain.Time { return domain.At(time.Now()) }

// stop keeps commands in their streams; goOn decides on them.
func (w *groups) stop() { w.mu.Lock(); w.stopped = true; w.mu.Unlock() }

func (w *groups) goOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = false
	w.run()
}

// hide keeps what is decided from the tables; the verdicts show at once.
func (w *groups) hide() { w.mu.Lock(); w.blind = true; w.mu.Unlock() }

func (w *groups) show() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blind = false
	for _, f := range w.hidden {
		f()
	}
	w.hidden = nil
}

// send puts a message into a stream, as its bytes.
func send[M any](w *groups, ctx context.Context, m *M, handle func(*M)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", api.ErrNotSent, ctx.Err())
	}
	pass(w, m, handle)
	if !w.stopped {
		w.run()
	}
	return nil
}

func pass[M any](w *groups, m *M, handle func(*M)) {
	data, err := codecs.Marshal(m)
	require.NoError(w.t, err)
	w.queue = append(w.queue, func() {
		m, err := codecs.Decode[M](data)
		require.NoError(w.t, err, "%s", data)
		handle(m)
	})
}

func (w *groups) run() {
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		next()
	}
}

func read[R any](w *groups, rows map[string][]byte, key string, fresh func(string) *R) *R {
	data := rows[key]
	if data == nil {
		return fresh(key)
	}
	row, err := codecs.Decode[R](data)
	require.NoError(w.t, err)
	return row
}

func save[R any](w *groups, rows map[string][]byte, key string, row *R, table func(*fixture) *fakeTable[R]) {
	data, err := codecs.Marshal(row)
	require.NoError(w.t, err)
	rows[key] = data
	shown := read(w, rows, key, func(string) *R { return nil })
	for _, f := range w.instances {
		if w.blind {
			w.hidden = append(w.hidden, func() { table(f).set(key, shown) })
		} else {
			table(f).set(key, shown)
		}
	}
}

func (w *groups) say(v *domain.Verdict) {
	for _, f := range w.instances {
		require.NoError(w.t, f.verdicts.Say(v, time.Now()))
	}
}

func (w *groups) SendOrder(ctx context.Context, key string, c *order.Command) error {
	return send(w, ctx, c, func(c *order.Command) {
		w.decided++
		w.order(key, func(o *order.Order) order.Out {
			return o.Command(c, domain.NameOf(c.ID, c.Digest, "t/0/0", ""), w.now(), order.DefaultSettings())
		})
	})
}

func (w *groups) order(key string, do func(*order.Order) order.Out) {
	o := read(w, w.orders, key, order.New)
	out := do(o)
	if out.Changed {
		save(w, w.orders, key, o, func(f *fixture) *fakeTable[order.Order] { return f.orders })
	}
	for i := range out.Verdicts {
		w.say(&out.Verdicts[i])
	}
	for i := range out.Stock {
		c := &out.Stock[i]
		pass(w, c, func(m *stock.Command) { w.store(c.StoreID, m) })
	}
	for _, r := range out.Payments {
		answers := map[string]string{payment.Authorize: payment.Approved, payment.Capture: payment.Captured, payment.Void: payment.Voided, payment.Refund: payment.Refunded}
		reply := &payment.Reply{Meta: domain.Meta{Type: answers[r.Type], ID: fmt.Sprintf("%s/%s/%d", key, answers[r.Type], r.Attempt), At: w.now()}, OrderID: key, Attempt: r.Attempt}
		w.queue = append(w.queue, func() {
			w.order(key, func(o *order.Order) order.Out { return o.PaymentReply(reply, w.now(), order.DefaultSettings()) })
		})
	}
	for i := range out.Dispatch {
		c := &out.Dispatch[i]
		pass(w, c, func(m *dispatch.Command) { w.area(c.Area, m) })
	}
}

func (w *groups) SendStore(ctx context.Context, key string, c *stock.Command) error {
	return send(w, ctx, c, func(c *stock.Command) {
		w.decided++
		w.store(key, c)
	})
}

func (w *groups) store(key string, c *stock.Command) {
	row := read(w, w.stores, key, stock.NewInventory)
	out := row.Handle(c, domain.NameOf(c.ID, c.Digest, "t/0/0", ""), w.now())
	if out.Changed {
		save(w, w.stores, key, row, func(f *fixture) *fakeTable[stock.Inventory] { return f.stock })
	}
	if out.Verdict != nil {
		w.say(out.Verdict)
	}
	if r := out.Reply; r != nil {
		w.queue = append(w.queue, func() {
			w.order(r.OrderID, func(o *order.Order) order.Out { return o.StockReply(r, w.now(), order.DefaultSettings()) })
		})
	}
}

func (w *groups) SendRider(ctx context.Context, key string, c *rider.Command) error {
	return send(w, ctx, c, func(c *rider.Command) {
		w.decided++
		w.rider(key, func(r *rider.Rider) rider.Out {
			return r.Handle(c, domain.NameOf(c.ID, c.Digest, "t/0/0", ""), w.now())
		})
	})
}

func (w *groups) rider(key string, do func(*rider.Rider) rider.Out) {
	row := read(w, w.riders, key, rider.NewRider)
	out := do(row)
	if out.Changed {
		save(w, w.riders, key, row, func(f *fixture) *fakeTable[rider.Rider] { return f.riders })
	}
	for i := range out.Verdicts {
		w.say(&out.Verdicts[i])
	}
	for i := range out.Dispatch {
		c := &out.Dispatch[i]
		pass(w, c, func(m *dispatch.Command) { w.area(c.Area, m) })
	}
}

func (w *groups) area(key string, c *dispatch.Command) {
	row := read(w, w.areas, key, dispatch.NewArea)
	out := row.Handle(c, w.now(), dispatch.Planner{Mode: dispatch.ClaimOnly})
	if out.Changed {
		blind := w.blind
		w.blind = blind || w.lateAreas
		save(w, w.areas, key, row, func(f *fixture) *fakeTable[dispatch.Area] { return f.areas })
		w.blind = blind
	}
	for i := range out.Verdicts {
		w.say(&out.Verdicts[i].Verdict)
	}
	for i := range out.Deliveries {
		e := &out.Deliveries[i]
		w.queue = append(w.queue, func() {
			w.order(e.OrderID, func(o *order.Order) order.Out { return o.Delivery(e, w.now(), order.DefaultSettings()) })
		})
	}
	for i := range out.Riders {
		e := &out.Riders[i]
		w.queue = append(w.queue, func() {
			w.rider(e.RiderID, func(r *rider.Rider) rider.Out { return r.HandleEvent(e, w.now()) })
		})
	}
}

func newFakeVerdicts(t testing.TB) *views.MemoryVerdicts {
	m, err := views.NewMemoryVerdicts(topics.New("", 2))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

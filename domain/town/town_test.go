package town_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/projection"
)

// town is a few customers, stores and riders, and the engine between them.
type town struct {
	*bus
	seed    int  // of ids, by which the gateway decides
	odd     bool // orders have odd names
	lives   order.Settings
	retries payment.Settings
	plan    dispatch.Planner
	gateway *payment.Simulated

	customers []customer
	said      []*said
	results   []payment.Result // of calls, on their way
	tries     map[string]int
	careless  bool // who says something may take an id for it that names another command
	book      book
}

type customer struct{ order, user string }

var noon = domain.At(time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC))

func newTown(t *rapid.T) *town {
	w := &town{lives: order.DefaultSettings(), retries: payment.DefaultSettings(), tries: map[string]int{}, book: newBook()}
	w.bus = newBus(t, noon, 1+even(2).Draw(t, "more partitions"))
	w.bus.heard = w.hear
	w.seed = w.upTo("seed", 9999)
	w.odd = w.upTo("odd names", 1) == 1
	w.gateway = &payment.Simulated{FailTries: 5}
	w.gateway.FailRate = []float64{0, 0.3, 0.6}[w.upTo("gateway fails", 2)]
	w.gateway.DeclineRate = []float64{0, 0.2}[w.upTo("gateway declines", 1)]
	w.plan.Mode = []dispatch.Mode{dispatch.Assign, dispatch.Hybrid, dispatch.ClaimOnly}[w.upTo("mode", 2)]
	w.open()
	w.prepare()
	return w
}

// prepare opens the stores and lets riders come.
func (w *town) prepare() {
	for i, s := range stores {
		w.register(s, areas[w.upTo("area", 1)], w.upTo("auto", 1) == i)
		for _, f := range foods {
			w.putProduct(s, f)
			w.addStock(s, f, 3+3*w.upTo("stock", 2))
		}
	}
	for i, r := range riderIDs[:w.upTo("riders", len(riderIDs))] {
		w.online(r, areas[i%2], 1)
	}
	if !w.rarely("opens late") {
		w.quiet(rand.New(rand.NewPCG(0, 0)))
	}
}

// The chaos.

func (w *town) act() {
	defer func() { w.careless = false }()
	switch n := w.upTo("act", 199); {
	case n < 66:
		w.read(1 + w.upTo("more messages", 11))
	case n < 118:
		w.help()
	case n < 128:
		w.customerOrders()
	case n < 152:
		if calls := w.calls(); len(calls) > 0 {
			w.ring(calls[w.upTo("call", len(calls)-1)], w.rarely("result is lost"))
		}
		if n := len(w.results); n > 0 && !w.rarely("result is late") {
			w.result(w.upTo("result", n-1))
		}
	case n < 157:
		w.careless = true
		w.anyOrderCommand()
	case n < 166:
		w.careless = true
		w.anyRiderCommand()
	case n < 170:
		w.careless = true
		w.anyStoreCommand()
	case n < 176:
		w.repeat()
	case n < 178:
		w.now = w.now.Add(time.Duration(w.upTo("seconds", 300)) * time.Second)
	case n < 181:
		if due := w.deadlines(false); len(due) > 0 {
			w.ring(due[w.upTo("deadline", len(due)-1)], false)
		}
	case n < 185:
		w.leave(w.aLane(), w.some)
	case n < 190:
		w.aLane().commit(func() bool { return w.upTo("not committed", 2) < 2 })
	default:
		names := keys(w.groups)
		w.crash(w.groups[names[w.upTo("crashes", len(names)-1)]], w.some)
	}
}

func (w *town) aLane() *lane { return w.lanes[w.upTo("lane", len(w.lanes)-1)] }

func (w *town) some(n int) int {
	if n == 0 {
		return 0
	}
	return w.upTo("some", n)
}

func (w *town) read(n int) {
	for range n {
		inputs := w.unread()
		if len(inputs) == 0 {
			return
		}
		w.handle(inputs[w.upTo("input", len(inputs)-1)], w.upTo("held", 3) == 3)
	}
}

// help lets one of those who can take an order on do so.
func (w *town) help() {
	n := len(w.customers) + len(riderIDs)
	first := w.upTo("who helps", n-1)
	complains := w.upTo("complains", 2) > 0
	for i := range n {
		i = (i + first) % n
		if i < len(riderIDs) && w.helpRider(riderIDs[i]) || i >= len(riderIDs) && w.helpOrder(w.customers[i-len(riderIDs)].order, complains) {
			return
		}
	}
}

// The end of the day: nothing crashes any more, who can help does, and the
// clock goes on until nothing waits.

const (
	mostRounds   = 400
	mostMessages = 6000
)

func (w *town) drain() {
	chance := rand.New(rand.NewPCG(uint64(w.seed), uint64(w.upTo("order of the end", 99))))
	idle := []string{}
	for _, l := range w.lanes {
		w.finish(l)
	}
	for i, r := range riderIDs { // who is there stays; who is not comes
		if w.upTo("comes", 1) == 1 {
			w.online(r, areas[i%2], 2)
		}
	}
	for round := 0; ; round++ {
		require.Less(w, round, mostRounds, "the day never ends: %v", idle)
		w.quiet(chance)
		helped := false
		for _, r := range riderIDs {
			helped = w.helpRider(r) || helped
		}
		for i, c := range w.customers {
			helped = w.helpOrder(c.order, (w.seed+i)%3 == 0) || helped
		}
		if helped {
			continue
		}
		alarms := append(w.calls(), w.deadlines(false)...)
		if len(alarms) == 0 {
			return
		}
		w.ring(slices.MinFunc(alarms, func(a, b alarm) int { return int(a.at - b.at) }), false)
	}
}

// quiet handles messages, in any order, until there are none.
func (w *town) quiet(chance *rand.Rand) {
	for {
		for len(w.results) > 0 {
			w.result(0)
		}
		inputs := w.unread()
		if len(inputs) == 0 {
			break
		}
		w.handle(inputs[chance.IntN(len(inputs))], false)
		require.Less(w, w.handled, mostMessages, "the messages never end")
	}
	for _, l := range w.lanes {
		l.commit(func() bool { return true })
	}
}

// forget lets the orders' rows go.
func (w *town) forget() {
	events := len(w.book.versions)
	models := all[projection.Model](w.bus, "projections", true)
	for _, id := range keys(models) {
		if at, n, ok := models[id].Forget(w.lives.Keep); ok {
			w.now = max(w.now, at)
			w.publish(projectionsLoop, n.Key, encode(w, &n))
		}
	}
	payments := all[payment.Payment](w.bus, "payments", true)
	for _, id := range keys(payments) {
		if at, call, ok := payments[id].Forget(w.retries); ok {
			w.now = max(w.now, at)
			r := payment.NewResult(call, payment.OK, "", w.now)
			w.publish(paymentsLoop, id, encode(w, &r))
		}
	}
	for _, a := range w.deadlines(true) {
		w.ring(a, false)
	}
	w.quiet(rand.New(rand.NewPCG(0, 0)))
	require.Empty(w, all[order.Order](w.bus, "orders", true))
	require.Empty(w, all[payment.Payment](w.bus, "payments", true))
	require.Len(w, w.book.versions, events, "forgetting an order is an event")
	for _, c := range w.customers {
		require.Nil(w, one[projection.Model](w.bus, "projections", c.order))
	}
}

func TestTown(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		require.NoError(t, f.Value.Set("300"))
	}
	ends := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := newTown(t)
		for range w.upTo("acts", 255) {
			w.act()
		}
		w.drain()
		w.check()
		w.forget()
		for _, c := range w.customers {
			ends[w.book.final[c.order]]++
		}
		ends["~ handled"] += w.handled
		ends["~ handled again"] += w.again
		ends["~ outputs lost"] += w.lost
		ends["~ second deliveries"] += w.book.second
		ends["~ events crossed"] += w.book.crossed
		for _, s := range w.said {
			if s.taken {
				ends["~ ids taken"]++
			}
		}
		ends["~ most handled"] = max(ends["~ most handled"], w.handled)
	})
	for _, k := range slices.Sorted(maps.Keys(ends)) {
		t.Logf("%-20s %d", k, ends[k])
	}
}

package rider_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/rider"
)

// world is riders and areas joined by a bus like Kafka under at-least-once: order
// is kept per log only; a crash handles what was not committed again, with the
// row already ahead of it, and what the last message sent may be lost.
type world struct {
	*rapid.T
	plan   dispatch.Planner
	now    domain.Time
	riders map[string]*rider.Rider
	areas  map[string]*dispatch.Area
	logs   map[string]*log // one per stream and key

	orders map[string]*orderLife
	sent   map[string]string // id → bytes of all that was ever sent
	said   map[string]int    // commands per rider
}

// log is what one consumer reads.
type log struct {
	key             string
	messages        []any
	next, committed int
}

// orderLife is what the order's group would know.
type orderLife struct {
	area   string
	seen   map[string]bool
	events []string // types, each event once
	rider  string
}

const mostSaid = 32

var (
	riderIDs = []string{"r-1", "r-2", "r-3"}
	areaIDs  = []string{"a-1", "a-2"}
)

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, now: t0, riders: map[string]*rider.Rider{}, areas: map[string]*dispatch.Area{}, logs: map[string]*log{},
		orders: map[string]*orderLife{}, sent: map[string]string{}, said: map[string]int{},
	}
	w.plan.Mode = rapid.SampledFrom([]dispatch.Mode{dispatch.Assign, dispatch.Assign, dispatch.ClaimOnly, dispatch.Hybrid}).Draw(t, "mode")
	for _, id := range riderIDs {
		w.riders[id] = rider.NewRider(id)
		w.logs["rider-commands "+id], w.logs["rider-events "+id] = &log{key: id}, &log{key: id}
	}
	for _, id := range areaIDs {
		w.areas[id] = dispatch.NewArea(id)
		w.logs["dispatch-commands "+id] = &log{key: id}
	}
	return w
}

func (w *world) pick(from []string, label string) string {
	return rapid.SampledFrom(from).Draw(w.T, label)
}

func (w *world) send(name string, m any) { w.logs[name].messages = append(w.logs[name].messages, m) }

// same checks that whatever carries an id is the same bytes whenever it is sent.
func (w *world) same(id string, m any) {
	b := string(mustJSON(w, m))
	if before, ok := w.sent[id]; ok {
		require.Equal(w, before, b, "%s was sent again, but not the same", id)
	}
	w.sent[id] = b
}

// client does what people do: also nonsense. All riders together say no more
// than an area remembers, so that every repeat must be recognised.
func (w *world) client() {
	r := w.pick(riderIDs, "rider")
	if w.said[r]++; w.said[r] > mostSaid/len(riderIDs) {
		return
	}
	id := fmt.Sprintf("%s-%d", r, w.said[r])
	known := append(slices.Sorted(maps.Keys(w.orders)), "o-unknown")
	switch kind := w.pick(append([]string{rider.Online, rider.PickedUp, rider.Delivered}, rider.CommandTypes...), "kind"); kind {
	case rider.Online:
		w.send("rider-commands "+r, online(id, w.pick(areaIDs, "area"), float64(rapid.IntRange(0, 9).Draw(w.T, "km")), rapid.IntRange(1, 2).Draw(w.T, "capacity")))
	case rider.Move:
		w.send("rider-commands "+r, move(id, float64(rapid.IntRange(0, 9).Draw(w.T, "km"))))
	case rider.Offline:
		w.send("rider-commands "+r, offline(id))
	default:
		order := w.pick(known, "order")
		if ds := w.riders[r].Deliveries; len(ds) > 0 && rapid.IntRange(0, 3).Draw(w.T, "sensible") > 0 {
			order = ds[0].OrderID
		}
		w.send("rider-commands "+r, says(kind, id, order))
	}
}

// order does what the orders group does.
func (w *world) order() {
	known := slices.Sorted(maps.Keys(w.orders))
	kind := w.pick([]string{dispatch.Request, dispatch.Request, dispatch.Ready, dispatch.Withdraw, dispatch.GiveUp}, "kind")
	if kind == dispatch.Request && len(known) < 8 {
		id := fmt.Sprint("o-", len(known)+1)
		o := &orderLife{area: w.pick(areaIDs, "area"), seen: map[string]bool{}}
		w.orders[id] = o
		km := float64(rapid.IntRange(0, 9).Draw(w.T, "km"))
		c := &dispatch.Command{
			Meta: domain.Meta{Type: kind, ID: id + "/request/1"}, Area: o.area, OrderID: id, Attempt: 1,
			Pickup: place(km), Drop: place(km + 1), ReadyAt: w.now.Add(60_000_000_000),
		}
		w.send("dispatch-commands "+o.area, c)
		return
	}
	if len(known) == 0 {
		return
	}
	id := w.pick(known, "order")
	o := w.orders[id]
	c := &dispatch.Command{Meta: domain.Meta{Type: kind, ID: id + "/" + kind + "/1"}, Area: o.area, OrderID: id, Attempt: 1}
	switch kind {
	case dispatch.GiveUp:
		if o.rider == "" {
			return
		}
		c.RiderID = o.rider
		c.ID += "/" + o.rider
	case dispatch.Request:
		return
	}
	w.send("dispatch-commands "+o.area, c)
}

func place(n float64) *domain.Point { return domain.PointAt(domain.Place{Lat: km(n), Lon: 127.03}) }

// handle takes one message from a log. With crash, the group dies after writing
// the row: what it sent is lost or not, and the log is read again from its commit.
func (w *world) handle(name string, l *log, crash bool) {
	m := l.messages[l.next]
	l.next++
	w.now += 10
	lost := crash && rapid.Bool().Draw(w.T, "lost")
	before := ""
	if crash {
		l.next = l.committed
	}
	emit := func(name, id string, m any) {
		w.same(name+" "+id, m)
		if !lost {
			w.send(name, m)
		}
	}
	switch m := m.(type) {
	case *rider.Command:
		r := w.riders[l.key]
		before = string(mustJSON(w, r))
		w.riderOut(r, r.Handle(m, named(m.ID), w.now), before, emit)
	case *dispatch.RiderEvent:
		r := w.riders[l.key]
		before = string(mustJSON(w, r))
		w.riderOut(r, r.HandleEvent(m, w.now), before, emit)
	case *dispatch.Command:
		w.dispatch(l.key, m, lost, emit)
	default:
		w.Fatalf("%T on %s", m, name)
	}
}

func (w *world) riderOut(r *rider.Rider, out rider.Out, before string, emit func(string, string, any)) {
	row := mustJSON(w, r)
	require.Equal(w, out.Changed, before != string(row), "Changed must say whether the row did")
	fresh := new(rider.Rider)
	require.NoError(w, codecs.Unmarshal(row, fresh))
	w.riders[r.ID] = fresh
	for _, c := range out.Dispatch {
		require.NoError(w, c.Validate())
		emit("dispatch-commands "+c.Area, c.ID, &c)
	}
	for _, v := range out.Verdicts {
		w.same("verdict "+v.CommandID, v)
	}
}

func (w *world) dispatch(id string, c *dispatch.Command, lost bool, emit func(string, string, any)) {
	a := w.areas[id]
	before, loads, seq := string(mustJSON(w, a)), w.loads(a), a.Version
	out := a.Handle(c, w.now, w.plan)
	row := mustJSON(w, a)
	require.Equal(w, out.Changed, before != string(row), "Changed must say whether the row did")
	fresh := new(dispatch.Area)
	require.NoError(w, codecs.Unmarshal(row, fresh))
	w.areas[id] = fresh

	for r, n := range w.loads(fresh) {
		require.True(w, n <= loads[r] || n <= capacity(fresh, r), "rider %s has %d in hand", r, n)
	}
	w.fifo(fresh, seq)
	for _, e := range out.Deliveries {
		w.same("delivery-events "+e.ID, e)
		o := w.orders[e.OrderID]
		if lost || o.seen[e.ID] {
			continue
		}
		o.seen[e.ID] = true
		o.events = append(o.events, e.Type)
		if o.rider = e.RiderID; e.Type == dispatch.Unassigned {
			o.rider = ""
		}
	}
	for _, e := range out.Riders {
		emit("rider-events "+e.RiderID, e.ID, &e)
	}
	for _, v := range out.Verdicts {
		w.same("verdict "+v.CommandID, v.Verdict)
	}
}

func (w *world) loads(a *dispatch.Area) map[string]int {
	n := map[string]int{}
	for _, d := range a.Deliveries {
		if r := d.Rider(); r != "" {
			n[r]++
		}
	}
	return n
}

func capacity(a *dispatch.Area, id string) int {
	for _, r := range a.Riders {
		if r.ID == id {
			return r.Capacity
		}
	}
	return 0
}

// fifo checks, after a decision, that no rider was passed an older delivery that
// he may take, and that none with room is left waiting beside an open delivery.
func (w *world) fifo(a *dispatch.Area, seq int) {
	if w.plan.Mode != dispatch.Assign {
		return
	}
	loads := w.loads(a)
	for i, open := range a.Deliveries {
		if open.State() != dispatch.StateOpen {
			continue
		}
		for _, r := range a.Riders {
			require.True(w, r.Leaving || loads[r.ID] >= r.Capacity || slices.Contains(open.Declined, r.ID), "%s waits beside %s", open.OrderID, r.ID)
		}
		for _, younger := range a.Deliveries[i+1:] {
			if younger.State() == dispatch.StateAssigned && younger.Steps[len(younger.Steps)-1].Version > seq {
				require.Contains(w, open.Declined, younger.Rider(), "%s was passed over for %s", open.OrderID, younger.OrderID)
			}
		}
	}
}

// oneArea checks that no rider is in two areas.
func (w *world) oneArea() {
	in := map[string]string{}
	for id, a := range w.areas {
		for _, r := range a.Riders {
			require.Empty(w, in[r.ID], "rider %s is also in %s", r.ID, id)
			in[r.ID] = id
		}
	}
}

// waiting lists the logs with something to read.
func (w *world) waiting() (names []string) {
	for name, l := range w.logs {
		if l.next < len(l.messages) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// repeat sends the end of a log again, as its producer does after a crash.
func (w *world) repeat() {
	l := w.logs[w.pick(slices.Sorted(maps.Keys(w.logs)), "log")]
	n := rapid.IntRange(0, min(5, len(l.messages))).Draw(w.T, "repeats")
	l.messages = append(l.messages, l.messages[len(l.messages)-n:]...)
}

func (w *world) step() {
	names := w.waiting()
	switch n := rapid.IntRange(0, 19).Draw(w.T, "step"); {
	case n == 0:
		w.repeat()
	case n < 4 || len(names) == 0:
		w.client()
	case n < 6:
		w.order()
	default:
		name := w.pick(names, "log")
		l := w.logs[name]
		w.handle(name, l, n == 6)
		// What is not committed is a few messages at most.
		if l.next-l.committed > 4 || n < 12 && n != 6 {
			l.committed = l.next
		}
	}
	w.oneArea()
}

func (w *world) drain() {
	for budget := 5000; ; budget-- {
		names := w.waiting()
		if len(names) == 0 {
			return
		}
		require.Positive(w, budget, "messages go on for ever")
		w.handle(names[0], w.logs[names[0]], false)
		w.oneArea()
	}
}

// legal is what may follow what among the events of one delivery.
var legal = map[string][]string{
	"":                  {dispatch.Assigned, dispatch.Failed},
	dispatch.Assigned:   {dispatch.Unassigned, dispatch.PickedUp, dispatch.Failed},
	dispatch.Unassigned: {dispatch.Assigned, dispatch.Failed},
	dispatch.PickedUp:   {dispatch.Delivered},
}

func TestWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(20, 250).Draw(t, "steps") {
			w.step()
		}
		w.drain()

		delivered := 0
		for _, id := range slices.Sorted(maps.Keys(w.orders)) {
			o, last := w.orders[id], ""
			for _, e := range o.events {
				require.Contains(t, legal[last], e, "events of %s: %v", id, o.events)
				last = e
			}
			live := slices.IndexFunc(w.areas[o.area].Deliveries, func(d *dispatch.Delivery) bool { return d.OrderID == id }) >= 0
			over := last == dispatch.Delivered || last == dispatch.Failed
			require.NotEqual(t, live, over, "%s must be open or over: %v", id, o.events)
			if last == dispatch.Delivered {
				delivered++
			}
		}
		counted := 0
		for _, id := range riderIDs {
			r := w.riders[id]
			counted += r.DeliveredCount
			require.Nil(t, r.Wish, "%s waits for ever", id)
			require.Equal(t, r.Area != "", r.On)
			var hand []rider.InHand
			in := ""
			for _, a := range w.areas {
				if capacity(a, id) > 0 {
					in = a.ID
				}
				for _, d := range a.Deliveries {
					if d.Rider() == id {
						hand = append(hand, rider.InHand{OrderID: d.OrderID, Attempt: d.Attempt})
					}
				}
			}
			require.Equal(t, in, r.Area, "%s and the areas disagree", id)
			slices.SortFunc(hand, byOrder)
			slices.SortFunc(r.Deliveries, byOrder)
			require.Equal(t, hand, slices.Clip(r.Deliveries), "%s and the areas disagree", id)
		}
		require.Equal(t, delivered, counted)
	})
}

func byOrder(a, b rider.InHand) int { return cmp.Compare(a.OrderID, b.OrderID) }

package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

// ReplayOptions shape a replay. The zero value is fine.
type ReplayOptions struct {
	// Speed is how many simulated seconds pass in a second. Default 1000: a day in a minute and a half. The engine's own time
	// is not scaled: a latency of 60 ms is a simulated minute at 1000. Its --rider-speed (metres per second) should be: the
	// day's metres per minute / 60 × Speed.
	Speed float64
	// Capacity is how many deliveries a rider may be given at once; he carries them one after another. Default 1.
	Capacity int
	// Settle is how long the end is waited for once no rider is on shift: what is still open then has nobody to bring it.
	// Default 5s without any event.
	Settle time.Duration
	// Timeout is how long an answer to a registration, or the first event of an order, may take. Default 30s.
	Timeout time.Duration
}

// Validate says which option can't be. What is left out is fine.
func (o ReplayOptions) Validate() error {
	switch {
	case !(o.Speed >= 0) || math.IsInf(o.Speed, 0):
		return errors.New("--speed must be above zero")
	case o.Capacity < 0 || o.Capacity > rider.MaxCapacity:
		return fmt.Errorf("--capacity must be from 1 to %d", rider.MaxCapacity)
	}
	return nil
}

// Replay lets the recorded day in dir happen: its customers order, its restaurants cook as long as they did, its riders come, go,
// and travel as the recording says. Which rider gets which order is the engine's choice. It returns a report of what happened so
// far also with an error of ctx.
func Replay(ctx context.Context, cat *topics.Catalog, brokers []string, dir string, opt ReplayOptions, progress io.Writer) (*ReplayReport, error) {
	def(&opt.Speed, 1000)
	def(&opt.Capacity, 1)
	def(&opt.Settle, 5*time.Second)
	def(&opt.Timeout, 30*time.Second)
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	day, err := ReadDay(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	c, err := Dial(ctx, cat, brokers, 0, cat.OrderEvents.Name(), cat.RiderEvents.Name(), cat.Verdicts.Name())
	if err != nil {
		return nil, err
	}
	defer c.Close()

	r := &replay{
		day: day, opt: opt, c: c, cat: cat, prefix: "day-" + newRun() + "-", out: newProgress(progress), setup: newAwait(), globe: day.globe(),
		orders: make(map[string]*liveOrder), couriers: make(map[string]*liveCourier), refusals: make(map[string]int),
	}
	return r.do(ctx)
}

// replay is one run. All but reading happens in do's goroutine.
type replay struct {
	day    *Day
	opt    ReplayOptions
	c      *Client
	cat    *topics.Catalog
	prefix string // of all ids
	out    *progress
	setup  *await
	globe  func(Point) domain.Place
	peek   peeker

	clock  clock
	agenda agenda
	began  time.Time
	last   float64 // minute at which something is recorded

	orders   map[string]*liveOrder
	couriers map[string]*liveCourier
	refusals map[string]int

	placed, delivered, final int
	onShift                  int // couriers between coming and having been told that they left
	declines                 int
	late                     []float64 // how late things were done, wall milliseconds
	lastNews                 time.Time
	unheard                  []*liveOrder // placed and without an event, oldest first
}

type liveOrder struct {
	DayOrder
	id               string
	status, reason   string
	placedAt         time.Time
	paidAt, assigned time.Time
	pickup, drop     float64 // minutes; of the rider who has it or brought it
	delivered, final bool
	finishing        bool
	job              *job // the newest
}

type liveCourier struct {
	Courier
	id     string
	at     Point   // where he is once he is free
	freeAt float64 // when he is done with what he has
	jobs   []*job  // in hand
	off    bool    // his shift is over
	asked  string  // the offline command that is not answered yet, or "later"
	gone   bool
	said   int // commands so far
}

// job is one delivery in hand, planned when it is assigned: nothing that comes later changes it but its end.
type job struct {
	order                *liveOrder
	id                   string // of the assignment
	arrive, pickup, drop float64
	picked, over         bool
}

func (r *replay) do(ctx context.Context) (*ReplayReport, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	batches, read := r.c.batches(reading)

	r.out.line("%s: %d orders, %d couriers, %d restaurants at speed %g", r.day.Name, len(r.day.Orders), len(r.day.Couriers), len(r.day.Restaurants), r.opt.Speed)
	r.out.line("the engine reckons arrivals right when it was started with --rider-speed %.0f", r.day.MetersPerMinute/60*r.opt.Speed)
	r.register()
	deadline := time.After(r.opt.Timeout)
	for waiting := true; waiting; {
		select {
		case <-r.setup.done:
			waiting = false
		case b := <-batches:
			r.handle(b.records)
		case <-deadline:
			return nil, r.setup.timeout(r.opt.Timeout)
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-read:
			return nil, err
		case <-r.c.Failed():
			return nil, r.c.Err()
		}
	}
	if err := r.setup.problem; err != nil {
		return nil, err
	}

	r.plan()
	r.began = time.Now()
	r.lastNews = r.began
	r.clock.start = r.began
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		for item, ok := r.agenda.next(r.clock.minute(now)); ok; item, ok = r.agenda.next(r.clock.minute(now)) {
			r.late = append(r.late, millis(max(time.Since(r.clock.at(item.at)), 0)))
			item.do()
		}
		if over, err := r.over(); over {
			r.out.end()
			return r.report(), err
		}
		wait := 50 * time.Millisecond // to look whether it is over
		if len(r.agenda.items) > 0 {
			wait = min(wait, time.Until(r.clock.at(r.agenda.items[0].at)))
		}
		timer.Reset(max(wait, 0))
		select {
		case b := <-batches:
			r.handle(b.records)
		case <-timer.C:
		case <-tick.C:
			minute := int(r.clock.minute(time.Now()))
			r.out.status(fmt.Sprintf("%02d:%02d  %d/%d placed, %d delivered, %d couriers on shift", minute/60, minute%60, r.placed, len(r.day.Orders), r.delivered, r.onShift))
		case <-ctx.Done():
			r.out.end()
			return r.report(), ctx.Err()
		case err := <-read:
			return r.report(), err
		case <-r.c.Failed():
			return r.report(), r.c.Err()
		}
	}
}

// over reports whether nothing more can come of the day.
func (r *replay) over() (bool, error) {
	for len(r.unheard) > 0 && r.unheard[0].status != "" {
		r.unheard = r.unheard[1:]
	}
	if len(r.unheard) > 0 && time.Since(r.unheard[0].placedAt) > r.opt.Timeout {
		return true, fmt.Errorf("order %s was placed %s ago and nothing was heard of it: is the engine running?", r.unheard[0].id, r.opt.Timeout)
	}
	if r.placed < len(r.day.Orders) {
		return false, nil
	}
	if r.final == len(r.day.Orders) {
		return true, nil
	}
	for _, c := range r.couriers {
		if !c.off || len(c.jobs) > 0 {
			return false, nil
		}
	}
	return min(time.Since(r.lastNews), time.Since(r.clock.at(r.last))) > r.opt.Settle, nil // nobody is left to bring what is still open
}

func (r *replay) area() string                  { return strings.TrimSuffix(r.prefix, "-") }
func (r *replay) storeID(restaurant int) string { return r.prefix + r.day.Restaurants[restaurant].ID }
func (r *replay) minute() float64               { return r.clock.minute(time.Now()) }
func meta(kind, id string) domain.Meta          { return domain.Meta{Type: kind, ID: id} }
func (r *replay) position(p Point) (lat, lon *float64) {
	at := r.globe(p)
	return &at.Lat, &at.Lon
}

// register makes a store of each restaurant. It accepts by itself none: only by an accept can it say for each order how long the
// food takes.
func (r *replay) register() {
	for i, rest := range r.day.Restaurants {
		id, at := r.storeID(i), r.globe(rest.At)
		for _, cmd := range []stock.Command{
			{Meta: meta(stock.Register, ""), Name: &rest.ID, Area: new(r.area()), Lat: &at.Lat, Lon: &at.Lon,
				AutoAccept: new(false), CookingTime: new(domain.Duration(0))},
			{Meta: meta(stock.PutProduct, ""), Product: "meal", Name: new("Meal"), Price: new(domain.Money(10))},
			{Meta: meta(stock.AddStock, ""), Product: "meal", Quantity: len(r.day.Orders) + 1},
		} {
			cmd.ID, cmd.Verdict = commandID(id, cmd.Type), true
			r.setup.add(cmd.ID)
			r.c.Store(id, cmd)
		}
	}
	r.setup.seal()
}

// plan puts what is recorded onto the agenda.
func (r *replay) plan() {
	first := math.Inf(1)
	for _, c := range r.day.Couriers {
		live := &liveCourier{Courier: c, id: r.prefix + c.ID, at: c.At}
		r.couriers[live.id] = live
		first, r.last = min(first, c.On), max(r.last, c.Off)
		r.agenda.add(c.On, func() { r.online(live) })
		r.agenda.add(c.Off, func() { live.off = true; r.leave(live) })
	}
	for _, o := range r.day.Orders {
		live := &liveOrder{DayOrder: o, id: r.prefix + o.ID}
		r.orders[live.id] = live
		first, r.last = min(first, o.Placed), max(r.last, o.Ready)
		r.agenda.add(o.Placed, func() { r.place(live) })
	}
	r.clock = clock{from: first, speed: r.opt.Speed}
}

func (r *replay) place(o *liveOrder) {
	at := r.globe(o.At)
	o.placedAt = time.Now()
	r.placed++
	r.unheard = append(r.unheard, o)
	r.c.Order(o.id, order.Command{Meta: meta(order.Place, commandID(o.id, order.Place)), UserID: o.id, StoreID: r.storeID(o.Restaurant),
		Lines: []domain.Line{{Product: "meal", Quantity: 1}}, Address: &order.Address{Lat: &at.Lat, Lon: &at.Lon}})
}

func (r *replay) handle(batch []*kgo.Record) {
	for _, rec := range batch {
		key := string(rec.Key)
		if !strings.HasPrefix(key, r.prefix) {
			continue
		}
		switch rec.Topic {
		case r.cat.OrderEvents.Name():
			if o := r.orders[key]; o != nil {
				if h, ok := r.peek.peek(rec.Value, wantType|wantReason); ok {
					r.lastNews = time.Now()
					r.orderEvent(o, h)
				}
			}
		case r.cat.RiderEvents.Name():
			if c := r.couriers[key]; c != nil {
				if e, err := codecs.Decode[dispatch.RiderEvent](rec.Value); err == nil {
					r.riderEvent(c, e)
				}
			}
		case r.cat.Verdicts.Name():
			if v, err := codecs.Decode[domain.Verdict](rec.Value); err == nil {
				r.verdict(key, v)
			}
		}
	}
}

// orderEvent plays the restaurant and the customer.
func (r *replay) orderEvent(o *liveOrder, h head) {
	if o.final {
		return
	}
	now := time.Now()
	switch h.Type {
	case order.RiderAssigned:
		setOnce(&o.assigned, now)
		return
	case order.Delayed, order.Reminded, order.Stuck, order.Escalated, order.RiderLost:
		return
	}
	o.status = h.Type
	if h.Reason != "" {
		o.reason = h.Reason
	}
	switch status := order.Status(h.Type); status {
	case order.Paid:
		setOnce(&o.paidAt, now)
		r.c.Order(o.id, order.Command{Meta: meta(order.Accept, commandID(o.id, order.Accept)),
			CookingTime: new(domain.Duration(r.clock.wall(max(o.Ready-r.minute(), 0)).Truncate(time.Millisecond)))})
	case order.AcceptedStatus:
		r.c.Order(o.id, order.Command{Meta: meta(order.StartCooking, commandID(o.id, order.StartCooking))})
	case order.Cooking:
		if !o.finishing {
			o.finishing = true
			r.agenda.add(o.Ready, func() { r.finish(o) })
		}
	case order.Assigned:
		setOnce(&o.assigned, now)
	case order.Delivered:
		if !o.delivered {
			o.delivered = true
			r.delivered++
		}
		r.c.Order(o.id, order.Command{Meta: meta(order.Confirm, commandID(o.id, order.Confirm))})
	default:
		if status.Final() {
			o.final = true
			r.final++
		}
	}
}

// finish says that the food is ready, unless the rider who waits for it says so at this very moment by picking it up: one of the
// two would be refused.
func (r *replay) finish(o *liveOrder) {
	if j := o.job; j == nil || j.over || j.pickup > o.Ready {
		r.c.Order(o.id, order.Command{Meta: meta(order.FinishCooking, commandID(o.id, order.FinishCooking))})
	}
}

func setOnce(t *time.Time, now time.Time) {
	if t.IsZero() {
		*t = now
	}
}

func (r *replay) say(c *liveCourier, cmd rider.Command) {
	c.said++
	cmd.ID = cmp.Or(cmd.ID, commandID(c.id, cmd.Type, strconv.Itoa(c.said)))
	r.c.Rider(c.id, cmd)
}

func (r *replay) online(c *liveCourier) {
	r.onShift++
	cmd := rider.Command{Meta: meta(rider.Online, ""), Area: r.area(), Capacity: &r.opt.Capacity}
	cmd.Lat, cmd.Lon = r.position(c.at)
	r.say(c, cmd)
}

// leave asks to end the shift. With a delivery in hand that is refused, but the engine has heard that it is time.
func (r *replay) leave(c *liveCourier) {
	c.asked = commandID(c.id, rider.Offline, strconv.Itoa(c.said+1))
	r.say(c, rider.Command{Meta: meta(rider.Offline, c.asked)})
}

// offline asks again once nothing is in hand. One command waits for its answer before there is another.
func (r *replay) offline(c *liveCourier) {
	if c.off && len(c.jobs) == 0 && !c.gone && c.asked == "" {
		r.leave(c)
	}
}

// stays: what he has in hand is not known here yet, or is over here and not there yet. A tenth of a second of the wall later, and
// not before the next minute, he tries again.
func (r *replay) stays(c *liveCourier) {
	c.asked = "later"
	r.agenda.add(r.minute()+max(1, r.opt.Speed/600), func() {
		c.asked = ""
		r.offline(c)
	})
}

func (r *replay) riderEvent(c *liveCourier, e *dispatch.RiderEvent) {
	switch e.Type {
	case dispatch.RiderAssigned:
		if o := r.orders[e.OrderID]; o != nil {
			r.take(c, o, assignmentOf(e))
		}
	case dispatch.RiderUnassigned:
		for _, j := range c.jobs {
			if j.order.id == e.OrderID {
				r.drop(c, j)
			}
		}
	case dispatch.Left:
		if c.off && !c.gone {
			c.gone = true
			r.onShift--
		}
	}
}

// take plans a delivery, or declines it where the pickup would come after the shift.
func (r *replay) take(c *liveCourier, o *liveOrder, assignment string) {
	for _, j := range c.jobs {
		if j.id == assignment { // told twice
			return
		}
	}
	d := r.day
	rest := d.Restaurants[o.Restaurant].At
	j := &job{order: o, id: assignment}
	j.arrive = max(r.minute(), c.freeAt) + d.Travel(c.at, rest)
	j.pickup = max(j.arrive+d.PickupService/2, o.Ready)
	if j.pickup > c.Off {
		r.declines++
		r.say(c, rider.Command{Meta: meta(rider.Decline, commandID(assignment, rider.Decline)), OrderID: o.id})
		return
	}
	j.drop = j.pickup + d.PickupService/2 + d.Travel(rest, o.At) + d.DropoffService/2
	c.jobs = append(c.jobs, j)
	o.job = j
	c.at, c.freeAt = o.At, j.drop+d.DropoffService/2
	r.agenda.add(j.pickup, func() {
		if j.over {
			return
		}
		j.picked = true
		o.pickup, o.drop = j.pickup, j.drop
		r.say(c, rider.Command{Meta: meta(rider.PickedUp, commandID(j.id, rider.PickedUp)), OrderID: o.id})
	})
	r.agenda.add(j.drop, func() {
		if j.over {
			return
		}
		r.end(c, j)
		move := rider.Command{Meta: meta(rider.Move, "")}
		move.Lat, move.Lon = r.position(o.At)
		r.say(c, move) // first, so that he is sought where he is
		r.say(c, rider.Command{Meta: meta(rider.Delivered, commandID(j.id, rider.Delivered)), OrderID: o.id})
		r.offline(c)
	})
}

func (r *replay) end(c *liveCourier, j *job) {
	j.over = true
	c.jobs = slices.DeleteFunc(c.jobs, func(other *job) bool { return other == j })
}

// drop ends a delivery that the engine took away. A rider under way is not diverted: he is free where he was going.
func (r *replay) drop(c *liveCourier, j *job) {
	r.end(c, j)
	if len(c.jobs) == 0 {
		c.freeAt = max(r.minute(), j.arrive)
		c.at = r.day.Restaurants[j.order.Restaurant].At
		r.offline(c)
	}
}

func (r *replay) verdict(key string, v *domain.Verdict) {
	if v.Verdict == domain.Accepted {
		r.setup.seen(v.CommandID)
		return
	}
	r.setup.refused(v.CommandID, v.Reason)
	c := r.couriers[key]
	if c != nil && v.CommandID == c.asked {
		r.stays(c) // as riders with a delivery in hand do
		return
	}
	r.refusals[v.Stream+": "+withoutNames(v.Reason)]++
	if c == nil {
		return
	}
	for _, j := range slices.Clone(c.jobs) {
		if v.CommandID == commandID(j.id, rider.PickedUp) {
			r.drop(c, j)
		}
	}
}

func (r *replay) report() *ReplayReport {
	rep := &ReplayReport{
		Day: r.day.Name, Run: r.area(), Speed: r.opt.Speed, Orders: len(r.day.Orders), Couriers: len(r.day.Couriers), Restaurants: len(r.day.Restaurants),
		Placed: r.placed, UndeliveredBy: make(map[string]int), Declined: r.declines, RefusedCommands: r.refusals,
		TargetMinutes: r.day.Target, MaximumMinutes: r.day.Maximum, WallSeconds: time.Since(r.began).Seconds(), LateMs: percentiles(r.late),
	}
	var door, waited, paid, assigned []float64
	for _, o := range r.orders {
		if !o.paidAt.IsZero() {
			paid = append(paid, millis(o.paidAt.Sub(o.placedAt)))
		}
		if !o.assigned.IsZero() {
			assigned = append(assigned, millis(o.assigned.Sub(o.placedAt)))
		}
		if !o.delivered {
			why := cmp.Or(o.status, "not seen")
			if o.final && o.reason != "" {
				why += ": " + o.reason
			}
			rep.UndeliveredBy[why]++
			continue
		}
		click := o.drop - o.Placed
		door = append(door, click)
		waited = append(waited, o.pickup-o.Ready)
		if click > r.day.Target {
			rep.OverTarget++
		}
		if click > r.day.Maximum {
			rep.OverMaximum++
		}
	}
	for _, c := range r.day.Couriers {
		rep.CourierHours += (c.Off - c.On) / 60
	}
	rep.Delivered = len(door)
	rep.Undelivered = rep.Orders - rep.Delivered
	rep.ClickToDoorMinutes, rep.ReadyToPickupMinutes = percentiles(door), percentiles(waited)
	rep.PlaceToPaidMs, rep.PlaceToAssignedMs = percentiles(paid), percentiles(assigned)
	rep.PlaceToPaidMinutes = rep.PlaceToPaidMs.Mean / 60000 * r.opt.Speed
	rep.PlaceToAssignedMinutes = rep.PlaceToAssignedMs.Mean / 60000 * r.opt.Speed
	if rep.CourierHours > 0 {
		rep.OrdersPerCourierHour = float64(rep.Delivered) / rep.CourierHours
	}
	return rep
}

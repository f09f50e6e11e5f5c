package sim

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

// LoadOptions say how many simulated people do how much. The zero value places 10000 orders as fast as it goes.
type LoadOptions struct {
	Orders   int           // how many are placed. Default 10000, without bound where Duration is set
	Duration time.Duration // orders are placed for this long. Default: until there are Orders
	Rate     float64       // orders per second, evenly spaced, however slow the answers are. Default 0: as fast as InFlight lets
	InFlight int           // orders on their way at once. Default 2000, without bound where Rate is set

	Stores int // default 100
	Areas  int // default one for two stores; the stores and riders are dealt out among them
	Riders int // default three for each area: so many that no order waits for one
	// Capacity is how many deliveries a rider carries at once. Default 20: simulated riders take no time, so they are not what is
	// measured.
	Capacity int

	CookingTime time.Duration // default 0, so that lives are bound by the machine
	ManualShare float64       // 0 to 1: the stores that accept, start and finish by commands; the others do it by themselves
	CancelShare float64       // 0 to 1: the orders that their customer cancels, half of them at once and half after paying

	WarmUp  time.Duration // the time from place to assigned and delivered is not counted of orders placed in the first of it. Default 0
	Timeout time.Duration // without any event for so long the run ends. Default 30s
	Seed    uint64        // of what is left to chance
}

// Validate tells all that is wrong with the options.
func (o LoadOptions) Validate() error {
	_, err := o.withDefaults()
	return err
}

func (o LoadOptions) withDefaults() (LoadOptions, error) {
	def(&o.Timeout, 30*time.Second)
	if o.Duration == 0 {
		def(&o.Orders, 10000)
	}
	if o.Rate == 0 {
		def(&o.InFlight, 2000)
	}
	def(&o.Stores, 100)
	def(&o.Areas, (o.Stores+1)/2)
	def(&o.Riders, 3*o.Areas)
	def(&o.Capacity, rider.MaxCapacity)
	var errs []error
	check := func(ok bool, problem string) {
		if !ok {
			errs = append(errs, errors.New(problem))
		}
	}
	check(o.Orders >= 0, "--orders must be 1 or more")
	check(o.Duration >= 0, "--duration must not be negative")
	check(o.Rate >= 0, "--rate must not be negative")
	check(o.InFlight >= 0, "--in-flight must be 1 or more")
	check(o.Stores >= 1, "--stores must be 1 or more")
	check(o.Areas >= 1 && o.Areas <= o.Stores, "--areas must be from 1 to the number of stores")
	check(o.Riders >= o.Areas, fmt.Sprintf("--riders must be at least %d: one for each area", o.Areas))
	check(o.Capacity >= 1 && o.Capacity <= rider.MaxCapacity, fmt.Sprintf("--capacity must be from 1 to %d", rider.MaxCapacity))
	check(o.CookingTime >= 0, "--cooking-time must not be negative")
	check(o.ManualShare >= 0 && o.ManualShare <= 1, "--manual-share must be from 0 to 1")
	check(o.CancelShare >= 0 && o.CancelShare <= 1, "--cancel-rate must be from 0 to 1")
	check(o.WarmUp >= 0, "--warm-up must not be negative")
	check(o.Timeout > 0, "--timeout must be positive")
	return o, errors.Join(errs...)
}

func def[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// newRun names a run: its ids are met by no other run.
func newRun() string { return strings.ToLower(rand.Text()[:6]) }

// Load has simulated people live through orders and measures how that goes. It returns a report whenever orders were placed,
// with ctx's error where that ended the run. An order that did not reach its end is no error but in the report: see OK.
func Load(ctx context.Context, cat *topics.Catalog, brokers []string, opt LoadOptions, progress io.Writer) (*LoadReport, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := Dial(ctx, cat, brokers, 0, cat.OrderEvents.Name(), cat.RiderEvents.Name(), cat.Verdicts.Name())
	if err != nil {
		return nil, err
	}
	defer c.Close()

	l := &loader{
		opt: opt, c: c, run: newRun(), out: newProgress(progress), setup: newAwait(),
		orderEvents: cat.OrderEvents.Name(), riderEvents: cat.RiderEvents.Name(), verdicts: cat.Verdicts.Name(),
		began: time.Now(), byStatus: make(map[string]int), refusals: make(map[string]int), wake: make(chan struct{}, 1),
	}
	l.prefix = "load-" + l.run + "-o"
	return l.do(ctx)
}

// loader is one run. Read's goroutine plays everybody but the customers who place; mu guards what both use.
type loader struct {
	opt                                LoadOptions
	c                                  *Client
	run, prefix                        string
	out                                *progress
	setup                              *await
	peek                               peeker
	orderEvents, riderEvents, verdicts string

	began      time.Time     // of the run; moments below are counted from it
	firstPlace time.Duration // set before the first order

	mu       sync.Mutex
	orders   []loadOrder // by the number at the end of the id
	final    int
	lastEnd  time.Duration
	lastNews time.Duration
	byStatus map[string]int
	refusals map[string]int // of commands, by reason
	placed   bool           // all of them
	wake     chan struct{}  // an order ended
}

type loadOrder struct {
	placedAt, assignedAt, deliveredAt time.Duration // 0: not yet
	status                            string
	rider                             int32 // who has it; 0: nobody
	assignments                       int32
	manual, cancelOnPaid              bool
	riderMayAsk                       bool // manual: the food is said to be ready
	pickedUp, dropped, done           bool
}

func (l *loader) do(ctx context.Context) (*LoadReport, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	read := make(chan error, 1)
	go func() { read <- l.c.Read(reading, l.handle) }()

	l.out.line("registering %d stores and %d riders in %d areas", l.opt.Stores, l.opt.Riders, l.opt.Areas)
	l.register()
	if err := l.setup.wait(ctx, l.c, read, l.opt.Timeout); err != nil {
		return nil, err
	}

	l.firstPlace = time.Since(l.began)
	l.lastNews = l.firstPlace
	placing := make(chan struct{})
	placeCtx, stopPlacing := context.WithCancel(ctx)
	go func() { defer close(placing); l.place(placeCtx) }()
	err := l.watch(ctx, read)
	stopPlacing()
	<-placing
	stop()
	l.out.end()

	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.opt.Riders { // so that nobody counts on them
		l.c.Rider(l.riderID(int32(i+1)), rider.Command{Meta: domain.Meta{Type: rider.Offline}})
	}
	return l.report(), err
}

func (l *loader) storeID(i int) string   { return fmt.Sprintf("load-%s-s%d", l.run, i+1) }
func (l *loader) riderID(i int32) string { return fmt.Sprintf("load-%s-r%d", l.run, i) }
func (l *loader) area(i int) string      { return fmt.Sprintf("load-%s-a%d", l.run, i%l.opt.Areas+1) }
func (l *loader) manual(store int) bool {
	return float64(store) < l.opt.ManualShare*float64(l.opt.Stores)
}

// place of the i-th store or rider: areas lie 10 km apart, and things in one area within two.
func (l *loader) where(i int) domain.Place {
	area := i % l.opt.Areas
	return domain.Place{Lat: 37 + 0.1*float64(area%10) + 0.001*float64(i/l.opt.Areas%20), Lon: 127 + 0.1*float64(area/10)}
}

const loadProducts = 3

func (l *loader) register() {
	for i := range l.opt.Stores {
		id, at := l.storeID(i), l.where(i)
		say := func(what string, cmd stock.Command) {
			cmd.Verdict, cmd.ID = true, commandID(id, what)
			l.setup.add(cmd.ID)
			l.c.Store(id, cmd)
		}
		say("register", stock.Command{Meta: domain.Meta{Type: stock.Register}, Name: &id, Area: new(l.area(i)), Lat: &at.Lat, Lon: &at.Lon,
			AutoAccept: new(!l.manual(i)), CookingTime: new(domain.Duration(l.opt.CookingTime))})
		for p := range loadProducts {
			product := "p" + strconv.Itoa(p+1)
			say("put:"+product, stock.Command{Meta: domain.Meta{Type: stock.PutProduct}, Product: product, Name: new("Dish " + product), Price: new(domain.Money(8000 + 1000*p))})
			say("add:"+product, stock.Command{Meta: domain.Meta{Type: stock.AddStock}, Product: product, Quantity: stock.MaxQuantity})
		}
	}
	for i := range l.opt.Riders {
		id, at := l.riderID(int32(i+1)), l.where(i)
		l.setup.add("entered/" + id)
		l.c.Rider(id, rider.Command{Meta: domain.Meta{Type: rider.Online, ID: commandID(id, rider.Online)}, Area: l.area(i), Lat: &at.Lat, Lon: &at.Lon, Capacity: &l.opt.Capacity})
	}
	l.setup.seal()
}

// place plays the customers until all orders are placed or ctx ends.
func (l *loader) place(ctx context.Context) {
	rnd := mathrand.New(mathrand.NewPCG(l.opt.Seed, 1))
	start := time.Now()
	for n := 0; l.opt.Orders == 0 || n < l.opt.Orders; n++ {
		due := start
		if l.opt.Rate > 0 {
			due = start.Add(time.Duration(float64(n) / l.opt.Rate * float64(time.Second)))
		}
		if l.opt.Duration > 0 && time.Since(start) >= l.opt.Duration || !l.waitTurn(ctx, n, due) {
			break
		}
		if l.opt.Duration > 0 && time.Since(start) >= l.opt.Duration {
			break
		}

		store := rnd.IntN(l.opt.Stores)
		lines := []domain.Line{{Product: "p1", Quantity: 1 + rnd.IntN(2)}}
		if rnd.IntN(2) == 0 {
			lines = append(lines, domain.Line{Product: "p" + strconv.Itoa(2+rnd.IntN(loadProducts-1)), Quantity: 1})
		}
		at := l.where(store)
		o := loadOrder{manual: l.manual(store)}
		cancelNow := false
		if l.opt.CancelShare > 0 && rnd.Float64() < l.opt.CancelShare {
			cancelNow = rnd.IntN(2) == 0
			o.cancelOnPaid = !cancelNow
		}

		id := l.prefix + strconv.Itoa(n)
		l.mu.Lock()
		o.placedAt = time.Since(l.began)
		if l.final == len(l.orders) { // nobody could have given news
			l.lastNews = o.placedAt
		}
		l.orders = append(l.orders, o)
		l.mu.Unlock()
		l.c.Order(id, order.Command{Meta: domain.Meta{Type: order.Place, ID: commandID(id, order.Place)},
			UserID: fmt.Sprintf("load-%s-u%d", l.run, n%1000), StoreID: l.storeID(store), Lines: lines,
			Address: &order.Address{Text: "Teheran-ro 1", Lat: new(at.Lat + 0.01), Lon: &at.Lon}})
		if cancelNow {
			l.cancel(id)
		}
	}
	l.mu.Lock()
	l.placed = true
	l.mu.Unlock()
}

// waitTurn blocks until the n-th order is due and there is room for it; false when ctx ends before.
func (l *loader) waitTurn(ctx context.Context, n int, due time.Time) bool {
	for {
		l.mu.Lock()
		room := l.opt.InFlight == 0 || n-l.final < l.opt.InFlight
		l.mu.Unlock()
		wait := time.Until(due)
		if room && wait <= 0 {
			return ctx.Err() == nil
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		} else if l.opt.Duration > 0 {
			timer = time.After(time.Second) // to look at the clock
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer:
			if wait <= 0 {
				return true
			}
		case <-l.wake:
		}
	}
}

// watch reports the progress until every order has ended, or nothing happens any more.
func (l *loader) watch(ctx context.Context, read <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	check := time.NewTicker(20 * time.Millisecond)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-read:
			return err
		case <-l.c.Failed():
			return l.c.Err()
		case <-check.C:
			l.mu.Lock()
			done := l.placed && l.final == len(l.orders)
			quiet := time.Since(l.began)-l.lastNews > l.opt.Timeout && l.final < len(l.orders)
			l.mu.Unlock()
			if done || quiet {
				return nil
			}
		case <-tick.C:
			l.mu.Lock()
			l.out.rate(l.final, l.opt.Orders, len(l.orders), time.Since(l.began)-l.firstPlace)
			l.mu.Unlock()
		}
	}
}

// handle plays the stores, the riders and the customers who wait.
func (l *loader) handle(batch []*kgo.Record, _ bool) {
	now := time.Since(l.began)
	l.mu.Lock()
	defer l.mu.Unlock()
	ended := l.final
	for _, r := range batch {
		switch r.Topic {
		case l.orderEvents:
			if i, ok := l.number(string(r.Key)); ok {
				if h, ok := l.peek.peek(r.Value, wantType); ok {
					l.lastNews = now
					l.orderEvent(string(r.Key), &l.orders[i], h.Type, now)
				}
			}
		case l.riderEvents:
			l.riderEvent(string(r.Key), r.Value)
		case l.verdicts:
			l.verdict(string(r.Key), r.Value)
		}
	}
	if l.final > ended {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// number returns which of the run's orders id names.
func (l *loader) number(id string) (int, bool) {
	digits, ok := strings.CutPrefix(id, l.prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && n < len(l.orders)
}

func (l *loader) orderEvent(id string, o *loadOrder, event string, now time.Duration) {
	if o.done { // an event that comes twice
		return
	}
	switch event {
	case order.Delayed, order.Reminded, order.Stuck, order.Escalated, order.RiderLost:
		return
	case order.RiderAssigned:
		def(&o.assignedAt, now)
		return
	}
	o.status = event
	switch status := order.Status(event); status {
	case order.Paid:
		if o.cancelOnPaid {
			l.cancel(id)
		}
		if o.manual {
			l.say(id, "accept", order.Command{Meta: domain.Meta{Type: order.Accept}, CookingTime: new(domain.Duration(l.opt.CookingTime))})
		}
	case order.AcceptedStatus:
		if o.manual {
			l.say(id, "start", order.Command{Meta: domain.Meta{Type: order.StartCooking}})
		}
	case order.Cooking:
		if o.manual {
			l.say(id, "finish", order.Command{Meta: domain.Meta{Type: order.FinishCooking}})
		}
	case order.Ready:
		o.riderMayAsk = true
		l.pickUp(id, o)
	case order.Assigned:
		def(&o.assignedAt, now)
		o.riderMayAsk = true
		l.pickUp(id, o)
	case order.PickedUp:
		if o.rider != 0 && !o.dropped {
			o.dropped = true
			l.rider(o.rider, id, rider.Delivered, o.assignments)
		}
	case order.Delivered:
		def(&o.deliveredAt, now)
		l.say(id, "confirm", order.Command{Meta: domain.Meta{Type: order.Confirm}})
	default:
		if status.Final() {
			o.done = true
			l.final++
			l.lastEnd = now
			l.byStatus[event]++
		}
	}
}

func (l *loader) riderEvent(id string, value []byte) {
	digits, ok := strings.CutPrefix(id, "load-"+l.run+"-r")
	if !ok {
		return
	}
	h, ok := l.peek.peek(value, wantType)
	if !ok {
		return
	}
	switch h.Type {
	case dispatch.Entered:
		l.setup.seen("entered/" + id)
	case dispatch.RiderAssigned, dispatch.RiderUnassigned:
		n, err := strconv.Atoi(digits)
		h, ok := l.peek.peek(value, wantOrderID)
		i, known := l.number(h.OrderID)
		if !ok || !known || err != nil {
			return
		}
		o, who := &l.orders[i], int32(n)
		switch {
		case o.done || o.dropped:
		case h.Type == dispatch.RiderUnassigned:
			if o.rider == who {
				o.rider, o.pickedUp = 0, false
			}
		case o.rider != who:
			o.rider = who
			o.pickedUp = false
			o.assignments++
			l.pickUp(h.OrderID, o)
		}
	}
}

// pickUp has the rider at the store at once. Where the store cooks by command he waits until it has said that it is done; else
// he says so himself by picking up.
func (l *loader) pickUp(id string, o *loadOrder) {
	if o.rider == 0 || o.pickedUp || o.manual && !o.riderMayAsk {
		return
	}
	o.pickedUp = true
	l.rider(o.rider, id, rider.PickedUp, o.assignments)
}

func (l *loader) rider(who int32, orderID, what string, n int32) {
	id := commandID(orderID, what, strconv.Itoa(int(n)))
	l.c.Rider(l.riderID(who), rider.Command{Meta: domain.Meta{Type: what, ID: id}, OrderID: orderID})
}

func (l *loader) say(id, what string, cmd order.Command) {
	cmd.ID = commandID(id, what)
	l.c.Order(id, cmd)
}

func (l *loader) cancel(id string) {
	l.say(id, "cancel", order.Command{Meta: domain.Meta{Type: order.Cancel}, By: order.Customer, Reason: "changed my mind"})
}

func (l *loader) verdict(key string, value []byte) {
	if !strings.HasPrefix(key, "load-"+l.run) {
		return
	}
	h, ok := l.peek.peek(value, wantType|wantCommandID)
	if !ok {
		return
	}
	if h.Type == domain.Refused {
		// The reason comes after the fields above, and an acceptance has none.
		full, _ := l.peek.peek(value, wantReason)
		l.setup.refused(h.CommandID, full.Reason)
		l.refusals[withoutNames(full.Reason)]++
		return
	}
	l.setup.seen(h.CommandID)
}

func (l *loader) report() *LoadReport {
	rep := &LoadReport{
		Run: l.run, Orders: len(l.orders), Final: l.final, ByStatus: l.byStatus, RefusedCommands: l.refusals,
		Stores: l.opt.Stores, Areas: l.opt.Areas, Riders: l.opt.Riders, InFlight: l.opt.InFlight, Rate: l.opt.Rate, WarmUp: l.opt.WarmUp.Seconds(),
		UnfinishedByStatus: make(map[string]int),
	}
	end := l.lastEnd
	var assigned, delivered []float64
	for i := range l.orders {
		o := &l.orders[i]
		warm := o.placedAt-l.firstPlace >= l.opt.WarmUp
		if warm && o.assignedAt > 0 {
			assigned = append(assigned, millis(o.assignedAt-o.placedAt))
		}
		if warm && o.deliveredAt > 0 {
			delivered = append(delivered, millis(o.deliveredAt-o.placedAt))
		}
		if !o.done {
			rep.Unfinished++
			status := cmp.Or(o.status, "not seen")
			rep.UnfinishedByStatus[status]++
			if len(rep.UnfinishedOrders) < 20 {
				rep.UnfinishedOrders = append(rep.UnfinishedOrders, UnfinishedOrder{ID: l.prefix + strconv.Itoa(i), Status: status})
			}
		}
	}
	rep.PlaceToAssignedMs, rep.PlaceToDeliveredMs = percentiles(assigned), percentiles(delivered)
	if end > l.firstPlace {
		rep.WallSeconds = (end - l.firstPlace).Seconds()
		rep.LifecyclesPerSecond = float64(l.final) / rep.WallSeconds
	}
	return rep
}

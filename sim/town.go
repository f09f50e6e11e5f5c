package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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

// TownOptions shape the town. The zero value is fine.
type TownOptions struct {
	Seed            uint64        // of what its people do. Default: another one each time
	OrdersPerSecond float64       // on average. Default 3
	Riders          int           // default 21, dealt out among the areas
	Users           int           // default 50
	Timeout         time.Duration // for the engine to answer the stores at the start. Default 2m
}

// townMemory is how many of the newest records of each partition a town that comes up again looks at to learn what is under way.
// It is an hour and more of a default town, so it holds every order that still waits for somebody.
const townMemory = 20_000

// Town keeps a small town alive until ctx ends, which is no error: people order, stores cook, riders ride, and some of them change
// their minds. It writes a line for each order as it ends. Its stores and riders serve other clients' orders too. A town that
// comes up again goes on with the orders that are under way.
func Town(ctx context.Context, cat *topics.Catalog, brokers []string, opt TownOptions, out io.Writer) error {
	def(&opt.Seed, rand.Uint64())
	def(&opt.OrdersPerSecond, 3)
	def(&opt.Riders, 21)
	def(&opt.Users, 50)
	def(&opt.Timeout, 2*time.Minute)
	if !(opt.OrdersPerSecond > 0) || opt.Riders < 1 || opt.Users < 1 {
		return errors.New("a town needs orders, riders and users")
	}
	c, err := Dial(ctx, cat, brokers, townMemory, cat.OrderEvents.Name(), cat.RiderEvents.Name(), cat.Verdicts.Name())
	if err != nil {
		return ended(ctx, err)
	}
	defer c.Close()
	t := &town{
		opt: opt, c: c, cat: cat, out: townPrinter{w: out, colour: colours(out)}, setup: newAwait(),
		rnd: rand.New(rand.NewPCG(opt.Seed, 2)), began: time.Now(), born: strconv.FormatInt(time.Now().Unix(), 36),
		stores: make(map[string]*townStore), orders: make(map[string]*townOrder), jobs: make(map[string]*townJob), ask: make(map[string]bool),
	}
	return ended(ctx, t.do(ctx))
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// town is one run. Everything but reading happens in do's goroutine.
type town struct {
	opt   TownOptions
	c     *Client
	cat   *topics.Catalog
	out   townPrinter
	setup *await
	rnd   *rand.Rand

	began  time.Time
	born   string // in the ids of this run's orders
	agenda agenda // in seconds since began
	live   bool   // what happened before is known, and acted upon

	stores map[string]*townStore
	orders map[string]*townOrder
	jobs   map[string]*townJob // by order
	ask    map[string]bool     // dishes that are on their way into a store
	ended  []string            // orders, oldest first, kept for a while as events may come twice
	open   int                 // of this run's own orders
	placed int
}

// townOrder is what the newest event says, and what the first one said about the time.
type townOrder struct {
	order.Event
	placedAt domain.Time
	own      bool
	done     bool
	reacted  string // to which status and attempt
	tries    int    // of starting to cook
}

// townJob is a delivery in a rider's hands.
type townJob struct {
	dispatch.RiderEvent
	started, arrived, asked, riding bool
}

func (t *town) do(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	batches, read := t.c.batches(reading)
	t.settle()
	deadline := time.After(t.opt.Timeout)
	ready := t.setup.done
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := t.now()
		for item, ok := t.agenda.next(now); ok; item, ok = t.agenda.next(now) {
			item.do()
		}
		wait := time.Minute
		if len(t.agenda.items) > 0 {
			wait = time.Duration((t.agenda.items[0].at - t.now()) * float64(time.Second))
		}
		timer.Reset(max(wait, 0))
		select {
		case b := <-batches:
			for _, rec := range b.records {
				t.read(rec)
			}
			if b.live && !t.live {
				t.wakeUp()
			}
		case <-ready:
			if t.setup.problem != nil {
				return t.setup.problem
			}
			ready, deadline = nil, nil
			t.order()
		case <-deadline:
			return t.setup.timeout(t.opt.Timeout)
		case <-timer.C:
		case <-ctx.Done():
			return nil
		case err := <-read:
			return err
		case <-t.c.Failed():
			return t.c.Err()
		}
	}
}

func (t *town) now() float64 { return time.Since(t.began).Seconds() }

func (t *town) after(seconds float64, do func()) { t.agenda.add(t.now()+seconds, do) }

// between draws seconds.
func (t *town) between(lo, hi float64) float64 { return lo + (hi-lo)*t.rnd.Float64() }

func (t *town) chance(p float64) bool { return t.rnd.Float64() < p }

// near draws a place within some metres of another one.
func (t *town) near(p domain.Place, metres float64) domain.Place {
	const degree = earthRadius * math.Pi / 180
	return domain.Place{Lat: p.Lat + t.between(-metres, metres)/degree, Lon: p.Lon + t.between(-metres, metres)/degree/math.Cos(p.Lat*math.Pi/180)}
}

// settle registers stores and riders. The ids of what must not happen twice are the same at each start.
func (t *town) settle() {
	for i := range townStores {
		s := *townStores[i]
		// Where it lies is a matter of its place in the list: a store does not move when the town comes up again.
		s.at = townAreas[s.area].at
		s.at.Lat += 0.004 * math.Sin(float64(i))
		s.at.Lon += 0.005 * math.Cos(float64(i))
		t.stores[s.id] = &s
		say := func(id string, cmd stock.Command) {
			cmd.ID, cmd.Verdict = commandID("town", s.id, id), true
			t.setup.add(cmd.ID)
			t.c.Store(s.id, cmd)
		}
		say("register", stock.Command{Meta: meta(stock.Register, ""), Name: &s.name, Area: &townAreas[s.area].id, Lat: &s.at.Lat, Lon: &s.at.Lon,
			AutoAccept: &s.auto, CookingTime: new(domain.Duration(s.cooks))})
		for _, d := range s.menu {
			say("put:"+d.id, stock.Command{Meta: meta(stock.PutProduct, ""), Product: d.id, Name: &d.name, Price: &d.price})
			say("opening-stock:"+d.id, stock.Command{Meta: meta(stock.AddStock, ""), Product: d.id, Quantity: d.stock})
		}
	}
	for i := range t.opt.Riders {
		id := fmt.Sprintf("r-%d", i+1)
		area := townAreas[i%len(townAreas)]
		at := t.near(area.at, 900)
		t.c.Rider(id, rider.Command{Meta: meta(rider.Online, commandID("town", t.born, id, rider.Online)), Area: area.id, Lat: &at.Lat, Lon: &at.Lon, Capacity: new(3)})
	}
	t.setup.seal()
}

// order places orders from now on.
func (t *town) order() {
	t.after(t.rnd.ExpFloat64()/t.opt.OrdersPerSecond, func() {
		if t.open < 300 { // an engine that stands still is not buried
			t.place()
		}
		t.order()
	})
}

func (t *town) place() {
	s := t.stores[townStores[t.rnd.IntN(len(townStores))].id]
	t.placed++
	id := fmt.Sprintf("o-%s-%d", t.born, t.placed)
	d := s.menu[t.rnd.IntN(len(s.menu))]
	if d.price > CardLimit && t.chance(0.8) {
		d = s.menu[0]
	}
	lines := []domain.Line{{Product: d.id, Quantity: 1 + t.rnd.IntN(3)}}
	if more := s.menu[t.rnd.IntN(len(s.menu))]; more.id != d.id && more.price < CardLimit && t.chance(0.4) {
		lines = append(lines, domain.Line{Product: more.id, Quantity: 1})
	}
	at := t.near(s.at, 1000)
	t.open++
	o := &townOrder{own: true, Event: order.Event{OrderID: id}}
	t.orders[id] = o
	t.c.Order(id, order.Command{Meta: meta(order.Place, commandID(id, order.Place)), UserID: fmt.Sprintf("u-%d", 1+t.rnd.IntN(t.opt.Users)), StoreID: s.id,
		Lines: lines, Address: &order.Address{Text: townAreas[s.area].id, Lat: &at.Lat, Lon: &at.Lon}, Note: "please ring", Phone: "010-0000-0000"})
	if t.chance(0.05) {
		t.after(t.between(0.1, 1.5), func() {
			if !o.done {
				t.say(o, order.Command{Meta: meta(order.Cancel, ""), By: order.Customer, Reason: "changed my mind"})
			}
		})
	}
}

func (t *town) say(o *townOrder, cmd order.Command) {
	cmd.ID = commandID(o.OrderID, cmd.Type, strconv.Itoa(o.Attempt))
	if o.tries > 0 && cmd.Type == order.StartCooking {
		cmd.ID = commandID(cmd.ID, strconv.Itoa(o.tries))
	}
	t.c.Order(o.OrderID, cmd)
}

func (t *town) read(rec *kgo.Record) {
	key := string(rec.Key)
	if strings.HasPrefix(key, "load-") || strings.HasPrefix(key, "day-") {
		return // of a Load or a Replay on the same streams
	}
	switch rec.Topic {
	case t.cat.OrderEvents.Name():
		if e, err := codecs.Decode[order.Event](rec.Value); err == nil && t.stores[e.StoreID] != nil {
			t.orderEvent(e)
		}
	case t.cat.RiderEvents.Name():
		if e, err := codecs.Decode[dispatch.RiderEvent](rec.Value); err == nil && t.isRider(key) {
			t.riderEvent(e)
		}
	case t.cat.Verdicts.Name():
		if v, err := codecs.Decode[domain.Verdict](rec.Value); err == nil {
			t.verdict(key, v)
		}
	}
}

func (t *town) isRider(id string) bool {
	digits, ok := strings.CutPrefix(id, "r-")
	n, err := strconv.Atoi(digits)
	return ok && err == nil && n >= 1 && n <= t.opt.Riders
}

// wakeUp acts upon everything that was left as it was.
func (t *town) wakeUp() {
	t.live = true
	for _, o := range t.orders {
		if !o.done {
			t.react(o)
		}
	}
}

func (t *town) orderEvent(e *order.Event) {
	o := t.orders[e.OrderID]
	if o == nil {
		o = &townOrder{}
		t.orders[e.OrderID] = o
	}
	if e.Version <= o.Version { // an event that comes twice
		return
	}
	if e.Version == 1 {
		o.placedAt = e.At
	}
	o.Event = *e
	final := e.Status.Final()
	if final && !o.done {
		o.done = true
		if o.own {
			t.open--
		}
		t.forget(e.OrderID)
		delete(t.jobs, e.OrderID)
		if t.live || e.At.Time().After(t.began) {
			t.out.ended(o, t.stores[e.StoreID])
		}
	} else if !final {
		o.done = false // a completed order that is complained about after all
	}
	t.react(o)
}

// forget drops the orders that ended long ago.
func (t *town) forget(ended string) {
	t.ended = append(t.ended, ended)
	if len(t.ended) > 5000 {
		if o := t.orders[t.ended[0]]; o != nil && o.done {
			delete(t.orders, t.ended[0])
		}
		t.ended = t.ended[1:]
	}
}

// react has the store, the customer and the rider do what the order's status asks of them; once for each status of an attempt.
func (t *town) react(o *townOrder) {
	if !t.live || o.Version == 0 {
		return
	}
	if j := t.jobs[o.OrderID]; j != nil {
		t.ride(o, j)
	}
	once := fmt.Sprintf("%s/%d", o.Status, o.Attempt)
	if o.reacted == once {
		return
	}
	o.reacted = once
	s := t.stores[o.StoreID]
	while := func(seconds float64, cmd order.Command) {
		t.after(seconds, func() {
			if o.reacted == once {
				t.say(o, cmd)
			}
		})
	}
	switch o.Status {
	case order.Paid:
		switch {
		case s.auto:
		case t.chance(0.05):
			while(t.between(0.5, 2), order.Command{Meta: meta(order.Reject, ""), Reason: "too busy"})
		default:
			while(t.between(0.5, 1.5), order.Command{Meta: meta(order.Accept, ""), CookingTime: new(domain.Duration(s.cooks))})
		}
	case order.AcceptedStatus:
		if !s.auto {
			while(0.3, order.Command{Meta: meta(order.StartCooking, "")})
		}
	case order.Cooking:
		if !s.auto {
			if t.chance(0.05) {
				while(0.1, order.Command{Meta: meta(order.Postpone, ""), By: "1s"})
			}
			while(s.cooks.Seconds()*t.between(0.8, 1.3), order.Command{Meta: meta(order.FinishCooking, "")})
		}
	case order.Delivered:
		switch {
		case !strings.HasPrefix(o.OrderID, "o-"): // another client's customer speaks for himself
		case o.Attempt == 1 && t.chance(0.03):
			wish := order.WishRefund
			if t.chance(0.5) {
				wish = order.WishRedelivery
			}
			while(t.between(0.5, 2), order.Command{Meta: meta(order.RequestRefund, ""), UserID: o.UserID, Reason: "it came cold",
				PhotoURL: "https://photos.invalid/" + o.OrderID + ".jpg", Wish: wish})
		default:
			while(t.between(0.3, 1.5), order.Command{Meta: meta(order.Confirm, "")})
		}
	case order.RefundRequested:
		if t.chance(0.7) {
			while(t.between(1, 2), order.Command{Meta: meta(order.ApproveRefund, "")})
		} else {
			while(t.between(1, 2), order.Command{Meta: meta(order.DenyRefund, ""), Reason: "the photo shows another dish"})
		}
	case order.RefusedStatus:
		for _, short := range o.Short {
			t.restock(s, short.Product)
		}
	}
}

// restock brings in a dish that was sold out, some seconds later.
func (t *town) restock(s *townStore, product string) {
	id := s.id + "/" + product
	if t.ask[id] {
		return
	}
	t.ask[id] = true
	for _, d := range s.menu {
		if d.id == product {
			t.after(t.between(3, 8), func() {
				delete(t.ask, id)
				t.c.Store(s.id, stock.Command{Meta: meta(stock.AddStock, commandID("town", s.id, product, "restock", t.born, strconv.FormatInt(time.Now().UnixMilli(), 10))),
					Product: product, Quantity: d.stock})
			})
		}
	}
}

func (t *town) riderEvent(e *dispatch.RiderEvent) {
	switch e.Type {
	case dispatch.RiderAssigned:
		// What riders were told of one order is on several partitions: an older word may be read later.
		if j := t.jobs[e.OrderID]; j != nil && (j.ID == e.ID || j.At > e.At) || e.Pickup == nil || e.Drop == nil {
			return
		}
		if o := t.orders[e.OrderID]; o != nil && (o.done || o.Attempt > e.Attempt) {
			return
		}
		t.jobs[e.OrderID] = &townJob{RiderEvent: *e}
		if o := t.orders[e.OrderID]; o != nil {
			t.react(o)
		}
	case dispatch.RiderUnassigned, dispatch.RiderDelivered:
		if j := t.jobs[e.OrderID]; j != nil && j.RiderID == e.RiderID {
			delete(t.jobs, e.OrderID)
		}
	}
}

// ride goes on with a delivery as far as its order lets.
func (t *town) ride(o *townOrder, j *townJob) {
	still := func(do func()) func() {
		return func() {
			if t.jobs[o.OrderID] == j {
				do()
			}
		}
	}
	switch {
	case o.Status == order.PickedUp:
		if j.riding || o.Attempt != j.Attempt {
			return
		}
		j.riding = true
		takes := rideTime(*j.Pickup, *j.Drop)
		half := domain.Place{Lat: (j.Pickup.Lat + j.Drop.Lat) / 2, Lon: (j.Pickup.Lon + j.Drop.Lon) / 2}
		t.after(takes/2, still(func() { t.move(j, half) }))
		t.after(takes, still(func() {
			t.move(j, *j.Drop)
			t.tell(j, rider.Delivered)
		}))
	case !j.started:
		j.started = true
		if t.chance(0.04) {
			t.after(t.between(0.4, 1), still(func() { t.tell(j, rider.Decline) }))
			return
		}
		t.after(t.between(2, 4), still(func() {
			j.arrived = true
			t.move(j, *j.Pickup)
			t.ride(o, j)
		}))
	case j.arrived && !j.asked && (o.Status == order.Ready || o.Status == order.Assigned):
		j.asked = true
		t.tell(j, rider.PickedUp)
	}
}

// rideTime is what a rider takes in seconds: the town lives some sixty times as fast as a real one.
func rideTime(from, to domain.Place) float64 {
	const degree = earthRadius * math.Pi / 180
	return 2 + math.Hypot(to.Lat-from.Lat, (to.Lon-from.Lon)*math.Cos(from.Lat*math.Pi/180))*degree/350
}

func (t *town) tell(j *townJob, what string) {
	t.c.Rider(j.RiderID, rider.Command{Meta: meta(what, commandID(assignmentOf(&j.RiderEvent), what)), OrderID: j.OrderID})
}

func (t *town) move(j *townJob, to domain.Place) {
	t.c.Rider(j.RiderID, rider.Command{Meta: meta(rider.Move, ""), Lat: &to.Lat, Lon: &to.Lon})
}

func (t *town) verdict(key string, v *domain.Verdict) {
	if v.Verdict == domain.Accepted {
		t.setup.seen(v.CommandID)
		return
	}
	t.setup.refused(v.CommandID, v.Reason)
	if !t.live {
		return
	}
	// The goods of a second delivery may not be reserved yet when the store wants to start.
	if o := t.orders[key]; o != nil && o.Status == order.AcceptedStatus && strings.HasPrefix(v.CommandID, commandID(key, order.StartCooking)) && o.tries < 10 {
		o.tries++
		t.after(0.5, func() {
			if o.Status == order.AcceptedStatus {
				t.say(o, order.Command{Meta: meta(order.StartCooking, "")})
			}
		})
	}
}

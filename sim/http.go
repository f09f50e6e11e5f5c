package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"baedal/client"
)

// LoadOverHTTP is Load by people who talk to the API at an address and to nothing else: customers place an order, wait for it
// with long polls and confirm it, riders follow their events and do what these say. Stores accept and cook by themselves.
func LoadOverHTTP(ctx context.Context, server string, opt LoadOptions, progress io.Writer) (*LoadReport, error) {
	if opt.ManualShare != 0 || opt.CancelShare != 0 || opt.Rate != 0 {
		return nil, errors.New("over HTTP there is no --rate, --manual-share and --cancel-rate: leave them out")
	}
	opt.InFlight = cmp.Or(opt.InFlight, 64) // each is a connection
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, opt.InFlight+opt.Riders
	defer transport.CloseIdleConnections()
	c, err := client.New(server, client.Options{HTTP: &http.Client{Transport: transport}, Wait: 10 * time.Second, Repeat: opt.Timeout})
	if err != nil {
		return nil, err
	}
	l := &httpLoad{opt: opt, c: c, run: newRun(), out: newProgress(progress), byStatus: map[string]int{}, refusals: map[string]int{}}
	return l.do(ctx)
}

type httpLoad struct {
	opt LoadOptions
	c   *client.Client
	run string
	out *progress

	began  time.Time
	placed atomic.Int64
	ended  atomic.Int64

	mu        sync.Mutex
	lastEnd   time.Time
	assigned  []float64
	delivered []float64
	byStatus  map[string]int
	refusals  map[string]int
	open      []UnfinishedOrder
}

func (l *httpLoad) id(kind string, n int) string { return fmt.Sprintf("load-%s-%s%d", l.run, kind, n) }
func (l *httpLoad) area(n int) string            { return l.id("a", n%l.opt.Areas) }

const httpProduct, httpStock = "bibimbap", 1_000_000_000

func (l *httpLoad) do(ctx context.Context) (*LoadReport, error) {
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	working, home := context.WithCancel(ctx)
	var riders errgroup.Group
	for n := range l.opt.Riders {
		riders.Go(func() error { return l.ride(working, n) })
	}
	l.began = time.Now()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-tick.C:
				l.out.rate(int(l.ended.Load()), l.opt.Orders, int(l.placed.Load()), time.Since(l.began))
			case <-working.Done():
				tick.Stop()
				l.out.end()
				return
			}
		}
	}()
	var customers errgroup.Group
	for range l.opt.InFlight {
		customers.Go(func() error { return l.customer(ctx) })
	}
	err := customers.Wait()
	home()
	<-stopped
	if riding := riders.Wait(); riding != nil && !errors.Is(riding, context.Canceled) {
		err = errors.Join(err, riding)
	}
	if l.placed.Load() == 0 {
		return nil, cmp.Or(err, errors.New("no order was placed"))
	}
	return l.report(), err
}

// prepare opens the stores and sends the riders.
func (l *httpLoad) prepare(ctx context.Context) error {
	l.out.line("opening %d stores, %d riders begin their shifts", l.opt.Stores, l.opt.Riders)
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(l.opt.InFlight)
	for n := range l.opt.Stores {
		all.Go(func() error {
			id := l.id("s", n)
			_, err := client.As[client.Store](l.c.RegisterStore(ctx, id, nil, client.Register{Name: "Store " + id, Area: l.area(n), Lat: 37.5, Lon: 127.03,
				AutoAccept: true, CookingTime: l.opt.CookingTime.String()}))
			if err != nil {
				return fmt.Errorf("store %s: %w", id, err)
			}
			if _, err = client.As[client.Product](l.c.PutProduct(ctx, id, httpProduct, nil, client.PutProduct{Name: "Bibimbap", Price: 9000})); err == nil {
				_, err = client.As[client.Product](l.c.AddStock(ctx, id, httpProduct, nil, client.Quantity{Quantity: httpStock}))
			}
			if err != nil {
				return fmt.Errorf("the product of store %s: %w", id, err)
			}
			return nil
		})
	}
	for n := range l.opt.Riders {
		all.Go(func() error {
			id := l.id("r", n)
			if _, err := client.As[client.Rider](l.c.GoOnline(ctx, id, nil, client.Online{Area: l.area(n), Lat: 37.5, Lon: 127.03, Capacity: &l.opt.Capacity})); err != nil {
				return fmt.Errorf("rider %s: %w", id, err)
			}
			return nil
		})
	}
	return all.Wait()
}

// customer places orders one after the other and sees each to its end.
func (l *httpLoad) customer(ctx context.Context) error {
	for ctx.Err() == nil {
		n := int(l.placed.Add(1))
		over := l.opt.Orders > 0 && n > l.opt.Orders || l.opt.Duration > 0 && time.Since(l.began) > l.opt.Duration
		if over {
			l.placed.Add(-1)
			return nil
		}
		if err := l.live(ctx, n); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// live is one order from its customer's side.
func (l *httpLoad) live(ctx context.Context, n int) error {
	id, user := l.id("o", n), l.id("u", n)
	ctx, cancel := context.WithTimeoutCause(ctx, l.opt.Timeout, fmt.Errorf("order %s did not get on within %v", id, l.opt.Timeout))
	defer cancel()
	began := time.Now()
	o, err := client.As[client.Order](l.c.PlaceOrder(ctx, nil, client.PlaceOrder{ID: &id, UserID: user, StoreID: l.id("s", n%l.opt.Stores),
		Lines: []client.OrderedLine{{Product: httpProduct, Quantity: 1}}, Address: client.AddressOf{Lat: 37.51, Lon: 127.04}}))
	var assigned, delivered time.Duration
	for err == nil && delivered == 0 {
		goal := client.Status("delivered")
		if assigned == 0 {
			goal = "assigned"
		}
		o, err = client.As[client.Order](l.c.GetOrder(ctx, id, &client.GetOrderParams{Wait: &goal}))
		switch {
		case err != nil:
		case was(o, "delivered"):
			delivered = time.Since(began)
			assigned = cmp.Or(assigned, delivered)
		case was(o, "assigned"):
			assigned = cmp.Or(assigned, time.Since(began))
		case final(o.Status):
			err = fmt.Errorf("order %s is %s: %s", id, o.Status, o.Reason)
		}
	}
	if err == nil {
		o, err = client.As[client.Order](l.c.ConfirmOrder(ctx, id, nil, client.Bare{}))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		last := "unknown"
		if o != nil {
			last = string(o.Status)
		}
		l.open = append(l.open, UnfinishedOrder{ID: id, Status: last})
		l.refusals[withoutNames(err.Error())]++
		return nil // the others go on
	}
	l.lastEnd = time.Now()
	l.byStatus[string(o.Status)]++
	if began.Sub(l.began) >= l.opt.WarmUp {
		l.assigned, l.delivered = append(l.assigned, millis(assigned)), append(l.delivered, millis(delivered))
	}
	l.ended.Add(1)
	return nil
}

func was(o *client.Order, status client.Status) bool {
	for _, e := range o.Timeline {
		if e.Status == status {
			return true
		}
	}
	return false
}

func final(s client.Status) bool {
	switch s {
	case "completed", "refused", "payment_failed", "rejected", "cancelled", "delivery_failed", "refunded", "refund_denied":
		return true
	}
	return false
}

// ride follows the rider's events and brings what they are given.
func (l *httpLoad) ride(ctx context.Context, n int) error {
	id := l.id("r", n)
	var hands errgroup.Group
	seen := map[string]bool{}
	err := client.Events(ctx, func(ctx context.Context, last *string) (*http.Response, error) {
		return l.c.FollowRider(ctx, id, &client.FollowRiderParams{LastEventID: last})
	}, func(e client.Event) error {
		if e.Name != "rider" {
			return nil
		}
		var r client.Rider
		if err := e.Into(&r); err != nil {
			return err
		}
		for _, d := range r.Deliveries {
			if key := fmt.Sprintf("%s/%d", d.OrderID, d.Attempt); d.State == "assigned" && !seen[key] {
				seen[key] = true
				hands.Go(func() error { return l.bring(ctx, id, d.OrderID) })
			}
		}
		return nil
	})
	return errors.Join(err, hands.Wait())
}

func (l *httpLoad) bring(ctx context.Context, rider, order string) error {
	_, err := client.As[client.Rider](l.c.PickedUp(ctx, rider, nil, client.DeliveryCommand{OrderID: order}))
	if err == nil {
		_, err = client.As[client.Rider](l.c.Delivered(ctx, rider, nil, client.DeliveryCommand{OrderID: order}))
	}
	var refused *client.Problem
	if errors.As(err, &refused) || errors.As(err, new(*client.Pending)) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refusals[withoutNames(err.Error())]++
		return nil
	}
	return err
}

func (l *httpLoad) report() *LoadReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	wall := l.lastEnd.Sub(l.began).Seconds()
	r := &LoadReport{
		Run: l.run, Stores: l.opt.Stores, Areas: l.opt.Areas, Riders: l.opt.Riders, InFlight: l.opt.InFlight, WarmUp: l.opt.WarmUp.Seconds(),
		Orders: int(l.placed.Load()), Final: int(l.ended.Load()), ByStatus: l.byStatus,
		PlaceToAssignedMs: percentiles(l.assigned), PlaceToDeliveredMs: percentiles(l.delivered), RefusedCommands: l.refusals,
		Unfinished: len(l.open), UnfinishedOrders: l.open[:min(20, len(l.open))],
	}
	if wall > 0 {
		r.WallSeconds, r.LifecyclesPerSecond = wall, float64(r.Final)/wall
	}
	return r
}

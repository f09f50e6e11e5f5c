package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"baedal/client"
	"baedal/internal/kafkatest"
)

// instance is one process as an app sees it: through the client alone.
type instance struct {
	t testing.TB
	*client.Client
}

func newInstance(t testing.TB, address string, transport http.RoundTripper) instance {
	c, err := client.New(address, client.Options{HTTP: &http.Client{Transport: transport}, Wait: patience, Repeat: patience})
	require.NoError(t, err)
	return instance{t, c}
}

// accepted returns the thing that an answer shows.
func accepted[T any](i instance) func(*http.Response, error) *T {
	i.t.Helper()
	return func(rsp *http.Response, err error) *T {
		i.t.Helper()
		v, err := client.As[T](rsp, err)
		require.NoError(i.t, err)
		return v
	}
}

// order is the answer to a command about an order, which a GET from the same instance agrees with.
func (i instance) order(rsp *http.Response, err error) *client.Order {
	i.t.Helper()
	said := accepted[client.Order](i)(rsp, err)
	i.agrees(said)
	return said
}

// agrees fails unless an instance shows an order as it said before, or further on.
func (i instance) agrees(said *client.Order) {
	i.t.Helper()
	now := accepted[client.Order](i)(i.GetOrder(i.t.Context(), said.ID, nil))
	require.GreaterOrEqual(i.t, now.Version, said.Version)
	require.Equal(i.t, said.Timeline, now.Timeline[:len(said.Timeline)])
	if now.Version == said.Version {
		require.Equal(i.t, said, now)
	}
}

// came waits until an order has been in a status, or can't come to it any more.
func (i instance) came(id string, status client.Status) *client.Order {
	i.t.Helper()
	o := i.order(i.GetOrder(i.t.Context(), id, &client.GetOrderParams{Wait: &status}))
	require.True(i.t, slices.ContainsFunc(o.Timeline, func(e client.Entry) bool { return e.Status == status }), "order %s never is %s: %s %s", id, status, o.Status, o.Reason)
	return o
}

func (i instance) store(rsp *http.Response, err error) *client.Store {
	i.t.Helper()
	said := accepted[client.Store](i)(rsp, err)
	require.Equal(i.t, said, accepted[client.Store](i)(i.GetStore(i.t.Context(), said.ID, nil)))
	return said
}

func (i instance) product(rsp *http.Response, err error) *client.Product {
	i.t.Helper()
	said := accepted[client.Product](i)(rsp, err)
	require.Equal(i.t, said, accepted[client.Product](i)(i.GetProduct(i.t.Context(), *said.StoreID, said.Product, nil)))
	return said
}

func (i instance) rider(rsp *http.Response, err error) *client.Rider {
	i.t.Helper()
	said := accepted[client.Rider](i)(rsp, err)
	now := accepted[client.Rider](i)(i.GetRider(i.t.Context(), said.ID, nil))
	require.GreaterOrEqual(i.t, now.Version, said.Version)
	if now.Version == said.Version {
		require.Equal(i.t, said, now)
	}
	return said
}

// refused is the answer to a command that the rules do not allow. What it says of an order is what a GET says.
func (i instance) refused(rsp *http.Response, err error) *client.Problem {
	i.t.Helper()
	_, err = client.As[any](rsp, err)
	var p *client.Problem
	require.ErrorAs(i.t, err, &p)
	require.Equal(i.t, http.StatusConflict, p.Status, p.Detail)
	if p.Order != nil {
		i.agrees(p.Order)
	}
	return p
}

func (i instance) unknown(rsp *http.Response, err error) {
	i.t.Helper()
	_, err = client.As[any](rsp, err)
	var p *client.Problem
	require.ErrorAs(i.t, err, &p)
	require.Equal(i.t, http.StatusNotFound, p.Status, p.Detail)
}

// paged reads a list page by page. A page is never longer than asked for.
func paged[T any](i instance, limit int, page func(limit *int, cursor *string) ([]T, *string)) (all []T) {
	i.t.Helper()
	for cursor, next := (*string)(nil), true; next; next = cursor != nil {
		var things []T
		things, cursor = page(&limit, cursor)
		require.LessOrEqual(i.t, len(things), limit)
		require.True(i.t, len(things) > 0 || cursor == nil, "an empty page leads nowhere")
		all = append(all, things...)
	}
	return all
}

func (i instance) orders(filter client.ListOrdersParams, limit int) (ids []string) {
	i.t.Helper()
	for _, o := range paged(i, limit, func(limit *int, cursor *string) ([]client.OrderSummary, *string) {
		filter.Limit, filter.Cursor = limit, cursor
		p := accepted[client.OrderPage](i)(i.ListOrders(i.t.Context(), &filter))
		return p.Orders, p.Cursor
	}) {
		ids = append(ids, o.ID)
	}
	return ids
}

// follower listens to a stream of events.
type follower struct {
	t      testing.TB
	what   string
	events chan client.Event
	heard  []client.Event
}

// follow opens a stream that goes on where it was cut until the test ends.
func follow(t testing.TB, what string, open func(ctx context.Context, last *string) (*http.Response, error)) *follower {
	f := &follower{t: t, what: what, events: make(chan client.Event, 1<<16)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := client.Events(ctx, open, func(e client.Event) error { f.events <- e; return nil })
		if err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", what, err)
		}
		close(f.events)
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// until reads on until an event is what is waited for, and returns it.
func (f *follower) until(what string, is func(client.Event) bool) client.Event {
	f.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, open := <-f.events:
			require.True(f.t, open, "%s: the stream is over, without %s", f.what, what)
			f.heard = append(f.heard, e)
			if is(e) {
				return e
			}
		case <-late:
			require.FailNow(f.t, "it did not come", "%s: %s; heard %d events", f.what, what, len(f.heard))
		}
	}
}

// into is what an event says, or the zero value of another event.
func into[T any](e client.Event, name string) (v T) {
	if e.Name == name {
		_ = e.Into(&v)
	}
	return v
}

func ready(e client.Event) bool { return e.Name == "ready" }

// shows waits for a summary of an order in a status.
func (f *follower) shows(id string, status client.Status) client.OrderSummary {
	f.t.Helper()
	is := func(e client.Event) bool {
		o := into[client.OrderSummary](e, "order")
		return o.ID == id && o.Status == status
	}
	return into[client.OrderSummary](f.until(fmt.Sprintf("order %s is %s", id, status), is), "order")
}

// either sends requests to one instance after the other, so that what one can't answer goes to the next.
type either struct {
	n         atomic.Int64
	addresses []string
}

func (e *either) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = e.addresses[int(e.n.Add(1))%len(e.addresses)]
	return http.DefaultTransport.RoundTrip(r)
}

func ptr[T any](v T) *T { return &v }

const anywhere = "http://any.instance"

// The life of orders as an app's developer has it: over HTTP and through the client alone, the commands through two instances
// in turn. Nothing sleeps and nothing asks twice: an answer shows what its command did, and a GET from the same instance agrees;
// what is waited for comes as the answer to a long poll, or as an event. Then one instance is killed amid waits and streams.
func TestApp(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		flags := []string{"--session-timeout", "6s", "--gateway", "decline-over=50000"}
		w := newWorld(t, b, flags...)
		second := start(t, append(engineFlags(t, b.Addr, w.cat.Prefix), flags...)...)
		a := &app{world: w, second: second, any: newInstance(t, anywhere, &either{addresses: []string{w.p.http, second.http}})}
		for _, p := range []*process{w.p, second} {
			a.instances = append(a.instances, newInstance(t, "http://"+p.http, nil))
		}
		a.run(t, "Shop", a.shop)
		a.run(t, "Delivered", a.delivered)
		a.run(t, "WaysOut", a.waysOut)
		a.run(t, "Complaints", a.complaints)
		a.run(t, "Lists", a.lists)
		a.run(t, "Killed", a.killed)
		w.sound()
	})
}

type app struct {
	*world
	second    *process
	instances []instance
	turn      int
	any       instance // whichever answers
}

func (a *app) run(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, func(t *testing.T) {
		for i := range a.instances {
			a.instances[i].t = t
		}
		a.any.t = t
		f(t)
	}) {
		t.FailNow() // what follows builds upon it
	}
}

// next is the instance whose turn it is.
func (a *app) next() instance {
	a.turn++
	return a.instances[a.turn%len(a.instances)]
}

func (a *app) open(t *testing.T, store, area string, auto bool) {
	i := a.next()
	s := i.store(i.RegisterStore(t.Context(), store, nil, client.Register{Name: "Hong's", Area: area, Lat: 37.5, Lon: 127.03, AutoAccept: auto, CookingTime: "10m"}))
	require.True(t, s.Open)
	i = a.next()
	i.product(i.PutProduct(t.Context(), store, "bibimbap", nil, client.PutProduct{Name: "Bibimbap", Price: 9000}))
	i = a.next()
	p := i.product(i.AddStock(t.Context(), store, "bibimbap", nil, client.Quantity{Quantity: 10}))
	require.Equal(t, 10, p.Available)
}

func (a *app) online(t *testing.T, rider, area string) {
	i := a.next()
	r := i.rider(i.GoOnline(t.Context(), rider, nil, client.Online{Area: area, Lat: 37.5, Lon: 127.03, Name: ptr("Rider " + rider)}))
	require.Equal(t, client.RiderState("idle"), r.State)
}

// place places an order through the next instance, and returns it as it is when it is paid.
func (a *app) place(t *testing.T, id, store string) *client.Order {
	i := a.next()
	return i.order(i.PlaceOrder(t.Context(), &client.PlaceOrderParams{Wait: ptr(client.Status("paid"))}, ordered(id, store, "bibimbap", 1)))
}

func ordered(id, store, product string, n int) client.PlaceOrder {
	return client.PlaceOrder{ID: &id, UserID: "u-1", StoreID: store, Lines: []client.OrderedLine{{Product: product, Quantity: n}},
		Address: client.AddressOf{Lat: 37.51, Lon: 127.04, Text: ptr("Teheran-ro 1")}, Note: ptr("no onions"), Phone: ptr("010-1234-5678")}
}

// brought takes a paid order until its delivery.
func (a *app) brought(t *testing.T, id, rider string) {
	i := a.next()
	i.order(i.AcceptOrder(t.Context(), id, nil, client.AcceptOrder{CookingTime: ptr("15m")}))
	a.started(t, id)
	a.cooked(t, id, rider)
}

func (a *app) started(t *testing.T, id string) *client.Order {
	i := a.next()
	o := i.order(i.StartCooking(t.Context(), id, nil, client.Bare{}))
	require.Equal(t, client.Status("cooking"), o.Status)
	return o
}

// cooked takes an order that is cooked until its delivery.
func (a *app) cooked(t *testing.T, id, rider string) {
	ctx := t.Context()
	i := a.next()
	i.order(i.FinishCooking(ctx, id, nil, client.Bare{}))
	o := a.next().came(id, "assigned")
	require.Equal(t, rider, o.RiderID)
	require.Equal(t, "Rider "+rider, *o.Rider.Name)
	i = a.next()
	r := i.rider(i.PickedUp(ctx, rider, nil, client.DeliveryCommand{OrderID: id}))
	require.Equal(t, client.DeliveryState("picked_up"), r.Deliveries[0].State)
	a.next().came(id, "picked_up")
	i = a.next()
	r = i.rider(i.Delivered(ctx, rider, nil, client.DeliveryCommand{OrderID: id}))
	require.Equal(t, client.RiderState("idle"), r.State)
	require.Empty(t, r.Deliveries)
	a.next().came(id, "delivered")
}

// A store's settings, its menu and its stock.
func (a *app) shop(t *testing.T) {
	ctx := t.Context()
	a.open(t, "s-1", "a-1", false)
	i := a.next()
	require.Equal(t, "Hong's kitchen", i.store(i.ChangeStore(ctx, "s-1", nil, client.ChangeStore{Name: ptr("Hong's kitchen")})).Name)
	i = a.next()
	i.product(i.PutProduct(ctx, "s-1", "pizza", nil, client.PutProduct{Name: "Pizza", Price: 12000}))
	i = a.next()
	require.Equal(t, client.Money(13000), i.product(i.ChangeProduct(ctx, "s-1", "pizza", nil, client.ChangeProduct{Price: ptr(int64(13000))})).Price)
	i = a.next()
	require.Equal(t, client.Code("short"), client.CodeOf(i.refused(i.RemoveStock(ctx, "s-1", "bibimbap", nil, client.Quantity{Quantity: 11}))))
	i = a.next()
	gone := accepted[client.Command](i)(i.RemoveProduct(ctx, "s-1", "pizza", nil))
	require.Equal(t, client.CommandVerdict("accepted"), gone.Verdict)
	i.unknown(i.GetProduct(ctx, "s-1", "pizza", nil))
	menu := accepted[client.ProductPage](i)(i.ListProducts(ctx, "s-1", nil))
	require.Len(t, menu.Products, 1)

	// Who expects a version that is not there any more is told so.
	i = a.next()
	_, err := client.As[client.Store](i.ChangeStore(ctx, "s-1", &client.ChangeStoreParams{IfMatch: ptr(`"1"`)}, client.ChangeStore{Name: ptr("late")}))
	require.Equal(t, client.Code("version"), client.CodeOf(err), "%v", err)
}

// An order from its placing to its end, with the board, the rider, the area, the customer and the order itself looking on.
func (a *app) delivered(t *testing.T) {
	ctx := t.Context()
	a.online(t, "r-1", "a-1")
	i := a.next()
	require.Equal(t, 37.501, *i.rider(i.Move(ctx, "r-1", nil, client.Move{Lat: 37.501, Lon: 127.03})).Lat)

	board := follow(t, "board", func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowStore(ctx, "s-1", &client.FollowStoreParams{LastEventID: last})
	})
	rider := follow(t, "rider", func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowRider(ctx, "r-1", &client.FollowRiderParams{LastEventID: last})
	})
	area := follow(t, "area", func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowArea(ctx, "a-1", &client.FollowAreaParams{LastEventID: last})
	})
	user := follow(t, "user", func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowUser(ctx, "u-1", &client.FollowUserParams{LastEventID: last})
	})
	for _, f := range []*follower{board, rider, area, user} {
		f.until("what is has been told", ready)
	}

	placed := a.place(t, "o-1", "s-1")
	require.Equal(t, int64(9000), *placed.Total)
	require.Equal(t, []any{"no onions", "010-1234-5678", "Teheran-ro 1"}, []any{placed.Note, placed.Phone, *placed.Address.Text})
	life := follow(t, "order", func(ctx context.Context, last *string) (*http.Response, error) {
		p := &client.FollowOrderParams{}
		if last != nil {
			var v int
			if _, err := fmt.Sscan(*last, &v); err != nil {
				return nil, err
			}
			p.LastEventID = &v
		}
		return a.any.FollowOrder(ctx, "o-1", p)
	})
	board.shows("o-1", "paid")
	i = a.next()
	listed := accepted[client.Board](i)(i.GetBoard(ctx, "s-1", nil))
	require.Len(t, *listed.Orders.Paid, 1)
	require.Equal(t, "no onions", (*listed.Orders.Paid)[0].Note)
	stock := accepted[client.Stock](i)(i.GetStock(ctx, "s-1", nil))
	require.Equal(t, []int{10, 1, 9}, []int{stock.Products[0].OnHand, stock.Products[0].Reserved, stock.Products[0].Available})

	// The same order again is the same answer; another one under its id is refused.
	i = a.next()
	require.Equal(t, "o-1", i.order(i.PlaceOrder(ctx, nil, ordered("o-1", "s-1", "bibimbap", 1))).ID)
	i = a.next()
	require.Equal(t, client.Code("reused"), client.CodeOf(i.refused(i.PlaceOrder(ctx, nil, ordered("o-1", "s-1", "bibimbap", 2)))))

	i = a.next()
	require.Equal(t, client.Status("accepted"), i.order(i.AcceptOrder(ctx, "o-1", nil, client.AcceptOrder{CookingTime: ptr("15m")})).Status)
	offered := into[client.Rider](rider.until("the delivery", func(e client.Event) bool { return len(into[client.Rider](e, "rider").Deliveries) == 1 }), "rider")
	require.Equal(t, []any{"o-1", "no onions", "010-1234-5678"}, []any{offered.Deliveries[0].OrderID, offered.Deliveries[0].Note, *offered.Deliveries[0].Phone})
	area.until("the delivery is assigned", func(e client.Event) bool {
		d := into[client.Delivery](e, "delivery")
		return d.OrderID == "o-1" && d.State == "assigned" && *d.RiderID == "r-1"
	})
	a.started(t, "o-1")
	a.cooked(t, "o-1", "r-1")

	i = a.next()
	require.Equal(t, client.Code("status"), client.CodeOf(i.refused(i.CancelOrder(ctx, "o-1", nil, client.CancelOrder{}))), "it is too late")
	i = a.next()
	done := i.order(i.ConfirmOrder(ctx, "o-1", nil, client.Bare{}))
	require.Equal(t, client.Status("completed"), done.Status)

	board.until("the order has left the board", func(e client.Event) bool { return into[struct{ ID string }](e, "gone").ID == "o-1" })
	user.until("the last message", func(e client.Event) bool {
		m := into[client.Message](e, "message")
		return m.OrderID == "o-1" && m.Status == "delivered"
	})
	i = a.next()
	messages := accepted[client.MessagePage](i)(i.GetMessages(ctx, "u-1", nil))
	require.NotEmpty(t, messages.Messages)
	life.until("the end", func(e client.Event) bool { return e.Name == "completed" })
	var told []int
	for _, e := range life.heard {
		if e.Name != "rider" {
			told = append(told, into[client.Entry](e, e.Name).Version)
		}
	}
	require.Equal(t, upTo(done.Version), told)
}

// upTo is 1, 2, … n.
func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

// Orders that come to nothing say why in the answer to their customer.
func (a *app) waysOut(t *testing.T) {
	ctx := t.Context()
	paid := &client.PlaceOrderParams{Wait: ptr(client.Status("paid"))}
	for _, c := range []struct {
		name, product string
		quantity      int
		status        client.Status
		reason        string
	}{
		{"short", "bibimbap", 10, "refused", "short"}, // nine are left
		{"declined", "bibimbap", 6, "payment_failed", ""},
		{"removed", "pizza", 1, "refused", "unknown_product"},
	} {
		i := a.next()
		p := i.refused(i.PlaceOrder(ctx, paid, ordered("o-"+c.name, "s-1", c.product, c.quantity)))
		require.Equal(t, c.status, p.Order.Status, c.name)
		require.Contains(t, *p.Reason, c.reason)
		require.NotEmpty(t, *p.Reason)
		if c.name == "short" {
			require.Equal(t, []client.Shortage{{Product: "bibimbap", Wanted: 10, Available: 9}}, *p.Short)
		}
	}

	a.place(t, "o-cancelled", "s-1")
	i := a.next()
	cancelled := i.order(i.CancelOrder(ctx, "o-cancelled", nil, client.CancelOrder{Reason: ptr("not hungry any more")}))
	require.Equal(t, client.Status("cancelled"), cancelled.Status)
	require.Contains(t, cancelled.Reason, "not hungry any more")
	i = a.next()
	require.Equal(t, client.Code("status"), client.CodeOf(i.refused(i.CancelOrder(ctx, "o-cancelled", nil, client.CancelOrder{}))))

	a.place(t, "o-late", "s-1")
	i = a.next()
	i.order(i.AcceptOrder(ctx, "o-late", nil, client.AcceptOrder{}))
	cooking := a.started(t, "o-late")
	i = a.next()
	late := i.refused(i.CancelOrder(ctx, "o-late", nil, client.CancelOrder{}))
	require.Contains(t, *late.Reason, "until cooking starts")
	require.GreaterOrEqual(t, late.Order.Version, cooking.Version)
	a.cooked(t, "o-late", "r-1")
	i = a.next()
	i.order(i.ConfirmOrder(ctx, "o-late", nil, client.Bare{}))

	i = a.next()
	require.False(t, i.store(i.CloseStore(ctx, "s-1", nil, client.Bare{})).Open)
	i = a.next()
	closed := i.refused(i.PlaceOrder(ctx, paid, ordered("o-closed", "s-1", "bibimbap", 1)))
	require.Equal(t, "closed", *closed.Reason)
	i = a.next()
	require.True(t, i.store(i.OpenStore(ctx, "s-1", nil, client.Bare{})).Open)

	i = a.next()
	i.unknown(i.GetOrder(ctx, "o-never", nil))
	i = a.next()
	i.unknown(i.CancelOrder(ctx, "o-never", nil, client.CancelOrder{}))
}

// What the customer complains about is given back, brought again, or denied.
func (a *app) complaints(t *testing.T) {
	ctx := t.Context()
	complain := func(id string, wish client.Wish) *client.Order {
		i := a.next()
		o := i.order(i.RequestRefund(ctx, id, nil, client.RequestRefund{UserID: "u-1", Reason: "cold", PhotoURL: "https://photos.example/1.jpg", Wish: wish}))
		require.Equal(t, client.Status("refund_requested"), o.Status)
		require.Equal(t, []any{wish, "https://photos.example/1.jpg"}, []any{*o.Wish, *o.PhotoURL})
		return o
	}
	a.place(t, "o-refund", "s-1")
	a.brought(t, "o-refund", "r-1")
	complain("o-refund", "refund")
	i := a.next()
	i.order(i.ApproveRefund(ctx, "o-refund", nil, client.Bare{}))
	require.Equal(t, client.Status("refunded"), a.next().came("o-refund", "refunded").Status)

	a.place(t, "o-again", "s-1")
	a.brought(t, "o-again", "r-1")
	complain("o-again", "redelivery")
	i = a.next()
	again := i.order(i.ApproveRefund(ctx, "o-again", nil, client.Bare{}))
	require.Equal(t, 2, again.Attempt)
	a.next().came("o-again", "accepted")
	// Nothing says when the goods for it are reserved: who is told to try again in a moment does so.
	kafkatest.Eventually(t, func() bool {
		i = a.next()
		_, err := client.As[client.Order](i.StartCooking(ctx, "o-again", nil, client.Bare{}))
		require.Contains(t, []client.Code{"", "refused"}, client.CodeOf(err))
		return err == nil
	}, patience, 20*time.Millisecond, "the goods are reserved again")
	a.cooked(t, "o-again", "r-1")
	i = a.next()
	again = i.order(i.ConfirmOrder(ctx, "o-again", nil, client.Bare{}))
	require.Equal(t, []any{client.Status("completed"), 2}, []any{again.Status, again.Attempt})
	i = a.next()
	require.Equal(t, client.Code("refused"), client.CodeOf(i.refused(i.RequestRefund(ctx, "o-again", nil,
		client.RequestRefund{UserID: "u-1", Reason: "cold", PhotoURL: "https://photos.example/1.jpg", Wish: "refund"}))), "once per order")

	a.place(t, "o-denied", "s-1")
	a.brought(t, "o-denied", "r-1")
	complain("o-denied", "refund")
	i = a.next()
	require.Equal(t, client.Status("refund_denied"), i.order(i.DenyRefund(ctx, "o-denied", nil, client.DenyRefund{Reason: "it was warm"})).Status)
}

// Lists are whole, newest first, and their pages join without a gap.
func (a *app) lists(t *testing.T) {
	ctx := t.Context()
	newest := []string{"o-denied", "o-again", "o-refund", "o-closed", "o-late", "o-cancelled", "o-removed", "o-declined", "o-short", "o-1"}
	for _, limit := range []int{1, 3, 10, 100} {
		require.Equal(t, newest, a.next().orders(client.ListOrdersParams{UserID: ptr("u-1")}, limit))
		require.Equal(t, newest, a.next().orders(client.ListOrdersParams{StoreID: ptr("s-1")}, limit))
	}
	require.Equal(t, []string{"o-cancelled"}, a.next().orders(client.ListOrdersParams{Status: ptr(client.Status("cancelled"))}, 1))
	i := a.next()
	require.Len(t, accepted[client.OrderPage](i)(i.GetUserOrders(ctx, "u-1", nil)).Orders, len(newest))
	board := accepted[client.Board](i)(i.GetBoard(ctx, "s-1", nil))
	require.Zero(t, board.Orders, "all are over")
	riders := accepted[client.RiderPage](i)(i.ListRiders(ctx, &client.ListRidersParams{Sort: ptr(client.ListRidersParamsSort("delivered"))}))
	require.Len(t, riders.Riders, 1)
	require.Equal(t, 6, riders.Riders[0].DeliveredCount)
	stores := accepted[client.StorePage](i)(i.ListStores(ctx, &client.ListStoresParams{Area: ptr("a-1")}))
	require.Len(t, stores.Stores, 1)
	areas := accepted[client.AreaPage](i)(i.ListAreas(ctx, nil))
	require.Equal(t, []client.Area{{ID: "a-1", Riders: 1, Idle: 1}}, areas.Areas)
}

// An instance is killed while customers wait, a store, a rider and the customers follow their events, and commands are under
// way. All go on with the other instance: each order is placed once, brought once, and every change is heard.
func (a *app) killed(t *testing.T) {
	const customers, riders = 24, 6
	ctx := t.Context()
	a.open(t, "s-2", "a-2", false)
	i := a.next()
	i.product(i.AddStock(ctx, "s-2", "bibimbap", nil, client.Quantity{Quantity: 90}))
	var all errgroup.Group
	following, over := context.WithCancel(ctx)
	defer over()
	// whoever follows is over when the orders are.
	followed := func(err error) error {
		if following.Err() != nil {
			return nil
		}
		return err
	}
	for n := range riders {
		id := fmt.Sprintf("r-2-%d", n)
		a.online(t, id, "a-2")
		all.Go(func() error { return followed(a.ride(following, id)) })
	}
	all.Go(func() error { return followed(a.cook(following, "s-2")) })
	user := follow(t, "u-2", func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowUser(ctx, "u-2", &client.FollowUserParams{LastEventID: last})
	})
	user.until("what is has been told", ready)

	var ended atomic.Int64
	killed := make(chan struct{})
	kill := sync.OnceFunc(func() { a.second.kill(); close(killed) })
	ids := make([]string, customers)
	var people errgroup.Group
	for n := range customers {
		people.Go(func() (err error) {
			ids[n], err = a.order2(ctx, n)
			if ended.Add(1) >= customers/4 {
				kill()
			}
			return err
		})
	}
	require.NoError(t, people.Wait())
	<-killed
	over()
	require.NoError(t, all.Wait())

	left := newInstance(t, "http://"+a.p.http, nil)
	// Who repeats what they have done gets the same answer, and nothing is done.
	for n, id := range ids {
		o := left.order(left.PlaceOrder(ctx, &client.PlaceOrderParams{IdempotencyKey: ptr(fmt.Sprintf("key-%d", n))}, ordered2()))
		require.Equal(t, id, o.ID)
		require.Equal(t, []any{client.Status("completed"), 1}, []any{o.Status, o.Attempt})
	}
	require.ElementsMatch(t, ids, left.orders(client.ListOrdersParams{StoreID: ptr("s-2")}, 7))
	require.ElementsMatch(t, ids, left.orders(client.ListOrdersParams{UserID: ptr("u-2")}, 7))
	stock := accepted[client.Stock](left)(left.GetStock(ctx, "s-2", nil)).Products[0]
	require.Equal(t, []int{100 - customers, 0}, []int{stock.OnHand, stock.Reserved})
	count := 0
	for _, r := range accepted[client.RiderPage](left)(left.ListRiders(ctx, &client.ListRidersParams{Area: ptr("a-2")})).Riders {
		count += r.DeliveredCount
	}
	require.Equal(t, customers, count)

	// The stream told each order until its end, and never went back.
	versions, finished := map[string]int{}, map[string]bool{}
	user.until("every order is completed", func(e client.Event) bool {
		if o := into[client.OrderSummary](e, "order"); o.ID != "" {
			assert.Greater(t, o.Version, versions[o.ID], "order %s is told twice", o.ID)
			versions[o.ID], finished[o.ID] = o.Version, o.Status == "completed"
		}
		return len(finished) == customers && !slices.ContainsFunc(ids, func(id string) bool { return !finished[id] })
	})
	// Foods are counted behind the orders, by a group that nobody waits for.
	kafkatest.Eventually(t, func() bool {
		f := accepted[client.FoodPage](left)(left.ListFoods(ctx, &client.ListFoodsParams{StoreID: ptr("s-2")})).Foods
		return len(f) == 1 && f[0].Orders == customers && f[0].Quantity == customers
	}, patience, 20*time.Millisecond, "each order counts once")
}

func ordered2() client.PlaceOrder {
	return client.PlaceOrder{UserID: "u-2", StoreID: "s-2", Lines: []client.OrderedLine{{Product: "bibimbap", Quantity: 1}}, Address: client.AddressOf{Lat: 37.51, Lon: 127.04}}
}

// order2 is a customer who orders under a key, waits for the food and confirms it.
func (a *app) order2(ctx context.Context, n int) (string, error) {
	key := fmt.Sprintf("key-%d", n)
	o, err := client.As[client.Order](a.any.PlaceOrder(ctx, &client.PlaceOrderParams{IdempotencyKey: &key, Wait: ptr(client.Status("paid"))}, ordered2()))
	if err != nil {
		return "", fmt.Errorf("place %s: %w", key, err)
	}
	if o, err = client.As[client.Order](a.any.GetOrder(ctx, o.ID, &client.GetOrderParams{Wait: ptr(client.Status("delivered")), Prefer: ptr("wait=60")})); err != nil {
		return "", fmt.Errorf("wait for %s: %w", key, err)
	}
	if o.Status != "delivered" {
		return "", fmt.Errorf("order %s (%s) is %s: %s", o.ID, key, o.Status, o.Reason)
	}
	if _, err = client.As[client.Order](a.any.ConfirmOrder(ctx, o.ID, nil, client.Bare{})); err != nil {
		return "", fmt.Errorf("confirm %s: %w", o.ID, err)
	}
	return o.ID, nil
}

// cook is a store that accepts and cooks what its board shows.
func (a *app) cook(ctx context.Context, store string) error {
	var hands errgroup.Group
	seen := map[string]bool{}
	err := client.Events(ctx, func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowStore(ctx, store, &client.FollowStoreParams{LastEventID: last})
	}, func(e client.Event) error {
		if o := into[client.OrderSummary](e, "order"); o.Status == "paid" && !seen[o.ID] {
			seen[o.ID] = true
			hands.Go(func() error {
				_, err := client.As[client.Order](a.any.AcceptOrder(ctx, o.ID, nil, client.AcceptOrder{}))
				if err == nil {
					_, err = client.As[client.Order](a.any.StartCooking(ctx, o.ID, nil, client.Bare{}))
				}
				if err == nil {
					_, err = client.As[client.Order](a.any.FinishCooking(ctx, o.ID, nil, client.Bare{}))
				}
				return err
			})
		}
		return nil
	})
	return errors.Join(err, hands.Wait())
}

// ride is a rider who brings what their events give them.
func (a *app) ride(ctx context.Context, id string) error {
	var hands errgroup.Group
	seen := map[string]bool{}
	err := client.Events(ctx, func(ctx context.Context, last *string) (*http.Response, error) {
		return a.any.FollowRider(ctx, id, &client.FollowRiderParams{LastEventID: last})
	}, func(e client.Event) error {
		for _, d := range into[client.Rider](e, "rider").Deliveries {
			if d.State != "assigned" || !d.Ready || seen[d.OrderID] {
				continue
			}
			seen[d.OrderID] = true
			hands.Go(func() error {
				_, err := client.As[client.Rider](a.any.PickedUp(ctx, id, nil, client.DeliveryCommand{OrderID: d.OrderID}))
				if err == nil {
					_, err = client.As[client.Rider](a.any.Delivered(ctx, id, nil, client.DeliveryCommand{OrderID: d.OrderID}))
				}
				return err
			})
		}
		return nil
	})
	return errors.Join(err, hands.Wait())
}

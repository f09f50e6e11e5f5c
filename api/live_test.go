package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/views"
)

// told is a server-sent event as an EventSource dispatches it.
type told struct {
	id   string // of the event itself, "" for none
	kind string
	data map[string]any
}

// about says which thing it is about, and in which version.
func (e told) String() string {
	id := e.data["id"]
	if id == nil {
		id = e.data["orderId"]
	}
	switch {
	case id == nil:
		return e.kind
	case e.data["version"] != nil:
		return fmt.Sprintf("%s %v %v", e.kind, id, e.data["version"])
	case e.data["event"] != nil:
		return fmt.Sprintf("%s %v %v", e.kind, e.data["event"], id)
	}
	return fmt.Sprintf("%s %v", e.kind, id)
}

// listener is a client of a stream of events.
type listener struct {
	t      *testing.T
	leave  func()
	res    *http.Response
	lines  *bufio.Scanner
	last   string // the last id, which an EventSource comes again with
	retry  string
	quiets int // comments
}

func listen(t *testing.T, url, last string, headers ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	require.NoError(t, err)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	l := &listener{t: t, leave: func() { cancel(); res.Body.Close() }, res: res, lines: bufio.NewScanner(res.Body), last: last}
	l.lines.Buffer(nil, 1<<20)
	return l
}

// next returns the next event; false at the end of the stream.
func (l *listener) next() (e told, ok bool) {
	data := ""
	for l.lines.Scan() {
		line := l.lines.Text()
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			data = value
		case "retry":
			l.retry = value
		case "":
			if strings.HasPrefix(line, ":") {
				l.quiets++
				continue
			}
			if e.id != "" {
				l.last = e.id
			}
			if data == "" {
				e = told{}
				continue
			}
			require.NoError(l.t, json.Unmarshal([]byte(data), &e.data), data)
			return e, true
		}
	}
	return told{}, false
}

// until returns the events up to one of a kind.
func (l *listener) until(kind string) (all []told) {
	l.t.Helper()
	for {
		e, ok := l.next()
		require.True(l.t, ok, "the stream ended: %v", all)
		all = append(all, e)
		if e.kind == kind {
			return all
		}
	}
}

// hears checks which events come next.
func (l *listener) hears(want ...string) {
	l.t.Helper()
	var got []string
	for range want {
		e, ok := l.next()
		if !ok {
			got = append(got, "(the end)")
			break
		}
		got = append(got, e.String())
	}
	require.Equal(l.t, want, got)
}

func openOrder(id, store string, version int) *order.Order {
	o := lifeOf(id, order.Placed, order.Paying, order.Paid, order.AcceptedStatus, order.Cooking, order.Ready)
	o.StoreID, o.UserID = store, "u-7"
	o.Timeline = o.Timeline[:version]
	o.Version, o.Status = version, o.Timeline[version-1].Status
	return o
}

func closedOrder(id, store string) *order.Order {
	o := openOrder(id, store, 2)
	return grow(o, order.RefusedStatus)
}

func TestLive_Board(t *testing.T) {
	f := newFixture(t)
	url, stop := f.serve()
	f.stock.set("s-7", &stock.Inventory{StoreID: "s-7", Store: &stock.Store{Name: "Seven"}})
	f.orders.set("b-1", openOrder("b-1", "s-7", 1))
	f.orders.set("b-2", openOrder("b-2", "s-7", 3))
	f.orders.set("b-3", closedOrder("b-3", "s-7"))
	f.orders.set("b-4", openOrder("b-4", "s-1", 1)) // of another store
	path := url + "/v1/stores/s-7/events"

	l := listen(t, path, "")
	l.hears("order b-1 1", "order b-2 3")
	require.Empty(t, l.last, "who leaves before all is told has nothing to come again with")
	l.hears("ready")
	began := l.last
	require.NotEmpty(t, began)
	require.NotEmpty(t, l.retry)
	h := l.res.Header
	require.Equal(t, "text/event-stream", h.Get("Content-Type"))
	require.Equal(t, "no-cache, no-transform", h.Get("Cache-Control"))
	require.Equal(t, "no", h.Get("X-Accel-Buffering"))
	require.Equal(t, "7", h.Get("Baedal-Staleness-Ms"))

	f.orders.set("b-4", openOrder("b-4", "s-1", 2))
	f.orders.set("b-1", openOrder("b-1", "s-7", 2))
	l.hears("order b-1 2")
	f.orders.set("b-5", openOrder("b-5", "s-7", 1))
	l.hears("order b-5 1")
	middle := l.last
	f.orders.set("b-2", closedOrder("b-2", "s-7"))
	l.hears("gone order b-2")
	f.orders.set("b-1", nil)
	l.hears("gone order b-1")
	l.leave()

	t.Run("ComesAgain", func(t *testing.T) {
		l := listen(t, path, middle)
		l.hears("gone order b-2", "gone order b-1", "ready")
		again := listen(t, path, l.last)
		again.hears("ready")
		page := listen(t, path+"?lastEventId="+began, "")
		page.hears("order b-5 1", "gone order b-2", "gone order b-1", "ready")
	})
	t.Run("AnotherProgramsID", func(t *testing.T) {
		tag := middle[:strings.LastIndex(middle, ".")+1]
		for _, id := range []string{tag, tag + "AAAA", tag + "x.y", tag + "!"} {
			l := listen(t, path, id)
			l.hears("reset", "order b-5 1", "ready")
		}
	})
	t.Run("AnotherStreamsID", func(t *testing.T) {
		a := f.get("/v1/users/u-7/events", "Last-Event-ID", middle)
		a.problem(t, http.StatusBadRequest, "Last-Event-ID: is not an id of this stream")
		a = f.get("/v1/stores/s-1/events?lastEventId=" + middle)
		a.problem(t, http.StatusBadRequest, "lastEventId: is not an id of this stream")
	})
	t.Run("Drain", func(t *testing.T) {
		l := listen(t, path, middle)
		l.until("ready")
		began := time.Now()
		require.NoError(t, stop())
		require.Less(t, time.Since(began), 5*time.Second)
		_, ok := l.next()
		require.False(t, ok)
		require.Equal(t, 1, l.quiets, "a comment says why")
	})
}

func TestLive_WhatIsNotThereYet(t *testing.T) {
	for path, appear := range map[string]func(*fixture){
		"/v1/orders/later/events": func(f *fixture) { f.orders.set("later", lifeOf("later", order.Placed)) },
		"/v1/stores/later/events": func(f *fixture) {
			f.stock.set("later", &stock.Inventory{StoreID: "later", Store: &stock.Store{Name: "L"}})
		},
		"/v1/riders/later/events": func(f *fixture) { f.riders.set("later", &rider.Rider{ID: "later", Version: 1}) },
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.get(path, "Prefer", "wait=0").problem(t, http.StatusNotFound, `"later" is not`)
			url, _ := f.serve()
			go func() {
				time.Sleep(20 * time.Millisecond) // the client is early; were it not, it would be served as well
				appear(f)
			}()
			l := listen(t, url+path, "")
			require.Equal(t, http.StatusOK, l.res.StatusCode)
			_, ok := l.next()
			require.True(t, ok)
		})
	}
	t.Run("ViewThatIsNotReady", func(t *testing.T) {
		f := newFixture(t)
		f.riders.set("r-1", &rider.Rider{ID: "r-1", Version: 1})
		url, _ := f.serve()
		for _, fail := range []func(error){f.orders.fail, f.riders.fail, f.areas.fail} {
			fail(views.ErrNotReady)
		}
		for _, path := range []string{"/v1/orders/o-1/events", "/v1/stores/s-1/events", "/v1/riders/r-1/events", "/v1/areas/a-1/events", "/v1/users/u-1/events"} {
			a := f.get(path, "Prefer", "wait=0")
			a.problem(t, http.StatusServiceUnavailable, "the tables are still being read")
			require.Equal(t, "1", a.Header().Get("Retry-After"))
		}
		opened := make(chan *listener)
		go func() { opened <- listen(t, url+"/v1/stores/s-1/events", "") }()
		time.Sleep(20 * time.Millisecond)
		f.orders.fail(nil)
		f.orders.set("x", openOrder("x", "s-1", 1)) // wakes, as a view that is ready does
		(<-opened).until("ready")
	})
}

func TestLive_User(t *testing.T) {
	f := newFixture(t)
	url, _ := f.serve()
	f.orders.set("b-1", openOrder("b-1", "s-7", 1))
	say := func(n int, status string) {
		m := messageOf(n, status, noon.Add(time.Duration(n)*time.Second), status)
		m.Recipient = "u-7"
		f.messages.set("u-7", &notification.Log{Recipient: "u-7", Messages: []notification.Notification{m}})
	}
	say(1, "placed")
	path := url + "/v1/users/u-7/events"
	l := listen(t, path, "")
	first := l.until("ready")
	require.Len(t, first, 3)
	require.Equal(t, "order b-1 1", first[0].String())
	require.Equal(t, "message", first[1].kind)
	require.Equal(t, "placed", first[1].data["message"])
	left := l.last

	f.orders.set("b-1", openOrder("b-1", "s-7", 2))
	l.hears("order b-1 2")
	between := l.last
	say(2, "paying")
	e, _ := l.next()
	require.Equal(t, "message", e.kind)
	require.Equal(t, "paying", e.data["message"])
	f.orders.set("b-1", closedOrder("b-1", "s-7"))
	l.hears("order b-1 3")

	again := listen(t, path, left).until("ready")
	require.Len(t, again, 3)
	require.Equal(t, "order b-1 3", again[0].String())
	require.Equal(t, "paying", again[1].data["message"])
	again = listen(t, path, between).until("ready")
	require.Len(t, again, 3)
	listen(t, path, l.last).hears("ready")

	listen(t, url+"/v1/users/nobody/events", "").hears("ready") // users are not registered
}

func TestLive_Rider(t *testing.T) {
	f := newFixture(t)
	url, _ := f.serve()
	path := url + "/v1/riders/r-1/events"
	f.riders.set("r-1", &rider.Rider{ID: "r-1", Version: 1})
	l := listen(t, path, "")
	l.hears("rider r-1 1", "ready")
	left := l.last
	f.riders.set("r-1", &rider.Rider{ID: "r-1", Version: 2, On: true, Area: "a-1", Place: &domain.Place{Lat: 37.5, Lon: 127}})
	e, _ := l.next()
	require.Equal(t, "rider", e.kind)
	require.Equal(t, "idle", e.data["state"])
	f.messages.set("r-1", &notification.Log{Messages: []notification.Notification{{Meta: domain.Meta{Type: "assigned", ID: "o-1/1/rider", At: noon},
		Recipient: "r-1", Audience: "rider", OrderID: "o-1", Status: "assigned", Message: "go"}}})
	e, _ = l.next()
	require.Equal(t, "message", e.kind)

	again := listen(t, path, left).until("ready")
	require.Len(t, again, 3, "what they are now, what they were told")
	require.Equal(t, "idle", again[0].data["state"])
	listen(t, path, l.last).hears("ready")
}

func areaOf(id string, riders []string, deliveries map[string]string) *dispatch.Area {
	a := dispatch.NewArea(id)
	for i, r := range riders {
		a.Riders = append(a.Riders, &dispatch.Rider{ID: r, Place: domain.Place{Lat: 37.5, Lon: 127 + float64(i)}, Capacity: 1, EnteredAt: noon})
	}
	for order, by := range deliveries {
		d := &dispatch.Delivery{OrderID: order, Attempt: 1}
		if by != "" {
			d.Steps = []dispatch.Step{{Version: 1, Type: "assigned", At: noon, RiderID: by}}
		}
		a.Deliveries = append(a.Deliveries, d)
	}
	return a
}

func TestLive_Area(t *testing.T) {
	f := newFixture(t)
	url, _ := f.serve()
	path := url + "/v1/areas/a-7/events"
	for _, id := range []string{"o-1", "o-2"} {
		f.orders.set(id, openOrder(id, "s-7", 5))
	}
	l := listen(t, path, "")
	l.hears("ready")
	empty := l.last
	f.areas.set("a-7", areaOf("a-7", []string{"r-1", "r-2"}, map[string]string{"o-1": ""}))
	l.hears("delivery o-1", "rider r-1", "rider r-2")
	require.NotEqual(t, empty, l.last)
	two := l.last
	f.areas.set("a-7", areaOf("a-7", []string{"r-1"}, map[string]string{"o-1": "", "o-2": "r-1"}))
	l.hears("gone rider r-2", "delivery o-2", "rider r-1")
	f.areas.set("a-7", areaOf("a-7", []string{"r-1"}, map[string]string{"o-2": "r-1"}))
	l.hears("gone delivery o-1")

	listen(t, path, l.last).hears("ready")
	again := listen(t, path, two)
	again.hears("gone delivery o-1", "gone rider r-2", "delivery o-2", "rider r-1", "ready")

	other := newFixture(t) // another instance, which has not seen the pictures before
	other.orders.set("o-2", openOrder("o-2", "s-7", 5))
	other.areas.set("a-7", areaOf("a-7", []string{"r-1"}, map[string]string{"o-2": "r-1"}))
	elsewhere, _ := other.serve()
	path = elsewhere + "/v1/areas/a-7/events"
	listen(t, path, l.last).hears("ready")
	listen(t, path, two).hears("reset", "delivery o-2", "rider r-1", "ready")
}

func TestLive_RiderOfAnOrder(t *testing.T) {
	f := newFixture(t)
	url, _ := f.serve()
	at := func(lon float64) {
		f.riders.set("r-1", &rider.Rider{ID: "r-1", Version: 2, On: true, Area: "a-1", Place: &domain.Place{Lat: 37.5, Lon: lon}})
	}
	o := lifeOf("o-9", order.Placed)
	f.orders.set("o-9", o)
	l := listen(t, url+"/v1/orders/o-9/events", "")
	l.until("placed")
	at(127.1) // nobody who waits for this order
	o = grow(o, order.Assigned)
	o.RiderID = "r-1"
	f.orders.set("o-9", o)
	e := l.until("assigned")[0]
	require.Equal(t, "2", e.id)
	e = l.until("rider")[0]
	require.Empty(t, e.id)
	require.Equal(t, "r-1", e.data["id"])
	require.Equal(t, 127.1, e.data["lon"])
	at(127.2)
	require.Equal(t, 127.2, l.until("rider")[0].data["lon"])
	o = grow(o, order.PickedUp)
	f.orders.set("o-9", o)
	l.until("picked_up")
	o = grow(o, order.Delivered)
	f.orders.set("o-9", o)
	l.until("delivered")
	at(127.3) // that is nobody's business any more
	o = grow(o, order.Completed)
	f.orders.set("o-9", o)
	e, _ = l.next()
	require.Equal(t, "completed", e.kind)
	require.Equal(t, "5", l.last)
}

func TestLive_Negotiation(t *testing.T) {
	paths := []string{"/v1/orders/o-1/events", "/v1/stores/s-1/events", "/v1/riders/r-1/events", "/v1/areas/a-1/events", "/v1/users/u-1/events"}
	for _, path := range paths {
		f := newFixture(t)
		f.riders.set("r-1", &rider.Rider{ID: "r-1", Version: 1})
		a := f.do(http.MethodHead, path, "")
		require.Equal(t, http.StatusOK, a.Code)
		require.Equal(t, "text/event-stream", a.Header().Get("Content-Type"))
		require.Empty(t, a.Body.String())
		for _, accept := range []string{"text/event-stream", "*/*", "text/*;q=0.5", "application/json, text/event-stream;q=0.1"} {
			require.Equal(t, http.StatusOK, f.do(http.MethodHead, path, "", "Accept", accept).Code, accept)
		}
		for _, accept := range []string{"application/json", "text/event-stream;q=0", "text/html", ";"} {
			f.get(path, "Accept", accept).problem(t, http.StatusNotAcceptable, "accept text/event-stream")
		}
	}
}

// metric returns what a metric with these labels says.
func (f *fixture) metric(name string, labels ...string) float64 {
	families, err := f.metrics.Gather()
	require.NoError(f.t, err)
	for _, family := range families {
		for _, m := range family.Metric {
			var have []string
			for _, l := range m.Label { // in the order of their names
				have = append(have, l.GetValue())
			}
			if family.GetName() == name && slices.Equal(have, labels) {
				return m.Gauge.GetValue() + m.Counter.GetValue()
			}
		}
	}
	f.t.Fatalf("there is no metric %s %v", name, labels)
	return 0
}

// stuck is a client that takes what came before it stopped reading.
type stuck struct {
	http.ResponseWriter
	takes int // writes
	wrote strings.Builder
}

func (s *stuck) Header() http.Header { return http.Header{} }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) Write(p []byte) (int, error) {
	if s.takes--; s.takes < 0 {
		return 0, &os.PathError{Op: "write", Path: "tcp", Err: os.ErrDeadlineExceeded}
	}
	return s.wrote.Write(p)
}
func (s *stuck) Flush() {}

func TestLive_SlowClient(t *testing.T) {
	for _, path := range []string{"/v1/orders/o-1/events", "/v1/users/u-1/events"} {
		f := newFixture(t)
		r, err := http.NewRequestWithContext(t.Context(), "GET", path, nil)
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.handler.ServeHTTP(&stuck{takes: 3}, r)
		}()
		deadline := time.After(20 * time.Second)
		for n := 3; ; n++ { // it is told more and more
			f.orders.set("o-1", grow(lifeOf("o-1"), slices.Repeat([]order.Status{order.Paying}, n)...))
			select {
			case <-done:
			case <-deadline:
				t.Fatal("it is not dropped")
			case <-time.After(5 * time.Millisecond):
				continue
			}
			break
		}
		kind := strings.Split(path, "/")[2]
		kind = kind[:len(kind)-1]
		require.Equal(t, 0.0, f.metric("baedal_http_streams", kind))
		require.Equal(t, 1.0, f.metric("baedal_http_streams_dropped_total", kind, "slow"))
		require.Contains(t, f.log.String(), "a client was dropped")
	}
}

// What happens while clients come and go, here and there, is told once and in
// order, and after it all know what is.
func TestLive_ComingAndGoing(t *testing.T) {
	f := newFixture(t)
	f.stock.set("s-7", &stock.Inventory{StoreID: "s-7", Store: &stock.Store{Name: "Seven"}})
	url, _ := f.serve()
	f.with(&f.commands) // another server over the same views
	second, _ := f.serve()
	const changes, clients = 400, 4
	over := make(chan struct{})
	go func() {
		defer close(over)
		version := map[string]int{}
		for range changes {
			id := fmt.Sprintf("b-%d", rand.IntN(5))
			version[id]++
			o := openOrder(id, "s-7", 1)
			o.Version = version[id]
			if rand.IntN(6) == 0 {
				o.Status = order.RefusedStatus
			}
			f.orders.set(id, o)
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		}
		last := openOrder("last", "s-7", 1)
		f.orders.set("last", last)
	}()
	done := make(chan error, clients)
	for range clients {
		go func() { done <- comeAndGo(t, []string{url, second}, f) }()
	}
	<-over
	for range clients {
		require.NoError(t, <-done)
	}
}

// comeAndGo listens to a board until it hears of the last order, leaving and
// coming again, and says what it heard that it should not have.
func comeAndGo(t *testing.T, urls []string, f *fixture) error {
	have, seen, last := map[string]float64{}, map[string]float64{}, ""
	for n := 0; ; n++ {
		l := listen(t, urls[rand.IntN(len(urls))]+"/v1/stores/s-7/events", last)
		for k := rand.IntN(12); ; k-- {
			e, ok := l.next()
			if !ok {
				return fmt.Errorf("the stream ended")
			}
			id, _ := e.data["id"].(string)
			version, _ := e.data["version"].(float64)
			switch e.kind {
			case "reset":
				return fmt.Errorf("reset, coming again with %q", last)
			case "gone":
				delete(have, id)
			case "order":
				if version <= seen[id] && last != "" {
					return fmt.Errorf("%s after version %v", e, seen[id])
				}
				seen[id], have[id] = version, version
			}
			if have["last"] > 0 && l.last != "" {
				want := map[string]float64{}
				err := f.orders.Scan("board", "s-7", views.Entry{}, func(_ views.Entry, key string, o *order.Order) bool {
					want[key] = float64(o.Version)
					return true
				})
				if fmt.Sprint(want) != fmt.Sprint(have) {
					return fmt.Errorf("has %v of %v", have, want)
				}
				l.leave()
				return err
			}
			if k <= 0 && l.last != "" {
				break
			}
		}
		last = l.last
		l.leave()
	}
}

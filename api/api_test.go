package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/views"
)

// fakeTable is a table in memory.
type fakeTable[R any] struct {
	mu      sync.Mutex
	rows    map[string]*R
	changed chan struct{}
	waiting int
	err     error
	panics  bool
}

func (t *fakeTable[R]) set(key string, row *R) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[string]*R{}
	}
	t.rows[key] = row
	if row == nil {
		delete(t.rows, key)
	}
	t.wake()
}

func (t *fakeTable[R]) wake() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// breakDown makes every later look at the table panic.
func (t *fakeTable[R]) breakDown() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.panics = true
	t.wake()
}

func (t *fakeTable[R]) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *fakeTable[R]) Get(key string) (*R, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.panics {
		panic("a bug")
	}
	return t.rows[key], t.err
}

func (t *fakeTable[R]) Each(from string, fn func(string, *R) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	var keys []string
	for k := range t.rows {
		if k >= from {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, t.rows[k]) {
			return nil
		}
	}
	return nil
}

func (t *fakeTable[R]) Wait(ctx context.Context, key string, cond func(*R) bool) (*R, error) {
	for {
		t.mu.Lock()
		row, err, panics := t.rows[key], t.err, t.panics
		if panics {
			t.mu.Unlock()
			panic("a bug")
		}
		if err != nil || cond(row) {
			t.mu.Unlock()
			return row, err
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.waiting++
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return row, ctx.Err()
		}
	}
}

func (t *fakeTable[R]) Staleness() time.Duration { return 7 * time.Millisecond }

// waits returns how often somebody began to wait.
func (t *fakeTable[R]) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// sent is a command as it reached its stream.
type sent struct {
	stream, key string
	command     map[string]any
}

type fakeCommands struct {
	mu   sync.Mutex
	sent []sent
	err  error
}

func (c *fakeCommands) send(ctx context.Context, stream, key string, command any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmp.Or(c.err, ctx.Err()); err != nil {
		return err
	}
	data, err := json.Marshal(command)
	if err != nil {
		return err
	}
	s := sent{stream: stream, key: key}
	if err := json.Unmarshal(data, &s.command); err != nil {
		return err
	}
	c.sent = append(c.sent, s)
	return nil
}

func (c *fakeCommands) SendOrder(ctx context.Context, key string, m *order.Command) error {
	return errors.Join(m.Validate(), c.send(ctx, order.Stream, key, m))
}
func (c *fakeCommands) SendStore(ctx context.Context, key string, m *stock.Command) error {
	return errors.Join(m.Validate(), c.send(ctx, stock.Stream, key, m))
}
func (c *fakeCommands) SendRider(ctx context.Context, key string, m *rider.Command) error {
	return errors.Join(m.Validate(), c.send(ctx, rider.Stream, key, m))
}

func (c *fakeCommands) all() []sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

// fixture is the API over fakes, with a town in which something has happened.
type fixture struct {
	t        *testing.T
	handler  http.Handler
	orders   fakeTable[order.Order]
	stock    fakeTable[stock.Inventory]
	riders   fakeTable[rider.Rider]
	areas    fakeTable[dispatch.Area]
	messages fakeTable[notification.Log]
	models   fakeTable[projection.Model]
	commands fakeCommands
	ready    error
	damaged  error
	manners  api.Manners
	progress []views.Progress
	log      *strings.Builder
}

const noon = domain.Time(1_767_225_600_000) // 2026-01-01T00:00:00Z

func lifeOf(id string, statuses ...order.Status) *order.Order {
	o := &order.Order{ID: id, UserID: "u-1", StoreID: "s-1", Attempt: 1, PlacedAt: noon,
		Lines:   []domain.Line{{Product: "p-1", Quantity: 2, Name: "Bibimbap", Price: new(domain.Money(9000))}},
		Address: order.Address{Text: "Teheran-ro 1", Lat: new(37.5), Lon: new(127.04)}}
	return grow(o, statuses...)
}

// grow returns the order some transitions later; the one given stays.
func grow(o *order.Order, statuses ...order.Status) *order.Order {
	next := *o
	next.Timeline = slices.Clone(o.Timeline)
	for _, s := range statuses {
		next.Version++
		next.Status = s
		next.Updated = noon.Add(time.Duration(next.Version) * time.Second)
		next.Timeline = append(next.Timeline, order.Entry{Version: next.Version, At: next.Updated, Type: string(s), Status: s, CauseID: "c"})
	}
	return &next
}

// with returns the fixture with other commands.
func (f *fixture) with(commands api.Commands) *fixture {
	f.handler = api.New(api.Deps{
		Tables: api.Tables{Orders: &f.orders, Stock: &f.stock, Riders: &f.riders, Areas: &f.areas, Messages: &f.messages, Models: &f.models,
			Progress: func() []views.Progress { return f.progress }},
		Commands: commands,
		Ready:    func() error { return f.ready },
		Damaged:  func() error { return f.damaged },
		Metrics:  prometheus.NewRegistry(),
		Manners:  f.manners,
		Logger:   slog.New(slog.NewTextHandler(f.log, nil)),
	})
	return f
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, log: &strings.Builder{}}
	f.with(&f.commands)
	paid := lifeOf("o-1", order.Placed, order.Paying, order.Paid)
	paid.Total, paid.Store = new(domain.Money(18000)), &stock.Store{Name: "Mine", Area: "a-1"}
	paid.Deadline = &order.Wait{At: noon.Add(time.Hour), Then: "rejected"}
	f.orders.set("o-1", paid)
	refused := lifeOf("o-2", order.Placed, order.RefusedStatus)
	refused.Reason = "short"
	f.orders.set("o-2", refused)
	f.orders.set("o-3", &order.Order{ID: "o-3", Recent: []order.Answer{{CommandID: "c", Refusal: domain.Refuse(domain.CodeUnknown, "unknown order")}}})
	f.stock.set("s-1", &stock.Inventory{StoreID: "s-1", Open: true, Store: &stock.Store{Name: "Mine", Area: "a-1", Lat: 37.5, Lon: 127.03, AutoAccept: true,
		CookingTime: domain.Duration(5 * time.Second)}, Products: []stock.Product{{ID: "p-1", Name: "Bibimbap", Price: 9000, OnHand: 10, Reserved: 2}}})
	f.stock.set("s-2", &stock.Inventory{StoreID: "s-2"}) // only refusals
	f.riders.set("r-1", &rider.Rider{ID: "r-1"})
	f.messages.set("u-1", &notification.Log{Recipient: "u-1", Messages: []notification.Notification{
		{Meta: domain.Meta{Type: "placed", ID: "m-1", At: noon}, Recipient: "u-1", Message: "first"},
		{Meta: domain.Meta{Type: "paid", ID: "m-2", At: noon.Add(time.Second)}, Recipient: "u-1", Message: "second"},
		{Meta: domain.Meta{Type: "accepted", ID: "m-3", At: noon.Add(time.Second)}, Recipient: "u-1", Message: "third"}}})
	f.models.set("user/u-1", &projection.Model{Key: "user/u-1", Orders: []projection.Ref{
		{OrderID: "o-1", At: noon}, {OrderID: "o-2", At: noon.Add(time.Minute)}, {OrderID: "o-forgotten", At: noon.Add(-time.Hour)}}})
	f.models.set("store/s-1", &projection.Model{Key: "store/s-1", Orders: []projection.Ref{{OrderID: "o-1", At: noon}, {OrderID: "o-2", At: noon.Add(time.Minute)}}})
	f.models.set("food/p-1", &projection.Model{Key: "food/p-1", Count: 3, Quantity: 7})
	f.models.set("food/p-2", &projection.Model{Key: "food/p-2", Count: 1, Quantity: 1})
	f.models.set("o-1", &projection.Model{Key: "o-1"})
	return f
}

type answer struct {
	*httptest.ResponseRecorder
	json map[string]any
}

func (f *fixture) do(method, path, body string, headers ...string) answer {
	f.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	a := answer{ResponseRecorder: w}
	if strings.HasSuffix(w.Header().Get("Content-Type"), "json") {
		require.NoError(f.t, json.Unmarshal(w.Body.Bytes(), &a.json), w.Body.String())
	}
	return a
}

func (f *fixture) get(path string, headers ...string) answer {
	f.t.Helper()
	return f.do(http.MethodGet, path, "", headers...)
}

// problem checks a problem document.
func (a answer) problem(t *testing.T, status int, detail string) {
	t.Helper()
	require.Equal(t, status, a.Code, a.Body.String())
	require.Equal(t, "application/problem+json", a.Header().Get("Content-Type"))
	require.Regexp(t, "^/problems/[a-z-]+$", a.json["type"])
	require.NotEmpty(t, a.json["title"])
	require.EqualValues(t, status, a.json["status"])
	require.Contains(t, a.json["detail"], detail)
}

// wrong returns the fields and parameters that a problem complains about.
func (a answer) wrong() (all []string) {
	errors, _ := a.json["errors"].([]any)
	for _, e := range errors {
		e := e.(map[string]any)
		if p, ok := e["parameter"]; ok {
			all = append(all, p.(string))
			continue
		}
		all = append(all, e["pointer"].(string))
	}
	return all
}

func TestAPI_Read(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"/v1/orders/o-1", `{"id":"o-1","status":"paid","version":3,"attempt":1,"userId":"u-1","storeId":"s-1","area":"a-1",
			"lines":[{"product":"p-1","quantity":2,"name":"Bibimbap","price":9000}],"total":18000,"riderId":"","reason":"",
			"deadline":{"at":"2026-01-01T01:00:00.000Z","then":"rejected"},"placedAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:03.000Z",
			"timeline":[{"version":1,"at":"2026-01-01T00:00:01.000Z","type":"placed","status":"placed","causeId":"c"},
				{"version":2,"at":"2026-01-01T00:00:02.000Z","type":"paying","status":"paying","causeId":"c"},
				{"version":3,"at":"2026-01-01T00:00:03.000Z","type":"paid","status":"paid","causeId":"c"}]}`},
		{"/v1/stores/s-1", `{"id":"s-1","name":"Mine","area":"a-1","lat":37.5,"lon":127.03,"autoAccept":true,"cookingTime":"5s","open":true}`},
		{"/v1/stores/s-1/stock", `{"storeId":"s-1","products":[{"product":"p-1","name":"Bibimbap","price":9000,"onHand":10,"reserved":2,"available":8}]}`},
		{"/v1/riders/r-1", `{"id":"r-1","state":"offline","deliveries":[],"deliveredCount":0}`},
		{"/v1/areas/a-1/riders", `{"area":"a-1","riders":[]}`},
		{"/v1/areas/a-1/deliveries", `{"area":"a-1","open":[],"assigned":[]}`},
		{"/v1/users/u-2/orders", `{"orders":[]}`},
		{"/v1/users/u-2/messages", `{"messages":[]}`},
		{"/v1/users/u-1/messages?limit=1", `{"messages":[{"type":"accepted","id":"m-3","at":"2026-01-01T00:00:01.000Z","recipient":"u-1","audience":"","orderId":"","status":"",
			"message":"third"}],"cursor":"bWVzc2FnZToxNzY3MjI1NjAxMDAwL20tMw"}`},
		{"/v1/foods", `{"foods":[{"product":"p-1","orders":3,"quantity":7},{"product":"p-2","orders":1,"quantity":1}]}`},
		{"/v1/foods/p-1", `{"product":"p-1","orders":3,"quantity":7}`},
	} {
		t.Run(c.path, func(t *testing.T) {
			f := newFixture(t)
			a := f.get(c.path)
			require.Equal(t, http.StatusOK, a.Code, a.Body.String())
			require.JSONEq(t, c.want, a.Body.String())
			require.Equal(t, "application/json", a.Header().Get("Content-Type"))
			require.Equal(t, "7", a.Header().Get("Baedal-Staleness-Ms"))
			tag := a.Header().Get("ETag")
			require.NotEmpty(t, tag)

			a = f.get(c.path, "If-None-Match", `"other", W/`+tag)
			require.Equal(t, http.StatusNotModified, a.Code)
			require.Empty(t, a.Body.String())
			require.Equal(t, tag, a.Header().Get("ETag"))
			require.Equal(t, http.StatusOK, f.get(c.path, "If-None-Match", `"other"`).Code)

			for _, table := range []interface{ fail(error) }{&f.orders, &f.stock, &f.riders, &f.areas, &f.messages, &f.models} {
				table.fail(views.ErrNotReady)
			}
			a = f.get(c.path)
			a.problem(t, http.StatusServiceUnavailable, "the tables are still being read")
			require.Equal(t, "1", a.Header().Get("Retry-After"))
			require.Empty(t, a.Header().Get("Baedal-Staleness-Ms"))
		})
	}
}

func TestAPI_ReadETagOfAnOrderIsItsVersion(t *testing.T) {
	require.Equal(t, `"3"`, newFixture(t).get("/v1/orders/o-1").Header().Get("ETag"))
}

func TestAPI_ReadOfNothing(t *testing.T) {
	for path, detail := range map[string]string{
		"/v1/orders/o-9":               `order "o-9" is not known: POST /v1/orders`,
		"/v1/orders/o-3":               `order "o-3" is not known`, // a row that only remembers refusals
		"/v1/orders/o-9/events":        `order "o-9" is not known`,
		"/v1/orders/o-3/events":        `order "o-3" is not known`,
		"/v1/stores/s-9":               `store "s-9" is not registered: PUT /v1/stores/s-9`,
		"/v1/stores/s-2":               `store "s-2" is not registered`,
		"/v1/stores/s-9/stock":         `store "s-9" is not registered`,
		"/v1/stores/s-9/orders":        `store "s-9" is not registered`,
		"/v1/riders/r-9":               `rider "r-9" is not known: POST /v1/riders/r-9/online`,
		"/v1/foods/p-9":                `food "p-9" has not been ordered yet`,
		"/v1/nothing":                  "there is nothing at /v1/nothing",
		"/v1/orders/":                  "there is nothing at",
		"//v1/orders":                  "there is nothing at",
		"/v1/orders/o-1/x/y":           "there is nothing at",
		"/v1/orders/o-1/../../healthz": "there is nothing at",
	} {
		t.Run(path, func(t *testing.T) {
			newFixture(t).get(path).problem(t, http.StatusNotFound, detail)
		})
	}
}

func TestAPI_BadParameters(t *testing.T) {
	for _, c := range []struct{ path, field, detail string }{
		{"/v1/orders/a%2Fb", "id", "must not contain a slash"},
		{"/v1/orders/o%00", "id", "must not contain control characters"},
		{"/v1/orders/%ff", "id", "is not UTF-8"},
		{"/v1/orders/" + strings.Repeat("o", 201), "id", "at most 200"},
		{"/v1/orders/a%2Fb/events", "id", "slash"},
		{"/v1/stores/a%2Fb", "id", "slash"},
		{"/v1/stores/a%2Fb/stock", "id", "slash"},
		{"/v1/stores/a%2Fb/orders", "id", "slash"},
		{"/v1/riders/a%2Fb", "id", "slash"},
		{"/v1/areas/a%2Fb/riders", "id", "slash"},
		{"/v1/areas/a%2Fb/deliveries", "id", "slash"},
		{"/v1/users/a%2Fb/orders", "id", "slash"},
		{"/v1/users/a%2Fb/messages", "id", "slash"},
		{"/v1/foods/a%2Fb", "product", "slash"},
		{"/v1/orders?limit=0", "limit", "from 1 to 500"},
		{"/v1/orders?limit=501", "limit", "from 1 to 500"},
		{"/v1/orders?limit=", "limit", "from 1 to 500"},
		{"/v1/orders?limit=ten", "limit", "from 1 to 500"},
		{"/v1/orders?cursor=!", "cursor", "is not one that this list gave"},
		{"/v1/orders?cursor=", "cursor", "is not one that this list gave"},
		{"/v1/orders?cursor=bWVzc2FnZToxNzY3MjI1NjAxMDAwL20tMw", "cursor", "is not one that this list gave"},
		{"/v1/orders?status=eaten", "status", "is not a status of an order: one of placed, paying"},
		{"/v1/orders?status=", "status", "is not a status"},
		{"/v1/orders?storeId=", "storeId", "is missing"},
		{"/v1/users/u-1/orders?limit=x", "limit", "from 1 to 500"},
		{"/v1/users/u-1/orders?cursor=x", "cursor", "is not one"},
		{"/v1/users/u-1/messages?limit=x", "limit", "from 1 to 500"},
		{"/v1/users/u-1/messages?cursor=bWVzc2FnZTp4", "cursor", "is not one"}, // message:x
		{"/v1/foods?limit=-1", "limit", "from 1 to 500"},
		{"/v1/foods?cursor=x", "cursor", "is not one"},
		{"/v1/orders/o-1?wait=eaten", "wait", "is not a status"},
		{"/v1/orders/o-1?wait=paid&timeout=5", "timeout", "must be a duration such as 5s"},
		{"/v1/orders/o-1?wait=paid&timeout=61s", "timeout", "at most 1m0s"},
		{"/v1/orders/o-1?wait=paid&timeout=-1s", "timeout", "must be a duration"},
		{"/v1/orders/o-1?after=-1", "after", "must be the version"},
		{"/v1/orders/o-1?after=", "after", "must be the version"},
		{"/v1/orders/o-1?after=1&wait=paid", "after", "cannot be used together with wait"},
	} {
		t.Run(c.path, func(t *testing.T) {
			a := newFixture(t).get(c.path)
			a.problem(t, http.StatusBadRequest, c.detail)
			require.Equal(t, []string{c.field}, a.wrong())
		})
	}
	t.Run("Last-Event-ID", func(t *testing.T) {
		a := newFixture(t).get("/v1/orders/o-1/events", "Last-Event-ID", "x")
		a.problem(t, http.StatusBadRequest, "must be the version")
		require.Equal(t, []string{"Last-Event-ID"}, a.wrong())
	})
}

func TestAPI_WrongMethod(t *testing.T) {
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/orders", "GET, HEAD, POST"},
		{"POST", "/v1/orders/o-1", "GET, HEAD"},
		{"GET", "/v1/orders/o-1/cancel", "POST"},
		{"POST", "/v1/stores/s-1", "GET, HEAD, PUT"},
		{"GET", "/v1/stores/s-1/products/p-1", "PUT"},
		{"PATCH", "/v1/riders/r-1/online", "POST"},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			a := newFixture(t).do(c.method, c.path, "")
			a.problem(t, http.StatusMethodNotAllowed, c.method+" is not for this path: use "+c.allow)
			require.Equal(t, c.allow, a.Header().Get("Allow"))
		})
	}
}

func TestAPI_UnknownErrorIsNotShown(t *testing.T) {
	f := newFixture(t)
	f.orders.fail(errors.New("the password is hunter2"))
	a := f.get("/v1/orders/o-1")
	a.problem(t, http.StatusInternalServerError, "Internal error")
	require.NotContains(t, a.Body.String(), "hunter2")
	require.Contains(t, f.log.String(), "hunter2")
}

func TestAPI_Panic(t *testing.T) {
	f := newFixture(t)
	f.orders.breakDown()
	f.get("/v1/orders/o-1").problem(t, http.StatusInternalServerError, "Internal error")
	require.Contains(t, f.log.String(), "a bug")
}

func TestAPI_OtherSite(t *testing.T) {
	f := newFixture(t)
	f.do("POST", "/v1/orders/o-1/confirm", "", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example").problem(t, http.StatusForbidden, "https://evil.example")
	require.Empty(t, f.commands.all())
	require.Equal(t, http.StatusOK, f.get("/v1/orders/o-1", "Sec-Fetch-Site", "cross-site").Code)
}

func TestAPI_Operation(t *testing.T) {
	f := newFixture(t)
	require.JSONEq(t, `{"status":"ok"}`, f.get("/healthz").Body.String())
	require.Equal(t, http.StatusOK, f.get("/metrics").Code)
	require.Contains(t, f.get("/openapi.yaml").Body.String(), "openapi: 3.1.0")
	require.Contains(t, f.get("/").Header().Get("Content-Type"), "text/html")
	require.Contains(t, f.get("/").Body.String(), `href="/v1/orders"`)
	a := f.do("HEAD", "/v1/orders/o-1", "")
	require.Equal(t, http.StatusOK, a.Code)
	require.Equal(t, `"3"`, a.Header().Get("ETag"))
}

func TestAPI_Ready(t *testing.T) {
	good := views.Progress{View: "orders", Table: "orders-table", Recovered: true, Applied: 5, Newest: 5, Staleness: time.Second}
	for name, c := range map[string]struct {
		ready  error
		change func(*views.Progress)
		code   int
		want   string
	}{
		"Yes": {nil, func(*views.Progress) {}, 200,
			`{"ready":true,"views":[{"view":"orders","table":"orders-table","ready":true,"applied":5,"newest":5,"stalenessMs":1000}]}`},
		"Processors": {errors.New("stock has no partitions yet"), func(*views.Progress) {}, 503,
			`{"ready":false,"processors":"stock has no partitions yet","views":[{"view":"orders","table":"orders-table","ready":true,"applied":5,"newest":5,"stalenessMs":1000}]}`},
		"Recovering": {nil, func(p *views.Progress) { p.Recovered, p.Applied, p.Staleness = false, 2, 1<<63-1 }, 503,
			`{"ready":false,"views":[{"view":"orders","table":"orders-table","ready":false,"applied":2,"newest":5}]}`},
		"Lagging": {nil, func(p *views.Progress) { p.Staleness = time.Minute }, 503,
			`{"ready":false,"views":[{"view":"orders","table":"orders-table","ready":false,"applied":5,"newest":5,"stalenessMs":60000}]}`},
		"Problem": {nil, func(p *views.Progress) { p.Problem = "the topic was made anew" }, 503,
			`{"ready":false,"views":[{"view":"orders","table":"orders-table","ready":false,"applied":5,"newest":5,"stalenessMs":1000,"problem":"the topic was made anew"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			p := good
			c.change(&p)
			f.ready, f.progress = c.ready, []views.Progress{p}
			a := f.get("/readyz")
			require.Equal(t, c.code, a.Code)
			require.JSONEq(t, c.want, a.Body.String())
		})
	}
}

func TestAPI_Pages(t *testing.T) {
	f := newFixture(t)
	for i := range 10 {
		f.orders.set("x-"+string(rune('a'+i)), lifeOf("x-"+string(rune('a'+i)), order.Placed))
	}
	// walk follows the cursors and returns the ids of all entries, page by page.
	walk := func(path, list, id string) (pages [][]string) {
		next := ""
		for {
			a := f.get(path + next)
			require.Equal(t, http.StatusOK, a.Code, a.Body.String())
			var ids []string
			for _, e := range a.json[list].([]any) {
				ids = append(ids, e.(map[string]any)[id].(string))
			}
			pages = append(pages, ids)
			cursor, more := a.json["cursor"].(string)
			if !more {
				return pages
			}
			require.Less(t, len(pages), 20, "paging ends")
			next = "&cursor=" + cursor
		}
	}
	require.Equal(t, [][]string{{"o-1", "o-2", "x-a", "x-b", "x-c"}, {"x-d", "x-e", "x-f", "x-g", "x-h"}, {"x-i", "x-j"}}, walk("/v1/orders?limit=5", "orders", "id"))
	require.Equal(t, [][]string{{"x-a", "x-b", "x-c", "x-d"}, {"x-e", "x-f", "x-g", "x-h"}, {"x-i", "x-j"}}, walk("/v1/orders?status=placed&limit=4", "orders", "id"))
	require.Equal(t, [][]string{{"o-2"}}, walk("/v1/orders?status=refused&storeId=s-1", "orders", "id"))
	require.Equal(t, [][]string{nil}, walk("/v1/orders?storeId=s-9", "orders", "id"))
	// The order that was forgotten has its place, but nothing to show.
	require.Equal(t, [][]string{{"o-2"}, {"o-1"}, nil}, walk("/v1/users/u-1/orders?limit=1", "orders", "id"))
	require.Equal(t, [][]string{{"m-3", "m-2"}, {"m-1"}}, walk("/v1/users/u-1/messages?limit=2", "messages", "id"))
	require.Equal(t, [][]string{{"p-1"}, {"p-2"}}, walk("/v1/foods?limit=1", "foods", "product"))

	require.NotContains(t, f.get("/v1/orders").Body.String(), "timeline", "lists leave it out")
}

func TestAPI_Board(t *testing.T) {
	f := newFixture(t)
	f.orders.set("o-4", lifeOf("o-4", order.Placed, order.Paying, order.Paid))
	f.orders.set("o-5", lifeOf("o-5", order.Placed))
	f.models.set("store/s-1", &projection.Model{Orders: []projection.Ref{{OrderID: "o-1", At: noon}, {OrderID: "o-2", At: noon}, {OrderID: "o-4", At: noon + 1},
		{OrderID: "o-5", At: noon + 2}, {OrderID: "o-forgotten", At: noon + 3}}})
	a := f.get("/v1/stores/s-1/orders")
	require.Equal(t, http.StatusOK, a.Code)
	board := map[string][]string{}
	for status, orders := range a.json["orders"].(map[string]any) {
		for _, o := range orders.([]any) {
			board[status] = append(board[status], o.(map[string]any)["id"].(string))
		}
	}
	require.Equal(t, map[string][]string{"paid": {"o-4", "o-1"}, "placed": {"o-5"}}, board)
}

// A body that never ends is not read for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A command that does not fit into its stream was not sent, and the client is told so.
func TestAPI_CommandTooLong(t *testing.T) {
	f := newFixture(t)
	f.commands.err = errors.Join(errors.New("order-commands"), api.ErrTooLong)
	f.do(http.MethodPost, "/v1/orders/o-1/confirm", `{}`).problem(t, http.StatusRequestEntityTooLarge, "was not sent")
}

func TestAPI_BodyTooLarge(t *testing.T) {
	f := newFixture(t)
	r := httptest.NewRequest(http.MethodPost, "/v1/orders", io.NopCloser(endless{}))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Empty(t, f.commands.all())
}

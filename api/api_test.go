package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
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
	"baedal/topics"
	"baedal/views"
)

// fakeTable is a view in memory that can fail.
type fakeTable[R any] struct {
	*views.Memory[R]
	mu      sync.Mutex
	rows    map[string]*R
	waiting int
	err     error
	panics  bool
}

func fake[R any](t testing.TB, table topics.Table[R], indexes ...views.Index[R]) *fakeTable[R] {
	m, err := views.NewMemory(table.Topic, table, indexes...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return &fakeTable[R]{Memory: m, rows: map[string]*R{}}
}

// set changes a row; nil removes it.
func (t *fakeTable[R]) set(key string, row *R) {
	t.mu.Lock()
	t.rows[key] = row
	t.mu.Unlock()
	if err := t.Put(key, row); err != nil {
		panic(err)
	}
}

// breakDown makes every later look at the table panic.
func (t *fakeTable[R]) breakDown() {
	t.mu.Lock()
	t.panics = true
	rows := maps.Clone(t.rows)
	t.mu.Unlock()
	for key, row := range rows { // wakes those who wait
		_ = t.Put(key, row)
	}
}

func (t *fakeTable[R]) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *fakeTable[R]) fault() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.panics {
		panic("a bug")
	}
	return t.err
}

func (t *fakeTable[R]) Get(key string) (*R, error) {
	if err := t.fault(); err != nil {
		return nil, err
	}
	return t.Memory.Get(key)
}

func (t *fakeTable[R]) Each(from string, fn func(string, *R) bool) error {
	if err := t.fault(); err != nil {
		return err
	}
	return t.Memory.Each(from, fn)
}

func (t *fakeTable[R]) Scan(index, group string, after views.Entry, fn func(at views.Entry, key string, row *R) bool) error {
	if err := t.fault(); err != nil {
		return err
	}
	return t.Memory.Scan(index, group, after, fn)
}

func (t *fakeTable[R]) Groups(index, prefix string, fn func(string) bool) error {
	if err := t.fault(); err != nil {
		return err
	}
	return t.Memory.Groups(index, prefix, fn)
}

func (t *fakeTable[R]) Changes(index, group string, since views.Cursor) ([]views.Change[R], views.Cursor, error) {
	if err := t.fault(); err != nil {
		return nil, since, err
	}
	return t.Memory.Changes(index, group, since)
}

func (t *fakeTable[R]) Wait(ctx context.Context, key string, cond func(*R) bool) (*R, error) {
	if err := t.fault(); err != nil {
		return nil, err
	}
	return t.Memory.Wait(ctx, key, func(row *R) bool {
		_ = t.fault()
		if cond(row) {
			return true
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.waiting++
		return false
	})
}

func (t *fakeTable[R]) Staleness() time.Duration { return 7 * time.Millisecond }

// waits returns how often somebody began to wait.
func (t *fakeTable[R]) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// fakeMessages is a message log in memory that can fail.
type fakeMessages struct {
	*views.Messages
	memory *views.Memory[notification.Notification]
	mu     sync.Mutex
	err    error
}

func newFakeMessages(t testing.TB) *fakeMessages {
	m, memory, err := views.NewMemoryMessages("messages", topics.New("", 2).MessageLog)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, memory.Close()) })
	return &fakeMessages{Messages: m, memory: memory}
}

func (m *fakeMessages) set(recipient string, log *notification.Log) {
	for _, n := range log.Messages {
		if err := m.memory.Put(recipient, &n); err != nil {
			panic(err)
		}
	}
}

func (m *fakeMessages) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *fakeMessages) fault() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *fakeMessages) Get(recipient string) (*notification.Log, error) {
	if err := m.fault(); err != nil {
		return nil, err
	}
	return m.Messages.Get(recipient)
}

func (m *fakeMessages) Scan(index, group string, after views.Entry, fn func(views.Entry, string, *notification.Notification) bool) error {
	if err := m.fault(); err != nil {
		return err
	}
	return m.Messages.Scan(index, group, after, fn)
}

func (m *fakeMessages) Changes(index, group string, since views.Cursor) ([]views.Change[notification.Notification], views.Cursor, error) {
	if err := m.fault(); err != nil {
		return nil, since, err
	}
	return m.Messages.Changes(index, group, since)
}

func (m *fakeMessages) Staleness() time.Duration { return 7 * time.Millisecond }

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
	t        testing.TB
	handler  http.Handler
	orders   *fakeTable[order.Order]
	stock    *fakeTable[stock.Inventory]
	riders   *fakeTable[rider.Rider]
	areas    *fakeTable[dispatch.Area]
	messages *fakeMessages
	models   *fakeTable[projection.Model]
	verdicts *views.MemoryVerdicts
	consumed func(context.Context, string) error
	commands fakeCommands
	ready    error
	damaged  error
	manners  api.Manners
	progress []views.Progress
	log      *logs
	metrics  *prometheus.Registry
}

// logs keeps what was logged.
type logs struct {
	mu sync.Mutex
	strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.String()
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
	f.metrics = prometheus.NewRegistry()
	f.handler = asDescribed(f.t, api.New(api.Deps{
		Tables: api.Tables{Orders: f.orders, Stock: f.stock, Riders: f.riders, Areas: f.areas, Messages: f.messages, Models: f.models,
			Progress: func() []views.Progress { return f.progress }},
		Commands: commands,
		Verdicts: f.verdicts,
		Consumed: func(ctx context.Context, stream string) error {
			if f.consumed == nil {
				return errors.New("it can't be known")
			}
			return f.consumed(ctx, stream)
		},
		Ready:   func() error { return f.ready },
		Damaged: func() error { return f.damaged },
		Manners: f.manners,
		Metrics: f.metrics, Registerer: f.metrics,
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}))
	return f
}

// emptyFixture is the API where nothing has happened yet.
func emptyFixture(t testing.TB) *fixture {
	catalog := topics.New("", 2)
	f := &fixture{t: t, log: &logs{},
		orders:   fake(t, catalog.OrdersTable, views.OrderIndexes...),
		stock:    fake(t, catalog.StockTable, views.StoreIndexes...),
		riders:   fake(t, catalog.RidersTable, views.RiderIndexes...),
		areas:    fake(t, catalog.DispatchTable, views.AreaIndexes...),
		messages: newFakeMessages(t),
		verdicts: newFakeVerdicts(t),
		models:   fake(t, catalog.ProjectionsTable, views.FoodIndexes...)}
	return f.with(&f.commands)
}

func newFixture(t testing.TB) *fixture {
	f := emptyFixture(t)
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
	f.riders.set("r-1", &rider.Rider{ID: "r-1", Version: 1})
	f.messages.set("u-1", &notification.Log{Recipient: "u-1", Messages: []notification.Notification{
		messageOf(1, "placed", noon, "first"),
		messageOf(2, "paid", noon.Add(time.Second), "second"),
		messageOf(3, "accepted", noon.Add(time.Second), "third")}})
	f.models.set("s-1/p-1", &projection.Model{Key: "s-1/p-1", Count: 3, Quantity: 7})
	f.models.set("s-1/p-2", &projection.Model{Key: "s-1/p-2", Count: 1, Quantity: 1})
	f.models.set("s-7/p-1", &projection.Model{Key: "s-7/p-1"}) // all were cancelled
	f.models.set("o-1", &projection.Model{Key: "o-1"})
	return f
}

func messageOf(version int, typ string, at domain.Time, text string) notification.Notification {
	return notification.Notification{Meta: domain.Meta{Type: typ, ID: fmt.Sprintf("o-1/%d/customer", version), At: at},
		Recipient: "u-1", Audience: notification.Customer, OrderID: "o-1", Status: typ, Message: text}
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
	if strings.HasSuffix(w.Header().Get("Content-Type"), "json") && w.Header().Get("Content-Encoding") == "" {
		require.NoError(f.t, json.Unmarshal(w.Body.Bytes(), &a.json), w.Body.String())
	}
	return a
}

// later sends a command and does not wait for its verdict.
func (f *fixture) later(method, path, body string, headers ...string) answer {
	f.t.Helper()
	return f.do(method, path, body, append([]string{"Prefer", "respond-async"}, headers...)...)
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
	require.Contains(t, f.get("/openapi.yaml").Body.String(), "openapi: 3.")
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

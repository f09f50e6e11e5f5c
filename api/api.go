// Package api is the HTTP of Baedal: reads are answered from views of the
// tables, commands are handed to the command streams. It decides nothing.
//
// A command is answered when the group that owns the row has decided on it, and
// when the views show that. One that is answered with 202 is in its stream for
// good, and GET /v1/commands/{id} says what becomes of it.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// ErrTooLong is what Commands fails with when a command does not fit into its
// stream: it was not sent.
var ErrTooLong = errors.New("too long for its stream")

// Commands hands commands to their streams. Each call blocks until the broker
// has acknowledged the command, or ctx is done, and not where it is known that
// nothing is acknowledged. After ErrNotSent the command never arrives; after any
// other error it is not known whether it did. To send it again, with the same
// id, is safe. It must be safe for concurrent use.
type Commands interface {
	SendOrder(ctx context.Context, orderID string, c *order.Command) error
	SendStore(ctx context.Context, storeID string, c *stock.Command) error
	SendRider(ctx context.Context, riderID string, c *rider.Command) error
}

// What an error of Commands says.
var (
	// ErrNotSent: the command was never sent, and never will be.
	ErrNotSent = errors.New("the command was not sent")
	// ErrUnacknowledged: it was sent, and may have arrived.
	ErrUnacknowledged = errors.New("the command was not acknowledged")
)

// Deps are what the API stands on. Tables, Commands and Verdicts must be given.
type Deps struct {
	Tables   Tables
	Commands Commands
	Verdicts Verdicts
	// Ready says what the process still waits for beside the views, such as its
	// processors. Nil where it runs none.
	Ready func() error
	// Engine is what GET /v1/engine tells of this process.
	Engine Engine
	// DeadLetters are listed and put back for the operator; nil where they can't be.
	DeadLetters DeadLetters
	// Damaged says why no command may be taken now, such as topics that are not as
	// they should be, and what to do; nil is never.
	Damaged func() error
	// AsyncAPI is served under /asyncapi.yaml: it describes the streams.
	AsyncAPI []byte
	// Consumed blocks until the groups have decided on all commands that are in a
	// stream now, or in any of them where none is named, or ctx is done. Nil where it
	// can't be known.
	Consumed func(ctx context.Context, stream string) error
	// Manners are how clients are treated; the zero value is strict.
	Manners Manners
	// Metrics is served under /metrics; nil serves prometheus.DefaultGatherer.
	Metrics prometheus.Gatherer
	// Registerer gets the metrics of the API itself. Nil: they are not served.
	Registerer prometheus.Registerer
	// Logger gets what clients are not told. Nil is slog.Default.
	Logger *slog.Logger
}

type server struct {
	Deps
	sent    *sent
	waiting atomic.Int64 // requests that wait for a verdict
	streams *streams
	areas   areas
	encoded *encoded
}

// route is one operation; its path is spelled as in openapi.yaml. Behind a ? follow
// the names of the query parameters that it takes: "/v1/orders?status&limit".
type route struct {
	method, path string
	handle       func(http.ResponseWriter, *http.Request) error
}

// split returns the path and the parameters apart.
func (rt route) split() (path string, params []string) {
	path, query, has := strings.Cut(rt.path, "?")
	if has {
		params = strings.Split(query, "&")
	}
	return path, params
}

// New returns the handler of all paths.
func New(deps Deps) http.Handler {
	if deps.Metrics == nil {
		deps.Metrics = prometheus.DefaultGatherer
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	s := &server{Deps: deps, sent: newSent(sentCommands), streams: newStreams(deps.Registerer), encoded: newEncoded()}
	return s.guard(s.orderFirst(s.router()))
}

// orderFirst answers the busiest of all requests, GET of one order as it is now,
// without asking the router, which takes as long as the answer itself. What is
// not spelled in the plainest way is left to the router.
func (s *server) orderFirst(router http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, is := strings.CutPrefix(r.URL.Path, "/v1/orders/")
		if !is || r.Method != http.MethodGet || r.URL.RawPath != "" || r.URL.RawQuery != "" || id == "" || strings.Contains(id, "/") {
			router.ServeHTTP(w, r)
			return
		}
		err := parameter(domain.CheckID("id", id))
		if err == nil {
			err = s.readOrder(w, r, id, until{})
		}
		if err != nil {
			s.writeProblem(w, r, problemOf(err))
		}
	})
}

// router returns the handler that knows all paths. They are matched as they were
// sent: an id may hold anything but a slash, and a request is never redirected,
// which would turn a POST into a GET.
func (s *server) router() http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, rt := range s.routes() {
		path, params := rt.split()
		handle := rt.handle
		if strings.HasPrefix(path, "/v1/") {
			handle = onlyWith(params, handle)
		}
		methods := []string{rt.method}
		if rt.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		r.Handle(path, s.serve(withValues(handle))).Methods(methods...)
	}
	r.NotFoundHandler = s.serve(unknownPath)
	r.MethodNotAllowedHandler = s.serve(func(w http.ResponseWriter, req *http.Request) error {
		return wrongMethod(w, req, r)
	})
	return r
}

// withValues hands on the variables of a path, unescaped.
func withValues(handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		for name, escaped := range mux.Vars(r) {
			value, err := url.PathUnescape(escaped)
			if err != nil {
				return wrong(name, "is not escaped as a URL asks for")
			}
			r.SetPathValue(name, value)
		}
		return handle(w, r)
	}
}

func (s *server) routes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	metrics := promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn)})
	routes := []route{ // the busiest first: they are tried in this order
		{get, "/v1/orders/{id}?wait&after", s.getOrder},
		{post, "/v1/orders?wait", s.placeOrder},
		{get, "/v1/orders?status&storeId&userId&riderId&area&since&until&limit&cursor", s.listOrders},
		{get, "/v1/orders/{id}/events?lastEventId", s.orderEvents},
		{get, "/v1/stores/{id}/events?lastEventId", s.storeEvents},
		{get, "/v1/riders/{id}/events?lastEventId", s.riderEvents},
		{get, "/v1/areas/{id}/events?lastEventId", s.areaEvents},
		{get, "/v1/users/{id}/events?lastEventId", s.userEvents},

		{put, "/v1/stores/{id}", s.storeCommand(stock.Register)},
		{patch, "/v1/stores/{id}", s.storeCommand(stock.Update)},
		{del, "/v1/stores/{id}", s.storeCommand(stock.Unregister)},
		{post, "/v1/stores/{id}/open", s.storeCommand(stock.Open)},
		{post, "/v1/stores/{id}/close", s.storeCommand(stock.Close)},
		{post, "/v1/stores/{id}/slow", s.storeCommand(stock.Slow)},
		{post, "/v1/stores/{id}/pause", s.storeCommand(stock.Pause)},
		{put, "/v1/stores/{id}/products/{product}", s.storeCommand(stock.PutProduct)},
		{patch, "/v1/stores/{id}/products/{product}", s.storeCommand(stock.UpdateProduct)},
		{del, "/v1/stores/{id}/products/{product}", s.storeCommand(stock.RemoveProduct)},
		{post, "/v1/stores/{id}/products/{product}/add", s.storeCommand(stock.AddStock)},
		{post, "/v1/stores/{id}/products/{product}/remove", s.storeCommand(stock.RemoveStock)},
		{post, "/v1/stores/{id}/products/{product}/sold-out", s.storeCommand(stock.SoldOut)},
		{get, "/v1/commands/{id}?stream&key", s.getCommand},

		{get, "/v1/stores/{id}", s.getStore},
		{get, "/v1/stores?area&open&limit&cursor", s.listStores},
		{get, "/v1/stores/{id}/products?limit&cursor", s.listProducts},
		{get, "/v1/stores/{id}/products/{product}", s.getProduct},
		{get, "/v1/stores/{id}/stock", s.getStock},
		{get, "/v1/stores/{id}/orders", s.storeOrders},

		{get, "/v1/riders?area&state&sort&limit&cursor", s.listRiders},
		{get, "/v1/riders/{id}", s.getRider},
		{get, "/v1/areas?limit&cursor", s.listAreas},
		{get, "/v1/areas/{id}/riders", s.areaRiders},
		{get, "/v1/areas/{id}/deliveries?riderId", s.areaDeliveries},
		{get, "/v1/users/{id}/orders?limit&cursor", s.userOrders},
		{get, "/v1/users/{id}/messages?limit&cursor", s.userMessages},
		{get, "/v1/foods?storeId&limit&cursor", s.listFoods},
		{get, "/v1/foods/{product}?limit&cursor", s.getFood},

		{get, "/v1/engine", s.engine},
		{get, "/v1/dead-letters?group&topic&key&error&since&limit&cursor", s.listDeadLetters},
		{post, "/v1/dead-letters/{partition}/{offset}/replay", s.replayDeadLetter},

		{get, "/healthz", s.healthz},
		{get, "/readyz", s.readyz},
		{get, "/metrics", func(w http.ResponseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil }},
		{get, "/openapi.yaml", openAPI},
		{get, "/asyncapi.yaml", func(w http.ResponseWriter, _ *http.Request) error {
			return writeFile(w, "application/yaml", s.AsyncAPI)
		}},
		{get, "/docs", docs},
		{get, "/docs/renderer.js", docsRenderer},
		{get, "/problems", problems},
		{get, "/problems/{name}", problems},
		{get, "/", index},
	}
	for _, kind := range order.CommandTypes {
		if kind != order.Place {
			routes = append(routes, route{post, "/v1/orders/{id}/" + verb(kind), s.orderVerb(kind)})
		}
	}
	for _, kind := range rider.CommandTypes {
		routes = append(routes, route{post, "/v1/riders/{id}/" + verb(kind), s.riderVerb(kind)})
	}
	return routes
}

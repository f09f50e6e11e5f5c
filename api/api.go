// Package api is the HTTP of Baedal: reads are answered from views of the
// tables, commands are handed to the command streams. It decides nothing.
//
// A command that is answered with 202 is in its stream for good, but not
// decided yet. What became of it shows in the tables, and on the verdicts
// stream.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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

// Deps are what the API stands on. Tables and Commands must be given.
type Deps struct {
	Tables   Tables
	Commands Commands
	// Ready says what the process still waits for beside the views, such as its
	// processors. Nil where it runs none.
	Ready func() error
	// Damaged says why no command may be taken now, such as topics that are not as
	// they should be, and what to do; nil is never.
	Damaged func() error
	// Manners are how clients are treated; the zero value is strict.
	Manners Manners
	// Metrics is served under /metrics; nil serves prometheus.DefaultGatherer.
	Metrics prometheus.Gatherer
	// Logger gets what clients are not told. Nil is slog.Default.
	Logger *slog.Logger
}

type server struct {
	Deps
	recent *recent
}

// route is one operation; its path is spelled as in openapi.yaml.
type route struct {
	method, path string
	handle       func(http.ResponseWriter, *http.Request) error
}

// New returns the handler of all paths.
func New(deps Deps) http.Handler {
	if deps.Metrics == nil {
		deps.Metrics = prometheus.DefaultGatherer
	}
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	s := &server{Deps: deps, recent: newRecent(recentOrders)}
	return s.guard(s.router())
}

func (s *server) router() *mux.Router {
	// Paths are matched as they were sent: an id may hold anything but a slash,
	// and a request is never redirected, which would turn a POST into a GET.
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, rt := range s.routes() {
		methods := []string{rt.method}
		if rt.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		r.Handle(rt.path, s.serve(rt.handle)).Methods(methods...)
	}
	r.NotFoundHandler = s.serve(unknownPath)
	r.MethodNotAllowedHandler = s.serve(func(w http.ResponseWriter, req *http.Request) error {
		return wrongMethod(w, req, r)
	})
	return r
}

func (s *server) routes() []route {
	const get, post, put = http.MethodGet, http.MethodPost, http.MethodPut
	metrics := promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn)})
	routes := []route{
		{post, "/v1/orders", s.placeOrder},
		{get, "/v1/orders", s.listOrders},
		{get, "/v1/orders/{id}", s.getOrder},
		{get, "/v1/orders/{id}/events", s.orderEvents},

		{put, "/v1/stores/{id}", s.registerStore},
		{get, "/v1/stores/{id}", s.getStore},
		{post, "/v1/stores/{id}/open", s.storeVerb(stock.Open)},
		{post, "/v1/stores/{id}/close", s.storeVerb(stock.Close)},
		{put, "/v1/stores/{id}/products/{product}", s.putProduct},
		{post, "/v1/stores/{id}/products/{product}/add", s.storeVerb(stock.AddStock)},
		{post, "/v1/stores/{id}/products/{product}/remove", s.storeVerb(stock.RemoveStock)},
		{get, "/v1/stores/{id}/stock", s.getStock},
		{get, "/v1/stores/{id}/orders", s.storeOrders},

		{get, "/v1/riders/{id}", s.getRider},
		{get, "/v1/areas/{id}/riders", s.areaRiders},
		{get, "/v1/areas/{id}/deliveries", s.areaDeliveries},
		{get, "/v1/users/{id}/orders", s.userOrders},
		{get, "/v1/users/{id}/messages", s.userMessages},
		{get, "/v1/foods", s.listFoods},
		{get, "/v1/foods/{product}", s.getFood},

		{get, "/healthz", s.healthz},
		{get, "/readyz", s.readyz},
		{get, "/metrics", func(w http.ResponseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil }},
		{get, "/openapi.yaml", openAPI},
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

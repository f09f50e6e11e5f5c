package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// drainTimeout is how long requests in flight may take after a shutdown began.
const drainTimeout = 10 * time.Second

// Server answers HTTP on one address.
type Server struct {
	listener net.Listener
	handler  atomic.Pointer[http.Handler]
	http     http.Server
	drain    context.CancelFunc
	served   chan error
}

// Listen takes addr (host:port; port 0 takes a free one) and answers on it from
// now on: until Serve with what a process says that is starting.
func Listen(addr string) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for HTTP on %q: choose another address: %w", addr, err)
	}
	draining, drain := context.WithCancel(context.Background())
	base := context.WithValue(context.Background(), drainKey{}, draining)
	s := &Server{listener: listener, drain: drain, served: make(chan error, 1)}
	starting := startingHandler()
	s.handler.Store(&starting)
	s.http = http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load()).ServeHTTP(w, r) }),
		BaseContext: func(net.Listener) context.Context { return base },
		// A deadline for reading the whole request would end requests that wait:
		// bodies have their own (readBody).
		ReadHeaderTimeout: 5 * time.Second,
		// The longest wait, and time to send the answer. A stream of events moves
		// its deadline on.
		WriteTimeout:   maxWait + 30*time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

// Addr returns the address (host:port): with port 0, the only way to know the port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers by handler until ctx is done, which is no error. Then it takes no
// more requests, answers those that wait with what there is, lets the others
// finish, and returns.
func (s *Server) Serve(ctx context.Context, handler http.Handler) error {
	s.handler.Store(&handler)
	select {
	case err := <-s.served:
		return fmt.Errorf("serving HTTP on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	s.drain()
	late, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := s.http.Shutdown(late); err != nil {
		return errors.Join(fmt.Errorf("HTTP requests were cut off after %v: %w", drainTimeout, err), s.http.Close())
	}
	return nil
}

// Close cuts off what is left. It may be called again, and after Serve.
func (s *Server) Close() error {
	s.drain()
	return s.http.Close()
}

// startingHandler says that the process lives and can't answer yet.
func startingHandler() http.Handler {
	s := &server{Deps: Deps{Logger: slog.Default()}}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", s.serve(s.healthz))
	mux.Handle("/", s.serve(func(http.ResponseWriter, *http.Request) error {
		return newProblem(http.StatusServiceUnavailable, "the process is starting: ask again in a second")
	}))
	return mux
}

package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// drainTimeout is how long requests in flight may take after a shutdown began.
const drainTimeout = 10 * time.Second

// Serve answers HTTP on addr (host:port) until ctx is done, which is no error.
// Then it takes no more requests, answers those that wait with what there is,
// lets the others finish, and returns. ready, if not nil, is told the address
// (host:port) once it listens: with port 0, the only way to know the port.
func Serve(ctx context.Context, addr string, handler http.Handler, ready func(addr string)) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot listen for HTTP on %q: choose another address: %w", addr, err)
	}
	draining, drain := context.WithCancel(context.Background())
	defer drain()
	base := context.WithValue(context.Background(), drainKey{}, draining)
	srv := &http.Server{
		Handler:     handler,
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
	if ready != nil {
		ready(listener.Addr().String())
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	drain()
	late, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := srv.Shutdown(late); err != nil {
		return errors.Join(fmt.Errorf("HTTP requests were cut off after %v: %w", drainTimeout, err), srv.Close())
	}
	return nil
}

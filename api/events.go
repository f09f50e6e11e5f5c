package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"baedal/codecs"
	"baedal/domain/order"
)

const (
	// keepAlive is how often a quiet stream says that it lives, so that proxies
	// do not cut it.
	keepAlive = 15 * time.Second
	// eventWrite is how long a client may take to read what was sent to it.
	eventWrite = 30 * time.Second
)

// orderEvents streams the timeline of an order: what has happened after
// Last-Event-ID, then what happens. The id of an event is its version. The
// stream ends after the last event of an order that is over; who comes again
// after that gets 204, which tells an EventSource to stop.
func (s *server) orderEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	seen := 0
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if seen, err = strconv.Atoi(last); err != nil || seen < 0 {
			return wrong("Last-Event-ID", "must be the version of an order, 0 or more")
		}
	}
	stale(w, s.Tables.Orders)
	o, err := s.Tables.Orders.Get(id)
	switch {
	case err != nil:
		return err
	case !placed(o):
		return unknownOrder(id)
	case over(o) && o.Version <= seen:
		w.WriteHeader(http.StatusNoContent)
		return nil
	}

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	out := eventWriter{w: w, rc: http.NewResponseController(w)}
	for placed(o) { // a row that is gone was forgotten: nothing will come
		for _, e := range o.Timeline {
			if e.Version > seen {
				out.event(e)
				seen = e.Version
			}
		}
		if out.flush(); out.err != nil || over(o) {
			return nil
		}
		ctx, cancel := waitContext(r, keepAlive)
		next, err := s.Tables.Orders.Wait(ctx, id, func(o *order.Order) bool { return !placed(o) || o.Version > seen })
		quiet := errors.Is(context.Cause(ctx), context.DeadlineExceeded)
		cancel()
		switch {
		case err == nil:
			o = next
		case quiet:
			out.printf(": nothing new\n\n")
		default:
			// The client is gone, we shut down or the view fails: an EventSource
			// comes again, with the id of what it saw last.
			return nil
		}
	}
	return nil
}

// over reports whether nothing will happen to an order. To a completed one a
// refund may.
func over(o *order.Order) bool { return o.Status.Final() && o.Status != order.Completed }

// eventWriter writes server-sent events until the first error.
type eventWriter struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	err error
}

func (e *eventWriter) event(entry order.Entry) {
	data, err := codecs.Marshal(&entry)
	if err != nil {
		e.err = err
	}
	e.printf("id: %d\nevent: %s\ndata: %s\n\n", entry.Version, entry.Type, data)
}

func (e *eventWriter) printf(format string, args ...any) {
	if e.err == nil {
		_ = e.rc.SetWriteDeadline(time.Now().Add(eventWrite)) // not there in tests without a connection
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}

func (e *eventWriter) flush() {
	if e.err == nil {
		e.err = e.rc.Flush()
	}
}

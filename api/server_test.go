package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/domain/order"
)

// serve boots a real server and returns its address, and what stops it.
func (f *fixture) serve() (url string, stop func() error) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f.t.Cleanup(cancel)
	server, err := api.Listen("127.0.0.1:0")
	require.NoError(f.t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, f.handler) }()
	url = "http://" + server.Addr()
	require.Eventually(f.t, func() bool {
		r, err := http.Get(url + "/openapi.yaml")
		require.NoError(f.t, err)
		return r.Body.Close() == nil && r.StatusCode == http.StatusOK
	}, 10*time.Second, time.Millisecond, "the server knows its handler")
	return url, func() error { cancel(); return <-served }
}

func TestServe(t *testing.T) {
	t.Run("Answers", func(t *testing.T) {
		f := newFixture(t)
		url, stop := f.serve()
		r, err := http.Get(url + "/v1/orders/o-1")
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		require.Equal(t, http.StatusOK, r.StatusCode)
		require.NoError(t, stop())
		_, err = http.Get(url + "/healthz")
		require.Error(t, err, "it is closed")
	})
	t.Run("WhileStarting", func(t *testing.T) {
		server, err := api.Listen("127.0.0.1:0")
		require.NoError(t, err)
		defer server.Close()
		for path, status := range map[string]int{"/healthz": 200, "/readyz": 503, "/v1/orders": 503} {
			r, err := http.Get("http://" + server.Addr() + path)
			require.NoError(t, err)
			require.NoError(t, r.Body.Close())
			require.Equal(t, status, r.StatusCode, path)
		}
	})
	t.Run("AddressInUse", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		_, err = api.Listen(l.Addr().String())
		require.ErrorContains(t, err, "choose another address")
	})
	t.Run("WhoWaitsIsAnsweredAtShutdown", func(t *testing.T) {
		f := newFixture(t)
		url, stop := f.serve()
		status := make(chan string, 1)
		go func() {
			r, err := http.Get(url + "/v1/orders/o-1?wait=delivered")
			if err != nil {
				status <- err.Error()
				return
			}
			defer r.Body.Close()
			var o struct{ Status string }
			_ = json.NewDecoder(r.Body).Decode(&o)
			status <- o.Status
		}()
		require.Eventually(t, func() bool { return f.orders.waits() > 0 }, 10*time.Second, time.Millisecond, "the request waits")
		began := time.Now()
		require.NoError(t, stop())
		require.Less(t, time.Since(began), 5*time.Second)
		require.Equal(t, "paid", <-status)
	})
	t.Run("PanicAfterTheAnswerBegan", func(t *testing.T) {
		f := newFixture(t)
		url, stop := f.serve()
		r, err := http.Get(url + "/v1/orders/o-1/events")
		require.NoError(t, err)
		_, err = io.ReadFull(r.Body, make([]byte, 10)) // it has begun
		require.NoError(t, err)
		f.orders.breakDown()
		_, err = io.Copy(io.Discard, r.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "the client sees that the answer is not whole")
		require.NoError(t, r.Body.Close())
		require.NoError(t, stop())
		require.Contains(t, f.log.String(), "a bug")
	})
}

// event is one server-sent event.
type event struct {
	id   int
	kind string
	data string
}

// events opens the stream of an order and returns how to read the next event.
func events(t *testing.T, url, last string) (next func() (event, bool), leave func(), status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	require.NoError(t, err)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode == http.StatusOK {
		require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(res.Body)
	return func() (e event, ok bool) {
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id, _ = strconv.Atoi(value)
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				if e.id > 0 {
					return e, true
				}
			}
		}
		return e, false
	}, cancel, res.StatusCode
}

func TestAPI_Events(t *testing.T) {
	f := newFixture(t)
	url, stop := f.serve()
	o := lifeOf("o-1", order.Placed, order.Paying, order.Paid)
	f.orders.set("o-1", o)

	next, leave, _ := events(t, url+"/v1/orders/o-1/events", "")
	for i, kind := range []string{"placed", "paying", "paid"} {
		e, ok := next()
		require.True(t, ok)
		require.Equal(t, i+1, e.id)
		require.Equal(t, kind, e.kind)
		require.JSONEq(t, `{"version":`+strconv.Itoa(i+1)+`,"at":"2026-01-01T00:00:0`+strconv.Itoa(i+1)+`.000Z","type":"`+kind+`","status":"`+kind+`","causeId":"c"}`, e.data)
	}
	o = grow(o, order.AcceptedStatus, order.Cooking) // live, two at once
	f.orders.set("o-1", o)
	for i, kind := range []string{"accepted", "cooking"} {
		e, ok := next()
		require.True(t, ok)
		require.Equal(t, event{4 + i, kind, e.data}, e)
	}
	leave()

	next, _, _ = events(t, url+"/v1/orders/o-1/events", "4") // comes again
	e, ok := next()
	require.True(t, ok)
	require.Equal(t, 5, e.id)
	f.orders.set("o-1", grow(o, order.Completed))
	e, _ = next()
	require.Equal(t, "completed", e.kind)
	f.orders.set("o-1", grow(o, order.Completed, order.RefundRequested, order.Refunded))
	e, _ = next()
	require.Equal(t, "refund_requested", e.kind, "a completed order is not over")
	e, _ = next()
	require.Equal(t, "refunded", e.kind)
	_, ok = next()
	require.False(t, ok, "the stream ends with the order")

	_, _, status := events(t, url+"/v1/orders/o-1/events", "8")
	require.Equal(t, http.StatusNoContent, status, "an EventSource need not come again")

	f.get("/v1/orders/o-5/events", "Prefer", "wait=0").problem(t, http.StatusNotFound, "is not known")

	f.orders.set("o-6", lifeOf("o-6", order.Placed))
	next, _, _ = events(t, url+"/v1/orders/o-6/events", "")
	_, ok = next()
	require.True(t, ok)
	f.orders.set("o-6", nil)
	_, ok = next()
	require.False(t, ok, "the stream ends when the order is forgotten")

	f.orders.set("o-6", lifeOf("o-6", order.Placed))
	next, _, _ = events(t, url+"/v1/orders/o-6/events", "")
	_, _ = next()
	require.NoError(t, stop())
	_, ok = next()
	require.False(t, ok, "the stream ends at shutdown")
}

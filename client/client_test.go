package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/client"
)

// server answers with what it is given, one after the other, and keeps what was asked.
type server struct {
	mu      sync.Mutex
	answers []func(w http.ResponseWriter)
	asked   []*http.Request
	bodies  []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked, s.bodies = append(s.asked, r), append(s.bodies, string(body))
	n := min(len(s.asked), len(s.answers)) - 1
	s.mu.Unlock()
	s.answers[n](w)
}

func status(code int, body string, headers ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		if code >= 400 {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func cut(http.ResponseWriter) { panic(http.ErrAbortHandler) }

const (
	away  = `{"type":"/problems/unavailable","title":"Service Unavailable","status":503,"detail":"ask again"}`
	order = `{"id":"o-1","status":"placed","version":1,"attempt":1,"userId":"u-1","storeId":"s-1","lines":[],"timeline":[]}`
)

func start(t *testing.T, o client.Options, answers ...func(http.ResponseWriter)) (*server, *client.Client) {
	s := &server{answers: answers}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	o.HTTP = h.Client()
	c, err := client.New(h.URL, o)
	require.NoError(t, err)
	return s, c
}

// A command is repeated until it is answered, under one key and with the same body.
func TestNew_Repeats(t *testing.T) {
	s, c := start(t, client.Options{Wait: 3 * time.Second}, cut, status(503, away), status(201, order))
	o, err := client.As[client.Order](c.PlaceOrder(t.Context(), nil, client.PlaceOrder{UserID: "u-1", StoreID: "s-1"}))
	require.NoError(t, err)
	require.Equal(t, "o-1", o.ID)
	require.Len(t, s.asked, 3)
	key := s.asked[0].Header.Get("Idempotency-Key")
	require.NotEmpty(t, key)
	for i, r := range s.asked {
		require.Equal(t, key, r.Header.Get("Idempotency-Key"))
		require.Equal(t, "wait=3", r.Header.Get("Prefer"))
		require.Equal(t, s.bodies[0], s.bodies[i])
	}
	require.Contains(t, s.bodies[0], `"userId":"u-1"`)
}

// The caller's key stays, and two commands have two of their own.
func TestNew_Keys(t *testing.T) {
	s, c := start(t, client.Options{}, status(200, order))
	key := "mine"
	for _, params := range []*client.ConfirmOrderParams{{IdempotencyKey: &key}, nil, nil} {
		_, err := client.As[client.Order](c.ConfirmOrder(t.Context(), "o-1", params, client.Bare{}))
		require.NoError(t, err)
	}
	require.Equal(t, key, s.asked[0].Header.Get("Idempotency-Key"))
	require.NotEqual(t, s.asked[1].Header.Get("Idempotency-Key"), s.asked[2].Header.Get("Idempotency-Key"))
	require.Empty(t, s.asked[1].Header.Get("Prefer"), "the server's default")
}

// What was refused is not asked again.
func TestAs_Refused(t *testing.T) {
	s, c := start(t, client.Options{}, status(409, `{"type":"/problems/refused","title":"Conflict","status":409,"detail":"too late","code":"status","reason":"cooking"}`))
	_, err := client.As[client.Order](c.CancelOrder(t.Context(), "o-1", nil, client.CancelOrder{}))
	require.EqualError(t, err, "409 Conflict: too late")
	require.Equal(t, client.Code("status"), client.CodeOf(err))
	require.Len(t, s.asked, 1)
}

func TestAs_Pending(t *testing.T) {
	_, c := start(t, client.Options{}, status(202, `{"id":"c-1","stream":"order-commands","key":"o-1","verdict":"pending","detail":"ask later"}`))
	_, err := client.As[client.Order](c.CancelOrder(t.Context(), "o-1", nil, client.CancelOrder{}))
	var p *client.Pending
	require.ErrorAs(t, err, &p)
	require.Equal(t, "c-1", p.ID)
}

// A client that may not repeat, or not for so long, gets the last answer.
func TestNew_GivesUp(t *testing.T) {
	for name, o := range map[string]client.Options{"never": {Repeat: -1}, "not so long": {Repeat: time.Second}} {
		t.Run(name, func(t *testing.T) {
			s, c := start(t, o, status(503, away, "Retry-After", "7"))
			_, err := client.As[client.Order](c.GetOrder(t.Context(), "o-1", nil))
			var p *client.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, 503, p.Status)
			require.Len(t, s.asked, 1)
		})
	}
}

func TestNew_Ends(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left")
	_, c := start(t, client.Options{}, func(w http.ResponseWriter) { cancel(left); status(503, away)(w) })
	_, err := client.As[client.Order](c.GetOrder(ctx, "o-1", nil))
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func stream(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
	}
}

// A stream goes on behind the last event that was handled, and half an event is none.
func TestEvents(t *testing.T) {
	s, c := start(t, client.Options{},
		stream("retry: 1\n\n: hello\n\nid: a\nevent: order\ndata: {\"id\":\"o-1\"}\n\nid: b\nevent: order\ndata: {\"id\":"),
		status(503, away),
		stream("event: rider\ndata: 1\n\nid: c\nevent: gone\ndata: {\ndata: }\n\n"),
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) })
	var got []string
	err := client.Events(t.Context(), func(ctx context.Context, last *string) (*http.Response, error) {
		return c.FollowStore(ctx, "s-1", &client.FollowStoreParams{LastEventID: last})
	}, func(e client.Event) error {
		got = append(got, fmt.Sprintf("%s %s %s", e.ID, e.Name, strings.ReplaceAll(string(e.Data), "\n", "⏎")))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{`a order {"id":"o-1"}`, "a rider 1", "c gone {⏎}"}, got)
	var lasts []string
	for _, r := range s.asked {
		lasts = append(lasts, r.Header.Get("Last-Event-ID"))
	}
	require.Equal(t, []string{"", "a", "a", "c"}, lasts)
}

func TestEvents_Handler(t *testing.T) {
	_, c := start(t, client.Options{}, stream("event: ready\ndata: {}\n\n"))
	enough := errors.New("enough")
	err := client.Events(t.Context(), func(ctx context.Context, last *string) (*http.Response, error) {
		return c.FollowStore(ctx, "s-1", &client.FollowStoreParams{LastEventID: last})
	}, func(client.Event) error { return enough })
	require.ErrorIs(t, err, enough)
}

func TestEvents_Unknown(t *testing.T) {
	_, c := start(t, client.Options{}, status(404, `{"type":"/problems/not-found","title":"Not Found","status":404,"detail":"no such store"}`))
	err := client.Events(t.Context(), func(ctx context.Context, last *string) (*http.Response, error) {
		return c.FollowStore(ctx, "s-1", &client.FollowStoreParams{LastEventID: last})
	}, func(client.Event) error { return nil })
	require.EqualError(t, err, "404 Not Found: no such store")
}

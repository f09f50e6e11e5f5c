package api_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain/order"
)

func TestAPI_GetAndWait(t *testing.T) {
	for _, c := range []struct {
		query, status string
	}{
		{"wait=paid", "paid"},
		{"wait=placed", "paid"},
		{"after=2", "paid"},
		{"wait=delivered", "completed"},
		{"after=3", "accepted"},
		{"after=4", "completed"},
	} {
		t.Run(c.query, func(t *testing.T) {
			f := newFixture(t)
			o := lifeOf("o-1", order.Placed, order.Paying, order.Paid)
			f.orders.set("o-1", o)
			done := make(chan answer, 1)
			go func() { done <- f.get("/v1/orders/o-1?" + c.query) }()
			if c.status != "paid" {
				require.Eventually(t, func() bool { return f.orders.waits() > 0 }, 10*time.Second, time.Millisecond, "the request waits")
				f.orders.set("o-1", grow(o, order.AcceptedStatus))
				if c.status == "completed" {
					require.Eventually(t, func() bool { return f.orders.waits() > 1 }, 10*time.Second, time.Millisecond, "the request waits on")
					f.orders.set("o-1", grow(o, order.AcceptedStatus, order.Delivered, order.Completed))
				}
			}
			a := <-done
			require.Equal(t, http.StatusOK, a.Code)
			require.Equal(t, c.status, a.json["status"])
		})
	}
	t.Run("TimeIsUp", func(t *testing.T) {
		f := newFixture(t)
		a := f.get("/v1/orders/o-1?wait=delivered", "Prefer", "wait=0")
		require.Equal(t, http.StatusOK, a.Code)
		require.Equal(t, "paid", a.json["status"], "the order as it stands")
		require.Equal(t, http.StatusNotModified, f.get("/v1/orders/o-1?after=3", "Prefer", "wait=0", "If-None-Match", `"3"`).Code)
		f.get("/v1/orders/o-9?wait=delivered", "Prefer", "wait=0").problem(t, http.StatusNotFound, "is not known")
	})
	t.Run("Final", func(t *testing.T) {
		a := newFixture(t).get("/v1/orders/o-2?wait=delivered")
		require.Equal(t, http.StatusOK, a.Code, "it is not waited for what can't come")
		require.Equal(t, "refused", a.json["status"])
	})
	t.Run("EveryStatus", func(t *testing.T) {
		f := newFixture(t)
		for _, s := range order.Statuses {
			f.orders.set("o-1", lifeOf("o-1", order.Placed, s))
			a := f.get("/v1/orders/o-1?wait=" + url.QueryEscape(string(s)))
			require.Equal(t, string(s), a.json["status"])
		}
	})
}

func TestAPI_LeavingWhileWaiting(t *testing.T) {
	f := newFixture(t)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err := http.NewRequestWithContext(ctx, "GET", "/v1/orders/o-1?wait=delivered", nil)
		if err == nil {
			f.handler.ServeHTTP(discard{http.Header{}}, r)
		}
	}()
	require.Eventually(t, func() bool { return f.orders.waits() > 0 }, 10*time.Second, time.Millisecond, "the request waits")
	leave()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler goes on for a client who left")
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/views"
)

var otherBody = strings.Replace(placeBody, `"quantity":2`, `"quantity":3`, 1)

func TestAPI_Place(t *testing.T) {
	t.Run("OwnID", func(t *testing.T) {
		f := newFixture(t)
		first := f.do("POST", "/v1/orders", placeBody)
		require.Equal(t, http.StatusAccepted, first.Code, first.Body.String())
		require.Equal(t, "/v1/orders/o-7", first.Header().Get("Location"))
		require.Equal(t, "o-7", first.json["id"])
		require.Equal(t, "accepted for processing", first.json["status"])

		again := f.do("POST", "/v1/orders", placeBody)
		require.Equal(t, first.Code, again.Code)
		require.Equal(t, first.Body.String(), again.Body.String())

		all := f.commands.all()
		require.Len(t, all, 2, "the first may not have arrived")
		require.Equal(t, all[0], all[1], "a repeat is the same message")
		require.Equal(t, "order-commands", all[0].stream)
		require.Equal(t, "o-7", all[0].key)
		require.Equal(t, map[string]any{"type": "place", "id": "o-7/place", "orderId": "o-7", "userId": "u-1", "storeId": "s-1",
			"lines":   []any{map[string]any{"product": "p-1", "quantity": 2.0}},
			"address": map[string]any{"text": "Teheran-ro 1", "lat": 37.5, "lon": 127.04}}, all[0].command)
	})
	t.Run("NoID", func(t *testing.T) {
		f := newFixture(t)
		body := strings.Replace(placeBody, `"id":"o-7",`, ``, 1)
		a, b := f.do("POST", "/v1/orders", body), f.do("POST", "/v1/orders", body)
		require.NotEqual(t, a.json["id"], b.json["id"])
		id, err := uuid.Parse(a.json["id"].(string))
		require.NoError(t, err)
		require.EqualValues(t, 7, id.Version())
		require.Equal(t, id.String()+"/place", f.commands.all()[0].command["id"])
	})
	t.Run("IdempotencyKey", func(t *testing.T) {
		f := newFixture(t)
		body := strings.Replace(placeBody, `"id":"o-7",`, ``, 1)
		require.Equal(t, "o-8", f.do("POST", "/v1/orders", body, "Idempotency-Key", `"o-8"`).json["id"])
		require.Equal(t, "o-7", f.do("POST", "/v1/orders", placeBody, "Idempotency-Key", "o-8").json["id"], "the body comes first")
		a := f.do("POST", "/v1/orders", body, "Idempotency-Key", "o/8")
		a.problem(t, http.StatusBadRequest, "id: must not contain a slash")
	})
	t.Run("NamesAndPricesAreTheStores", func(t *testing.T) {
		f := newFixture(t)
		f.do("POST", "/v1/orders", strings.Replace(placeBody, `"quantity":2`, `"quantity":2,"price":1,"name":"Caviar"`, 1))
		require.Equal(t, []any{map[string]any{"product": "p-1", "quantity": 2.0}}, f.commands.all()[0].command["lines"])
	})
	t.Run("OtherBodyBeforeItShows", func(t *testing.T) {
		f := newFixture(t)
		f.do("POST", "/v1/orders", placeBody)
		f.do("POST", "/v1/orders", otherBody).problem(t, http.StatusConflict, `order "o-7" was placed with another content`)
		require.Len(t, f.commands.all(), 1)
	})
	t.Run("OtherBodyAfterASendThatMayHaveArrived", func(t *testing.T) {
		f := newFixture(t)
		f.commands.err = errors.New("timeout")
		f.do("POST", "/v1/orders", placeBody).problem(t, http.StatusServiceUnavailable, "may have arrived or not")
		f.commands.err = nil
		f.do("POST", "/v1/orders", otherBody).problem(t, http.StatusConflict, "another content")
		require.Equal(t, http.StatusAccepted, f.do("POST", "/v1/orders", placeBody).Code)
	})
	t.Run("AfterItShows", func(t *testing.T) {
		f := newFixture(t)
		paid := lifeOf("o-7", order.Placed, order.Paying, order.Paid)
		paid.Lines = append(paid.Lines, domain.Line{Product: "p-0", Quantity: 1, Name: "Water", Price: new(domain.Money(1))})
		f.orders.set("o-7", paid)
		body := strings.Replace(placeBody, `[{"product"`, `[{"product":"p-0","quantity":1},{"product"`, 1)
		require.Equal(t, http.StatusAccepted, f.do("POST", "/v1/orders", body).Code, "in whatever order the lines are")
		require.Empty(t, f.commands.all(), "it is there already")
		f.do("POST", "/v1/orders", placeBody).problem(t, http.StatusConflict, "another content")
	})
	for what, other := range map[string]string{
		"User":    strings.Replace(placeBody, "u-1", "u-2", 1),
		"Store":   strings.Replace(placeBody, "s-1", "s-2", 1),
		"Address": strings.Replace(placeBody, "Teheran-ro 1", "Teheran-ro 2", 1),
		"Place":   strings.Replace(placeBody, "127.04", "127.05", 1),
		"Total":   strings.Replace(placeBody, `"id"`, `"expectedTotal":1,"id"`, 1),
	} {
		t.Run("Other"+what, func(t *testing.T) {
			f := newFixture(t)
			f.orders.set("o-7", lifeOf("o-7", order.Placed))
			f.do("POST", "/v1/orders", other).problem(t, http.StatusConflict, "another content")
		})
	}
	t.Run("RowOfRefusals", func(t *testing.T) { // somebody tried to cancel it before
		f := newFixture(t)
		require.Equal(t, http.StatusAccepted, f.do("POST", "/v1/orders", strings.Replace(placeBody, "o-7", "o-3", 1)).Code)
		require.Len(t, f.commands.all(), 1)
	})
	t.Run("TablesNotReady", func(t *testing.T) {
		f := newFixture(t)
		f.orders.fail(views.ErrNotReady)
		require.Equal(t, http.StatusAccepted, f.do("POST", "/v1/orders", placeBody).Code)
		a := f.do("POST", "/v1/orders?wait=paid", placeBody)
		require.Equal(t, http.StatusAccepted, a.Code, "the order is taken, seen or not")
		f.do("POST", "/v1/orders", otherBody).problem(t, http.StatusConflict, "another content")
	})
}

func TestAPI_PlaceAndWait(t *testing.T) {
	short := lifeOf("o-7", order.Placed, order.RefusedStatus)
	short.Reason = "short"
	for name, c := range map[string]struct {
		wait string
		life *order.Order
		code int
	}{
		"Reached":        {"paid", lifeOf("o-7", order.Placed, order.Paying, order.Paid), 201},
		"Passed":         {"paying", lifeOf("o-7", order.Placed, order.Paying, order.Paid), 201},
		"PassedOver":     {"paying", lifeOf("o-7", order.Placed, order.Paid), 201},
		"Completed":      {"delivered", lifeOf("o-7", order.Placed, order.Delivered, order.Completed), 201},
		"BehindAgain":    {"picked_up", lifeOf("o-7", order.Placed, order.PickedUp, order.Ready), 201},
		"Refused":        {"paid", short, 409},
		"RefusedForNow":  {"placed", short, 409},
		"RefusedAsAsked": {"refused", short, 201},
		"Failed":         {"paid", lifeOf("o-7", order.Placed, order.Paying, order.PaymentFailed), 409},
		"NotYet":         {"accepted", lifeOf("o-7", order.Placed, order.Paying, order.Paid), 202},
		"OffThePath":     {"rejected", lifeOf("o-7", order.Placed, order.Paying, order.Paid), 202},
		"NotThere":       {"placed", nil, 202},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.orders.set("o-7", c.life)
			a := f.do("POST", "/v1/orders?timeout=30ms&wait="+c.wait, placeBody)
			require.Equal(t, c.code, a.Code, a.Body.String())
			require.Equal(t, "/v1/orders/o-7", a.Header().Get("Location"))
			switch c.code {
			case 201:
				require.Equal(t, string(c.life.Status), a.json["status"])
				require.Len(t, a.json["timeline"], c.life.Version)
				require.NotEmpty(t, a.Header().Get("ETag"))
			case 409:
				a.problem(t, 409, `order "o-7" is `+string(c.life.Status))
				require.Equal(t, string(c.life.Status), a.json["order"].(map[string]any)["status"])
				if c.life.Reason != "" {
					require.Equal(t, c.life.Reason, a.json["reason"])
				}
			case 202:
				require.Equal(t, "accepted for processing", a.json["status"])
			}
		})
	}
	t.Run("WhileItHappens", func(t *testing.T) {
		f := newFixture(t)
		done := make(chan answer)
		go func() { done <- f.do("POST", "/v1/orders?wait=paid&timeout=30s", placeBody) }()
		o := lifeOf("o-7")
		for i, s := range []order.Status{order.Placed, order.Paying, order.Paid} {
			require.Eventually(t, func() bool { return f.orders.waits() > i }, 10*time.Second, time.Millisecond, "the request waits")
			o = grow(o, s)
			f.orders.set("o-7", o)
		}
		a := <-done
		require.Equal(t, http.StatusCreated, a.Code)
		require.Equal(t, "paid", a.json["status"])
	})
}

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
			go func() { done <- f.get("/v1/orders/o-1?timeout=30s&" + c.query) }()
			if c.status != "paid" {
				require.Eventually(t, func() bool { return f.orders.waits() > 0 }, 10*time.Second, time.Millisecond, "the request waits")
				f.orders.set("o-1", grow(o, order.AcceptedStatus))
				if c.status == "completed" {
					require.Eventually(t, func() bool { return f.orders.waits() > 1 }, 10*time.Second, time.Millisecond, "the request waits on")
					f.orders.set("o-1", grow(o, order.AcceptedStatus, order.Completed))
				}
			}
			a := <-done
			require.Equal(t, http.StatusOK, a.Code)
			require.Equal(t, c.status, a.json["status"])
		})
	}
	t.Run("TimeIsUp", func(t *testing.T) {
		f := newFixture(t)
		a := f.get("/v1/orders/o-1?wait=delivered&timeout=1ms")
		require.Equal(t, http.StatusOK, a.Code)
		require.Equal(t, "paid", a.json["status"], "the order as it stands")
		require.Equal(t, http.StatusNotModified, f.get("/v1/orders/o-1?after=3&timeout=1ms", "If-None-Match", `"3"`).Code)
		f.get("/v1/orders/o-9?wait=delivered&timeout=1ms").problem(t, http.StatusNotFound, "is not known")
	})
	t.Run("Final", func(t *testing.T) {
		a := newFixture(t).get("/v1/orders/o-2?wait=delivered&timeout=30s")
		require.Equal(t, http.StatusOK, a.Code, "it is not waited for what can't come")
		require.Equal(t, "refused", a.json["status"])
	})
	t.Run("EveryStatus", func(t *testing.T) {
		f := newFixture(t)
		for _, s := range order.Statuses {
			f.orders.set("o-1", lifeOf("o-1", order.Placed, s))
			a := f.get("/v1/orders/o-1?timeout=30s&wait=" + url.QueryEscape(string(s)))
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
		r, err := http.NewRequestWithContext(ctx, "GET", "/v1/orders/o-1?wait=delivered&timeout=60s", nil)
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

package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/stock"
)

const (
	storeBody = `{"name":"Mine","area":"a-1","lat":37.5,"lon":127.03,"autoAccept":false,"cookingTime":"5m"}`
	nameless  = `{"userId":"u-1","storeId":"s-1","lines":[{"product":"p-1","quantity":2}],"address":{"text":"Teheran-ro 1","lat":37.5,"lon":127.04}}`
)

var otherBody = strings.Replace(placeBody, `"quantity":2`, `"quantity":3`, 1)

// opened is a town with a store that has ten of p-1, and two instances of the API.
func opened(t *testing.T) (w *groups, one, other *fixture) {
	w = newGroups(t)
	one, other = w.instance(), w.instance()
	one.is(http.StatusOK, "PUT", "/v1/stores/s-1", storeBody)
	one.is(http.StatusOK, "PUT", "/v1/stores/s-1/products/p-1", `{"name":"Bibimbap","price":9000}`)
	require.EqualValues(t, 10, one.is(http.StatusOK, "POST", "/v1/stores/s-1/products/p-1/add", `{"quantity":10}`).json["available"])
	return w, one, other
}

// is sends a request and wants a status.
func (f *fixture) is(status int, method, path, body string, headers ...string) answer {
	f.t.Helper()
	a := f.do(method, path, body, headers...)
	require.Equal(f.t, status, a.Code, "%s %s %s: %s", method, path, body, a.Body.String())
	return a
}

// The whole life of an order over HTTP, with no sleep and no poll: each answer
// shows what the command did.
func TestAPI_Life(t *testing.T) {
	_, f, _ := opened(t)
	rider := f.is(200, "POST", "/v1/riders/r-1/online", `{"name":"Kim","area":"a-1","lat":37.5,"lon":127.03}`)
	require.Equal(t, "idle", rider.json["state"])
	placed := f.is(201, "POST", "/v1/orders?wait=paid", placeBody)
	require.Equal(t, "/v1/orders/o-7", placed.Header().Get("Location"))
	require.Equal(t, "paid", placed.json["status"])
	require.EqualValues(t, 18000, placed.json["total"])
	require.Equal(t, `"3"`, placed.Header().Get("ETag"))
	require.Equal(t, "accepted", f.is(200, "POST", "/v1/orders/o-7/accept", `{"cookingTime":"0s"}`).json["status"])
	require.Equal(t, "cooking", f.is(200, "POST", "/v1/orders/o-7/start-cooking", ``).json["status"])
	require.Len(t, f.is(200, "POST", "/v1/riders/r-1/claim", `{"orderId":"o-7"}`).json["deliveries"], 1)
	f.is(200, "POST", "/v1/orders/o-7/finish-cooking", ``)
	require.Len(t, f.is(200, "POST", "/v1/riders/r-1/picked-up", `{"orderId":"o-7"}`).json["deliveries"], 1)
	f.is(409, "POST", "/v1/orders/o-7/cancel", ``).problem(t, 409, "")
	f.is(409, "POST", "/v1/riders/r-1/offline", ``)
	f.is(200, "POST", "/v1/riders/r-1/move", `{"lat":37.51,"lon":127.04}`)
	require.EqualValues(t, 1, f.is(200, "POST", "/v1/riders/r-1/delivered", `{"orderId":"o-7"}`).json["deliveredCount"])
	require.Equal(t, "completed", f.is(200, "POST", "/v1/orders/o-7/confirm", ``).json["status"])
	require.Equal(t, "offline", f.is(200, "POST", "/v1/riders/r-1/offline", ``).json["state"])
	refund := f.is(200, "POST", "/v1/orders/o-7/request-refund", `{"userId":"u-1","reason":"cold","photoUrl":"https://p.example/1","wish":"refund"}`)
	require.Equal(t, "refund_requested", refund.json["status"])
	require.Equal(t, "refunded", f.is(200, "POST", "/v1/orders/o-7/approve-refund", ``).json["status"])
}

func TestAPI_Refused(t *testing.T) {
	w, f, _ := opened(t)
	f.is(201, "POST", "/v1/orders", placeBody)
	for _, c := range []struct {
		status             int
		code               string
		method, path, body string
		headers            []string
	}{
		{404, "unknown", "POST", "/v1/orders/o-9/cancel", ``, nil},
		{404, "unknown", "POST", "/v1/stores/s-9/open", ``, nil},
		{404, "unknown", "POST", "/v1/stores/s-1/products/p-9/add", `{"quantity":1}`, nil},
		{404, "unknown", "DELETE", "/v1/stores/s-9", ``, nil},
		{404, "unknown", "POST", "/v1/riders/r-9/offline", ``, nil},
		{409, "status", "POST", "/v1/orders/o-7/confirm", ``, nil},
		{409, "short", "POST", "/v1/stores/s-1/products/p-1/remove", `{"quantity":11}`, nil},
		{412, "version", "POST", "/v1/orders/o-7/accept", ``, []string{"If-Match", `"1"`}},
		{412, "version", "POST", "/v1/orders/o-7/accept", `{"ifVersion":1}`, nil},
		{412, "version", "PATCH", "/v1/stores/s-1", `{"name":"Ours"}`, []string{"If-Match", `"77.abc"`}},
		{412, "version", "PUT", "/v1/stores/s-1", storeBody, []string{"If-None-Match", `*`}},
		{412, "version", "DELETE", "/v1/stores/s-1/products/p-1", ``, []string{"If-Match", `"77"`}},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			a := f.is(c.status, c.method, c.path, c.body, append(c.headers, "Idempotency-Key", "k-"+uuid.NewString())...)
			require.Equal(t, c.code, a.json["code"])
			require.NotEmpty(t, a.json["reason"])
			require.Equal(t, a.json["reason"], a.json["detail"])
			if strings.Contains(c.path, "/o-7/") {
				require.Equal(t, "paid", a.json["order"].(map[string]any)["status"], "409 shows the order")
			}
			if c.code == "short" {
				require.Equal(t, []any{map[string]any{"product": "p-1", "wanted": 11.0, "available": 8.0}}, a.json["short"])
			}
			decided := w.decided
			again := f.is(c.status, c.method, c.path, c.body, append(c.headers, "Idempotency-Key", a.json["id"].(string))...)
			require.Equal(t, a.json["reason"], again.json["reason"], "again the same")
			require.Equal(t, decided, w.decided, "it is not decided again")
		})
	}
	t.Run("BadHeaders", func(t *testing.T) {
		for _, h := range [][]string{{"If-Match", "3"}, {"If-Match", `"x"`}, {"If-Match", `"1", "x"`}, {"If-Match", `"1", "1.abc"`}} {
			f.is(412, "POST", "/v1/orders/o-7/accept", ``, h...)
		}
		for _, h := range [][]string{{"If-Match", `"1"`, "If-None-Match", "*"}, {"If-Match", `"3", "4"`}} {
			require.Equal(t, []string{"If-Match"}, f.is(400, "POST", "/v1/orders/o-7/accept", ``, h...).wrong())
		}
		f.is(400, "PUT", "/v1/stores/s-1", storeBody, "If-None-Match", `"3"`)
		f.is(400, "POST", "/v1/orders/o-7/accept", `{"ifVersion":4}`, "If-Match", `"3"`)
	})
	t.Run("Matches", func(t *testing.T) {
		tag := f.get("/v1/orders/o-7").Header().Get("ETag")
		f.is(200, "POST", "/v1/orders/o-7/accept", ``, "If-Match", tag)
		tag = f.get("/v1/stores/s-1").Header().Get("ETag")
		require.Equal(t, "Ours", f.is(200, "PATCH", "/v1/stores/s-1", `{"name":"Ours"}`, "If-Match", tag).json["name"])
		f.is(412, "PATCH", "/v1/stores/s-1", `{"name":"Theirs"}`, "If-Match", tag)
		f.is(404, "PUT", "/v1/stores/s-2", storeBody, "If-Match", "*")
		f.is(404, "PUT", "/v1/stores/s-1/products/p-2", `{"name":"Water","price":1}`, "If-Match", "*")
		f.is(200, "PUT", "/v1/stores/s-2", storeBody, "If-None-Match", "*")
		require.Equal(t, "10m", f.is(200, "PUT", "/v1/stores/s-2", strings.Replace(storeBody, `"5m"`, `"10m"`, 1), "If-Match", "*").json["cookingTime"])
		require.Equal(t, []string{"/cookingTime"}, f.is(400, "PUT", "/v1/stores/s-2", strings.Replace(storeBody, `,"cookingTime":"5m"`, ``, 1), "If-Match", "*").wrong(), "it is still a PUT")
	})
}

// What a rider did with a delivery is in their answer, in the area and in the order's
// answer at once. Where the view of the areas lags it is waited for.
func TestAPI_AreaAgrees(t *testing.T) {
	w, f, _ := opened(t)
	late := func(late bool) { w.mu.Lock(); w.lateAreas = late; w.mu.Unlock() }
	deliveries := func(list string) []any { return f.get("/v1/areas/a-1/deliveries").json[list].([]any) }
	late(true)
	f.is(202, "POST", "/v1/riders/r-1/online", `{"id":"k-1","area":"a-1","lat":37.5,"lon":127.03}`, "Prefer", "wait=0")
	late(false)
	w.show()
	f.is(200, "POST", "/v1/riders/r-1/online", `{"id":"k-1","area":"a-1","lat":37.5,"lon":127.03}`)
	require.Len(t, f.get("/v1/areas/a-1/riders").json["riders"], 1)
	f.is(201, "POST", "/v1/orders?wait=paid", placeBody)
	f.is(200, "POST", "/v1/orders/o-7/accept", `{"cookingTime":"0s"}`)
	f.is(200, "POST", "/v1/orders/o-7/start-cooking", ``)
	require.Len(t, deliveries("open"), 1)
	for _, c := range []struct {
		verb            string
		open, assigned  int
		state           any // of the delivery in the rider's answer
		etaOfOrder      bool
		inRidersAnswers int
	}{
		{"claim", 0, 1, "assigned", true, 1},
		{"picked-up", 0, 1, "picked_up", true, 1},
		{"delivered", 0, 0, nil, false, 0},
	} {
		path, body := "/v1/riders/r-1/"+c.verb, `{"id":"k-`+c.verb+`","orderId":"o-7"}`
		late(true)
		f.is(202, "POST", path, body, "Prefer", "wait=0")
		late(false)
		w.show()
		a := f.is(200, "POST", path, body)
		require.Len(t, deliveries("open"), c.open, c.verb)
		require.Len(t, deliveries("assigned"), c.assigned, c.verb)
		all := a.json["deliveries"].([]any)
		require.Len(t, all, c.inRidersAnswers)
		if c.inRidersAnswers > 0 {
			require.Equal(t, c.state, all[0].(map[string]any)["state"])
			require.NotEmpty(t, all[0].(map[string]any)["eta"])
		}
		o := f.get("/v1/orders/o-7")
		require.Equal(t, c.etaOfOrder, o.json["eta"] != nil, "%s: %s", c.verb, o.Body)
	}
	for _, body := range []string{`"online","area":"a-2","lat":37.5,"lon":127.03}`, `"offline"}`} {
		kind := strings.Split(body, `"`)[1]
		late(true)
		f.is(202, "POST", "/v1/riders/r-1/"+kind, `{"id":"l-`+kind+`","type":`+body, "Prefer", "wait=0")
		late(false)
		w.show()
		f.is(200, "POST", "/v1/riders/r-1/"+kind, `{"id":"l-`+kind+`","type":`+body)
		require.Empty(t, f.get("/v1/areas/a-1/riders").json["riders"])
		require.Len(t, f.get("/v1/areas/a-2/riders").json["riders"], map[string]int{"online": 1}[kind])
	}
	// A repeat is answered, also when the rider is elsewhere by now.
	f.is(200, "POST", "/v1/riders/r-1/online", `{"id":"k-2","area":"a-2","lat":37.5,"lon":127.03}`)
	f.is(200, "POST", "/v1/riders/r-1/online", `{"id":"k-1","area":"a-1","lat":37.5,"lon":127.03}`, "Prefer", "wait=0")
	f.is(200, "POST", "/v1/riders/r-1/claim", `{"id":"k-claim","orderId":"o-7"}`, "Prefer", "wait=0")
}

// What did not come in time is said, and what came to nothing is no refused command.
func TestAPI_PlaceAndWait(t *testing.T) {
	_, f, other := opened(t)
	a := f.is(202, "POST", "/v1/orders?wait=accepted", placeBody, "Prefer", "wait=0")
	require.Equal(t, "accepted", a.json["verdict"])
	require.Contains(t, a.json["detail"], `order "o-7" is paid, and not accepted yet: GET /v1/orders/o-7?wait=accepted`)
	require.Equal(t, "7", f.is(201, "POST", "/v1/orders?wait=paid", placeBody).Header().Get("Baedal-Staleness-Ms"))
	a = f.is(200, "GET", "/v1/orders/o-7?wait=accepted", ``, "Prefer", "wait=0")
	require.Equal(t, "wait=0", a.Header().Get("Preference-Applied"))
	require.Contains(t, a.Header().Values("Vary"), "Prefer")

	a = f.is(409, "POST", "/v1/orders?wait=paid", strings.NewReplacer("o-7", "o-8", `"quantity":2`, `"quantity":99`).Replace(placeBody))
	require.Equal(t, "/problems/not-reached", a.json["type"])
	require.Equal(t, "short", a.json["reason"])
	require.Equal(t, "accepted", f.get("/v1/commands/o-8%2Fplace").json["verdict"])

	f.is(200, "POST", "/v1/stores/s-1/open", `{"id":"twice"}`)
	f.is(200, "POST", "/v1/riders/r-1/online", `{"id":"twice","area":"a-1","lat":1,"lon":1}`)
	for _, one := range []*fixture{f, other} {
		require.Equal(t, "/problems/ambiguous-id", one.is(409, "GET", "/v1/commands/twice", ``).json["type"])
	}
}

func TestAPI_Gone(t *testing.T) {
	_, f, _ := opened(t)
	a := f.is(200, "DELETE", "/v1/stores/s-1/products/p-1", ``)
	require.Equal(t, "accepted", a.json["verdict"])
	f.is(404, "POST", "/v1/stores/s-1/products/p-1/add", `{"quantity":1}`)
	require.Equal(t, "accepted", f.is(200, "DELETE", "/v1/stores/s-1", ``).json["verdict"])
	f.is(404, "GET", "/v1/stores/s-1", ``)
}

func TestAPI_Place(t *testing.T) {
	t.Run("SameAnswerThroughAnyInstance", func(t *testing.T) {
		w, one, other := opened(t)
		first := one.is(201, "POST", "/v1/orders", placeBody)
		third := w.instance() // that has read everything
		for id, data := range w.orders {
			third.orders.set(id, read(w, w.orders, id, order.New))
			require.NotEmpty(t, data)
		}
		for _, f := range []*fixture{one, other, third} {
			again := f.is(201, "POST", "/v1/orders", placeBody)
			require.Equal(t, first.Header().Get("Location"), again.Header().Get("Location"))
			require.Equal(t, first.Body.String(), again.Body.String())
			a := f.is(409, "POST", "/v1/orders", otherBody)
			require.Equal(t, "reused", a.json["code"])
			require.Equal(t, "o-7", a.json["id"])
		}
	})
	t.Run("UserAndKey", func(t *testing.T) {
		_, one, other := opened(t)
		first := one.is(201, "POST", "/v1/orders", nameless, "Idempotency-Key", "basket-1")
		id := uuid.MustParse(first.json["id"].(string))
		require.EqualValues(t, 8, id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		require.Equal(t, first.Body.String(), other.is(201, "POST", "/v1/orders", nameless, "Idempotency-Key", `"basket-1"`).Body.String())
		theirs := other.is(201, "POST", "/v1/orders", strings.Replace(nameless, "u-1", "u-2", 1), "Idempotency-Key", "basket-1")
		require.NotEqual(t, first.json["id"], theirs.json["id"], "a key is its user's")
		other.is(409, "POST", "/v1/orders", strings.Replace(nameless, `"quantity":2`, `"quantity":1`, 1), "Idempotency-Key", "basket-1")
	})
	t.Run("Neither", func(t *testing.T) {
		_, f, _ := opened(t)
		a, b := f.is(201, "POST", "/v1/orders", nameless), f.is(201, "POST", "/v1/orders", nameless)
		require.NotEqual(t, a.json["id"], b.json["id"])
		require.EqualValues(t, 7, uuid.MustParse(a.json["id"].(string)).Version())
	})
	t.Run("BadKey", func(t *testing.T) {
		_, f, _ := opened(t)
		for _, body := range []string{nameless, placeBody} {
			require.Equal(t, []string{"Idempotency-Key"}, f.is(400, "POST", "/v1/orders", body, "Idempotency-Key", strings.Repeat("k", 201)).wrong())
		}
	})
	t.Run("ShortOfStock", func(t *testing.T) {
		_, f, _ := opened(t)
		body := strings.Replace(placeBody, `"quantity":2`, `"quantity":11`, 1)
		a := f.is(409, "POST", "/v1/orders?wait=paid", body)
		require.Equal(t, "short", a.json["reason"])
		require.Equal(t, []any{map[string]any{"product": "p-1", "wanted": 11.0, "available": 10.0}}, a.json["short"])
		require.Equal(t, "refused", a.json["order"].(map[string]any)["status"])
		f.is(201, "POST", "/v1/orders?wait=placed", body)
		f.is(201, "POST", "/v1/orders?wait=refused", body)
		f.is(201, "POST", "/v1/orders", body)
	})
	t.Run("WaitsOn", func(t *testing.T) {
		_, f, _ := opened(t)
		f.is(202, "POST", "/v1/orders?wait=cooking", placeBody, "Prefer", "wait=0")
		done := make(chan answer)
		go func() { done <- f.do("POST", "/v1/orders?wait=cooking", placeBody) }()
		require.Eventually(t, func() bool { return f.orders.waits() > 1 }, 10*time.Second, time.Millisecond, "the request waits")
		f.is(200, "POST", "/v1/orders/o-7/accept", ``)
		f.is(200, "POST", "/v1/orders/o-7/start-cooking", ``)
		a := <-done
		require.Equal(t, 201, a.Code, a.Body)
		require.Equal(t, "cooking", a.json["status"])
	})
	t.Run("RowOfRefusals", func(t *testing.T) { // somebody tried to cancel it before
		_, f, _ := opened(t)
		f.is(404, "POST", "/v1/orders/o-7/cancel", ``)
		f.is(201, "POST", "/v1/orders", placeBody)
	})
}

// A status is waited for in the present attempt, and only as long as the order may come to it.
func TestAPI_WaitAhead(t *testing.T) {
	_, f, _ := opened(t)
	f.is(200, "POST", "/v1/riders/r-1/online", `{"area":"a-1","lat":37.5,"lon":127.03}`)
	deliver := func() {
		f.is(200, "POST", "/v1/orders/o-7/accept", `{"cookingTime":"0s"}`)
		f.is(200, "POST", "/v1/orders/o-7/start-cooking", ``)
		f.is(200, "POST", "/v1/orders/o-7/finish-cooking", ``)
		f.is(200, "POST", "/v1/riders/r-1/claim", `{"orderId":"o-7"}`)
		f.is(200, "POST", "/v1/riders/r-1/picked-up", `{"orderId":"o-7"}`)
		f.is(200, "POST", "/v1/riders/r-1/delivered", `{"orderId":"o-7"}`)
		f.is(200, "POST", "/v1/orders/o-7/confirm", ``)
	}
	f.is(201, "POST", "/v1/orders", placeBody)
	deliver()
	a := f.get("/v1/orders/o-7?wait=rejected")
	require.Equal(t, "completed", a.json["status"], "it can't be rejected any more: at once")
	waits := f.orders.waits()
	done := make(chan answer)
	go func() { done <- f.get("/v1/orders/o-7?wait=refund_requested") }()
	require.Eventually(t, func() bool { return f.orders.waits() > waits }, 10*time.Second, time.Millisecond, "it may come to it still")
	f.is(200, "POST", "/v1/orders/o-7/request-refund", `{"userId":"u-1","reason":"cold","photoUrl":"https://p.example/1","wish":"redelivery"}`)
	require.Equal(t, "refund_requested", (<-done).json["status"])
	again := f.is(200, "POST", "/v1/orders/o-7/approve-refund", ``)
	require.Equal(t, "accepted", again.json["status"])
	waits = f.orders.waits()
	go func() { done <- f.get("/v1/orders/o-7?wait=cooking") }()
	require.Eventually(t, func() bool { return f.orders.waits() > waits }, 10*time.Second, time.Millisecond, "it was cooked in the attempt before, not in this one")
	f.is(200, "POST", "/v1/orders/o-7/start-cooking", ``)
	require.Equal(t, "cooking", (<-done).json["status"])
}

// What a verdict says shows in the tables before it is answered.
func TestAPI_VerdictBeforeTheView(t *testing.T) {
	w, f, _ := opened(t)
	w.hide()
	done := make(chan answer)
	go func() { done <- f.do("POST", "/v1/orders", placeBody) }()
	require.Eventually(t, func() bool { return f.orders.waits() > 0 }, 10*time.Second, time.Millisecond, "the view is waited for")
	a := f.is(202, "POST", "/v1/orders", placeBody, "Prefer", "wait=0")
	require.Equal(t, "accepted", a.json["verdict"], "it is decided, and does not show")
	require.Equal(t, "wait=0", a.Header().Get("Preference-Applied"))
	w.show()
	a = <-done
	require.Equal(t, 201, a.Code, a.Body)
	f.is(200, "GET", "/v1/orders/o-7", ``)
}

func TestAPI_NotDecided(t *testing.T) {
	w, f, other := opened(t)
	w.stop()
	a := f.is(202, "POST", "/v1/orders", placeBody, "Prefer", "respond-async")
	require.Equal(t, "/v1/commands/o-7%2Fplace?key=o-7&stream=order-commands", a.Header().Get("Location"))
	require.Equal(t, "respond-async", a.Header().Get("Preference-Applied"))
	require.Equal(t, "pending", a.json["verdict"])
	require.Equal(t, "pending", f.is(200, "GET", a.Header().Get("Location"), ``).json["verdict"])
	require.Equal(t, "pending", f.is(200, "GET", "/v1/commands/o-7%2Fplace", ``).json["verdict"])
	begun := time.Now()
	b := f.is(202, "POST", "/v1/orders/o-7/cancel", ``, "Prefer", "wait=1", "Idempotency-Key", "k-1")
	require.GreaterOrEqual(t, time.Since(begun), 900*time.Millisecond)
	require.Equal(t, "wait=1", b.Header().Get("Preference-Applied"))
	w.goOn()
	for _, f := range []*fixture{f, other} {
		got := f.is(200, "GET", a.Header().Get("Location"), ``)
		require.Equal(t, "accepted", got.json["verdict"])
		require.NotEmpty(t, got.json["at"])
		require.Equal(t, "accepted", f.is(200, "GET", b.Header().Get("Location"), ``).json["verdict"])
	}
	require.Equal(t, "cancelled", other.is(200, "POST", "/v1/orders/o-7/cancel", ``, "Idempotency-Key", "k-1").json["status"])
}

// Nobody waits for ever: not for brokers, nor for a verdict that comes late; and a
// client who leaves is not waited for.
func TestAPI_Waiters(t *testing.T) {
	t.Run("ClientGone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t) // nobody decides
			ctx, leave := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				r, _ := http.NewRequestWithContext(ctx, "POST", "/v1/orders", strings.NewReader(placeBody))
				f.handler.ServeHTTP(discard{http.Header{}}, r)
			}()
			synctest.Wait()
			require.Len(t, f.commands.all(), 1)
			require.Equal(t, 1, f.verdicts.Waiting())
			leave()
			synctest.Wait()
			<-done
			require.Zero(t, f.verdicts.Waiting())
		})
	})
	t.Run("TimeIsUp", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			began := time.Now()
			f.is(202, "POST", "/v1/orders", placeBody)
			require.Equal(t, 5*time.Second, time.Since(began))
			require.Zero(t, f.verdicts.Waiting())
		})
	})
	t.Run("AtOnce", func(t *testing.T) { // a verdict that is there before the acknowledgement
		w, f, _ := opened(t)
		f.with(impatient{w})
		f.is(201, "POST", "/v1/orders", placeBody)
		f.with(unacknowledged{w})
		f.is(200, "POST", "/v1/orders/o-7/accept", ``)
	})
}

// impatient acknowledges late.
type impatient struct{ api.Commands }

func (c impatient) SendOrder(ctx context.Context, key string, m *order.Command) error {
	err := c.Commands.SendOrder(ctx, key, m)
	time.Sleep(20 * time.Millisecond)
	return err
}

// unacknowledged never says that a command has arrived, though it has.
type unacknowledged struct{ api.Commands }

func (c unacknowledged) SendOrder(ctx context.Context, key string, m *order.Command) error {
	return errors.Join(c.Commands.SendOrder(ctx, key, m), api.ErrUnacknowledged)
}

func TestAPI_CommandsRead(t *testing.T) {
	w, f, other := opened(t)
	ask := func(f *fixture, id, query string) answer {
		return f.do("GET", "/v1/commands/"+url.PathEscape(id)+query, "", "Prefer", "wait=0")
	}
	t.Run("NeverSent", func(t *testing.T) {
		require.Equal(t, "pending", ask(f, "c-9", "?stream=order-commands&key=o-1").json["verdict"], "it can't be known")
		f.consumed = func(context.Context, string) error { return nil }
		f.is(404, "GET", "/v1/commands/c-9?stream=order-commands&key=o-1", "")
		f.is(404, "GET", "/v1/commands/c-9", "")
		f.is(400, "GET", "/v1/commands/c-9?stream=verdicts", "").problem(t, 400, "stream: ")
		f.is(400, "GET", "/v1/commands/c-9?key=a%2Fb", "")
		f.consumed = nil
	})
	t.Run("Refused", func(t *testing.T) {
		f.is(404, "POST", "/v1/orders/o-9/cancel", ``, "Idempotency-Key", "c-1")
		a := ask(other, "c-1", "")
		require.Equal(t, []any{"c-1", "order-commands", "o-9", "refused", "unknown"},
			[]any{a.json["id"], a.json["stream"], a.json["key"], a.json["verdict"], a.json["code"]})
		require.NotEmpty(t, a.json["reason"])
	})
	t.Run("Several", func(t *testing.T) {
		f.is(404, "POST", "/v1/orders/o-8/cancel", ``, "Idempotency-Key", "c-1")
		a := ask(other, "c-1", "")
		a.problem(t, 409, "stream=order-commands key=o-8, stream=order-commands key=o-9")
		require.Equal(t, "o-8", ask(other, "c-1", "?key=o-8").json["key"])
	})
	t.Run("NotTheOneThatWasRefusedForIt", func(t *testing.T) {
		f.is(200, "POST", "/v1/stores/s-1/close", ``, "Idempotency-Key", "c-2")
		f.is(409, "POST", "/v1/stores/s-1/open", ``, "Idempotency-Key", "c-2")
		require.Equal(t, "accepted", ask(other, "c-2", "").json["verdict"])
	})
	t.Run("WithoutAVerdict", func(t *testing.T) { // of a client of the stream, who asked for none
		require.NoError(t, w.SendStore(t.Context(), "s-1", &stock.Command{Meta: domain.Meta{Type: stock.Open, ID: "c-3"}}))
		require.Equal(t, "accepted", ask(other, "c-3", "?stream=store-commands&key=s-1").json["verdict"])
		c := &order.Command{Meta: domain.Meta{Type: order.Place, ID: "c-4"}, UserID: "u-1", StoreID: "s-1", Lines: []domain.Line{{Product: "p-1", Quantity: 1}},
			Address: &order.Address{Text: "t", Lat: new(37.5), Lon: new(127.0)}}
		require.NoError(t, w.SendOrder(t.Context(), "o-20", c))
		a := ask(other, "c-4", "?stream=order-commands&key=o-20")
		require.Equal(t, "accepted", a.json["verdict"])
		require.EqualValues(t, 1, a.json["version"])
	})
	t.Run("DeadLetter", func(t *testing.T) {
		headers := map[string][]byte{"baedal-topic": []byte("order-commands"), "baedal-partition": []byte("1"), "baedal-offset": []byte("7"), "baedal-error": []byte("a bug")}
		require.NoError(t, f.verdicts.Bury("o-1", []byte(`{"id":"c-5","type":"cancel"}`), headers, time.Now()))
		for _, id := range []string{"c-5", "order-commands/1/7"} {
			a := ask(f, id, "")
			require.Equal(t, []any{"refused", "dead_letter", "dead_letter"}, []any{a.json["verdict"], a.json["reason"], a.json["code"]})
			require.Equal(t, "order-commands/1/7", a.json["deadLetter"].(map[string]any)["from"])
		}
	})
}

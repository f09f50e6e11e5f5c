package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/views"
)

// rush is the fixture with an order that a rider carries, one that nobody has yet,
// and a second rider.
func rush(t *testing.T) *fixture {
	f := newFixture(t)
	carried := lifeOf("o-7", order.Placed, order.Paying, order.Paid, order.AcceptedStatus, order.Ready, order.Assigned)
	carried.UserID, carried.RiderID, carried.Note, carried.Phone = "u-7", "r-7", "two bells", "010-1234"
	carried.Store = &stock.Store{Name: "Mine", Area: "a-1", Lat: 37.5, Lon: 127.03}
	f.orders.set("o-7", carried)
	open := lifeOf("o-8", order.Placed, order.Paying, order.Paid, order.AcceptedStatus)
	open.Note, open.Phone, open.Store = "no onions", "010-5678", carried.Store
	f.orders.set("o-8", open)
	f.riders.set("r-7", &rider.Rider{ID: "r-7", Name: "Kim", Version: 4, Place: &domain.Place{Lat: 37.51, Lon: 127.03}, PlacedAt: noon, Area: "a-1", On: true,
		Deliveries: []rider.InHand{{OrderID: "o-7", Attempt: 1}}, DeliveredCount: 2})
	f.riders.set("r-8", &rider.Rider{ID: "r-8", Name: "Lee", Version: 2, Place: &domain.Place{Lat: 37.52, Lon: 127.03}, PlacedAt: noon, Area: "a-1", On: true, DeliveredCount: 9})
	area := dispatch.NewArea("a-1")
	for _, id := range []string{"r-7", "r-8"} {
		area.Riders = append(area.Riders, &dispatch.Rider{ID: id, Place: domain.Place{Lat: 37.5, Lon: 127}, PlaceAt: noon, Capacity: 1, EnteredAt: noon})
	}
	area.Deliveries = []*dispatch.Delivery{
		{OrderID: "o-7", Attempt: 1, Pickup: domain.Place{Lat: 37.5, Lon: 127.03}, Drop: domain.Place{Lat: 37.5, Lon: 127.04}, RequestedAt: dispatch.Millis(noon), ReadyAt: dispatch.Millis(noon),
			Steps: []dispatch.Step{{Version: 1, Type: dispatch.Assigned, At: noon, RiderID: "r-7", EtaPickup: noon.Add(time.Minute), EtaDrop: noon.Add(time.Hour), ReadyAt: noon}}},
		{OrderID: "o-8", Attempt: 1, Pickup: domain.Place{Lat: 37.5, Lon: 127.03}, Drop: domain.Place{Lat: 37.5, Lon: 127.04}, RequestedAt: dispatch.Millis(noon), ReadyAt: dispatch.Millis(noon)},
	}
	f.areas.set("a-1", area)
	return f
}

const (
	linesOf = `"lines":[{"product":"p-1","quantity":2,"name":"Bibimbap","price":9000}]`
	eta     = `"eta":{"pickup":"2026-01-01T00:01:00.000Z","drop":"2026-01-01T01:00:00.000Z"}`
	taken   = `{"orderId":"o-7","attempt":1,"state":"assigned","pickup":{"store":"s-1","name":"Mine","lat":37.5,"lon":127.03},"drop":{"text":"Teheran-ro 1","lat":37.5,"lon":127.04},
		"note":"two bells",%s` + linesOf + `,"requestedAt":"2026-01-01T00:00:00.000Z","readyAt":"2026-01-01T00:00:00.000Z","ready":false,"riderId":"r-7",` + eta + `}`
	kim  = `{"id":"r-7","name":"Kim","area":"a-1","lat":37.51,"lon":127.03,"at":"2026-01-01T00:00:00.000Z","state":"busy","deliveries":[%s],"deliveredCount":2,"version":4}`
	lee  = `{"id":"r-8","name":"Lee","area":"a-1","lat":37.52,"lon":127.03,"at":"2026-01-01T00:00:00.000Z","state":"idle","deliveries":[],"deliveredCount":9,"version":2}`
	one  = `{"id":"r-1","state":"offline","deliveries":[],"deliveredCount":0,"version":1}`
	mine = `{"id":"s-1","name":"Mine","area":"a-1","lat":37.5,"lon":127.03,"autoAccept":true,"cookingTime":"5s","open":true,"version":0}`
	rice = `{"product":"p-1","name":"Bibimbap","price":9000,"onHand":10,"reserved":2,"available":8,"version":0}`
)

func TestAPI_Read(t *testing.T) {
	withPhone, without := fmt.Sprintf(taken, `"phone":"010-1234",`), fmt.Sprintf(taken, "")
	waiting := strings.NewReplacer("o-7", "o-8", "assigned", "open", "two bells", "no onions", `,"riderId":"r-7",`+eta, "").Replace(without)
	far := strings.Replace(waiting, `"ready":false`, `"ready":false,"distance":1112`, 1)
	for _, c := range []struct{ path, want string }{
		{"/v1/orders/o-1", `{"id":"o-1","status":"paid","version":3,"attempt":1,"userId":"u-1","storeId":"s-1","area":"a-1",
			"lines":[{"product":"p-1","quantity":2,"name":"Bibimbap","price":9000}],"total":18000,"riderId":"","reason":"","note":"","phone":"",
			"address":{"text":"Teheran-ro 1","lat":37.5,"lon":127.04},
			"deadline":{"at":"2026-01-01T01:00:00.000Z","then":"rejected"},"placedAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:03.000Z",
			"timeline":[{"version":1,"at":"2026-01-01T00:00:01.000Z","type":"placed","status":"placed","causeId":"c"},
				{"version":2,"at":"2026-01-01T00:00:02.000Z","type":"paying","status":"paying","causeId":"c"},
				{"version":3,"at":"2026-01-01T00:00:03.000Z","type":"paid","status":"paid","causeId":"c"}]}`},
		{"/v1/stores", `{"stores":[` + mine + `]}`},
		{"/v1/stores?area=a-1&open=true", `{"stores":[` + mine + `]}`},
		{"/v1/stores?area=a-1&open=false", `{"stores":[]}`},
		{"/v1/stores?area=a-2", `{"stores":[]}`},
		{"/v1/stores/s-1", mine},
		{"/v1/stores/s-1/stock", `{"storeId":"s-1","products":[` + rice + `]}`},
		{"/v1/stores/s-1/products", `{"products":[` + rice + `]}`},
		{"/v1/stores/s-1/products/p-1", `{"storeId":"s-1",` + rice[1:]},
		{"/v1/riders", `{"riders":[` + one + `,` + fmt.Sprintf(kim, without) + `,` + lee + `]}`},
		{"/v1/riders?sort=delivered", `{"riders":[` + lee + `,` + fmt.Sprintf(kim, without) + `,` + one + `]}`},
		{"/v1/riders?area=a-1&state=idle", `{"riders":[` + lee + `]}`},
		{"/v1/riders?state=offline", `{"riders":[` + one + `]}`},
		{"/v1/riders?area=a-2", `{"riders":[]}`},
		{"/v1/riders/r-1", one},
		{"/v1/riders/r-7", fmt.Sprintf(kim, withPhone)},
		{"/v1/areas", `{"areas":[{"id":"a-1","riders":2,"idle":1,"open":1,"assigned":1}]}`},
		{"/v1/areas/a-1/riders", `{"area":"a-1","riders":[
			{"id":"r-7","name":"Kim","state":"busy","lat":37.5,"lon":127,"capacity":1,"deliveries":["o-7"],"at":"2026-01-01T00:00:00.000Z","since":"2026-01-01T00:00:00.000Z"},
			{"id":"r-8","name":"Lee","state":"idle","lat":37.5,"lon":127,"capacity":1,"deliveries":[],"at":"2026-01-01T00:00:00.000Z","since":"2026-01-01T00:00:00.000Z"}]}`},
		{"/v1/areas/a-1/deliveries", `{"area":"a-1","open":[` + waiting + `],"assigned":[` + without + `]}`},
		{"/v1/areas/a-1/deliveries?riderId=r-7", `{"area":"a-1","open":[` + far + `],"assigned":[` + without + `]}`},
		{"/v1/areas/a-1/deliveries?riderId=r-1", `{"area":"a-1","open":[` + waiting + `],"assigned":[` + without + `]}`}, // where they are is not known
		{"/v1/areas/a-2/riders", `{"area":"a-2","riders":[]}`},
		{"/v1/areas/a-2/deliveries", `{"area":"a-2","open":[],"assigned":[]}`},
		{"/v1/users/u-2/orders", `{"orders":[]}`},
		{"/v1/users/u-2/messages", `{"messages":[]}`},
		{"/v1/users/u-1/messages", `{"messages":[
			{"type":"paid","id":"o-1/2/customer","at":"2026-01-01T00:00:01.000Z","recipient":"u-1","audience":"customer","orderId":"o-1","status":"paid","message":"second"},
			{"type":"accepted","id":"o-1/3/customer","at":"2026-01-01T00:00:01.000Z","recipient":"u-1","audience":"customer","orderId":"o-1","status":"accepted","message":"third"},
			{"type":"placed","id":"o-1/1/customer","at":"2026-01-01T00:00:00.000Z","recipient":"u-1","audience":"customer","orderId":"o-1","status":"placed","message":"first"}]}`},
		{"/v1/foods", `{"foods":[{"product":"p-1","storeId":"s-1","name":"Bibimbap","orders":3,"quantity":7},{"product":"p-2","storeId":"s-1","orders":1,"quantity":1},
			{"product":"p-1","storeId":"s-7","orders":0,"quantity":0}]}`},
		{"/v1/foods?storeId=s-7", `{"foods":[{"product":"p-1","storeId":"s-7","orders":0,"quantity":0}]}`},
		{"/v1/foods/p-1", `{"foods":[{"product":"p-1","storeId":"s-1","name":"Bibimbap","orders":3,"quantity":7},{"product":"p-1","storeId":"s-7","orders":0,"quantity":0}]}`},
		{"/v1/foods/p-9", `{"foods":[]}`},
	} {
		t.Run(c.path, func(t *testing.T) {
			f := rush(t)
			a := f.get(c.path)
			require.Equal(t, http.StatusOK, a.Code, a.Body.String())
			require.JSONEq(t, c.want, a.Body.String())
			require.Equal(t, "application/json", a.Header().Get("Content-Type"))
			require.Equal(t, "7", a.Header().Get("Baedal-Staleness-Ms"))
			tag := a.Header().Get("ETag")
			require.NotEmpty(t, tag)

			head := f.do(http.MethodHead, c.path, "")
			require.Equal(t, http.StatusOK, head.Code)
			require.Equal(t, tag, head.Header().Get("ETag"))

			a = f.get(c.path, "If-None-Match", `"other", W/`+tag)
			require.Equal(t, http.StatusNotModified, a.Code)
			require.Empty(t, a.Body.String())
			require.Equal(t, tag, a.Header().Get("ETag"))
			require.Equal(t, http.StatusOK, f.get(c.path, "If-None-Match", `"other"`).Code)

			for _, table := range []interface{ fail(error) }{f.orders, f.stock, f.riders, f.areas, f.messages, f.models} {
				table.fail(views.ErrNotReady)
			}
			a = f.get(c.path)
			a.problem(t, http.StatusServiceUnavailable, "the tables are still being read")
			require.Equal(t, "1", a.Header().Get("Retry-After"))
			require.Empty(t, a.Header().Get("Baedal-Staleness-Ms"))
		})
	}
}

// What a customer or store says is seen by those who need it, and by nobody else.
func TestAPI_WhatIsTakenIsShown(t *testing.T) {
	f := rush(t)
	o := lifeOf("o-9", order.Placed, order.Paid, order.Delivered, order.RefundRequested)
	o.Note, o.Phone, o.Wish, o.PhotoURL, o.Reason = "two bells", "010-1234", order.WishRefund, "https://photos.example/1", "cold"
	o.Short = []domain.Shortage{{Product: "p-1", Wanted: 2, Available: 1}}
	f.orders.set("o-9", o)
	whole := `"note":"two bells","phone":"010-1234","wish":"refund","photoUrl":"https://photos.example/1"`
	short := `"reason":"cold","short":[{"product":"p-1","wanted":2,"available":1}]`
	require.Contains(t, f.get("/v1/orders/o-9").Body.String(), whole)
	require.Contains(t, f.get("/v1/orders/o-9").Body.String(), short)
	require.Contains(t, f.get("/v1/stores/s-1/orders").Body.String(), whole)
	require.Contains(t, f.get("/v1/users/u-1/orders").Body.String(), short)
	for _, path := range []string{"/v1/orders", "/v1/users/u-1/orders", "/v1/users/u-7/orders", "/v1/riders", "/v1/areas/a-1/deliveries"} {
		require.NotContains(t, f.get(path).Body.String(), "010-", path)
	}
	require.Equal(t, map[string]any{"id": "r-7", "name": "Kim", "lat": 37.51, "lon": 127.03, "at": "2026-01-01T00:00:00.000Z"}, f.get("/v1/orders/o-7").json["rider"])
	f.orders.set("o-7", grow(lifeOf("o-7", order.PickedUp), order.Delivered))
	require.NotContains(t, f.get("/v1/orders/o-7").json, "rider", "who brought it has gone on")
}

// The version is what If-Match compares; a hash follows where the answer shows more.
func TestAPI_ETag(t *testing.T) {
	f := rush(t)
	tag := func(path string) string { return f.get(path).Header().Get("ETag") }
	require.Equal(t, `"3"`, tag("/v1/orders/o-1"))
	require.Equal(t, `"2"`, tag("/v1/riders/r-8"))
	require.Regexp(t, `^"6\.[0-9a-f]{16}"$`, tag("/v1/orders/o-7"))
	require.Regexp(t, `^"4\.[0-9a-f]{16}"$`, tag("/v1/riders/r-7"))
	require.Regexp(t, `^"0\.[0-9a-f]{16}"$`, tag("/v1/stores/s-1/products/p-1"))

	was := tag("/v1/orders/o-7")
	f.riders.set("r-7", &rider.Rider{ID: "r-7", Version: 5, Place: &domain.Place{Lat: 37.6, Lon: 127}, PlacedAt: noon})
	a := f.get("/v1/orders/o-7", "If-None-Match", was)
	require.Equal(t, http.StatusOK, a.Code, "the rider has moved, though the order has not")
	require.NotEqual(t, was, a.Header().Get("ETag"))

	f.stock.set("s-1", &stock.Inventory{StoreID: "s-1", Version: 9, StoreVersion: 8, Open: true, Store: &stock.Store{Name: "Mine", Area: "a-1"},
		PausedUntil: domain.At(time.Now().Add(time.Hour))})
	require.Regexp(t, `^"8\.[0-9a-f]{16}"$`, tag("/v1/stores/s-1"), "a pause ends by itself")
	require.Equal(t, false, f.get("/v1/stores/s-1").json["open"])
	f.stock.set("s-1", &stock.Inventory{StoreID: "s-1", Version: 9, StoreVersion: 8, Open: true, Store: &stock.Store{Name: "Mine", Area: "a-1"}})
	require.Equal(t, `"8"`, tag("/v1/stores/s-1"))
}

func TestAPI_ReadOfNothing(t *testing.T) {
	for path, detail := range map[string]string{
		"/v1/orders/o-9":               `order "o-9" is not known: POST /v1/orders`,
		"/v1/orders/o-3":               `order "o-3" is not known`, // a row that only remembers refusals
		"/v1/orders/o-9/events":        `order "o-9" is not known`,
		"/v1/orders/o-3/events":        `order "o-3" is not known`,
		"/v1/stores/s-9":               `store "s-9" is not registered: PUT /v1/stores/s-9`,
		"/v1/stores/s-2":               `store "s-2" is not registered`,
		"/v1/stores/s-9/stock":         `store "s-9" is not registered`,
		"/v1/stores/s-9/orders":        `store "s-9" is not registered`,
		"/v1/riders/r-9":               `rider "r-9" is not known: POST /v1/riders/r-9/online`,
		"/v1/stores/s-9/products":      `store "s-9" is not registered`,
		"/v1/stores/s-9/products/p-1":  `store "s-9" is not registered`,
		"/v1/stores/s-1/products/p-9":  `store "s-1" has no product "p-9": PUT /v1/stores/s-1/products/p-9`,
		"/v1/riders/r-2":               `rider "r-2" is not known`, // a row that only remembers refusals
		"/v1/nothing":                  "there is nothing at /v1/nothing",
		"/v1/orders/":                  "there is nothing at",
		"//v1/orders":                  "there is nothing at",
		"/v1/orders/o-1/x/y":           "there is nothing at",
		"/v1/orders/o-1/../../healthz": "there is nothing at",
	} {
		t.Run(path, func(t *testing.T) {
			newFixture(t).get(path, "Prefer", "wait=0").problem(t, http.StatusNotFound, detail)
		})
	}
}

func TestAPI_BadParameters(t *testing.T) {
	for _, c := range []struct{ path, field, detail string }{
		{"/v1/orders/a%2Fb", "id", "must not contain a slash"},
		{"/v1/orders/o%00", "id", "must not contain control characters"},
		{"/v1/orders/%ff", "id", "is not UTF-8"},
		{"/v1/orders/" + strings.Repeat("o", 201), "id", "at most 200"},
		{"/v1/orders/a%2Fb/events", "id", "slash"},
		{"/v1/stores/a%2Fb", "id", "slash"},
		{"/v1/stores/a%2Fb/stock", "id", "slash"},
		{"/v1/stores/a%2Fb/orders", "id", "slash"},
		{"/v1/riders/a%2Fb", "id", "slash"},
		{"/v1/areas/a%2Fb/riders", "id", "slash"},
		{"/v1/areas/a%2Fb/deliveries", "id", "slash"},
		{"/v1/users/a%2Fb/orders", "id", "slash"},
		{"/v1/users/a%2Fb/messages", "id", "slash"},
		{"/v1/foods/a%2Fb", "product", "slash"},
		{"/v1/stores/s-1/products/a%2Fb", "product", "slash"},
		{"/v1/orders?status=eaten", "status", "is not a status of an order: one of placed, paying"},
		{"/v1/orders?status=", "status", "is not a status"},
		{"/v1/orders?storeId=", "storeId", "is missing"},
		{"/v1/orders?userId=a%2Fb", "userId", "slash"},
		{"/v1/orders?riderId=.", "riderId", ""},
		{"/v1/orders?area=", "area", "is missing"},
		{"/v1/orders?since=yesterday", "since", "must be a time such as 2026-01-02T03:04:05Z"},
		{"/v1/orders?until=2026-01-01T00:00:00+09:00", "until", "is written %2B"},
		{"/v1/stores?open=yes", "open", "must be true or false"},
		{"/v1/stores?area=", "area", "is missing"},
		{"/v1/riders?state=asleep", "state", "must be offline or idle or busy"},
		{"/v1/riders?sort=name", "sort", "must be delivered"},
		{"/v1/areas/a-1/deliveries?riderId=", "riderId", "is missing"},
		{"/v1/orders/o-1?wait=eaten", "wait", "is not a status"},
		{"/v1/orders/o-1?after=-1", "after", "must be the version"},
		{"/v1/orders/o-1?after=", "after", "must be the version"},
		{"/v1/orders/o-1?after=1&wait=paid", "after", "cannot be used together with wait"},
		{"/v1/orders?statu=paid", "statu", "is not a query parameter of this path: it takes status, storeId"},
		{"/v1/orders?status=paid&status=placed", "status", "comes more than once"},
		{"/v1/orders/o-1?wait=paid&timeout=5s", "timeout", "it takes wait, after"},
		{"/v1/orders/o-1?Wait=paid", "Wait", "is not a query parameter"},
		{"/v1/stores/s-1?x", "x", "this path takes no query parameters"},
		{"/v1/users/u-1/orders?status=paid", "status", "it takes limit, cursor"},
		{"/v1/areas/a-1/riders?limit=1", "limit", "takes no query parameters"},
	} {
		t.Run(c.path, func(t *testing.T) {
			a := newFixture(t).get(c.path)
			a.problem(t, http.StatusBadRequest, c.detail)
			require.Equal(t, []string{c.field}, a.wrong())
		})
	}
	for path := range pagedPaths {
		for query, detail := range map[string]string{"limit=0": "from 1 to 500", "limit=501": "from 1 to 500", "limit=": "from 1 to 500", "limit=1.5": "whole number",
			"limit=ten": "from 1 to 500", "cursor=!": "is not one that a list gave", "cursor=eA": "is not one that a list gave", "cursor=AAAAAAAAAAAAYQ": "is of another list"} {
			t.Run(path+"/"+query, func(t *testing.T) {
				a := newFixture(t).get(path + "?" + query)
				a.problem(t, http.StatusBadRequest, detail)
				require.Equal(t, []string{query[:strings.Index(query, "=")]}, a.wrong())
			})
		}
	}
	t.Run("Escape", func(t *testing.T) {
		newFixture(t).get("/v1/orders?status=%zz").problem(t, http.StatusBadRequest, "the query is not escaped")
	})
	t.Run("Last-Event-ID", func(t *testing.T) {
		a := newFixture(t).get("/v1/orders/o-1/events", "Last-Event-ID", "x")
		a.problem(t, http.StatusBadRequest, "must be the version")
		require.Equal(t, []string{"Last-Event-ID"}, a.wrong())
	})
}

func TestAPI_WrongMethod(t *testing.T) {
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/orders", "GET, HEAD, POST"},
		{"POST", "/v1/orders/o-1", "GET, HEAD"},
		{"GET", "/v1/orders/o-1/cancel", "POST"},
		{"POST", "/v1/stores/s-1", "DELETE, GET, HEAD, PATCH, PUT"},
		{"PUT", "/v1/stores/s-1/stock", "GET, HEAD"},
		{"PATCH", "/v1/riders/r-1/online", "POST"},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			a := newFixture(t).do(c.method, c.path, "")
			a.problem(t, http.StatusMethodNotAllowed, c.method+" is not for this path: use "+c.allow)
			require.Equal(t, c.allow, a.Header().Get("Allow"))
		})
	}
}

// pagedPaths are the lists that are paged: their field, and what names an entry.
var pagedPaths = map[string][2]string{
	"/v1/orders":              {"orders", "id"},
	"/v1/stores":              {"stores", "id"},
	"/v1/stores/s-1/products": {"products", "product"},
	"/v1/riders":              {"riders", "id"},
	"/v1/areas":               {"areas", "id"},
	"/v1/users/u-1/orders":    {"orders", "id"},
	"/v1/users/u-1/messages":  {"messages", "id"},
	"/v1/foods":               {"foods", "product"},
}

func (f *fixture) ids(a answer, field, id string) []string {
	f.t.Helper()
	require.Equal(f.t, http.StatusOK, a.Code, a.Body.String())
	out := []string{}
	for _, e := range a.json[field].([]any) {
		out = append(out, e.(map[string]any)[id].(string))
	}
	return out
}

// follow returns the pages of a list, by the ids of their entries; between is called
// between two of them.
func (f *fixture) follow(path, field, id string, between func()) (pages [][]string) {
	f.t.Helper()
	next := ""
	for {
		a := f.get(path + next)
		pages = append(pages, f.ids(a, field, id))
		cursor, more := a.json["cursor"].(string)
		if !more {
			return pages
		}
		require.Less(f.t, len(pages), 100, "paging ends")
		next = "&cursor=" + cursor
		if !strings.Contains(path, "?") {
			next = "?cursor=" + cursor
		}
		if between != nil {
			between()
		}
	}
}

// orderAt is an order that was placed some seconds after noon.
func orderAt(id string, seconds int, change func(*order.Order), statuses ...order.Status) *order.Order {
	o := lifeOf(id, append([]order.Status{order.Placed}, statuses...)...)
	o.PlacedAt = noon.Add(time.Duration(seconds) * time.Second)
	if change != nil {
		change(o)
	}
	return o
}

func TestAPI_Pages(t *testing.T) {
	fill := func(t *testing.T) *fixture {
		f := newFixture(t)
		f.orders.set("o-1", nil)
		f.orders.set("o-2", nil)
		for i := range 10 {
			f.orders.set(fmt.Sprint("x-", i), orderAt(fmt.Sprint("x-", i), i, nil))
		}
		return f
	}
	t.Run("NewestFirst", func(t *testing.T) {
		require.Equal(t, [][]string{{"x-9", "x-8", "x-7", "x-6"}, {"x-5", "x-4", "x-3", "x-2"}, {"x-1", "x-0"}}, fill(t).follow("/v1/orders?limit=4", "orders", "id", nil))
	})
	t.Run("AFullLastPageIsTheLast", func(t *testing.T) {
		require.Len(t, fill(t).follow("/v1/orders?limit=5", "orders", "id", nil), 2)
	})
	t.Run("LimitMayChange", func(t *testing.T) {
		f := fill(t)
		cursor := f.get("/v1/orders?limit=3").json["cursor"].(string)
		require.Equal(t, []string{"x-6", "x-5"}, f.ids(f.get("/v1/orders?limit=2&cursor="+cursor), "orders", "id"))
	})
	t.Run("EmptyCursorIsTheStart", func(t *testing.T) {
		f := fill(t)
		require.Equal(t, f.get("/v1/orders").Body.String(), f.get("/v1/orders?cursor=").Body.String())
	})
	// What comes while somebody pages is seen by the next who begins; nothing is seen
	// twice or passed over.
	t.Run("UnderInserts", func(t *testing.T) {
		f, n := fill(t), 100
		pages := f.follow("/v1/users/u-1/orders?limit=3", "orders", "id", func() {
			f.orders.set(fmt.Sprint("y-", n), orderAt(fmt.Sprint("y-", n), n, nil))
			n++
		})
		require.Equal(t, [][]string{{"x-9", "x-8", "x-7"}, {"x-6", "x-5", "x-4"}, {"x-3", "x-2", "x-1"}, {"x-0"}}, pages)
		require.Len(t, f.ids(f.get("/v1/users/u-1/orders"), "orders", "id"), 13)
	})
	t.Run("TheLastOneSeenIsForgotten", func(t *testing.T) {
		f := fill(t)
		cursor := f.get("/v1/orders?limit=3").json["cursor"].(string)
		f.orders.set("x-7", nil)
		require.Equal(t, []string{"x-6"}, f.ids(f.get("/v1/orders?limit=1&cursor="+cursor), "orders", "id"))
	})
	t.Run("OfAnotherList", func(t *testing.T) {
		f := fill(t)
		cursor := f.get("/v1/orders?limit=3&storeId=s-1").json["cursor"].(string)
		for _, path := range []string{"/v1/orders?", "/v1/orders?storeId=s-2&", "/v1/orders?storeId=s-1&status=placed&", "/v1/users/u-1/orders?", "/v1/stores?", "/v1/riders?"} {
			f.get(path+"cursor="+cursor).problem(t, http.StatusBadRequest, "is of another list, or of other filters")
		}
		require.Equal(t, http.StatusOK, f.get("/v1/orders?cursor="+cursor+"&storeId=s-1").Code, "the order of the parameters is nothing")
	})
	t.Run("Messages", func(t *testing.T) {
		require.Equal(t, [][]string{{"o-1/2/customer", "o-1/3/customer"}, {"o-1/1/customer"}}, fill(t).follow("/v1/users/u-1/messages?limit=2", "messages", "id", nil))
	})
	t.Run("Foods", func(t *testing.T) {
		require.Equal(t, [][]string{{"p-1"}, {"p-2"}, {"p-1"}}, fill(t).follow("/v1/foods?limit=1", "foods", "product", nil))
	})
	t.Run("Products", func(t *testing.T) {
		f := fill(t)
		row := &stock.Inventory{StoreID: "s-1", Store: &stock.Store{Name: "Mine", Area: "a-1"}}
		for _, id := range []string{"p", "p-", "p-1", "q"} {
			row.Products = append(row.Products, stock.Product{ID: id, Name: id})
		}
		f.stock.set("s-1", row)
		require.Equal(t, [][]string{{"p", "p-"}, {"p-1", "q"}}, f.follow("/v1/stores/s-1/products?limit=2", "products", "product", nil))
		require.Equal(t, [][]string{{"p"}, {"p-"}, {"p-1"}, {"q"}}, f.follow("/v1/stores/s-1/products?limit=1", "products", "product", nil))
	})
	t.Run("RidersAndStoresAndAreas", func(t *testing.T) {
		f := rush(t)
		f.stock.set("s-3", &stock.Inventory{StoreID: "s-3", Store: &stock.Store{Name: "Theirs", Area: "a-2"}})
		f.areas.set("a-2", dispatch.NewArea("a-2"))
		require.Equal(t, [][]string{{"r-1"}, {"r-7"}, {"r-8"}}, f.follow("/v1/riders?limit=1", "riders", "id", nil))
		require.Equal(t, [][]string{{"r-8"}, {"r-7"}, {"r-1"}}, f.follow("/v1/riders?limit=1&sort=delivered", "riders", "id", nil))
		require.Equal(t, [][]string{{"s-1"}, {"s-3"}}, f.follow("/v1/stores?limit=1", "stores", "id", nil))
		require.Equal(t, [][]string{{"a-1"}, {"a-2"}}, f.follow("/v1/areas?limit=1", "areas", "id", nil))
	})
	t.Run("WithoutTimelines", func(t *testing.T) {
		require.NotContains(t, fill(t).get("/v1/orders").Body.String(), "timeline")
	})
}

// A page that looked at many rows is short, but leads on to what is behind them.
func TestAPI_RareFilter(t *testing.T) {
	f := newFixture(t)
	for i := range 6000 {
		f.orders.set(fmt.Sprint("x-", i), orderAt(fmt.Sprint("x-", i), 10+i, nil))
	}
	pages := f.follow("/v1/orders?userId=u-1&status=refused", "orders", "id", nil)
	require.Equal(t, [][]string{{}, {"o-2"}}, pages)
}

// Every combination of filters shows what a look at all orders does.
func TestAPI_Filters(t *testing.T) {
	f := newFixture(t)
	f.orders.set("o-1", nil)
	f.orders.set("o-2", nil)
	all := map[string]*order.Order{}
	for i := range 48 {
		o := orderAt(fmt.Sprint("x-", i), i/2, func(o *order.Order) {
			o.UserID, o.StoreID = fmt.Sprint("u-", i%3), fmt.Sprint("s-", i%2)
			if i%4 != 0 {
				o.Store = &stock.Store{Area: fmt.Sprint("a-", i%2)}
			}
			if i%5 < 2 {
				o.RiderID = fmt.Sprint("r-", i%5)
			}
		}, []order.Status{order.Paying, order.Completed}[:i%3%2]...)
		all[o.ID] = o
		f.orders.set(o.ID, o)
	}
	filters := []struct {
		query string
		keep  func(*order.Order) bool
	}{
		{"status=placed", func(o *order.Order) bool { return o.Status == order.Placed }},
		{"storeId=s-1", func(o *order.Order) bool { return o.StoreID == "s-1" }},
		{"userId=u-2", func(o *order.Order) bool { return o.UserID == "u-2" }},
		{"riderId=r-1", func(o *order.Order) bool { return o.RiderID == "r-1" }},
		{"area=a-1", func(o *order.Order) bool { return o.Store != nil && o.Store.Area == "a-1" }},
		{"since=2026-01-01T00:00:05Z", func(o *order.Order) bool { return o.PlacedAt >= noon.Add(5*time.Second) }},
		{"until=2026-01-01T00:00:20Z", func(o *order.Order) bool { return o.PlacedAt < noon.Add(20*time.Second) }},
	}
	for set := range 1 << len(filters) {
		query, want := "limit=7", []string{}
		for _, o := range all {
			keep := true
			for i, filter := range filters {
				keep = keep && (set>>i&1 == 0 || filter.keep(o))
			}
			if keep {
				want = append(want, o.ID)
			}
		}
		for i, filter := range filters {
			if set>>i&1 == 1 {
				query += "&" + filter.query
			}
		}
		got := slices.Concat(f.follow("/v1/orders?"+query, "orders", "id", nil)...)
		require.True(t, slices.IsSortedFunc(got, func(a, b string) int { return int(all[b].PlacedAt - all[a].PlacedAt) }), "%s: newest first", query)
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, append([]string{}, got...), query)
	}
}

func TestAPI_Board(t *testing.T) {
	f := newFixture(t)
	f.orders.set("o-4", orderAt("o-4", 1, nil, order.Paying, order.Paid))
	f.orders.set("o-5", orderAt("o-5", 2, nil))
	f.orders.set("o-6", orderAt("o-6", 3, func(o *order.Order) { o.StoreID = "s-2" }))
	board := map[string][]string{}
	a := f.get("/v1/stores/s-1/orders")
	require.Equal(t, http.StatusOK, a.Code)
	for status, orders := range a.json["orders"].(map[string]any) {
		for _, o := range orders.([]any) {
			board[status] = append(board[status], o.(map[string]any)["id"].(string))
		}
	}
	require.Equal(t, map[string][]string{"paid": {"o-4", "o-1"}, "placed": {"o-5"}}, board)
}

// An error while a list is read is not a short list.
func TestAPI_ListsFail(t *testing.T) {
	f := rush(t)
	f.orders.fail(errors.New("the disk is gone"))
	for _, path := range []string{"/v1/orders", "/v1/stores/s-1/orders", "/v1/users/u-1/orders", "/v1/areas/a-1/deliveries", "/v1/riders", "/v1/riders/r-7"} {
		f.get(path).problem(t, http.StatusInternalServerError, "Internal error")
	}
}

// An order that is asked for again is answered as it is now, whatever changed: the
// order, or its rider.
func TestAPI_OrderAskedForAgain(t *testing.T) {
	f := rush(t)
	was := f.get("/v1/orders/o-7").Body.String()
	require.Equal(t, was, f.get("/v1/orders/o-7").Body.String())
	f.riders.set("r-7", &rider.Rider{ID: "r-7", Name: "Kim", Version: 5, Place: &domain.Place{Lat: 37.7, Lon: 127}, PlacedAt: noon})
	require.Contains(t, f.get("/v1/orders/o-7").Body.String(), `"lat":37.7`)
	f.riders.set("r-7", nil)
	require.Equal(t, map[string]any{"id": "r-7", "name": ""}, f.get("/v1/orders/o-7").json["rider"])
	next := lifeOf("o-7", order.Placed, order.Cancelled)
	next.UserID = "u-7"
	f.orders.set("o-7", next)
	a := f.get("/v1/orders/o-7")
	require.Equal(t, "cancelled", a.json["status"])
	require.Equal(t, `"2"`, a.Header().Get("ETag"))
}

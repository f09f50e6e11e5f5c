package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
)

const placeBody = `{"id":"o-7","userId":"u-1","storeId":"s-1","lines":[{"product":"p-1","quantity":2}],"address":{"text":"Teheran-ro 1","lat":37.5,"lon":127.04}}`

// commandCases has every command, with a body that is good and the command
// that it becomes.
var commandCases = []struct {
	method, path, body string
	stream, key        string
	command            map[string]any // without its id
}{
	{"POST", "/v1/orders/o-1/cancel", ``, "order-commands", "o-1", map[string]any{"verdict": true, "type": "cancel"}},
	{"POST", "/v1/orders/o-1/cancel", `{"by":"operator","reason":"fire"}`, "order-commands", "o-1",
		map[string]any{"verdict": true, "type": "cancel", "by": "operator", "reason": "fire"}},
	{"POST", "/v1/orders/o-1/accept", `{"cookingTime":"12m"}`, "order-commands", "o-1",
		map[string]any{"verdict": true, "type": "accept", "cookingTime": "12m"}},
	{"POST", "/v1/orders/o-1/postpone", `{"by":"5m","ifVersion":3}`, "order-commands", "o-1", map[string]any{"verdict": true, "type": "postpone", "by": "5m", "ifVersion": 3.0}},
	{"POST", "/v1/orders/o-1/reject", `{"reason":"tired"}`, "order-commands", "o-1", map[string]any{"verdict": true, "type": "reject", "reason": "tired"}},
	{"POST", "/v1/orders/o-1/start-cooking", ``, "order-commands", "o-1", map[string]any{"verdict": true, "type": "start_cooking"}},
	{"POST", "/v1/orders/o-1/finish-cooking", `{}`, "order-commands", "o-1", map[string]any{"verdict": true, "type": "finish_cooking"}},
	{"POST", "/v1/orders/o-1/confirm", `{"verdict":true}`, "order-commands", "o-1", map[string]any{"verdict": true, "type": "confirm"}},
	{"POST", "/v1/orders/o-1/request-refund", `{"userId":"u-1","reason":"cold","photoUrl":"https://p.example/1","wish":"refund"}`, "order-commands", "o-1",
		map[string]any{"verdict": true, "type": "request_refund", "userId": "u-1", "reason": "cold", "photoUrl": "https://p.example/1", "wish": "refund"}},
	{"POST", "/v1/orders/o-1/approve-refund", ``, "order-commands", "o-1", map[string]any{"verdict": true, "type": "approve_refund"}},
	{"POST", "/v1/orders/o-1/deny-refund", `{"reason":"eaten"}`, "order-commands", "o-1", map[string]any{"verdict": true, "type": "deny_refund", "reason": "eaten"}},
	{"POST", "/v1/orders/%EC%A3%BC%20%EB%AC%B8/confirm", ``, "order-commands", "주 문", map[string]any{"verdict": true, "type": "confirm"}},

	{"PUT", "/v1/stores/s-1", `{"id":"s-1","name":"Mine","area":"a-1","lat":37.5,"lon":0,"autoAccept":true,"cookingTime":"5s","open":true}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "register", "name": "Mine", "area": "a-1", "lat": 37.5, "lon": 0.0, "autoAccept": true, "cookingTime": "5s"}},
	{"POST", "/v1/stores/s-1/open", ``, "store-commands", "s-1", map[string]any{"verdict": true, "type": "open"}},
	{"POST", "/v1/stores/s-1/close", ``, "store-commands", "s-1", map[string]any{"verdict": true, "type": "close"}},
	{"PUT", "/v1/stores/s-1/products/p-1", `{"name":"Bibimbap","price":9000}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "put_product", "product": "p-1", "name": "Bibimbap", "price": 9000.0}},
	{"PUT", "/v1/stores/s-1/products/p-1", `{"name":"Water","price":0}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "put_product", "product": "p-1", "name": "Water", "price": 0.0}},
	{"POST", "/v1/stores/s-1/products/p-1/add", `{"quantity":50}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "add_stock", "product": "p-1", "quantity": 50.0}},
	{"POST", "/v1/stores/s-1/products/p-1/remove", `{"product":"p-1","quantity":1}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "remove_stock", "product": "p-1", "quantity": 1.0}},
	{"PATCH", "/v1/stores/s-1", `{"id":"s-1","name":"Ours"}`, "store-commands", "s-1", map[string]any{"verdict": true, "type": "update", "name": "Ours"}},
	{"DELETE", "/v1/stores/s-1", ``, "store-commands", "s-1", map[string]any{"verdict": true, "type": "unregister"}},
	{"POST", "/v1/stores/s-1/slow", `{"until":"2026-01-02T03:04:05Z","by":"5m"}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "slow", "until": "2026-01-02T03:04:05.000Z", "by": "5m"}},
	{"POST", "/v1/stores/s-1/pause", `{"until":"2026-01-02T03:04:05Z"}`, "store-commands", "s-1",
		map[string]any{"verdict": true, "type": "pause", "until": "2026-01-02T03:04:05.000Z"}},
	{"PATCH", "/v1/stores/s-1/products/p-1", `{"price":5}`, "store-commands", "s-1", map[string]any{"verdict": true, "type": "update_product", "product": "p-1", "price": 5.0}},
	{"DELETE", "/v1/stores/s-1/products/p-1", ``, "store-commands", "s-1", map[string]any{"verdict": true, "type": "remove_product", "product": "p-1"}},
	{"POST", "/v1/stores/s-1/products/p-1/sold-out", ``, "store-commands", "s-1", map[string]any{"verdict": true, "type": "sold_out", "product": "p-1"}},

	{"POST", "/v1/riders/r-1/online", `{"area":"a-1","lat":37.5,"lon":127.03,"capacity":2}`, "rider-commands", "r-1",
		map[string]any{"verdict": true, "type": "online", "area": "a-1", "lat": 37.5, "lon": 127.03, "capacity": 2.0}},
	{"POST", "/v1/riders/r-1/offline", ``, "rider-commands", "r-1", map[string]any{"verdict": true, "type": "offline"}},
	{"POST", "/v1/riders/r-1/move", `{"lat":0,"lon":0}`, "rider-commands", "r-1", map[string]any{"verdict": true, "type": "move", "lat": 0.0, "lon": 0.0}},
	{"POST", "/v1/riders/r-1/claim", `{"orderId":"o-1"}`, "rider-commands", "r-1", map[string]any{"verdict": true, "type": "claim", "orderId": "o-1"}},
	{"POST", "/v1/riders/r-1/decline", `{"orderId":"o-1"}`, "rider-commands", "r-1", map[string]any{"verdict": true, "type": "decline", "orderId": "o-1"}},
	{"POST", "/v1/riders/r-1/picked-up", `{"orderId":"o-1"}`, "rider-commands", "r-1", map[string]any{"verdict": true, "type": "picked_up", "orderId": "o-1"}},
	{"POST", "/v1/riders/r-1/delivered", `{"orderId":"o-1"}`, "rider-commands", "r-1", map[string]any{"verdict": true, "type": "delivered", "orderId": "o-1"}},
}

func TestAPI_Command(t *testing.T) {
	for _, c := range commandCases {
		t.Run(c.method+c.path, func(t *testing.T) {
			f := newFixture(t)
			a := f.later(c.method, c.path, c.body)
			require.Equal(t, http.StatusAccepted, a.Code, a.Body.String())
			require.Equal(t, "/v1/commands/"+a.json["id"].(string)+"?"+url.Values{"stream": {c.stream}, "key": {c.key}}.Encode(), a.Header().Get("Location"))
			require.Equal(t, "respond-async", a.Header().Get("Preference-Applied"))
			require.Equal(t, "pending", a.json["verdict"])
			require.Equal(t, a.json["id"], f.get(a.Header().Get("Location")).json["id"], "that can be asked")

			all := f.commands.all()
			require.Len(t, all, 1)
			require.Equal(t, c.stream, all[0].stream)
			require.Equal(t, c.key, all[0].key)
			id := all[0].command["id"]
			require.Equal(t, id, a.json["id"])
			parsed, err := uuid.Parse(id.(string))
			require.NoError(t, err)
			require.EqualValues(t, 7, parsed.Version())
			delete(all[0].command, "id")
			require.Equal(t, c.command, all[0].command)
		})
	}
}

// While topics are not as they should be no command is sent, and each answer says why and what to do.
func TestAPI_CommandsWhileDamaged(t *testing.T) {
	cases := append(commandCases[:len(commandCases):len(commandCases)], commandCases[0])
	cases[len(cases)-1].method, cases[len(cases)-1].path, cases[len(cases)-1].body = "POST", "/v1/orders", placeBody
	for _, c := range cases {
		t.Run(c.method+c.path, func(t *testing.T) {
			f := newFixture(t)
			f.damaged = errors.New("order-commands (12): take another --prefix")
			a := f.later(c.method, c.path, c.body)
			a.problem(t, http.StatusServiceUnavailable, "take another --prefix")
			require.Contains(t, a.json["detail"], "was not sent")
			require.NotEmpty(t, a.json["id"], "to repeat it with")
			require.NotEmpty(t, a.Header().Get("Retry-After"))
			require.Empty(t, f.commands.all())
			require.Equal(t, http.StatusOK, f.get("/v1/orders/o-1").Code, "what is there can be read")
		})
	}
}

func TestAPI_CommandID(t *testing.T) {
	for _, c := range commandCases {
		t.Run(c.method+c.path, func(t *testing.T) {
			f := newFixture(t)
			for _, key := range []string{`k-1`, `"k-1"`} {
				require.Equal(t, "k-1", f.later(c.method, c.path, c.body, "Idempotency-Key", key).json["id"])
			}
			for key, want := range map[string]string{
				strings.Repeat("k", 201): "at most 200", "o-1/assigned/1/1": "must not contain a slash", "o-1/place": "must not contain a slash",
			} {
				f.later(c.method, c.path, c.body, "Idempotency-Key", key).problem(t, http.StatusBadRequest, want)
			}
		})
	}
	t.Run("InTheBody", func(t *testing.T) {
		f := newFixture(t)
		require.Equal(t, "c-1", f.later("POST", "/v1/orders/o-1/confirm", `{"id":"c-1"}`, "Idempotency-Key", "k-1").json["id"])
		for _, key := range []string{strings.Repeat("k", 201), "a/b", `""`} {
			a := f.later("POST", "/v1/orders/o-1/confirm", `{"id":"c-1"}`, "Idempotency-Key", key)
			a.problem(t, http.StatusBadRequest, "Idempotency-Key: ")
		}
	})
	t.Run("NotOfAPUT", func(t *testing.T) {
		// The id in the body is the store's: what GET answers can be PUT back, twice.
		f := newFixture(t)
		store := f.get("/v1/stores/s-1").Body.String()
		first, second := f.later("PUT", "/v1/stores/s-1", store), f.later("PUT", "/v1/stores/s-1", store)
		require.NotEqual(t, "s-1", first.json["id"])
		require.NotEqual(t, first.json["id"], second.json["id"])
	})
}

// Every command is careful about its input, in the same way.
func TestAPI_CommandBadInput(t *testing.T) {
	cases := append(commandCases[:len(commandCases):len(commandCases)], commandCases[0])
	cases[len(cases)-1].method, cases[len(cases)-1].path, cases[len(cases)-1].body = "POST", "/v1/orders", placeBody
	for _, c := range cases {
		t.Run(c.method+c.path, func(t *testing.T) {
			f := newFixture(t)
			f.later(c.method, c.path, `{`).problem(t, http.StatusBadRequest, "the body is not as it should be")
			f.later(c.method, c.path, `{} {}`).problem(t, http.StatusBadRequest, "the body is not as it should be")
			f.later(c.method, c.path, `[]`).problem(t, http.StatusBadRequest, "must be a JSON object")
			f.later(c.method, c.path, `null`).problem(t, http.StatusBadRequest, "must be a JSON object")
			f.later(c.method, c.path, "{\"a\":\"\xff\"}").problem(t, http.StatusBadRequest, "the body is not as it should be")
			a := f.later(c.method, c.path, `{"id":5}`)
			a.problem(t, http.StatusBadRequest, "id: must be a string, not a JSON number")
			require.Contains(t, a.wrong()[0], "id")
			for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "a b"} {
				f.later(c.method, c.path, `{}`, "Content-Type", kind).problem(t, http.StatusUnsupportedMediaType, "send application/json")
			}
			f.later(c.method, c.path, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`).problem(t, http.StatusRequestEntityTooLarge, "larger than 1048576 bytes")
			f.later(c.method, c.path+"?timeout=5s", c.body).problem(t, http.StatusBadRequest, "timeout: is not ")
			f.later(c.method, c.path, `{"type":"dance"}`).problem(t, http.StatusBadRequest, `type: is "dance" and the path says`)
			require.Empty(t, f.commands.all())

			ok := f.later(c.method, c.path, c.body, "Content-Type", "application/vnd.baedal+json; charset=UTF-8")
			require.Equal(t, http.StatusAccepted, ok.Code, ok.Body.String())

			f.commands.err = errors.New("kafka: no brokers at 10.0.0.1")
			a = f.later(c.method, c.path, c.body, "Idempotency-Key", "o-7")
			a.problem(t, http.StatusServiceUnavailable, `send it again with the id "o-7"`)
			require.Equal(t, "o-7", a.json["id"])
			require.NotContains(t, a.Body.String(), "10.0.0.1")
			require.Contains(t, f.log.String(), "10.0.0.1")
		})
	}
}

func TestAPI_CommandWrongField(t *testing.T) {
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", "/v1/orders/a%2Fb/cancel", ``, "id"},
		{"POST", "/v1/orders/o-1/cancel", `{"by":"dog"}`, "by"},
		{"POST", "/v1/orders/o-1/cancel", `{"orderId":"o-2"}`, "orderId"},
		{"POST", "/v1/orders/o-1/accept", `{"cookingTime":"-1m"}`, "cookingTime"},
		{"POST", "/v1/orders/o-1/accept", `{"cookingTime":"soon"}`, "cookingTime"},
		{"POST", "/v1/orders/o-1/accept", `{"cookingTime":5}`, "cookingTime"},
		{"POST", "/v1/orders/o-1/request-refund", `{"userId":"u-1","reason":"cold","wish":"refund"}`, "photoUrl"},
		{"POST", "/v1/orders/o-1/deny-refund", ``, "reason"},
		{"PUT", "/v1/stores/a%2Fb", `{}`, "id"},
		{"PUT", "/v1/stores/s-1", ``, "name"},
		{"PUT", "/v1/stores/s-1", `{"name":"Mine","area":"a-1","lat":37.5}`, "lon"},
		{"PUT", "/v1/stores/s-1", `{"name":"Mine","area":"a-1","lat":37.5,"lon":181}`, "lon"},
		{"PUT", "/v1/stores/s-1", `{"area":"a-1","lat":37.5,"lon":1}`, "name"},
		{"PUT", "/v1/stores/s-1", `{"storeId":"s-2","name":"Mine","area":"a-1","lat":37.5,"lon":1}`, "storeId"},
		{"PUT", "/v1/stores/s-1/products/p-1", `{"name":"Bibimbap"}`, "price"},
		{"PUT", "/v1/stores/s-1/products/p-1", `{"name":"Bibimbap","price":null}`, "price"},
		{"PUT", "/v1/stores/s-1/products/p-1", `{"name":"Bibimbap","price":-1}`, "price"},
		{"PUT", "/v1/stores/s-1/products/p-1", `{"product":"p-2","name":"Bibimbap","price":1}`, "product"},
		{"PUT", "/v1/stores/s-1/products/a%2Fb", `{"name":"Bibimbap","price":1}`, "product"},
		{"POST", "/v1/stores/s-1/products/p-1/add", ``, "quantity"},
		{"POST", "/v1/stores/s-1/products/p-1/add", `{"quantity":0}`, "quantity"},
		{"POST", "/v1/stores/s-1/products/p-1/remove", `{"quantity":1.5}`, "quantity"},
		{"POST", "/v1/stores/s-1/products/a%2Fb/remove", `{"quantity":1}`, "product"},
		{"POST", "/v1/riders/a%2Fb/move", `{}`, "id"},
		{"POST", "/v1/riders/r-1/online", `{"area":"a-1","lat":1}`, "lon"},
		{"POST", "/v1/riders/r-1/online", `{"lat":1,"lon":1}`, "area"},
		{"POST", "/v1/riders/r-1/move", `{"lat":91,"lon":1}`, "lat"},
		{"POST", "/v1/riders/r-1/claim", ``, "orderId"},
		{"POST", "/v1/riders/r-1/claim", `{"riderId":"r-2","orderId":"o-1"}`, "riderId"},
		{"POST", "/v1/orders", ``, "userId"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"u-1"`, `7`, 1), "userId"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"s-1"`, `"s/1"`, 1), "storeId"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"o-7"`, `"o/7"`, 1), "id"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"quantity":2`, `"quantity":0`, 1), "lines[0].quantity"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `,"lon":127.04`, ``, 1), "address.lon"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"lon":127.04`, `"lon":1270`, 1), "address.lon"},
		{"POST", "/v1/orders", `{"userId":"u-1","storeId":"s-1","lines":[{"product":"p-1","quantity":2}]}`, "address"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"id"`, `"expectedTotal":-1,"id"`, 1), "expectedTotal"},
		{"POST", "/v1/orders", strings.Replace(placeBody, `"id"`, `"orderId":"o-8","id"`, 1), "orderId"},
		{"POST", "/v1/orders?wait=eaten", placeBody, "wait"},
	} {
		t.Run(c.method+c.path+c.body, func(t *testing.T) {
			f := newFixture(t)
			a := f.later(c.method, c.path, c.body)
			a.problem(t, http.StatusBadRequest, c.field+": ")
			require.Equal(t, (&domain.FieldError{Field: c.field}).Pointer(), "/"+strings.TrimPrefix(a.wrong()[0], "/"))
			require.Empty(t, f.commands.all())
		})
	}
}

// A command that is sent again the other way, over HTTP or on its stream, has the
// same words, so it is a repeat.
func TestAPI_SameWordsOnTheStream(t *testing.T) {
	for _, c := range []struct{ method, path, body, record string }{
		{"POST", "/v1/orders/o-1/cancel", ``, `{"type":"cancel"}`},
		{"POST", "/v1/orders/o-1/cancel", `{"by":"store","reason":"fire"}`, `{"by":"store","type":"cancel","reason":"fire"}`},
		{"POST", "/v1/orders/o-1/accept", ``, `{"type":"accept"}`},
		{"POST", "/v1/orders/o-1/accept", `{"cookingTime":"15m"}`, `{"type":"accept","cookingTime":"15m"}`},
		{"POST", "/v1/orders/o-1/accept", `{"cookingTime":"1h"}`, `{"type":"accept","cookingTime":"1h"}`},
		{"POST", "/v1/orders/o-1/accept", `{"cookingTime":"0s"}`, `{"type":"accept","cookingTime":"0s"}`},
		{"POST", "/v1/orders/o-1/confirm", `{"orderId":"o-1"}`, `{"type":"confirm"}`},
		{"POST", "/v1/stores/s-1/open", ``, `{"type":"open"}`},
		{"POST", "/v1/stores/s-1/products/p-1/add", `{"quantity":5}`, `{"type":"add_stock","product":"p-1","quantity":5}`},
		{"PUT", "/v1/stores/s-1/products/p-1", `{"name":"Water","price":0}`, `{"type":"put_product","product":"p-1","name":"Water","price":0}`},
		{"POST", "/v1/riders/r-1/online", `{"area":"a-1","lat":0,"lon":1.50}`, `{"type":"online","area":"a-1","lat":0,"lon":1.5}`},
		{"POST", "/v1/riders/r-1/claim", `{"orderId":"o-1"}`, `{"type":"claim","orderId":"o-1"}`},
	} {
		f := newFixture(t)
		require.Equal(t, http.StatusAccepted, f.later(c.method, c.path, c.body).Code)
		sent, err := json.Marshal(f.commands.all()[0].command)
		require.NoError(t, err)
		overHTTP, err := codecs.Digest(sent)
		require.NoError(t, err)
		onStream, err := codecs.Digest([]byte(c.record))
		require.NoError(t, err)
		require.Equal(t, onStream, overHTTP, "%s %s is written as %s", c.path, c.body, sent)
	}
}

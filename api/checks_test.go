package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// message is a kind of message with all the fields that it may have.
type message struct {
	name, json string
	decode     func([]byte) (any, error)
	// fields that must be there, and not null. With a + their zero (0, 0s, false,
	// "", {} or []) means something, with a - it is wrong. A ? marks one that may
	// be left out.
	fields string
	method string // and path, of those that come over HTTP, too
}

func of[M any](data []byte) (any, error) {
	m, err := codecs.Decode[M](data)
	if err != nil {
		return nil, err
	}
	return m, nil
}

const (
	aPlace   = `{"lat":37.5,"lon":127}`
	pricedIn = `"lines":[{"product":"p","quantity":2,"name":"P","price":9000}],"total":18000`
	aStore   = `"store":{"name":"S","area":"a","lat":1,"lon":2,"autoAccept":true,"cookingTime":"5m"}`
)

var messages = slices.Concat([]message{
	{"order place", `{"type":"place","id":"o-9","at":"2026-01-02T03:04:05.000Z","userId":"u","storeId":"s","lines":[{"product":"p","quantity":2}],"address":{"text":"t","lat":1,"lon":2},"expectedTotal":5,"note":"n","phone":"1","ifVersion":0,"verdict":true}`,
		of[order.Command], "userId- storeId- lines- lines.0.product- lines.0.quantity- address- address.lat+ address.lon+", "POST /v1/orders"},
	{"order cancel", `{"type":"cancel","by":"store","reason":"r"}`, of[order.Command], "", "POST /v1/orders/o-1/cancel"},
	{"order accept", `{"type":"accept","cookingTime":"5m","reason":"r"}`, of[order.Command], "", "POST /v1/orders/o-1/accept"},
	{"order reject", `{"type":"reject","reason":"r"}`, of[order.Command], "", "POST /v1/orders/o-1/reject"},
	{"order start_cooking", `{"type":"start_cooking","verdict":true}`, of[order.Command], "", "POST /v1/orders/o-1/start-cooking"},
	{"order finish_cooking", `{"type":"finish_cooking","verdict":true}`, of[order.Command], "", "POST /v1/orders/o-1/finish-cooking"},
	{"order confirm", `{"type":"confirm","verdict":true}`, of[order.Command], "", "POST /v1/orders/o-1/confirm"},
	{"order request_refund", `{"type":"request_refund","userId":"u","reason":"r","photoUrl":"https://p.example/1","wish":"refund"}`,
		of[order.Command], "userId- reason- photoUrl- wish-", "POST /v1/orders/o-1/request-refund"},
	{"order approve_refund", `{"type":"approve_refund","verdict":true}`, of[order.Command], "", "POST /v1/orders/o-1/approve-refund"},
	{"order deny_refund", `{"type":"deny_refund","reason":"r"}`, of[order.Command], "reason-", "POST /v1/orders/o-1/deny-refund"},
	{"order postpone", `{"type":"postpone","by":"5m","reason":"r"}`, of[order.Command], "by-", "POST /v1/orders/o-1/postpone"},

	{"store register", `{"type":"register","name":"S","area":"a","lat":1,"lon":2,"autoAccept":true,"cookingTime":"5m"}`, of[stock.Command],
		"name- area- lat+ lon+ autoAccept+ cookingTime+", "PUT /v1/stores/s-1"},
	{"store update", `{"type":"update","name":"S","area":"a","lat":1,"lon":2,"autoAccept":true,"cookingTime":"5m"}`, of[stock.Command],
		"?name- ?area- ?lat+ ?lon+ ?autoAccept+ ?cookingTime+", "PATCH /v1/stores/s-1"},
	{"store unregister", `{"type":"unregister","verdict":true}`, of[stock.Command], "", "DELETE /v1/stores/s-1"},
	{"store open", `{"type":"open","verdict":true}`, of[stock.Command], "", "POST /v1/stores/s-1/open"},
	{"store close", `{"type":"close","verdict":true}`, of[stock.Command], "", "POST /v1/stores/s-1/close"},
	{"store slow", `{"type":"slow","until":"2026-01-02T03:04:05.000Z","by":"5m"}`, of[stock.Command], "until- by-", "POST /v1/stores/s-1/slow"},
	{"store pause", `{"type":"pause","until":"2026-01-02T03:04:05.000Z"}`, of[stock.Command], "until-", "POST /v1/stores/s-1/pause"},
	{"store put_product", `{"type":"put_product","product":"p-1","name":"P","price":5}`, of[stock.Command], "product- name- price+", "PUT /v1/stores/s-1/products/p-1"},
	{"store update_product", `{"type":"update_product","product":"p-1","name":"P","price":5}`, of[stock.Command], "product- ?name- ?price+", "PATCH /v1/stores/s-1/products/p-1"},
	{"store remove_product", `{"type":"remove_product","product":"p-1"}`, of[stock.Command], "product-", "DELETE /v1/stores/s-1/products/p-1"},
	{"store sold_out", `{"type":"sold_out","product":"p-1","until":"2026-01-02T03:04:05.000Z"}`, of[stock.Command], "product-", "POST /v1/stores/s-1/products/p-1/sold-out"},
	{"store add_stock", `{"type":"add_stock","product":"p-1","quantity":5}`, of[stock.Command], "product- quantity-", "POST /v1/stores/s-1/products/p-1/add"},
	{"store remove_stock", `{"type":"remove_stock","product":"p-1","quantity":5}`, of[stock.Command], "product- quantity-", "POST /v1/stores/s-1/products/p-1/remove"},
	{"store reserve", `{"type":"reserve","id":"o/reserve/1","orderId":"o","attempt":1,"lines":[{"product":"p","quantity":2}],"expectedTotal":5}`, of[stock.Command],
		"orderId- attempt- lines- lines.0.product- lines.0.quantity-", ""},
	{"store commit", `{"type":"commit","id":"o/commit/1","orderId":"o","attempt":1}`, of[stock.Command], "orderId- attempt-", ""},
	{"store release", `{"type":"release","id":"o/release/1","orderId":"o","attempt":1}`, of[stock.Command], "orderId- attempt-", ""},

	{"rider online", `{"type":"online","area":"a","lat":1,"lon":2,"capacity":3,"name":"N","until":"2026-01-02T03:04:05.000Z"}`, of[rider.Command], "area- lat+ lon+ ?capacity- ?name-", "POST /v1/riders/r-1/online"},
	{"rider offline", `{"type":"offline","verdict":true}`, of[rider.Command], "", "POST /v1/riders/r-1/offline"},
	{"rider move", `{"type":"move","lat":1,"lon":2,"verdict":true}`, of[rider.Command], "lat+ lon+", "POST /v1/riders/r-1/move"},
	{"rider claim", `{"type":"claim","orderId":"o"}`, of[rider.Command], "orderId-", "POST /v1/riders/r-1/claim"},
	{"rider decline", `{"type":"decline","orderId":"o"}`, of[rider.Command], "orderId-", "POST /v1/riders/r-1/decline"},
	{"rider picked_up", `{"type":"picked_up","orderId":"o"}`, of[rider.Command], "orderId-", "POST /v1/riders/r-1/picked-up"},
	{"rider delivered", `{"type":"delivered","orderId":"o"}`, of[rider.Command], "orderId-", "POST /v1/riders/r-1/delivered"},

	{"area request", `{"type":"request","id":"o/request/1","orderId":"o","attempt":1,"pickup":` + aPlace + `,"drop":` + aPlace + `,"readyAt":"2026-01-02T03:04:05.000Z"}`, of[dispatch.Command],
		"orderId- attempt- pickup- pickup.lat+ pickup.lon+ drop- drop.lat+ drop.lon+", ""},
	{"area ready", `{"type":"ready","id":"o/ready/4","orderId":"o","attempt":1}`, of[dispatch.Command], "orderId- attempt-", ""},
	{"area postpone", `{"type":"postpone","id":"o/postpone/4","orderId":"o","attempt":1,"readyAt":"2026-01-02T03:04:05.000Z"}`, of[dispatch.Command], "orderId- attempt- readyAt-", ""},
	{"area withdraw", `{"type":"withdraw","id":"o/withdraw/1","orderId":"o","attempt":1,"reason":"no_rider"}`, of[dispatch.Command], "orderId- attempt-", ""},
	{"area give_up", `{"type":"give_up","id":"o/give_up/1/4","orderId":"o","attempt":1,"riderId":"r","reason":"late"}`, of[dispatch.Command], "orderId- attempt- riderId-", ""},
	{"area enter", `{"type":"enter","id":"r/enter/1","riderId":"r","shift":1,"place":` + aPlace + `,"placeAt":"2026-01-02T03:04:05.000Z","capacity":1,"until":"2026-01-02T03:04:05.000Z"}`, of[dispatch.Command],
		"riderId- shift- place- place.lat+ place.lon+ capacity-", ""},
	{"area leave", `{"type":"leave","id":"r/leave/1/1","riderId":"r","shift":1}`, of[dispatch.Command], "riderId- shift-", ""},
	{"area move", `{"type":"move","id":"r/move/1/m/c","riderId":"r","shift":1,"place":` + aPlace + `}`, of[dispatch.Command], "riderId- shift- place- place.lat+ place.lon+", ""},

	{"stock reserved", `{"type":"reserved","id":"o/reserved/1","orderId":"o","storeId":"s","attempt":1,` + pricedIn + `,` + aStore + `}`, of[stock.Reply],
		"orderId- attempt- lines- lines.0.product- lines.0.quantity- lines.0.name- lines.0.price+ total+ store- store.name- store.area-", ""},
	{"stock refused", `{"type":"refused","id":"o/refused/1","orderId":"o","storeId":"s","attempt":1,"reason":"short","short":[{"product":"p","wanted":2,"available":1}],"until":"2026-01-02T03:04:05.000Z"}`, of[stock.Reply],
		"orderId- attempt- reason- short.0.product-", ""},
	{"payment authorize", `{"type":"authorize","id":"o/authorize/1","orderId":"o","attempt":1,"userId":"u","amount":5}`, of[payment.Request], "orderId- attempt- userId- amount+", ""},
	{"payment capture", `{"type":"capture","id":"o/capture/1","orderId":"o","attempt":1}`, of[payment.Request], "orderId- attempt-", ""},
	{"payment void", `{"type":"void","id":"o/void/1","orderId":"o","attempt":1,"reason":"r"}`, of[payment.Request], "orderId- attempt-", ""},
	{"payment refund", `{"type":"refund","id":"o/refund/1","orderId":"o","attempt":1,"reason":"r"}`, of[payment.Request], "orderId- attempt-", ""},
	{"payment result", `{"type":"result","id":"o/void/1/1/result","orderId":"o","kind":"void","attempt":1,"try":1,"amount":5,"userId":"u","answer":"ok","reason":"r"}`, of[payment.Result],
		"orderId- kind- attempt- answer-", ""},
	{"order event", `{"type":"paid","id":"o/3","version":3,"orderId":"o","userId":"u","storeId":"s","status":"paid","attempt":1,` + pricedIn + `,"area":"a","riderId":"r","reason":"x","readyAt":"2026-01-02T03:04:05.000Z","wish":"refund","causeId":"c"}`, of[order.Event],
		"version- orderId- userId- storeId- status- attempt- lines- lines.0.product- lines.0.quantity- lines.0.name- lines.0.price+ ?total+", ""},
	{"order deadline", `{"type":"deadline","id":"deadline/o/1","orderId":"o","version":1,"due":"2026-01-02T03:04:05.000Z"}`, of[order.Deadline], "orderId-", ""},
	{"notification", `{"type":"paid","id":"o/3/customer","recipient":"u","audience":"customer","orderId":"o","status":"paid","message":"m"}`, of[notification.Notification],
		"recipient- audience- orderId-", ""},
	{"note", `{"type":"eaten","id":"o/3/s/f","key":"s/f","orderId":"o","quantity":1,"topic":"t","partition":1,"offset":1}`, of[projection.Note], "key- orderId- quantity-", ""},
	{"verdict", `{"type":"refused","id":"o/verdict/order-commands/m/c","commandId":"c","stream":"order-commands","key":"o","digest":"d","verdict":"refused","code":"status","reason":"r","version":3}`, of[domain.Verdict], "commandId- verdict- code-", ""},
},
	each([]string{dispatch.Claim, dispatch.Decline, dispatch.PickedUp, dispatch.Delivered}, "area", `{"type":%q,"id":"r/%[1]s/m/c","orderId":"o","riderId":"r","commandId":"c","digest":"d","mark":"m","verdict":true}`, of[dispatch.Command], "orderId- riderId- commandId- mark-"),
	each([]string{dispatch.Entered, dispatch.Left}, "rider event", `{"type":%q,"id":"r/%[1]s/1","area":"a","riderId":"r","shift":1,"commandId":"c","reason":"x"}`, of[dispatch.RiderEvent], "area- riderId- shift-"),
	each([]string{dispatch.Stays}, "rider event", `{"type":%q,"id":"r/leave/1/1/%[1]s","area":"a","riderId":"r","shift":1,"commandId":"c","reason":"x"}`, of[dispatch.RiderEvent], "area- riderId- shift-"),
	each([]string{dispatch.RiderAssigned, dispatch.RiderUnassigned}, "rider event", `{"type":%q,"id":"r/o/%[1]s/1/1","area":"a","riderId":"r","orderId":"o","attempt":1}`, of[dispatch.RiderEvent], "area- riderId- orderId- attempt-"),
	each([]string{dispatch.RiderDelivered}, "rider event", `{"type":%q,"id":"r/o/%[1]s/1","area":"a","riderId":"r","orderId":"o","attempt":1}`, of[dispatch.RiderEvent], "area- riderId- orderId- attempt-"),
	each([]string{dispatch.Assigned, dispatch.Unassigned}, "delivery", `{"type":%q,"id":"o/%[1]s/1/1","orderId":"o","attempt":1,"area":"a","riderId":"r"}`, of[dispatch.DeliveryEvent], "orderId- attempt- area- riderId-"),
	each([]string{dispatch.PickedUp, dispatch.Delivered}, "delivery", `{"type":%q,"id":"o/%[1]s/1","orderId":"o","attempt":1,"area":"a","riderId":"r"}`, of[dispatch.DeliveryEvent], "orderId- attempt- area- riderId-"),
	each([]string{dispatch.Failed}, "delivery", `{"type":%q,"id":"o/%[1]s/1","orderId":"o","attempt":1,"area":"a","success":false,"reason":"no_rider"}`, of[dispatch.DeliveryEvent], "orderId- attempt- area-"),
	each([]string{payment.Approved, payment.Declined, payment.Captured, payment.Voided, payment.Refunded}, "payment", `{"type":%q,"id":"o/%[1]s/1","orderId":"o","attempt":1,"amount":5,"reason":"x"}`, of[payment.Reply], "orderId- attempt-"),
	each([]string{payment.Delayed}, "payment", `{"type":%q,"id":"o/%[1]s/1/1","orderId":"o","attempt":1,"amount":5,"reason":"x"}`, of[payment.Reply], "orderId- attempt-"),
)

// zeroth are the ids of messages that name a number in them which may be 0.
var zeroth = map[string]string{"payment result try": "o/void/1/0/result", "order deadline version": "deadline/o/0"}

func each(types []string, what, json string, decode func([]byte) (any, error), fields string) (all []message) {
	for _, t := range types {
		all = append(all, message{what + " " + t, fmt.Sprintf(json, t), decode, fields, ""})
	}
	return all
}

// Of every field of every message: what is missing, null or zero gets the answer
// that is right for it, by its stream and by HTTP the same.
func TestMissingNullAndZero(t *testing.T) {
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			rules := map[string]byte{} // of a field: + or -, and whether it is needed
			needed := map[string]bool{}
			for f := range strings.FieldsSeq(m.fields) {
				name, optional := strings.CutPrefix(f, "?")
				rules[name[:len(name)-1]] = name[len(name)-1]
				needed[name[:len(name)-1]] = !optional
			}
			if id, _ := parsed(m.json)["id"].(string); strings.Contains(id, "/") && m.name != "verdict" { // made, and checked by CheckName
				rules["id"], needed["id"] = '-', true
			}
			check := func(t *testing.T, field, data string, wrong bool) {
				t.Helper()
				v, err := m.decode([]byte(data))
				if wrong {
					require.Error(t, err, data)
					named, _ := domain.WrongField(err)
					require.True(t, strings.HasPrefix(dotted(named), field), "%s: %v", data, err)
				} else {
					require.NoError(t, err, data)
				}
				m.overHTTP(t, field, data, v, err)
			}
			check(t, "", m.json, false)
			fields := paths("", parsed(m.json))
			for field := range rules {
				require.Contains(t, fields, field, "of the table")
			}
			for _, field := range fields {
				if field == "type" {
					continue
				}
				t.Run(field, func(t *testing.T) {
					text := m.json
					if id, ok := zeroth[m.name+" "+field]; ok {
						text = changed(text, "id", id, false)
					}
					check(t, field, changed(text, field, nil, true), needed[field])
					check(t, field, changed(text, field, nil, false), needed[field])
					if zero, ok := zeroOf(m.json, field); ok {
						check(t, field, changed(text, field, zero, false), rules[field] == '-')
					}
				})
			}
		})
	}
}

// overHTTP asks the API for the same.
func (m message) overHTTP(t *testing.T, field, data string, want any, err error) {
	method, path, ok := strings.Cut(m.method, " ")
	if !ok || field == "id" || field == "at" || strings.Contains(path, "/products/") && field == "product" {
		return // the path's, or made
	}
	body := parsed(data)
	delete(body, "type")
	text, _ := json.Marshal(body)
	f := newFixture(t)
	a := f.later(method, path, string(text))
	if err != nil {
		require.Equal(t, http.StatusBadRequest, a.Code, "%s: %s", text, a.Body)
		named, _ := domain.WrongField(err)
		require.Equal(t, (&domain.FieldError{Field: named}).Pointer(), a.wrong()[0])
		require.Empty(t, f.commands.all())
		return
	}
	require.Equal(t, http.StatusAccepted, a.Code, "%s: %s", text, a.Body)
	switch c := want.(type) {
	case *order.Command:
		want = c.Own()
	case *stock.Command:
		want = c.Own()
	case *rider.Command:
		want = c.Own()
	}
	said, _ := codecs.Marshal(want)
	sent := f.commands.all()[0].command
	expected := parsed(string(said))
	for _, made := range []string{"id", "at", "verdict", "orderId", "storeId", "riderId"} {
		if strings.Contains(path, "/v1/orders") && made == "storeId" || strings.Contains(path, "/riders/") && made == "orderId" {
			continue
		}
		delete(sent, made)
		delete(expected, made)
	}
	require.Equal(t, expected, sent)
}

func dotted(field string) string { return strings.NewReplacer("[", ".", "]", "").Replace(field) }

func parsed(text string) (m map[string]any) {
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(text + ": " + err.Error())
	}
	return m
}

// paths lists the fields of an object and of what is in it.
func paths(prefix string, v any) (all []string) {
	add := func(name string, in any) {
		all = append(all, prefix+name)
		all = append(all, paths(prefix+name+".", in)...)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			add(name, v[name])
		}
	case []any:
		for i := range v {
			all = append(all, paths(prefix+strconv.Itoa(i)+".", v[i])...)
		}
	}
	return all
}

// changed sets a field, or takes it out.
func changed(text, field string, value any, out bool) string {
	root := parsed(text)
	var at any = root
	names := strings.Split(field, ".")
	for _, name := range names[:len(names)-1] {
		if i, err := strconv.Atoi(name); err == nil {
			at = at.([]any)[i]
		} else {
			at = at.(map[string]any)[name]
		}
	}
	last := names[len(names)-1]
	at.(map[string]any)[last] = value
	if out {
		delete(at.(map[string]any), last)
	}
	data, _ := json.Marshal(root)
	return string(data)
}

func zeroOf(text, field string) (any, bool) {
	var at any = parsed(text)
	for name := range strings.SplitSeq(field, ".") {
		if i, err := strconv.Atoi(name); err == nil {
			at = at.([]any)[i]
		} else {
			at = at.(map[string]any)[name]
		}
	}
	switch v := at.(type) {
	case string:
		if _, err := time.ParseDuration(v); err == nil {
			return "0s", true
		}
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return nil, false
		}
		return "", true
	case float64:
		return 0, true
	case bool:
		return false, true
	case []any:
		return []any{}, true
	case map[string]any:
		return map[string]any{}, true
	}
	return nil, false
}

// The table names every type of command.
func TestMissingNullAndZero_Every(t *testing.T) {
	have := map[string]bool{}
	for _, m := range messages {
		have[m.name] = true
	}
	for of, types := range map[string][]string{"order": order.CommandTypes, "store": stock.CommandTypes, "rider": rider.CommandTypes, "area": dispatch.CommandTypes} {
		for _, typ := range types {
			require.True(t, have[of+" "+typ], "%s %s", of, typ)
		}
	}
}

// No field of any message is without a bound, by its stream and by HTTP the same.
func TestBounds(t *testing.T) {
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			for _, field := range paths("", parsed(m.json)) {
				var far []any
				switch v, _ := zeroOf(m.json, field); v {
				case "":
					far = append(far, "https://a.example/"+strings.Repeat("x", 898_060))
				case 0:
					far = append(far, 2_000_000_000_000_000_000, -1)
				case "0s":
					far = append(far, "24h0m0.001s", "-1ns", "99999999h")
				}
				switch field[strings.LastIndexByte(field, '.')+1:] {
				case "lat", "lon":
					far = []any{180.1, -180.1}
				case "offset": // Kafka's
					far = []any{-1}
				}
				for _, value := range far {
					data := changed(m.json, field, value, false)
					v, err := m.decode([]byte(data))
					require.Error(t, err, "%s of %.30v…", field, value)
					named, _ := domain.WrongField(err)
					require.True(t, strings.HasPrefix(dotted(named), field), "%s: %.300v", field, err)
					require.Less(t, len(err.Error()), 1000, "the refusal is short")
					if field != "type" {
						m.overHTTP(t, field, data, v, err)
					}
				}
			}
		})
	}
}

// Fields that a command's type does not have are ignored, and not passed on: what
// HTTP accepts fits a record.
func TestBounds_OtherFields(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	junk, _ := json.Marshal(map[string]any{"name": long, "area": long, "product": "p-1", "userId": long, "wish": long, "photoUrl": long,
		"address": map[string]any{"text": long}, "lines": []any{map[string]any{"product": long, "name": long}}})
	for _, path := range []string{"/v1/orders/o-1/confirm", "/v1/stores/s-1/open", "/v1/riders/r-1/offline"} {
		f := newFixture(t)
		a := f.later("POST", path, string(junk))
		require.Equal(t, http.StatusAccepted, a.Code, a.Body)
		sent, _ := json.Marshal(f.commands.all()[0].command)
		require.Less(t, len(sent), 300)
	}
	f := newFixture(t)
	a := f.later("POST", "/v1/orders", changed(placeBody, "lines.0.name", long, false))
	require.Equal(t, http.StatusAccepted, a.Code, a.Body)
	require.NotContains(t, f.commands.all()[0].command["lines"].([]any)[0], "name")
}

// A reason is bounded in every command.
func TestBounds_Reason(t *testing.T) {
	for _, kind := range order.CommandTypes {
		c := parsed(messages[slices.IndexFunc(messages, func(m message) bool { return m.name == "order "+kind })].json)
		require.Equal(t, kind, c["type"])
		for n, wrong := range map[int]bool{domain.MaxReason: false, domain.MaxReason + 1: true} {
			c["reason"] = strings.Repeat("x", n)
			data, _ := json.Marshal(c)
			_, err := codecs.Decode[order.Command](data)
			require.Equal(t, wrong, err != nil, "%s %d: %v", kind, n, err)
		}
	}
}

// Times that RFC 3339 allows are accepted by both ways in, and others refused by
// both, before anything is sent.
func TestTimes(t *testing.T) {
	for at, good := range map[string]bool{
		"2016-12-31T23:59:60Z": true, "2026-01-02t03:04:05z": true, "2026-01-02T03:04:05.123456789-00:00": true, "0000-01-01T00:00:00Z": true,
		"2026-01-02T23:59:60Z": false, "9999-12-31T23:59:59-01:00": false, "0000-01-01T00:00:00+01:00": false, "soon": false,
	} {
		body := fmt.Sprintf(`{"at":%q}`, at)
		_, err := codecs.Decode[order.Command]([]byte(changed(body, "type", order.Confirm, false)))
		require.Equal(t, good, err == nil, "%s: %v", at, err)
		f := newFixture(t)
		a := f.later("POST", "/v1/orders/o-1/confirm", body)
		if !good {
			require.Equal(t, http.StatusBadRequest, a.Code, a.Body)
			require.Equal(t, "/at", a.wrong()[0])
			continue
		}
		require.Equal(t, http.StatusAccepted, a.Code, a.Body)
		sent, _ := json.Marshal(f.commands.all()[0].command)
		_, err = codecs.Decode[order.Command](sent)
		require.NoError(t, err, "what is sent can be read")
	}
}

// . and .. are no ids of anything: every client takes them for another address.
func TestDotIDs(t *testing.T) {
	for _, id := range []string{".", ".."} {
		for _, m := range messages {
			for _, field := range paths("", parsed(m.json)) {
				name := field[strings.LastIndexByte(field, '.')+1:]
				if !slices.Contains([]string{"userId", "storeId", "orderId", "riderId", "area", "product", "recipient"}, name) {
					continue
				}
				if of := strings.Fields(m.name)[0]; of == "stock" && name == "storeId" || of == "order" && name != "userId" && strings.HasSuffix(m.name, "event") || strings.HasSuffix(m.name, "result") {
					continue // copied from what was checked
				}
				data := changed(m.json, field, id, false)
				v, err := m.decode([]byte(data))
				require.ErrorContains(t, err, "must not be", "%s %s", m.name, field)
				m.overHTTP(t, field, data, v, err)
			}
		}
		f := newFixture(t)
		f.later("POST", "/v1/orders", strings.Replace(placeBody, `"o-7"`, strconv.Quote(id), 1)).problem(t, http.StatusBadRequest, "must not be")
		for _, path := range []string{"/v1/orders/%s/cancel", "/v1/stores/%s/open", "/v1/riders/%s/offline", "/v1/stores/s-1/products/%s/sold-out"} {
			escaped := strings.ReplaceAll(id, ".", "%2E")
			a := f.later("POST", fmt.Sprintf(path, escaped), "")
			require.GreaterOrEqual(t, a.Code, 400, path)
		}
		require.Empty(t, f.commands.all())
	}
}

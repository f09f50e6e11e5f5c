package processors_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/tester"
	"github.com/stretchr/testify/require"

	"baedal/domain/dispatch"
	"baedal/domain/payment"
	"baedal/processors"
	"baedal/stream"
	"baedal/topics"
)

// inputs is what each group reads, with the field by which a message of it names its key.
var inputs = map[string]map[string]string{
	topics.Orders:      {"order-commands": "orderId", "stock-replies": "orderId", "payment-replies": "orderId", "delivery-events": "orderId", "orders-loop": "orderId"},
	topics.Stock:       {"store-commands": "storeId"},
	topics.Payments:    {"payment-requests": "orderId", "payments-loop": "orderId"},
	topics.Riders:      {"rider-commands": "riderId", "rider-events": "riderId"},
	topics.Dispatch:    {"dispatch-commands": "area"},
	topics.Notifier:    {"order-events": "orderId"},
	topics.Messenger:   {"notifications": "recipient"},
	topics.Projections: {"order-events": "orderId", "projections-loop": "key"},
}

// valid is a message of a stream that its codec accepts, to be given another name.
var valid = map[string]string{
	"order-commands":    `{"type":"confirm","id":"c-1","orderId":%q}`,
	"store-commands":    `{"type":"open","id":"c-1","storeId":%q}`,
	"rider-commands":    `{"type":"offline","id":"c-1","riderId":%q}`,
	"payment-requests":  `{"type":"void","id":"%[1]s/void/1","attempt":1,"orderId":%[1]q}`,
	"payments-loop":     `{"type":"result","id":"%[1]s/void/1/1/result","attempt":1,"try":1,"kind":"void","answer":"ok","orderId":%[1]q}`,
	"dispatch-commands": `{"type":"leave","id":"r-1/leave/1/1","riderId":"r-1","shift":1,"area":%q}`,
	"stock-replies":     `{"type":"refused","id":"%[1]s/refused/1","attempt":1,"reason":"short","orderId":%[1]q}`,
	"payment-replies":   `{"type":"approved","id":"%[1]s/approved/1","attempt":1,"orderId":%[1]q}`,
	"delivery-events":   `{"type":"assigned","id":"%[1]s/assigned/1/1","attempt":1,"area":"a","riderId":"r","orderId":%[1]q}`,
	"orders-loop":       `{"type":"deadline","id":"deadline/%[1]s/1","version":1,"orderId":%[1]q}`,
	"rider-events":      `{"type":"entered","id":"%[1]s/entered/1","area":"a","shift":1,"riderId":%[1]q}`,
	"order-events":      `{"type":"placed","status":"placed","id":"%[1]s/1","version":1,"attempt":1,"userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"orderId":%[1]q}`,
	"notifications":     `{"type":"placed","id":"o/1/customer","audience":"customer","orderId":"o","recipient":%q}`,
	"projections-loop":  `{"type":"eaten","id":"o/1/%[1]s","orderId":"o","key":%[1]q,"quantity":1}`,
}

var wrongID = regexp.MustCompile(`"id":"[^"]*"`)

// clients are the streams on which clients choose the ids.
var clients = map[string]bool{"order-commands": true, "store-commands": true, "rider-commands": true}

// Every group buries what it can't decide on, says why and where it was, keeps its bytes, and goes on.
func TestDeadLetters(t *testing.T) {
	for _, group := range topics.Groups {
		for short := range inputs[group] {
			t.Run(group+"/"+short, func(t *testing.T) {
				b := newBench(t, group)
				topic := b.Prefix + short
				offset := 0
				buried := func(name, key string, value any, raw, problem string) {
					t.Helper()
					sent := b.put(topic, key, value, tester.WithHeaders(goka.Headers{"traceparent": []byte("00-1-2-01")}))
					r := one(t, sent)
					require.Equal(t, b.DeadLetters.Name(), r.topic, name)
					require.Equal(t, key, r.key, name)
					require.Equal(t, raw, r.value, name)
					require.Contains(t, string(r.headers[stream.HeaderError]), problem, name)
					delete(r.headers, stream.HeaderError)
					require.Equal(t, goka.Headers{
						"traceparent":          []byte("00-1-2-01"),
						stream.HeaderTopic:     []byte(topic),
						stream.HeaderPartition: []byte("0"),
						stream.HeaderOffset:    fmt.Append(nil, offset),
						stream.HeaderGroup:     []byte("t." + group),
						stream.HeaderAt:        []byte("2026-01-02T12:00:00.000Z"),
					}, r.headers, name)
					require.Empty(t, b.rows(), name)
					offset++
				}
				buried("not JSON", "k-1", []byte("\xff{nonsense"), "\xff{nonsense", "not the JSON of a message")
				buried("empty", "k-1", []byte{}, "", "not the JSON of a message")
				buried("another form", "k-1", []byte(`{"type":17}`), `{"type":17}`, "type: must be a string, not a JSON number")
				buried("null", "k-1", nil, "", "the value is null")
				good := fmt.Sprintf(valid[short], "k-1")
				buried("no key", "", []byte(good), good, "no key")
				buried("another key", "k-2", []byte(good), good, `names "k-1" but its key is "k-2"`)

				id := wrongID.FindString(good)
				for _, wrong := range []string{`"id":"x/assigned/1/1"`, `"id":"k-1/"`, `"id":"/"`, `"id":"k-1/entered/1/2/3"`} {
					forged := strings.Replace(good, id, wrong, 1)
					buried("another name", "k-1", []byte(forged), forged, "id: ")
				}
				if !clients[short] {
					for _, wrong := range []string{`"id":"c-1"`, `"id":""`, `"nameless":true`} {
						forged := strings.Replace(good, id, wrong, 1)
						buried("no name of the engine's", "k-1", []byte(forged), forged, "id: ")
					}
				}

				out := b.send(topic, "k-1", good) // and it goes on
				for _, r := range out {
					require.NotEqual(t, b.DeadLetters.Name(), r.topic, "%s: %s", r.value, r.headers[stream.HeaderError])
				}
			})
		}
	}
}

// A key that can't be an id is not the key of anything that clients send.
func TestDeadLetters_BadKey(t *testing.T) {
	for _, c := range []struct{ group, topic, value string }{
		{topics.Orders, "order-commands", `{"type":"confirm"}`},
		{topics.Stock, "store-commands", `{"type":"open"}`},
		{topics.Riders, "rider-commands", `{"type":"offline"}`},
		{topics.Dispatch, "dispatch-commands", `{"type":"leave","id":"r-1/leave/1/1","riderId":"r-1","shift":1}`},
	} {
		t.Run(c.group, func(t *testing.T) {
			b := newBench(t, c.group)
			for key, problem := range map[string]string{
				"a/b":                     "key: must not contain a slash",
				"a\nb":                    "key: must not contain control characters",
				"a\xff":                   "key: is not UTF-8",
				string(make([]byte, 201)): "key: is 201 bytes long: at most 200",
			} {
				r := one(t, b.send(b.Prefix+c.topic, key, c.value))
				require.Equal(t, b.DeadLetters.Name(), r.topic)
				require.Equal(t, key, r.key)
				require.Equal(t, problem, string(r.headers[stream.HeaderError]))
			}
			require.Empty(t, b.rows())
		})
	}
}

// Only orders has an age beyond which a record is stale: that of its rows.
func TestDeadLetters_Stale(t *testing.T) {
	b := newBench(t, topics.Orders, topics.Stock)
	old := b.clock.Add(-73 * time.Hour)
	r := one(t, b.send(b.OrderCommands.Name(), "o-1", placeJSON("p", 1), tester.WithTime(old)))
	require.Equal(t, "stale: the record is 73h0m0s old, and rows are kept for 72h0m0s", string(r.headers[stream.HeaderError]))
	require.NotEmpty(t, b.send(b.OrderCommands.Name(), "o-1", placeJSON("p", 1), tester.WithTime(b.clock.Add(-71*time.Hour))))
	require.NotNil(t, row(b, b.OrdersTable, "o-1"))
	require.Empty(t, b.send(b.StoreCommands.Name(), "s-2", `{"type":"register","name":"x","area":"a-1","lat":0,"lon":0,"autoAccept":false,"cookingTime":"0s"}`, tester.WithTime(old)))
	require.NotNil(t, row(b, b.StockTable, "s-2"))
}

// grumpy is a policy with a bug: it panics where it may choose some rider.
type grumpy struct{ rider string }

func (g grumpy) Choose(d dispatch.Delivery, all []dispatch.Candidate) (string, bool) {
	for _, c := range all {
		if c.RiderID == g.rider {
			panic("I don't like " + g.rider)
		}
	}
	return dispatch.Nearest{}.Choose(d, all)
}

// A rule that panics leaves nothing behind but a dead letter with its stack, and the next message is decided on.
func TestDeadLetters_Panic(t *testing.T) {
	gateway := &payment.Simulated{}
	s := settings(gateway)
	s.Planner.Policy = grumpy{"r-bad"}
	b := newBenchWith(t, s, gateway, topics.Dispatch)
	topic := b.DispatchCommands.Name()
	request := `{"type":"request","id":"o-1/request/1","orderId":"o-1","attempt":1,"pickup":{"lat":37.5,"lon":127},"drop":{"lat":37.5,"lon":127}}`
	enter := func(rider string) string {
		return fmt.Sprintf(`{"type":"enter","id":"%s/enter/1","riderId":%q,"shift":1,"capacity":1,"place":{"lat":37.5,"lon":127}}`, rider, rider)
	}
	require.Empty(t, b.send(topic, "a-1", request))
	before := b.rows()

	r := one(t, b.send(topic, "a-1", enter("r-bad")))
	require.Equal(t, b.DeadLetters.Name(), r.topic)
	require.Equal(t, enter("r-bad"), r.value)
	require.Equal(t, "panic: I don't like r-bad", string(r.headers[stream.HeaderError]))
	require.Contains(t, string(r.headers[stream.HeaderStack]), "grumpy.Choose")
	require.Equal(t, "1", string(r.headers[stream.HeaderOffset]))
	require.Equal(t, before, b.rows())

	out := b.send(topic, "a-1", enter("r-1"))
	require.ElementsMatch(t, []string{"delivery-events o-1", "rider-events r-1", "rider-events r-1"}, b.toTopics(out))
	require.Equal(t, "r-1", only(b, b.DeliveryEvents, out)[0].RiderID)
}

// The lists of this file name all that the groups read.
func TestDeadLetters_EveryInput(t *testing.T) {
	b := newBench(t)
	defs := processors.All(b.Catalog, settings(nil))
	require.Len(t, defs, len(topics.Groups))
	for _, group := range topics.Groups {
		require.NotEmpty(t, inputs[group], group)
		p, err := stream.NewTestProcessor(tester.New(t), stream.Config{}, defs[group])
		require.NoError(t, err)
		var read []string
		for _, e := range p.Graph().InputStreams() {
			read = append(read, b.Short(e.Topic()))
		}
		if l := p.Graph().LoopStream(); l != nil {
			read = append(read, b.Short(l.Topic()))
		}
		var listed []string
		for topic, field := range inputs[group] {
			listed = append(listed, topic)
			var m map[string]any
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil, valid[topic], "k"), &m))
			require.Equal(t, "k", m[field], topic)
		}
		require.ElementsMatch(t, read, listed, group)
	}
}

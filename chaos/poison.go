package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/topics"
)

// Beside the poison that comes all the time there is more of it than a round can
// bear beside everything else: each kind is a fault of its own. Whatever comes,
// a record ends as decided or as one dead letter of each group that reads it, and
// nobody else notices.

// poisoned waits a moment, and lets the disturber send what a kind of poison makes.
func poisoned(make func(*disturber, *rand.Rand) []bad) func(context.Context, *world, step) (bool, error) {
	return func(ctx context.Context, w *world, s step) (bool, error) {
		wait(ctx, s.wait)
		rnd := rand.New(rand.NewPCG(s.pick, uint64(w.round.n)))
		all := make(w.disturber, rnd)
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i, b := range all {
			w.disturber.bury(b)
			if i%50 == 0 {
				wait(ctx, 20*time.Millisecond)
			}
		}
		w.say("%d records of poison", len(all))
		return len(all) > 0, nil
	}
}

// Sizes.

// sizes are lengths of values: around what a group takes and what a topic takes.
var sizes = []int{1, 1_000, 100_000, 899_900, 900_001, 1_000_001, 1_010_000, 1_048_300}

// unpacked are lengths that only fit compressed.
var unpacked = []int{1_048_589, 3_000_000, 20_000_000}

const bomb = 100_000_000

// poisonSizes sends values, keys and headers of every size that the brokers take,
// and compressed ones far beyond.
func poisonSizes(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	rnd := rand.New(rand.NewPCG(s.pick, uint64(w.round.n)))
	for _, c := range []struct {
		name  string
		codec kgo.CompressionCodec
		sizes []int
	}{
		{"as it is", kgo.NoCompression(), sizes},
		{"gzip", kgo.GzipCompression(), append(unpacked, bomb)},
		{"zstd", kgo.ZstdCompression(), append(unpacked, bomb)},
	} {
		client, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(2*bomb), kgo.BrokerMaxWriteBytes(3*bomb), kgo.MaxBufferedBytes(4*bomb), kgo.ProducerBatchCompression(c.codec))
		if err != nil {
			return false, err
		}
		for _, b := range w.disturber.sized(rnd, c.name, c.sizes) {
			w.disturber.buryBy(client, b)
			if err := client.Flush(ctx); err != nil { // one by one: a batch of several would be too long
				client.Close()
				return false, err
			}
		}
		client.Close()
	}
	return true, nil
}

func (d *disturber) sized(rnd *rand.Rand, how string, sizes []int) (all []bad) {
	streams := slices.Sorted(maps.Keys(readers))
	for i, n := range sizes {
		key := []byte(fmt.Sprintf("%s-size-%d", d.run, i))
		on := streams
		if n > 100_000 { // on one of those of clients and one of the others: bytes for all would be much
			on = []string{clientStreams[rnd.IntN(len(clientStreams))], streams[rnd.IntN(len(streams))]}
		}
		for _, short := range slices.Compact(on) {
			all = append(all, bad{what: fmt.Sprintf("%d bytes, %s, on %s", n, how, short), topic: d.w.cat.Prefix + short, key: key, value: bytes.Repeat([]byte("\x00"), n)})
		}
		// A command with so much that nobody reads: decided on, or too long.
		id := fmt.Sprintf("%s-%s-filled-%d", d.run, strings.ReplaceAll(how, " ", ""), n)
		value := `{"type":"confirm","verdict":true,"id":"` + id + `","filler":"`
		all = append(all, bad{what: fmt.Sprintf("a command of %d bytes, %s", n, how), topic: d.w.cat.OrderCommands.Name(), key: key, id: id, may: true,
			value: []byte(value + strings.Repeat("f", max(0, n-len(value)-2)) + `"}`)})
	}
	if how != "as it is" {
		return all
	}
	good := []byte(`{"type":"confirm"}`)
	for _, n := range []int{201, 10_001, 500_000} {
		all = append(all, bad{what: fmt.Sprintf("a key of %d bytes", n), topic: d.w.cat.OrderCommands.Name(), key: bytes.Repeat([]byte("k"), n), value: good})
	}
	for _, n := range []int{30_000, 60_000, 500_000} {
		id := fmt.Sprintf("%s-header-%d", d.run, n)
		all = append(all, bad{what: fmt.Sprintf("a header of %d bytes", n), topic: d.w.cat.OrderCommands.Name(), key: []byte(id), may: true, id: id,
			value: []byte(`{"type":"confirm","verdict":true,"id":"` + id + `"}`), headers: []kgo.RecordHeader{{Key: "big", Value: bytes.Repeat([]byte("h"), n)}}})
	}
	// What the engine says of a record, said by a client.
	for name, value := range map[string]string{"baedal-origin": "order-commands/0/1", "baedal-hops": "15", "baedal-size": "5", "baedal-topic": "x", "traceparent": strings.Repeat("t", 5000)} {
		id := fmt.Sprintf("%s-forged-%s", d.run, name)
		b := bad{what: "a client's header " + name, topic: d.w.cat.OrderCommands.Name(), key: []byte(id), may: true, id: id,
			value: []byte(`{"type":"confirm","verdict":true,"id":"` + id + `"}`), headers: []kgo.RecordHeader{{Key: name, Value: []byte(value)}}}
		if name != "baedal-origin" { // where a forged one points, nobody looks
			all = append(all, b)
		}
	}
	return all
}

var clientStreams = []string{"order-commands", "store-commands", "rider-commands"}

// Fields.

// commandsOf are whole commands of clients, by stream. A field with a mark after
// its name: ! is needed, so without it the command is a dead letter.
var commandsOf = map[string][]string{
	"order-commands": {
		`{"type!":"place","userId!":"u","storeId!":"nowhere","lines!":[{"product!":"p","quantity!":1}],"address!":{"text":"a","lat!":37.5,"lon!":127.1},"expectedTotal":1000,"note":"n","phone":"1","orderId":null,"at":"2026-01-01T00:00:00Z"}`,
		`{"type!":"cancel","by":"customer","reason":"r"}`,
		`{"type!":"accept","cookingTime":"1s"}`,
		`{"type!":"reject","reason":"r"}`,
		`{"type!":"start_cooking"}`, `{"type!":"finish_cooking"}`, `{"type!":"confirm"}`, `{"type!":"approve_refund"}`,
		`{"type!":"request_refund","userId!":"u","reason!":"r","photoUrl!":"https://example.com/p.jpg","wish!":"refund"}`,
		`{"type!":"deny_refund","reason!":"r"}`,
		`{"type!":"postpone","by!":"1m"}`, `{"type!":"resolve","outcome":"lost","reason":"r"}`,
	},
	"store-commands": {
		`{"type!":"register","name!":"S","area!":"AREA","lat!":37.5,"lon!":127.1,"autoAccept":true,"cookingTime":"1s"}`,
		`{"type!":"open"}`, `{"type!":"close"}`,
		`{"type!":"put_product","product!":"p","name!":"P","price!":1000}`,
		`{"type!":"add_stock","product!":"p","quantity!":1}`, `{"type!":"remove_stock","product!":"p","quantity!":1}`,
		`{"type!":"update","name":"S"}`, `{"type!":"unregister"}`, `{"type!":"sold_out","product":"p","until":"2026-01-01T00:00:00Z"}`,
	},
	"rider-commands": {
		`{"type!":"online","area!":"AREA","lat!":37.5,"lon!":127.1,"capacity":1}`, `{"type!":"offline"}`, `{"type!":"move","lat!":37.5,"lon!":127.1}`,
		`{"type!":"claim","orderId!":"o"}`, `{"type!":"decline","orderId!":"o"}`, `{"type!":"picked_up","orderId!":"o"}`, `{"type!":"delivered","orderId!":"o"}`,
	},
}

// values are put where a field's own is.
var values = map[string]string{"null": `null`, "zero": `0`, "an empty text": `""`, "a list": `[]`, "an object": `{}`, "true": `true`, "a text": `"x"`,
	"a negative number": `-1`, "a number beyond all": `1e308`, "a fraction": `0.5`, "a long text": `"` + strings.Repeat("l", 70_000) + `"`}

// movesWith are values with which a move is one.
var movesWith = map[string][]string{
	"lat": {"zero", "a negative number", "a fraction"}, "lon": {"zero", "a negative number", "a fraction"},
	"id": {"missing", "null", "an empty text", "a text"}, "verdict": {"true"},
}

// poisonFields takes each field of each command away, and puts everything in its place.
func poisonFields(d *disturber, rnd *rand.Rand) (all []bad) {
	for _, short := range clientStreams {
		for i, command := range commandsOf[short] {
			command = strings.ReplaceAll(command, "AREA", fmt.Sprintf("%s-fields-%d", d.run, i))
			for _, p := range fieldsOf(command) {
				for _, what := range append([]string{"missing"}, slices.Sorted(maps.Keys(values))...) {
					id := fmt.Sprintf("%s-%s-%d-%s-%s", d.run, short, i, strings.Join(p.path, "."), strings.ReplaceAll(what, " ", "-"))
					switch {
					case p.path[0] == "verdict" && (what == "missing" || what == "null"):
						continue // nobody asks: an acceptance would not be said
					case p.path[0] == "id" && what == "a text":
						id = "x"
					case p.path[0] == "id":
						id = ""
					}
					value := changed(command, id, p.path, what)
					b := bad{what: fmt.Sprintf("%s of %s is %s", strings.Join(p.path, "."), command[10:strings.IndexByte(command[10:], '"')+10], what),
						topic: d.w.cat.Prefix + short, key: []byte(fmt.Sprintf("%s-f%d", d.run, rnd.Uint64())), value: value, id: id, may: true}
					if p.needed && (what == "missing" || what == "null" || what == "an object" && p.path[0] != "address") {
						b.may = false
					}
					if strings.Contains(command, `"move"`) && p.path[0] != "type" { // no verdict ever tells: a dead letter, or nothing
						b.may, b.silent = false, slices.Contains(movesWith[p.path[0]], what)
					}
					all = append(all, b)
				}
			}
		}
	}
	return append(all, d.oddTimes(rnd)...)
}

// oddTimes are commands from other days, and ids that no address can carry.
func (d *disturber) oddTimes(rnd *rand.Rand) (all []bad) {
	topic := d.w.cat.OrderCommands.Name()
	for i, at := range []string{"2016-12-31T23:59:60Z", "2026-01-01t00:00:00z", "2026-01-01T00:00:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "yesterday", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00+99:00"} {
		id := fmt.Sprintf("%s-odd-%d", d.run, i)
		all = append(all, bad{what: "at " + at, topic: topic, key: []byte(id), id: id, may: true, value: fmt.Appendf(nil, `{"type":"confirm","verdict":true,"id":%q,"at":%q}`, id, at)})
	}
	for i, at := range []time.Time{time.Unix(0, 0).Add(time.Millisecond), time.Now().AddDate(-1, 0, 0)} {
		id := fmt.Sprintf("%s-old-%d", d.run, i)
		all = append(all, bad{what: "a record of " + at.Format(time.RFC3339), topic: topic, key: []byte(id), at: at, value: fmt.Appendf(nil, `{"type":"confirm","verdict":true,"id":%q}`, id)})
	}
	for _, short := range clientStreams {
		good := map[string]string{"order-commands": `{"type":"confirm"}`, "store-commands": `{"type":"close"}`, "rider-commands": `{"type":"offline"}`}[short]
		for _, key := range []string{".", ".."} {
			all = append(all, bad{what: fmt.Sprintf("the key %q on %s", key, short), topic: d.w.cat.Prefix + short, key: []byte(key), value: []byte(good)})
		}
	}
	return all
}

// field is one field of a command, or of an object or list in it.
type field struct {
	path   []string
	needed bool
}

func (f field) inside(name string) field {
	f.path = append([]string{name}, f.path...)
	return f
}

// fieldsOf lists all fields of a command, and the common ones.
func fieldsOf(command string) (all []field) {
	var m map[string]any
	if err := json.Unmarshal([]byte(command), &m); err != nil {
		panic(command)
	}
	var walk func(any) []field
	walk = func(v any) (all []field) {
		switch v := v.(type) {
		case []any:
			for i, e := range v {
				for _, f := range walk(e) {
					all = append(all, f.inside(strconv.Itoa(i)))
				}
			}
		case map[string]any:
			for _, marked := range slices.Sorted(maps.Keys(v)) {
				name, needed := strings.CutSuffix(marked, "!")
				all = append(all, field{path: []string{name}, needed: needed})
				for _, f := range walk(v[marked]) {
					all = append(all, f.inside(name))
				}
			}
		}
		return all
	}
	return append(walk(m), field{path: []string{"id"}}, field{path: []string{"verdict"}})
}

// changed writes a command with one field another.
func changed(command, id string, path []string, what string) []byte {
	var m map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(command, `!":`, `":`)), &m); err != nil {
		panic(command)
	}
	m["verdict"] = true
	if id != "" {
		m["id"] = id
	}
	var at any = m
	for i, name := range path {
		last := i == len(path)-1
		switch here := at.(type) {
		case []any:
			n, _ := strconv.Atoi(name)
			at = here[n]
		case map[string]any:
			switch {
			case !last:
				at = here[name]
			case what == "missing":
				delete(here, name)
			default:
				here[name] = json.RawMessage(values[what])
			}
		}
	}
	if m["orderId"] == nil && path[0] != "orderId" { // it may be left out
		delete(m, "orderId")
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// Ids.

// poisonIDs takes ids of messages as they flow between the groups, and uses them
// as the ids of clients' commands about the same orders, and as keys. Some commands
// take an id before the message that is named so comes.
func poisonIDs(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait/2)
	rnd := rand.New(rand.NewPCG(s.pick, uint64(w.round.n)))
	d := w.disturber
	var forms []string // of ids that begin with their order's, of what orders are told, as often as they are
	came, ahead := map[string]bool{}, 0
	flow, err := w.drawIDs(ctx, 150, func(m flowing) {
		came[m.id] = true
		if form, ok := strings.CutPrefix(m.id, m.order+"/"); ok && slices.Contains(readers[m.short], topics.Orders) {
			forms = append(forms, form)
		}
		about := next[m.typ]
		coming := slices.DeleteFunc(slices.Clone(forms), func(form string) bool { return came[m.order+"/"+form] })
		if m.short != "order-events" || about == "" || len(coming) == 0 {
			return
		}
		ahead++
		id := m.order + "/" + coming[rnd.IntN(len(coming))]
		d.bury(bad{what: fmt.Sprintf("%s with the id %q before the message", about, id), topic: d.w.cat.OrderCommands.Name(), key: []byte(m.order),
			value: fmt.Appendf(nil, `{"type":%q,"verdict":true,"id":%q}`, about, id)})
	})
	if err != nil {
		return false, err
	}
	for _, m := range flow {
		engines := strings.Contains(m.id, "/")
		// Nobody but the store acts on these, and at worst an order goes on sooner.
		about := []string{"accept", "confirm", "finish_cooking", "approve_refund"}[rnd.IntN(4)]
		d.bury(bad{what: fmt.Sprintf("%s with the id %q of a message on %s", about, m.id, m.short), topic: d.w.cat.OrderCommands.Name(), key: []byte(m.order), id: m.id, may: !engines,
			value: fmt.Appendf(nil, `{"type":%q,"verdict":true,"id":%q}`, about, m.id)})
		short := clientStreams[rnd.IntN(len(clientStreams))]
		good := map[string]string{"order-commands": `{"type":"confirm"}`, "store-commands": `{"type":"close"}`, "rider-commands": `{"type":"offline"}`}[short]
		if engines { // keys without a / are somebody's
			d.bury(bad{what: fmt.Sprintf("the key %q of a message on %s", m.id, m.short), topic: d.w.cat.Prefix + short, key: []byte(m.id), value: []byte(good)})
		}
	}
	w.say("%d ids drawn, %d ahead of their messages", len(flow), ahead)
	return len(flow) > 0, nil
}

// flowing is a message between groups.
type flowing struct{ short, id, order, typ string }

// next is what a store may say to an order that has come so far.
var next = map[string]string{"paid": "accept", "accepted": "start_cooking", "cooking": "finish_cooking", "delivered": "confirm"}

// drawIDs listens between the groups until it has met some ids, and hands each on
// at once.
func (w *world) drawIDs(ctx context.Context, n int, met func(flowing)) (all []flowing, err error) {
	var names []string
	for _, short := range []string{"order-events", "stock-replies", "payment-requests", "payment-replies", "delivery-events", "dispatch-commands", "rider-events", "store-commands", "orders-loop", "payments-loop"} {
		names = append(names, w.cat.Prefix+short)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumeTopics(names...), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for ctx.Err() == nil && len(all) < n {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			var m struct {
				ID      string `json:"id"`
				OrderID string `json:"orderId"`
				Type    string `json:"type"`
			}
			if json.Unmarshal(r.Value, &m) == nil && m.ID != "" && m.OrderID != "" && !seen[m.ID] && len(all) < n {
				seen[m.ID] = true
				all = append(all, flowing{w.cat.Short(r.Topic), m.ID, m.OrderID, m.Type})
				met(all[len(all)-1])
			}
		})
	}
	return all, nil
}

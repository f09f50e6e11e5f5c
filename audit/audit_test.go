package audit

import (
	"fmt"
	"go/build"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
)

func TestUntampered(t *testing.T) {
	for _, g := range []string{AtLeastOnce, ExactlyOnce} {
		r := play(history(), g)
		require.Empty(t, r.Violations)
		require.Equal(t, 2, r.Orders)
		for _, c := range r.Checks {
			require.NotZero(t, c.Records, c.Name)
			require.Zero(t, c.Open, c.Name)
		}
	}
}

// The order across topics does not matter: each topic as a whole, in any order.
func TestTopicByTopic(t *testing.T) {
	all := history()
	forth := slices.Clone(all)
	slices.SortStableFunc(forth, func(a, b said) int { return int(a.stream) - int(b.stream) })
	require.Empty(t, play(forth, ExactlyOnce).Violations)
	slices.SortStableFunc(forth, func(a, b said) int { return int(b.stream) - int(a.stream) })
	require.Empty(t, play(forth, ExactlyOnce).Violations)
}

// What is said again, the same, breaks nothing at-least-once, however late.
func TestRepeats(t *testing.T) {
	all := history()
	for _, s := range all {
		if checkOf[s.stream] != "" && !s.stream.isTable() {
			all = append(all, s)
		}
	}
	require.Empty(t, play(all, AtLeastOnce).Violations)
	r := play(all, ExactlyOnce)
	require.Subset(t, r.Broken(), []string{Orders, Messages})
}

// After a long rest all is said once more: by then only tombs are there.
func TestRepeatsLate(t *testing.T) {
	a := newTestAuditor(AtLeastOnce)
	all := history()
	var offsets [streams]int64
	feed := func(s said, at int64) {
		a.feed(&record{where: where{s.stream, 0, offsets[s.stream]}, at: at, key: s.key, value: []byte(s.value)})
		offsets[s.stream]++
	}
	for _, s := range all {
		feed(s, start.UnixMilli())
	}
	a.clock += 10 * linger
	a.sweep()
	require.Len(t, a.orders, 1, "what it has refused may be said again for an hour")
	a.clock += rememberedFor
	a.sweep()
	require.Empty(t, a.orders)
	require.Empty(t, a.refused)
	require.Len(t, a.closed, 2)
	require.Empty(t, a.commands)
	for _, s := range all {
		client := slices.Contains([]stream{orderCommands, storeCommands, riderCommands}, s.stream) && !strings.Contains(s.value, `"attempt"`)
		if !client && !s.stream.isTable() {
			feed(s, a.clock)
		}
	}
	require.Empty(t, a.finish(a.clock).Violations)
	require.Equal(t, 2, a.rep.Orders)
	feed(said{orderEvents, "o-2", `{"type":"paid","id":"o-2/5","version":5,"orderId":"o-2","status":"paid","attempt":1}`, nil}, a.clock)
	require.Equal(t, 1, a.rep.found[Orders], "an event behind the end of one that is almost forgotten")
}

// Tampered histories: what is done to one, and what must be found.
var tampered = []struct {
	name   string
	do     func([]said) []said
	check  string
	key    string
	expect string
}{
	{"version missing", drop(orderEvents, `"id":"o-1/5"`), Orders, "o-1", "version 5 is missing"},
	{"last event missing", drop(orderEvents, `"id":"o-1/10"`), Orders, "o-1", "an event was not sent"},
	{"event without row", drop(ordersTable, `"id":"o-1"`, `"version":10`), Orders, "o-1", "an event that no row explains"},
	{"two events for a version", again(orderEvents, `"type":"ready"`, `"type":"cooking"`, `"id":"o-1/6"`), Orders, "o-1", "two different events for version 6"},
	{"two wordings of an event", again(orderEvents, `"total":9000`, `"total":1`, `"id":"o-1/6"`), Orders, "o-1", "two different events for version 6"},
	{"event after final", say(orderEvents, "o-2", `{"type":"paid","id":"o-2/5","version":5,"orderId":"o-2","status":"paid","attempt":1}`), Orders, "o-2", "comes when the order is cancelled, and that is final"},
	{"overtaken for the first time", overtaken, Orders, "o-1", "version 2 comes for the first time behind version 3"},
	{"told out of order", tellLate, Messages, "u", `notification "o-1/2/customer" comes for the first time behind that of version 3`},
	{"a storm", storming, Repeats, "o-1", `message "o-1/assigned/1/1" came more than 499 times`},
	{"a storm of events", stormingEvents, Repeats, "o-2", `message "o-2/4" came more than 499 times`},
	{"a chain without a row", hopping("16"), Inputs, "store-commands/0/6", "16 messages led to it without a row changing, and it is not in the dead letters"},
	{"status left out", replace(orderEvents, `"cooking"`, `"ready"`, `"id":"o-1/5"`), Orders, "o-1", `ready can't follow "accepted"`},
	{"remark in a wrong status", replace(orderEvents, `"type":"ready"`, `"type":"delayed"`, `"id":"o-1/6"`), Orders, "o-1", "version 6, delayed, says that the order is ready"},
	{"unknown event", replace(orderEvents, `"type":"completed"`, `"type":"eaten"`), Orders, "o-1", "which nobody knows"},
	{"event under another key", replace(orderEvents, `"orderId":"o-1"`, `"orderId":"o-9"`, `"id":"o-1/6"`), Orders, "o-1", `an event of order "o-9"`},
	{"row of a live order deleted", both(replace(ordersTable, `"status":"completed"`, `"status":"ready"`), say(ordersTable, "o-1", "")), Orders, "o-1", "is deleted"},
	{"row goes back", say(ordersTable, "o-1", `{"status":"paid","version":3}`), Orders, "o-1", "the row goes back"},
	{"deadline passed", overdue, Orders, "o-1", "it is delivered, and its deadline has passed"},
	{"unreadable event", say(orderEvents, "o-1", `{`), Inputs, "order-events/0/14", "not in the dead letters"},
	{"null for an event", say(orderEvents, "o-1", `null`), Inputs, "order-events/0/14", "not in the dead letters"},

	{"reply in other words", again(stockReplies, `"quantity":1`, `"quantity":2`), Repeats, "o-1", `"o-1/reserved/1" was said before with other words`},
	{"delivery in other words", again(deliveryEvents, `"area":"a"`, `"area":"b"`), Repeats, "o-1", "said before with other words"},

	{"verdict missing", drop(verdicts, `o-1/place`), Verdicts, "o-1", "asks for a verdict and has none"},
	{"store's verdict missing", drop(verdicts, `s:register`), Verdicts, "s", "asks for a verdict and has none"},
	{"verdict contradicts itself", again(verdicts, `accepted`, `refused`, `o-1/place`), Verdicts, "o-1", "a second, different verdict"},
	{"a code that nobody knows", replace(verdicts, `"code":"status"`, `"code":"mood"`), Verdicts, "o-2", `is refused with the code "mood"`},
	{"accepted with a code", replace(verdicts, `"version":1`, `"version":1,"code":"status"`, "o-1/place"), Verdicts, "o-1", `is accepted with the code "status"`},
	{"accepted without a version", replace(verdicts, `,"version":1`, ``, "o-1/place"), Verdicts, "o-1", "names version 0, which is not the last that it made"},
	{"accepted with another's version", replace(verdicts, `"version":1`, `"version":2`, "o-1/place"), Verdicts, "o-1", "names version 2, which is not the last that it made"},
	{"refused and obeyed", replace(verdicts, `"verdict":"accepted"`, `"verdict":"refused"`, `o-1/place`), Verdicts, "o-1", "it is refused, and caused version 1"},
	{"accepted and ignored", say2(orderCommands, "o-1", `{"type":"cancel","id":"late","verdict":true}`, verdicts, ruling("order-commands", "o-1", `{"type":"cancel","id":"late"}`, "accepted")), Verdicts, "o-1", "no event says that it caused anything"},
	{"accepted, not asked", say(verdicts, "o-1", ruling("order-commands", "o-1", `{"type":"confirm","id":"o-1:confirm"}`, "accepted")), Verdicts, "o-1", "nobody asked"},
	{"verdict on other words", say(verdicts, "o-1", ruling("order-commands", "o-1", `{"type":"cancel","id":"o-1:confirm"}`, "refused")), Verdicts, "o-1", "a command that nobody sent"},
	{"verdict of another key", replace(verdicts, `"key":"o-1"`, `"key":"o-2"`), Verdicts, "o-1", "says that its key is"},
	{"an id for two commands", say2(orderCommands, "o-1", `{"type":"cancel","id":"o-1:confirm","verdict":true}`, verdicts, ruling("order-commands", "o-1", `{"type":"cancel","id":"o-1:confirm"}`, "accepted")), Verdicts, "o-1", "its id names a confirm, which came before, and it is not refused"},
	{"an id of the engine's, not buried", say(orderCommands, "o-1", `{"type":"confirm","id":"o-1/assigned/1/1"}`), Inputs, "order-commands/0/5", "not in the dead letters"},
	{"accepted by a store in vain", say2(storeCommands, "s", `{"type":"close","id":"vain","verdict":true}`, verdicts, ruling("store-commands", "s", `{"type":"close","id":"vain"}`, "accepted")), Verdicts, "s", "it is accepted, and no row of the store knows of it"},
	{"verdict on nothing", say(verdicts, "o-1", ruling("order-commands", "o-1", `{"type":"confirm","id":"ghost"}`, "refused")), Verdicts, "o-1", "a command that nobody sent"},

	{"oversold", stockRowOf(`{"product":"rice","onHand":-1,"reserved":0,"added":10,"sold":11}`, ""), Stock, "s", "negative: free -1"},
	{"negative free", stockRowOf(`{"product":"rice","onHand":1,"reserved":2,"added":10,"sold":9}`, ""), Stock, "s", "negative: free -1"},
	{"goods lost", stockRowOf(`{"product":"rice","onHand":8,"reserved":0,"added":10,"sold":1}`, ""), Stock, "s", "put 10 is not free 8"},
	{"reserved for nobody", stockRowOf(`{"product":"rice","onHand":9,"reserved":1,"added":10,"sold":1}`, ""), Stock, "s", "the open reservations are for 0"},
	{"added twice", stockRowOf(`{"product":"rice","onHand":19,"reserved":0,"added":20,"sold":1}`, ""), Stock, "s", "the row says put 20, the messages 10"},
	{"sold twice", stockRowOf(`{"product":"rice","onHand":8,"reserved":0,"added":10,"sold":2}`, ""), Stock, "s", "the row says sold 2, the messages 1"},
	{"never released", stockRowOf(`{"product":"rice","onHand":9,"reserved":1,"added":10,"sold":1}`, `{"orderId":"o-2","attempt":1,"lines":[{"product":"rice","quantity":1}]}`), Stock, "s", `order "o-2" is released, and its goods are still reserved`},
	{"release missing", drop(storeCommands, "o-2/release"), Stock, "o-2", "neither committed nor released"},
	{"commit missing", drop(storeCommands, "o-1/commit"), Stock, "o-1", "its goods are not committed"},
	{"committed and released", say(storeCommands, "s", `{"type":"release","id":"o-1/release/1","orderId":"o-1","attempt":1}`), Stock, "o-1", "is committed and released"},
	{"reserved and refused", say(stockReplies, "o-1", `{"type":"refused","id":"o-1/refused/1","attempt":1,"storeId":"s"}`), Stock, "o-1", "is answered refused, and was answered reserved"},
	{"other goods reserved", replace(stockReplies, `"quantity":1`, `"quantity":3`), Stock, "o-1", "attempt 1 wants"},
	{"reserve without answer", both(drop(stockReplies, "o-2/"), drop(storeCommands, "o-2/release")), Stock, "o-2", "has no answer"},
	{"cooked, never asked", drop(storeCommands, "o-1/reserve"), Stock, "o-1", "nobody asked"},

	{"authorised twice", again(paymentReplies, `"attempt":1`, `"attempt":2`, "o-1/approved"), Payments, "o-1", "approved twice"},
	{"paid for twice", replace(paymentsTable, `"status":"captured"}`, `"status":"captured"},{"attempt":2,"status":"approved"}`), Payments, "o-1", "paid for 2 times"},
	{"captured and voided", say(paymentReplies, "o-1", `{"type":"voided","id":"o-1/voided/1","attempt":1,"amount":9000}`), Payments, "o-1", "captured and voided"},
	{"approved and declined", say(paymentReplies, "o-1", `{"type":"declined","id":"o-1/declined/1","attempt":1}`), Payments, "o-1", "approved and declined"},
	{"captured twice", again(paymentReplies, `"amount":9000`, `"amount":9001`, "o-1/captured"), Payments, "o-1", "captured twice"},
	{"captured another amount", replace(paymentReplies, `"amount":9000`, `"amount":9900`, "o-1/captured"), Payments, "o-1", "captured 9900, and 9000 was asked for"},
	{"never captured", drop(paymentReplies, "o-1/captured"), Payments, "o-1", "its money is not captured"},
	{"capture not asked for", drop(paymentRequests, "o-1/capture"), Payments, "o-1", "nobody asks for its money"},
	{"never voided", drop(paymentReplies, "o-2/voided"), Payments, "o-2", "its money is not voided"},
	{"void not asked for", both(drop(paymentRequests, "o-2/void"), drop(paymentReplies, "o-2/voided")), Payments, "o-2", "nobody voids its money"},
	{"refunded for nothing", say(paymentReplies, "o-1", `{"type":"refunded","id":"o-1/refunded/1","attempt":1,"amount":9000}`), Payments, "o-1", "refunded, and the order is completed"},
	{"paid without money", drop(paymentReplies, "o-1/approved"), Payments, "o-1", "nothing was approved"},
	{"wrong amount asked", replace(paymentRequests, `"amount":9000`, `"amount":8000`), Payments, "o-1", "authorize 8000, and the order's total is 9000"},
	{"request without row", drop(paymentsTable, `"o-1"`), Payments, "o-1", "payments has no row for it"},

	{"two riders at once", insert(deliveryEvents, "o-1/picked_up", `{"type":"assigned","id":"o-1/assigned/1/2","orderId":"o-1","attempt":1,"riderId":"r-2"}`), Deliveries, "o-1", `given to rider "r-2", and rider "r" has it`},
	{"delivered by another", replace(deliveryEvents, `"riderId":"r"`, `"riderId":"r-2"`, "o-1/delivered"), Deliveries, "o-1", `delivered by rider "r-2", and rider "r" has it`},
	{"delivered, not fetched", drop(deliveryEvents, "o-1/picked_up"), Deliveries, "o-1", "who has not picked it up"},
	{"goes on after its end", say(deliveryEvents, "o-1", `{"type":"assigned","id":"o-1/assigned/1/2","orderId":"o-1","attempt":1,"riderId":"r"}`), Deliveries, "o-1", "after its end"},
	{"fails on its way", insert(deliveryEvents, "o-1/delivered", `{"type":"failed","id":"o-1/failed/1","orderId":"o-1","attempt":1}`), Deliveries, "o-1", "has picked it up"},
	{"order knows nothing of its delivery", drop(deliveryEvents, `"delivered"`), Deliveries, "o-1", "the delivery of attempt 1 is not"},
	{"rider over capacity", areaRowOf(`"r/1/1/1/1/1/1/1"`, `{"o":"o-8","n":1,"s":["50/a/20/y/r"]},{"o":"o-9","n":1,"s":["51/a/21/z/r"]}`), Deliveries, "a", `rider "r" carries 2 and can carry 1`},
	{"rider off shift", areaRowOf(`"r/1/1/1/1/1/1/1"`, `{"o":"o-9","n":1,"s":["51/a/21/z/r-2"]}`), Deliveries, "a", `rider "r-2" has order "o-9" and is not on shift`},
	{"two riders in a row", areaRowOf(`"r/1/1/1/1/1/1/1","r-2/1/1/1/1/1/1/1"`, `{"o":"o-9","n":1,"s":["51/a/21/z/r","52/a/22/z/r-2"]}`), Deliveries, "a", `riders "r" and "r-2"`},
	{"rider in two areas", say(dispatchTable, "b", `{"id":"b","riders":["r/2/1/1/1/1/1/1"]}`), Deliveries, "r", `on shift in areas "a" and "b"`},

	{"message not logged", drop(messageLog, "o-1/3/customer"), Messages, "o-1", "is not in the message log"},
	{"message out of nothing", both(say(notifications, "u", `{"id":"o-1/77/customer","orderId":"o-1"}`), say(messageLog, "u", `{"id":"o-1/77/customer","orderId":"o-1"}`)), Messages, "o-1", "about nothing that happened"},

	{"order command swallowed", say(orderCommands, "o-1", `{"type":"request_refund","id":"o-1:refund","userId":"u"}`), Inputs, "o-1", "no event, no verdict, no dead letter"},
	{"placing swallowed", say(orderCommands, "o-3", `{"type":"place"}`), Inputs, "o-3", `place "order-commands/0/5": nothing became of it`},
	{"store command swallowed", say(storeCommands, "s", `{"type":"close","id":"s:close"}`), Inputs, "s", `close "s:close": nothing became of it`},
	{"rider command swallowed", say(riderCommands, "r", `{"type":"move","id":"r:move"}`), Inputs, "r", "nothing became of it"},
	{"enter without answer", drop(riderEvents, "r/entered/1"), Inputs, "r", "no answer from dispatch"},
	{"what a rider says swallowed by dispatch", say(dispatchCommands, "a", `{"type":"claim","id":"r/c","orderId":"o-1","riderId":"r"}`), Inputs, "a", "nothing became of it in the area's row"},
	{"delivery request swallowed", say(dispatchCommands, "a", `{"type":"request","id":"o-3/request/1","orderId":"o-3","attempt":1}`), Deliveries, "o-3", "does not know it"},
	{"no JSON, not buried", say(orderCommands, "o-1", `nonsense`), Inputs, "order-commands/0/5", "can't be read, and is not in the dead letters"},
}

// edit is something done to a history.
type edit = func([]said) []said

func both(a, b edit) edit { return func(all []said) []said { return b(a(all)) } }

func (s said) has(t stream, texts []string) bool {
	return s.stream == t && !slices.ContainsFunc(texts, func(x string) bool { return !strings.Contains(s.value, x) })
}

// drop leaves out every record that has the texts.
func drop(t stream, texts ...string) edit {
	return func(all []said) []said {
		_ = find(all, t, texts...)
		return slices.DeleteFunc(all, func(s said) bool { return s.has(t, texts) })
	}
}

// replace changes the first record that has all texts.
func replace(t stream, was, is string, texts ...string) edit {
	return func(all []said) []said {
		i := find(all, t, append(texts, was)...)
		all[i].value = strings.ReplaceAll(all[i].value, was, is)
		return all
	}
}

// again repeats the first record that has all texts, changed.
func again(t stream, was, is string, texts ...string) edit {
	return func(all []said) []said {
		s := all[find(all, t, append(texts, was)...)]
		s.value = strings.ReplaceAll(s.value, was, is)
		return append(all, s)
	}
}

func say(t stream, key, value string) edit {
	return func(all []said) []said { return append(all, said{stream: t, key: key, value: value}) }
}

func say2(t stream, key, value string, t2 stream, value2 string) edit {
	return both(say(t, key, value), say(t2, key, value2))
}

// insert says something about o-1 before the first record that has a text.
func insert(t stream, text, value string) edit {
	return func(all []said) []said {
		return slices.Insert(all, find(all, t, text), said{stream: t, key: "o-1", value: value})
	}
}

func stockRowOf(products, reservations string) edit {
	return say(stockTable, "s", fmt.Sprintf(`{"storeId":"s","products":[%s],"reservations":[%s]}`, products, reservations))
}

func areaRowOf(riders, deliveries string) edit {
	return say(dispatchTable, "a", fmt.Sprintf(`{"id":"a","riders":[%s],"deliveries":[%s]}`, riders, deliveries))
}

// move puts the first record that has the texts behind the first one that has others.
func move(t stream, text, behind string) edit {
	return func(all []said) []said {
		i := find(all, t, text)
		r := all[i]
		all = slices.Delete(all, i, i+1)
		return slices.Insert(all, find(all, t, behind)+1, r)
	}
}

func overtaken(all []said) []said { return move(orderEvents, `"id":"o-1/2"`, `"id":"o-1/3"`)(all) }

func tellLate(all []said) []said {
	return move(notifications, `"o-1/2/customer"`, `"o-1/3/customer"`)(all)
}

func copies(t stream, n int, texts ...string) edit {
	return func(all []said) []said {
		return append(all, slices.Repeat([]said{all[find(all, t, texts...)]}, n)...)
	}
}

func storming(all []said) []said { return copies(deliveryEvents, 600, "o-1/assigned/1/1")(all) }

func stormingEvents(all []said) []said { return copies(orderEvents, 600, `"id":"o-2/4"`)(all) }

func hopping(hops string) edit {
	return func(all []said) []said {
		s := all[find(all, storeCommands, "o-1/reserve/1")]
		s.headers = map[string]string{headerHops: hops}
		return append(all, s)
	}
}

// overdue is an order that stays delivered.
func overdue(all []said) []said {
	all = drop(orderEvents, `"id":"o-1/10"`)(drop(ordersTable, `"id":"o-1"`, `"version":10`)(drop(orderCommands, "o-1:confirm")(all)))
	i := find(all, ordersTable, `"id":"o-1"`, `"version":9`)
	all[i].value = strings.ReplaceAll(all[i].value, at(3600), at(-3600))
	return all
}

func TestTampered(t *testing.T) {
	for _, c := range tampered {
		t.Run(c.name, func(t *testing.T) {
			all := c.do(history())
			r := play(all, AtLeastOnce)
			require.True(t, slices.ContainsFunc(r.Violations, func(v Violation) bool {
				return v.Check == c.check && v.Key == c.key && strings.Contains(v.Problem, c.expect)
			}), "%s of %s: %q is not among %v", c.check, c.key, c.expect, r.Violations)
			require.Contains(t, r.Broken(), c.check)
			require.False(t, r.OK())
		})
	}
}

// Repeats come late, and a client may say the same very often: neither is out of order, nor a storm.
func TestNoStorm(t *testing.T) {
	all := copies(deliveryEvents, storm-2, "o-1/assigned/1/1")(history())
	require.Empty(t, play(hopping("15")(all), AtLeastOnce).Violations)
	all = copies(orderCommands, 200, "o-1:confirm")(history())
	require.Empty(t, play(copies(orderEvents, 700, `"id":"o-1/10"`)(all), AtLeastOnce).Violations)
	require.Empty(t, play(copies(orderEvents, 2, `"id":"o-1/3"`)(history()), AtLeastOnce).Violations)
}

// Where a stream has lost its first records, the keys that miss something there are named, and no other.
func TestGone(t *testing.T) {
	cases := []struct {
		name     string
		lose     edit
		gone     []stream
		unproved []string
	}{
		{"nothing is missing", func(all []said) []said { return all }, []stream{orderEvents, storeCommands, stockReplies}, nil},
		{"first versions", drop(orderEvents, `"id":"o-1/1"`), []stream{orderEvents}, []string{"o-1"}},
		{"all events of an order", drop(orderEvents, `"orderId":"o-1"`), []stream{orderEvents}, []string{"o-1"}},
		{"the newest event", drop(orderEvents, `"id":"o-1/10"`), []stream{orderEvents}, []string{"o-1"}},
		{"a request", drop(paymentRequests, "o-1/capture"), []stream{paymentRequests}, []string{"o-1"}},
		{"a reply of stock", both(drop(stockReplies, "o-2/"), drop(storeCommands, "o-2/release")), []stream{stockReplies}, []string{"o-2"}},
		{"what a store was told", drop(storeCommands, "s:add"), []stream{storeCommands}, []string{"s"}},
		{"first steps of a delivery", both(drop(deliveryEvents, "o-1/assigned/1/1"), drop(dispatchCommands, "o-1/request/1")), []stream{deliveryEvents, dispatchCommands}, []string{"o-1"}},
		{"a verdict", drop(verdicts, "o-1/place"), []stream{verdicts}, []string{"o-1"}},
		{"a notification", drop(notifications, "o-1/3/customer"), []stream{notifications}, []string{"o-1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			run := func(gone []stream, number int32) *Report {
				a := newTestAuditor(AtLeastOnce)
				for _, s := range gone {
					a.begins(partition{s, number}, 7)
				}
				feedAll(a, c.lose(history()))
				return a.finish(start.UnixMilli() + 1000)
			}
			r := run(c.gone, 0)
			require.Empty(t, r.Violations)
			keys := map[string]bool{}
			for _, u := range r.Unproved {
				keys[u.Key] = true
			}
			require.ElementsMatch(t, c.unproved, slices.Collect(maps.Keys(keys)))
			var text strings.Builder
			require.NoError(t, r.WriteText(&text))
			for _, k := range c.unproved {
				require.Contains(t, text.String(), "not proved: ")
				require.Contains(t, text.String(), k)
			}
			require.Contains(t, text.String(), "of partition 0 before offset 7")

			if c.unproved != nil {
				require.NotEmpty(t, run(nil, 0).Violations, "nothing is gone")
				if atHome[c.gone[0]] {
					require.NotEmpty(t, run(c.gone[:1], 1).Violations, "another partition")
				}
			}
		})
	}
}

// A promise that is seen to be broken is broken, whatever is gone.
func TestGone_Excuses(t *testing.T) {
	a := newTestAuditor(AtLeastOnce)
	for s := range streams {
		a.begins(partition{s, 0}, 7)
	}
	feedAll(a, overdue(history()))
	r := a.finish(start.UnixMilli() + 3600_000)
	require.Equal(t, []string{Orders}, r.Broken())
	require.Equal(t, "o-1", r.Violations[0].Key)
}

// An id twice, with other words, and refused: that is as it should be. So is an order that was placed as another had its id.
func TestIDTaken(t *testing.T) {
	taken := `{"type":"cancel","id":"o-1:confirm"}`
	all := say2(orderCommands, "o-1", taken, verdicts, ruling("order-commands", "o-1", taken, "refused"))(history())
	require.Empty(t, play(all, ExactlyOnce).Violations)
	put := `{"type":"add_stock","id":"s:add","product":"rice","quantity":7}`
	all = say2(storeCommands, "s", put, verdicts, "")(history())
	all[len(all)-1] = said{stream: verdicts, key: "s", value: ruling("store-commands", "s", put, "refused")}
	require.Empty(t, play(all, ExactlyOnce).Violations)
}

// A digest is computed as the contract says, by whoever reads it.
func TestSaying(t *testing.T) {
	for _, s := range []string{
		`{"type":"cancel","id":"c","at":"x","verdict":true}`, `{}`, `{"b":[],"a":{},"aa":[1,{"z":null,"y":true}]}`, `{"n":[1.0,1e3,1e21,0.000001,1e-7,-0,123456789012345680]}`,
		`{"s":"\u2028 < & > \u0000 \b\f\n\r\t \" \\ \/ 한국 \ud83d\ude00"}`, ` { "lat" : 37.50 , "lon":127.030 } `,
	} {
		want, err := codecs.Digest([]byte(s))
		require.NoError(t, err)
		got, err := saying([]byte(s))
		require.NoError(t, err)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "[]", "null"} {
		_, err := saying([]byte(s))
		require.Error(t, err)
	}
}

// A record that is in the dead letters was not swallowed.
func TestDeadLetters(t *testing.T) {
	bury := func(all []said, topic string, offset int, value string) []said {
		return append(all, said{deadLetters, "o-1", value, map[string]string{headerTopic: topic, headerPartition: "0", headerOffset: fmt.Sprint(offset)}})
	}
	all := say(orderCommands, "o-1", `nonsense`)(history())
	require.Empty(t, play(bury(all, "order-commands", 5, "nonsense"), AtLeastOnce).Violations)
	require.NotEmpty(t, play(bury(all, "order-commands", 3, "nonsense"), AtLeastOnce).Violations, "another record is there")
	all = say(riderCommands, "r", `{"type":"dance","id":"d"}`)(history())
	require.Empty(t, play(bury(all, "rider-commands", 3, "x"), AtLeastOnce).Violations)
	require.NotEmpty(t, play(bury(history(), "", 3, "x"), AtLeastOnce).Violations, "it does not say where it came from")
	mark := said{deadLetters, "o-1", "", map[string]string{headerReplayed: "0/1"}}
	require.Empty(t, play(append(history(), mark), AtLeastOnce).Violations, "one was put back")
}

// A move is answered when it asks.
func TestMove(t *testing.T) {
	asks := `{"type":"move","id":"r:move","verdict":true}`
	quiet := say(riderCommands, "r", `{"type":"move","id":"r:move"}`)
	kept := say(ridersTable, "r", fmt.Sprintf(`{"id":"r","moves":["%s/x/1/1"]}`, markOf("r:move")))
	told := say(verdicts, "r", ruling("rider-commands", "r", asks, "accepted"))
	require.Empty(t, play(kept(quiet(history())), AtLeastOnce).Violations)
	require.NotEmpty(t, play(quiet(history()), AtLeastOnce).Violations, "no row knows of it")
	asked := kept(say(riderCommands, "r", asks)(history()))
	require.Empty(t, play(told(asked), AtLeastOnce).Violations)
	require.NotEmpty(t, play(asked, AtLeastOnce).Violations, "it asks, and has no verdict")
}

// What a product's removal takes away no message says; its counts hold all the same.
func TestRemovedProducts(t *testing.T) {
	history := history()
	row := func(products, decided string) edit {
		return say(stockTable, "s", fmt.Sprintf(`{"storeId":"s","products":[%s],"decided":[%q]}`, products, decidedOn(decided)))
	}
	remove := say(storeCommands, "s", `{"type":"remove_product","id":"s:remove","product":"rice"}`)
	unregister := say(storeCommands, "s", `{"type":"unregister","id":"s:remove"}`)
	refused := say(verdicts, "s", ruling("store-commands", "s", `{"type":"remove_product","id":"s:remove","product":"rice"}`, "refused"))
	nothing := func(all []said) []said { return all }
	gone := row(`{"product":"rice","gone":true,"onHand":0,"added":10,"sold":1,"removed":9}`, "s:remove")
	again := say(storeCommands, "s", `{"type":"add_stock","id":"s:again","product":"rice","quantity":5}`)
	for name, tt := range map[string]struct {
		edits  []edit
		expect string
	}{
		"Removed":             {[]edit{remove, gone}, ""},
		"Unregistered":        {[]edit{unregister, gone}, ""},
		"PutAgain":            {[]edit{remove, gone, again, row(`{"product":"rice","onHand":5,"added":15,"sold":1,"removed":9}`, "s:again")}, ""},
		"Forgotten":           {[]edit{remove, gone, row(``, "s:remove"), again, row(`{"product":"rice","onHand":5,"added":5}`, "s:again")}, ""},
		"NobodyRemovedIt":     {[]edit{nothing, gone}, "the row says removed 9, the messages 0"},
		"RefusedAndRemoved":   {[]edit{remove, refused, gone}, "the row says removed 9, the messages 0"},
		"NobodyForgotIt":      {[]edit{nothing, row(``, "s:add")}, "it is gone from the row, and nobody removed it"},
		"GoneAndFree":         {[]edit{remove, row(`{"product":"rice","gone":true,"onHand":2,"added":10,"sold":1,"removed":7}`, "s:remove")}, "it is removed, and 2 are free"},
		"PutAgain/CountsLost": {[]edit{remove, gone, again, row(`{"product":"rice","onHand":5,"added":5}`, "s:again")}, "put, sold or removed goes down"},
		"SoldOfAGoneOne":      {[]edit{remove, row(`{"product":"rice","gone":true,"onHand":0,"added":10,"sold":2,"removed":8}`, "s:remove")}, "the row says sold 2, the messages 1"},
	} {
		t.Run(name, func(t *testing.T) {
			all := slices.Clone(history)
			for _, e := range tt.edits {
				all = e(all)
			}
			r := play(all, AtLeastOnce)
			if tt.expect == "" {
				require.Empty(t, r.Violations)
				return
			}
			require.NotEmpty(t, r.Violations)
			require.Contains(t, fmt.Sprint(r.Violations), tt.expect)
		})
	}
}

// A record in the wrong partition is accounted for by its copy, also one without an id.
func TestForwarded(t *testing.T) {
	all := history()
	i := find(all, orderCommands, "o-1:confirm")
	all[i].value = `{"type":"confirm"}`
	j := find(all, orderEvents, `"id":"o-1/10"`)
	all[j].value = strings.ReplaceAll(all[j].value, "o-1:confirm", "order-commands/0/1")
	require.Empty(t, play(all, AtLeastOnce).Violations)
	all = slices.Insert(all, i+1, said{orderCommands, "o-1", `{"type":"confirm"}`, map[string]string{headerOrigin: "order-commands/0/1"}})
	require.Empty(t, play(all, AtLeastOnce).Violations)
}

// An order in a status with a deadline waits, and what came after the cut is nobody's debt yet.
func TestOpen(t *testing.T) {
	s := &script{}
	s.open()
	s.paying("o-1", 0)
	r := play(s.all, AtLeastOnce)
	require.Empty(t, r.Violations)
	require.Equal(t, 1, r.Checks[0].Open)

	s.say(orderCommands, "o-1", `{"type":"cancel","id":"c"}`)
	require.NotEmpty(t, play(s.all, AtLeastOnce).Violations)
	a := newTestAuditor(AtLeastOnce)
	a.cut = map[partition]int64{}
	for st := range streams {
		a.cut[partition{st, 0}] = 1 << 30
	}
	a.cut[partition{orderCommands, 0}] = 1
	feedAll(a, s.all)
	require.Empty(t, a.finish(a.clock).Violations, "the command came after the cut")

	a = newTestAuditor(AtLeastOnce)
	a.unhandled = func(g group, _ int32) bool { return g == orders }
	feedAll(a, s.all)
	require.Empty(t, a.finish(a.clock).Violations, "the group is not so far")
}

func feedAll(a *auditor, all []said) {
	var offsets [streams]int64
	for i, s := range all {
		a.feed(&record{where: where{s.stream, 0, offsets[s.stream]}, at: start.UnixMilli() + int64(i), key: s.key, value: []byte(s.value), headers: s.headers})
		offsets[s.stream]++
	}
}

// The auditor must not share a rule with what it audits.
func TestSharesNothing(t *testing.T) {
	p, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	for _, i := range p.Imports {
		ours := strings.HasPrefix(i, "baedal/")
		require.True(t, !ours || i == "baedal/topics", "%s is imported", i)
		require.True(t, ours || !strings.Contains(i, ".") || strings.HasPrefix(i, "github.com/twmb/franz-go"), "%s is imported", i)
	}
}

// Memory is bounded by what is open: what is over is kept for half a minute.
func TestMemory(t *testing.T) {
	a, peak, heap := live(5_000, 10)
	require.Less(t, peak, 3_500, "orders in full")
	require.Less(t, heap, 30.0, "MB")
	require.Equal(t, 5_000, len(a.orders)+len(a.closed))
}

// BenchmarkOrders reads 200,000 orders, 1000 of them each second of their time.
func BenchmarkOrders(b *testing.B) {
	for b.Loop() {
		began := time.Now()
		a, peak, heap := live(200_000, 1)
		b.ReportMetric(float64(a.rep.Records)/time.Since(began).Seconds(), "records/s")
		b.ReportMetric(heap, "MB")
		b.ReportMetric(float64(peak), "in-full")
		b.ReportMetric(float64(len(a.closed)), "over")
	}
}

// live lets n orders live, one each so many milliseconds, and returns how many
// were known in full at most, and the megabytes of heap at the end.
func live(n, every int) (a *auditor, peak int, heap float64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a = newTestAuditor(AtLeastOnce)
	s, offsets := &script{}, [streams]int64{}
	s.open()
	for i := range n {
		s.completed(fmt.Sprintf("order-%d", i), i)
		for _, m := range s.all {
			a.feed(&record{where: where{m.stream, 0, offsets[m.stream]}, at: start.UnixMilli() + int64(i*every), key: m.key, value: []byte(m.value)})
			offsets[m.stream]++
		}
		s.all = s.all[:0]
		peak = max(peak, len(a.orders))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return a, peak, float64(after.HeapAlloc-before.HeapAlloc) / (1 << 20)
}

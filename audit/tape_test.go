package audit

import (
	"fmt"
	"strings"
	"time"

	"baedal/topics"
)

// said is a record of a tape before it is read.
type said struct {
	stream  stream
	key     string
	value   string
	headers map[string]string
}

// play feeds a history to a new auditor and judges it; tables are as if read on a system at rest.
func play(all []said, guarantee string) *Report {
	a := newTestAuditor(guarantee)
	var offsets [streams]int64
	at := start.UnixMilli()
	for _, s := range all {
		r := &record{where: where{s.stream, 0, offsets[s.stream]}, at: at, key: s.key, headers: s.headers}
		if s.value != "" {
			r.value = []byte(s.value)
		}
		offsets[s.stream]++
		at++
		a.feed(r)
	}
	return a.finish(at)
}

func newTestAuditor(guarantee string) *auditor {
	n := names(topics.New("", 1))
	return newAuditor(n, n, guarantee, 30*time.Second)
}

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// at is a time in the history, in seconds from its start.
func at(seconds int) string {
	return start.Add(time.Duration(seconds) * time.Second).Format("2006-01-02T15:04:05.000Z")
}

// script collects what is said.
type script struct{ all []said }

func (s *script) say(t stream, key, format string, args ...any) {
	s.all = append(s.all, said{stream: t, key: key, value: fmt.Sprintf(format, args...)})
}

// open is a store with ten of a product, and a rider on shift.
func (s *script) open() {
	register := `{"type":"register","id":"s:register","verdict":true,"name":"S","area":"a"}`
	s.say(storeCommands, "s", "%s", register)
	s.say(stockTable, "s", `{"storeId":"s","decided":[%q]}`, decidedOn("s:register"))
	s.say(verdicts, "s", "%s", ruling("store-commands", "s", register, "accepted"))
	s.say(storeCommands, "s", `{"type":"add_stock","id":"s:add","product":"rice","quantity":10}`)
	s.stock(10, 0, 0, "")
	s.say(riderCommands, "r", `{"type":"online","id":"r:online","area":"a"}`)
	s.say(ridersTable, "r", `{"id":"r","wish":{"commandId":"r:online"}}`)
	s.say(dispatchCommands, "a", `{"type":"enter","id":"r/enter/1","riderId":"r","shift":1}`)
	s.area(``)
	s.say(riderEvents, "r", `{"type":"entered","id":"r/entered/1","area":"a","riderId":"r","shift":1}`)
}

// stock is a row of the store's table.
func (s *script) stock(onHand, reserved, sold int, reservations string) {
	s.say(stockTable, "s", `{"storeId":"s","products":[{"product":"rice","onHand":%d,"reserved":%d,"added":%d,"sold":%d}],"reservations":[%s],"decided":[%q,%q]}`,
		onHand, reserved, onHand+sold, sold, reservations, decidedOn("s:register"), decidedOn("s:add"))
}

// decidedOn is how a store's row remembers a command.
func decidedOn(id string) string { return markOf(id) + "/name/time/1" }

// area is a row of the area's table: one rider, who carries one, and deliveries.
func (s *script) area(deliveries string) {
	s.say(dispatchTable, "a", `{"id":"a","riders":["r/1/37.5/127/%d/1/%d/%d"],"deliveries":[%s]}`,
		start.UnixMilli(), start.UnixMilli(), start.UnixMilli(), deliveries)
}

// event is an order event and the row that explains it.
func (s *script) event(order string, version int, typ, cause, more string) {
	status := typ
	s.say(ordersTable, order, `{"id":%q,"status":%q,"version":%d,"deadline":{"at":%q,"then":"x"}}`, order, status, version, at(3600))
	s.say(orderEvents, order, `{"type":%q,"id":"%s/%d","at":%q,"version":%d,"orderId":%q,"storeId":"s","status":%q,"attempt":1,"lines":[{"product":"rice","quantity":1}],"total":9000%s,"causeId":%q}`,
		typ, order, version, at(version), version, order, status, more, cause)
	s.say(notifications, "u", `{"type":%q,"id":"%s/%d/customer","recipient":"u","orderId":%q}`, typ, order, version, order)
	s.say(messageLog, "u", `{"type":%q,"id":"%s/%d/customer","recipient":"u","orderId":%q}`, typ, order, version, order)
}

// placed, until it is paid for.
func (s *script) paying(o string, sold int) {
	place := fmt.Sprintf(`{"type":"place","id":"%s/place","orderId":%q,"verdict":true}`, o, o)
	s.say(orderCommands, o, "%s", place)
	s.event(o, 1, "placed", o+"/place", "")
	s.say(verdicts, o, "%s", ruling("order-commands", o, place, "accepted"))
	s.say(storeCommands, "s", `{"type":"reserve","id":"%s/reserve/1","orderId":%q,"attempt":1,"lines":[{"product":"rice","quantity":1}]}`, o, o)
	s.stock(10-sold, 1, sold, fmt.Sprintf(`{"orderId":%q,"attempt":1,"lines":[{"product":"rice","quantity":1}]}`, o))
	s.say(stockReplies, o, `{"type":"reserved","id":"%s/reserved/1","orderId":%q,"storeId":"s","attempt":1,"lines":[{"product":"rice","quantity":1}]}`, o, o)
	s.event(o, 2, "paying", o+"/reserved/1", "")
	s.say(paymentRequests, o, `{"type":"authorize","id":"%s/authorize/1","orderId":%q,"attempt":1,"amount":9000}`, o, o)
	s.say(paymentsTable, o, `{"orderId":%q,"attempts":[{"attempt":1,"amount":9000,"status":"approved"}]}`, o)
	s.say(paymentReplies, o, `{"type":"approved","id":"%s/approved/1","orderId":%q,"attempt":1,"amount":9000}`, o, o)
	s.event(o, 3, "paid", o+"/approved/1", "")
}

// completed is a whole life.
func (s *script) completed(o string, sold int) {
	s.paying(o, sold)
	s.event(o, 4, "accepted", o+"/approved/1", "")
	s.event(o, 5, "cooking", o+"/approved/1", "")
	s.say(storeCommands, "s", `{"type":"commit","id":"%s/commit/1","orderId":%q,"attempt":1}`, o, o)
	s.stock(9-sold, 0, sold+1, "")
	s.event(o, 6, "ready", o+"/approved/1", "")
	s.say(dispatchCommands, "a", `{"type":"request","id":"%s/request/1","orderId":%q,"attempt":1}`, o, o)
	s.area(fmt.Sprintf(`{"o":%q,"n":1,"s":["%d/a/%d/xx/r"]}`, o, 3*sold+1, start.UnixMilli()+1))
	s.say(deliveryEvents, o, `{"type":"assigned","id":"%s/assigned/1/1","orderId":%q,"attempt":1,"area":"a","riderId":"r"}`, o, o)
	s.say(riderEvents, "r", `{"type":"assigned","id":"r/%s/assigned/1/1","area":"a","riderId":"r","orderId":%q,"attempt":1}`, o, o)
	s.event(o, 7, "assigned", o+"/assigned/1/1", `,"riderId":"r"`)
	for i, did := range []string{"picked_up", "delivered"} {
		id := o + ":" + did + "-it"
		s.say(riderCommands, "r", `{"type":%q,"id":%q,"orderId":%q}`, did, id, o)
		s.say(ridersTable, "r", `{"id":"r","recent":[%q]}`, markOf(id)+"/name/time/1")
		s.say(dispatchCommands, "a", `{"type":%q,"id":"r/%s/m/%s","orderId":%q,"riderId":"r","commandId":%q}`, did, did, id, o, id)
		steps := []string{fmt.Sprintf("%d/a/%d/xx/r", 3*sold+1, start.UnixMilli()+1), fmt.Sprintf("%d/p/%d/%s", 3*sold+2, start.UnixMilli()+2, markOf("picked_up", "r/picked_up/m/"+o+":picked_up-it"))}
		if i == 0 {
			s.area(fmt.Sprintf(`{"o":%q,"n":1,"s":[%q,%q]}`, o, steps[0], steps[1]))
		} else {
			steps = append(steps, fmt.Sprintf("%d/d/%d/%s", 3*sold+3, start.UnixMilli()+3, markOf("delivered", "r/delivered/m/"+id)))
			done := o + "/1"
			for _, s := range steps {
				done += fmt.Sprintf("/%d/%s", len(s), s)
			}
			s.say(dispatchTable, "a", `{"id":"a","riders":["r/1/37.5/127/1/1/1/1"],"done":[%q]}`, done)
		}
		s.say(deliveryEvents, o, `{"type":%q,"id":"%s/%s/1","orderId":%q,"attempt":1,"area":"a","riderId":"r"}`, did, o, did, o)
		s.event(o, 8+i, did, fmt.Sprintf("%s/%s/1", o, did), `,"riderId":"r"`)
	}
	s.say(paymentRequests, o, `{"type":"capture","id":"%s/capture/1","orderId":%q,"attempt":1}`, o, o)
	s.say(paymentsTable, o, `{"orderId":%q,"attempts":[{"attempt":1,"amount":9000,"status":"captured"}]}`, o)
	s.say(paymentReplies, o, `{"type":"captured","id":"%s/captured/1","orderId":%q,"attempt":1,"amount":9000}`, o, o)
	s.say(orderCommands, o, `{"type":"confirm","id":"%s:confirm"}`, o)
	s.event(o, 10, "completed", o+":confirm", `,"riderId":"r"`)
}

// cancelled is the life of an order that is cancelled when it is paid for, and
// of a command that comes too late.
func (s *script) cancelled(o string, sold int) {
	s.paying(o, sold)
	s.say(orderCommands, o, `{"type":"cancel","id":"%s:cancel","by":"customer"}`, o)
	s.event(o, 4, "cancelled", o+":cancel", "")
	s.say(storeCommands, "s", `{"type":"release","id":"%s/release/1","orderId":%q,"attempt":1}`, o, o)
	s.stock(10-sold, 0, sold, "")
	s.say(paymentRequests, o, `{"type":"void","id":"%s/void/1","orderId":%q,"attempt":1}`, o, o)
	s.say(paymentsTable, o, `{"orderId":%q,"attempts":[{"attempt":1,"amount":9000,"status":"voided"}]}`, o)
	s.say(paymentReplies, o, `{"type":"voided","id":"%s/voided/1","orderId":%q,"attempt":1,"amount":9000}`, o, o)
	accept := fmt.Sprintf(`{"type":"accept","id":"%s:accept"}`, o)
	s.say(orderCommands, o, "%s", accept)
	s.say(verdicts, o, "%s", ruling("order-commands", o, accept, "refused"))
}

// ruling is the verdict on a command.
func ruling(stream, key, command, verdict string) string {
	c, err := decode[clientCommand]([]byte(command))
	if err != nil {
		panic(err)
	}
	digest, err := saying([]byte(command))
	if err != nil {
		panic(err)
	}
	more := `,"version":10`
	switch {
	case verdict == "refused":
		more = `,"code":"status","reason":"it is too late"`
	case c.Type == "place":
		more = `,"version":1`
	}
	return fmt.Sprintf(`{"type":%q,"id":"%s/verdict/%s/m/%s","at":%q,"commandId":%q,"stream":%q,"key":%q,"digest":%q,"verdict":%q%s}`,
		verdict, key, stream, c.ID, at(0), c.ID, stream, key, digest, verdict, more)
}

// history is two lives in one store.
func history() []said {
	s := &script{}
	s.open()
	s.completed("o-1", 0)
	s.cancelled("o-2", 1)
	return s.all
}

// find returns where the nth record is whose stream is as given and whose value
// contains all of the texts.
func find(all []said, t stream, texts ...string) int {
next:
	for i, s := range all {
		if s.stream != t {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(s.value, text) {
				continue next
			}
		}
		return i
	}
	panic(fmt.Sprintf("no record of %d has %q", t, texts))
}

package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Guarantees.
const (
	AtLeastOnce = "at-least-once"
	ExactlyOnce = "exactly-once"
)

// linger is how long, by the records' times, what is over is kept in full: longer
// than it takes until a crash is noticed and what was not committed comes again.
const linger = int64(30 * time.Second / time.Millisecond)

// sweepEvery is how many records are read between two looks for what is over.
const sweepEvery = 20_000

// auditor is told every record and knows what is open.
type auditor struct {
	topics    [streams]string
	short     [streams]string     // as the contract calls them
	once      bool                // exactly-once
	starts    map[partition]int64 // where partitions begin that have lost their first records
	truncated [streams]bool       // some partition of the topic has
	compacted [streams]bool       // records are missing within the topic

	cut       map[partition]int64     // where the topics ended at the start; nil: not known, everything is before
	unhandled func(group, int32) bool // whether a group has something of before the cut to do in a partition; -1: in any

	clock    int64 // time of the newest record
	records  [streams]int64
	orders   map[string]*life
	closed   map[uint64]tomb
	stores   map[string]*store
	riders   map[string]*rider
	areas    map[string]*area
	commands map[commandKey]*command // of stores and riders
	ruled    map[uint64]settled      // verdicts on commands that are forgotten
	refused  map[uint64]*[]refusal   // by the rows of stores and riders
	counted  map[uint64]struct{}     // commands in the sums of a store
	dead     map[coordinates]bool    // records that are in the dead letters
	bad      map[coordinates]string  // records that must be in the dead letters, and why
	grace    int64                   // allowed behind a deadline, in milliseconds
	rep      *Report
}

type partition struct {
	stream stream
	number int32
}

type coordinates = where

func newAuditor(topics, short [streams]string, guarantee string, slack time.Duration) *auditor {
	return &auditor{
		topics: topics, short: short, once: guarantee == ExactlyOnce, grace: slack.Milliseconds(),
		unhandled: func(group, int32) bool { return false },
		orders:    map[string]*life{}, closed: map[uint64]tomb{}, stores: map[string]*store{}, riders: map[string]*rider{},
		areas: map[string]*area{}, commands: map[commandKey]*command{}, ruled: map[uint64]settled{}, refused: map[uint64]*[]refusal{},
		starts: map[partition]int64{}, counted: map[uint64]struct{}{}, dead: map[coordinates]bool{}, bad: map[coordinates]string{},
		rep: newReport(),
	}
}

// feed is told the next record. Records of one partition come in order.
func (a *auditor) feed(r *record) {
	a.records[r.stream]++
	if hops := r.headers[headerHops]; hops != "" && number(hops) >= maxHops && readerOf(r.stream) != nobody && !a.dead[r.where] {
		a.bad[r.where] = hops + " messages led to it without a row changing, and it"
	}
	if r.at > a.clock {
		a.clock = r.at
	}
	if h := handlers[r.stream]; h != nil {
		if err := h(a, r); err != nil {
			a.undecodable(r, err)
		}
	}
	a.rep.Records++
	if a.rep.Records%sweepEvery == 0 {
		a.sweep()
	}
}

// handlers is what a record of each topic means.
var handlers = [streams]func(*auditor, *record) error{
	orderCommands:    (*auditor).orderCommand,
	storeCommands:    (*auditor).storeCommand,
	riderCommands:    (*auditor).riderCommand,
	verdicts:         (*auditor).verdict,
	orderEvents:      (*auditor).orderEvent,
	stockReplies:     (*auditor).stockReply,
	paymentRequests:  (*auditor).paymentRequest,
	paymentReplies:   (*auditor).paymentReply,
	dispatchCommands: (*auditor).dispatchCommand,
	riderEvents:      (*auditor).riderEvent,
	deliveryEvents:   (*auditor).deliveryEvent,
	notifications:    (*auditor).notification,
	messageLog:       (*auditor).logged,
	deadLetters:      (*auditor).deadLetter,
	ordersTable:      (*auditor).orderRow,
	stockTable:       (*auditor).stockRow,
	paymentsTable:    (*auditor).paymentRow,
	ridersTable:      (*auditor).riderRow,
	dispatchTable:    (*auditor).areaRow,
}

// checkOf is the check under which a topic's records are counted.
var checkOf = [streams]string{
	orderCommands: Inputs, storeCommands: Inputs, riderCommands: Inputs, dispatchCommands: Inputs, deadLetters: Inputs,
	verdicts: Verdicts, orderEvents: Orders, ordersTable: Orders, stockReplies: Stock, stockTable: Stock,
	paymentRequests: Payments, paymentReplies: Payments, paymentsTable: Payments, riderEvents: Deliveries, deliveryEvents: Deliveries,
	dispatchTable: Deliveries, ridersTable: Inputs, notifications: Messages, messageLog: Messages,
}

// undecodable: what a group reads must be in the dead letters; what only others
// read should not be there.
func (a *auditor) undecodable(r *record, err error) {
	for g := range inputs {
		for _, s := range inputs[g] {
			if s == r.stream {
				a.bad[r.where] = "it can't be read, and"
				return
			}
		}
	}
	a.violation(checkOf[r.stream], r.key, r.where, "the value can't be read: %v", err)
}

// deadLetter says of a record that it was not handled. Of one that was in a
// wrong partition it says so where it was forwarded to: that is the same message.
func (a *auditor) deadLetter(r *record) error {
	h := r.headers
	if h[headerReplayed] != "" { // the mark that one was put back
		return nil
	}
	if !a.bury(h[headerTopic], h[headerPartition], h[headerOffset]) {
		a.violation(Inputs, r.key, r.where, "a dead letter that does not say where it came from: %v", h)
	}
	if origin := strings.Split(h[headerOrigin], "/"); len(origin) == 3 {
		a.bury(origin[0], origin[1], origin[2])
	}
	return nil
}

func (a *auditor) bury(topic, partition, offset string) bool {
	p, err := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	for s, name := range a.topics {
		if name == topic && err == nil && err2 == nil {
			at := coordinates{stream(s), int32(p), o}
			a.dead[at] = true
			delete(a.bad, at)
			return true
		}
	}
	return false
}

// begins notes that the records of a partition before an offset are gone.
func (a *auditor) begins(p partition, offset int64) {
	if offset > 0 {
		a.starts[p], a.truncated[p.stream] = offset, true
	}
}

// gone reports whether records of a key are gone from a stream: of a client's
// stream, and where the key is another one than the debtor's, any partition may
// have had them.
func (a *auditor) gone(s stream, home int32) bool {
	if home < 0 || !atHome[s] {
		return a.truncated[s]
	}
	return a.starts[partition{s, home}] > 0
}

// before reports whether a record was there at the cut.
func (a *auditor) before(w where) bool {
	return a.cut == nil || w.offset < a.cut[partition{w.stream, w.partition}]
}

// violation reports what nothing can mend any more.
func (a *auditor) violation(check, key string, w where, format string, args ...any) {
	a.rep.add(Violation{Check: check, Key: key, Problem: fmt.Sprintf(format, args...), Topic: a.topics[w.stream], Partition: w.partition, Offset: w.offset})
}

// debt is what is owed: what should follow from a record, and by whom.
type debt struct {
	check, key string
	text       string
	from       where
	by         group
	until      int64    // not before then; 0: at once
	home       int32    // the partition in which the engine writes about the key; -1: not known
	lost       []stream // records that would explain it may have been in these; nil: as its check says
	shown      bool     // no record that is gone can explain it
}

// state of a debt.
type state int

const (
	late     state = iota // a promise is broken
	waiting               // within its time
	flying                // opened after the cut, or its group is not so far yet
	unproved              // records are gone that may have paid it
)

// explains is which streams may have had what a debt misses.
var explains = map[string][]stream{
	Orders: {orderEvents}, Repeats: {}, Verdicts: {verdicts, orderEvents}, Stock: {stockReplies, storeCommands, orderEvents},
	Payments: {paymentRequests, paymentReplies, orderEvents}, Deliveries: {deliveryEvents, dispatchCommands, orderEvents},
	Messages: {notifications, messageLog, orderEvents}, Inputs: {verdicts, orderEvents, riderEvents, deadLetters},
}

func (a *auditor) judge(d *debt, now int64) state {
	switch {
	case d.until > 0 && d.until+a.grace > now:
		return waiting
	case !a.before(d.from), d.by != nobody && a.unhandled(d.by, d.from.partitionOf(d.by)):
		return flying
	case d.shown:
		return late
	}
	lost := d.lost
	if lost == nil {
		lost = explains[d.check]
	}
	if slices.ContainsFunc(lost, func(s stream) bool { return a.gone(s, d.home) }) {
		return unproved
	}
	return late
}

// debts calls f with all that is owed now.
func (a *auditor) debts(f func(*debt)) {
	for _, l := range a.orders {
		a.owedBy(l, f)
	}
	for _, c := range a.commands {
		a.owedFor(c, f)
	}
	for id, r := range a.riders {
		a.owedToRider(id, r, f)
	}
	for id, s := range a.stores {
		a.owedByStore(id, s, f)
	}
	a.owedByAreas(f)
	for w, why := range a.bad {
		f(&debt{check: Inputs, key: a.at(w), text: why + " is not in the dead letters", from: w, by: readerOf(w.stream), home: -1, lost: []stream{deadLetters}})
	}
}

func readerOf(s stream) group {
	for g := range inputs {
		for _, in := range inputs[g] {
			if in == s {
				return group(g)
			}
		}
	}
	return nobody
}

// at writes coordinates as the engine does where a command has no id.
func (a *auditor) at(w where) string {
	return fmt.Sprintf("%s/%d/%d", a.topics[w.stream], w.partition, w.offset)
}

// sweep forgets what is over.
func (a *auditor) sweep() {
	for _, l := range a.orders {
		wait := linger
		if len(l.refusals) > 0 {
			wait = rememberedFor
		}
		if a.clock-l.touched > wait && a.over(l) {
			a.close(l)
		}
	}
	for k, c := range a.commands {
		if a.clock-c.touched > linger {
			owes := false
			a.owedFor(c, func(*debt) { owes = true })
			if !owes {
				if c.verdict != "" {
					a.ruled[k.hash()] = settled{uint32(c.sum), c.verdict == "refused", c.ruled}
				}
				delete(a.commands, k)
			}
		}
	}
	a.forgets()
	for _, r := range a.riders {
		if a.clock-r.touched > linger {
			r.seen = nil
		}
	}
	for _, ar := range a.areas {
		ar.open = trimmed(ar.open)
	}
}

// tomb is what stays of an order that is over.
type tomb struct {
	version uint16
	status  uint8
	money   uint8
	sold    uint8 // the highest attempt whose goods are in the sums
}

func (a *auditor) over(l *life) bool {
	if !final[l.status] && l.next > 0 || l.next == 0 && len(l.events) > 0 || l.rowVersion != l.next && !l.gone {
		return false
	}
	owes := false
	a.owedBy(l, func(*debt) { owes = true })
	return !owes
}

func (a *auditor) close(l *life) {
	if l.next > 0 {
		a.closed[digest(l.key)] = tomb{uint16(min(l.next, 1<<16-1)), statusNumber(l.status), l.money.bits(), l.sold}
	}
	delete(a.orders, l.key)
}

// life returns what is known of an order; one that was over comes back with
// what was kept of it.
func (a *auditor) life(key string, r *record) *life {
	l := a.orders[key]
	if l == nil {
		l = &life{key: strings.Clone(key), home: -1}
		if t, ok := a.closed[digest(key)]; ok {
			l.reopened, l.next, l.status = true, int(t.version), statuses[t.status]
			l.base, l.sold = l.next, t.sold
			l.money.restore(t.money)
		}
		a.orders[l.key] = l
	}
	l.touched = max(l.touched, r.at)
	if keysOfStreams[r.stream] == byOrder {
		l.home = r.partition
	}
	return l
}

// storm is how often one message may come, beside what clients' repeats make of it.
const storm = 500

// seen notes a message by its id and reports whether it is new. The same id
// again must be the same bytes, and not come without end.
func (a *auditor) seen(all *[]mark, r *record, id string) bool {
	h, sum := digest(a.short[r.stream], id), digestBytes(r.value)
	for i := range *all {
		if (*all)[i].id == h {
			if (*all)[i].sum != sum {
				a.violation(Repeats, r.key, r.where, "message %q was said before with other words", id)
			}
			if m := &(*all)[i]; m.times < 1<<32-1 {
				m.times++
				a.stormy(r, int(m.times), id)
			}
			return false
		}
	}
	*all = append(*all, mark{id: h, sum: sum, times: 1})
	return true
}

type mark struct {
	id, sum uint64
	times   uint32
}

// stormy judges the times-th copy of a message. Each of a client's repeats may
// cause some.
func (a *auditor) stormy(r *record, times int, id string) {
	if times%storm != 0 { // told once for each so many
		return
	}
	var clients int
	if l := a.orders[r.key]; l != nil {
		for _, c := range l.orderCommands {
			clients += c.records
		}
	}
	if times > storm/2+8*clients {
		a.violation(Repeats, r.key, r.where, "message %q came more than %d times: messages set each other off", id, times/storm*storm-1)
	}
}

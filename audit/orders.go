package audit

import (
	"fmt"
	"slices"
	"strings"
)

// statuses in the order of a life; the contract's, written down anew.
var statuses = []string{"", "placed", "paying", "paid", "accepted", "cooking", "ready", "assigned", "picked_up", "delivered", "refund_requested",
	"completed", "refused", "payment_failed", "rejected", "cancelled", "delivery_failed", "refunded", "refund_denied"}

// next is which status may follow which. What is final has no line, but
// completed, which may still be complained about.
var next = map[string][]string{
	"":                 {"placed"},
	"placed":           {"paying", "refused", "cancelled"},
	"paying":           {"paid", "payment_failed", "cancelled"},
	"paid":             {"accepted", "rejected", "cancelled"},
	"accepted":         {"cooking", "cancelled", "delivery_failed", "refunded"},
	"cooking":          {"ready", "delivery_failed", "refunded"},
	"ready":            {"assigned", "delivery_failed", "refunded"},
	"assigned":         {"picked_up", "ready", "delivery_failed", "refunded"},
	"picked_up":        {"delivered"},
	"delivered":        {"completed", "refund_requested"},
	"completed":        {"refund_requested"},
	"refund_requested": {"refund_denied", "refunded", "accepted"},
}

var final = map[string]bool{"completed": true, "refused": true, "payment_failed": true, "rejected": true, "cancelled": true,
	"delivery_failed": true, "refunded": true, "refund_denied": true}

// remarks are events that leave the status alone, and in which status they may come.
var remarks = map[string][]string{
	"rider_assigned": {"accepted", "cooking", "assigned"},
	"rider_lost":     {"accepted", "cooking", "assigned"},
	"delayed":        {"paying"},
	"reminded":       {"accepted", "cooking"},
	"stuck":          {"picked_up"},
	"escalated":      {"refund_requested"},
	"rescheduled":    {"accepted", "cooking"},
}

// allowance is how long an order waits in a status where its row does not say
// so, in milliseconds: the contract's defaults, with the longest cooking time.
var allowance = map[string]int64{
	"placed": 10e3, "paying": 300e3, "paid": 300e3, "accepted": 87_000e3, "cooking": 87_000e3, "ready": 900e3, "assigned": 1200e3,
	"picked_up": 3600e3, "delivered": 7200e3, "refund_requested": 86_400e3,
}

func statusNumber(s string) uint8 { return uint8(max(0, slices.Index(statuses, s))) }

// life is what is known of one order.
type life struct {
	key      string
	touched  int64
	home     int32 // the partition of all that the engine says of it; -1: not known
	reopened bool  // it was over, and only its tomb is known of before
	began    bool  // before the oldest record that is there

	events []event // those above base, by version
	base   int
	newest int    // the highest version that has come
	told   []told // the newest notification to each
	next   int    // versions that have come without a gap
	status string // after them
	sold   uint8  // the highest attempt whose goods are in the sums

	row           where // the newest one
	rowVersion    int
	rowStatus     string
	deadline      int64
	gone          bool // forgotten: its row is deleted
	rowSeen       bool
	orderCommands []*command
	refusals      []refusal // all that its row was told to remember

	marks []mark
	goods []goods
	money money
	trips []trip
	notes []note
}

// event is one version of an order.
type event struct {
	where
	sum     uint64 // 0: has not come
	cause   uint64
	at      int64
	typ     string
	status  string
	rider   string
	attempt int
	total   int64
	times   int
}

func (a *auditor) orderEvent(r *record) error {
	e, err := decode[orderEvent](r.value)
	switch {
	case err != nil:
		return err
	case e.Version < 1 || e.Version > 1<<15:
		a.violation(Orders, r.key, r.where, "an event of version %d", e.Version)
		return nil
	case e.OrderID != r.key:
		a.violation(Orders, r.key, r.where, "an event of order %q under the key of another one", e.OrderID)
		return nil
	case e.ID != fmt.Sprintf("%s/%d", r.key, e.Version):
		a.violation(Orders, r.key, r.where, "the event of version %d has the id %q", e.Version, e.ID)
	}
	l := a.life(r.key, r)
	if e.Version <= l.base {
		a.rep.note("repeats of what was over for long, not compared", 1)
		if a.once {
			a.violation(Orders, r.key, r.where, "version %d comes a second time", e.Version)
		}
		return nil
	}
	i := e.Version - l.base - 1
	for len(l.events) <= i {
		l.events = append(l.events, event{})
	}
	sum := digestBytes(r.value)
	if old := &l.events[i]; old.sum != 0 {
		switch {
		case old.sum != sum:
			a.violation(Orders, r.key, r.where, "two different events for version %d: %s, and at offset %d %s", e.Version, e.Type, old.offset, old.typ)
		case a.once:
			a.violation(Orders, r.key, r.where, "version %d comes a second time", e.Version)
		}
		old.times++
		a.stormy(r, old.times, e.ID)
		return nil
	}
	// Whoever keeps the highest version that they have seen would never take this
	// one. Where records are gone, this may be a repeat.
	if e.Version < l.newest && a.starts[partition{r.stream, r.partition}] == 0 {
		a.violation(Orders, r.key, r.where, "version %d comes for the first time behind version %d", e.Version, l.newest)
	}
	l.newest = max(l.newest, e.Version)
	l.events[i] = event{where: r.where, sum: sum, cause: digest(e.CauseID), at: int64(e.At), typ: known(e.Type), status: known(e.Status),
		rider: e.RiderID, attempt: max(1, e.Attempt), total: e.Total, times: 1}
	if len(l.events) == 1 && i == 0 && l.base == 0 || l.next == l.base+i {
		a.advance(l)
	}
	return nil
}

// known returns the one copy of a word of the contract.
func known(s string) string {
	if i := slices.Index(statuses, s); i >= 0 {
		return statuses[i]
	}
	for r := range remarks {
		if r == s {
			return r
		}
	}
	return strings.Clone(s)
}

// advance walks the order's life as far as it is known without a gap.
func (a *auditor) advance(l *life) {
	for l.next-l.base < len(l.events) {
		e := &l.events[l.next-l.base]
		if e.sum == 0 {
			return
		}
		l.next++
		if e.typ != e.status {
			where, ok := remarks[e.typ]
			switch {
			case !ok:
				a.violation(Orders, l.key, e.where, "version %d is of type %q, which nobody knows", l.next, e.typ)
			case e.status != l.status:
				a.violation(Orders, l.key, e.where, "version %d, %s, says that the order is %s when it is %s", l.next, e.typ, e.status, l.status)
			case !slices.Contains(where, e.status):
				a.violation(Orders, l.key, e.where, "version %d: %s comes when the order is %s", l.next, e.typ, e.status)
			}
			continue
		}
		switch {
		case final[l.status] && l.status != "completed":
			a.violation(Orders, l.key, e.where, "version %d: %s comes when the order is %s, and that is final", l.next, e.typ, l.status)
		case !slices.Contains(next[l.status], e.status):
			a.violation(Orders, l.key, e.where, "version %d: %s can't follow %q", l.next, e.typ, l.status)
		}
		l.status = e.status
	}
}

// had reports whether an attempt was ever in a status.
func (l *life) had(status string, attempt int) *event {
	for i := range l.events {
		if e := &l.events[i]; e.typ == status && (attempt == 0 || e.attempt == attempt) {
			return e
		}
	}
	return nil
}

// cause returns the first event that a message caused.
func (l *life) cause(id string) *event {
	h := digest(id)
	for i := range l.events {
		if l.events[i].sum != 0 && l.events[i].cause == h {
			return &l.events[i]
		}
	}
	return nil
}

func (a *auditor) orderRow(r *record) error {
	l := a.life(r.key, r)
	l.row, l.rowSeen = r.where, true
	if r.value == nil {
		if l.rowVersion > 0 && !final[l.rowStatus] {
			a.violation(Orders, r.key, r.where, "the row of an order that is %s is deleted", l.rowStatus)
		}
		l.gone = true
		return nil
	}
	row, err := decode[orderRow](r.value)
	if err != nil {
		return err
	}
	if row.Version < l.rowVersion && !l.gone {
		a.violation(Orders, r.key, r.where, "the row goes back from version %d to %d", l.rowVersion, row.Version)
	}
	l.gone = false
	l.rowVersion, l.rowStatus, l.deadline = row.Version, known(row.Status), 0
	if row.Deadline != nil {
		l.deadline = int64(row.Deadline.At)
	}
	return nil
}

// owedBy is what an order still owes, and what is owed to it.
func (a *auditor) owedBy(l *life, f func(*debt)) {
	owe := func(check string, by group, from where, format string, args ...any) {
		f(&debt{check: check, key: l.key, text: fmt.Sprintf(format, args...), from: from, by: by, home: l.home})
	}
	l.began = !l.reopened && l.next == 0 && len(l.events) > 0 && a.gone(orderEvents, l.home)
	if l.began {
		owe(Orders, orders, l.last(), "its first versions are gone")
	}
	if l.began || l.reopened && len(l.events) == 0 && !l.rowSeen {
		a.owedForCommands(l, f)
		return // what came before is not known
	}

	if l.next-l.base < len(l.events) {
		missing := l.next + 1
		at := l.events[len(l.events)-1].where
		for i := l.next - l.base; i < len(l.events); i++ {
			if l.events[i].sum != 0 {
				at = l.events[i].where
				break
			}
		}
		owe(Orders, orders, at, "version %d is missing: version %d is there", missing, l.base+indexOf(l.events, at)+1)
	}
	top := l.base + len(l.events)
	switch {
	case l.gone:
	case l.rowSeen && l.rowVersion > top:
		owe(Orders, orders, l.row, "the row is at version %d and the last event is version %d: an event was not sent", l.rowVersion, top)
	case l.rowSeen && l.rowVersion < top && !l.reopened:
		f(&debt{check: Orders, key: l.key, text: fmt.Sprintf("the last event is version %d and the row is at version %d: an event that no row explains", top, l.rowVersion), from: l.last(), by: orders, home: l.home, lost: []stream{ordersTable}})
	case l.rowSeen && l.rowVersion == l.next && l.rowVersion > 0 && l.rowStatus != l.status:
		owe(Orders, orders, l.row, "the row says %s and the events say %s", l.rowStatus, l.status)
	case !l.rowSeen && len(l.events) > 0 && !l.reopened:
		f(&debt{check: Orders, key: l.key, text: "it has events and no row", from: l.last(), by: orders, home: l.home, lost: []stream{ordersTable}})
	}
	status := l.status
	if l.rowSeen && !l.gone && l.rowVersion > l.next { // the newest events are gone, and so it is said above
		status = l.rowStatus
	}
	if l.next > 0 && !final[status] && len(l.events) > 0 {
		e := &l.events[min(l.next-l.base, len(l.events))-1]
		until := l.deadline
		if !l.rowSeen || until == 0 {
			until = e.at + allowance[status]
		}
		f(&debt{check: Orders, key: l.key, text: fmt.Sprintf("it is %s, and its deadline has passed", status), from: e.where, by: orders, until: max(until, 1),
			home: l.home, shown: !l.gone})
	}
	a.owedForCommands(l, f)
	a.owedGoods(l, owe)
	a.owedMoney(l, f)
	a.owedTrips(l, owe)
	a.owedNotes(l, owe)
}

func indexOf(all []event, at where) int {
	return slices.IndexFunc(all, func(e event) bool { return e.where == at && e.sum != 0 })
}

// last returns where the newest event is.
func (l *life) last() where {
	for i := len(l.events) - 1; i >= 0; i-- {
		if l.events[i].sum != 0 {
			return l.events[i].where
		}
	}
	return l.row
}

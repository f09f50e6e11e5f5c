package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// trip is one attempt to bring an order, as delivery-events tell it.
type trip struct {
	attempt   int
	requested bool
	request   where
	area      string
	last      where
	events    int
	rider     string // who has it
	gaveBack  []string
	away      bool // picked up
	end       string
	brought   string // by whom
}

func (l *life) trip(attempt int) *trip {
	i := slices.IndexFunc(l.trips, func(t trip) bool { return t.attempt == attempt })
	if i < 0 {
		l.trips = append(l.trips, trip{attempt: attempt})
		i = len(l.trips) - 1
	}
	return &l.trips[i]
}

// rider is a rider whose commands and shifts are open.
type rider struct {
	touched int64
	open    []*command
	marks   ring
	shifts  []shift
	entered int    // the newest shift that dispatch has said to have begun
	left    int    // the newest one that it has said to be over
	seen    []mark // what was said of shifts lately
}

// shift is an enter or leave that waits for its answer.
type shift struct {
	where
	id    string
	leave bool
	shift int
}

// area is what the newest row of an area says.
type area struct {
	row    where
	onDuty map[string]bool
	orders map[reservation]bool // deliveries that it knows
	open   []*command           // of riders, not yet found in its row
	marks  ring
	seq    int64
}

func (a *auditor) rider(id string, r *record) *rider {
	d := a.riders[id]
	if d == nil {
		d = &rider{}
		a.riders[strings.Clone(id)] = d
	}
	d.touched = max(d.touched, r.at)
	return d
}

func (a *auditor) area(id string) *area {
	ar := a.areas[id]
	if ar == nil {
		ar = &area{onDuty: map[string]bool{}, orders: map[reservation]bool{}}
		a.areas[strings.Clone(id)] = ar
	}
	return ar
}

func (a *auditor) riderCommand(r *record) error {
	m, err := decodeCommand[clientCommand](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	says, err := m.says(r)
	if err != nil {
		return err
	}
	c := a.command(riderCommands, r.key, a.idOf(r, m.ID), says)
	if !c.comes(r, m.Type, m.Verdict) {
		return nil
	}
	d := a.rider(r.key, r)
	if c.mark = markOf(c.id); d.marks.has(c.mark) {
		c.traced = true
	} else {
		d.open = append(trimmed(d.open), c)
	}
	return nil
}

func (a *auditor) riderRow(r *record) error {
	if r.value == nil {
		return nil
	}
	row, err := decode[riderRow](r.value)
	if err != nil {
		return err
	}
	d := a.rider(r.key, r)
	var marks []string
	if n := len(row.Recent); n > 0 {
		marks = append(marks, markIn(row.Recent[n-1]))
	}
	moves := make([]string, len(row.Moves))
	for i, packed := range row.Moves {
		moves[i] = markIn(packed)
	}
	if n := len(moves); n > 0 {
		marks = append(marks, moves[n-1])
	}
	if row.Wish != nil {
		marks = append(marks, markOf(row.Wish.CommandID))
	}
	for _, m := range marks {
		d.marks.add(m)
	}
	d.open = trimmed(d.open)
	for _, c := range d.open {
		c.traced = slices.Contains(marks, c.mark) || slices.Contains(moves, c.mark)
		for _, v := range row.Recent {
			c.traced = c.traced || markIn(v) == c.mark
		}
	}
	return nil
}

func (a *auditor) dispatchCommand(r *record) error {
	m, err := decode[dispatchCommand](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	switch m.Type {
	case "request", "ready", "postpone", "give_up", "withdraw":
		l := a.life(m.OrderID, r)
		a.seen(&l.marks, r, m.ID)
		if t := l.trip(m.Attempt); m.Type == "request" && !t.requested {
			t.requested, t.request, t.area = true, r.where, strings.Clone(r.key)
		}
	case "enter", "leave":
		d := a.rider(m.RiderID, r)
		if a.seen(&d.seen, r, m.ID) {
			d.shifts = append(d.shifts, shift{where: r.where, id: strings.Clone(m.ID), leave: m.Type == "leave", shift: m.Shift})
			a.answered(d)
		}
	case "claim", "decline", "picked_up", "delivered":
		ar := a.area(r.key)
		if mark := markOf(m.Type, m.ID); !ar.marks.has(mark) && !slices.ContainsFunc(ar.open, func(c *command) bool { return c.mark == mark }) {
			ar.open = append(trimmed(ar.open), &command{id: strings.Clone(m.ID), key: strings.Clone(r.key), typ: known(m.Type), where: r.where, records: 1, mark: mark})
		}
	}
	return nil
}

func (a *auditor) riderEvent(r *record) error {
	m, err := decode[riderEvent](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	if m.OrderID != "" {
		a.seen(&a.life(m.OrderID, r).marks, r, m.ID)
		return nil
	}
	d := a.rider(r.key, r)
	a.seen(&d.seen, r, m.ID)
	switch m.Type {
	case "entered":
		d.entered = max(d.entered, m.Shift)
	case "left":
		d.left = max(d.left, m.Shift)
	}
	a.answered(d)
	return nil
}

// answered drops the enters and leaves that have an answer.
func (a *auditor) answered(d *rider) {
	d.shifts = slices.DeleteFunc(d.shifts, func(s shift) bool {
		stays := digest(a.short[riderEvents], s.id+"/stays")
		return s.shift <= d.left || !s.leave && s.shift <= d.entered ||
			slices.ContainsFunc(d.seen, func(m mark) bool { return m.id == stays })
	})
}

// deliveryEvent: a delivery has one rider at a time, and one end.
func (a *auditor) deliveryEvent(r *record) error {
	m, err := decode[deliveryEvent](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	l := a.life(r.key, r)
	if !a.seen(&l.marks, r, m.ID) {
		return nil
	}
	t := l.trip(m.Attempt)
	wrong := func(format string, args ...any) {
		a.violation(Deliveries, r.key, r.where, "attempt %d: "+format, append([]any{m.Attempt}, args...)...)
	}
	fresh := t.events == 0 && (l.reopened || a.gone(deliveryEvents, r.partition))
	t.last = r.where
	t.events++
	if t.end != "" {
		wrong("%s after its end: it is %s", m.Type, t.end)
		return nil
	}
	switch m.Type {
	case "assigned":
		if t.rider != "" {
			wrong("given to rider %q, and rider %q has it", m.RiderID, t.rider)
		}
		if slices.Contains(t.gaveBack, m.RiderID) {
			wrong("given to rider %q again, who gave it back", m.RiderID)
		}
		t.rider = strings.Clone(m.RiderID)
	case "unassigned":
		switch {
		case fresh:
		case t.rider != m.RiderID:
			wrong("taken from rider %q, and rider %q has it", m.RiderID, t.rider)
		case t.away:
			wrong("taken from rider %q, who has picked it up", m.RiderID)
		}
		t.gaveBack = append(t.gaveBack, strings.Clone(m.RiderID))
		t.rider = ""
	case "picked_up":
		if t.rider != m.RiderID && !fresh {
			wrong("picked up by rider %q, and rider %q has it", m.RiderID, t.rider)
		}
		t.rider, t.away = strings.Clone(m.RiderID), true
	case "delivered":
		switch {
		case fresh:
		case t.rider != m.RiderID:
			wrong("delivered by rider %q, and rider %q has it", m.RiderID, t.rider)
		case !t.away:
			wrong("delivered by rider %q, who has not picked it up", m.RiderID)
		}
		t.end, t.brought, t.rider = "delivered", strings.Clone(m.RiderID), ""
	case "failed":
		if t.away {
			wrong("fails, and rider %q has picked it up", t.rider)
		}
		t.end, t.rider = "failed", ""
	default:
		wrong("an event of type %q", m.Type)
	}
	return nil
}

// owedTrips: the order and its delivery end together.
func (a *auditor) owedTrips(l *life, owe func(string, group, where, string, ...any)) {
	if l.reopened {
		return
	}
	for i := range l.trips {
		t := &l.trips[i]
		delivered := l.had("delivered", t.attempt)
		switch {
		case t.requested && t.events == 0 && !a.area(t.area).orders[reservation{l.key, t.attempt}] && !a.compacted[dispatchTable]:
			owe(Deliveries, dispatch, t.request, "attempt %d is requested, and area %q does not know it", t.attempt, t.area)
		case t.requested && final[l.status] && t.end == "" && !t.away:
			owe(Deliveries, dispatch, t.request, "the order is %s, and the delivery of attempt %d goes on", l.status, t.attempt)
		case t.end == "delivered" && delivered == nil && l.had("cooking", t.attempt) != nil:
			owe(Deliveries, orders, t.last, "attempt %d is delivered, and the order does not know it", t.attempt)
		case t.end == "delivered" && delivered != nil && delivered.rider != t.brought:
			owe(Deliveries, orders, delivered.where, "attempt %d is delivered by rider %q, and the order says %q", t.attempt, t.brought, delivered.rider)
		case delivered != nil && t.end != "delivered":
			owe(Deliveries, dispatch, delivered.where, "the order is delivered, and the delivery of attempt %d is not", t.attempt)
		case t.events > 0 && !t.requested:
			owe(Deliveries, orders, t.last, "attempt %d is brought, and nobody asked for it", t.attempt)
		}
	}
	for i := range l.events {
		if e := &l.events[i]; e.typ == "delivered" && !slices.ContainsFunc(l.trips, func(t trip) bool { return t.attempt == e.attempt }) {
			owe(Deliveries, dispatch, e.where, "attempt %d is delivered, and there was no delivery", e.attempt)
		}
	}
}

// areaRow: no rider has more in hand than he can carry, and only riders on
// shift have any. A rider may come down to a smaller capacity with more in hand;
// what he was given since must fit.
func (a *auditor) areaRow(r *record) error {
	if r.value == nil {
		return nil
	}
	row, err := decode[areaRow](r.value)
	if err != nil {
		return err
	}
	ar := a.area(r.key)
	ar.row = r.where
	type carrier struct {
		capacity  int
		entered   int64
		hand      int
		lastGiven int64
		lastOrder string
	}
	carriers := make(map[string]*carrier, len(row.Riders))
	clear(ar.onDuty)
	for _, packed := range row.Riders {
		f := strings.Split(packed, "/") // id, shift, lat, lon, since, capacity, idle since, entered, leaving
		for len(f) < 9 {
			f = append(f, "")
		}
		carriers[f[0]] = &carrier{capacity: int(number(f[5])), entered: number(f[7])}
		ar.onDuty[f[0]] = true
	}
	clear(ar.orders)
	seq := ar.seq
	var marks []string
	all := row.Deliveries
	for _, d := range row.Done {
		all = append(all, areaDelivery(d))
	}
	for _, d := range all {
		ar.orders[reservation{d.Order, d.Attempt}] = true
		holder, given, over := "", int64(0), false
		for _, packed := range d.Steps {
			f := strings.SplitN(packed, "/", 6) // seq, letter, at, by, rider, …
			for len(f) < 6 {
				f = append(f, "")
			}
			if n := number(f[0]); n > ar.seq {
				seq = max(seq, n)
				marks = append(marks, f[3])
			}
			switch f[1] {
			case "a":
				if holder != "" {
					a.violation(Deliveries, r.key, r.where, "order %q, attempt %d has riders %q and %q", d.Order, d.Attempt, holder, f[4])
				}
				holder, given = f[4], number(f[2])
			case "u":
				holder = ""
			case "d", "f":
				over = true
			}
		}
		if holder == "" || over {
			continue
		}
		c := carriers[holder]
		if c == nil {
			a.violation(Deliveries, r.key, r.where, "rider %q has order %q and is not on shift", holder, d.Order)
			continue
		}
		if c.hand++; given >= c.lastGiven {
			c.lastGiven, c.lastOrder = given, d.Order
		}
	}
	for id, c := range carriers {
		if c.hand > c.capacity && c.lastGiven > c.entered {
			a.violation(Deliveries, r.key, r.where, "rider %q carries %d and can carry %d: the last one is order %q", id, c.hand, c.capacity, c.lastOrder)
		}
	}
	ar.seq = seq
	if n := len(row.Recent); n > 0 {
		marks = append(marks, markIn(row.Recent[n-1]))
	}
	for _, m := range marks {
		ar.marks.add(m)
	}
	ar.open = trimmed(ar.open)
	for _, c := range ar.open {
		c.traced = slices.Contains(marks, c.mark)
		for _, v := range row.Recent {
			c.traced = c.traced || markIn(v) == c.mark
		}
	}
	return nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// owedToRider: his enter and leave are answered.
func (a *auditor) owedToRider(id string, d *rider, f func(*debt)) {
	for _, s := range d.shifts {
		what := "enter"
		if s.leave {
			what = "leave"
		}
		f(&debt{check: Inputs, key: id, text: fmt.Sprintf("%s %q has no answer from dispatch", what, s.id), from: s.where, by: dispatch, home: -1, lost: []stream{riderEvents}})
	}
}

// owedByAreas: a rider is on shift in one area, and what riders say is decided on.
func (a *auditor) owedByAreas(f func(*debt)) {
	in := map[string]string{}
	for id, ar := range a.areas {
		for r := range ar.onDuty {
			if other, twice := in[r]; twice {
				f(&debt{check: Deliveries, key: r, text: fmt.Sprintf("rider %q is on shift in areas %q and %q", r, min(id, other), max(id, other)), from: ar.row, by: dispatch, shown: true})
			}
			in[r] = id
		}
		if a.compacted[dispatchTable] {
			continue
		}
		for _, c := range ar.open {
			if !c.traced && !a.buried(c) {
				f(&debt{check: Inputs, key: c.key, text: fmt.Sprintf("%s %q: nothing became of it in the area's row", c.typ, c.id), from: c.where, by: dispatch, home: -1, lost: []stream{deadLetters}})
			}
		}
	}
}

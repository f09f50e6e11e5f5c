package audit

import (
	"slices"
	"strconv"
	"strings"
)

// note is a notification that is not both sent and logged yet.
type note struct {
	where
	id     string
	sent   bool
	logged bool
}

func (a *auditor) notification(r *record) error { return a.note(r, true) }
func (a *auditor) logged(r *record) error       { return a.note(r, false) }

func (a *auditor) note(r *record, sent bool) error {
	m, err := decode[notification](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	l := a.life(m.OrderID, r)
	if !a.seen(&l.marks, r, m.ID) {
		if a.once {
			a.violation(Messages, r.key, r.where, "notification %q comes a second time", m.ID)
		}
		return nil
	}
	if l.reopened && l.versionOf(m.ID) <= l.base {
		return nil // its other half may be forgotten
	}
	a.inOrder(l, r, m.ID)
	i := slices.IndexFunc(l.notes, func(n note) bool { return n.id == m.ID })
	if i < 0 {
		l.notes = append(l.notes, note{where: r.where, id: strings.Clone(m.ID), sent: sent, logged: !sent})
		return nil
	}
	l.notes = slices.Delete(l.notes, i, i+1)
	if v := l.versionOf(m.ID); v > l.base+len(l.events) || v > l.base && l.events[v-l.base-1].sum == 0 {
		l.notes = append(l.notes, note{where: r.where, id: strings.Clone(m.ID), sent: true, logged: true})
	}
	return nil
}

// told is what the newest notification was that somebody got about an order.
type told struct {
	to      uint64 // stream, recipient and audience
	version int
}

// inOrder judges a notification that comes for the first time: a person is told
// what happened to an order as it happened. Where records are gone, it may be a
// repeat.
func (a *auditor) inOrder(l *life, r *record, id string) {
	version := l.versionOf(id)
	if version == noVersion || a.starts[partition{r.stream, r.partition}] > 0 {
		return
	}
	to := digest(a.short[r.stream], r.key, id[strings.LastIndexByte(id, '/'):])
	i := slices.IndexFunc(l.told, func(t told) bool { return t.to == to })
	if i < 0 {
		l.told = append(l.told, told{to, version})
		return
	}
	if t := &l.told[i]; version < t.version {
		a.violation(Messages, r.key, r.where, "notification %q comes for the first time behind that of version %d", id, t.version)
	} else {
		t.version = version
	}
}

const noVersion = 1 << 20

// versionOf returns the version of the order that a notification is about: ORDERID/VERSION/AUDIENCE.
func (l *life) versionOf(id string) int {
	v, _, _ := strings.Cut(strings.TrimPrefix(id, l.key+"/"), "/")
	n, err := strconv.Atoi(v)
	if err != nil {
		return noVersion
	}
	return n
}

// owedNotes: what is sent is logged, and is about something that happened.
func (a *auditor) owedNotes(l *life, owe func(string, group, where, string, ...any)) {
	for _, n := range l.notes {
		v := l.versionOf(n.id)
		switch {
		case n.sent && !n.logged:
			owe(Messages, messenger, n.where, "notification %q is not in the message log", n.id)
		case n.logged && !n.sent:
			owe(Messages, notifier, n.where, "message %q is logged, and was never sent", n.id)
		case v > l.base+len(l.events) || v > l.base && l.events[v-l.base-1].sum == 0:
			owe(Messages, orders, n.where, "notification %q is about nothing that happened", n.id)
		}
	}
}

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

// versionOf returns the version of the order that a notification is about: ORDERID/VERSION/AUDIENCE.
func (l *life) versionOf(id string) int {
	v, _, _ := strings.Cut(strings.TrimPrefix(id, l.key+"/"), "/")
	n, err := strconv.Atoi(v)
	if err != nil {
		return 1 << 20
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
		case n.logged && !n.sent && !a.truncated[notifications]:
			owe(Messages, notifier, n.where, "message %q is logged, and was never sent", n.id)
		case v > l.base+len(l.events) || v > l.base && l.events[v-l.base-1].sum == 0:
			owe(Messages, orders, n.where, "notification %q is about nothing that happened", n.id)
		}
	}
}

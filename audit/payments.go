package audit

import (
	"fmt"
	"slices"
	"strings"
)

// replies of payments, in the order of the bits of money.
var payReplies = []string{"approved", "declined", "captured", "voided", "refunded"}

// requests to payments.
var payRequests = []string{"authorize", "capture", "void", "refund"}

// money is what became of an order's money.
type money struct {
	replies  [5]paid // by payReplies
	requests [4]paid // by payRequests
	row      where
	rowSeen  bool
	due      int64 // of a call that is under way or to be made again; 0: none
	gone     bool
}

type paid struct {
	where
	done   bool
	sum    uint64
	amount int64
}

func (m *money) is(reply string) bool { return m.replies[slices.Index(payReplies, reply)].done }

func (m *money) reply(name string) *paid { return &m.replies[slices.Index(payReplies, name)] }

func (m *money) request(name string) *paid { return &m.requests[slices.Index(payRequests, name)] }

func (m *money) bits() (b uint8) {
	for i := range m.replies {
		if m.replies[i].done {
			b |= 1 << i
		}
	}
	return b
}

func (m *money) restore(b uint8) {
	for i := range m.replies {
		m.replies[i].done = b&(1<<i) != 0
	}
}

func (a *auditor) paymentRequest(r *record) error {
	m, err := decode[paymentMessage](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	l := a.life(r.key, r)
	a.seen(&l.marks, r, m.ID)
	i := slices.Index(payRequests, m.Type)
	if i < 0 {
		return fmt.Errorf("type %q", m.Type)
	}
	if p := &l.money.requests[i]; !p.done {
		*p = paid{where: r.where, done: true, amount: m.Amount}
	}
	return nil
}

// exclude are replies that can't both be said of the same money.
var exclude = [][2]string{{"approved", "declined"}, {"captured", "voided"}, {"captured", "declined"}, {"refunded", "voided"}}

func (a *auditor) paymentReply(r *record) error {
	m, err := decode[paymentMessage](r.value)
	if err != nil {
		return err
	}
	l := a.life(r.key, r)
	a.seen(&l.marks, r, m.ID)
	if m.Type == "delayed" {
		return nil
	}
	i := slices.Index(payReplies, m.Type)
	if i < 0 {
		a.violation(Payments, r.key, r.where, "a reply of type %q", m.Type)
		return nil
	}
	p, sum := &l.money.replies[i], digestBytes(r.value)
	if p.done {
		if p.sum != 0 && p.sum != sum {
			a.violation(Payments, r.key, r.where, "%s twice: also at offset %d", m.Type, p.offset)
		}
		return nil
	}
	*p = paid{where: r.where, done: true, sum: sum, amount: m.Amount}
	for _, x := range exclude {
		if m.Type == x[0] && l.money.is(x[1]) || m.Type == x[1] && l.money.is(x[0]) {
			a.violation(Payments, r.key, r.where, "the money is %s and %s", x[0], x[1])
		}
	}
	return nil
}

func (a *auditor) paymentRow(r *record) error {
	l := a.life(r.key, r)
	m := &l.money
	m.row, m.rowSeen, m.due, m.gone = r.where, true, 0, r.value == nil
	if m.gone {
		return nil
	}
	row, err := decode[paymentRow](r.value)
	if err != nil {
		return err
	}
	if len(row.Attempts) > 1 {
		a.violation(Payments, r.key, r.where, "the order is paid for %d times", len(row.Attempts))
	}
	for _, at := range row.Attempts {
		if strings.HasSuffix(at.Status, "ing") && at.Due > 0 {
			m.due = int64(at.Due)
		}
	}
	return nil
}

// gatewayPatience is how long one call to the gateway may take.
const gatewayPatience = 30_000

// owedMoney: what is authorised ends captured or voided, what is refunded was captured.
func (a *auditor) owedMoney(l *life, f func(*debt)) {
	m := &l.money
	owe := func(by group, from where, format string, args ...any) {
		d := debt{check: Payments, key: l.key, text: fmt.Sprintf(format, args...), from: from, by: by, home: l.home}
		if m.due > 0 && by == payments { // the gateway is asked, or will be
			d.until = m.due + gatewayPatience
		}
		f(&d)
	}
	approved, captured, voided, declined := m.reply("approved"), m.reply("captured"), m.reply("voided"), m.reply("declined")
	refunded := m.reply("refunded")
	authorize := m.request("authorize")
	if l.reopened {
		return
	}
	if captured.done && !approved.done {
		owe(payments, captured.where, "captured, and not approved")
	}
	if refunded.done && !captured.done {
		owe(payments, refunded.where, "refunded, and not captured")
	}
	for _, k := range []struct {
		request, reply string
	}{{"capture", "captured"}, {"void", "voided"}, {"refund", "refunded"}} {
		q, p := m.request(k.request), m.reply(k.reply)
		if p.done && !q.done {
			owe(orders, p.where, "%s, and nobody asked for it", k.reply)
		}
	}
	if approved.done && !authorize.done {
		owe(orders, approved.where, "approved, and nobody asked for it")
	}
	for i := range m.requests {
		if q := &m.requests[i]; q.done && !m.rowSeen {
			owe(payments, q.where, "%s, and payments has no row for it", payRequests[i])
		}
	}
	for i, p := range m.replies {
		if p.done && payReplies[i] != "declined" && p.amount != authorize.amount && authorize.done {
			owe(payments, p.where, "%s %d, and %d was asked for", payReplies[i], p.amount, authorize.amount)
		}
	}
	if paying := l.had("paying", 1); paying != nil && authorize.done && paying.total != authorize.amount {
		owe(orders, authorize.where, "authorize %d, and the order's total is %d", authorize.amount, paying.total)
	}

	delivered := l.had("delivered", 1)
	if paid := l.had("paid", 1); paid != nil && !approved.done {
		owe(payments, paid.where, "the order is paid, and nothing was approved")
	}
	switch {
	case delivered != nil && voided.done:
		owe(payments, voided.where, "the order is delivered, and its money is voided")
	case delivered != nil && !m.request("capture").done:
		owe(orders, delivered.where, "the order is delivered, and nobody asks for its money")
	case delivered != nil && !captured.done:
		owe(payments, m.request("capture").where, "the order is delivered, and its money is not captured")
	case final[l.status] && delivered == nil && captured.done:
		owe(orders, captured.where, "the order is %s without a delivery, and its money is captured", l.status)
	case final[l.status] && delivered == nil && authorize.done && !m.request("void").done:
		owe(orders, l.last(), "the order is %s, and nobody voids its money", l.status)
	case final[l.status] && delivered == nil && authorize.done && approved.done && !voided.done:
		owe(payments, m.request("void").where, "the order is %s, and its money is not voided", l.status)
	case final[l.status] && delivered == nil && authorize.done && !voided.done && !declined.done:
		owe(payments, m.request("void").where, "the order is %s, and its money is neither declined nor voided", l.status)
	case l.status == "refunded" && !m.request("refund").done:
		owe(orders, l.last(), "the order is refunded, and nobody asks for it")
	case l.status == "refunded" && !refunded.done:
		owe(payments, m.request("refund").where, "the order is refunded, and its money is not")
	case refunded.done && l.status != "refunded":
		owe(orders, refunded.where, "the money is refunded, and the order is %s", l.status)
	}
}

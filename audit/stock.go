package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// store is what is known of one store.
type store struct {
	products map[string]*product
	open     []*command // not yet found in its row
	marks    ring       // of commands that its rows remember
	newest   string     // the last of them
	emptied  int        // times that it was unregistered
	row      where
	reserved []reservation // in the newest row
}

// reservation is one that a row holds.
type reservation struct {
	order   string
	attempt int
}

// product is what commands and replies say of one product of a store, and what
// the newest row says.
type product struct {
	added, removed, sold sum
	rowAdded, rowRemoved int64
	rowSold, rowReserved int64
	inRow                bool
	// emptied counts the commands that took away what was on hand, however much
	// that was; forgotten, whether a row has lost it since, counts and all.
	emptied   int
	forgotten bool
}

// sum is a quantity, and how much of it came after the cut: a row may or may
// not have it yet.
type sum struct{ all, after int64 }

func (s *sum) add(n int64, before bool) {
	s.all += n
	if !before {
		s.after += n
	}
}

// allows reports whether a row that has all of before the cut may say n.
func (s sum) allows(n int64) bool { return s.all-s.after <= n && n <= s.all }

// goods is what an attempt of an order has of its store.
type goods struct {
	attempt  int
	store    string
	wanted   []line
	reserved []line
	ask      where // the first reserve
	answer   string
	answered where
	commit   where
	release  where
	asked    bool
	sold     bool
	commits  bool
	releases bool
}

func (l *life) goodsOf(attempt int) *goods {
	i := slices.IndexFunc(l.goods, func(g goods) bool { return g.attempt == attempt })
	if i < 0 {
		l.goods = append(l.goods, goods{attempt: attempt})
		i = len(l.goods) - 1
	}
	return &l.goods[i]
}

func (a *auditor) store(id string) *store {
	s := a.stores[id]
	if s == nil {
		s = &store{products: map[string]*product{}}
		a.stores[strings.Clone(id)] = s
	}
	return s
}

func (s *store) product(id string) *product {
	p := s.products[id]
	if p == nil {
		p = &product{}
		s.products[strings.Clone(id)] = p
	}
	return p
}

func (a *auditor) storeCommand(r *record) error {
	m, err := decodeCommand[storeCommand](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	switch m.Type {
	case "reserve", "commit", "release":
		if m.OrderID == "" {
			return errors.New("no orderId")
		}
		l := a.life(m.OrderID, r)
		a.seen(&l.marks, r, m.ID)
		g := l.goodsOf(m.Attempt)
		g.store = strings.Clone(r.key)
		switch {
		case m.Type == "reserve" && !g.asked:
			g.asked, g.ask, g.wanted = true, r.where, cloned(m.Lines)
		case m.Type == "commit" && !g.commits:
			g.commits, g.commit = true, r.where
			a.sell(l, g)
		case m.Type == "release" && !g.releases:
			g.releases, g.release = true, r.where
		}
		if g.commits && g.releases {
			a.violation(Stock, l.key, r.where, "attempt %d is committed and released", g.attempt)
		}
		return nil
	}

	says, err := m.says(r)
	if err != nil {
		return err
	}
	id := a.idOf(r, m.ID)
	c := a.command(storeCommands, r.key, id, says)
	s := a.store(r.key)
	if !c.comes(r, m.Type, m.Verdict) {
		return nil
	}
	if c.mark = markOf(id); s.marks.has(c.mark) {
		c.traced = true
	} else {
		s.open = append(trimmed(s.open), c)
	}
	switch m.Type {
	case "add_stock", "remove_stock", "remove_product", "unregister":
	default:
		return nil
	}
	h := commandKey{storeCommands, r.key, id, says}.hash()
	if _, again := a.counted[h]; again {
		return nil
	}
	a.counted[h] = struct{}{}
	c.store = s
	if m.Type != "unregister" {
		c.product = s.product(m.Product)
	}
	switch m.Type {
	case "add_stock":
		c.amount = m.Quantity
	case "remove_stock":
		c.amount = -m.Quantity
	}
	if c.verdict != "refused" {
		a.count(c, 1)
	}
	return nil
}

// count puts a command into the sums of its store, or takes it out.
func (a *auditor) count(c *command, times int64) {
	switch {
	case c.product == nil:
		c.store.emptied += int(times)
	case c.amount > 0:
		c.product.added.add(times*c.amount, a.before(c.where))
	case c.amount < 0:
		c.product.removed.add(-times*c.amount, a.before(c.where))
	default:
		c.product.emptied += int(times)
	}
}

// discount takes a refused command out of the sums.
func (a *auditor) discount(c *command) {
	if c.store != nil {
		a.count(c, -1)
	}
}

func orNoKey(err error) error {
	if err != nil {
		return err
	}
	return errors.New("no key")
}

func cloned(lines []line) []line {
	all := slices.Clone(lines)
	for i := range all {
		all[i].Product = strings.Clone(all[i].Product)
	}
	return all
}

// trimmed drops what needs no trace any more.
func trimmed(all []*command) []*command {
	return slices.DeleteFunc(all, func(c *command) bool { return c.traced })
}

func (a *auditor) stockReply(r *record) error {
	m, err := decode[stockReply](r.value)
	if err != nil {
		return err
	}
	l := a.life(r.key, r)
	if !a.seen(&l.marks, r, m.ID) {
		return nil
	}
	g := l.goodsOf(m.Attempt)
	if g.answer != "" {
		a.violation(Stock, r.key, r.where, "attempt %d is answered %s, and was answered %s at offset %d", m.Attempt, m.Type, g.answer, g.answered.offset)
		return nil
	}
	g.answer, g.answered = strings.Clone(m.Type), r.where
	if m.Type == "reserved" {
		g.store, g.reserved = strings.Clone(m.StoreID), cloned(m.Lines)
		a.sell(l, g)
	}
	return nil
}

// sell counts what was reserved and committed.
func (a *auditor) sell(l *life, g *goods) {
	if g.sold || !g.commits || g.answer != "reserved" || l.reopened && g.attempt <= int(l.sold) {
		return
	}
	g.sold, l.sold = true, max(l.sold, uint8(min(g.attempt, 255)))
	s := a.store(g.store)
	for _, ln := range g.reserved {
		s.product(ln.Product).sold.add(ln.Quantity, a.before(g.commit) && a.before(g.answered))
	}
}

// owedGoods: a reserve is answered, what is reserved is committed or released.
func (a *auditor) owedGoods(l *life, owe func(string, group, where, string, ...any)) {
	for i := range l.goods {
		g := &l.goods[i]
		cooked := l.had("cooking", g.attempt)
		ended := final[l.status] && !(l.status == "refund_denied" && g.attempt > 1)
		switch {
		case g.asked && g.answer == "" && !g.releases && !g.commits && !l.reopened:
			owe(Stock, stock, g.ask, "attempt %d asks store %q for its goods, and has no answer", g.attempt, g.store)
		case g.answer != "" && !g.asked && !l.reopened:
			owe(Stock, orders, g.answered, "attempt %d is %s, and nobody asked", g.attempt, g.answer)
		case cooked != nil && !g.commits && !l.reopened:
			owe(Stock, orders, cooked.where, "attempt %d is cooked, and its goods are not committed", g.attempt)
		case g.answer == "reserved" && ended && !g.commits && !g.releases && !l.reopened:
			owe(Stock, orders, g.answered, "the order is %s, and what attempt %d has reserved is neither committed nor released", l.status, g.attempt)
		case g.commits && cooked == nil && !l.reopened:
			owe(Stock, orders, g.commit, "attempt %d is committed, and was never cooked", g.attempt)
		case g.asked && g.answer == "reserved" && !sameQuantities(g.wanted, g.reserved):
			owe(Stock, stock, g.answered, "attempt %d wants %v and has reserved %v", g.attempt, g.wanted, g.reserved)
		}
	}
}

func sameQuantities(a, b []line) bool {
	n := map[string]int64{}
	for _, l := range a {
		n[l.Product] += l.Quantity
	}
	for _, l := range b {
		n[l.Product] -= l.Quantity
	}
	for _, q := range n {
		if q != 0 {
			return false
		}
	}
	return true
}

// stockRow judges a row by itself and against the one before.
func (a *auditor) stockRow(r *record) error {
	row, err := decode[stockRow](r.value)
	if err != nil {
		return err
	}
	s := a.store(r.key)
	s.row = r.where
	wrong := func(product, format string, args ...any) {
		a.violation(Stock, r.key, r.where, "%q: "+format, append([]any{product}, args...)...)
	}
	held := map[string]int64{}
	s.reserved = s.reserved[:0]
	for _, v := range row.Reservations {
		s.reserved = append(s.reserved, reservation{strings.Clone(v.OrderID), v.Attempt})
		for _, l := range v.Lines {
			held[l.Product] += l.Quantity
		}
	}
	there := map[string]bool{}
	for _, w := range row.Products {
		there[w.Product] = true
		p := s.product(w.Product)
		free := w.OnHand - w.Reserved
		switch {
		case free < 0 || w.Reserved < 0 || w.OnHand < 0 || w.Added < 0 || w.Sold < 0 || w.Removed < 0:
			wrong(w.Product, "negative: free %d, reserved %d, sold %d, removed %d", free, w.Reserved, w.Sold, w.Removed)
		case w.Added != free+w.Reserved+w.Sold+w.Removed:
			wrong(w.Product, "put %d is not free %d + reserved %d + sold %d + removed %d", w.Added, free, w.Reserved, w.Sold, w.Removed)
		case w.Gone && free != 0:
			wrong(w.Product, "it is removed, and %d are free", free)
		case held[w.Product] != w.Reserved:
			wrong(w.Product, "reserved %d, and the open reservations are for %d", w.Reserved, held[w.Product])
		case p.inRow && (w.Added < p.rowAdded || w.Sold < p.rowSold || w.Removed < p.rowRemoved):
			wrong(w.Product, "put, sold or removed goes down: was %d, %d, %d and is %d, %d, %d", p.rowAdded, p.rowSold, p.rowRemoved, w.Added, w.Sold, w.Removed)
		}
		p.rowAdded, p.rowRemoved, p.rowSold, p.rowReserved, p.inRow = w.Added, w.Removed, w.Sold, w.Reserved, true
	}
	for name, p := range s.products {
		if p.inRow && !there[name] {
			if p.rowReserved > 0 {
				wrong(name, "it is gone from the row, and %d were reserved", p.rowReserved)
			}
			p.inRow, p.forgotten = false, true
		}
	}
	// The newest decision is the last one. What is missed still may be among the older ones.
	if n := len(row.Decided); n > 0 {
		fresh := n - 1 // a row may tell of several since the one before
		for fresh > 0 && row.Decided[fresh-1] != s.newest {
			fresh--
		}
		if row.Decided[n-1] == s.newest {
			fresh = n
		}
		for _, d := range row.Decided[fresh:] {
			s.marks.add(strings.Clone(markIn(d)))
		}
		s.newest = strings.Clone(row.Decided[n-1])
	}
	if s.open = trimmed(s.open); len(s.open) > 0 {
		for _, c := range s.open {
			for i := len(row.Decided) - 1; i >= 0 && !c.traced; i-- {
				c.traced = markIn(row.Decided[i]) == c.mark
			}
		}
	}
	return nil
}

// markIn returns the mark of the command that a row's decision is about, which
// it begins with.
func markIn(decision string) string {
	mark, _, _ := strings.Cut(decision, "/")
	return mark
}

// owedByStore: the newest row is what the commands and the orders say.
func (a *auditor) owedByStore(id string, s *store, f func(*debt)) {
	if s.row == (where{}) {
		return
	}
	owe := func(format string, args ...any) {
		f(&debt{check: Stock, key: id, text: fmt.Sprintf(format, args...), from: s.row, by: stock, home: -1})
	}
	for name, p := range s.products {
		emptied := p.emptied+s.emptied > 0
		if p.forgotten {
			if !emptied {
				owe("%q: it is gone from the row, and nobody removed it", name)
			}
			continue // its counts began again
		}
		removed := p.removed
		if emptied { // and what was on hand then, which no message says
			removed.after += max(0, p.rowRemoved-removed.all)
			removed.all = max(removed.all, p.rowRemoved)
		}
		for _, c := range []struct {
			what string
			said sum
			row  int64
		}{{"put", p.added, p.rowAdded}, {"removed", removed, p.rowRemoved}, {"sold", p.sold, p.rowSold}} {
			if !c.said.allows(c.row) {
				owe("%q: the row says %s %d, the messages %d", name, c.what, c.row, c.said.all)
			}
		}
	}
	for _, v := range s.reserved {
		if _, over := a.closed[digest(v.order)]; over && a.orders[v.order] == nil {
			owe("attempt %d of order %q is over, and its goods are still reserved", v.attempt, v.order)
			continue
		}
		l := a.orders[v.order]
		if l == nil {
			owe("goods are reserved for order %q, which nobody knows", v.order)
			continue
		}
		g := l.goodsOf(v.attempt)
		if g.commits && a.before(g.commit) {
			owe("attempt %d of order %q is committed, and its goods are still reserved", v.attempt, v.order)
		}
		if g.releases && a.before(g.release) {
			owe("attempt %d of order %q is released, and its goods are still reserved", v.attempt, v.order)
		}
	}
}

// ring remembers the newest marks.
type ring struct {
	all [128]string
	n   int
}

func (r *ring) add(m string) {
	if r.all[(r.n+len(r.all)-1)%len(r.all)] != m {
		r.all[r.n] = m
		r.n = (r.n + 1) % len(r.all)
	}
}

func (r *ring) has(m string) bool { return slices.Contains(r.all[:], m) }

package api

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"sync"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/order"
)

// recentOrders bounds how many placed orders are remembered until they show in
// the table: at some 150 bytes each, 10 MB.
const recentOrders = 1 << 16

// recent remembers what was lately ordered under which id, for as long as the
// view may not show the order yet. It is a help, not a promise: it is bounded,
// gone with the process, and other processes do not know it. What it misses is
// still safe, because the orders group applies the first command under an id
// only, but the second client is then told 202 for an order that is not his.
type recent struct {
	mu    sync.Mutex
	sums  map[string][sha256.Size]byte
	ring  []string
	place int
}

func newRecent(size int) *recent {
	return &recent{sums: make(map[string][sha256.Size]byte), ring: make([]string, size)}
}

// claim notes what is ordered under an id. It is false when something else was.
func (m *recent) claim(id string, sum [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was, ok := m.sums[id]; ok {
		return was == sum
	}
	if oldest := m.ring[m.place]; oldest != "" {
		delete(m.sums, oldest)
	}
	m.ring[m.place] = id
	m.place = (m.place + 1) % len(m.ring)
	m.sums[id] = sum
	return true
}

// fingerprint is the same for two place commands that order the same, whatever
// the order of the lines.
func fingerprint(c *order.Command) (sum [sha256.Size]byte, err error) {
	same := (&order.Command{Meta: domain.Meta{Type: order.Place}, UserID: c.UserID, StoreID: c.StoreID, Lines: c.Lines,
		Address: c.Address, ExpectedTotal: c.ExpectedTotal}).Own()
	slices.SortFunc(same.Lines, func(a, b domain.Line) int { return cmp.Compare(a.Product, b.Product) })
	data, err := codecs.Marshal(same)
	if err != nil {
		return sum, err
	}
	return sha256.Sum256(data), nil
}

// placedAs turns an order back into the command that placed it, as far as its
// fingerprint needs it.
func placedAs(o *order.Order) *order.Command {
	address := o.Address
	return &order.Command{UserID: o.UserID, StoreID: o.StoreID, Lines: o.Lines, Address: &address, ExpectedTotal: o.Expected}
}

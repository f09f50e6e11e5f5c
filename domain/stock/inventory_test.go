package stock_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/stock"
)

const noon = domain.Time(1_780_000_000_000)

var (
	bibimbap = some("bibimbap", 2)
	mandu    = some("mandu", 3)
)

func some(product string, n int) domain.Line { return domain.Line{Product: product, Quantity: n} }

func command(kind string) *stock.Command {
	return &stock.Command{Meta: domain.Meta{Type: kind}, Verdict: true}
}

func register(name string) *stock.Command {
	c := command(stock.Register)
	c.Name, c.Area, c.Lat, c.Lon = name, "mapo", new(37.5), new(127.0)
	c.AutoAccept, c.CookingTime = new(false), new(domain.Duration(10*time.Minute))
	return c
}

func put(product, name string, price domain.Money) *stock.Command {
	c := command(stock.PutProduct)
	c.Product, c.Name, c.Price = product, name, &price
	return c
}

func quantity(kind, product string, n int) *stock.Command {
	c := command(kind)
	c.Product, c.Quantity = product, n
	return c
}

func order(kind, id string, attempt int, lines ...domain.Line) *stock.Command {
	return &stock.Command{Meta: domain.Meta{Type: kind}, OrderID: id, Attempt: attempt, Lines: lines}
}

func expecting(total domain.Money, c *stock.Command) *stock.Command {
	c.ExpectedTotal = &total
	return c
}

// store drives a row: every command gets an id and a later time.
type store struct {
	t   *testing.T
	row *stock.Inventory
	n   int
}

// named is the name of a command that says what it always says.
func named(id string) domain.Name { return domain.Name{ID: id, Own: true, Mark: "mark"} }

// kitchen is a registered store with 10 bibimbap and 5 mandu.
func kitchen(t *testing.T) *store {
	s := &store{t: t, row: stock.NewInventory("s-1")}
	for _, c := range []*stock.Command{
		register("Kitchen"), put("mandu", "Mandu", 500), put("bibimbap", "Bibimbap", 9000),
		quantity(stock.AddStock, "bibimbap", 10), quantity(stock.AddStock, "mandu", 5),
	} {
		require.Equal(t, domain.Accepted, s.do(c).Verdict.Verdict)
	}
	return s
}

func (s *store) now() domain.Time { return noon.Add(time.Duration(s.n) * time.Second) }

func (s *store) do(c *stock.Command) stock.Out {
	s.n++
	return s.as(fmt.Sprintf("c-%d", s.n), c)
}

func (s *store) as(id string, c *stock.Command) stock.Out {
	s.t.Helper()
	require.NoError(s.t, c.Validate())
	return s.row.Handle(c, named(id), s.now())
}

func (s *store) level(product string) stock.Level {
	s.t.Helper()
	for _, l := range s.row.Levels() {
		if l.Product == product {
			return l
		}
	}
	require.Fail(s.t, "no product "+product)
	return stock.Level{}
}

func encoded(t require.TestingT, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestInventory_Commands(t *testing.T) {
	unknown := `store "s-1" is not registered: register it first`
	tests := map[string]struct {
		before  []*stock.Command // in a kitchen; nil: in an unknown store
		command *stock.Command
		refusal string
	}{
		"UnknownStore/open":         {nil, command(stock.Open), unknown},
		"UnknownStore/close":        {nil, command(stock.Close), unknown},
		"UnknownStore/put_product":  {nil, put("mandu", "Mandu", 1), unknown},
		"UnknownStore/add_stock":    {nil, quantity(stock.AddStock, "mandu", 1), unknown},
		"UnknownStore/remove_stock": {nil, quantity(stock.RemoveStock, "mandu", 1), unknown},
		"UnknownStore/register":     {nil, register("Kitchen"), ""},

		"UnknownProduct/add_stock":    {[]*stock.Command{}, quantity(stock.AddStock, "soju", 1), `store "s-1" has no product "soju": put the product first`},
		"UnknownProduct/remove_stock": {[]*stock.Command{}, quantity(stock.RemoveStock, "soju", 1), `store "s-1" has no product "soju": put the product first`},

		"Add/UpToTheMost": {[]*stock.Command{}, quantity(stock.AddStock, "mandu", stock.MaxQuantity-5), ""},
		"Add/BeyondTheMost": {[]*stock.Command{}, quantity(stock.AddStock, "mandu", stock.MaxQuantity-4),
			`5 of "mandu" are on hand and at most 1000000000 may be: add 999999995 or less`},
		"Remove/AllFree": {[]*stock.Command{order(stock.Reserve, "o-1", 1, mandu)}, quantity(stock.RemoveStock, "mandu", 2), ""},
		"Remove/Reserved": {[]*stock.Command{order(stock.Reserve, "o-1", 1, mandu)}, quantity(stock.RemoveStock, "mandu", 4),
			`2 of "mandu" are free (5 on hand, 3 reserved): remove 2 or less, not 4`},
		"Close":      {[]*stock.Command{}, command(stock.Close), ""},
		"Close/Two":  {[]*stock.Command{command(stock.Close)}, command(stock.Close), ""},
		"Open/Again": {[]*stock.Command{}, command(stock.Open), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &store{t: t, row: stock.NewInventory("s-1")}
			if tt.before != nil {
				s = kitchen(t)
			}
			for _, c := range tt.before {
				s.do(c)
			}
			before := encoded(t, s.row.Products)

			out := s.do(tt.command)
			id := fmt.Sprintf("c-%d", s.n)
			want := domain.NewVerdict(stock.Stream, "s-1", named(id), domain.Because(tt.refusal), 0, s.now())
			assert.Equal(t, stock.Out{Verdict: &want, Changed: true}, out)
			if tt.refusal != "" {
				assert.Equal(t, before, encoded(t, s.row.Products), "a refused command changes nothing")
			}

			// The same id again, later: the same verdict, and nothing else.
			after := encoded(t, s.row)
			s.n++
			assert.Equal(t, stock.Out{Verdict: &want}, s.as(id, tt.command))
			assert.Equal(t, after, encoded(t, s.row))
		})
	}
}

func TestInventory_VerdictOnAcceptanceOnlyWhenAskedFor(t *testing.T) {
	s := kitchen(t)
	quiet := quantity(stock.AddStock, "mandu", 1)
	quiet.Verdict = false
	assert.Equal(t, stock.Out{Changed: true}, s.as("quiet", quiet))
	assert.Equal(t, stock.Out{}, s.as("quiet", quiet))

	refused := quantity(stock.RemoveStock, "mandu", 100)
	refused.Verdict = false
	first := s.as("refused", refused)
	require.NotNil(t, first.Verdict)
	s.n++
	assert.Equal(t, first.Verdict, s.as("refused", refused).Verdict)
}

func TestInventory_Register(t *testing.T) {
	s := kitchen(t)
	assert.True(t, s.row.Open, "a new store is open")
	s.do(command(stock.Close))
	s.do(register("Kitchen"))
	assert.False(t, s.row.Open)
	s.do(register("Bistro"))
	assert.Equal(t, "Bistro", s.row.Store.Name)
	assert.Equal(t, 37.5, s.row.Store.Place().Lat)
	assert.False(t, s.row.Open, "registering again does not open a closed store")
	s.do(command(stock.Open))
	assert.True(t, s.row.Open)
}

func TestInventory_PutProductAgainKeepsStock(t *testing.T) {
	s := kitchen(t)
	s.do(put("mandu", "Wang mandu", 700))
	assert.Equal(t, []stock.Level{
		{Product: "bibimbap", Name: "Bibimbap", Price: 9000, OnHand: 10, Available: 10},
		{Product: "mandu", Name: "Wang mandu", Price: 700, OnHand: 5, Available: 5},
	}, s.row.Levels())
}

func TestInventory_TooManyProducts(t *testing.T) {
	s := kitchen(t)
	for i := len(s.row.Products); i < stock.MaxProducts; i++ {
		require.Equal(t, domain.Accepted, s.do(put(fmt.Sprintf("p-%d", i), "P", 1)).Verdict.Verdict)
	}
	assert.Equal(t, `store "s-1" has 1000 products, which is the most: put "soju" into another store`, s.do(put("soju", "Soju", 1)).Verdict.Reason)
	assert.Equal(t, domain.Accepted, s.do(put("mandu", "Mandu", 1)).Verdict.Verdict, "one that is there may change")
}

func TestInventory_Reserve(t *testing.T) {
	closed := func(s *store) { s.do(command(stock.Close)) }
	tests := map[string]struct {
		before  func(*store)
		unknown bool
		reserve *stock.Command
		reason  string
		short   []domain.Shortage
	}{
		"Reserved":      {reserve: order(stock.Reserve, "o-1", 1, bibimbap, mandu)},
		"ExpectedTotal": {reserve: expecting(19_500, order(stock.Reserve, "o-1", 1, bibimbap, mandu))},
		"UnknownStore":  {unknown: true, reserve: order(stock.Reserve, "o-1", 1, mandu), reason: stock.UnknownStore},
		"Closed":        {before: closed, reserve: order(stock.Reserve, "o-1", 1, mandu), reason: stock.Closed},
		"UnknownProduct": {
			reserve: order(stock.Reserve, "o-1", 1, mandu, some("soju", 1)), reason: stock.UnknownProduct,
		},
		"Short": {
			reserve: order(stock.Reserve, "o-1", 1, some("mandu", 6), bibimbap), reason: stock.Short,
			short: []domain.Shortage{{Product: "mandu", Wanted: 6, Available: 5}},
		},
		"Short/Every": {
			before:  func(s *store) { s.do(order(stock.Reserve, "o-0", 1, bibimbap)) },
			reserve: order(stock.Reserve, "o-1", 1, some("mandu", 6), some("bibimbap", 9)), reason: stock.Short,
			short: []domain.Shortage{{Product: "mandu", Wanted: 6, Available: 5}, {Product: "bibimbap", Wanted: 9, Available: 8}},
		},
		"PriceChanged": {reserve: expecting(19_499, order(stock.Reserve, "o-1", 1, bibimbap, mandu)), reason: stock.PriceChanged},
		"Short/BeforePriceChanged": {
			reserve: expecting(1, order(stock.Reserve, "o-1", 1, some("mandu", 6))), reason: stock.Short,
			short: []domain.Shortage{{Product: "mandu", Wanted: 6, Available: 5}},
		},
		"Busy": {
			before: func(s *store) {
				var lines []domain.Line
				for i := range 100 {
					id := fmt.Sprintf("p-%d", i)
					s.do(put(id, "P", 1))
					s.do(quantity(stock.AddStock, id, 1000))
					lines = append(lines, domain.Line{Product: id, Quantity: 1})
				}
				for i := range stock.MaxReservedLines / len(lines) {
					require.Equal(s.t, stock.Reserved, s.do(order(stock.Reserve, fmt.Sprintf("o-%d", 100+i), 1, lines...)).Reply.Type)
				}
			},
			reserve: order(stock.Reserve, "o-1", 1, mandu), reason: stock.Busy,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := kitchen(t)
			if tt.unknown {
				s.row = stock.NewInventory("s-1")
			}
			if tt.before != nil {
				tt.before(s)
			}
			before := encoded(t, s.row.Products)
			out := s.do(tt.reserve)

			want := &stock.Reply{Meta: domain.Meta{Type: stock.Refused, ID: "o-1/refused/1", At: s.now()}, OrderID: "o-1", StoreID: "s-1", Attempt: 1, Reason: tt.reason, Short: tt.short}
			if tt.reason == "" {
				want.Meta.Type, want.Meta.ID = stock.Reserved, "o-1/reserved/1"
				want.Lines = []domain.Line{
					{Product: "bibimbap", Quantity: 2, Name: "Bibimbap", Price: new(domain.Money(9000))},
					{Product: "mandu", Quantity: 3, Name: "Mandu", Price: new(domain.Money(500))},
				}
				want.Total = new(domain.Money(19_500))
				want.Store = &stock.Store{Name: "Kitchen", Area: "mapo", Lat: 37.5, Lon: 127, CookingTime: domain.Duration(10 * time.Minute)}
				assert.Equal(t, 3, s.level("mandu").Reserved)
				assert.Equal(t, 2, s.level("mandu").Available)
				assert.Equal(t, 5, s.level("mandu").OnHand)
			} else {
				assert.Equal(t, before, encoded(t, s.row.Products), "all or nothing")
			}
			assert.Equal(t, stock.Out{Reply: want, Changed: true}, out)

			// However much the row moves on, the answer stays the same.
			for _, c := range []*stock.Command{
				register("Bistro"), command(stock.Open), put("mandu", "Wang mandu", 1), put("bibimbap", "Dolsot", 2), put("soju", "Soju", 3),
				quantity(stock.AddStock, "soju", 10), quantity(stock.AddStock, "mandu", 100), quantity(stock.AddStock, "bibimbap", 100),
				register("Diner"), put("mandu", "Gun mandu", 4),
			} {
				s.do(c)
			}
			after := encoded(t, s.row)
			again := s.do(tt.reserve)
			assert.False(t, again.Changed)
			assert.Equal(t, encoded(t, want), encoded(t, again.Reply))
			assert.Equal(t, after, encoded(t, s.row))
		})
	}
}

func TestInventory_ReserveTrustsOnlyItsOwnPrices(t *testing.T) {
	s := kitchen(t)
	out := s.do(order(stock.Reserve, "o-1", 1, domain.Line{Product: "mandu", Quantity: 1, Name: "free", Price: new(domain.Money(1))}))
	assert.Equal(t, []domain.Line{{Product: "mandu", Quantity: 1, Name: "Mandu", Price: new(domain.Money(500))}}, out.Reply.Lines)
}

func TestInventory_End(t *testing.T) {
	reserve := order(stock.Reserve, "o-1", 1, mandu)
	commit, release := order(stock.Commit, "o-1", 1), order(stock.Release, "o-1", 1)
	tests := map[string]struct {
		commands  []*stock.Command
		want      stock.Level
		unchanged bool // the last one
	}{
		"Commit":                {[]*stock.Command{reserve, commit}, stock.Level{OnHand: 2, Available: 2}, false},
		"Commit/Twice":          {[]*stock.Command{reserve, commit, commit}, stock.Level{OnHand: 2, Available: 2}, true},
		"Commit/ThenRelease":    {[]*stock.Command{reserve, commit, release}, stock.Level{OnHand: 2, Available: 2}, true},
		"Commit/ThenReserve":    {[]*stock.Command{reserve, commit, reserve}, stock.Level{OnHand: 2, Available: 2}, true},
		"Release":               {[]*stock.Command{reserve, release}, stock.Level{OnHand: 5, Available: 5}, false},
		"Release/Twice":         {[]*stock.Command{reserve, release, release}, stock.Level{OnHand: 5, Available: 5}, true},
		"Release/ThenCommit":    {[]*stock.Command{reserve, release, commit}, stock.Level{OnHand: 5, Available: 5}, true},
		"Release/ThenReserve":   {[]*stock.Command{reserve, release, reserve}, stock.Level{OnHand: 5, Available: 5}, true},
		"Unknown/Commit":        {[]*stock.Command{commit}, stock.Level{OnHand: 5, Available: 5}, false},
		"Unknown/Release":       {[]*stock.Command{release}, stock.Level{OnHand: 5, Available: 5}, false},
		"Release/BeforeReserve": {[]*stock.Command{release, reserve}, stock.Level{OnHand: 5, Available: 5}, true},
		"Commit/BeforeReserve":  {[]*stock.Command{commit, reserve}, stock.Level{OnHand: 5, Available: 5}, true},
		"Redelivery":            {[]*stock.Command{reserve, commit, order(stock.Reserve, "o-1", 2, bibimbap, some("mandu", 2))}, stock.Level{OnHand: 2, Reserved: 2}, false},
		"Redelivery/ReleaseOfTheFirst": {
			[]*stock.Command{reserve, commit, order(stock.Reserve, "o-1", 2, some("mandu", 1)), release}, stock.Level{OnHand: 2, Reserved: 1, Available: 1}, true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := kitchen(t)
			var out stock.Out
			for _, c := range tt.commands {
				out = s.do(c)
				assert.Nil(t, out.Verdict, "orders is not told verdicts")
			}
			tt.want.Product, tt.want.Name, tt.want.Price = "mandu", "Mandu", 500
			assert.Equal(t, tt.want, s.level("mandu"))
			assert.Equal(t, !tt.unchanged, out.Changed)
			if tt.unchanged {
				assert.Nil(t, out.Reply, "who waits for nothing is told nothing")
			}
		})
	}
}

func TestInventory_ReleaseOfARefusedReservationKeepsItRefused(t *testing.T) {
	s := kitchen(t)
	reserve := order(stock.Reserve, "o-1", 1, some("mandu", 6))
	refused := s.do(reserve).Reply
	assert.Equal(t, stock.Out{}, s.do(order(stock.Release, "o-1", 1)))
	s.do(quantity(stock.AddStock, "mandu", 10))
	assert.Equal(t, stock.Out{Reply: refused}, s.do(reserve))
}

func TestInventory_RemembersWhatWasDecidedLately(t *testing.T) {
	add := quantity(stock.AddStock, "mandu", 1)

	t.Run("ABurst", func(t *testing.T) {
		s := kitchen(t)
		for i := range stock.MaxDecided {
			s.row.Handle(add, named(fmt.Sprintf("burst-%d", i)), noon)
		}
		for i := range stock.MaxDecided {
			require.False(t, s.row.Handle(add, named(fmt.Sprintf("burst-%d", i)), noon.Add(time.Hour)).Changed, "however late the crash is over")
		}
	})
	t.Run("NoMoreThanTheMost", func(t *testing.T) {
		s := kitchen(t)
		for i := range 2 * stock.MaxDecided {
			s.row.Handle(add, named(fmt.Sprintf("burst-%d", i)), noon)
		}
		assert.Len(t, s.row.Decided, stock.MaxDecided)
	})
	t.Run("NoLongerThanNeeded", func(t *testing.T) {
		s := kitchen(t)
		for i := range stock.MaxDecided {
			s.row.Handle(add, named(fmt.Sprintf("burst-%d", i)), noon)
		}
		s.row.Handle(order(stock.Reserve, "o-1", 1, mandu), named("r"), noon.Add(2*stock.DecidedWindow))
		assert.Len(t, s.row.Decided, stock.KeepDecided)
	})
	t.Run("TheLastFew", func(t *testing.T) {
		s := kitchen(t)
		for i := range 2 * stock.MaxDecided {
			s.row.Handle(add, named(fmt.Sprintf("slow-%d", i)), noon.Add(time.Duration(i)*time.Hour))
		}
		assert.Len(t, s.row.Decided, stock.KeepDecided)
		for i := range stock.KeepDecided {
			require.False(t, s.row.Handle(add, named(fmt.Sprintf("slow-%d", 2*stock.MaxDecided-1-i)), noon).Changed)
		}
	})
	t.Run("EndedReservations", func(t *testing.T) {
		for name, every := range map[string]time.Duration{"Burst": 0, "Fast": 50 * time.Millisecond, "Slow": time.Hour} {
			t.Run(name, func(t *testing.T) {
				s := kitchen(t)
				s.do(quantity(stock.AddStock, "mandu", 10_000))
				const n = 3000
				last := stock.KeepClosed
				if every > 0 {
					last = max(last, min(stock.MaxClosed, int(stock.ClosedWindow/every)))
				} else {
					last = stock.MaxClosed
				}
				now, longest := noon, 0
				for i := range n {
					now = now.Add(every)
					id := fmt.Sprintf("o-%d", i)
					s.row.Handle(order(stock.Reserve, id, 1, some("mandu", 1)), named(id), now)
					s.row.Handle(order(stock.Commit, id, 1), named(id), now)
					longest = max(longest, len(encoded(t, s.row)))
				}
				for i := range last {
					id := fmt.Sprintf("o-%d", n-1-i)
					require.Equal(t, stock.Out{}, s.row.Handle(order(stock.Reserve, id, 1, some("mandu", 1)), named(id), now), "%d back", i)
				}
				assert.Less(t, longest, map[string]int{"Burst": 13_000, "Fast": 6_000, "Slow": 2_500}[name], "bytes of the row")
			})
		}
	})
	t.Run("Refusals", func(t *testing.T) {
		s := kitchen(t)
		for i := range 5 * stock.KeepRefused {
			s.do(order(stock.Reserve, fmt.Sprintf("o-%d", i), 1, some("mandu", 100)))
		}
		assert.Len(t, s.row.Refused, stock.KeepRefused)
	})
}

func TestInventory_RowRepeatsNothing(t *testing.T) {
	s := kitchen(t)
	out := s.do(order(stock.Reserve, "o-1", 1, mandu))
	want := stock.Reservation{OrderID: "o-1", Attempt: 1, At: s.now(), Lines: []domain.Line{mandu}}
	assert.Equal(t, []stock.Reservation{want}, s.row.Reservations)

	was := *out.Reply.Store
	s.do(register("Bistro"))
	s.do(put("mandu", "Wang mandu", 700))
	want.Store, want.Lines = &was, []domain.Line{{Product: "mandu", Quantity: 3, Name: "Mandu", Price: new(domain.Money(500))}}
	assert.Equal(t, []stock.Reservation{want}, s.row.Reservations, "but what it was granted with, once that has changed")
}

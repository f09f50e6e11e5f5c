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
	c.Name, c.Area, c.Lat, c.Lon = &name, new("mapo"), new(37.5), new(127.0)
	c.AutoAccept, c.CookingTime = new(false), new(domain.Duration(10*time.Minute))
	return c
}

func put(product, name string, price domain.Money) *stock.Command {
	c := command(stock.PutProduct)
	c.Product, c.Name, c.Price = product, &name, &price
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
	l, found := s.row.Level(product, s.now())
	require.True(s.t, found, product)
	return l
}

func encoded(t require.TestingT, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// slow, pause and sold_out for a minute from when they are said.
func update(change func(*stock.Command)) *stock.Command {
	c := command(stock.Update)
	change(c)
	return c
}

func until(kind string, at domain.Time) *stock.Command {
	c := command(kind)
	c.Until = at
	if kind == stock.Slow {
		c.By = new(domain.Duration(20 * time.Minute))
	}
	return c
}

func about(kind, product string) *stock.Command {
	c := command(kind)
	c.Product = product
	return c
}

func soldOut(product string, at domain.Time) *stock.Command {
	c := about(stock.SoldOut, product)
	c.Until = at
	return c
}

func named2(c *stock.Command, name *string, price *domain.Money) *stock.Command {
	c.Name, c.Price = name, price
	return c
}

func ifVersion(v int, c *stock.Command) *stock.Command {
	c.IfVersion = &v
	return c
}

const later = noon + 3_600_000

// A kitchen was changed by five commands: its own version is 1, that of bibimbap
// 4 and that of mandu 5.
func TestInventory_Commands(t *testing.T) {
	type all = []*stock.Command
	unregistered := `store "s-1" is not registered: register it first`
	noSoju := `store "s-1" has no product "soju": put the product first`
	tests := map[string]struct {
		before  all // in a kitchen; nil: in an unknown store
		command *stock.Command
		version int // of the row after it
		code    string
		reason  string
	}{
		"UnknownStore/register": {nil, register("Kitchen"), 1, "", ""},

		"UnknownProduct/sold_out":       {all{}, soldOut("soju", 0), 5, domain.CodeUnknown, noSoju},
		"UnknownProduct/add_stock":      {all{}, quantity(stock.AddStock, "soju", 1), 5, domain.CodeUnknown, noSoju},
		"UnknownProduct/remove_stock":   {all{}, quantity(stock.RemoveStock, "soju", 1), 5, domain.CodeUnknown, noSoju},
		"UnknownProduct/update_product": {all{}, about(stock.UpdateProduct, "soju"), 5, domain.CodeUnknown, noSoju},
		"UnknownProduct/remove_product": {all{}, about(stock.RemoveProduct, "soju"), 5, domain.CodeUnknown, noSoju},
		"RemovedProduct/add_stock": {all{about(stock.RemoveProduct, "mandu")}, quantity(stock.AddStock, "mandu", 1), 6, domain.CodeUnknown,
			`store "s-1" has no product "mandu": put the product first`},

		"Add/UpToTheMost": {all{}, quantity(stock.AddStock, "mandu", stock.MaxQuantity-5), 6, "", ""},
		"Add/BeyondTheMost": {all{}, quantity(stock.AddStock, "mandu", stock.MaxQuantity-4), 5, domain.CodeRefused,
			`5 of "mandu" are on hand and at most 1000000000 may be: add 999999995 or less`},
		"Remove/AllFree": {all{order(stock.Reserve, "o-1", 1, mandu)}, quantity(stock.RemoveStock, "mandu", 2), 6, "", ""},
		"Remove/Reserved": {all{order(stock.Reserve, "o-1", 1, mandu)}, quantity(stock.RemoveStock, "mandu", 4), 5, domain.CodeShort,
			`2 of "mandu" are free (5 on hand, 3 reserved): remove 2 or less, not 4`},
		"Close":                 {all{}, command(stock.Close), 6, "", ""},
		"Close/Two":             {all{command(stock.Close)}, command(stock.Close), 6, "", ""},
		"Open/Again":            {all{}, command(stock.Open), 5, "", ""},
		"Open/EndsAPause":       {all{until(stock.Pause, later)}, command(stock.Open), 7, "", ""},
		"Pause":                 {all{}, until(stock.Pause, later), 6, "", ""},
		"Slow/Two":              {all{until(stock.Slow, later)}, until(stock.Slow, later), 6, "", ""},
		"SoldOut":               {all{}, soldOut("mandu", 0), 6, "", ""},
		"SoldOut/Two":           {all{soldOut("mandu", 0)}, soldOut("mandu", 0), 6, "", ""},
		"Update/Nothing":        {all{}, command(stock.Update), 5, "", ""},
		"Update/Name":           {all{}, update(func(c *stock.Command) { c.Name = new("Bistro") }), 6, "", ""},
		"UpdateProduct/Nothing": {all{}, about(stock.UpdateProduct, "mandu"), 5, "", ""},
		"UpdateProduct/Price":   {all{}, named2(about(stock.UpdateProduct, "mandu"), nil, new(domain.Money(1))), 6, "", ""},
		"Register/TheSame":      {all{}, register("Kitchen"), 5, "", ""},
		"RemoveProduct":         {all{}, about(stock.RemoveProduct, "mandu"), 6, "", ""},
		"Unregister":            {all{}, command(stock.Unregister), 6, "", ""},
		"Unregister/OpenOrders": {all{order(stock.Reserve, "o-1", 1, mandu)}, command(stock.Unregister), 5, domain.CodeStatus,
			`store "s-1" has 1 open orders, such as "o-1": let them end first, and close it so that no new ones come`},
		"Unregister/OrdersAreOver": {all{order(stock.Reserve, "o-1", 1, mandu), order(stock.Commit, "o-1", 1)}, command(stock.Unregister), 6, "", ""},
		"Unregister/Two":           {all{command(stock.Unregister)}, command(stock.Unregister), 6, domain.CodeUnknown, unregistered},
		"Register/Afterwards":      {all{command(stock.Unregister)}, register("Kitchen"), 7, "", ""},

		"IfVersion/Store":            {all{}, ifVersion(1, command(stock.Close)), 6, "", ""},
		"IfVersion/Store/Other":      {all{}, ifVersion(5, command(stock.Close)), 5, domain.CodeVersion, `store "s-1" has version 1, and ifVersion is 5: read it again, then decide`},
		"IfVersion/Store/None":       {all{}, ifVersion(0, register("Bistro")), 5, domain.CodeVersion, `store "s-1" exists, in version 1, and ifVersion is 0: it must not exist yet`},
		"IfVersion/NoStore":          {nil, ifVersion(0, register("Kitchen")), 1, "", ""},
		"IfVersion/NoStore/Other":    {nil, ifVersion(3, register("Kitchen")), 0, domain.CodeVersion, `store "s-1" does not exist, and ifVersion is 3: only 0 fits`},
		"IfVersion/NoStoreAnyMore":   {all{command(stock.Unregister)}, ifVersion(0, register("Kitchen")), 7, "", ""},
		"IfVersion/Product":          {all{}, ifVersion(5, quantity(stock.AddStock, "mandu", 1)), 6, "", ""},
		"IfVersion/Product/Reserved": {all{order(stock.Reserve, "o-1", 1, mandu)}, ifVersion(5, quantity(stock.AddStock, "mandu", 1)), 6, "", ""},
		"IfVersion/Product/Other":    {all{}, ifVersion(3, quantity(stock.RemoveStock, "mandu", 100)), 5, domain.CodeVersion, `product "mandu" of store "s-1" has version 5, and ifVersion is 3: read it again, then decide`},
		"IfVersion/Product/None":     {all{}, ifVersion(0, put("mandu", "Mandu", 500)), 5, domain.CodeVersion, `product "mandu" of store "s-1" exists, in version 5, and ifVersion is 0: it must not exist yet`},
		"IfVersion/NoProduct":        {all{}, ifVersion(0, put("soju", "Soju", 1)), 6, "", ""},
		"IfVersion/Removed":          {all{about(stock.RemoveProduct, "mandu")}, ifVersion(0, put("mandu", "Mandu", 1)), 7, "", ""},
		"IfVersion/Removed/Other":    {all{about(stock.RemoveProduct, "mandu")}, ifVersion(6, put("mandu", "Mandu", 1)), 6, domain.CodeVersion, `product "mandu" of store "s-1" does not exist, and ifVersion is 6: only 0 fits`},
	}
	for _, c := range []*stock.Command{
		command(stock.Open), command(stock.Close), command(stock.Update), command(stock.Unregister), until(stock.Slow, later), until(stock.Pause, later),
		put("mandu", "Mandu", 1), about(stock.UpdateProduct, "mandu"), about(stock.RemoveProduct, "mandu"), soldOut("mandu", 0),
		quantity(stock.AddStock, "mandu", 1), quantity(stock.RemoveStock, "mandu", 1),
	} {
		tt := tests["UnknownStore/register"]
		tt.command, tt.version, tt.code, tt.reason = c, 0, domain.CodeUnknown, unregistered
		tests["UnknownStore/"+c.Type] = tt
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
			before := s.shown()

			out := s.do(tt.command)
			id := fmt.Sprintf("c-%d", s.n)
			want := domain.NewVerdict(stock.Stream, "s-1", named(id), domain.Refusal{Code: tt.code, Reason: tt.reason}, tt.version, s.now())
			assert.Equal(t, stock.Out{Verdict: &want, Changed: true}, out)
			assert.Equal(t, tt.version, s.row.Version)
			require.NoError(t, want.Validate())
			if tt.reason != "" {
				assert.Equal(t, before, s.shown(), "a refused command changes nothing")
			}

			// The same id again, later: the same verdict, and nothing else.
			after := encoded(t, s.row)
			s.n++
			assert.Equal(t, stock.Out{Verdict: &want}, s.as(id, tt.command))
			assert.Equal(t, after, encoded(t, s.row))
		})
	}
}

// shown is all of the row but what it remembers.
func (s *store) shown() string {
	row := *s.row
	row.Decided, row.Refused, row.Closed = nil, nil, stock.Memory{}
	return encoded(s.t, row)
}

// An accepted command counts only where it changes what it is about: its own
// version tells a reader whether that is still as it was read.
func TestInventory_Versions(t *testing.T) {
	s := kitchen(t)
	versions := func() []int {
		return []int{s.row.Version, s.row.StoreVersion, s.level("bibimbap").Version, s.level("mandu").Version}
	}
	require.Equal(t, []int{5, 1, 4, 5}, versions())
	s.do(order(stock.Reserve, "o-1", 1, mandu))
	s.do(order(stock.Commit, "o-1", 1))
	require.Equal(t, []int{5, 1, 4, 5}, versions(), "orders change no version")
	s.do(soldOut("bibimbap", 0))
	require.Equal(t, []int{6, 1, 6, 5}, versions())
	s.do(until(stock.Pause, later))
	require.Equal(t, []int{7, 7, 6, 5}, versions())
	s.do(command(stock.Unregister))
	s.do(register("Kitchen"))
	s.do(put("mandu", "Mandu", 500))
	require.Equal(t, []int{10, 9, 10}, []int{s.row.Version, s.row.StoreVersion, s.level("mandu").Version}, "what begins again has a version that it never had")
}

func TestInventory_Update(t *testing.T) {
	s := kitchen(t)
	s.do(order(stock.Reserve, "o-1", 1, mandu))
	s.do(update(func(c *stock.Command) { c.Area, c.Lat, c.AutoAccept = new("jongno"), new(0.0), new(true) }))
	require.Equal(t, stock.Store{Name: "Kitchen", Area: "jongno", Lat: 0, Lon: 127, AutoAccept: true, CookingTime: domain.Duration(10 * time.Minute)}, *s.row.Store)
	s.do(update(func(c *stock.Command) { c.CookingTime = new(domain.Duration(0)) }))
	require.Equal(t, domain.Duration(0), s.row.Store.CookingTime, "0s means something")
	require.Equal(t, "mapo", s.do(order(stock.Reserve, "o-1", 1, mandu)).Reply.Store.Area, "an answer stays as it was")

	s.do(named2(about(stock.UpdateProduct, "mandu"), new("Wang mandu"), nil))
	require.Equal(t, []any{"Wang mandu", domain.Money(500)}, []any{s.level("mandu").Name, s.level("mandu").Price})
	s.do(named2(about(stock.UpdateProduct, "mandu"), nil, new(domain.Money(0))))
	require.Equal(t, []any{"Wang mandu", domain.Money(0)}, []any{s.level("mandu").Name, s.level("mandu").Price})
}

// slow and pause hold by the time of the message that asks, and end by themselves.
func TestInventory_SlowAndPause(t *testing.T) {
	const end = noon + 60_000
	ask := func(s *store, id string, at domain.Time) *stock.Reply {
		return s.row.Handle(order(stock.Reserve, id, 1, some("mandu", 1)), named(id), at).Reply
	}
	t.Run("Slow", func(t *testing.T) {
		s := kitchen(t)
		s.do(until(stock.Slow, end))
		before := ask(s, "o-1", end-1)
		require.Equal(t, domain.Duration(30*time.Minute), before.Store.CookingTime)
		require.Equal(t, domain.Duration(10*time.Minute), ask(s, "o-2", end).Store.CookingTime)
		require.Equal(t, &stock.SlowView{Until: end, By: domain.Duration(20 * time.Minute)}, s.row.View(end-1).Slow)
		require.Nil(t, s.row.View(end).Slow)
		require.Equal(t, before, ask(s, "o-1", end+1), "an answer stays as it was")
		s.do(command(stock.Open))
		s.do(register("Bistro"))
		require.Equal(t, before, ask(s, "o-1", end+1), "whatever is said since")
	})
	t.Run("Slow/NoLongerThanADay", func(t *testing.T) {
		s := kitchen(t)
		c := until(stock.Slow, end)
		c.By = new(domain.MaxCookingTime)
		s.do(c)
		require.Equal(t, domain.MaxCookingTime, ask(s, "o-1", end-1).Store.CookingTime)
	})
	t.Run("Pause", func(t *testing.T) {
		s := kitchen(t)
		s.do(until(stock.Pause, end))
		no := ask(s, "o-1", end-1)
		require.Equal(t, []any{stock.Refused, stock.Closed, end}, []any{no.Type, no.Reason, no.Until})
		require.Equal(t, []any{false, end}, []any{s.row.View(end - 1).Open, s.row.View(end - 1).PausedUntil})
		require.Equal(t, []any{true, domain.Time(0)}, []any{s.row.View(end).Open, s.row.View(end).PausedUntil})
		require.Equal(t, stock.Reserved, ask(s, "o-2", end).Type)
		require.Equal(t, no, ask(s, "o-1", end), "an answer stays as it was")
	})
	t.Run("Pause/OfAClosedStore", func(t *testing.T) {
		s := kitchen(t)
		s.do(command(stock.Close))
		s.do(until(stock.Pause, end))
		require.Zero(t, ask(s, "o-1", end-1).Until, "nobody knows when it opens")
		require.Equal(t, stock.Closed, ask(s, "o-2", end).Reason)
	})
	for _, kind := range []string{stock.Slow, stock.Pause} {
		t.Run(kind+"/OpenEndsIt", func(t *testing.T) {
			s := kitchen(t)
			s.do(until(kind, end))
			s.do(command(stock.Open))
			r := ask(s, "o-1", end-1)
			require.Equal(t, stock.Reserved, r.Type)
			require.Equal(t, domain.Duration(10*time.Minute), r.Store.CookingTime)
		})
		t.Run(kind+"/OneThatHasPassedEndsIt", func(t *testing.T) {
			s := kitchen(t)
			s.do(until(kind, end))
			s.do(until(kind, noon))
			require.Equal(t, domain.Duration(10*time.Minute), ask(s, "o-1", end-1).Store.CookingTime)
		})
	}
}

func TestInventory_SoldOut(t *testing.T) {
	const end = noon + 60_000
	add := quantity(stock.AddStock, "mandu", 1)
	for name, tt := range map[string]struct {
		said      []*stock.Command
		at        domain.Time
		available int
	}{
		"Until":             {[]*stock.Command{soldOut("mandu", end)}, end - 1, 0},
		"Until/Ends":        {[]*stock.Command{soldOut("mandu", end)}, end, 5},
		"Until/Add":         {[]*stock.Command{soldOut("mandu", end), add}, end - 1, 0},
		"Until/Add/Ends":    {[]*stock.Command{soldOut("mandu", end), add}, end, 6},
		"Until/Shorter":     {[]*stock.Command{soldOut("mandu", end), soldOut("mandu", noon)}, end - 1, 5},
		"Until/ThenWithout": {[]*stock.Command{soldOut("mandu", noon+30_000), soldOut("mandu", 0)}, end, 0},
		"Without":           {[]*stock.Command{soldOut("mandu", 0)}, later, 0},
		"Without/Add":       {[]*stock.Command{soldOut("mandu", 0), add}, end, 6},
		"Without/Remove":    {[]*stock.Command{soldOut("mandu", 0), quantity(stock.RemoveStock, "mandu", 1)}, end, 0},
		"Removed/PutAgain":  {[]*stock.Command{soldOut("mandu", 0), about(stock.RemoveProduct, "mandu"), put("mandu", "Mandu", 1), add}, end, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := kitchen(t)
			for _, c := range tt.said {
				require.Equal(t, domain.Accepted, s.do(c).Verdict.Verdict)
			}
			l, _ := s.row.Level("mandu", tt.at)
			require.Equal(t, []any{tt.available, tt.available == 0}, []any{l.Available, l.SoldOut})
			r := s.row.Handle(order(stock.Reserve, "o-1", 1, bibimbap, some("mandu", 7)), named("o-1"), tt.at).Reply
			require.Equal(t, []domain.Shortage{{Product: "mandu", Wanted: 7, Available: tt.available}}, r.Short)
		})
	}
}

// What is reserved of a removed product can still be cooked; what is released
// counts as removed. Its counts hold for good.
func TestInventory_RemoveProduct(t *testing.T) {
	remove, commit, release := about(stock.RemoveProduct, "mandu"), order(stock.Commit, "o-1", 1), order(stock.Release, "o-1", 1)
	counts := func(s *store) []int {
		for _, p := range s.row.Products {
			if p.ID == "mandu" {
				require.Equal(t, p.Added, p.OnHand+p.Sold+p.Removed)
				return []int{p.OnHand, p.Reserved, p.Added, p.Sold, p.Removed}
			}
		}
		return nil
	}
	for name, tt := range map[string]struct {
		said []*stock.Command
		want []int
	}{
		"Reserved":       {[]*stock.Command{remove}, []int{3, 3, 5, 0, 2}},
		"Committed":      {[]*stock.Command{remove, commit}, []int{0, 0, 5, 3, 2}},
		"Released":       {[]*stock.Command{remove, release}, []int{0, 0, 5, 0, 5}},
		"PutAgain":       {[]*stock.Command{remove, put("mandu", "Gun mandu", 7), quantity(stock.AddStock, "mandu", 4)}, []int{7, 3, 9, 0, 2}},
		"PutAgain/Ended": {[]*stock.Command{remove, put("mandu", "Gun mandu", 7), quantity(stock.AddStock, "mandu", 4), release}, []int{7, 0, 9, 0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := kitchen(t)
			first := s.do(order(stock.Reserve, "o-1", 1, mandu)).Reply
			for i, c := range tt.said {
				s.do(c)
				if i == 0 {
					require.Equal(t, stock.UnknownProduct, s.do(order(stock.Reserve, "o-2", 1, some("mandu", 1))).Reply.Reason)
					_, found := s.row.Level("mandu", s.now())
					require.False(t, found)
					require.Len(t, s.row.Levels(s.now()), 1)
				}
				if tt.want[1] > 0 {
					require.Equal(t, first, s.do(order(stock.Reserve, "o-1", 1, mandu)).Reply, "an answer stays as it was")
				}
			}
			require.Equal(t, tt.want, counts(s))
		})
	}
}

func TestInventory_Unregister(t *testing.T) {
	s := kitchen(t)
	s.do(command(stock.Close))
	s.do(until(stock.Pause, later))
	s.do(command(stock.Unregister))
	require.Nil(t, s.row.View(s.now()))
	require.Equal(t, stock.UnknownStore, s.do(order(stock.Reserve, "o-1", 1, mandu)).Reply.Reason)
	require.Empty(t, s.row.Levels(s.now()))
	s.do(register("Kitchen"))
	require.True(t, s.row.View(s.now()).Open, "a new store is open")
	require.Empty(t, s.row.Levels(s.now()), "and has no products yet")
	s.do(put("mandu", "Mandu", 1))
	require.Zero(t, s.level("mandu").OnHand)
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
		{Product: "bibimbap", Name: "Bibimbap", Price: 9000, OnHand: 10, Available: 10, Version: 4},
		{Product: "mandu", Name: "Wang mandu", Price: 700, OnHand: 5, Available: 5, Version: 6},
	}, s.row.Levels(s.now()))
}

func TestInventory_TooManyProducts(t *testing.T) {
	s := kitchen(t)
	for i := len(s.row.Products); i < stock.MaxProducts; i++ {
		require.Equal(t, domain.Accepted, s.do(put(fmt.Sprintf("p-%d", i), "P", 1)).Verdict.Verdict)
	}
	assert.Equal(t, `store "s-1" has 1000 products, which is the most: remove one, or put "soju" into another store`, s.do(put("soju", "Soju", 1)).Verdict.Reason)
	assert.Equal(t, domain.Accepted, s.do(put("mandu", "Mandu", 1)).Verdict.Verdict, "one that is there may change")
	s.do(about(stock.RemoveProduct, "p-7"))
	s.do(about(stock.RemoveProduct, "p-5"))
	assert.Equal(t, domain.Accepted, s.do(put("soju", "Soju", 1)).Verdict.Verdict, "the longest gone makes room")
	assert.Equal(t, domain.Accepted, s.do(put("p-5", "P", 1)).Verdict.Verdict, "this one's counts were kept")
	assert.Len(t, s.row.Products, stock.MaxProducts)
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
			tt.want.Product, tt.want.Name, tt.want.Price, tt.want.Version = "mandu", "Mandu", 500, 5
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

	// commands are handled at noon; the last comes again after as many others.
	burst := func(s *store, c *stock.Command, n int, every time.Duration) (last domain.Time) {
		for i := range n {
			last = noon.Add(time.Duration(i) * every)
			require.True(t, s.row.Handle(c, named(fmt.Sprintf("burst-%d", i)), last).Changed)
		}
		return last
	}
	again := func(s *store, c *stock.Command, i int) bool {
		row := stock.NewInventory("")
		require.NoError(t, json.Unmarshal([]byte(encoded(t, s.row)), row))
		return !row.Handle(c, named(fmt.Sprintf("burst-%d", i)), noon.Add(24*time.Hour)).Changed
	}
	refused := quantity(stock.RemoveStock, "mandu", 1000)
	t.Run("ABurst", func(t *testing.T) {
		s := kitchen(t)
		burst(s, add, 500, 0)
		for i := range 500 {
			require.True(t, again(s, add, i), "however late the crash is over")
		}
	})
	t.Run("NoMoreBytesThanTheMost", func(t *testing.T) {
		s := kitchen(t)
		burst(s, add, 5000, 0)
		size := len(encoded(t, s.row.Decided))
		assert.LessOrEqual(t, size, stock.MaxAcceptedBytes+2)
		assert.Greater(t, size, stock.MaxAcceptedBytes/2)
		assert.False(t, again(s, add, 0))
		assert.True(t, again(s, add, 4999))
	})
	t.Run("AnHour", func(t *testing.T) {
		s := kitchen(t)
		burst(s, refused, 70, time.Minute)
		for i := range 70 {
			assert.Equal(t, i >= 9, again(s, refused, i), "minute %d of 69", i)
		}
	})
	t.Run("TheLastFew", func(t *testing.T) {
		s := kitchen(t)
		burst(s, add, 200, time.Hour)
		size := len(encoded(t, s.row.Decided))
		assert.LessOrEqual(t, size, stock.KeepBytes+2)
		assert.Greater(t, size, stock.KeepBytes/2)
		assert.True(t, again(s, add, 199-30), "however long ago")
		assert.False(t, again(s, add, 0))
	})
	// What was accepted would be done twice: refusals push it out never.
	t.Run("RefusalsHaveRoomOfTheirOwn", func(t *testing.T) {
		s := kitchen(t)
		s.row.Handle(add, named("burst-0"), noon)
		for i := range 2000 {
			s.row.Handle(refused, named(fmt.Sprintf("refused-%d", i)), noon)
		}
		assert.True(t, again(s, add, 0))
		assert.LessOrEqual(t, len(encoded(t, s.row.Decided)), domain.MaxRefusedBytes+60)
		// All within the bound as an audit counts it, which can't see the row.
		left, kept := domain.MaxRefusedBytes, 0
		for i := 1999; i >= 0; i-- {
			if left -= domain.RefusedBytes(fmt.Sprintf("refused-%d", i), s.row.Decided[len(s.row.Decided)-1].Reason); left < 0 {
				break
			}
			assert.False(t, s.row.Handle(refused, named(fmt.Sprintf("refused-%d", i)), noon).Changed)
			kept++
		}
		assert.Greater(t, kept, 50)
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

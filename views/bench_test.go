package views_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/stock"
	"baedal/topics"
	"baedal/views"
)

// rich is an order in the middle of its life: about 1.2 KB of JSON.
func rich(n int, status order.Status) *order.Order {
	o := orderOf(n, fmt.Sprint("u-", n%500), fmt.Sprint("s-", n%50), status)
	o.Store = &stock.Store{Name: "Store", Area: fmt.Sprint("a-", n%5)}
	o.Address = order.Address{Text: "Teheran-ro 1, Gangnam-gu, Seoul", Lat: new(37.5), Lon: new(127.04)}
	for i := range 3 {
		o.Lines = append(o.Lines, domain.Line{Product: fmt.Sprint("p-", i), Quantity: 2, Name: "Bibimbap", Price: new(domain.Money(9000))})
	}
	for i := range 6 {
		o.Timeline = append(o.Timeline, order.Entry{Version: i + 1, At: noon, Type: "paid", Status: order.Paid, CauseID: "0198a0c2-0000-7000-8000-000000000000"})
	}
	return o
}

func benchView(b *testing.B, indexes ...views.Index[order.Order]) *views.Memory[order.Order] {
	m, err := views.NewMemory("orders", topics.New("", 4).OrdersTable, indexes...)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	return m
}

// A row that is read again and again, by as many as there are cores.
func BenchmarkView_Get(b *testing.B) {
	m := benchView(b, views.OrderIndexes...)
	require.NoError(b, m.Put("o-001", rich(1, order.Paid)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if row, err := m.Get("o-001"); err != nil || row == nil {
				b.Fatal(row, err)
			}
		}
	})
}

// One operation is one record: orders go through five statuses each.
func BenchmarkView_Apply(b *testing.B) {
	statuses := []order.Status{order.Placed, order.Paid, order.Cooking, order.PickedUp, order.Completed}
	run := func(b *testing.B, indexes ...views.Index[order.Order]) {
		m := benchView(b, indexes...)
		views.Brief(m) // as in production
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			o := rich(i/len(statuses), statuses[i%len(statuses)])
			if err := m.Put(o.ID, o); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}
	b.Run("NoIndexes", func(b *testing.B) { run(b) })
	b.Run("Indexes", func(b *testing.B) { run(b, views.OrderIndexes...) })
}

// One operation is a page of 50 of a list of 10,000.
func BenchmarkView_Scan(b *testing.B) {
	m := benchView(b, views.OrderIndexes...)
	for n := range 10_000 {
		o := rich(n, order.Paid)
		o.ID = fmt.Sprintf("o-%06d", n)
		require.NoError(b, m.Put(o.ID, o))
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := m.Scan("time", "", views.Entry{}, func(views.Entry, string, *order.Order) bool { n++; return n < 50 }); err != nil || n != 50 {
			b.Fatal(n, err)
		}
	}
}

package sim

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/stock"

	"baedal/internal/kafkatest"
)

// syncBuffer may be read while the town writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestTown(t *testing.T) {
	kafkatest.Waits(t)
	brokers, cat, _ := startEngine(t)
	start := func(out *syncBuffer, rate float64) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Town(ctx, cat, brokers, TownOptions{Seed: 7, OrdersPerSecond: rate, Timeout: 20 * time.Second}, out)
		}()
		return func() {
			cancel()
			require.NoError(t, <-done)
		}
	}

	var first, second syncBuffer
	stop := start(&first, 8)
	require.Eventually(t, func() bool { return strings.Count(first.String(), " delivered ") >= 10 }, 40*time.Second, 50*time.Millisecond, "ten deliveries")
	stop()

	// It comes up again, places next to nothing, and brings what was under way to its end.
	statuses := watchOrders(t, brokers, cat)
	before := unfinished(statuses())
	require.NotEmpty(t, before)
	stop = start(&second, 0.001)
	defer stop()
	open := map[string]order.Status{}
	if !assert.Eventually(t, func() bool {
		now := statuses()
		clear(open)
		for id := range before {
			if !now[id].Final() {
				open[id] = now[id]
			}
		}
		return len(open) == 0
	}, 60*time.Second, 100*time.Millisecond, "the orders of the first run end") {
		require.Empty(t, open, "these don't:\n%s", second.String())
	}
	for id := range before {
		require.Equal(t, 1, strings.Count(second.String(), " "+id+" "), "one line for %s", id)
		require.NotContains(t, first.String(), " "+id+" ")
	}
}

func unfinished(all map[string]order.Status) map[string]bool {
	open := make(map[string]bool)
	for id, s := range all {
		if !s.Final() {
			open[id] = true
		}
	}
	return open
}

func TestTown_NoEngine(t *testing.T) {
	brokers, cat, _ := startEngine(t)
	other := *cat
	other.StoreCommands.Topic = cat.PaymentRequests.Name() // where nobody answers
	err := Town(t.Context(), &other, brokers, TownOptions{Timeout: 300 * time.Millisecond}, &syncBuffer{})
	require.ErrorContains(t, err, "is the engine running?")
}

func TestTownPrinter(t *testing.T) {
	at := domain.At(time.Date(2026, 1, 2, 12, 3, 11, 0, time.Local))
	s := townStores[0]
	o := &townOrder{placedAt: at.Add(-14200 * time.Millisecond), Event: order.Event{Meta: domain.Meta{At: at}, OrderID: "o-1", UserID: "u-12", RiderID: "r-7",
		Status: order.Completed, Lines: []domain.Line{{Product: "kimchi-jjigae", Quantity: 2, Name: "Kimchi jjigae"}}}}
	require.Equal(t, "12:03:11 delivered       o-1  2× Kimchi jjigae  Hong's kitchen → u-12  rider r-7  14.2 s", townPrinter{}.line(o, s))
	require.Equal(t, "12:03:11 \x1b[32mdelivered      \x1b[0m o-1  2× Kimchi jjigae  Hong's kitchen → u-12  rider r-7  14.2 s", townPrinter{colour: true}.line(o, s))

	refused := &townOrder{Event: order.Event{Meta: domain.Meta{At: at}, OrderID: "o-2", UserID: "u-1", Status: order.RefusedStatus, Reason: stock.Short,
		Lines: []domain.Line{{Product: "galbi", Quantity: 3}}, Short: []domain.Shortage{{Product: "galbi", Wanted: 3, Available: 1}}}}
	require.Equal(t, "12:03:11 refused         o-2  3× Galbi for two  Hong's kitchen → u-1  short (Galbi for two: 3 wanted, 1 left)", townPrinter{}.line(refused, s))
}

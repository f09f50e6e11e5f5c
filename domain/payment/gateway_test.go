package payment_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/payment"
)

func call(order, kind string, amount domain.Money, try int) payment.Call {
	return payment.Call{OrderID: order, Kind: kind, Attempt: 1, Try: try, Amount: amount}
}

func ask(t *testing.T, g payment.Gateway, c payment.Call) (answer, reason string) {
	t.Helper()
	answer, reason, err := g.Call(context.Background(), c)
	require.NoError(t, err)
	return answer, reason
}

func TestSimulated_ZeroValueApproves(t *testing.T) {
	g := &payment.Simulated{}
	for _, kind := range kinds {
		answer, _ := ask(t, g, call("o-1", kind, 9000, 1))
		assert.Equal(t, payment.OK, answer)
	}
	ask(t, g, call("o-1", payment.Capture, 9000, 2))
	ledger := g.Ledger()
	require.Len(t, ledger, 4, "each key once")
	assert.Equal(t, payment.Entry{Call: call("o-1", payment.Authorize, 9000, 1), Answer: payment.OK, Count: 1}, ledger[0])
	assert.Equal(t, payment.Entry{Call: call("o-1", payment.Capture, 9000, 1), Answer: payment.OK, Count: 2}, ledger[1])
}

func TestSimulated_Declines(t *testing.T) {
	over := &payment.Simulated{DeclineOver: 100}
	answer, _ := ask(t, over, call("o-1", payment.Authorize, 100, 1))
	assert.Equal(t, payment.OK, answer)
	answer, reason := ask(t, over, call("o-2", payment.Authorize, 101, 1))
	assert.Equal(t, payment.Denied, answer)
	assert.Equal(t, "101 is over the limit of 100", reason)
	answer, _ = ask(t, over, call("o-2", payment.Void, 101, 1))
	assert.Equal(t, payment.OK, answer, "only authorisations are declined")

	some := &payment.Simulated{DeclineRate: 0.3}
	declined := 0
	for i := range 2000 {
		order := fmt.Sprintf("o-%d", i)
		first, _ := ask(t, some, call(order, payment.Authorize, 1, 1))
		again, _ := ask(t, some, call(order, payment.Authorize, 1, 2))
		require.Equal(t, first, again, "a key has one answer")
		if first == payment.Denied {
			declined++
		}
	}
	assert.InDelta(t, 600, declined, 100)
}

func TestSimulated_Fails(t *testing.T) {
	g := &payment.Simulated{FailRate: 0.5, Keep: 2000}
	failed := 0
	for i := range 2000 {
		if answer, _ := ask(t, g, call(fmt.Sprintf("o-%d", i), payment.Authorize, 1, 1)); answer == payment.Failed {
			failed++
		}
	}
	assert.InDelta(t, 1000, failed, 120)
	assert.InDelta(t, 1500, len(g.Ledger()), 120, "half of the failures were carried out")

	healing := &payment.Simulated{FailRate: 1, FailTries: 2}
	for try, want := range []string{payment.Failed, payment.Failed, payment.OK} {
		answer, _ := ask(t, healing, call("o-1", payment.Void, 1, try+1))
		assert.Equal(t, want, answer)
	}
	over := &payment.Simulated{FailOver: 100}
	answer, _ := ask(t, over, call("o-1", payment.Authorize, 100, 1))
	assert.Equal(t, payment.OK, answer)
	answer, _ = ask(t, over, call("o-2", payment.Authorize, 101, 1))
	assert.Equal(t, payment.Failed, answer)
}

func TestSimulated_SlowGatewayGivesUpWithItsCaller(t *testing.T) {
	g := &payment.Simulated{Latency: time.Hour}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := g.Call(ctx, call("o-1", payment.Authorize, 1, 1))
	assert.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, g.Ledger())

	soon := &payment.Simulated{Latency: 20 * time.Millisecond}
	start := time.Now()
	ask(t, soon, call("o-1", payment.Authorize, 1, 1))
	assert.GreaterOrEqual(t, time.Since(start), soon.Latency)
}

func TestSimulated_FromManyGoroutines(t *testing.T) {
	g := &payment.Simulated{Keep: 50}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				_, _, _ = g.Call(context.Background(), call(fmt.Sprintf("o-%d", i), payment.Authorize, 1, 1))
				_ = g.Ledger()
			}
		})
	}
	wg.Wait()
	assert.Len(t, g.Ledger(), 50, "the ledger is bounded")

	ask(t, g, call("another", payment.Authorize, 1, 1))
	oldest := g.Ledger()[0].OrderID
	for i := range 50 {
		ask(t, g, call(fmt.Sprintf("newer-%d", i), payment.Authorize, 1, 1))
	}
	ask(t, g, call(oldest, payment.Authorize, 1, 1))
	assert.Equal(t, oldest, g.Ledger()[49].OrderID, "what it forgot is new to it")
}

func TestParseSimulated(t *testing.T) {
	good := map[string]*payment.Simulated{
		"approve":   {},
		" approve ": {},
		"decline-over=50000,fail-rate=0.1,latency=50ms": {DeclineOver: 50_000, FailRate: 0.1, Latency: 50 * time.Millisecond},
		"decline-rate=1, fail-over=9, fail-tries=3":     {DeclineRate: 1, FailOver: 9, FailTries: 3},
	}
	for text, want := range good {
		got, err := payment.ParseSimulated(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	bad := map[string]string{
		"":                            `"" is no option: ` + payment.SimulatedUsage,
		"decline":                     `"decline" is no option: ` + payment.SimulatedUsage,
		"approve,latency=1s":          `"approve" is no option: ` + payment.SimulatedUsage,
		"decline-over=0":              "decline-over=0: must be an amount of 1 or more",
		"fail-over=many":              "fail-over=many: must be an amount of 1 or more",
		"fail-rate=1.5":               "fail-rate=1.5: must be a share from 0 to 1",
		"decline-rate=NaN":            "decline-rate=NaN: must be a share from 0 to 1",
		"fail-tries=0":                "fail-tries=0: must be a number of 1 or more",
		"latency=50":                  "latency=50: must be a duration such as 50ms",
		"latency=-1s":                 "latency=-1s: must be a duration such as 50ms",
		"latency=1s,latency=2s":       "latency is given twice",
		"latency=soon,fail-rate=lots": "latency=soon: must be a duration such as 50ms\nfail-rate=lots: must be a share from 0 to 1",
	}
	for text, want := range bad {
		_, err := payment.ParseSimulated(text)
		assert.EqualError(t, err, fmt.Sprintf("simulated gateway %q: %s", text, want))
	}
}

package broker_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/broker"
	"baedal/internal/kafkatest"
)

func TestWait_ReturnsWhenABrokerAnswers(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		dead := MustClosedAddr(t)
		require.NoError(t, broker.Wait(MustContext(t), []string{dead, b.Addr}))
	})
}

func TestWait_GoesOnUntilTheBrokerStarts(t *testing.T) {
	b := kafkatest.Durable(t)
	b.Kill()
	done := make(chan error, 1)
	go func() { done <- broker.Wait(MustContext(t), []string{b.Addr}) }()
	select {
	case err := <-done:
		require.FailNow(t, "Wait returned without a broker", "%v", err)
	default:
	}
	b.Start()
	require.NoError(t, <-done)
}

func TestWait_NamesAddressesAndRemedy(t *testing.T) {
	addr := MustClosedAddr(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := broker.Wait(ctx, []string{addr})
	require.Error(t, err)
	assert.ErrorContains(t, err, addr)
	assert.ErrorContains(t, err, "--brokers")
	assert.ErrorContains(t, err, "connection refused")

	assert.ErrorContains(t, broker.Wait(t.Context(), nil), "--brokers")
	assert.ErrorContains(t, broker.Wait(t.Context(), []string{"a:b:c"}), "--brokers")
}

func TestWait_EndsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorContains(t, broker.Wait(ctx, []string{MustClosedAddr(t)}), "--brokers")
}

// MustClosedAddr returns an address where nobody listens.
func MustClosedAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/audit"
	"baedal/internal/kafkatest"
	"baedal/stream"
)

// TestAudit: after a kill -9 under load the promises hold, seen from outside,
// while the load is on and after it. A forged event is named.
func TestAudit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		for _, g := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
			t.Run(string(g), func(t *testing.T) { auditAfterKill(t, b, g) })
		}
	})
}

func auditAfterKill(t *testing.T, b kafkatest.Broker, g stream.Guarantee) {
	prefix := b.Prefix(t)
	w := newListener(t, b.Addr, prefix)
	w.once = g == stream.ExactlyOnce
	flags := append(engineFlags(t, b.Addr, prefix), "--session-timeout", "6s", "--guarantee", string(g))
	w.p = start(t, flags...)
	w.listen(t, b.Addr)
	w.under(t, b.Addr, 200, 60, func() {
		pause(300*time.Millisecond, time.Second)
		w.p.kill()
		w.p = start(t, flags...)
		r, code := runAudit(t, b.Addr, prefix, g)
		require.Zero(t, code, "while the load is on: %v", r.Violations)
	})
	r, code := runAudit(t, b.Addr, prefix, g)
	require.Zero(t, code, "%v", r.Violations)
	require.Empty(t, r.Violations)
	require.GreaterOrEqual(t, r.Orders, 200)

	w.say(w.cat.OrderEvents.Name(), "forged", `{"type":"paid","id":"forged/3","version":3,"orderId":"forged","status":"paid","attempt":1}`)
	r, code = runAudit(t, b.Addr, prefix, g)
	require.Equal(t, 1, code)
	require.NotEmpty(t, r.Violations)
	require.Equal(t, "forged", r.Violations[0].Key)
}

// runAudit runs the command and returns its report and exit code.
func runAudit(t testing.TB, addr, prefix string, g stream.Guarantee) (r audit.Report, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience) // also at the end of a test
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "audit", "--brokers", addr, "--prefix", prefix, "--partitions", "4", "--guarantee", string(g), "--format", "json")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	_ = cmd.Run()
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), "%s", out.String())
	return r, cmd.ProcessState.ExitCode()
}

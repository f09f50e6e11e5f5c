package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Damage that shows only while the tables are in use ends the process, which
// says so, and the next start is whole again. It must not fail for ever.
func TestDamage_FoundWhileRunning(t *testing.T) {
	kafka, data := freeAddr(t), t.TempDir()
	flags := []string{"up", "--partitions", "4", "--data-dir", data, "--http", "127.0.0.1:0", "--kafka-listen", kafka}
	w := newListener(t, kafka, "")
	w.p = start(t, flags...)
	w.listen(t, kafka)
	w.under(t, kafka, 100, 100, func() {})
	for range 2 { // a start writes what the log of the one before holds into tables
		w.p.kill()
		w.p = start(t, flags...)
	}
	w.p.kill()
	tables, err := filepath.Glob(filepath.Join(data, "state", "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	for _, path := range tables {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		b[len(b)/8] ^= 1 // in the rows: Open does not read them
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}

	p := launch(t, flags...)
	select {
	case <-p.done:
		assert.Equal(t, 1, p.cmd.ProcessState.ExitCode())
	case <-time.After(patience):
		require.FailNow(t, "the process fails for ever, or has not met the damage")
	}
	w.p = start(t, flags...)
}

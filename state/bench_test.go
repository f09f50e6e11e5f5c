package state_test

import (
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/state"
)

const benchKeys = 20_000

func benchTable(b *testing.B) (*state.Table, []string, []byte) {
	table := MustOwn(b, MustOpen(b, filepath.Join(b.TempDir(), "state")), state.Options{})
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("order-%08d", i)
	}
	value := make([]byte, 1024)
	rand.New(rand.NewSource(1)).Read(value)
	return table, keys, value
}

// One operation is one row of 1 KB; a flush comes every 1,000.
func BenchmarkTable_SetAckedFlush(b *testing.B) {
	table, keys, value := benchTable(b)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		require.NoError(b, table.Set(keys[i%benchKeys], value))
		table.Acked(int64(i))
		if i++; i%1000 == 0 {
			require.NoError(b, table.Flush())
		}
	}
}

func BenchmarkTable_Get(b *testing.B) {
	table, keys, value := benchTable(b)
	for i, key := range keys {
		require.NoError(b, table.Set(key, value))
		table.Acked(int64(i))
	}
	get := func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			got, err := table.Get(keys[i%benchKeys])
			if err != nil || len(got) != len(value) {
				b.Fatal(len(got), err)
			}
			i += 7919
		}
	}
	b.Run("Buffered", get)
	require.NoError(b, table.Flush())
	b.Run("OnDisk", get)
}

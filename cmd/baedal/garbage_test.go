package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, spareHeap / 4: 400, spareHeap / 2: 200, spareHeap: 100, 10 * spareHeap: 100} {
		require.Equal(t, want, garbagePercent(live), live)
	}
}

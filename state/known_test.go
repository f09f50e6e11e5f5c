package state

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKnown(t *testing.T) {
	var k known
	require.False(t, k.has("k0"))
	const n = 100_000
	for i := range n {
		k.add(fmt.Sprint("k", i))
	}
	wrong := 0
	for i := range n {
		require.True(t, k.has(fmt.Sprint("k", i)))
		if k.has(fmt.Sprint("o", i)) {
			wrong++
		}
	}
	require.Less(t, wrong, n/20)
	bytes := 0
	for _, l := range k.layers {
		bytes += 8 * len(l.words)
	}
	require.Less(t, bytes, 5*n)
}

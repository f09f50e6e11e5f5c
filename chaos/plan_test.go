package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"baedal/stream"
)

// A round must be the same when it is replayed, also when it is begun with.
func TestMakeRound_FollowsFromSeedAndNumber(t *testing.T) {
	names := faultNames()
	met := map[string]int{}
	for n := 1; n <= 3*len(names); n++ {
		r := makeRound(7, n, stream.AtLeastOnce, names)
		assert.Equal(t, r, makeRound(7, n, stream.AtLeastOnce, names))
		assert.NotEmpty(t, r.steps)
		met[r.fault]++
	}
	for _, name := range names {
		assert.Equal(t, 3, met[name], "%s comes as often as others", name)
	}
	assert.NotEqual(t, makeRound(7, 5, stream.AtLeastOnce, names), makeRound(8, 5, stream.AtLeastOnce, names))
}

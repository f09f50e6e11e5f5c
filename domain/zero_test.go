package domain_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
)

func TestZeroIsWrittenAsZero(t *testing.T) {
	zero, minus := 0.0, math.Copysign(0, -1)
	for _, p := range []domain.Point{{Lat: &zero, Lon: &minus}, {Lat: &minus, Lon: &zero}, {Lat: &minus, Lon: &minus}} {
		text, err := json.Marshal(p.Place())
		require.NoError(t, err)
		require.Equal(t, `{"lat":0,"lon":0}`, string(text))
	}
	for d, want := range map[domain.Duration]string{
		0: "0s", 15 * 60e9: "15m", 3600e9: "1h", 90e9: "1m30s", 90 * 60e9: "1h30m", 10e9: "10s", 3601e9: "1h0m1s", 1: "1ns", 5e6: "5ms", -60e9: "-1m",
	} {
		text, err := d.MarshalText()
		require.NoError(t, err)
		require.Equal(t, want, string(text))
		var again domain.Duration
		require.NoError(t, again.UnmarshalText(text))
		require.Equal(t, d, again)
	}
}

package domain_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
)

// Times are written by hand; the standard library says what must come out.
func TestTime_AppendText(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000Z"
	check := func(at domain.Time) {
		b, err := at.AppendText([]byte("at "))
		require.NoError(t, err)
		require.Equal(t, "at "+at.Time().Format(layout), string(b))
		var back domain.Time
		require.NoError(t, back.UnmarshalText(b[3:]))
		require.Equal(t, at, back)
	}
	for _, at := range []time.Time{
		time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(-1),
		time.Date(2024, 2, 29, 23, 59, 59, 999e6, time.UTC), time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		check(domain.At(at))
	}
	for range 1000 {
		check(domain.Time(rand.Int64N(253402300800000)))
	}
}

func BenchmarkTime_AppendText(b *testing.B) {
	at, buf := domain.At(time.Now()), make([]byte, 0, 32)
	for b.Loop() {
		_, _ = at.AppendText(buf)
	}
}

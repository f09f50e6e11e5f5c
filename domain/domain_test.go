package domain_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
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

// All that RFC 3339 lets a client write is read, and nothing else.
func TestTime_UnmarshalText(t *testing.T) {
	read := func(text string) (domain.Time, error) {
		var at domain.Time
		return at, at.UnmarshalText([]byte(text))
	}
	for text, want := range map[string]string{
		"2026-01-02T03:04:05Z":                    "2026-01-02T03:04:05.000Z",
		"2026-01-02t03:04:05z":                    "2026-01-02T03:04:05.000Z",
		"2026-01-02t03:04:05.6789z":               "2026-01-02T03:04:05.678Z",
		"2026-01-02T03:04:05.678901234567890123Z": "2026-01-02T03:04:05.678Z",
		"2026-01-02T12:04:05+09:00":               "2026-01-02T03:04:05.000Z",
		"2026-01-02T03:04:05-00:00":               "2026-01-02T03:04:05.000Z",
		"2016-12-31T23:59:60Z":                    "2017-01-01T00:00:00.000Z",
		"2016-12-31t23:59:60.5z":                  "2017-01-01T00:00:00.500Z",
		"2017-01-01T08:59:60+09:00":               "2017-01-01T00:00:00.000Z",
		"2016-12-31T15:59:60.999-08:00":           "2017-01-01T00:00:00.999Z",
		"1990-06-30T23:59:60Z":                    "1990-07-01T00:00:00.000Z",
		"0000-01-01T00:00:00Z":                    "0000-01-01T00:00:00.000Z",
		"9999-12-31T23:59:59.999Z":                "9999-12-31T23:59:59.999Z",
	} {
		var at domain.Time
		require.NoError(t, at.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, at.String(), text)
		again, err := at.MarshalText()
		require.NoError(t, err)
		var back domain.Time
		require.NoError(t, back.UnmarshalText(again), "%s is written as %s", text, again)
		require.Equal(t, at, back, text)
	}
	for text, problem := range map[string]string{
		"yesterday":                         "not an RFC 3339 time",
		"":                                  "not an RFC 3339 time",
		"2026-01-02T24:00:00Z":              "not an RFC 3339 time",
		"2026-01-02T03:04:61Z":              "not an RFC 3339 time",
		"2026-01-02T03:04:05":               "not an RFC 3339 time",
		"12026-01-02T03:04:05Z":             "not an RFC 3339 time",
		"2026-01-02T03:04:60Z":              "a leap second is the last of a month",
		"2026-12-30T23:59:60Z":              "a leap second is the last of a month",
		"2016-12-31T23:59:60+09:00":         "a leap second is the last of a month",
		"0000-01-01T00:00:00+00:01":         "in the year -1 of UTC",
		"9999-12-31T23:59:59-00:01":         "in the year 10000 of UTC",
		"9999-12-31T23:59:60Z":              "in the year 10000 of UTC",
		strings.Repeat("2026-01-02T", 1000): "not an RFC 3339 time",
	} {
		_, err := read(text)
		require.ErrorContains(t, err, problem, text)
		require.Less(t, len(err.Error()), 300)
	}
	for _, at := range []domain.Time{domain.At(time.Date(-1, 12, 31, 0, 0, 0, 0, time.UTC)), domain.At(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))} {
		_, err := at.MarshalText()
		require.Error(t, err, "what can't be read must not be written")
	}
}

// Every duration is written as it is read.
func TestDuration(t *testing.T) {
	for _, d := range []time.Duration{0, 1, -1, time.Hour, math.MaxInt64, math.MinInt64} {
		text, err := domain.Duration(d).MarshalText()
		require.NoError(t, err)
		var back domain.Duration
		require.NoError(t, back.UnmarshalText(text), "%s", text)
		require.Equal(t, d, time.Duration(back))
	}
	var d domain.Duration
	require.ErrorContains(t, d.UnmarshalText([]byte("9999999h")), "is not a duration")
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "...", ".a", "a.", "a..b", " ", "주문", "a%2Fb", strings.Repeat("x", 200)} {
		require.NoError(t, domain.CheckID("id", id), id)
	}
	for id, problem := range map[string]string{
		"": "is missing", ".": "must not be \".\"", "..": "must not be \"..\"", "a/b": "slash", "a\nb": "control characters", "a\x7f": "control characters",
		"\xff": "not UTF-8", strings.Repeat("x", 201): "201 bytes",
	} {
		require.ErrorContains(t, domain.CheckID("id", id), problem, id)
	}
}

// Written counts what a string takes in JSON.
func TestWritten(t *testing.T) {
	for _, s := range []string{"", "plain", `"quoted" \`, "\n\r\t\b\f", "\x00\x01\x1f", "\x7f\u2028<>&", "주문", strings.Repeat("\x01", 100)} {
		data, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, len(data), domain.Written(s), "%q", s)
	}
}

func TestCut(t *testing.T) {
	require.Equal(t, "주", domain.Cut("주문", 5))
	require.Equal(t, "주문", domain.Cut("주문", 6))
	require.Equal(t, "", domain.Cut("주문", 2))
}

func BenchmarkTime_AppendText(b *testing.B) {
	at, buf := domain.At(time.Now()), make([]byte, 0, 32)
	for b.Loop() {
		_, _ = at.AppendText(buf)
	}
}

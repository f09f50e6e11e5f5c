package domain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
)

// A refusal is remembered for an hour and within a bound in bytes, whichever
// ends first, and the newest always.
func TestRemember(t *testing.T) {
	type refusal struct {
		at   time.Duration
		size int
	}
	about := func(r *refusal) (domain.Time, int) { return domain.Time(r.at.Milliseconds()), r.size }
	third := domain.MaxRefusedBytes / 3
	for name, tt := range map[string]struct {
		before []refusal
		newest refusal
		kept   int
	}{
		"First":            {nil, refusal{0, 300}, 1},
		"TooLargeByItself": {nil, refusal{0, 2 * domain.MaxRefusedBytes}, 1},
		"WithinAnHour":     {[]refusal{{0, 300}, {time.Minute, 300}}, refusal{time.Hour, 300}, 3},
		"AfterAnHour":      {[]refusal{{0, 300}, {time.Minute, 300}}, refusal{time.Hour + time.Millisecond, 300}, 2},
		"WithinTheBytes":   {[]refusal{{0, third}, {1, third}}, refusal{2, third}, 3},
		"BeyondTheBytes":   {[]refusal{{0, third}, {1, third}}, refusal{2, third + 3}, 2},
		"TheOldestGoFirst": {[]refusal{{0, 2 * third}, {1, third / 2}}, refusal{2, 2 * third}, 2},
		"TheClockWentBack": {[]refusal{{time.Hour, 300}}, refusal{0, 300}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			all := append(tt.before, tt.newest)
			kept := domain.Remember(tt.before, tt.newest, about)
			require.Equal(t, all[len(all)-tt.kept:], kept)
		})
	}
	require.Equal(t, 200+len(`"c-1"`)+len(`"\"no\""`), domain.RefusedBytes("c-1", `"no"`))
}

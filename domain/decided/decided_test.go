package decided_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/decided"
)

const noon = domain.Time(1_767_355_200_000)

func name(id, says string) domain.Name { return domain.NameOf(id, says, "t/0/1", "i") }

func TestMemory_Row(t *testing.T) {
	var m decided.Memory
	m.Add(name("c-1", "add"), domain.Refusal{}, 7, noon)
	m.Add(name("c-2", "remove"), domain.Refuse(domain.CodeShort, `none / "left"`), 0, noon+1)
	m.Add(name("", "unnamed"), domain.Refuse(domain.CodeRefused, ""), 36, noon+2)
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.Less(t, len(text), 250)
	var again decided.Memory
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, m, again)

	for _, damaged := range []string{"", "a", "a/b/c", "a/b/1/!", "a/b/1/2/code"} {
		require.Error(t, new(decided.Decision).UnmarshalText([]byte(damaged)), damaged)
	}
}

func TestMemory_Find(t *testing.T) {
	var m decided.Memory
	m.Add(name("c-1", "add"), domain.Refusal{}, 7, noon)
	m.Add(name("", "add"), domain.Refusal{}, 8, noon)
	for _, tt := range []struct {
		n            domain.Name
		found, taken bool
	}{
		{name("c-1", "add"), true, false},
		{name("c-1", "remove"), false, true},
		{name("c-2", "add"), false, false},
		{name("", "add"), true, false},
		{name("", "remove"), false, false}, // coordinates that come again are another command
	} {
		_, found := m.Find(tt.n)
		_, taken := m.Taken(tt.n)
		require.Equal(t, []bool{tt.found, tt.taken}, []bool{found, taken}, "%+v", tt.n)
	}
}

// What a decision is counted for is what it takes at most.
func TestMemory_TrimCountsWhatIsWritten(t *testing.T) {
	reason := strings.Repeat("\"\x01", 100)
	for _, why := range []domain.Refusal{{}, domain.Refuse(domain.CodeRefused, "%s", reason)} {
		var m decided.Memory
		for range 1000 {
			m.Add(name("c", "x"), why, domain.MaxCount, 253_402_300_799_999)
		}
		m = m.Trim(253_402_300_799_999, decided.Bounds{Accepted: 10_000, Refused: 20_000})
		text, err := json.Marshal(m)
		require.NoError(t, err)
		most := 10_000
		if why.Is() {
			most = 20_000
		}
		require.LessOrEqual(t, len(text), most+2)
		require.Greater(t, len(text), most*7/10)
	}
}

func TestTrim(t *testing.T) {
	type e struct {
		at      time.Duration
		bytes   int
		refused bool
	}
	const bound = 100
	for name, tt := range map[string]struct{ all, want []e }{
		"Nothing":        {nil, nil},
		"AnHour":         {[]e{{0, 50, false}, {0, 1, true}, {time.Hour, 1, true}}, []e{{0, 50, false}, {0, 1, true}, {time.Hour, 1, true}}},
		"MoreThanAnHour": {[]e{{0, 50, false}, {0, 1, true}, {time.Second, 1, true}, {time.Hour + time.Second, 1, true}}, []e{{time.Second, 1, true}, {time.Hour + time.Second, 1, true}}},
		"Always":         {[]e{{0, 10, false}, {0, 10, false}, {0, 1, true}, {100 * time.Hour, 10, false}}, []e{{0, 10, false}, {100 * time.Hour, 10, false}}},
		"Bytes":          {[]e{{0, 50, true}, {0, 51, true}, {0, 50, true}}, []e{{0, 50, true}}},
		"OfEachKind":     {[]e{{0, 100, false}, {0, 60, true}, {0, 60, true}}, []e{{0, 100, false}, {0, 60, true}}},
		"NoneBehindOne":  {[]e{{0, 1, true}, {0, 101, true}, {0, 50, true}}, []e{{0, 50, true}}},
		"TheNewest":      {[]e{{0, 1000, true}}, []e{{0, 1000, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			if n := len(tt.all); n > 0 {
				now = noon.Add(tt.all[n-1].at)
			}
			got := decided.Trim(tt.all, now, decided.Bounds{Accepted: bound, Always: 20, Refused: bound}, func(x *e) (domain.Time, int, bool) {
				return noon.Add(x.at), x.bytes, x.refused
			})
			require.Equal(t, tt.want, got)
		})
	}
}

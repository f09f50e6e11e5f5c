package audit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/domain"
)

// The auditor's own rule is the one that rows keep.
func TestRemembered_IsTheRule(t *testing.T) {
	require.Equal(t, domain.RefusedFor.Milliseconds(), rememberedFor)
	require.Equal(t, domain.MaxRefusedBytes, rememberedBytes)
	for _, reason := range []string{"", "too late", `order "o-1" \ <&>`, "\n\x01\b\f\x7f", "주문"} {
		require.Equal(t, domain.RefusedBytes("c-1", reason), bytesOf(&verdictMessage{CommandID: "c-1", Reason: reason}), "%q", reason)
	}
}

// A refused command that is repeated gets another answer: that breaks the promise
// while its row has to remember it, and is noted afterwards.
func TestRemembered(t *testing.T) {
	const note = "1 refused commands repeated when their row need not remember them any more, and decided on anew"
	accept, ship := `{"type":"accept","id":"o-2:accept"}`, `{"type":"close","id":"c-1","verdict":true}`
	others := func(name, key string, n, size int) (all []said) {
		in := map[string]stream{"order-commands": orderCommands, "store-commands": storeCommands}[name]
		for i := range n {
			c := fmt.Sprintf(`{"type":"close","id":"other-%d"}`, i)
			v := strings.ReplaceAll(ruling(name, key, c, "refused"), "it is too late", strings.Repeat("x", size))
			all = append(all, said{stream: in, key: key, value: c}, said{stream: verdicts, key: key, value: v})
		}
		return all
	}
	for name, tt := range map[string]struct {
		stream, key, command string
		between              []said
		later                time.Duration
		forgotten            bool
	}{
		"Order/WithinTheHour":  {"order-commands", "o-2", accept, nil, time.Hour, false},
		"Order/AfterTheHour":   {"order-commands", "o-2", accept, nil, time.Hour + time.Millisecond, true},
		"Order/WithinTheBytes": {"order-commands", "o-2", accept, others("order-commands", "o-2", 20, 1000), time.Minute, false},
		"Order/BeyondTheBytes": {"order-commands", "o-2", accept, others("order-commands", "o-2", 25, 1000), time.Minute, true},
		"Order/OthersBytes":    {"order-commands", "o-2", accept, others("order-commands", "o-1", 25, 1000), time.Minute, false},
		"Store/WithinTheHour":  {"store-commands", "s-9", ship, nil, time.Hour, false},
		"Store/AfterTheHour":   {"store-commands", "s-9", ship, nil, time.Hour + time.Millisecond, true},
		"Store/WithinTheBytes": {"store-commands", "s-9", ship, others("store-commands", "s-9", 20, 1000), time.Minute, false},
		"Store/BeyondTheBytes": {"store-commands", "s-9", ship, others("store-commands", "s-9", 25, 1000), time.Minute, true},
	} {
		for _, swept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/Swept=%v", name, swept), func(t *testing.T) {
				a := newTestAuditor(AtLeastOnce)
				var offsets [streams]int64
				at := start.UnixMilli()
				feed := func(all ...said) {
					for _, s := range all {
						a.feed(&record{where: where{s.stream, 0, offsets[s.stream]}, at: at, key: s.key, value: []byte(s.value)})
						offsets[s.stream]++
					}
				}
				feed(history()...)
				if tt.stream == "store-commands" {
					feed(said{stream: storeCommands, key: tt.key, value: tt.command}, said{stream: verdicts, key: tt.key, value: ruling(tt.stream, tt.key, tt.command, "refused")})
				}
				feed(tt.between...)
				if swept {
					at += 2 * linger
					a.clock = at
					a.sweep()
				}
				at = start.Add(tt.later).UnixMilli()
				again := strings.ReplaceAll(ruling(tt.stream, tt.key, tt.command, "refused"), start.Format("2006-01-02T15:04:05.000Z"), start.Add(tt.later).Format("2006-01-02T15:04:05.000Z"))
				feed(said{stream: verdicts, key: tt.key, value: again})
				r := a.finish(at)
				if tt.forgotten {
					require.Empty(t, r.Violations)
					require.Contains(t, r.Notes, note)
				} else {
					require.Equal(t, []string{Verdicts}, r.Broken())
					require.Contains(t, r.Violations[0].Problem, "a second, different verdict")
					require.NotContains(t, r.Notes, note)
				}
			})
		}
	}
}

// The same where the repeat is obeyed, and nobody asked for a verdict.
func TestRemembered_Obeyed(t *testing.T) {
	for later, violations := range map[time.Duration]int{time.Hour: 1, time.Hour + time.Millisecond: 0} {
		s := &script{}
		s.open()
		s.paying("o-1", 0)
		cancel := `{"type":"cancel","id":"o-1:cancel"}`
		s.say(orderCommands, "o-1", "%s", cancel)
		s.say(verdicts, "o-1", "%s", ruling("order-commands", "o-1", cancel, "refused"))
		s.event("o-1", 4, "cancelled", "o-1:cancel", "")
		all := s.all
		i := find(all, orderEvents, `"id":"o-1/4"`)
		all[i].value = strings.ReplaceAll(all[i].value, at(4), start.Add(later).Format("2006-01-02T15:04:05.000Z"))
		r := play(all, AtLeastOnce)
		n := 0
		for _, v := range r.Violations {
			if v.Check == Verdicts {
				n++
				require.Contains(t, v.Problem, "it is refused, and caused version 4")
			}
		}
		require.Equal(t, violations, n)
	}
}

package payment_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"baedal/domain/payment"
)

// bank is a gateway that keeps books: it carries out each key once, and it is an
// error to ask for what its books do not allow.
type bank struct {
	t    *rapid.T
	done map[string]string // answer by key
}

func (b *bank) call(c payment.Call) (answer string) {
	lost := rapid.SampledFrom([]string{"", "", "", "before", "after"}).Draw(b.t, "lost")
	if lost == "before" {
		return payment.Failed
	}
	if _, ok := b.done[c.Key()]; !ok {
		answer = payment.OK
		switch c.Kind {
		case payment.Authorize:
			answer = rapid.SampledFrom([]string{payment.OK, payment.OK, payment.Denied}).Draw(b.t, "approved")
		case payment.Capture:
			require.True(b.t, b.did(payment.Authorize, c), "captured only what was authorised")
			require.False(b.t, b.did(payment.Void, c), "captured or voided, not both")
		case payment.Void:
			require.True(b.t, b.did(payment.Authorize, c), "voided only what was authorised")
			require.False(b.t, b.did(payment.Capture, c), "captured or voided, not both")
		case payment.Refund:
			require.True(b.t, b.did(payment.Capture, c), "refunded only what was captured")
		}
		if c.Kind != payment.Authorize && rapid.IntRange(0, 9).Draw(b.t, "denies") == 0 {
			return payment.Denied // and changes its mind later
		}
		b.done[c.Key()] = answer
	}
	if lost == "after" {
		return payment.Failed
	}
	return b.done[c.Key()]
}

func (b *bank) did(kind string, c payment.Call) bool {
	c.Kind = kind
	return b.done[c.Key()] == payment.OK
}

// TestPayment_Promises runs the loop of row, timer and gateway with any requests
// in any order, with calls repeated, results late, lost or doubled, and crashes.
func TestPayment_Promises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			row     = payment.New("o-1")
			gateway = &bank{t: t, done: map[string]string{}}
			now     = noon
			wire    []payment.Result // answered, not yet heard
			heard   []any            // messages in the order in which they were handled
			said    = map[string]string{}
			asked   = map[string]bool{}
		)
		handle := func(m any) {
			before := encoded(t, row)
			var out payment.Out
			switch m := m.(type) {
			case *payment.Request:
				out = row.Handle(m, now, settings)
				asked[m.Type] = true
			case *payment.Result:
				out = row.HandleResult(m, now, settings)
			}
			heard = append(heard, m)
			if !out.Changed {
				require.Equal(t, before, encoded(t, row), "the row changes only when it says so")
			}
			for _, r := range out.Replies {
				text := encoded(t, r)
				if was, ok := said[r.ID]; ok {
					require.Equal(t, was, text, "said again as it was")
				}
				said[r.ID] = text
			}
			// A row that comes back from the changelog is the same.
			after := encoded(t, row)
			copied := payment.New("")
			require.NoError(t, json.Unmarshal([]byte(after), copied))
			require.Equal(t, after, encoded(t, copied))
			row = copied
			require.LessOrEqual(t, len(row.Attempts[0].Said), 4)
		}
		ask := func() {
			if at, c, ok := row.Next(); ok && at <= now {
				wire = append(wire, payment.NewResult(c, gateway.call(c), "so", now))
			}
		}
		hear := func(i int, again bool) {
			r := wire[i]
			if !again {
				wire = append(wire[:i:i], wire[i+1:]...)
			}
			handle(&r)
		}

		handle(request(rapid.SampledFrom(kinds).Draw(t, "first"), 1))
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 3:
				ask() // also when it is asked already: the timer may ring twice
			case what < 6 && len(wire) > 0:
				hear(rapid.IntRange(0, len(wire)-1).Draw(t, "which"), rapid.IntRange(0, 3).Draw(t, "doubled") == 0)
			case what < 8:
				handle(request(rapid.SampledFrom(kinds).Draw(t, "request"), rapid.IntRange(1, 2).Draw(t, "attempt")))
			case what == 8: // a crash: what is on the wire is lost, the last messages come again
				wire = nil
				n := rapid.IntRange(0, min(5, len(heard))).Draw(t, "repeated")
				for _, m := range heard[len(heard)-n:] {
					handle(m)
				}
			}
		}

		// The order ends: it takes back what it does not need. All is answered.
		handle(request(payment.Void, 1))
		handle(request(payment.Void, 2))
		for n := 0; ; n++ {
			require.Less(t, n, 500, "calls end")
			at, _, ok := row.Next()
			if !ok && len(wire) == 0 {
				break
			}
			if ok {
				now = max(now, at)
				ask()
			}
			for len(wire) > 0 {
				hear(rapid.IntRange(0, len(wire)-1).Draw(t, "which"), false)
			}
		}
		for attempt := 1; attempt <= 2; attempt++ {
			c := payment.Call{OrderID: "o-1", Attempt: attempt}
			require.Equal(t, gateway.did(payment.Authorize, c), gateway.did(payment.Capture, c) != gateway.did(payment.Void, c),
				"what is authorised ends captured or voided, and nothing else does")
		}
		require.True(t, row.Settled())
		if !asked[payment.Refund] {
			for key := range gateway.done {
				require.NotContains(t, key, "/refund/", "refunded only what was asked for")
			}
		}
		if !asked[payment.Capture] {
			for key := range gateway.done {
				require.NotContains(t, key, "/capture/")
			}
		}
	})
}

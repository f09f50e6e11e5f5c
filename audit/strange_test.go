package audit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
)

// The engine takes a command with fields that it does not have, whatever is in
// them. So does the audit, and it understands the same.
func TestStrangeCommands(t *testing.T) {
	for _, extra := range []string{
		`"ID":"other"`, `"Type":7`, `"VERDICT":"yes"`, `"orderid":["o"]`, `"LineS":1`,
		`"attempt":"x"`, `"quantity":1.5`, `"product":{}`, `"lines":{}`,
		`"x":1e400`, `"x":-1e400`, `"x":1e-400`, `"x":-0`, `"x":9007199254740993`, `"x":[1.0,1e2]`,
	} {
		for _, mark := range []string{"", "\xef\xbb\xbf"} {
			value := mark + `{"type":"request_refund","id":"o-1:refund","verdict":true,` + extra + `}`
			digest, err := codecs.Digest([]byte(strings.TrimPrefix(value, mark)))
			require.NoError(t, err)
			verdict := `{"type":"refused","id":"o-1/verdict/order-commands/m/o-1:refund","commandId":"o-1:refund","stream":"order-commands","key":"o-1","digest":"` + digest + `","verdict":"refused","code":"status"}`
			require.Empty(t, play(say2(orderCommands, "o-1", value, verdicts, verdict)(history()), "at-least-once").Violations, "%s", value)
		}
	}
}

// What strangers write is shown so that it can be read, and obeyed by nobody.
func TestShownKeys(t *testing.T) {
	for key, want := range map[string]string{
		"o-1":                    "o-1",
		"주문":                     "주문",
		"a\x1b[2Jb\n":            `a\x1b[2Jb\n`,
		"\xff":                   `\xff`,
		strings.Repeat("k", 501): strings.Repeat("k", 500) + "…",
	} {
		require.Equal(t, "orders: "+want+": is lost (order-events/1/2)",
			Violation{Orders, key, "is lost", "order-events", 1, 2}.String())
	}
}

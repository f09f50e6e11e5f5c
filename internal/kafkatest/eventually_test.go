package kafkatest

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// judged is a test that somebody looks at.
type judged struct {
	testing.TB
	said   string
	failed bool
}

func (j *judged) Helper()                   {}
func (j *judged) Errorf(f string, a ...any) { j.said += fmt.Sprintf(f, a...) }
func (j *judged) FailNow()                  { j.failed = true; runtime.Goexit() }

func TestEventually(t *testing.T) {
	asked := 0
	for name, c := range map[string]struct {
		condition func(*judged) bool
		limit     time.Duration
		fails     bool
		says      string
	}{
		"Met":      {func(*judged) bool { asked++; return asked == 3 }, time.Minute, false, ""},
		"NotMet":   {func(*judged) bool { return false }, 10 * time.Millisecond, true, "the label"},
		"Hangs":    {func(*judged) bool { time.Sleep(time.Second); return true }, 10 * time.Millisecond, true, "the label"},
		"FailsNow": {func(j *judged) bool { require.Equal(j, 1, 2); return false }, time.Minute, true, "Not equal"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judged{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				Eventually(j, func() bool { return c.condition(j) }, c.limit, time.Millisecond, "the label")
			}()
			<-done
			require.Equal(t, c.fails, j.failed)
			require.Contains(t, j.said, c.says)
		})
	}
}

package kafkatest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Eventually is require.Eventually for conditions that may fail the test themselves, as by require: the test then ends at once.
// require.Eventually waits for their answer until its time is up, and says that the condition was never satisfied.
func Eventually(t testing.TB, condition func() bool, limit, tick time.Duration, what ...any) {
	t.Helper()
	over := time.NewTimer(limit)
	defer over.Stop()
	pause := time.NewTicker(tick)
	defer pause.Stop()
	for {
		answer := make(chan bool, 1)
		go func() {
			defer close(answer) // FailNow ends this goroutine
			answer <- condition()
		}()
		select {
		case met, ok := <-answer:
			if !ok {
				t.FailNow()
			}
			if met {
				return
			}
		case <-over.C:
			assert.Fail(t, "Condition never satisfied", what...)
			t.FailNow()
		}
		select {
		case <-pause.C:
		case <-over.C:
			assert.Fail(t, "Condition never satisfied", what...)
			t.FailNow()
		}
	}
}

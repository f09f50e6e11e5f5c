package stream

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"
)

// rings collects what timers send, with the time at which they do.
type rings struct {
	t     *testing.T
	start time.Time
	mu    sync.Mutex
	all   []ring
}

type ring struct {
	at   time.Duration // since the start
	key  string
	data string
}

func (r *rings) emit(key string, data []byte) *goka.Promise {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, ring{time.Since(r.start), key, string(data)})
	return goka.NewPromise()
}

func (r *rings) are(want ...ring) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Equal(r.t, want, r.all)
}

// startTimers runs timers in a bubble of synctest, where time passes only while all wait.
func startTimers(t *testing.T, workers int) (*timers, *rings) {
	ts := newTimers(workers, "t-loop", Config{}.WithDefaults())
	r := &rings{t: t, start: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); ts.run(ctx, r.emit) }()
	t.Cleanup(func() { stop(); <-done })
	return ts, r
}

func alarmAt(at time.Time, data string) Alarm {
	return Alarm{At: at, do: func(context.Context) ([]byte, error) { return []byte(data), nil }}
}

func TestTimers_RingInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 4)
		for i, key := range []string{"c", "a", "d", "b"} {
			ts.set(0, key, alarmAt(r.start.Add([]time.Duration{3, 1, 4, 2}[i]*time.Second), key))
		}
		time.Sleep(5 * time.Second)
		r.are(ring{time.Second, "a", "a"}, ring{2 * time.Second, "b", "b"}, ring{3 * time.Second, "c", "c"}, ring{4 * time.Second, "d", "d"})
	})
}

func TestTimers_PastIsDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		ts.set(0, "a", alarmAt(r.start.Add(-time.Hour), "late"))
		r.are(ring{0, "a", "late"})
	})
}

func TestTimers_Replaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		ts.set(0, "a", alarmAt(r.start.Add(time.Second), "first"))
		ts.set(0, "b", alarmAt(r.start.Add(time.Second), "gone"))
		ts.set(0, "c", alarmAt(r.start.Add(4*time.Second), "sooner than it was"))
		ts.set(0, "a", alarmAt(r.start.Add(3*time.Second), "second"))
		ts.set(0, "b", Alarm{})
		ts.set(0, "c", alarmAt(r.start.Add(2*time.Second), "soon"))
		synctest.Wait()
		ts.mu.Lock()
		kept := len(ts.heap)
		ts.mu.Unlock()
		require.Equal(t, 2, kept, "nothing is kept of what was replaced")
		time.Sleep(5 * time.Second)
		r.are(ring{2 * time.Second, "c", "soon"}, ring{3 * time.Second, "a", "second"})
	})
}

func TestTimers_Clear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		ts.set(0, "a", alarmAt(r.start.Add(time.Second), "given back"))
		ts.clear()
		ts.set(1, "b", alarmAt(r.start.Add(2*time.Second), "ours"))
		time.Sleep(5 * time.Second)
		r.are(ring{2 * time.Second, "b", "ours"})
	})
	(*timers)(nil).clear() // a group without a timer
}

// An alarm whose row stays as it is rings again, also when nothing else happens; one whose row was saved does not.
func TestTimers_RingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		ts.set(0, "a", alarmAt(r.start.Add(time.Second), "a"))
		time.Sleep(2 * time.Second)
		r.are(ring{time.Second, "a", "a"})
		time.Sleep(ringAgain)
		r.are(ring{time.Second, "a", "a"}, ring{time.Second + ringAgain, "a", "a"})
		ts.set(0, "a", Alarm{})
		time.Sleep(3 * ringAgain)
		r.are(ring{time.Second, "a", "a"}, ring{time.Second + ringAgain, "a", "a"})
	})
}

func TestTimers_FailureIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		tries := 0
		ts.set(0, "a", Alarm{At: r.start.Add(time.Second), do: func(context.Context) ([]byte, error) {
			if tries++; tries == 1 {
				return nil, errors.New("the gateway is away")
			}
			return []byte("done"), nil
		}})
		time.Sleep(2*time.Second + ringAgain)
		r.are(ring{time.Second + ringAgain, "a", "done"})
	})
}

// While the work of an alarm is under way its row changes: what was set then counts.
func TestTimers_SavedWhileRinging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		ts.set(0, "a", Alarm{At: r.start.Add(time.Second), do: func(context.Context) ([]byte, error) {
			time.Sleep(2 * time.Second)
			return []byte("slow"), nil
		}})
		time.Sleep(2 * time.Second)
		ts.set(0, "a", alarmAt(r.start.Add(5*time.Second), "next"))
		time.Sleep(4 * time.Second)
		r.are(ring{3 * time.Second, "a", "slow"}, ring{5 * time.Second, "a", "next"})
		ts.set(0, "a", Alarm{})
		require.Empty(t, ts.heap)
		time.Sleep(2 * ringAgain)
		r.are(ring{3 * time.Second, "a", "slow"}, ring{5 * time.Second, "a", "next"})
	})
}

// An alarm that waits for a worker while its row changes does not ring any more.
func TestTimers_ReplacedWhileWaitingForAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, r := startTimers(t, 1)
		ts.set(0, "slow", Alarm{At: r.start, do: func(context.Context) ([]byte, error) {
			time.Sleep(3 * time.Second)
			return []byte("slow"), nil
		}})
		synctest.Wait()
		ts.set(0, "a", alarmAt(r.start, "old"))
		time.Sleep(time.Second)
		ts.set(0, "a", alarmAt(r.start.Add(5*time.Second), "new"))
		time.Sleep(5 * time.Second)
		r.are(ring{3 * time.Second, "slow", "slow"}, ring{5 * time.Second, "a", "new"})
	})
}

// No more alarms than workers are under way at once, and more workers go further.
func TestTimers_Workers(t *testing.T) {
	for _, workers := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			ts, r := startTimers(t, workers)
			for _, key := range []string{"a", "b", "c"} {
				ts.set(0, key, Alarm{At: r.start, do: func(context.Context) ([]byte, error) {
					time.Sleep(time.Second)
					return []byte(key), nil
				}})
			}
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			require.Len(t, r.all, max(1, workers), "%d workers", workers)
		})
	}
}

// What is under way is told to stop, and nothing is sent behind the end.
func TestTimers_Stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := newTimers(1, "t-loop", Config{}.WithDefaults())
		r := &rings{t: t, start: time.Now()}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); ts.run(ctx, r.emit) }()
		ts.set(0, "a", Alarm{At: r.start, do: func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			return []byte("too late"), nil
		}})
		ts.set(0, "b", alarmAt(r.start, "waits for the worker"))
		synctest.Wait()
		stop()
		<-done
		require.Empty(t, r.all)
	})
}

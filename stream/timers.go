package stream

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/lovoo/goka"

	"baedal/internal/failpoint"
)

// Timer wakes rows up: an order that has waited long enough, a payment that is
// to be asked for again. A timer survives a restart because it is read from the
// row; nothing else is stored.
type Timer[R any] interface {
	next(*R) Alarm
	workers() int
}

// Alarm is when a row wants to be woken up, and what is then done. The zero
// Alarm never rings.
type Alarm struct {
	At time.Time
	// do returns the message for the group's loop, encoded; nil sends none.
	do func(context.Context) ([]byte, error)
}

// Wake makes a Timer whose messages are of type M. due is called with each row
// that is saved or recovered: it says when the row is to be woken, and what is
// to be done then. do runs on one of n workers, may block and call outside, and
// returns the message for the group's loop (nil for none). It may be called more
// than once for the same row: after a crash, or when the message it returned is
// not seen to change the row within the retry time. An error is logged and
// retried.
func Wake[R, T, M any](loop Topic[M], n int, due func(*R) (at time.Time, task T, ok bool), do func(context.Context, T) (*M, error)) Timer[R] {
	return wake[R]{n: n, alarm: func(row *R) Alarm {
		at, task, ok := due(row)
		if !ok {
			return Alarm{}
		}
		return Alarm{At: at, do: func(ctx context.Context) ([]byte, error) {
			m, err := do(ctx, task)
			if err != nil || m == nil {
				return nil, err
			}
			data, err := loop.Encode(m)
			if err == nil {
				err = tooLong("", data)
			}
			return data, err
		}}
	}}
}

type wake[R any] struct {
	n     int
	alarm func(*R) Alarm
}

func (w wake[R]) next(row *R) Alarm { return w.alarm(row) }
func (w wake[R]) workers() int      { return w.n }

// ringAgain is how long an alarm that rang waits for its row to change.
const ringAgain = 10 * time.Second

// timers keeps the alarms of the partitions that a group owns, soonest first.
// A nil *timers does nothing.
type timers struct {
	topic string
	cfg   Config
	slots chan struct{}

	mu    sync.Mutex
	heap  alarms
	byKey map[string]*alarm
	wake  chan struct{}
}

type alarm struct {
	Alarm
	key       string
	partition int32
	index     int // in the heap; -1 when it is ringing
}

func newTimers(workers int, topic string, cfg Config) *timers {
	return &timers{topic: topic, cfg: cfg, slots: make(chan struct{}, max(1, workers)),
		byKey: map[string]*alarm{}, wake: make(chan struct{}, 1)}
}

// set replaces the alarm of a key.
func (t *timers) set(partition int32, key string, a Alarm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.byKey[key]; old != nil {
		delete(t.byKey, key)
		if old.index >= 0 {
			heap.Remove(&t.heap, old.index)
		}
	}
	if a.do == nil {
		return
	}
	n := &alarm{Alarm: a, key: key, partition: partition}
	t.byKey[key] = n
	t.push(n)
}

// push adds an alarm and lets run know if it is the soonest.
func (t *timers) push(a *alarm) {
	heap.Push(&t.heap, a)
	if a.index == 0 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// clear forgets all alarms: the partitions are given back.
func (t *timers) clear() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heap, t.byKey = nil, map[string]*alarm{}
}

// run rings alarms until ctx is done. emit sends to the group's loop.
func (t *timers) run(ctx context.Context, emit func(key string, data []byte) *goka.Promise) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		a, wait := t.pop()
		if a == nil {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-t.wake:
			case <-timer.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case t.slots <- struct{}{}:
		}
		if !t.holds(a) { // its row has changed while it waited for a worker
			<-t.slots
			continue
		}
		wg.Go(func() {
			defer func() { <-t.slots }()
			data, err := a.do(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				t.cfg.Logger.Warn("a timer failed and is tried again", "topic", t.topic, "key", a.key, "error", err)
			case data != nil:
				failpoint.Hit(failpoint.Ringing, t.topic)
				emit(a.key, data)
				failpoint.Hit(failpoint.Rang, t.topic)
			}
			t.again(a)
		})
	}
}

// pop takes the alarm that is due, or says how long none will be.
func (t *timers) pop() (*alarm, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return nil, time.Hour
	}
	if wait := t.heap[0].At.Sub(t.cfg.Now()); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&t.heap).(*alarm), 0
}

// holds reports whether an alarm is still its key's.
func (t *timers) holds(a *alarm) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byKey[a.key] == a
}

// again lets an alarm ring once more if its row has not changed by then.
func (t *timers) again(a *alarm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey[a.key] != a {
		return
	}
	a.At = t.cfg.Now().Add(ringAgain)
	t.push(a)
}

type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].At.Before(h[j].At) }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	a.index = -1
	*h = old[:len(old)-1]
	return a
}

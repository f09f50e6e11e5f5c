package views

import (
	"sync"
	"time"
)

const (
	// What is known about how current a view is, is good enough for freshFor; from
	// then on whoever reads has the brokers asked, and from knownFor on waits for
	// the answer, up to answerIn.
	freshFor = 30 * time.Millisecond
	knownFor = 100 * time.Millisecond
	answerIn = 15 * time.Millisecond
	// askEvery is between the beginnings of two questions, longer when answers take
	// long.
	askEvery = 50 * time.Millisecond
)

// asker asks where a table ends while somebody reads its view: one question at a
// time, for all who read.
type asker struct {
	mu    sync.Mutex
	fn    func()        // asks; nil: there is nobody to ask
	begun time.Time     // the last question
	next  time.Time     // no question before
	done  chan struct{} // the question under way; nil: none
}

func (a *asker) start(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fn, a.next = fn, time.Time{}
}

func (a *asker) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fn = nil
}

// ask begins a question, unless one is under way or was a moment ago. It waits
// for the answer only when told to, and never longer than answerIn after the
// question: where brokers are away, readers are not held up.
func (a *asker) ask(wait bool) {
	a.mu.Lock()
	now := time.Now()
	if a.done == nil && a.fn != nil && !now.Before(a.next) {
		done, fn := make(chan struct{}), a.fn
		a.done, a.begun = done, now
		go func() {
			fn()
			a.mu.Lock()
			defer a.mu.Unlock()
			took := time.Since(now)
			a.done, a.next = nil, now.Add(max(askEvery, 4*took))
			close(done)
		}()
	}
	done, left := a.done, answerIn-now.Sub(a.begun)
	a.mu.Unlock()
	if !wait || done == nil || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

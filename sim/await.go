package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// await is a set of answers that are waited for.
type await struct {
	mu      sync.Mutex
	missing map[string]bool
	total   int
	sealed  bool
	problem error
	done    chan struct{}
}

func newAwait() *await { return &await{missing: make(map[string]bool), done: make(chan struct{})} }

func (a *await) add(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.missing[what] = true
	a.total++
}

// seal says that everything is added.
func (a *await) seal() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sealed = true
	a.check()
}

func (a *await) seen(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.missing, what)
	a.check()
}

func (a *await) refused(what, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.missing[what] && a.problem == nil {
		a.problem = fmt.Errorf("%s was refused: %s", what, reason)
		close(a.done)
	}
}

func (a *await) check() {
	if a.sealed && a.problem == nil && len(a.missing) == 0 && a.total >= 0 {
		a.total = -1 // once
		close(a.done)
	}
}

// wait blocks until everything came, something was refused, or nothing can come any more.
func (a *await) wait(ctx context.Context, c *Client, read <-chan error, timeout time.Duration) error {
	select {
	case <-a.done:
		return a.problem
	case <-ctx.Done():
		return ctx.Err()
	case err := <-read:
		return err
	case <-c.Failed():
		return c.Err()
	case <-time.After(timeout):
		return a.timeout(timeout)
	}
}

// timeout is the error of having waited too long.
func (a *await) timeout(after time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var some []string
	for what := range a.missing {
		some = append(some, what)
	}
	slices.Sort(some)
	return fmt.Errorf("registering stores and riders: %d of %d answers are missing after %s (%s…): is the engine running? Start `baedal up` or `baedal run`",
		len(some), a.total, after, strings.Join(some[:min(3, len(some))], ", "))
}

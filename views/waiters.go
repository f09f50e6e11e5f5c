package views

import (
	"slices"
	"sync"
	"sync/atomic"
)

// waiters are those who wait for something to change, by what that is: a key,
// or a group of an index. To wake where nobody waits costs one look.
type waiters[K comparable] struct {
	n     atomic.Int64
	mu    sync.RWMutex
	byKey map[K][]chan struct{}
}

// add registers for wake-ups of key until remove is called. The channel holds
// one wake-up, so none is lost between two looks at the row.
func (w *waiters[K]) add(key K) (woken <-chan struct{}, remove func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[K][]chan struct{}{}
	}
	w.byKey[key] = append(w.byKey[key], ch)
	w.n.Add(1)
	return ch, sync.OnceFunc(func() { w.remove(key, ch) })
}

func (w *waiters[K]) remove(key K, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n.Add(-1)
	all := w.byKey[key]
	i := slices.Index(all, ch)
	if last := len(all) - 1; last > 0 {
		all[i], all[last] = all[last], nil
		w.byKey[key] = all[:last]
	} else {
		delete(w.byKey, key)
	}
}

// has reports whether somebody waits for a key.
func (w *waiters[K]) has(key K) bool {
	if w.n.Load() == 0 {
		return false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.byKey[key]) > 0
}

func (w *waiters[K]) wake(key K) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	wakeEach(w.byKey[key])
}

func (w *waiters[K]) wakeAll() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, chs := range w.byKey {
		wakeEach(chs)
	}
}

func wakeEach(chs []chan struct{}) {
	for _, ch := range chs {
		select {
		case ch <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
}

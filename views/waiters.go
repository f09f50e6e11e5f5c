package views

import "sync"

// waiters are those who wait for a row to change, by key.
type waiters struct {
	mu    sync.RWMutex
	byKey map[string]map[chan struct{}]struct{}
}

// add registers for wake-ups of key until remove is called. The channel holds
// one wake-up, so none is lost between two looks at the row.
func (w *waiters) add(key string) (woken <-chan struct{}, remove func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[string]map[chan struct{}]struct{}{}
	}
	if w.byKey[key] == nil {
		w.byKey[key] = map[chan struct{}]struct{}{}
	}
	w.byKey[key][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byKey[key], ch)
		if len(w.byKey[key]) == 0 {
			delete(w.byKey, key)
		}
	}
}

func (w *waiters) wake(key string) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	wakeEach(w.byKey[key])
}

func (w *waiters) wakeAll() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, chs := range w.byKey {
		wakeEach(chs)
	}
}

func wakeEach(chs map[chan struct{}]struct{}) {
	for ch := range chs {
		select {
		case ch <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
}

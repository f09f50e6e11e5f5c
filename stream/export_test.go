package stream

// Buffered is how many messages the client has, Waiting how many wait for it.
func (e *Emitter) Buffered() int { return int(e.client.BufferedProduceRecords()) }

func (e *Emitter) Waiting() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.lanes {
		n += len(l.waiting)
	}
	return n
}

// Unchecked lets an engine join without a look at who is there: as if both did
// at the same time.
func (e *Engine) Unchecked() { e.checked = true }

// CommitWaits reports whether a commit of the first group lets no message in
// until those inside are finished.
func (e *Engine) CommitWaits() bool {
	s := e.groups[0].session.Load()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped && s.inside > 0
}

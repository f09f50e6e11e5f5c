package stream

import (
	"sync"
	"sync/atomic"

	"github.com/lovoo/goka"

	"baedal/internal/failpoint"
)

// outbox holds the outputs of messages back until the row that was saved with
// them is acknowledged. What is handled again after a crash then finds itself
// in its row, and says again what it said; were an output to leave before its
// row, the decision behind it could be lost and taken anew, differently.
//
// Outputs of a partition leave in the order of their messages.
type outbox struct {
	emit func(m output) *goka.Promise

	mu      sync.Mutex
	changed sync.Cond
	parts   map[int32]*lane
	ready   []*parcel
	held    int // parcels that have not left
	closed  bool
	done    chan struct{}
}

// output is a message on its way.
type output struct {
	topic   string
	key     string
	data    []byte
	headers goka.Headers
}

// lane is the parcels of one partition, oldest first.
type lane struct {
	queue []*parcel
	next  *parcel // its row is the next one that is sent
}

// parcel is the outputs of one message; a row may have none.
type parcel struct {
	partition int32
	outputs   []output
	written   bool // the row is acknowledged, or there is none
	err       error
	done      func(error) // tells goka that the message's outputs are acknowledged
}

// heldMost bounds the messages whose outputs wait: beyond it the intake waits.
const heldMost = 4096

func newOutbox(emit func(output) *goka.Promise) *outbox {
	o := &outbox{emit: emit, parts: map[int32]*lane{}, done: make(chan struct{})}
	o.changed.L = &o.mu
	go o.send()
	return o
}

// put takes the outputs of a message. With a row, the caller sends it at once,
// and the producer learns from row which parcel waits for it. done is called
// once, when all outputs are acknowledged or one is lost. put blocks while too
// much is held.
func (o *outbox) put(p *parcel, withRow bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.held >= heldMost && !o.closed {
		o.changed.Wait()
	}
	l := o.parts[p.partition]
	if l == nil {
		l = &lane{}
		o.parts[p.partition] = l
	}
	o.held++
	l.queue = append(l.queue, p)
	p.written = !withRow
	if withRow {
		l.next = p
	}
	o.advance(l)
}

// row returns the parcel whose row is being sent, or nil.
func (o *outbox) row(partition int32) *parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.parts[partition]
	if l == nil {
		return nil
	}
	p := l.next
	l.next = nil
	return p
}

// written tells that a parcel's row is acknowledged or lost.
func (o *outbox) written(p *parcel, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.written, p.err = true, err
	o.advance(o.parts[p.partition])
}

// advance lets the parcels go that nothing holds back. With o.mu held.
func (o *outbox) advance(l *lane) {
	n := 0
	for n < len(l.queue) && l.queue[n].written {
		o.ready = append(o.ready, l.queue[n])
		l.queue[n] = nil
		n++
	}
	if n > 0 {
		l.queue = l.queue[n:]
		o.changed.Broadcast()
	}
}

// send emits what is ready. It has a goroutine of its own, as the producer may
// block until acknowledgements are read.
func (o *outbox) send() {
	defer close(o.done)
	lost := map[int32]error{} // behind a row that is lost nothing may leave
	for {
		o.mu.Lock()
		for len(o.ready) == 0 && !(o.closed && o.held == 0) {
			o.changed.Wait()
		}
		batch := o.ready
		o.ready = nil
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, p := range batch {
			if p.err != nil && lost[p.partition] == nil {
				lost[p.partition] = p.err
			}
			if err := lost[p.partition]; err != nil {
				p.done(err)
				continue
			}
			o.sendParcel(p)
		}
		o.mu.Lock()
		o.held -= len(batch)
		o.changed.Broadcast()
		o.mu.Unlock()
	}
}

func (o *outbox) sendParcel(p *parcel) {
	if len(p.outputs) == 0 {
		p.done(nil)
		return
	}
	var left atomic.Int32
	left.Store(int32(len(p.outputs)))
	var first atomic.Pointer[error]
	failpoint.Hit(failpoint.OutputsHeld, p.outputs[0].topic)
	for i, out := range p.outputs {
		if i > 0 {
			failpoint.Hit(failpoint.OutputsSome, out.topic)
		}
		o.emit(out).Then(func(err error) {
			if err != nil {
				first.CompareAndSwap(nil, &err)
			}
			if left.Add(-1) > 0 {
				return
			}
			failpoint.Hit(failpoint.OutputsAcked, out.topic)
			if e := first.Load(); e != nil {
				p.done(*e)
				return
			}
			p.done(nil)
		})
	}
	failpoint.Hit(failpoint.OutputsSent, p.outputs[0].topic)
}

// close waits until everything held has left. All rows must be acknowledged or
// lost by then, or become so.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.changed.Broadcast()
	o.mu.Unlock()
	<-o.done
}

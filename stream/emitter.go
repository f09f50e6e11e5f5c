package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What an error of Emit says of the message.
var (
	// ErrNotSent: it was never sent, and never will be.
	ErrNotSent = errors.New("not sent")
	// ErrUnacknowledged: it was sent, and may have arrived or may still arrive.
	ErrUnacknowledged = errors.New("not acknowledged")
)

// Emitter sends messages from outside of a group. It is safe for concurrent use.
//
// What is given to the client can't be called back once it has begun to write it.
// So each partition has at most one batch with the client, and whatever comes
// meanwhile waits here, where it can be dropped: when its sender has no more
// time, and at once when the batch is not acknowledged in time.
type Emitter struct {
	client     *client
	cfg        Config
	release    func() // of Reach
	abandoning context.Context
	abandon    context.CancelFunc

	mu      sync.Mutex
	lanes   map[tp]*sendLane
	acked   time.Time       // when a message was acknowledged last
	failed  time.Time       // when a batch was not acknowledged in time last
	told    bool            // that nothing is acknowledged though brokers answer
	refused map[string]bool // topics of which it was said
	closed  bool
}

const (
	emitStall = 1800 * time.Millisecond // a batch must be acknowledged within
	emitTrial = 500 * time.Millisecond  // from a failure to the next try in its partition
	emitGrace = 200 * time.Millisecond  // for the client to drop what it has not written
	emitQuiet = 5 * time.Second         // from a failure, without a try, to being ready for one

	emitBatch      = 1000    // messages in a batch
	emitBatchBytes = 500_000 // so that it is one batch for the client, too
	emitWaiting    = 10_000  // messages that may wait in a partition
)

// sendLane is the way to one partition.
type sendLane struct {
	waiting []*sending // oldest first
	flight  *flight    // the batch that the client has, or nil
	stalled bool       // the last batch was not acknowledged in time
	since   time.Time  // when the oldest batch was begun since the last acknowledgement
	tried   time.Time  // when the last batch was given up or landed
}

// sending is a message on its way.
type sending struct {
	record *kgo.Record
	result chan error // gets the first thing that is known
}

func (s *sending) tell(err error) {
	select {
	case s.result <- err:
	default: // it has been told already
	}
}

// flight is a batch that the client has.
type flight struct {
	lane     *sendLane
	messages []*sending
	began    time.Time
	left     int             // messages whose outcome is open
	senders  int             // those who still wait for an outcome
	acked    bool            // one of them is
	ctx      context.Context // done: it is given up
	cancel   context.CancelFunc
	stall    *time.Timer
}

// NewEmitter prepares an emitter.
func NewEmitter(c Config) (*Emitter, error) {
	c = c.WithDefaults()
	client, err := c.newClient(
		kgo.MaxProduceRequestsInflightPerBroker(1), // or what is behind a batch that the brokers refuse is in doubt
		kgo.DialTimeout(emitStall),
		kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(5*time.Second))
	if err != nil {
		return nil, err
	}
	if c.Watch != nil {
		c.Watch.onReplaced(client.forgetTopic)
	}
	e := &Emitter{client: client, cfg: c, release: c.Reach.use(), lanes: map[tp]*sendLane{}, refused: map[string]bool{}, acked: time.Now()}
	e.abandoning, e.abandon = context.WithCancel(context.Background())
	return e, nil
}

// Emit sends m and blocks until it is acknowledged by all replicas, or ctx is
// done. It does not wait where it is known that nothing is acknowledged. The
// error wraps ErrNotSent or ErrUnacknowledged.
func Emit[M any](ctx context.Context, e *Emitter, t Topic[M], key string, m *M) error {
	data, err := t.Encode(m)
	if err != nil {
		return err
	}
	if err := tooLong(key, data); err != nil {
		return fmt.Errorf("a message for %s: %w", t.Name(), err)
	}
	at := tp{topic: t.Name()}
	if e.cfg.Partitions > 0 {
		at.partition = Partition(key, e.cfg.Partitions)
	}
	if err := e.send(ctx, at, &kgo.Record{Topic: t.Name(), Key: []byte(key), Value: data}); err != nil {
		return fmt.Errorf("%s: %w", t.Name(), err)
	}
	return nil
}

func notSent(why error) error        { return fmt.Errorf("%w: %w", ErrNotSent, why) }
func unacknowledged(why error) error { return fmt.Errorf("%w: %w", ErrUnacknowledged, why) }

var (
	errNoAck  = errors.New("the brokers acknowledge nothing in this partition")
	errClosed = errors.New("this process is stopping")
	errFull   = errors.New("too much waits for the brokers")
)

func (e *Emitter) send(ctx context.Context, at tp, r *kgo.Record) error {
	if ctx.Err() != nil {
		return notSent(context.Cause(ctx))
	}
	if err := e.cfg.Reach.Err(); err != nil {
		return notSent(err)
	}
	s := &sending{record: r, result: make(chan error, 1)}
	l, err := e.board(at, s)
	if err != nil {
		return err
	}
	giveUp := make(<-chan time.Time)
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		giveUp = time.After(left - min(emitGrace, left/2))
	}
	select {
	case err := <-s.result:
		return err
	case <-ctx.Done():
	case <-giveUp:
	}
	if e.leave(l, s) {
		return notSent(cmp.Or(context.Cause(ctx), context.DeadlineExceeded))
	}
	select { // an acknowledgement counts yet, and the client may say that it has not written it
	case err := <-s.result:
		return err
	case <-ctx.Done():
		return unacknowledged(context.Cause(ctx))
	}
}

// board puts a message into its lane. A lane that has failed takes one at a time.
func (e *Emitter) board(at tp, s *sending) (*sendLane, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[at]
	if l == nil {
		l = &sendLane{}
		e.lanes[at] = l
	}
	if l.flight == nil && e.cfg.Reach.disturbed(l.tried) { // they are back since
		l.stalled, l.since = false, time.Time{}
	}
	switch {
	case e.closed:
		return nil, notSent(errClosed)
	case l.stalled && (l.flight != nil || time.Since(l.tried) < emitTrial):
		return nil, notSent(errNoAck)
	case len(l.waiting) >= emitWaiting:
		return nil, notSent(errFull)
	}
	l.waiting = append(l.waiting, s)
	e.launch(l)
	return l, nil
}

// leave takes a message out of its lane, whose sender has no more time, and
// reports whether it was never given to the client. A batch for which nobody
// waits any more is given up.
func (e *Emitter) leave(l *sendLane, s *sending) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, w := range l.waiting {
		if w == s {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return true
		}
	}
	if f := l.flight; f != nil {
		for _, m := range f.messages {
			if m == s {
				if f.senders--; f.senders == 0 {
					f.cancel()
				}
			}
		}
	}
	return false
}

// launch gives the next batch to the client. With e.mu held.
func (e *Emitter) launch(l *sendLane) {
	if l.flight != nil || len(l.waiting) == 0 {
		return
	}
	n, size := 0, 0
	for n < len(l.waiting) && n < emitBatch {
		r := l.waiting[n].record
		if size += len(r.Key) + len(r.Value); n > 0 && size > emitBatchBytes {
			break
		}
		n++
	}
	f := &flight{lane: l, messages: l.waiting[:n:n], began: time.Now(), left: n, senders: n}
	l.waiting = l.waiting[n:]
	l.flight = f
	if l.since.IsZero() {
		l.since = f.began
	}
	// Cancelled, the client drops what it has not begun to write, and goes on
	// trying with the rest: that may be at the brokers already.
	f.ctx, f.cancel = context.WithCancel(e.abandoning)
	f.stall = time.AfterFunc(emitStall, func() { e.stall(f) })
	go func() {
		for _, s := range f.messages {
			e.client.Produce(f.ctx, s.record, func(_ *kgo.Record, err error) { e.landed(f, s, err) })
		}
	}()
}

// landed is called with what became of one message.
func (e *Emitter) landed(f *flight, s *sending, err error) {
	s.tell(outcome(err, f.ctx.Err() != nil))
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if err == nil {
		f.acked = true
		e.acked = now
		if e.told {
			e.told = false
			e.cfg.Logger.Info("the brokers acknowledge again")
		}
	}
	e.tellRefusal(s.record.Topic, err)
	if f.left--; f.left > 0 {
		return
	}
	f.stall.Stop()
	f.cancel()
	l := f.lane
	l.flight, l.tried = nil, now
	switch {
	case f.acked:
		l.stalled, l.since = false, time.Time{}
	case !l.stalled && now.Sub(f.began) < emitTrial: // its senders had hardly any time
		l.since = time.Time{}
	case now.Sub(l.since) > emitStall:
		e.fail(l)
	}
	e.launch(l)
}

// outcome says what an error of the client means for a message. A batch that is
// given up the client drops only where it has written nothing of it, or the
// brokers have said that they did not take it. Other errors leave it open, but
// for those with which the brokers refuse a message itself.
func outcome(err error, givenUp bool) error {
	switch {
	case err == nil:
		return nil
	case refusal(err):
		return notSent(err)
	case !givenUp, errors.Is(err, kgo.ErrClientClosed), errors.As(err, new(*kerr.Error)), strings.Contains(err.Error(), "purged"):
		return unacknowledged(err)
	}
	return notSent(err)
}

// tellRefusal logs once that a topic refuses messages, until it takes some. With
// e.mu held.
func (e *Emitter) tellRefusal(topic string, err error) {
	switch {
	case err == nil:
		delete(e.refused, topic)
	case refusal(err) && !e.refused[topic]:
		e.refused[topic] = true
		err = fmt.Errorf("%s: %w", topic, err)
		_, remedy := refusalOf(err)
		if f := faultOf("", err); f != nil {
			remedy = f.Remedy
		}
		e.cfg.Logger.Error("a topic refuses commands: "+remedy, "topic", topic, "error", err)
	}
}

func refusal(err error) bool {
	for _, code := range []error{kerr.MessageTooLarge, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.PolicyViolation, kerr.InvalidRecord} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// stall is called when a batch was not acknowledged in time.
func (e *Emitter) stall(f *flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.lane.flight != f {
		return
	}
	e.fail(f.lane)
	f.cancel()
	time.AfterFunc(emitGrace, func() { // what the client drops it has told by then
		for _, s := range f.messages {
			s.tell(unacknowledged(errNoAck))
		}
	})
}

// fail turns away what waits in a lane. With e.mu held.
func (e *Emitter) fail(l *sendLane) {
	l.stalled, e.failed = true, time.Now()
	for _, s := range l.waiting {
		s.tell(notSent(errNoAck))
	}
	l.waiting = nil
	time.AfterFunc(reachLost, e.tellSilence)
}

// tellSilence logs that nothing is acknowledged though the brokers answer.
func (e *Emitter) tellSilence() {
	reached := e.cfg.Reach.Err() == nil && !e.cfg.Reach.disturbed(time.Now().Add(-2*reachLost))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.told || e.closed || !reached || e.acked.After(e.failed) {
		return
	}
	e.told = true
	e.cfg.Logger.Warn("the brokers answer and acknowledge no command", "brokers", e.cfg.Brokers)
}

// Ready returns nil unless it is known that nothing is acknowledged.
func (e *Emitter) Ready() error {
	if err := e.cfg.Reach.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.failed.After(e.acked) {
		return nil
	}
	stuck := time.Since(e.failed) < emitQuiet
	for _, l := range e.lanes {
		stuck = stuck || l.stalled && l.flight != nil
	}
	if stuck {
		return errors.New("the brokers acknowledge no command")
	}
	return nil
}

// Close takes no more messages, waits for what is on its way, and gives up what
// the brokers do not acknowledge.
func (e *Emitter) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), emitStall)
	defer cancel()
	_ = e.client.Flush(ctx)
	e.abandon()
	e.client.Close()
	e.release()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.lanes {
		for _, s := range l.waiting {
			s.tell(notSent(errClosed))
		}
		l.waiting = nil
	}
	return nil
}

package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"

	"baedal/internal/failpoint"
	"baedal/state"
	"baedal/stream/internal/kafkaclient"
)

// consumerGroup is sarama's consumer group for one run of a group, with two
// things mended. Goka marks each message when its own outputs are acknowledged
// and sarama commits the highest mark, so that a crash loses what is before it;
// here only the finished prefix of a partition is committed. And goka waits five
// seconds between two sessions; here the next one begins at once.
type consumerGroup struct {
	sarama.ConsumerGroup
	run *run
}

func (g *consumerGroup) Consume(ctx context.Context, topics []string, h sarama.ConsumerGroupHandler) error {
	for {
		err := kafkaclient.AnyBroker(len(g.run.cfg.Brokers), func() error { return g.run.endLost(ctx) })
		if err != nil && !g.run.cfg.Reach.silent(ctx) && ctx.Err() == nil {
			g.run.cfg.Logger.Warn("the transactions of lost instances can't be ended: the brokers will", "group", g.run.group, "error", err)
		}
		err = g.ConsumerGroup.Consume(ctx, topics, &sessionHandler{inner: h, run: g.run})
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// sessionHandler stands between sarama and goka.
type sessionHandler struct {
	inner sarama.ConsumerGroupHandler
	run   *run
	s     *session
}

func (h *sessionHandler) Setup(s sarama.ConsumerGroupSession) error {
	h.run.timers.clear()
	h.run.tables.clear()
	h.s = newSession(s, h.run)
	if err := h.s.identify(s.Context()); err != nil {
		return err
	}
	h.run.session.Store(h.s)
	if h.run.exactlyOnce() { // or the tables are waited for in vain
		if err := h.run.steady(h.run.producer.Load().txn); err != nil {
			return err
		}
	}
	if err := h.s.correct(s.Context()); err != nil {
		return err
	}
	if err := h.s.lookAtChangelog(s.Context()); err != nil {
		return err
	}
	go h.s.untilReplaced()
	go h.s.watchChangelog()
	if err := h.inner.Setup(h.s); err != nil {
		return err
	}
	if h.run.exactlyOnce() {
		if err := h.run.producer.Load().txn.begin(); err != nil {
			return err
		}
	}
	h.s.wg.Go(h.s.commitEvery)
	h.s.wg.Go(h.s.watch)
	h.run.joined()
	failpoint.Hit(failpoint.Assigned, h.run.group)
	return nil
}

func (h *sessionHandler) ConsumeClaim(_ sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	h.s.claim(c)
	return h.inner.ConsumeClaim(h.s, c)
}

func (h *sessionHandler) Cleanup(sarama.ConsumerGroupSession) error {
	h.run.timers.clear()
	failpoint.Hit(failpoint.Revoked, h.run.group)
	defer func() { failpoint.Hit(failpoint.Left, h.run.group) }()
	err := h.inner.Cleanup(h.s) // waits for what is in flight
	close(h.s.stop)
	h.s.wg.Wait()
	failpoint.Hit(failpoint.Drained, h.run.group)
	if !h.run.exactlyOnce() {
		h.s.commit()
		return err
	}
	if err == nil && h.run.failed() == nil {
		err = h.s.commitTransaction(true)
	}
	if err != nil { // another session must not go on in this transaction
		h.run.fail(err)
	}
	if h.run.failed() != nil {
		h.run.abort()
	}
	return err
}

type tp struct {
	topic     string
	partition int32
}

// session is sarama's session as goka sees it.
type session struct {
	sarama.ConsumerGroupSession
	run   *run
	pulse *pulse
	stop  chan struct{}
	wg    sync.WaitGroup

	ids     map[string]string // of the topics that it works with
	mu      sync.Mutex
	offsets map[tp]*progress

	// Exactly once: a commit stops the intake until what is inside is finished.
	changed sync.Cond
	stopped bool
	inside  int
	broken  error // why the transaction can't be committed any more
}

func newSession(s sarama.ConsumerGroupSession, r *run) *session {
	n := &session{ConsumerGroupSession: s, run: r, pulse: newPulse(r.cfg.SessionTimeout), offsets: map[tp]*progress{}, stop: make(chan struct{})}
	n.changed.L = &n.mu
	context.AfterFunc(s.Context(), func() { // wakes those who wait for what will not come any more
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})
	return n
}

// progress is how far the handling of one topic's partition has come.
type progress struct {
	claim sarama.ConsumerGroupClaim

	open      []int64 // offsets handed to the handler and not known to be committable, in order
	done      map[int64]bool
	read      int64 // the last one handed to the handler
	next      int64 // what a commit may say: everything before it is finished
	committed int64
}

func (s *session) at(topic string, partition int32) *progress {
	p := s.offsets[tp{topic, partition}]
	if p == nil {
		p = &progress{done: map[int64]bool{}, read: -1, next: -1, committed: -1}
		s.offsets[tp{topic, partition}] = p
	}
	return p
}

func (s *session) claim(c sarama.ConsumerGroupClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(c.Topic(), c.Partition()).claim = c
	s.changed.Broadcast()
}

// fate implements fates. It blocks while the session begins, until it is known
// where the reading of the topic begins.
func (s *session) fate(topic string, partition int32, offset int64) (read, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.Claims()[topic], partition) {
		return false, false // no input any more, or a note that can't be read
	}
	p := s.at(topic, partition)
	for p.claim == nil && s.Context().Err() == nil {
		s.changed.Wait()
	}
	if p.claim == nil {
		return false, false
	}
	first := p.claim.InitialOffset() // below 0 it stands for the oldest: nothing is committed
	return offset < first || offset <= p.read, offset < max(first, p.next)
}

// enter notes that a message is being handled. The messages of a partition are
// handed over in order. It blocks while a transaction is committed, and returns
// false when that failed.
func (s *session) enter(topic string, partition int32, offset int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.stopped && s.broken == nil {
		s.changed.Wait()
	}
	if s.broken != nil {
		return false
	}
	s.inside++
	p := s.at(topic, partition)
	p.open = append(p.open, offset)
	p.read = offset
	return true
}

// MarkOffset is called by goka when a message is finished; offset is the next
// one after it.
func (s *session) MarkOffset(topic string, partition int32, offset int64, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inside--
	if s.inside == 0 {
		s.changed.Broadcast()
	}
	p := s.at(topic, partition)
	p.done[offset-1] = true
	n := 0
	for n < len(p.open) && p.done[p.open[n]] {
		delete(p.done, p.open[n])
		p.next = p.open[n] + 1
		n++
	}
	p.open = p.open[n:]
	failpoint.Hit(failpoint.Finished, s.run.group)
}

// MarkMessage implements sarama.ConsumerGroupSession.
func (s *session) MarkMessage(m *sarama.ConsumerMessage, meta string) {
	s.MarkOffset(m.Topic, m.Partition, m.Offset+1, meta)
}

// watch ends the run when the session can't be this process's any more.
func (s *session) watch() {
	t := time.NewTicker(s.pulse.limit / 20)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.pulse.beat(); err != nil {
				s.run.fail(err)
				return
			}
		case <-s.stop:
			return
		}
	}
}

func (s *session) commitEvery() {
	for {
		select {
		case <-time.After(untilCommit(time.Now(), s.run.cfg.CommitInterval, s.run.offbeat)):
			began := time.Now()
			if s.run.exactlyOnce() {
				if err := s.commitTransaction(false); err != nil {
					if s.Context().Err() == nil { // otherwise the end of the session decides
						s.run.fail(err)
					}
					return
				}
			} else {
				s.commit()
			}
			s.run.meter.commits.WithLabelValues(s.run.group).Observe(time.Since(began).Seconds())
		case <-s.stop:
			return
		}
	}
}

// untilCommit is the time from now to the next commit. All instances commit at
// the same points of the clock, as the order of commits along a chain of groups
// decides how long a message takes through it; a point is let go that comes less
// than a quarter of the interval after now.
func untilCommit(now time.Time, interval time.Duration, offbeat bool) time.Duration {
	earliest := now.Add(interval / 4)
	if offbeat {
		earliest = earliest.Add(interval / 2)
	}
	d := interval - time.Duration(earliest.UnixNano())%interval
	return d + interval/4
}

// commit makes durable what is finished: outputs and changelog records are
// acknowledged already, then come the offsets, then the tables on this machine.
// A crash in between repeats messages, it loses none.
func (s *session) commit() {
	s.mu.Lock()
	committed := map[tp]int64{}
	for at, p := range s.offsets {
		if p.next > p.committed {
			s.ConsumerGroupSession.MarkOffset(at.topic, at.partition, p.next, s.mark(at.topic))
			p.committed = p.next
			committed[at] = p.next
		}
	}
	s.mu.Unlock()
	failpoint.Hit(failpoint.Committing, s.run.group)
	s.ConsumerGroupSession.Commit() // what failed before too; nothing where nothing is marked
	failpoint.Hit(failpoint.Committed, s.run.group)
	if err := s.run.cfg.remember(s.run.group, committed, s.ids); err != nil {
		s.run.fail(err)
	}
	if err := s.run.tables.each((*state.Table).Flush); err != nil {
		s.run.fail(fmt.Errorf("writing the tables on this machine: %w", err))
	}
	failpoint.Hit(failpoint.Flushed, s.run.group)
}

// lag calls fn with the records that each partition still has to handle.
func (s *session) lag(fn func(topic string, partition int32, records int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, p := range s.offsets {
		if p.claim == nil {
			continue
		}
		from := p.next
		if from < 0 {
			from = max(0, p.claim.InitialOffset()) // below 0 it stands for the oldest
		}
		fn(at.topic, at.partition, max(0, p.claim.HighWaterMarkOffset()-from))
	}
}

type gokaContext = goka.Context // under a name that its method Context does not hide

// sessionContext is goka's context of one message.
type sessionContext struct {
	gokaContext
	s *session
}

func (c *sessionContext) enter() {
	if !c.s.enter(string(c.Topic()), c.Partition(), c.Offset()) {
		c.Fail(errors.New("the transaction failed: the message is left to the next one"))
	}
	if err := c.s.pulse.beat(); err != nil {
		c.Fail(err)
	}
}

// Fail never returns. Goka's returns when the session is ending, and the
// message would then be marked as finished.
func (c *sessionContext) Fail(err error) {
	c.gokaContext.Fail(err)
	panic(err)
}

func wrapContext(current *atomic.Pointer[session]) goka.ContextWrapper {
	return func(c goka.Context) goka.Context {
		return &sessionContext{gokaContext: c, s: current.Load()}
	}
}

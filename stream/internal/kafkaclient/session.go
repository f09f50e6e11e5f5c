package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeats are sent seldom where nothing comes in, but not right after a
// session has begun: members that are started together come one after another.
const (
	restful    = time.Second
	restless   = 5 * time.Second
	noteworthy = 2 * time.Second // how long a record counts as coming in
)

var (
	errClaimEnded = errors.New("a claim ended")
	errSilent     = errors.New("the group has not heard of this member for its session timeout")
	errPartitions = errors.New("the number of partitions has changed")
)

// session is a group's sarama.ConsumerGroupSession.
type session struct {
	g          *group
	handler    sarama.ConsumerGroupHandler
	member     string
	generation int32
	claims     map[string][]int32
	ctx        context.Context
	cancel     context.CancelCauseFunc
	wg         sync.WaitGroup // of the claims
	begun      time.Time
	flow       atomic.Int64  // nanoseconds since begun when records came last
	dying      chan struct{} // closed when heartbeats end
	dead       chan struct{}

	mu      sync.Mutex
	offsets map[at]*position

	committing sync.Mutex
}

// position is how far the group has come in a partition.
type position struct {
	next     int64 // below 0 it stands for the beginning
	metadata string
	dirty    bool
}

func newSession(ctx context.Context, g *group, a *assignment, h sarama.ConsumerGroupHandler) *session {
	s := &session{g: g, handler: h, member: g.memberID(), generation: a.generation, claims: a.claims, begun: time.Now(),
		dying: make(chan struct{}), dead: make(chan struct{}), offsets: map[at]*position{}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// release ends the session: the claims first, then what the handler cleans up,
// and all the while the group hears of this member.
func (s *session) release(cleanup bool) (err error) {
	s.cancel(nil)
	s.wg.Wait()
	if cleanup {
		if err = s.handler.Cleanup(s); err != nil {
			s.g.tell(err, at{})
		}
	}
	close(s.dying)
	<-s.dead
	return err
}

func (s *session) pause() time.Duration {
	fast := s.g.cfg.Consumer.Group.Heartbeat.Interval
	since := time.Since(s.begun)
	if since < restless || since-time.Duration(s.flow.Load()) < noteworthy && s.flow.Load() > 0 {
		return fast
	}
	return max(fast, min(restful, s.g.cfg.Consumer.Group.Session.Timeout/4))
}

// heartbeats tells the group that this member lives, until the session is
// released or lost.
func (s *session) heartbeats() {
	defer close(s.dead)
	timeout := s.g.cfg.Consumer.Group.Session.Timeout
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		<-s.dying
		stop()
	}()
	heard := time.Now()
	for pause := time.Duration(0); sleep(ctx, pause); pause = s.pause() {
		sent := time.Now()
		err := s.heartbeat(ctx, timeout/3)
		var k *kerr.Error
		switch {
		case err == nil:
			heard = sent
		case ctx.Err() != nil:
			return
		case errors.Is(err, kerr.RebalanceInProgress):
			heard = sent
			s.cancel(err)
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration):
			s.g.setMember("")
			s.cancel(err)
			return
		case errors.As(err, &k) && !k.Retriable:
			s.g.tell(err, at{})
			s.cancel(err)
			return
		case time.Since(heard) > timeout:
			s.cancel(errSilent)
		}
	}
}

func (s *session) heartbeat(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = s.g.name, s.member, s.g.instance, s.generation
	resp, err := req.RequestWith(ctx, s.g.k)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// fetchOffsets asks for what the group has committed of the claims. It waits for
// transactions that are about to commit some.
func (s *session) fetchOffsets() error {
	if len(s.claims) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = s.g.name, true
	for topic, partitions := range s.claims {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
	}
	for {
		err := s.fetchOffsetsOnce(req)
		var k *kerr.Error
		if err == nil || errors.As(err, &k) && !k.Retriable {
			return err
		}
		if !sleep(s.ctx, 50*time.Millisecond) {
			return err
		}
	}
}

func (s *session) fetchOffsetsOnce(req *kmsg.OffsetFetchRequest) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	resp, err := req.RequestWith(ctx, s.g.k)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("asking for the offsets of group %s: %w", s.g.name, err)
	}
	topics := resp.Topics
	for _, g := range resp.Groups { // newer brokers answer about several groups
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return fmt.Errorf("asking for the offsets of group %s: %w", s.g.name, err)
		}
		topics = nil
		for _, t := range g.Topics {
			one := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				one.Partitions = append(one.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p.Partition, Offset: p.Offset, Metadata: p.Metadata, ErrorCode: p.ErrorCode})
			}
			topics = append(topics, one)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("asking for the offset of group %s in %s/%d: %w", s.g.name, t.Topic, p.Partition, err)
			}
			pos := &position{next: p.Offset}
			if p.Offset < 0 {
				pos.next = s.g.cfg.Consumer.Offsets.Initial
			}
			if p.Metadata != nil {
				pos.metadata = *p.Metadata
			}
			s.offsets[at{t.Topic, p.Partition}] = pos
		}
	}
	for topic, partitions := range s.claims {
		for _, p := range partitions {
			if s.offsets[at{topic, p}] == nil {
				return fmt.Errorf("asking for the offset of group %s in %s/%d: no answer", s.g.name, topic, p)
			}
		}
	}
	return nil
}

// claim is a sarama.ConsumerGroupClaim.
type claim struct {
	*subscription
	from int64
}

func (c claim) Topic() string        { return c.at.topic }
func (c claim) Partition() int32     { return c.at.partition }
func (c claim) InitialOffset() int64 { return c.from }

// consume hands a partition to the handler until it lets go of it or the session
// ends.
func (s *session) consume(p at) {
	s.mu.Lock()
	from := s.offsets[p].next
	s.mu.Unlock()
	c, err := s.claim(p, from)
	if err != nil {
		if s.ctx.Err() == nil {
			s.g.tell(err, p)
			s.cancel(err)
		}
		return
	}
	defer context.AfterFunc(s.ctx, c.AsyncClose)()
	if err := s.handler.ConsumeClaim(s, c); err != nil {
		s.g.tell(err, p)
	}
	if err := c.Close(); err != nil {
		s.g.tell(err, p)
		s.cancel(c.cause)
	}
}

func (s *session) claim(p at, from int64) (claim, error) {
	for {
		offset, err := s.g.c.start(s.ctx, p, from)
		if errors.Is(err, sarama.ErrOffsetOutOfRange) && s.g.cfg.Consumer.Group.ResetInvalidOffsets {
			from = s.g.cfg.Consumer.Offsets.Initial
			offset, err = s.g.c.start(s.ctx, p, from)
		}
		var sub *subscription
		if err == nil {
			sub, err = s.g.c.subscribe(s.g.pause, p, offset, func() { s.flow.Store(int64(time.Since(s.begun))) })
		}
		var k *kerr.Error
		if err == nil || errors.Is(err, errClosed) || errors.As(err, &k) && !k.Retriable || !sleep(s.ctx, 100*time.Millisecond) {
			return claim{sub, from}, err
		}
	}
}

// watchPartitions ends the session of the group's leader when a topic has got
// more partitions.
func (s *session) watchPartitions(before map[string]int) {
	every := s.g.cfg.Metadata.RefreshFrequency
	if every <= 0 {
		return
	}
	var topics []string
	for t := range before {
		topics = append(topics, t)
	}
	for sleep(s.ctx, every) {
		now, err := s.g.count(s.ctx, topics)
		if err != nil {
			continue
		}
		for t, n := range before {
			if now[t] != n {
				s.cancel(errPartitions)
				return
			}
		}
	}
}

func (s *session) Claims() map[string][]int32 { return s.claims }
func (s *session) MemberID() string           { return s.member }
func (s *session) GenerationID() int32        { return s.generation }
func (s *session) Context() context.Context   { return s.ctx }

// MarkMessage implements sarama.ConsumerGroupSession.
func (s *session) MarkMessage(m *sarama.ConsumerMessage, metadata string) {
	s.MarkOffset(m.Topic, m.Partition, m.Offset+1, metadata)
}

// MarkOffset implements sarama.ConsumerGroupSession: it only goes forward.
func (s *session) MarkOffset(topic string, partition int32, offset int64, metadata string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.offsets[at{topic, partition}]; p != nil && offset > p.next {
		p.next, p.metadata, p.dirty = offset, metadata, true
	}
}

// ResetOffset implements sarama.ConsumerGroupSession: it only goes backward.
// What is handed out already is not handed out again.
func (s *session) ResetOffset(topic string, partition int32, offset int64, metadata string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.offsets[at{topic, partition}]; p != nil && offset <= p.next {
		p.next, p.metadata, p.dirty = offset, metadata, true
	}
}

// Commit implements sarama.ConsumerGroupSession. It returns when the brokers have
// what is marked, or after a while, or when the session is lost; what they don't
// have stays marked.
func (s *session) Commit() {
	s.committing.Lock()
	defer s.committing.Unlock()
	for began := time.Now(); ; {
		req, said := s.marked()
		if req == nil {
			return
		}
		err := s.commit(req, said)
		var k *kerr.Error
		switch {
		case err == nil:
			return
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.RebalanceInProgress):
			s.cancel(err)
			return
		case errors.As(err, &k) && !k.Retriable, time.Since(began) > s.g.cfg.Consumer.Group.Session.Timeout:
			s.g.tell(err, at{})
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *session) marked() (*kmsg.OffsetCommitRequest, map[at]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = s.g.name, s.generation, s.member, s.g.instance
	topics, said := map[string]int{}, map[at]int64{}
	for p, pos := range s.offsets {
		if !pos.dirty {
			continue
		}
		i, ok := topics[p.topic]
		if !ok {
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic = p.topic
			i = len(req.Topics)
			topics[p.topic] = i
			req.Topics = append(req.Topics, t)
		}
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		metadata := pos.metadata
		one.Partition, one.Offset, one.Metadata, one.LeaderEpoch = p.partition, pos.next, &metadata, -1
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, one)
		said[p] = pos.next
	}
	if len(said) == 0 {
		return nil, nil
	}
	return req, said
}

func (s *session) commit(req *kmsg.OffsetCommitRequest, said map[at]int64) (failed error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.g.cfg.Consumer.Group.Session.Timeout)
	defer cancel()
	resp, err := req.RequestWith(ctx, s.g.k)
	if err != nil {
		return fmt.Errorf("committing offsets of group %s: %w", s.g.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				failed = fmt.Errorf("committing the offset of group %s in %s/%d: %w", s.g.name, t.Topic, p.Partition, err)
				continue
			}
			here := at{t.Topic, p.Partition}
			if pos := s.offsets[here]; pos != nil && pos.next == said[here] {
				pos.dirty = false
			}
		}
	}
	return failed
}

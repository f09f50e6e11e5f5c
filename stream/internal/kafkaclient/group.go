package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group returns a sarama.ConsumerGroup whose partitions are fetched together with
// all others of the same pause. It is a member as one of sarama's is, by the
// settings of the same names: the two can share a group. Its Close calls closing.
//
// Where nothing comes in, heartbeats are sent once a second at most, so that it
// may take as long until a member learns that others come or go.
func (c *Client) Group(name string, cfg *sarama.Config, pause time.Duration, closing func()) (sarama.ConsumerGroup, error) {
	k, err := c.connect(kgo.RequestTimeoutOverhead(max(cfg.Consumer.Group.Session.Timeout/2, time.Second)))
	if err != nil {
		return nil, err
	}
	g := &group{c: c, name: name, cfg: cfg, pause: pause, k: k, errs: make(chan error, cfg.ChannelBufferSize),
		userData: cfg.Consumer.Group.Member.UserData, closing: closing}
	if id := cfg.Consumer.Group.InstanceId; id != "" {
		g.instance = &id
	}
	g.ctx, g.stop = context.WithCancel(c.ctx)
	return g, nil
}

type group struct {
	c        *Client
	name     string
	cfg      *sarama.Config
	pause    time.Duration
	k        *kgo.Client
	instance *string
	closing  func()
	ctx      context.Context // until Close
	stop     context.CancelFunc
	once     sync.Once

	lock     sync.Mutex // of who consumes
	member   atomic.Pointer[string]
	userData []byte

	errsLock sync.Mutex
	errsDone bool
	errs     chan error
}

func (g *group) memberID() string {
	if id := g.member.Load(); id != nil {
		return *id
	}
	return ""
}

func (g *group) setMember(id string) { g.member.Store(&id) }

func (g *group) Errors() <-chan error { return g.errs }

// tell hands an error out, unless nobody takes them.
func (g *group) tell(err error, p at) {
	if err == nil {
		return
	}
	if p.topic != "" && !errors.As(err, new(*sarama.ConsumerError)) {
		err = &sarama.ConsumerError{Topic: p.topic, Partition: p.partition, Err: err}
	}
	g.errsLock.Lock()
	defer g.errsLock.Unlock()
	if g.errsDone {
		return
	}
	select {
	case g.errs <- err:
	default:
	}
}

// Close leaves the group, but for a member with an id of its own.
func (g *group) Close() error {
	var err error
	g.once.Do(func() {
		g.stop()
		g.lock.Lock()
		defer g.lock.Unlock()
		if id := g.memberID(); id != "" && g.instance == nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			req := kmsg.NewPtrLeaveGroupRequest()
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = id
			req.Group, req.MemberID, req.Members = g.name, id, append(req.Members, member)
			_, err = req.RequestWith(ctx, g.k)
		}
		g.k.Close()
		g.errsLock.Lock()
		g.errsDone = true
		close(g.errs)
		g.errsLock.Unlock()
		g.closing()
	})
	return err
}

// Nothing pauses what a group reads.
func (g *group) Pause(map[string][]int32)  {}
func (g *group) Resume(map[string][]int32) {}
func (g *group) PauseAll()                 {}
func (g *group) ResumeAll()                {}

// Consume is a member for one session: until others come or go, a claim is let
// go, or ctx is done. Brokers that are away are waited for.
func (g *group) Consume(ctx context.Context, topics []string, h sarama.ConsumerGroupHandler) error {
	if g.ctx.Err() != nil {
		return sarama.ErrClosedConsumerGroup
	}
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.ctx.Err() != nil {
		return sarama.ErrClosedConsumerGroup
	}
	if len(topics) == 0 {
		return errors.New("no topics are given")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(g.ctx, func() { cancel(sarama.ErrClosedConsumerGroup) })()
	a, err := g.join(ctx, topics)
	if err != nil {
		return err
	}
	s := newSession(ctx, g, a, h)
	go s.heartbeats()
	if err := s.fetchOffsets(); err != nil {
		s.release(false)
		if s.ctx.Err() != nil { // others have come or gone meanwhile
			return ctx.Err()
		}
		return err
	}
	if err := h.Setup(s); err != nil {
		s.release(true)
		return err
	}
	for topic, partitions := range s.claims {
		for _, p := range partitions {
			s.wg.Go(func() {
				defer s.cancel(errClaimEnded)
				s.consume(at{topic, p})
			})
		}
	}
	if a.topics != nil {
		s.wg.Go(func() { s.watchPartitions(a.topics) })
	}
	<-s.ctx.Done()
	if err := s.release(true); err != nil {
		return err
	}
	if cause := context.Cause(s.ctx); errors.Is(cause, kerr.TopicAuthorizationFailed) || errors.Is(cause, kerr.GroupAuthorizationFailed) {
		return cause
	}
	return nil
}

// assignment is what a member is told when it has joined.
type assignment struct {
	generation int32
	claims     map[string][]int32
	topics     map[string]int // partitions of all topics of the group, for its leader
}

// join blocks until the group has this member in it.
func (g *group) join(ctx context.Context, topics []string) (*assignment, error) {
	for told := time.Now(); ; {
		a, err := g.joinOnce(ctx, topics)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var k *kerr.Error
		switch {
		case errors.Is(err, kerr.MemberIDRequired):
			continue
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration):
			g.setMember("")
			continue
		case errors.Is(err, kerr.RebalanceInProgress):
		case errors.As(err, &k) && !k.Retriable, errors.Is(err, errPlan):
			return nil, err
		}
		if time.Since(told) > patience {
			told = time.Now()
			g.c.opts.Logger.Warn("the brokers don't let this process into a group yet: it is tried again", "group", g.name, "error", err)
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
}

var errPlan = errors.New("dividing the partitions among the members")

func (g *group) joinOnce(ctx context.Context, topics []string) (*assignment, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = g.name, g.memberID(), g.instance, "consumer"
	req.SessionTimeoutMillis = int32(g.cfg.Consumer.Group.Session.Timeout.Milliseconds())
	req.RebalanceTimeoutMillis = int32(g.cfg.Consumer.Group.Rebalance.Timeout.Milliseconds())
	for _, strategy := range g.strategies() {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = strategy.Name(), g.metadata(strategy, topics)
		req.Protocols = append(req.Protocols, p)
	}
	joined, err := req.RequestWith(ctx, g.k)
	if err != nil {
		return nil, fmt.Errorf("joining group %s: %w", g.name, err)
	}
	err = kerr.ErrorForCode(joined.ErrorCode)
	if err == nil || errors.Is(err, kerr.MemberIDRequired) {
		g.setMember(joined.MemberID)
	}
	if err != nil {
		return nil, fmt.Errorf("joining group %s: %w", g.name, err)
	}
	var strategy sarama.BalanceStrategy
	for _, s := range g.strategies() {
		if joined.Protocol != nil && s.Name() == *joined.Protocol {
			strategy = s
		}
	}
	if strategy == nil {
		return nil, fmt.Errorf("%w: group %s has another strategy", errPlan, g.name)
	}

	a := &assignment{generation: joined.Generation}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.InstanceID, sync.Generation = g.name, joined.MemberID, g.instance, joined.Generation
	kind := "consumer"
	sync.ProtocolType, sync.Protocol = &kind, joined.Protocol
	if joined.LeaderID == joined.MemberID {
		if sync.GroupAssignment, a.topics, err = g.plan(ctx, strategy, joined); err != nil {
			return nil, err
		}
	}
	synced, err := sync.RequestWith(ctx, g.k)
	if err == nil {
		err = kerr.ErrorForCode(synced.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("joining group %s: %w", g.name, err)
	}
	if len(synced.MemberAssignment) > 0 {
		var mine kmsg.ConsumerMemberAssignment
		if err := mine.ReadFrom(synced.MemberAssignment); err != nil {
			return nil, fmt.Errorf("%w: group %s: %w", errPlan, g.name, err)
		}
		a.claims = map[string][]int32{}
		for _, t := range mine.Topics {
			a.claims[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
		}
		g.userData = g.cfg.Consumer.Group.Member.UserData
		if mine.UserData != nil {
			g.userData = mine.UserData
		}
		if s, ok := strategy.(sarama.OnAssignmentBalanceStrategy); ok {
			s.OnAssignment(&sarama.ConsumerGroupMemberAssignment{Version: mine.Version, Topics: a.claims, UserData: mine.UserData}, joined.Generation)
		}
	}
	return a, nil
}

func (g *group) strategies() []sarama.BalanceStrategy {
	if s := g.cfg.Consumer.Group.Rebalance.Strategy; s != nil {
		return []sarama.BalanceStrategy{s}
	}
	return g.cfg.Consumer.Group.Rebalance.GroupStrategies
}

// metadata is what the leader is told of this member.
func (g *group) metadata(strategy sarama.BalanceStrategy, topics []string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.UserData = 1, topics, g.userData
	if s, ok := strategy.(sarama.SubscriptionUserDataBalanceStrategy); ok {
		if data, err := s.SubscriptionUserData(slices.Clone(topics)); err == nil {
			m.UserData = data
		}
	}
	return m.AppendTo(nil)
}

// plan divides the partitions among all members.
func (g *group) plan(ctx context.Context, strategy sarama.BalanceStrategy, joined *kmsg.JoinGroupResponse) ([]kmsg.SyncGroupRequestGroupAssignment, map[string]int, error) {
	members := map[string]sarama.ConsumerGroupMemberMetadata{}
	topics := map[string][]int32{}
	for _, m := range joined.Members {
		var one kmsg.ConsumerMemberMetadata
		if err := one.ReadFrom(m.ProtocolMetadata); err != nil && len(one.Topics) == 0 {
			return nil, nil, fmt.Errorf("%w: group %s, member %s: %w", errPlan, g.name, m.MemberID, err)
		}
		meta := sarama.ConsumerGroupMemberMetadata{Version: one.Version, Topics: one.Topics, UserData: one.UserData, GenerationID: one.Generation, RackID: one.Rack}
		for _, o := range one.OwnedPartitions {
			meta.OwnedPartitions = append(meta.OwnedPartitions, &sarama.OwnedPartition{Topic: o.Topic, Partitions: o.Partitions})
		}
		members[m.MemberID] = meta
		for _, t := range one.Topics {
			topics[t] = nil
		}
	}
	counts, err := g.count(ctx, slices.Collect(maps.Keys(topics)))
	if err != nil {
		return nil, nil, err
	}
	for t, n := range counts {
		for p := range n {
			topics[t] = append(topics[t], int32(p))
		}
	}
	plan, err := strategy.Plan(members, topics)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: group %s: %w", errPlan, g.name, err)
	}
	var all []kmsg.SyncGroupRequestGroupAssignment
	for id := range members { // those without partitions, too
		data, err := strategy.AssignmentData(id, plan[id], joined.Generation)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: group %s: %w", errPlan, g.name, err)
		}
		m := kmsg.NewConsumerMemberAssignment()
		m.UserData = data
		for t, partitions := range plan[id] {
			one := kmsg.NewConsumerMemberAssignmentTopic()
			one.Topic, one.Partitions = t, partitions
			m.Topics = append(m.Topics, one)
		}
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, m.AppendTo(nil)
		all = append(all, a)
	}
	return all, counts, nil
}

// count returns the partition counts of topics.
func (g *group) count(ctx context.Context, topics []string) (map[string]int, error) {
	resp, err := g.c.metadata(ctx, topics...)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		counts[*t.Topic] = len(t.Partitions)
	}
	return counts, nil
}

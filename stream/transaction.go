package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/failpoint"
	"baedal/state"
)

// Guarantee is what holds when something fails.
type Guarantee string

// Guarantees.
const (
	// AtLeastOnce repeats what was not committed after a crash. A member that
	// was stopped past its session and goes on can overwrite newer rows.
	AtLeastOnce Guarantee = "at-least-once"
	// ExactlyOnce puts outputs, changelog and offsets of each commit into one
	// Kafka transaction with the group's generation (KIP-447): all of it counts
	// or nothing. Each hop waits for a commit.
	ExactlyOnce Guarantee = "exactly-once"
)

// ParseGuarantee returns the guarantee of that name.
func ParseGuarantee(s string) (Guarantee, error) {
	switch g := Guarantee(s); g {
	case AtLeastOnce, ExactlyOnce:
		return g, nil
	}
	return "", fmt.Errorf("%q is no guarantee: at-least-once or exactly-once", s)
}

// transactionTimeout is when brokers abort a transaction whose instance is gone.
// Until then nobody reads past it.
const transactionTimeout = 10 * time.Second

// TransactionTimeout bounds CommitInterval where the guarantee is ExactlyOnce: a
// transaction that takes as long is aborted.
const TransactionTimeout = transactionTimeout

var errUnfinished = errors.New("the session ends before all of the transaction is finished")

// transaction is what the producer of an exactly-once group has open.
type transaction struct {
	id       string
	client   *client
	newKind  bool
	mendable bool
	shaken   shaken
	open     bool
	produced atomic.Bool // whether the brokers know of it by a record
}

// newTransactions returns the transactions of one run of a group. It blocks
// until the brokers have ended what the run before left open, and refuse what it
// may still send: their ids are the same.
func (r *run) newTransactions(ctx context.Context, id string) (*transaction, error) {
	newKind, mendable, err := r.client.newKindOfTransactions(ctx)
	if err != nil {
		return nil, err
	}
	if mendable {
		if err := r.mend(ctx, id); err != nil {
			return nil, err
		}
	}
	t := &transaction{id: id, newKind: newKind, mendable: mendable}
	opts := append(r.cfg.inTransactions(id, newKind), kgo.WithHooks(&t.shaken))
	t.client, err = r.cfg.newClient(append(opts, r.cfg.dialer()...)...)
	if err != nil {
		return nil, err
	}
	producer, epoch, err := t.client.ProducerID(ctx)
	if err == nil && mendable { // what was committed has its end by now
		err = r.writeEnds(ctx, producer, epoch, func(int16) bool { return false })
	}
	if err != nil {
		t.client.Close()
		return nil, fmt.Errorf("beginning with transactions: %w", err)
	}
	return t, nil
}

// endLost ends the transactions of those who are not members of the group any
// more: killed, or standing still. The brokers would do so after
// transactionTimeout, and until then nobody reads past them, nor gets the offsets
// that they wanted to commit. Who is no member can't commit any more.
func (r *run) endLost(ctx context.Context) error {
	if !r.exactlyOnce() || r.cfg.InstanceID == "" {
		return nil // without a name, nobody tells by a transactional id whose it is
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	admin := kadm.NewClient(r.client.Client)
	all, err := admin.ListTransactions(ctx, nil, nil)
	if err != nil {
		return err
	}
	groups, err := admin.DescribeGroups(ctx, r.group)
	if err == nil {
		err = groups[r.group].Err
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // then nobody is a member
		return err
	}
	there := map[string]bool{r.ownTransactions: true}
	for _, m := range groups[r.group].Members {
		if m.InstanceID == nil {
			return nil // any of them may be his
		}
		there[r.group+"/"+*m.InstanceID] = true
	}
	mendable := r.producer.Load().txn.mendable
	for _, t := range all.Sorted() {
		switch {
		case !strings.HasPrefix(t.TxnID, r.group+"/") || there[t.TxnID]:
		case t.State == "Ongoing":
			if err := r.takeOver(ctx, t.TxnID); err != nil {
				return err
			}
			r.cfg.Logger.Info("ended the transaction of a lost instance", "group", r.group, "transactional id", t.TxnID)
		case mendable:
			if err := r.mend(ctx, t.TxnID); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeOver ends what is open under a transactional id, and shuts its owner out.
func (r *run) takeOver(ctx context.Context, id string) error {
	t, err := r.newTransactions(ctx, id)
	if err != nil {
		return err
	}
	t.client.Close()
	return nil
}

func (t *transaction) begin() error {
	if t.open {
		return nil
	}
	t.produced.Store(false)
	if err := t.client.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	t.open = true
	return nil
}

// commit ends the transaction together with the offsets of a group's member. All
// records must be acknowledged. After an error it is not known whether it is
// committed: nothing may go on from here.
func (t *transaction) commit(group *kmsg.TxnOffsetCommitRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), transactionTimeout)
	defer cancel()
	if !t.produced.Load() { // no transaction has begun at the brokers, and offsets alone need none
		if err := t.commitOffsets(ctx, group); err != nil {
			return fmt.Errorf("committing offsets: %w", err)
		}
		return nil
	}
	id, epoch, err := t.client.ProducerID(ctx)
	if err != nil {
		return fmt.Errorf("committing a transaction: %w", err)
	}
	if err := t.addOffsets(ctx, id, epoch, group); err != nil {
		return fmt.Errorf("adding offsets to the transaction: %w", err)
	}
	failpoint.Hit(failpoint.OffsetsAdded, group.Group)
	t.open = false // however it ends: to abort would hide from mend how the brokers ended it
	if err := t.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("committing a transaction: %w", err)
	}
	return nil
}

func (t *transaction) commitOffsets(ctx context.Context, group *kmsg.TxnOffsetCommitRequest) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = group.Group, group.Generation, group.MemberID, group.InstanceID
	for _, topic := range group.Topics {
		all := kmsg.NewOffsetCommitRequestTopic()
		all.Topic = topic.Topic
		for _, p := range topic.Partitions {
			one := kmsg.NewOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset, one.Metadata = p.Partition, p.Offset, p.Metadata
			all.Partitions = append(all.Partitions, one)
		}
		req.Topics = append(req.Topics, all)
	}
	return t.repeat(ctx, func() (int16, error) {
		resp, err := req.RequestWith(ctx, t.client.Client)
		if err != nil {
			return 0, err
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode, nil
				}
			}
		}
		return 0, nil
	})
}

func (t *transaction) addOffsets(ctx context.Context, id int64, epoch int16, group *kmsg.TxnOffsetCommitRequest) error {
	if !t.newKind { // the new kind takes part by the offsets themselves
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = t.id, id, epoch, group.Group
		err := t.repeat(ctx, func() (int16, error) {
			resp, err := add.RequestWith(ctx, t.client.Client)
			if err != nil {
				return 0, err
			}
			return resp.ErrorCode, nil
		})
		if err != nil {
			return err
		}
	}
	group.TransactionalID, group.ProducerID, group.ProducerEpoch = t.id, id, epoch
	return t.repeat(ctx, func() (int16, error) {
		resp, err := group.RequestWith(ctx, t.client.Client)
		if err != nil {
			return 0, err
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					return p.ErrorCode, nil
				}
			}
		}
		return 0, nil
	})
}

// repeat asks again while the brokers are still busy with the transaction before.
func (t *transaction) repeat(ctx context.Context, ask func() (int16, error)) error {
	for {
		code, err := ask()
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) && !errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// abort ends the transaction without a trace. What can't be aborted, as the
// brokers are away, they abort themselves.
func (t *transaction) abort() error {
	if !t.open {
		return nil
	}
	t.open = false
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return errors.Join(t.client.AbortBufferedRecords(ctx), t.client.EndTransaction(ctx, kgo.TryAbort))
}

// commitTransaction ends the transaction with everything that was finished, and
// flushes the tables. It stops the intake while it does, and begins the next
// transaction unless it is the session's last. The error is errUnfinished when
// the session ended first: then its last commit decides.
func (s *session) commitTransaction(last bool) error {
	topics, err := s.stopIntake(last)
	if err == nil {
		err = s.commitOffsets(topics, last)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = false
	if err != nil && !errors.Is(err, errUnfinished) && s.broken == nil {
		s.broken = err
	}
	s.changed.Broadcast()
	return err
}

func (s *session) commitOffsets(topics []kmsg.TxnOffsetCommitRequestTopic, last bool) error {
	t := s.run.producer.Load().txn
	failpoint.Hit(failpoint.IntakeStopped, s.run.group)
	if len(topics) > 0 {
		group := kmsg.NewPtrTxnOffsetCommitRequest()
		group.Group, group.Generation, group.MemberID, group.Topics = s.run.group, s.GenerationID(), s.MemberID(), topics
		if id := s.run.cfg.InstanceID; id != "" {
			group.InstanceID = &id
		}
		if err := t.commit(group); err != nil {
			return err
		}
		failpoint.Hit(failpoint.TxnCommitted, s.run.group)
		committed := map[tp]int64{}
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				committed[tp{topic.Topic, p.Partition}] = p.Offset
			}
		}
		if err := s.run.cfg.remember(s.run.group, committed, s.ids); err != nil {
			return err
		}
		if err := s.run.tables.each((*state.Table).Flush); err != nil {
			return fmt.Errorf("writing the tables on this machine: %w", err)
		}
	}
	failpoint.Hit(failpoint.TxnFlushed, s.run.group)
	if !t.open || !t.produced.Load() {
		if err := s.run.steady(t); err != nil {
			return err
		}
	}
	if last {
		return nil
	}
	return t.begin()
}

// stopIntake lets no message in, sends what lingers and waits until those inside
// are finished. It returns the offsets that are to be committed.
func (s *session) stopIntake(last bool) ([]kmsg.TxnOffsetCommitRequestTopic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil { // its offsets are noted as committed, and are not
		return nil, s.broken
	}
	s.stopped = true
	if !last && s.inside > 0 {
		go func() { _ = s.run.producer.Load().txn.client.Flush(s.Context()) }()
	}
	for s.inside > 0 && !last && s.Context().Err() == nil {
		s.changed.Wait()
	}
	if s.inside > 0 {
		return nil, errUnfinished
	}
	byTopic := map[string]*kmsg.TxnOffsetCommitRequestTopic{}
	for at, p := range s.offsets {
		if p.next <= p.committed {
			continue
		}
		p.committed = p.next
		topic := byTopic[at.topic]
		if topic == nil {
			topic = &kmsg.TxnOffsetCommitRequestTopic{Topic: at.topic}
			byTopic[at.topic] = topic
		}
		offset := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		mark := s.mark(at.topic)
		offset.Partition, offset.Offset, offset.Metadata = at.partition, p.next, &mark
		topic.Partitions = append(topic.Partitions, offset)
	}
	var all []kmsg.TxnOffsetCommitRequestTopic
	for _, topic := range byTopic {
		all = append(all, *topic)
	}
	return all, nil
}

// abort takes back what is not committed: the transaction, and what the tables
// on this machine have in memory.
func (r *run) abort() {
	_ = r.tables.each(func(t *state.Table) error { t.Discard(); return nil })
	p := r.producer.Load()
	if p == nil {
		return
	}
	if err := p.txn.abort(); err != nil {
		r.cfg.Logger.Debug("aborting a transaction", "group", r.group, "error", err)
	}
}

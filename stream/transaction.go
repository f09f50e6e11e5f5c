package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"baedal/internal/failpoint"
	"baedal/internal/planted"
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

var errUnfinished = errors.New("the session ends before all of the transaction is finished")

// begin opens a transaction for a session.
func (p *producer) begin() error {
	if p.async.TxnStatus()&sarama.ProducerTxnFlagInTransaction != 0 {
		return nil
	}
	return p.async.BeginTxn()
}

// commitTransaction ends the transaction with everything that was finished, and
// flushes the tables. It stops the intake while it does, and begins the next
// transaction unless it is the session's last. The error is errUnfinished when
// the session ended first: then its last commit decides.
func (s *session) commitTransaction(last bool) error {
	offsets, err := s.stopIntake(last)
	if err == nil {
		err = s.commitOffsets(offsets, last)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = false
	s.broken = err != nil && !errors.Is(err, errUnfinished)
	s.changed.Broadcast()
	return err
}

func (s *session) commitOffsets(offsets map[string][]*sarama.PartitionOffsetMetadata, last bool) error {
	p := s.run.producer.Load()
	failpoint.Hit(failpoint.IntakeStopped, s.run.group)
	if len(offsets) > 0 {
		meta := &sarama.ConsumerGroupMetadata{GroupID: s.run.group, GenerationID: s.GenerationID(), MemberID: s.MemberID()}
		if id := s.run.cfg.InstanceID; id != "" {
			meta.GroupInstanceID = &id
		}
		if err := p.async.AddOffsetsToTxnWithGroupMetadata(offsets, meta); err != nil {
			return fmt.Errorf("adding offsets to the transaction: %w", err)
		}
		if planted.Enabled {
			s.spoil(offsets)
		}
		failpoint.Hit(failpoint.OffsetsAdded, s.run.group)
		if err := p.async.CommitTxn(); err != nil {
			return fmt.Errorf("committing the transaction: %w", err)
		}
		failpoint.Hit(failpoint.TxnCommitted, s.run.group)
		if err := s.run.tables.each((*state.Table).Flush); err != nil {
			return fmt.Errorf("writing the tables on this machine: %w", err)
		}
	}
	failpoint.Hit(failpoint.TxnFlushed, s.run.group)
	if last {
		return nil
	}
	return p.begin()
}

// stopIntake lets no message in and waits until those inside are finished. It
// returns what is to be committed.
func (s *session) stopIntake(last bool) (map[string][]*sarama.PartitionOffsetMetadata, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for s.inside > 0 && !last && s.Context().Err() == nil {
		s.changed.Wait()
	}
	if s.inside > 0 {
		return nil, errUnfinished
	}
	offsets := map[string][]*sarama.PartitionOffsetMetadata{}
	for at, p := range s.offsets {
		if p.next > p.committed {
			offsets[at.topic] = append(offsets[at.topic], &sarama.PartitionOffsetMetadata{Partition: at.partition, Offset: p.next})
			p.committed = p.next
		}
	}
	return offsets, nil
}

// abort takes back what is not committed: the transaction, and what the tables
// on this machine have in memory.
func (r *run) abort() {
	_ = r.tables.each(func(t *state.Table) error { t.Discard(); return nil })
	p := r.producer.Load()
	if p == nil || p.async.TxnStatus()&sarama.ProducerTxnFlagInTransaction == 0 {
		return
	}
	if err := p.async.AbortTxn(); err != nil {
		r.cfg.Logger.Debug("aborting a transaction", "group", r.group, "error", err)
	}
}

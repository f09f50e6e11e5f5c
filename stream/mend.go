package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The brokers may forget to write the end of a transaction to its partitions: a
// partition that has no leader at that moment, Kafka 4.3.0 takes for deleted,
// and notes the transaction as complete without it. A lone broker that was
// killed has such moments when it comes back. Readers of committed records then
// stop before what hangs there, until the next end of the same producer decides
// on it by mistake. What follows writes the end that the brokers noted. It needs
// the new kind of transactions, where each has an epoch of its own: what is open
// under an older epoch than the producer's belongs to one that has ended.
//
// Who may not ask or write such things leaves it at that, with a warning.

// shaken notes that a broker was lost: one that comes back may have forgotten.
type shaken struct{ atomic.Bool }

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (s *shaken) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { s.Store(true) }

// steady mends what was forgotten while the transactions of t went on. None may
// be open.
func (r *run) steady(t *transaction) error {
	if !t.mendable || !t.shaken.Swap(false) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), transactionTimeout)
	defer cancel()
	return r.mend(ctx, t.id)
}

// mend writes what is missing of the ends of the transactions under an id. It
// blocks until the brokers have noted an end of the last one, if that has come
// to an end. Those before were committed: who can't commit begins anew, with
// newTransactions.
func (r *run) mend(ctx context.Context, id string) error {
	d, err := r.lastTransaction(ctx, id)
	if err != nil {
		return err
	}
	switch d.State {
	case "Ongoing", "CompleteCommit", "CompleteAbort":
		return r.writeEnds(ctx, d.ProducerID, d.ProducerEpoch, func(epoch int16) (commit bool) {
			return d.State != "CompleteAbort" || epoch < d.ProducerEpoch-1 // the end takes an epoch
		})
	}
	return nil
}

func (r *run) lastTransaction(ctx context.Context, id string) (d kadm.DescribedTransaction, err error) {
	admin := kadm.NewClient(r.client.Client)
	err = r.insist(ctx, "asking how the last transaction ended", func() error {
		all, err := admin.DescribeTransactions(ctx, id)
		if err != nil {
			return err
		}
		d = all[id]
		switch {
		case errors.Is(d.Err, kerr.TransactionalIDNotFound):
			d.Err = nil
		case strings.HasPrefix(d.State, "Prepare"):
			return errors.New("the brokers are about to end it")
		}
		return d.Err
	})
	return d, err
}

// insist asks until there is an answer, it can't be had, it is not allowed (no
// error), or ctx is done.
func (r *run) insist(ctx context.Context, what string, ask func() error) error {
	told := time.Now()
	for {
		err := ask()
		var refused *kerr.Error
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), err))
		case errors.As(err, new(*kadm.AuthError)) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed) ||
			errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed):
			r.cfg.Logger.Warn("not allowed: what brokers forget to end, nobody ends", "doing", what, "group", r.group, "error", err)
			return nil
		case errors.As(err, &refused) && !refused.Retriable:
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Since(told) > stall && r.cfg.Reach.Err() == nil { // or Reach says it
			told = time.Now()
			r.cfg.Logger.Warn("the brokers don't answer yet", "doing", what, "group", r.group, "error", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// writeEnds ends what a producer has open under an older epoch than this one, in
// any partition that the group writes.
func (r *run) writeEnds(ctx context.Context, id int64, epoch int16, committed func(epoch int16) bool) error {
	var described kadm.DescribedProducersTopics
	err := r.insist(ctx, "looking for a forgotten transaction", func() (err error) {
		where := kadm.TopicsSet{"__consumer_offsets": nil}
		for _, e := range r.graph.AllEdges() {
			where[e.Topic()] = nil
		}
		described, err = kadm.NewClient(r.client.Client).DescribeProducers(ctx, where)
		for _, t := range described {
			for _, p := range t.Partitions {
				if p.Err != nil && !errors.Is(p.Err, kerr.UnknownTopicOrPartition) {
					err = errors.Join(err, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, p.Err))
				}
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range described.SortedProducers() {
		if p.ProducerID != id || p.ProducerEpoch >= epoch || p.CurrentTxnStartOffset < 0 {
			continue
		}
		commit := committed(p.ProducerEpoch)
		if err := r.insist(ctx, "writing the end of a forgotten transaction", func() error {
			return r.writeEnd(ctx, p, epoch, commit)
		}); err != nil {
			return err
		}
		r.cfg.Logger.Warn("wrote the end of a transaction that the brokers had forgotten", "group", r.group, "committed", commit, "topic", p.Topic, "partition", p.Partition)
	}
	return nil
}

// writeEnd writes an end into one partition. Of the new kind, the brokers take it
// again, and refuse it when the epoch has come to be at work there: what then
// becomes of it is the end of that transaction.
func (r *run) writeEnd(ctx context.Context, p kadm.DescribedProducer, epoch int16, commit bool) error {
	topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	topic.Topic, topic.Partitions = p.Topic, []int32{p.Partition}
	end := kmsg.NewWriteTxnMarkersRequestMarker()
	end.ProducerID, end.ProducerEpoch, end.Committed, end.CoordinatorEpoch = p.ProducerID, epoch, commit, max(0, p.CoordinatorEpoch)
	end.TransactionVersion = 2
	end.Topics = append(end.Topics, topic)
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = append(req.Markers, end)
	for _, answer := range r.client.RequestSharded(ctx, req) {
		if answer.Err != nil {
			return answer.Err
		}
		for _, m := range answer.Resp.(*kmsg.WriteTxnMarkersResponse).Markers {
			for _, t := range m.Topics {
				for _, p := range t.Partitions {
					if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.InvalidProducerEpoch) {
						return fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
					}
				}
			}
		}
	}
	return nil
}

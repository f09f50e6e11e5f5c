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
)

// The brokers may forget to write the end of a transaction to its partitions: a
// partition that has no leader at that moment, Kafka 4.3.0 takes for deleted,
// and notes the transaction as complete without it. A lone broker that was
// killed has such moments when it comes back. Readers of committed records then
// stop before what hangs there, until the next end of the same producer decides
// on it by mistake. What follows writes the end that the brokers noted. It needs
// the new kind of transactions, where each has an epoch of its own: what is open
// under an older epoch than the producer's belongs to one that has ended.

// shaken notes that a broker was lost: one that comes back may have forgotten.
type shaken struct{ atomic.Bool }

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (s *shaken) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { s.Store(true) }

// steady mends what was forgotten while the transactions of t went on. None may
// be open.
func (r *run) steady(t *transaction) error {
	if !t.newKind || !t.shaken.Swap(false) {
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
	for {
		all, err := admin.DescribeTransactions(ctx, id)
		if err == nil {
			d, err = all[id], all[id].Err
		}
		switch {
		case errors.Is(err, kerr.TransactionalIDNotFound):
			return kadm.DescribedTransaction{}, nil
		case err == nil && !strings.HasPrefix(d.State, "Prepare"):
			return d, nil
		case err != nil && !kerr.IsRetriable(err):
			return d, fmt.Errorf("asking how the last transaction ended: %w", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return d, fmt.Errorf("asking how the last transaction ended: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// writeEnds ends what a producer has open under an older epoch than this one, in
// any partition that the group writes.
func (r *run) writeEnds(ctx context.Context, id int64, epoch int16, committed func(epoch int16) bool) error {
	admin := kadm.NewClient(r.client.Client)
	where := kadm.TopicsSet{"__consumer_offsets": nil}
	for _, e := range r.graph.AllEdges() {
		where[e.Topic()] = nil
	}
	described, err := admin.DescribeProducers(ctx, where)
	for _, t := range described {
		for _, p := range t.Partitions {
			if p.Err != nil && !errors.Is(p.Err, kerr.UnknownTopicOrPartition) {
				err = errors.Join(err, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, p.Err))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("looking for an open transaction: %w", err)
	}
	for _, p := range described.SortedProducers() {
		if p.ProducerID != id || p.ProducerEpoch >= epoch || p.CurrentTxnStartOffset < 0 {
			continue
		}
		end := kadm.TxnMarkers{ProducerID: id, ProducerEpoch: epoch, Commit: committed(p.ProducerEpoch), CoordinatorEpoch: max(0, p.CoordinatorEpoch), Topics: kadm.TopicsSet{}}
		end.Topics.Add(p.Topic, p.Partition)
		written, err := admin.WriteTxnMarkers(ctx, end)
		written.EachPartition(func(p kadm.TxnMarkersPartitionResponse) { err = errors.Join(err, p.Err) })
		if err != nil {
			return fmt.Errorf("writing the end of a transaction that the brokers forgot to %s/%d: %w", p.Topic, p.Partition, err)
		}
		r.cfg.Logger.Warn("wrote the end of a transaction that the brokers had forgotten", "group", r.group, "committed", end.Commit, "topic", p.Topic, "partition", p.Partition)
	}
	return nil
}

package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// The brokers may forget to write the end of a transaction to its partitions: a
// partition that has no leader at that moment, Kafka 4.3.0 takes for deleted,
// and notes the transaction as complete without it. A lone broker that was
// killed has such moments when it comes back. Readers of committed records then
// stop before what hangs there, until the next end of the same producer decides
// on it by mistake. What follows writes the end that the brokers noted. It needs
// the new kind of transactions, where each has an epoch of its own: what is open
// under an older epoch than the producer's belongs to one that has ended.

// slowCommit is how long a commit takes at least that saw a broker come back.
const slowCommit = 500 * time.Millisecond

// mendSoon is mend for at most transactionTimeout.
func (r *run) mendSoon(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), transactionTimeout)
	defer cancel()
	return r.mend(ctx, id)
}

// mend writes what is missing of the end of the last transaction under an id. It
// blocks until the brokers have noted an end.
func (r *run) mend(ctx context.Context, id string) error {
	d, err := r.lastTransaction(ctx, id)
	if err != nil || d.State != "CompleteCommit" && d.State != "CompleteAbort" {
		return err
	}
	return r.writeEnd(ctx, d.ProducerID, d.ProducerEpoch, d.State == "CompleteCommit")
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

// writeEnd ends what a producer has open under an older epoch, in any partition
// that the group writes.
func (r *run) writeEnd(ctx context.Context, id int64, epoch int16, commit bool) error {
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
	end := kadm.TxnMarkers{ProducerID: id, ProducerEpoch: epoch, Commit: commit, Topics: kadm.TopicsSet{}}
	for _, p := range described.SortedProducers() {
		if p.ProducerID == id && p.ProducerEpoch < epoch && p.CurrentTxnStartOffset >= 0 {
			end.Topics.Add(p.Topic, p.Partition)
			end.CoordinatorEpoch = max(end.CoordinatorEpoch, p.CoordinatorEpoch)
		}
	}
	if len(end.Topics) == 0 {
		return nil
	}
	written, err := admin.WriteTxnMarkers(ctx, end)
	written.EachPartition(func(p kadm.TxnMarkersPartitionResponse) {
		if p.Err != nil {
			err = errors.Join(err, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, p.Err))
		}
	})
	if err != nil {
		return fmt.Errorf("writing the end of a transaction that the brokers forgot: %w", err)
	}
	r.cfg.Logger.Warn("wrote the end of a transaction that the brokers had forgotten", "group", r.group, "committed", commit, "topics", end.Topics.Topics())
	return nil
}

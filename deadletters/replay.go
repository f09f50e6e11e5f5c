package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/stream"
	"baedal/topics"
)

// ReplayOptions say what is put back.
type ReplayOptions struct {
	Only   Filter
	Again  bool // also what was put back before
	DryRun bool // only say what would be done
	// Batch is how many letters go back in one transaction. Default 100: readers
	// of the topics wait for the end of a transaction.
	Batch int

	// beforeCommit is called when a batch has been sent and not committed; an error ends the
	// replay there, as kill -9 would. For tests.
	beforeCommit func() error
}

// Outcome is what became of a letter.
type Outcome struct {
	*Letter
	To      Source // where its message is now; the offset is -1 in a dry run
	Skipped string // why there was nothing to do
	Refused error  // why it can't be put back
}

// ErrRefused is returned when some letters could not be put back.
var ErrRefused = errors.New("some dead letters can't be put back")

const (
	batchBytes  = stream.MaxRecord // of the messages of a transaction, as all of them may be one batch for a topic; a longer one goes alone
	transaction = 10 * time.Second // then the brokers abort that of one who died
)

// Replay puts the messages of dead letters back into the topics that they came from,
// each once: a batch of them and the marks that say so are one transaction. Of
// two letters with one source, one goes back. Only one replay of an installation runs at
// a time; a later one ends an earlier one. What was done is told when it is committed.
// It blocks until all that was there at its start is done.
func Replay(ctx context.Context, catalog *topics.Catalog, brokers []string, opt ReplayOptions, tell func(Outcome)) error {
	if opt.Batch == 0 {
		opt.Batch = 100
	}
	cl, err := dial(brokers, kgo.TransactionalID(catalog.DeadLetters.Name()+"-replay"), kgo.TransactionTimeout(transaction),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		// The topics say how long a message may be: one that was packed goes back so.
		kgo.ProducerBatchMaxBytes(2*mostUnpacked), kgo.BrokerMaxWriteBytes(3*mostUnpacked), kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.SnappyCompression(), kgo.NoCompression()),
		kgo.RecordDeliveryTimeout(transaction))
	if err != nil {
		return err
	}
	defer cl.Close()
	if !opt.DryRun {
		// First this: it ends what a killed replay left open and shuts out one that still
		// runs, so that all marks there will ever be are there to be read.
		if _, _, err := cl.ProducerID(ctx); err != nil {
			return fmt.Errorf("no transaction can be begun: %w", err)
		}
	}
	box, err := Open(ctx, catalog, brokers)
	if err != nil {
		return err
	}
	r := &replay{ReplayOptions: opt, cl: cl, box: box, tell: tell, done: map[Source]ID{}}
	if r.partitions, err = partitions(ctx, cl, catalog); err != nil {
		return err
	}
	if err := box.Each(ctx, opt.Only, func(l *Letter) error { return r.letter(ctx, l) }); err != nil {
		return err
	}
	if err := r.commit(ctx); err != nil {
		return err
	}
	if r.refused > 0 {
		return fmt.Errorf("%w: %d, named above", ErrRefused, r.refused)
	}
	return nil
}

// partitions returns how many each stream has that a letter may go back to.
func partitions(ctx context.Context, cl *kgo.Client, catalog *topics.Catalog) (map[string]int32, error) {
	there, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the topics: %w", err)
	}
	n := map[string]int32{}
	for _, s := range catalog.All() {
		if s.Cleanup == topics.Delete && s.Topic != catalog.DeadLetters.Name() {
			n[s.Topic] = int32(len(there[s.Topic].Partitions))
		}
	}
	return n, nil
}

type replay struct {
	ReplayOptions
	cl         *kgo.Client
	box        *Box
	tell       func(Outcome)
	partitions map[string]int32
	done       map[Source]ID // what this run put back
	refused    int

	batch    []*kgo.Record // messages and marks of one transaction
	outcomes []Outcome     // in the order of the letters; told after the commit
	sent     []int         // of each message in batch, its place in outcomes
	bytes    int
}

func (r *replay) letter(ctx context.Context, l *Letter) error {
	o := Outcome{Letter: l}
	n, known := r.partitions[l.From.Topic]
	first, twice := r.done[l.From]
	switch {
	case l.Broken != nil:
		o.Refused = l.Broken
	case !known:
		o.Refused = fmt.Errorf("topic %s is no stream of this installation: check --prefix", l.From.Topic)
	case n == 0:
		o.Refused = fmt.Errorf("topic %s does not exist: baedal topics create", l.From.Topic)
	case twice:
		o.Skipped = fmt.Sprintf("the same message as %s", first)
	case !l.Replayed.IsZero() && !r.Again:
		o.Skipped = "put back at " + l.Replayed.UTC().Format(time.RFC3339) + " (--again does it again)"
	}
	var from *kgo.Record
	if l.Away && o.Refused == nil && o.Skipped == "" {
		from, o.Refused = r.box.source(ctx, l)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if o.Refused != nil {
		r.refused++
	}
	if o.Refused == nil && o.Skipped == "" {
		m := l.message(n, from)
		o.To = Source{m.Topic, m.Partition, -1}
		r.done[l.From] = l.ID
		if !r.DryRun {
			if len(r.sent) > 0 && r.bytes+size(m) > batchBytes {
				if err := r.commit(ctx); err != nil {
					return err
				}
			}
			r.sent = append(r.sent, len(r.outcomes))
			r.batch = append(r.batch, m, l.mark(r.box.topic))
			r.bytes += size(m)
		}
	}
	r.outcomes = append(r.outcomes, o)
	if len(r.sent) == 0 || len(r.sent) >= r.Batch || r.bytes >= batchBytes {
		return r.commit(ctx)
	}
	return nil
}

// commit puts the batch back, all of it or nothing, and tells.
func (r *replay) commit(ctx context.Context) error {
	if len(r.batch) > 0 {
		err := r.transact(ctx, r.batch)
		if errors.Is(err, kerr.MessageTooLarge) {
			err = r.oneByOne(ctx)
		}
		if err != nil {
			if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
				err = fmt.Errorf("another replay of this installation was started, which ends this one: %w", err)
			}
			return fmt.Errorf("the last %d messages: %w: what is not told above was not put back, or will be found to be: run it again", len(r.sent), err)
		}
		for i, at := range r.sent {
			if o := &r.outcomes[at]; o.Refused == nil {
				o.To.Offset = r.batch[2*i].Offset
			}
		}
	}
	for _, o := range r.outcomes {
		r.tell(o)
	}
	r.batch, r.outcomes, r.sent, r.bytes = nil, nil, nil, 0
	return nil
}

// oneByOne puts back what a topic takes, and refuses the rest.
func (r *replay) oneByOne(ctx context.Context) error {
	for i, at := range r.sent {
		both := r.batch[2*i : 2*i+2]
		err := r.transact(ctx, both)
		if errors.Is(err, kerr.MessageTooLarge) {
			o := &r.outcomes[at]
			o.Refused = fmt.Errorf("topic %s does not take its %d bytes: raise max.message.bytes there", o.To.Topic, size(both[0]))
			delete(r.done, o.From)
			r.refused++
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) transact(ctx context.Context, batch []*kgo.Record) error {
	if err := r.cl.BeginTransaction(); err != nil {
		return err
	}
	err := r.cl.ProduceSync(ctx, batch...).FirstErr()
	if err == nil && r.beforeCommit != nil {
		if err := r.beforeCommit(); err != nil {
			return err
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), transaction) // also when it was interrupted
	defer cancel()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, r.cl.AbortBufferedRecords(ending), r.cl.EndTransaction(ending, kgo.TryAbort))
	}
	return r.cl.EndTransaction(ending, kgo.TryCommit)
}

package stream

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"baedal/stream/internal/kafkaclient"
)

// What a producer keeps in memory at most, in records and in bytes. Beyond it
// the intake waits: a slow broker slows it down.
const (
	mostBuffered      = 20_000
	mostBufferedBytes = 64 << 20
)

// lingerInTransaction is the least Linger of a transaction's producer: who reads
// from it waits for the commit anyway, and what lingers is sent with it.
const lingerInTransaction = 20 * time.Millisecond

// client is a connection to the brokers for producing.
type client struct {
	*kgo.Client
	cfg   Config
	acked atomic.Int64 // records
}

// newClient returns a client for producing that loses nothing: all replicas
// acknowledge, retries neither double nor reorder, and there is no last one.
// Nothing is contacted yet.
func (c Config) newClient(opts ...kgo.Opt) (*client, error) {
	k, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.WithLogger(clientLogger{c.Logger}),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(c.Linger),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(1_000_000),
		kgo.MaxBufferedRecords(mostBuffered),
		kgo.MaxBufferedBytes(mostBufferedBytes),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, partitions int) int {
				return int(partitionOf(r.Key, cmp.Or(c.Partitions, partitions)))
			}
		})),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.ConnIdleTimeout(kafkaclient.Idle),
		kgo.DisableClientMetrics(),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(time.Duration(tries)*50*time.Millisecond, time.Second) }),
		kgo.WithHooks(c.Reach),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("starting a producer: %w", err)
	}
	return &client{Client: k, cfg: c}, nil
}

// forgetTopic makes the client learn anew where a topic is: it takes no other
// topic of the same name by itself. What waits to be sent there is lost, as what
// was sent before is.
func (c *client) forgetTopic(topic string) { c.PurgeTopicsFromProducing(topic) }

// dialer is how the producers of groups reach the brokers.
func (c Config) dialer() (opts []kgo.Opt) {
	if c.Dial != nil {
		opts = append(opts, kgo.Dialer(c.Dial))
	}
	return opts
}

// stall is how long nothing may be acknowledged before it is said.
const stall = 5 * time.Second

// tellStalls logs, until ctx is done, when nothing is acknowledged and when
// something is again. What waits is not lost, but nobody should have to guess.
// That no broker answers at all is said by Reach.
func (c *client) tellStalls(ctx context.Context) {
	t := time.NewTicker(stall)
	defer t.Stop()
	stalled := false
	for was := int64(-1); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		acked := c.acked.Load()
		switch waiting := c.BufferedProduceRecords(); {
		case waiting > 0 && acked == was:
			if !stalled && c.cfg.Reach.Err() == nil {
				stalled = true
				c.cfg.Logger.Warn("the brokers answer and acknowledge nothing: handling waits for them", "records", waiting, "brokers", c.cfg.Brokers)
			}
		case stalled:
			stalled = false
			c.cfg.Logger.Info("the brokers acknowledge again")
		}
		was = acked
	}
}

// inTransactions makes a client transactional. Since Kafka 4.0 (KIP-890) brokers
// can have clients that take part in a transaction's bookkeeping in another way,
// with a new epoch for each one. Where they do, the client must, too: a broker
// that is killed at the end of an old kind of transaction may not finish it.
func (c Config) inTransactions(id string, newKind bool) []kgo.Opt {
	versions := kversion.V3_9_0()
	if newKind {
		versions = kversion.Stable()
		versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 5) // the next ones take topics by their ids
		versions.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	}
	return []kgo.Opt{
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.ProducerLinger(max(lingerInTransaction, c.Linger)),
		kgo.MaxVersions(versions),
	}
}

// newKindOfTransactions reports whether the cluster has transaction.version 2,
// and whether its brokers let an end be written by others safely: since Kafka 4.2
// they refuse one of an epoch that is at work.
func (c *client) newKindOfTransactions(ctx context.Context) (newKind, mendable bool, err error) {
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.Client)
	if err != nil {
		return false, false, fmt.Errorf("asking what transactions the brokers have: %w", err)
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			newKind = f.MaxVersionLevel >= 2
		}
	}
	for _, k := range resp.ApiKeys {
		if kmsg.Key(k.ApiKey) == kmsg.WriteTxnMarkers {
			mendable = newKind && k.MaxVersion >= 2
		}
	}
	return newKind, mendable, nil
}

// Partition returns where a key belongs: FNV-1a over its bytes, as goka has it.
func Partition(key string, partitions int) int32 { return partitionOf([]byte(key), partitions) }

func partitionOf(key []byte, partitions int) int32 {
	h := fnv.New32a()
	h.Write(key)
	p := int32(h.Sum32()) % int32(partitions)
	if p < 0 {
		p = -p
	}
	return p
}

// clientLogger passes on what a user must know. That brokers are away is said by
// Reach and tellStalls; the client's own warnings guess at reasons.
type clientLogger struct{ *slog.Logger }

func (l clientLogger) Level() kgo.LogLevel {
	if l.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelError
}

func (l clientLogger) Log(level kgo.LogLevel, msg string, args ...any) {
	at := slog.LevelDebug
	if level == kgo.LogLevelError {
		at = slog.LevelWarn
	}
	l.Logger.Log(context.Background(), at, msg, args...)
}

package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
)

// readableManager is goka's topic manager, with one answer mended. Goka takes a
// table for recovered when it has read the record before the newest offset, but
// what ends a transaction takes an offset and is never read. So the newest
// offset is said to be the one behind the last record that can be read, once no
// transaction is open.
type readableManager struct {
	goka.TopicManager
	client sarama.Client
}

// openTransaction is how long to wait for a transaction that somebody left
// open: the brokers end it after transactionTimeout.
const openTransaction = 3 * transactionTimeout

// GetOffset blocks while a transaction is open in the partition.
func (m readableManager) GetOffset(topic string, partition int32, which int64) (int64, error) {
	if which != sarama.OffsetNewest {
		return m.TopicManager.GetOffset(topic, partition, which)
	}
	deadline := time.Now().Add(openTransaction)
	for {
		newest, err := m.TopicManager.GetOffset(topic, partition, which)
		if err != nil {
			return 0, err
		}
		// The answer to a fetch at the end says how far the partition goes.
		end, err := m.fetch(topic, partition, newest, 1)
		switch {
		case err != nil:
			return 0, err
		case end.LastStableOffset >= end.HighWaterMarkOffset:
			return m.behindLast(topic, partition, end.HighWaterMarkOffset)
		case time.Now().After(deadline):
			return 0, fmt.Errorf("a transaction in %s/%d is open for longer than %s: end it with kafka-transactions.sh --abort", topic, partition, openTransaction)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
}

// behindLast looks for the last record that can be read before an offset, a few
// records back at first.
func (m readableManager) behindLast(topic string, partition int32, end int64) (int64, error) {
	oldest, err := m.TopicManager.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return 0, err
	}
	for back := int64(2); ; back *= 8 {
		from := max(oldest, end-back)
		last, err := m.lastIn(topic, partition, from, end)
		if err != nil {
			return 0, err
		}
		if last >= 0 {
			return last + 1, nil
		}
		if from == oldest {
			return oldest, nil
		}
	}
}

// lastIn returns the offset of the last readable record in [from, end), or -1.
func (m readableManager) lastIn(topic string, partition int32, from, end int64) (last int64, err error) {
	last = -1
	for size := int32(1 << 20); from < end; {
		block, err := m.fetch(topic, partition, from, size)
		if err != nil {
			return -1, err
		}
		aborted := map[int64][]int64{} // first offsets of aborted transactions, by producer
		for _, a := range block.AbortedTransactions {
			aborted[a.ProducerID] = append(aborted[a.ProducerID], a.FirstOffset)
		}
		next := from
		for _, r := range block.RecordsSet {
			b := r.RecordBatch
			if b == nil || b.PartialTrailingRecord {
				continue
			}
			newest := b.FirstOffset + int64(b.LastOffsetDelta)
			next = max(next, newest+1)
			switch first := aborted[b.ProducerID]; {
			case b.Control:
				if len(first) > 0 && first[0] < b.FirstOffset {
					aborted[b.ProducerID] = first[1:] // here that transaction ends
				}
			case b.IsTransactional && len(first) > 0 && first[0] <= b.FirstOffset:
			case newest >= from && newest < end:
				last = newest
			}
		}
		if next == from {
			if size > 1<<28 {
				return -1, fmt.Errorf("%s/%d can't be read at offset %d", topic, partition, from)
			}
			size *= 4 // a batch larger than what was asked for
			continue
		}
		from = next
	}
	return last, nil
}

func (m readableManager) fetch(topic string, partition int32, offset int64, size int32) (*sarama.FetchResponseBlock, error) {
	for try := 0; ; try++ {
		block, err := m.fetchOnce(topic, partition, offset, size)
		if err == nil || try == 20 {
			return block, err
		}
		if errors.Is(err, sarama.ErrClosedClient) || errors.Is(err, sarama.ErrOffsetOutOfRange) {
			return nil, err
		}
		time.Sleep(50 * time.Millisecond) // a leader that has just moved
		_ = m.client.RefreshMetadata(topic)
	}
}

func (m readableManager) fetchOnce(topic string, partition int32, offset int64, size int32) (*sarama.FetchResponseBlock, error) {
	leader, err := m.client.Leader(topic, partition)
	if err != nil {
		return nil, err
	}
	req := &sarama.FetchRequest{Version: 11, MaxBytes: size, MinBytes: 0, MaxWaitTime: 0, Isolation: sarama.ReadCommitted, SessionEpoch: -1}
	req.AddBlock(topic, partition, offset, size, -1)
	res, err := leader.Fetch(req)
	if err != nil {
		return nil, err
	}
	block := res.GetBlock(topic, partition)
	if block == nil {
		return nil, fmt.Errorf("no answer about %s/%d", topic, partition)
	}
	if block.Err != sarama.ErrNoError {
		return nil, block.Err
	}
	return block, nil
}

func (m readableManager) Close() error {
	return errors.Join(m.TopicManager.Close(), m.client.Close())
}

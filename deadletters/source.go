package deadletters

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/stream"
)

// mostUnpacked is the longest message that is read where it lies, and put back.
const mostUnpacked = 64 << 20

// source returns the message of a letter as it lies at its coordinates, or says
// why it can't be had any more.
func (b *Box) source(ctx context.Context, l *Letter) (*kgo.Record, error) {
	topic, partition, offset := l.From.Topic, l.From.Partition, l.From.Offset
	cl, err := dial(b.brokers, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.MaxDecompressBatchBytes(2*mostUnpacked))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	oldest, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	newest, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	first, _ := oldest.Lookup(topic, partition)
	end, there := newest.Lookup(topic, partition)
	switch err := errors.Join(first.Err, end.Err); {
	case !there || errors.Is(err, kerr.UnknownTopicOrPartition) || err == nil && offset >= end.Offset:
		return nil, fmt.Errorf("%s holds no such record: the topic was made anew since", l.From)
	case err != nil:
		return nil, err
	case offset < first.Offset:
		return nil, fmt.Errorf("retention has taken %s: its bytes were nowhere else", l.From)
	}
	waiting, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	fetches := cl.PollRecords(waiting, 1)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := fetches.Err(); err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", l.From, err)
	}
	r := fetches.Records()[0]
	if r.Offset != offset || !l.beginsAs(r) {
		return nil, fmt.Errorf("another record lies at %s: the topic was made anew, or compacted", l.From)
	}
	if len(r.Value) > mostUnpacked {
		return nil, fmt.Errorf("the value is %d bytes long: at most %d are put back", len(r.Value), mostUnpacked)
	}
	return r, nil
}

// beginsAs reports whether a record can be the letter's.
func (l *Letter) beginsAs(r *kgo.Record) bool {
	return bytes.HasPrefix(r.Key, l.Key) && bytes.HasPrefix(r.Value, l.Head) && int64(len(r.Value)) <= l.Size
}

// foreign returns the headers that a message came with: those that the engine
// writes are left out, but for where the message was written first.
func foreign(headers []kgo.RecordHeader) (all []kgo.RecordHeader, own map[string]string) {
	own = map[string]string{}
	for _, h := range headers {
		switch h.Key {
		case stream.HeaderTopic, stream.HeaderPartition, stream.HeaderOffset, stream.HeaderGroup, stream.HeaderError,
			stream.HeaderAt, stream.HeaderStack, stream.HeaderSize, stream.HeaderHead, stream.HeaderHops:
			own[h.Key] = string(h.Value)
		default:
			all = append(all, h)
		}
	}
	return all, own
}

// size is not less than what a record takes in a batch.
func size(r *kgo.Record) (n int) {
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return n + len(r.Key) + len(r.Value) + 50
}

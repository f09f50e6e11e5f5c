package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/unpack"
)

// An admin can raise the partitions of a topic, and nobody can take them back.
// Clients then put records where no group reads, as the keys that belong there
// have their rows elsewhere. What follows reads those partitions, as a group of
// its own, and puts each record where its key belongs, at least once: it comes
// with where it was written first, so that a repeat is known for one.

// forwardStrays reads the partitions beyond the installation's, until ctx is
// done, of all topics that the groups of this engine read.
func (e *Engine) forwardStrays(ctx context.Context) {
	dead := map[string]string{} // topics that are read, and where their dead letters go
	for _, r := range e.groups {
		for _, t := range r.inputs() {
			dead[t] = r.dead
		}
	}
	var all []string
	for t := range dead {
		all = append(all, t)
	}
	for ctx.Err() == nil {
		raised, changed := e.cfg.Watch.raised(all)
		reading, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if len(raised) > 0 {
				s := &strays{Engine: e, client: e.groups[0].client, raised: raised, dead: dead}
				s.supervise(reading)
			}
		}()
		for again := true; again; {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			var now map[string]raisedTopic
			now, changed = e.cfg.Watch.raised(all)
			again = ctx.Err() == nil && maps.Equal(now, raised)
		}
		stop()
		<-done
	}
}

// strays forwards what is in the partitions beyond the installation's.
type strays struct {
	*Engine
	client *client
	raised map[string]raisedTopic
	dead   map[string]string
	ids    map[string]string
}

func (s *strays) supervise(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		err := s.forward(ctx)
		if ctx.Err() != nil {
			return
		}
		s.cfg.Logger.Error("the partitions beyond the installation's are not read, and are tried again", "group", s.cfg.Strays, "in", pause, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (s *strays) forward(ctx context.Context) error {
	var topics []string
	others := map[string][]int32{} // which the groups read
	for t := range s.raised {
		topics = append(topics, t)
		for p := range int32(s.cfg.Partitions) {
			others[t] = append(others[t], p)
		}
	}
	s.ids = map[string]string{}
	for t, r := range s.raised {
		s.ids[t] = r.id
	}
	reader, err := kgo.NewClient(
		kgo.SeedBrokers(s.cfg.Brokers...),
		kgo.ClientID(s.cfg.ClientID),
		kgo.WithLogger(clientLogger{s.cfg.Logger}),
		kgo.ConsumerGroup(s.cfg.Strays),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.WithDecompressor(unpack.Bounded()),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(s.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, s.cfg.SessionTimeout/4)),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(s.begin),
	)
	if err != nil {
		return err
	}
	defer reader.CloseAllowingRebalance()
	reader.PauseFetchPartitions(others)
	for {
		fetches := reader.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return nil // what is not committed comes again
		}
		for _, f := range fetches.Errors() {
			var refused *kerr.Error
			if errors.As(f.Err, &refused) && !refused.Retriable {
				return fmt.Errorf("%s/%d: %w", f.Topic, f.Partition, f.Err)
			}
		}
		if err := s.move(ctx, fetches.Records()); err != nil {
			return err
		}
		if fetches.NumRecords() > 0 {
			commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			err := reader.CommitRecords(kgo.PreCommitFnContext(commit, s.marked), fetches.Records()...)
			cancel()
			if err != nil {
				return fmt.Errorf("committing offsets: %w", err)
			}
		}
		reader.AllowRebalance()
	}
}

// begin corrects where partitions begin that the group is given, and says what
// is gone.
func (s *strays) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	claims := map[string][]int32{}
	for topic, partitions := range offsets {
		for p := range partitions {
			if int(p) >= s.cfg.Partitions {
				claims[topic] = append(claims[topic], p)
			}
		}
	}
	places, err := s.cfg.places(ctx, kadm.NewClient(s.client.Client), s.cfg.Strays, claims, s.ids)
	if err != nil {
		return nil, err
	}
	for at, p := range places {
		from, gone := p.begin()
		if gone != "" {
			s.cfg.Logger.Warn("records are not as they were left", "group", s.cfg.Strays, "topic", at.topic, "partition", at.partition, "what", gone)
		}
		offsets[at.topic][at.partition] = kgo.NewOffset().At(from)
	}
	return offsets, nil
}

// marked says beside each offset of a commit what it is an offset of.
func (s *strays) marked(req *kmsg.OffsetCommitRequest) error {
	for i := range req.Topics {
		t := &req.Topics[i]
		mark := marks{s.ids[t.Topic], s.cfg.Partitions}.String()
		for j := range t.Partitions {
			t.Partitions[j].Metadata = &mark
		}
	}
	return nil
}

// move puts records where their keys belong, and blocks until that is
// acknowledged.
func (s *strays) move(ctx context.Context, records []*kgo.Record) error {
	var moved []*kgo.Record
	for _, r := range records {
		if int(r.Partition) >= s.cfg.Partitions {
			moved = append(moved, s.moved(r))
		}
	}
	if err := s.client.ProduceSync(ctx, moved...).FirstErr(); err != nil {
		return fmt.Errorf("forwarding: %w", err)
	}
	s.client.acked.Add(int64(len(moved)))
	return nil
}

// moved returns the record to be written for a stray one, or its dead letter
// where it is too long to be forwarded, or was forwarded often enough. Its time stays: it is not to become
// younger than it is.
func (s *strays) moved(r *kgo.Record) *kgo.Record {
	at := found{r.Topic, r.Partition, r.Offset, string(r.Key), goka.Headers{}, r.Value}
	for _, h := range r.Headers {
		at.headers[h.Key] = h.Value
	}
	if err := cmp.Or(unfit(at.key, at.headers, at.value), endless(at.headers)); err != nil {
		key, headers, value := letter(at, s.cfg.Strays, err, s.cfg.Now())
		return &kgo.Record{Topic: s.dead[r.Topic], Key: []byte(key), Value: value, Headers: recordHeaders(headers)}
	}
	from, ok := origin(r.Topic, at.headers) // the first one stays
	if !ok {
		from = fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	}
	headers := at.headers.Merged(goka.Headers{HeaderOrigin: []byte(from), HeaderHops: strconv.AppendInt(nil, int64(hops(at.headers)+1), 10)})
	return &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: recordHeaders(headers), Timestamp: r.Timestamp}
}

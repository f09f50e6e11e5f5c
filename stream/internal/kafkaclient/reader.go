package kafkaclient

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a fetch asks for at most, and how long the broker may wait for a record.
const (
	fetchBytes     = 16 << 20
	partitionBytes = 1 << 20
	mostBytes      = 256 << 20 // of a batch that is larger than was asked for
	longest        = 5 * time.Second
	shortest       = 20 * time.Millisecond
	long           = 100 * time.Millisecond // from here on the side lane helps out
)

// reader fetches all partitions that are read with the same pause. Each broker
// has one fetch under way, the main lane's, with every partition that has room
// for more. A partition that becomes ready while that fetch waits for records is
// read by the side lane, over a connection of its own, until the main lane takes
// it in. So the main lane may wait long, and nobody waits for it.
type reader struct {
	c     *Client
	pause time.Duration // least time between two fetches: records gather meanwhile
	lanes [2]*kgo.Client
	wg    sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond
	closed  bool
	subs    map[*subscription]struct{}
	brokers map[int32]*brokerState
	turn    uint64
}

const (
	mainLane = iota
	sideLane
)

// brokerState is what the lanes of one broker know of each other.
type brokerState struct {
	waits time.Time     // since when the main lane has a long fetch under way; zero: it has none
	wait  time.Duration // of the main lane's next fetch, unless all is at rest
}

func newReader(c *Client, pause time.Duration) (*reader, error) {
	r := &reader{c: c, pause: pause, subs: map[*subscription]struct{}{}, brokers: map[int32]*brokerState{}}
	r.changed.L = &r.mu
	for i := range r.lanes {
		var err error
		if r.lanes[i], err = c.connect(); err != nil {
			return nil, err
		}
	}
	r.wg.Go(r.findLeaders)
	return r, nil
}

func (r *reader) close() {
	r.mu.Lock()
	r.closed = true
	for s := range r.subs {
		s.end(nil)
	}
	r.changed.Broadcast()
	r.mu.Unlock()
	for _, k := range r.lanes {
		k.Close()
	}
	r.wg.Wait()
}

func (r *reader) add(s *subscription) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	r.subs[s] = struct{}{}
	r.wg.Go(s.feed)
	r.changed.Broadcast()
	return nil
}

// findLeaders asks for the leaders of partitions that have none, until the reader
// is closed.
func (r *reader) findLeaders() {
	backoff := 50 * time.Millisecond
	for {
		r.mu.Lock()
		var topics []string
		for !r.closed {
			topics = topics[:0]
			for s := range r.subs {
				if s.leader < 0 && !slices.Contains(topics, s.at.topic) {
					topics = append(topics, s.at.topic)
				}
			}
			if len(topics) > 0 {
				break
			}
			backoff = 50 * time.Millisecond
			r.changed.Wait()
		}
		closed := r.closed
		r.mu.Unlock()
		if closed {
			return
		}
		resp, err := r.c.metadata(r.c.ctx, topics...)
		if err == nil {
			r.lead(resp)
		}
		if !sleep(r.c.ctx, backoff) {
			return
		}
		backoff = min(2*backoff, time.Second)
	}
}

// lead hands partitions to the lanes of their leaders.
func (r *reader) lead(resp *kmsg.MetadataResponse) {
	leaders := map[at]int32{}
	failed := map[string]error{}
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			failed[*t.Topic] = err
		}
		for _, p := range t.Partitions {
			leaders[at{*t.Topic, p.Partition}] = p.Leader
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	for s := range r.subs {
		if s.leader >= 0 {
			continue
		}
		if id, ok := leaders[s.at]; ok && id >= 0 {
			s.leader, s.lost = id, time.Time{}
			r.serve(id)
			continue
		}
		err := failed[s.at.topic]
		if err == nil { // the topic is there, the leader is not, yet
			continue
		}
		if s.lost.IsZero() {
			s.lost = time.Now()
		}
		if !kerr.IsRetriable(err) || errors.Is(err, kerr.UnknownTopicOrPartition) && time.Since(s.lost) > patience {
			s.end(err)
		}
	}
	r.changed.Broadcast()
}

// serve starts the lanes of a broker. With r.mu held.
func (r *reader) serve(id int32) {
	if r.brokers[id] != nil {
		return
	}
	b := &brokerState{wait: shortest}
	r.brokers[id] = b
	r.wg.Go(func() { r.main(id, b) })
	r.wg.Go(func() { r.side(id, b) })
}

func (r *reader) main(id int32, b *brokerState) {
	var last time.Time
	for {
		if !r.waitReady(id) {
			return
		}
		if !r.rest(last) { // what becomes ready meanwhile comes along
			return
		}
		r.mu.Lock()
		f, left := r.pick(id)
		if f == nil {
			r.mu.Unlock()
			continue
		}
		switch left {
		case nobody:
			f.wait = longest
		case full:
			f.wait = b.wait
		case waiting:
			f.wait = shortest
		}
		if f.wait >= long {
			b.waits = time.Now()
			r.changed.Broadcast()
		}
		r.mu.Unlock()
		last = time.Now()
		resp, err := f.send(r.c.ctx, r.lanes[mainLane], id)
		r.mu.Lock()
		b.waits = time.Time{}
		b.wait = min(2*b.wait, time.Second) // who is full stays so, or nobody would have been left out
		if r.answer(f, resp, err) {
			b.wait = shortest
		}
		r.mu.Unlock()
		if err != nil && !r.recover(r.lanes[mainLane]) {
			return
		}
	}
}

// rest waits for the end of the pause after a fetch.
func (r *reader) rest(last time.Time) bool {
	timer := time.NewTimer(r.pause - time.Since(last))
	defer timer.Stop()
	var hurry <-chan struct{}
	if r.pause > hurriedPause {
		hurry = r.c.hurrying()
	}
	select {
	case <-timer.C:
		return true
	case <-hurry:
		return sleep(r.c.ctx, hurriedPause-time.Since(last))
	case <-r.c.ctx.Done():
		return false
	}
}

// side reads what becomes ready while the main lane waits.
func (r *reader) side(id int32, b *brokerState) {
	var last time.Time
	for {
		r.mu.Lock()
		for !r.closed && (b.waits.IsZero() || !r.ready(id)) {
			r.changed.Wait()
		}
		closed := r.closed
		r.mu.Unlock()
		if closed || !sleep(r.c.ctx, time.Millisecond) || !r.rest(last) {
			return
		}
		r.mu.Lock()
		var f *fetch
		if !b.waits.IsZero() {
			f, _ = r.pick(id)
		}
		r.mu.Unlock()
		if f == nil {
			continue
		}
		f.wait = long
		last = time.Now()
		resp, err := f.send(r.c.ctx, r.lanes[sideLane], id)
		r.mu.Lock()
		r.answer(f, resp, err)
		r.mu.Unlock()
		if err != nil && !r.recover(r.lanes[sideLane]) {
			return
		}
	}
}

// recover waits a moment after a broker was lost, and learns the addresses again.
func (r *reader) recover(k *kgo.Client) bool {
	if !sleep(r.c.ctx, 50*time.Millisecond) {
		return false
	}
	ctx, cancel := context.WithTimeout(r.c.ctx, time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none
	_, _ = req.RequestWith(ctx, k)
	return r.c.ctx.Err() == nil
}

func (r *reader) waitReady(id int32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed && !r.ready(id) {
		r.changed.Wait()
	}
	return !r.closed
}

func (r *reader) ready(id int32) bool {
	for s := range r.subs {
		if s.leader == id && s.ready() {
			return true
		}
	}
	return false
}

// fetch is a request and who gets its answer.
type fetch struct {
	wait time.Duration
	who  map[at][]*subscription // of each partition those that are at the same offset
}

// leftOut says who is not part of a fetch, which decides how long it may wait.
type leftOut int

const (
	nobody  leftOut = iota
	full            // those that have no room
	waiting         // those that have: the other lane reads them, or the same partition elsewhere
)

// pick takes of each partition the readers that were served longest ago and are
// at the same offset. With r.mu held.
func (r *reader) pick(id int32) (f *fetch, left leftOut) {
	first := map[at]*subscription{}
	for s := range r.subs {
		if s.leader == id && s.ready() && (first[s.at] == nil || s.served < first[s.at].served) {
			first[s.at] = s
		}
	}
	if len(first) == 0 {
		return nil, nobody
	}
	r.turn++
	f = &fetch{who: map[at][]*subscription{}}
	for s := range r.subs {
		if s.leader != id || s.paused {
			continue
		}
		switch {
		case s.ready() && s.next == first[s.at].next:
			f.who[s.at] = append(f.who[s.at], s)
		case s.ready() || s.flying:
			left = waiting
		default:
			left = max(left, full)
		}
	}
	for _, some := range f.who {
		for _, s := range some {
			s.flying, s.served = true, r.turn
		}
	}
	return f, left
}

func (f *fetch) send(ctx context.Context, k *kgo.Client, id int32) (*kmsg.FetchResponse, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(f.wait.Milliseconds())
	req.MinBytes = 1
	req.MaxBytes = fetchBytes
	req.IsolationLevel = 1 // committed
	req.SessionEpoch = -1
	topics := map[string]int{}
	for p, some := range f.who { // in any order, as the first ones get the bytes
		i, ok := topics[p.topic]
		if !ok {
			t := kmsg.NewFetchRequestTopic()
			t.Topic = p.topic
			i = len(req.Topics)
			topics[p.topic] = i
			req.Topics = append(req.Topics, t)
		}
		one := kmsg.NewFetchRequestTopicPartition()
		one.Partition, one.FetchOffset = p.partition, some[0].next
		one.CurrentLeaderEpoch, one.LastFetchedEpoch, one.LogStartOffset = -1, -1, -1
		one.PartitionMaxBytes = some[0].size
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, one)
	}
	ctx, cancel := context.WithTimeout(ctx, f.wait+patience)
	defer cancel()
	resp, err := k.Broker(int(id)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := resp.(*kmsg.FetchResponse)
	return answer, kerr.ErrorForCode(answer.ErrorCode)
}

// answer hands out what a fetch brought, and reports whether it was something.
// With r.mu held.
func (r *reader) answer(f *fetch, resp *kmsg.FetchResponse, err error) (some bool) {
	defer r.changed.Broadcast()
	for _, subs := range f.who {
		for _, s := range subs {
			s.flying = false
		}
	}
	if err != nil {
		for _, subs := range f.who {
			for _, s := range subs {
				s.leader = -1
			}
		}
		return true
	}
	total := 0
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			total += len(resp.Topics[i].Partitions[j].RecordBatches)
		}
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			here := at{t.Topic, p.Partition}
			subs := f.who[here]
			delete(f.who, here)
			if p.ErrorCode != 0 {
				some = true
				for _, s := range subs {
					s.refused(kerr.ErrorForCode(p.ErrorCode))
				}
				continue
			}
			for _, s := range subs {
				s.high.Store(p.HighWatermark)
			}
			if len(p.RecordBatches) == 0 || len(subs) == 0 {
				continue
			}
			some = true
			raw := p.RecordBatches
			if len(raw) < total/2 {
				raw = slices.Clone(raw) // or who is slow keeps all of the answer
			}
			c := chunk{raw: raw, aborted: aborted(p.AbortedTransactions)}
			next := c.next()
			for _, s := range subs {
				s.take(c, next)
			}
		}
	}
	for _, subs := range f.who { // of which the answer says nothing
		for _, s := range subs {
			s.leader = -1
		}
	}
	return some
}

// chunk is what one fetch brought of one partition.
type chunk struct {
	from    int64 // records before are not wanted
	raw     []byte
	aborted map[int64][]int64 // first offsets of aborted transactions, by producer
}

func aborted(all []kmsg.FetchResponseTopicPartitionAbortedTransaction) map[int64][]int64 {
	m := map[int64][]int64{}
	for _, a := range all {
		m[a.ProducerID] = append(m[a.ProducerID], a.FirstOffset)
	}
	for _, offsets := range m {
		slices.Sort(offsets)
	}
	return m
}

// next returns the offset behind the whole batches of a chunk, -1 without any.
func (c chunk) next() int64 {
	next := int64(-1)
	for b, rest := cut(c.raw); b != nil; b, rest = cut(rest) {
		next = b.last() + 1
	}
	return next
}

// batch is a whole batch of records as it lies in the log.
type batch []byte

// cut takes the first batch off, nil when there is no whole one.
func cut(raw []byte) (first batch, rest []byte) {
	if len(raw) < 17 {
		return nil, nil
	}
	n := int64(int32(binary.BigEndian.Uint32(raw[8:]))) + 12
	if n < 17 || n > int64(len(raw)) || raw[16] == 2 && n < 61 {
		return nil, nil
	}
	return batch(raw[:n]), raw[n:]
}

func (b batch) first() int64 { return int64(binary.BigEndian.Uint64(b)) }

// old batches, of before Kafka 0.11, have the offset of their last message, and
// no producer.
func (b batch) old() bool { return b[16] < 2 }

func (b batch) last() int64 {
	if b.old() {
		return b.first()
	}
	return b.first() + int64(int32(binary.BigEndian.Uint32(b[23:])))
}

func (b batch) control() bool       { return !b.old() && b[22]&0b10_0000 != 0 }
func (b batch) compressed() bool    { return !b.old() && b[22]&0b111 != 0 }
func (b batch) transactional() bool { return !b.old() && b[22]&0b1_0000 != 0 }
func (b batch) producer() int64     { return int64(binary.BigEndian.Uint64(b[43:])) }

// readable reports whether a batch holds records of those that count. The batches
// of a chunk are asked about in order.
func (b batch) readable(aborted map[int64][]int64) bool {
	if b.old() {
		return true
	}
	first := aborted[b.producer()]
	if b.control() {
		if len(first) > 0 && first[0] < b.first() {
			aborted[b.producer()] = first[1:] // here that transaction ends
		}
		return false
	}
	return !b.transactional() || len(first) == 0 || first[0] > b.first()
}

// translate returns what sarama's users look for.
func translate(err error) error {
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return sarama.ErrOffsetOutOfRange
	}
	return err
}

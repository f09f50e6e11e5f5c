package audit

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A partition that has so many records waiting is not asked for more until it
// has only a quarter of them left: this bounds the memory of the merge.
const ahead = 2000

// idle is after how long without a record a partition is taken for read whose
// end is never seen: its last records are compacted or aborted.
const idle = 3 * time.Second

// reader reads all topics and merges their partitions by the time of the
// records, as far as they are known to end.
type reader struct {
	cl    *kgo.Client
	index map[string]stream
	parts map[partition]*part
	ready queue // parts with a record waiting
	need  int   // parts that are not at their end and have none waiting
}

type part struct {
	partition
	topic  string
	buf    []*kgo.Record
	next   int64 // offset after the last one that has come
	end    int64 // read at least so far
	data   int64 // offset of the last record that is no marker
	holes  bool  // records are missing: compacted, or aborted
	paused bool
	idle   bool      // its end does not come
	since  time.Time // when its last record came
}

func (p *part) done() bool { return p.next >= p.end || p.idle }

func (p *part) needed() bool { return len(p.buf) == 0 && !p.done() }

func newReader(brokers []string, topics [streams]string, starts, ends map[partition]int64, opts ...kgo.Opt) (*reader, error) {
	rd := &reader{index: map[string]stream{}, parts: map[partition]*part{}}
	for s, name := range topics {
		rd.index[name] = stream(s)
	}
	from := map[string]map[int32]kgo.Offset{}
	for tp, end := range ends {
		topic := topics[tp.stream]
		if from[topic] == nil {
			from[topic] = map[int32]kgo.Offset{}
		}
		from[topic][tp.number] = kgo.NewOffset().At(starts[tp])
		p := &part{partition: tp, topic: topic, next: starts[tp], end: end, data: -1}
		rd.parts[tp] = p
		if !p.done() {
			rd.need++
		}
	}
	var err error
	rd.cl, err = kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...), kgo.ClientID("baedal-audit"), kgo.ConsumePartitions(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(250*time.Millisecond),
		kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(512<<10))...)
	return rd, err
}

// extend makes the reader read on, to newer ends.
func (rd *reader) extend(ends map[partition]int64) {
	for tp, end := range ends {
		if p := rd.parts[tp]; p != nil && end > p.end {
			rd.change(p, func() { p.end, p.idle, p.since = end, false, time.Now() })
		}
	}
}

// change keeps count of the parts that are waited for.
func (rd *reader) change(p *part, f func()) {
	was := p.needed()
	f()
	switch is := p.needed(); {
	case is && !was:
		rd.need++
	case was && !is:
		rd.need--
	}
}

// read calls feed with the records up to the ends. It returns when all have
// been there or ctx is done.
func (rd *reader) read(ctx context.Context, feed func(*record)) error {
	for _, p := range rd.parts {
		p.since = time.Now()
	}
	for {
		for rd.need == 0 && rd.ready.Len() > 0 {
			rd.pop(feed)
		}
		if rd.need == 0 {
			return nil
		}
		poll, cancel := context.WithTimeout(ctx, idle/2)
		fetches := rd.cl.PollRecords(poll, 10_000)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) && !kerr.IsRetriable(e.Err) {
				return fmt.Errorf("reading %s/%d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		fetches.EachRecord(rd.push)
		rd.pause()
		for _, p := range rd.parts {
			if p.needed() && time.Since(p.since) > idle {
				rd.change(p, func() { p.idle = true })
			}
		}
		rd.resume()
	}
}

// push puts a record behind those of its partition.
func (rd *reader) push(r *kgo.Record) {
	p := rd.parts[partition{rd.index[r.Topic], r.Partition}]
	if p == nil || r.Offset < p.next {
		return
	}
	p.holes = p.holes || r.Offset > p.next
	p.since = time.Now()
	rd.change(p, func() {
		p.next = r.Offset + 1
		if r.Attrs.IsControl() {
			return
		}
		p.data = r.Offset
		if p.buf = append(p.buf, r); len(p.buf) == 1 {
			heap.Push(&rd.ready, p)
		}
	})
}

// pop feeds the oldest record.
func (rd *reader) pop(feed func(*record)) {
	p := rd.ready[0]
	r := p.buf[0]
	p.buf[0] = nil
	rd.change(p, func() {
		if p.buf = p.buf[1:]; len(p.buf) == 0 {
			p.buf, p.since = nil, time.Now()
		}
	})
	if len(p.buf) == 0 {
		heap.Pop(&rd.ready)
	} else {
		heap.Fix(&rd.ready, 0)
	}
	out := &record{where: where{p.stream, p.number, r.Offset}, at: r.Timestamp.UnixMilli(), key: string(r.Key), value: r.Value}
	for _, h := range r.Headers {
		if strings.HasPrefix(h.Key, headerPrefix) {
			if out.headers == nil {
				out.headers = map[string]string{}
			}
			out.headers[h.Key] = string(h.Value)
		}
	}
	feed(out)
}

// pause stops the partitions that are far ahead of others.
func (rd *reader) pause() {
	for _, p := range rd.parts {
		if !p.paused && len(p.buf) > ahead {
			p.paused = true
			rd.cl.PauseFetchPartitions(map[string][]int32{p.topic: {p.number}})
		}
	}
}

// resume lets those go on that have been waited for.
func (rd *reader) resume() {
	for _, p := range rd.parts {
		if p.paused && len(p.buf) <= ahead/4 {
			p.paused = false
			rd.cl.ResumeFetchPartitions(map[string][]int32{p.topic: {p.number}})
		}
	}
}

func (rd *reader) close() { rd.cl.Close() }

// queue is a heap of parts by the time of their oldest record.
type queue []*part

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i].buf[0].Timestamp, q[j].buf[0].Timestamp
	if !a.Equal(b) {
		return a.Before(b)
	}
	return q[i].stream < q[j].stream
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*part)) }
func (q *queue) Pop() any {
	old := *q
	p := old[len(old)-1]
	*q = old[:len(old)-1]
	return p
}

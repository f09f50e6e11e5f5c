package stream

import (
	"context"
	"fmt"
	"sync"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/failpoint"
)

// producer is goka's producer for one run of a group. Unlike goka's own it
// tells a table which of its changelog records are acknowledged, in order. At
// least once, all groups of a process share one client, so that what they send
// at the same time travels in one request.
type producer struct {
	client *client
	tables *tables
	table  string  // the changelog's topic
	outbox *outbox // nil where nothing is held back
	txn    *transaction
	beat   func() error   // says that nothing may be sent any more; nil: always
	broken func(error)    // is told of what the transaction lacks; nil without one
	flying sync.WaitGroup // records that are neither acknowledged nor lost
	close  sync.Once
}

// newProducer returns a producer on a client. With txn the client is its own.
func newProducer(client *client, tables *tables, table string, txn *transaction) *producer {
	p := &producer{client: client, tables: tables, table: table, txn: txn}
	if table != "" && txn == nil { // a transaction makes all of it known at once
		p.outbox = newOutbox(func(o output) *goka.Promise { return p.EmitWithHeaders(o.topic, o.key, o.data, o.headers) })
	}
	return p
}

// Emit implements goka.Producer.
func (p *producer) Emit(topic, key string, value []byte) *goka.Promise {
	return p.EmitWithHeaders(topic, key, value, nil)
}

// EmitWithHeaders implements goka.Producer. It blocks while the client's buffer
// is full: a slow broker slows the intake down.
func (p *producer) EmitWithHeaders(topic, key string, value []byte, headers goka.Headers) *goka.Promise {
	promise, finish := goka.NewPromiseWithFinisher()
	if p.beat != nil {
		if err := p.beat(); err != nil {
			p.lost(topic, key, err)
			p.breaks(err)
			return finish(nil, err)
		}
	}
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	r.Headers = recordHeaders(headers)
	var row rowSent
	if topic == p.table {
		failpoint.Hit(failpoint.RowKept, topic)
		row = p.row(key)
	}
	if p.txn != nil {
		p.txn.produced.Store(true)
	}
	p.flying.Add(1)
	p.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		defer p.flying.Done()
		if err != nil {
			err = fmt.Errorf("%s: %w", r.Topic, err)
			p.breaks(err)
		} else {
			p.client.acked.Add(1)
		}
		row.arrived(p, r.Offset, err)
		finish(nil, err)
	})
	return promise
}

// rowSent is what waits for a changelog record.
type rowSent struct {
	table  *table
	number uint64  // of the table's write
	parcel *parcel // outputs that wait for this row, or nil
}

// breaks says that a record is not sent. Goka does not see a message fail while
// the next one of its partition waits for a commit, and the commit waits for both.
func (p *producer) breaks(err error) {
	if p.broken != nil {
		p.broken(err)
	}
}

func (p *producer) row(key string) (s rowSent) {
	partition := Partition(key, p.tables.partitions())
	if s.table = p.tables.get(partition); s.table != nil {
		s.number = s.table.sent
		s.table.sent++
	}
	if p.outbox != nil {
		s.parcel = p.outbox.row(partition)
	}
	return s
}

func (s rowSent) arrived(p *producer, offset int64, err error) {
	if s.table != nil {
		if err != nil {
			s.table.Discard()
		} else {
			s.table.acknowledged(s.number, offset)
		}
	}
	if s.parcel != nil {
		p.outbox.written(s.parcel, err)
	}
}

// lost tells whoever waits for a record that it is not sent.
func (p *producer) lost(topic, key string, err error) {
	if topic == p.table {
		p.row(key).arrived(p, 0, err)
	}
}

// Close sends what is buffered and waits until all of it is acknowledged or lost.
func (p *producer) Close() error {
	p.close.Do(func() {
		if p.outbox != nil {
			p.outbox.close()
		}
		p.flying.Wait()
		if p.txn != nil {
			p.client.Close()
		}
	})
	return nil
}

func recordHeaders(headers goka.Headers) (all []kgo.RecordHeader) {
	for name, value := range headers {
		all = append(all, kgo.RecordHeader{Key: name, Value: value})
	}
	return all
}

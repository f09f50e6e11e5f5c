package stream

import (
	"context"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
)

// producer is goka's producer for one run of a group. Unlike goka's own it
// tells a table which of its changelog records are acknowledged, in order.
type producer struct {
	async  sarama.AsyncProducer
	tables *tables
	table  string  // the changelog's topic
	outbox *outbox // nil where nothing is held back
	wg     sync.WaitGroup
	close  sync.Once
}

// pending is what is done when a record is acknowledged or lost.
type pending struct {
	table  *table
	number uint64  // of the table's write
	parcel *parcel // outputs that wait for this row, or nil
	finish goka.PromiseFinisher
}

func newProducer(brokers []string, cfg *sarama.Config, tables *tables, table string) (*producer, error) {
	async, err := sarama.NewAsyncProducer(brokers, cfg)
	if err != nil {
		return nil, fmt.Errorf("starting a producer: %w", err)
	}
	p := &producer{async: async, tables: tables, table: table}
	if table != "" && cfg.Producer.Transaction.ID == "" { // a transaction makes all of it known at once
		p.outbox = newOutbox(func(o output) *goka.Promise { return p.EmitWithHeaders(o.topic, o.key, o.data, o.headers) })
	}
	p.wg.Go(func() {
		for m := range async.Successes() {
			a := m.Metadata.(*pending)
			if a.table != nil {
				a.table.acknowledged(a.number, m.Offset)
			}
			if a.parcel != nil {
				p.outbox.written(a.parcel, nil)
			}
			a.finish(m, nil)
		}
	})
	p.wg.Go(func() {
		for e := range async.Errors() {
			a, err := e.Msg.Metadata.(*pending), fmt.Errorf("%s: %w", e.Msg.Topic, e.Err)
			if a.table != nil {
				a.table.Discard()
			}
			if a.parcel != nil {
				p.outbox.written(a.parcel, err)
			}
			a.finish(nil, err)
		}
	})
	return p, nil
}

// Emit implements goka.Producer.
func (p *producer) Emit(topic, key string, value []byte) *goka.Promise {
	return p.EmitWithHeaders(topic, key, value, nil)
}

// EmitWithHeaders implements goka.Producer. It blocks while the producer's
// buffer is full: a slow broker slows the intake down.
func (p *producer) EmitWithHeaders(topic, key string, value []byte, headers goka.Headers) *goka.Promise {
	promise, finish := goka.NewPromiseWithFinisher()
	a := &pending{finish: finish}
	if topic == p.table {
		partition := Partition(key, p.tables.partitions())
		if a.table = p.tables.get(partition); a.table != nil {
			a.number = a.table.sent
			a.table.sent++
		}
		if p.outbox != nil {
			a.parcel = p.outbox.row(partition)
		}
	}
	m := &sarama.ProducerMessage{
		Topic:    topic,
		Key:      sarama.StringEncoder(key),
		Headers:  headers.ToSarama(),
		Metadata: a,
	}
	if value != nil {
		m.Value = sarama.ByteEncoder(value)
	}
	p.async.Input() <- m
	return promise
}

// Close sends what is buffered and waits until all of it is acknowledged or lost.
func (p *producer) Close() error {
	p.close.Do(func() {
		if p.outbox != nil {
			p.outbox.close()
		}
		p.async.AsyncClose()
	})
	p.wg.Wait()
	return nil
}

// Emitter sends messages from outside of a group. It is safe for concurrent use.
type Emitter struct{ p *producer }

// NewEmitter connects an emitter.
func NewEmitter(c Config) (*Emitter, error) {
	c = c.WithDefaults()
	p, err := newProducer(c.Brokers, c.Client(), newTables(), "")
	if err != nil {
		return nil, err
	}
	return &Emitter{p}, nil
}

// Emit sends m and blocks until it is acknowledged by all replicas, or ctx is
// done; then it is not known whether it arrived.
func Emit[M any](ctx context.Context, e *Emitter, t Topic[M], key string, m *M) error {
	data, err := t.Encode(m)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	e.p.Emit(t.Name(), key, data).Then(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s did not acknowledge in time: %w", t.Name(), context.Cause(ctx))
	}
}

// Close sends what is buffered.
func (e *Emitter) Close() error { return e.p.Close() }

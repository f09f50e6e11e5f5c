package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/stream"
	"baedal/topics"
)

// consumed knows how far the groups have come with the commands. Everything is asked for when
// somebody wants to know, and by one at a time.
type consumed struct {
	t    *topics.Catalog
	kgo  *kgo.Client
	adm  *kadm.Client
	ends goka.TopicManager
	one  chan struct{} // holds one while somebody asks
}

func newConsumed(t *topics.Catalog, cfg stream.Config) (*consumed, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID(cfg.ClientID), kgo.RetryTimeout(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("asking how far the groups have come: %w", err)
	}
	ends, err := cfg.TopicManagerBuilder()(cfg.Brokers)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &consumed{t: t, kgo: client, adm: kadm.NewClient(client), ends: ends, one: make(chan struct{}, 1)}, nil
}

func (c *consumed) Close() {
	_ = c.ends.Close()
	c.kgo.Close()
}

// step is a stream that a group reads on the way from a command to its verdict.
type step struct{ group, topic string }

// ways are the steps of each stream of commands. A rider who changes areas asks
// the one they leave, then the one they enter.
func (c *consumed) ways(of string) []step {
	orders, stores := step{topics.Orders, c.t.OrderCommands.Name()}, step{topics.Stock, c.t.StoreCommands.Name()}
	asked, told := step{topics.Dispatch, c.t.DispatchCommands.Name()}, step{topics.Riders, c.t.RiderEvents.Name()}
	riders := []step{{topics.Riders, c.t.RiderCommands.Name()}, asked, told, asked, told}
	switch of {
	case order.Stream:
		return []step{orders}
	case stock.Stream:
		return []step{stores}
	case rider.Stream:
		return riders
	}
	return append([]step{orders, stores}, riders...)
}

// Wait blocks until the groups have decided on all commands that are in a stream
// now, or in any of them where none is named, or ctx is done.
func (c *consumed) Wait(ctx context.Context, of string) error {
	select {
	case c.one <- struct{}{}:
		defer func() { <-c.one }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, s := range c.ways(of) {
		if err := c.step(ctx, s); err != nil {
			return fmt.Errorf("%s in %s: %w", s.group, s.topic, err)
		}
	}
	return nil
}

func (c *consumed) step(ctx context.Context, s step) error {
	ends, err := c.endsOf(ctx, s.topic)
	if err != nil {
		return err
	}
	for {
		done, err := c.reached(ctx, s, ends)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // between two questions
		}
	}
}

// endsOf returns where each partition ends, by what can be read. The manager takes
// no context, and waits for open transactions.
func (c *consumed) endsOf(ctx context.Context, topic string) ([]int64, error) {
	type answer struct {
		ends []int64
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		ends := make([]int64, c.t.Partitions)
		errs := make([]error, len(ends))
		var asking sync.WaitGroup
		for p := range ends {
			asking.Go(func() { ends[p], errs[p] = c.ends.GetOffset(topic, int32(p), sarama.OffsetNewest) })
		}
		asking.Wait()
		for _, err := range errs {
			if err != nil {
				got <- answer{err: err}
				return
			}
		}
		got <- answer{ends: ends}
	}()
	select {
	case a := <-got:
		return a.ends, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reached reports whether a group has committed all that is before the ends.
func (c *consumed) reached(ctx context.Context, s step, ends []int64) (bool, error) {
	at, err := c.adm.FetchOffsetsForTopics(ctx, c.t.Group(s.group), s.topic)
	if err == nil {
		err = at.Error()
	}
	if err != nil {
		return false, err
	}
	for p, end := range ends {
		here, ok := at.Lookup(s.topic, int32(p))
		if end > 0 && (!ok || here.At < end) {
			return false, nil
		}
	}
	return true, nil
}

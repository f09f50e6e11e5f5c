package views_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/lovoo/goka/tester"
	"github.com/stretchr/testify/require"

	"baedal/domain/order"
	"baedal/topics"
	"baedal/views"
)

// fixture is one view over goka's tester, which has one partition.
type fixture struct {
	*views.View[order.Order]
	tt    *tester.Tester
	table topics.Table[order.Order]
	stop  func()
}

func newFixture(t *testing.T, change func(*views.Options)) *fixture {
	t.Helper()
	tt := tester.New(t)
	table := topics.New("", 1).OrdersTable
	id := tt.RegisterView(goka.Table(table.Name()), table.JSON)
	opts := views.Options{
		Storage: tt.StorageBuilder(),
		SaramaConsumer: func(brokers []string, _ string) (sarama.Consumer, error) {
			return tt.ConsumerBuilder()(brokers, id)
		},
		TopicManager: tt.TopicManagerBuilder(),
		ProbeEvery:   5 * time.Millisecond,
		RetryMin:     time.Millisecond,
		RetryMax:     10 * time.Millisecond,
		Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&opts)
	}
	f := &fixture{View: views.NewView("orders", table, opts), tt: tt, table: table}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *fixture) put(id string, version int) {
	f.tt.Consume(f.table.Name(), id, &order.Order{ID: id, Status: order.Placed, Version: version})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, time.Millisecond, what)
}

func TestView_Get(t *testing.T) {
	f := newFixture(t, nil)
	f.put("o-1", 1)
	f.put("o-1", 2)

	row, err := f.Get("o-1")
	require.NoError(t, err)
	require.Equal(t, &order.Order{ID: "o-1", Status: order.Placed, Version: 2}, row)

	row, err = f.Get("o-2")
	require.NoError(t, err)
	require.Nil(t, row, "no row is no error")

	f.tt.Consume(f.table.Name(), "o-1", nil)
	row, err = f.Get("o-1")
	require.NoError(t, err)
	require.Nil(t, row, "a deleted row is gone")
}

func TestView_NotReady(t *testing.T) {
	t.Run("Before", func(t *testing.T) {
		recovering := make(chan struct{})
		f := newFixture(t, func(o *views.Options) {
			build := o.Storage
			o.Storage = func(topic string, p int32) (storage.Storage, error) {
				st, err := build(topic, p)
				return slowStorage{st, recovering}, err
			}
		})
		eventually(t, "the view has begun", func() bool { return f.Progress().Newest == 0 })
		_, err := f.Get("o-1")
		require.ErrorIs(t, err, views.ErrNotReady)
		require.ErrorIs(t, f.Each("", func(string, *order.Order) bool { return true }), views.ErrNotReady)
		_, err = f.Wait(t.Context(), "o-1", func(*order.Order) bool { return true })
		require.ErrorIs(t, err, views.ErrNotReady)
		require.False(t, f.Recovered())
		require.Equal(t, time.Duration(math.MaxInt64), f.Staleness())

		close(recovering)
		eventually(t, "the view has recovered", f.Recovered)
		_, err = f.Get("o-1")
		require.NoError(t, err)
	})
	t.Run("After", func(t *testing.T) {
		f := newFixture(t, nil)
		f.put("o-1", 1)
		f.stop()
		_, err := f.Get("o-1")
		require.ErrorIs(t, err, views.ErrNotReady)
		require.False(t, f.Recovered())
	})
}

// slowStorage does not recover before it may.
type slowStorage struct {
	storage.Storage
	may chan struct{}
}

func (s slowStorage) MarkRecovered() error {
	<-s.may
	return s.Storage.MarkRecovered()
}

func TestView_Wait(t *testing.T) {
	reached := func(version int) func(*order.Order) bool {
		return func(o *order.Order) bool { return o != nil && o.Version >= version }
	}
	t.Run("AlreadyThere", func(t *testing.T) {
		f := newFixture(t, nil)
		f.put("o-1", 3)
		row, err := f.Wait(t.Context(), "o-1", reached(2))
		require.NoError(t, err)
		require.Equal(t, 3, row.Version)
	})
	t.Run("WokenByTheChange", func(t *testing.T) {
		f := newFixture(t, nil)
		f.put("o-1", 1)
		const waiting = 20
		looked := make(chan struct{}, 1000)
		type result struct {
			version int
			err     error
		}
		results := make(chan result, waiting)
		for range waiting {
			go func() {
				row, err := f.Wait(t.Context(), "o-1", func(o *order.Order) bool {
					looked <- struct{}{}
					return reached(3)(o)
				})
				results <- result{row.Version, err}
			}()
		}
		for range waiting {
			<-looked
		}
		f.put("o-2", 9) // of no concern
		f.put("o-1", 2)
		f.put("o-1", 3)
		for range waiting {
			require.Equal(t, result{3, nil}, <-results)
		}
	})
	t.Run("TimeIsUp", func(t *testing.T) {
		f := newFixture(t, nil)
		f.put("o-1", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		row, err := f.Wait(ctx, "o-1", reached(2))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, row.Version, "the row as seen last comes with the error")
	})
	t.Run("NothingIsMissed", func(t *testing.T) {
		f := newFixture(t, nil)
		f.put("o-1", 0)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for version := 1; version <= 200; {
					row, err := f.Wait(t.Context(), "o-1", reached(version))
					if err != nil {
						t.Error(err)
						return
					}
					version = row.Version + 1
				}
			})
		}
		for version := 1; version <= 200; version++ {
			f.put("o-1", version)
		}
		wg.Wait()
	})
}

func TestView_Staleness(t *testing.T) {
	var newest atomic.Int64
	f := newFixture(t, func(o *views.Options) {
		build := o.TopicManager
		o.TopicManager = func(brokers []string) (goka.TopicManager, error) {
			tm, err := build(brokers)
			return aheadManager{tm, &newest}, err
		}
	})
	f.put("o-1", 1)
	eventually(t, "the view is known to be current", func() bool { return f.Staleness() < time.Second })
	p := f.Progress()
	require.Equal(t, "orders", p.View)
	require.True(t, p.Recovered)
	require.EqualValues(t, 1, p.Applied)
	require.Empty(t, p.Problem)

	newest.Store(2) // a record is in the table that the view does not get
	eventually(t, "the view knows that it lags", func() bool { return f.Progress().Newest == 2 })
	before := f.Staleness()
	time.Sleep(20 * time.Millisecond)
	require.GreaterOrEqual(t, f.Staleness(), before+20*time.Millisecond, "it grows with time while the view lags")

	f.put("o-1", 2) // it comes
	eventually(t, "the view is current again", func() bool { return f.Staleness() < before })
}

// aheadManager says that the topic has got more records than it has.
type aheadManager struct {
	goka.TopicManager
	newest *atomic.Int64
}

func (m aheadManager) GetOffset(topic string, p int32, which int64) (int64, error) {
	offset, err := m.TopicManager.GetOffset(topic, p, which)
	if which == sarama.OffsetNewest {
		offset = max(offset, m.newest.Load())
	}
	return offset, err
}

func TestView_Rebuild(t *testing.T) {
	var built atomic.Int32
	var fail atomic.Bool
	f := newFixture(t, func(o *views.Options) {
		build := o.Storage
		o.Storage = func(topic string, p int32) (storage.Storage, error) {
			if built.Add(1); fail.Load() {
				return nil, errors.New("the disk is full")
			}
			return build(topic, p)
		}
		o.TopicManager = failing(o.TopicManager, 2)
	})
	eventually(t, "the view comes up after two failures to connect", f.Recovered)
	require.EqualValues(t, 1, built.Load())
	require.Empty(t, f.Progress().Problem)

	fail.Store(true)
	g := newFixture(t, func(o *views.Options) {
		o.Storage = func(string, int32) (storage.Storage, error) {
			if fail.Load() {
				return nil, errors.New("the disk is full")
			}
			return storage.NewMemory(), nil
		}
	})
	eventually(t, "the failure is told", func() bool { return g.Progress().Problem != "" })
	require.Contains(t, g.Progress().Problem, "the disk is full")
	require.False(t, g.Recovered())
	fail.Store(false)
	eventually(t, "the view is rebuilt", g.Recovered)
	require.Empty(t, g.Progress().Problem)
}

// failing lets the first connections fail.
func failing(build goka.TopicManagerBuilder, times int32) goka.TopicManagerBuilder {
	var n atomic.Int32
	return func(brokers []string) (goka.TopicManager, error) {
		if n.Add(1) <= times {
			return nil, sarama.ErrOutOfBrokers
		}
		return build(brokers)
	}
}

// A copy that has read further than the topic goes is of another topic.
func TestView_TopicMadeAnew(t *testing.T) {
	f := newFixture(t, func(o *views.Options) {
		o.Storage = func(string, int32) (storage.Storage, error) {
			st := storage.NewMemory()
			return st, st.SetOffset(41)
		}
	})
	eventually(t, "it is told", func() bool { return f.Progress().Problem != "" })
	require.Contains(t, f.Progress().Problem, "delete the local copy")
}

func TestView_Each(t *testing.T) {
	const partitions = 5
	table := topics.New("", partitions).OrdersTable
	stores := make([]storage.Storage, partitions)
	for i := range stores {
		stores[i] = storage.NewMemory()
	}
	want := map[string]bool{}
	for i := range 40 {
		id := fmt.Sprintf("주문-%02d", i)
		want[id] = true
		data, err := table.Encode(&order.Order{ID: id, Status: order.Placed, Version: 1})
		require.NoError(t, err)
		h := fnv.New32a()
		h.Write([]byte(id))
		p := int32(h.Sum32()) % partitions
		require.NoError(t, stores[max(p, -p)].Set(id, data))
	}
	v := views.NewView("orders", table, views.Options{
		Storage:        func(_ string, p int32) (storage.Storage, error) { return stores[p], nil },
		SaramaConsumer: func([]string, string) (sarama.Consumer, error) { return quietConsumer{}, nil },
		TopicManager:   func([]string) (goka.TopicManager, error) { return emptyTopic{partitions: partitions}, nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- v.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-done) }()
	eventually(t, "the view has recovered", v.Recovered)

	for id := range want {
		row, err := v.Get(id)
		require.NoError(t, err)
		require.NotNil(t, row, id)
		require.Equal(t, id, row.ID)
	}

	var got []string
	for from, pages := "", 0; ; pages++ {
		require.Less(t, pages, 40, "paging ends")
		n := 0
		require.NoError(t, v.Each(from, func(key string, row *order.Order) bool {
			require.Equal(t, key, row.ID)
			if n++; n > 7 {
				return false
			}
			got = append(got, key)
			from = key + "\x00"
			return true
		}))
		if n <= 7 {
			break
		}
	}
	require.Len(t, got, len(want))
	require.IsIncreasing(t, got)
}

// emptyTopic is a topic without records.
type emptyTopic struct {
	goka.TopicManager
	partitions int
}

func (e emptyTopic) Partitions(string) (ps []int32, err error) {
	for p := range e.partitions {
		ps = append(ps, int32(p))
	}
	return ps, nil
}
func (emptyTopic) GetOffset(string, int32, int64) (int64, error) { return 0, nil }
func (emptyTopic) Close() error                                  { return nil }

// quietConsumer never gets a record.
type quietConsumer struct{ sarama.Consumer }

func (quietConsumer) ConsumePartition(string, int32, int64) (sarama.PartitionConsumer, error) {
	return quietPartition{done: make(chan *sarama.ConsumerMessage), errs: make(chan *sarama.ConsumerError)}, nil
}
func (quietConsumer) Close() error { return nil }

type quietPartition struct {
	sarama.PartitionConsumer
	done chan *sarama.ConsumerMessage
	errs chan *sarama.ConsumerError
}

func (p quietPartition) Messages() <-chan *sarama.ConsumerMessage { return p.done }
func (p quietPartition) Errors() <-chan *sarama.ConsumerError     { return p.errs }
func (p quietPartition) AsyncClose()                              { close(p.done); close(p.errs) }

// Readers and a view that ends over and over do not harm one another.
func TestView_ReadersWhileItEnds(t *testing.T) {
	table := topics.New("", 2).OrdersTable
	v := views.NewView("orders", table, views.Options{
		Storage:        func(string, int32) (storage.Storage, error) { return storage.NewMemory(), nil },
		SaramaConsumer: func([]string, string) (sarama.Consumer, error) { return quietConsumer{}, nil },
		TopicManager:   func([]string) (goka.TopicManager, error) { return emptyTopic{partitions: 2}, nil },
		ProbeEvery:     time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	var read atomic.Int64
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := v.Get("o-1"); err == nil {
					read.Add(1)
				} else if !errors.Is(err, views.ErrNotReady) {
					t.Error(err)
				}
				_ = v.Each("", func(string, *order.Order) bool { return true })
				_, _ = v.Staleness(), v.Progress()
			}
		})
	}
	for range 30 {
		once, stop := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- v.Run(once) }()
		seen := read.Load()
		eventually(t, "rows were read", func() bool { return read.Load() > seen })
		stop()
		require.NoError(t, <-done)
	}
	cancel()
	readers.Wait()
}

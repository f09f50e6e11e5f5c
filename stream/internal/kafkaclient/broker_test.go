package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
)

const patient = 30 * time.Second

// soon is far less than the longest wait of a fetch.
const soon = 2 * time.Second

type world struct {
	t      *testing.T
	c      *Client
	b      kafkatest.Broker
	topics []string
	prefix string
	k      *kgo.Client
}

func each(t *testing.T, topics, partitions int, f func(*testing.T, *world)) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := &world{t: t, b: b, prefix: b.Prefix(t), k: b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))}
		for i := range topics {
			w.topics = append(w.topics, fmt.Sprintf("%st%d", w.prefix, i))
		}
		_, err := kadm.NewClient(w.k).CreateTopics(t.Context(), int32(partitions), 1, nil, w.topics...)
		require.NoError(t, err)
		w.c = w.client()
		f(t, w)
	})
}

func (w *world) client() *Client {
	c, err := New(Options{Brokers: []string{w.b.Addr}, Logger: kafkatest.Logger(w.t)})
	require.NoError(w.t, err)
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) put(topic string, partition int32, values ...string) {
	w.t.Helper()
	for _, v := range values {
		require.NoError(w.t, w.k.ProduceSync(w.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}).FirstErr())
	}
}

func numbers(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// got reads n records, each within a time.
func (w *world) got(c sarama.PartitionConsumer, n int, within time.Duration) (all []string) {
	w.t.Helper()
	for range n {
		select {
		case m := <-c.Messages():
			require.NotNil(w.t, m, "the consumer ended")
			all = append(all, string(m.Value))
		case <-time.After(within):
			require.FailNow(w.t, "a record does not come", "after %v", all)
		}
	}
	return all
}

func (w *world) consume(c sarama.Consumer, topic string, partition int32, offset int64) sarama.PartitionConsumer {
	w.t.Helper()
	p, err := c.ConsumePartition(topic, partition, offset)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = p.Close() })
	return p
}

// rest waits until a fetch of a reader waits long for records.
func (w *world) rest(pause time.Duration) {
	w.t.Helper()
	r, err := w.c.reader(pause)
	require.NoError(w.t, err)
	require.Eventually(w.t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for id, b := range r.brokers {
			if b.waits.IsZero() || r.ready(id) {
				return false
			}
			for s := range r.subs {
				if !s.flying {
					return false
				}
			}
		}
		return len(r.brokers) > 0
	}, patient, time.Millisecond, "nothing comes any more")
}

// At rest, a fetch waits for seconds; what comes then, and who begins to read
// then, does not.
func TestReader_Rest(t *testing.T) {
	each(t, 2, 4, func(t *testing.T, w *world) {
		const pause = 2 * time.Millisecond
		one := w.c.Consumer(pause, func() {})
		var all []sarama.PartitionConsumer
		for p := range int32(4) {
			all = append(all, w.consume(one, w.topics[0], p, sarama.OffsetOldest))
		}
		w.put(w.topics[1], 3, "old")
		for i := range 3 {
			w.rest(pause)
			p := int32(i)
			w.put(w.topics[0], p, "new")
			require.Equal(t, []string{"new"}, w.got(all[p], 1, soon))
		}
		w.rest(pause)
		late := w.consume(w.c.Consumer(pause, func() {}), w.topics[1], 3, sarama.OffsetOldest)
		require.Equal(t, []string{"old"}, w.got(late, 1, soon))
		w.rest(pause)
		w.put(w.topics[1], 3, "new")
		require.Equal(t, []string{"new"}, w.got(late, 1, soon))

		require.NoError(t, late.Close())
		w.rest(pause)
		w.put(w.topics[0], 1, "newer")
		require.Equal(t, []string{"newer"}, w.got(all[1], 1, soon))
		require.EqualValues(t, 2, all[1].HighWaterMarkOffset())
		require.EqualValues(t, 2, one.HighWaterMarks()[w.topics[0]][1])
	})
}

// Who does not take its records holds up nobody else, and loses none.
func TestReader_Slow(t *testing.T) {
	each(t, 1, 2, func(t *testing.T, w *world) {
		const n = 3000
		var records []*kgo.Record
		for i := range n {
			records = append(records, &kgo.Record{Topic: w.topics[0], Partition: 0, Key: []byte(fmt.Sprint(i)), Value: make([]byte, 1000)})
		}
		require.NoError(t, w.k.ProduceSync(t.Context(), records...).FirstErr())
		c := w.c.Consumer(time.Millisecond, func() {})
		slow := w.consume(c, w.topics[0], 0, sarama.OffsetOldest)
		quick := w.consume(c, w.topics[0], 1, sarama.OffsetOldest)
		for i := range 20 {
			w.put(w.topics[0], 1, fmt.Sprint(i))
			require.Equal(t, []string{fmt.Sprint(i)}, w.got(quick, 1, soon))
		}
		for i := range n {
			m := <-slow.Messages()
			require.EqualValues(t, i, m.Offset)
			require.Equal(t, fmt.Sprint(i), string(m.Key))
		}
	})
}

// Several read the same partition, each at its own place.
func TestReader_SamePartition(t *testing.T) {
	each(t, 1, 1, func(t *testing.T, w *world) {
		const pause = time.Millisecond
		w.put(w.topics[0], 0, numbers(0, 50)...)
		var all []sarama.PartitionConsumer
		for _, from := range []int64{sarama.OffsetOldest, 0, 20, 49, sarama.OffsetNewest} {
			all = append(all, w.consume(w.c.Consumer(pause, func() {}), w.topics[0], 0, from))
		}
		for i, from := range []int{0, 0, 20, 49, 50} {
			require.Equal(t, numbers(from, 50), w.got(all[i], 50-from, soon))
		}
		w.rest(pause)
		w.put(w.topics[0], 0, numbers(50, 60)...)
		for _, c := range all {
			require.Equal(t, numbers(50, 60), w.got(c, 10, soon))
		}
		_, err := w.c.Consumer(pause, func() {}).ConsumePartition(w.topics[0], 0, 61)
		require.ErrorIs(t, err, sarama.ErrOffsetOutOfRange)
	})
}

// Of transactions, what is committed comes, at once, and nothing else; and the
// newest offset is the one behind the last record that comes.
func TestReader_Transactions(t *testing.T) {
	each(t, 1, 1, func(t *testing.T, w *world) {
		const pause = time.Millisecond
		c := w.consume(w.c.Consumer(pause, func() {}), w.topics[0], 0, sarama.OffsetOldest)
		m := w.c.Manager(func() {})
		newest := func() int64 {
			offset, err := m.GetOffset(w.topics[0], 0, sarama.OffsetNewest)
			require.NoError(t, err)
			return offset
		}
		require.Zero(t, newest())
		txn := w.b.Client(t, kgo.TransactionalID(w.prefix+"t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		next := int64(0) // the offset of what is written next
		for i := range 8 {
			commit := i%3 != 1
			before := newest()
			require.NoError(t, txn.BeginTransaction())
			value := fmt.Sprintf("%d %v", i, commit)
			require.NoError(t, txn.ProduceSync(t.Context(), &kgo.Record{Topic: w.topics[0], Value: []byte(value)}).FirstErr())
			asked := make(chan int64, 1)
			go func() { offset, _ := m.GetOffset(w.topics[0], 0, sarama.OffsetNewest); asked <- offset }()
			w.rest(pause)
			select {
			case <-c.Messages():
				require.FailNow(t, "what is not committed was read")
			case offset := <-asked:
				require.FailNow(t, "the end of an open transaction is not known", "%d", offset)
			default:
			}
			require.NoError(t, txn.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)))
			if commit {
				require.Equal(t, []string{value}, w.got(c, 1, soon))
				before = next + 1
			}
			next += 2
			require.Equal(t, before, <-asked)
			require.Equal(t, before, newest())
		}
		fresh := w.consume(w.client().Consumer(pause, func() {}), w.topics[0], 0, sarama.OffsetOldest)
		require.Equal(t, []string{"0 true", "2 true", "3 true", "5 true", "6 true"}, w.got(fresh, 5, soon))
	})
}

// A question to many partitions at the same time is one request, and what can't be
// answered says so.
func TestManager(t *testing.T) {
	each(t, 2, 4, func(t *testing.T, w *world) {
		closed := false
		m := w.c.Manager(func() { closed = true })
		all, err := m.Partitions(w.topics[0])
		require.NoError(t, err)
		require.Equal(t, []int32{0, 1, 2, 3}, all)
		_, err = m.Partitions(w.prefix + "none")
		require.Error(t, err)
		require.Error(t, m.EnsureTableExists(w.prefix+"none", 4))
		_, err = m.Partitions(w.prefix + "none")
		require.Error(t, err, "nothing is created")
		require.NoError(t, m.EnsureStreamExists(w.topics[1], 4))

		w.put(w.topics[0], 2, "a", "b", "c")
		var wg sync.WaitGroup
		for _, topic := range w.topics {
			for p := range int32(4) {
				wg.Go(func() {
					want := int64(0)
					if topic == w.topics[0] && p == 2 {
						want = 3
					}
					for which, want := range map[int64]int64{sarama.OffsetNewest: want, sarama.OffsetOldest: 0} {
						offset, err := m.GetOffset(topic, p, which)
						if err != nil || offset != want {
							t.Errorf("%s/%d: %d: %d instead of %d, %v", topic, p, which, offset, want, err)
						}
					}
				})
			}
		}
		wg.Wait()
		require.NoError(t, m.Close())
		require.NoError(t, m.Close())
		require.True(t, closed)
	})
}

// member is one who consumes a group until it is stopped.
type member struct {
	sarama.ConsumerGroup
	stop func()

	mu       sync.Mutex
	claims   []int32
	sessions int
	seen     []string
	setup    func(sarama.ConsumerGroupSession)
	initial  map[int32]int64
	metadata string
	err      error // why it ended by itself
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	if m.setup != nil {
		m.setup(s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions++
	m.initial = map[int32]int64{}
	m.claims = nil
	for _, partitions := range s.Claims() {
		m.claims = partitions
	}
	return nil
}

func (m *member) Cleanup(s sarama.ConsumerGroupSession) error {
	s.Commit()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims = nil
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	m.mu.Lock()
	m.initial[c.Partition()] = c.InitialOffset()
	m.mu.Unlock()
	for r := range c.Messages() {
		m.mu.Lock()
		m.seen = append(m.seen, string(r.Value))
		m.mu.Unlock()
		s.MarkMessage(r, m.metadata)
		s.Commit()
	}
	return nil
}

func (m *member) owns() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.claims)
}

func (m *member) saw() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.seen))
}

func (w *world) settings(instance string) *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	cfg.Consumer.Return.Errors = true
	cfg.Consumer.Group.InstanceId = instance
	cfg.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{goka.StrictCopartitioningStrategy}
	return cfg
}

func (w *world) join(g sarama.ConsumerGroup, m *member) *member {
	m.ConsumerGroup = g
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, w.topics, m); err != nil && ctx.Err() == nil {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.err = err
				return
			}
		}
	}()
	m.stop = sync.OnceFunc(func() { cancel(); <-done; _ = g.Close() })
	w.t.Cleanup(m.stop)
	return m
}

func (w *world) ours(instance string, m *member) *member {
	g, err := w.c.Group(w.prefix+"g", w.settings(instance), time.Millisecond, func() {})
	require.NoError(w.t, err)
	return w.join(g, m)
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	require.Eventually(w.t, ok, patient, 5*time.Millisecond, what)
}

// One of ours and one of sarama's share a group, whoever leads it, and nothing is
// lost or read twice when they come and go.
func TestGroup_WithSarama(t *testing.T) {
	for _, first := range []string{"ours", "sarama's"} {
		t.Run(first+" first", func(t *testing.T) {
			each(t, 1, 4, func(t *testing.T, w *world) {
				theirs := func() *member {
					g, err := sarama.NewConsumerGroup([]string{w.b.Addr}, w.prefix+"g", w.settings(""))
					require.NoError(t, err)
					return w.join(g, &member{})
				}
				ours := func() *member { return w.ours("", &member{}) }
				begin := []func() *member{ours, theirs}
				if first != "ours" {
					slices.Reverse(begin)
				}
				a := begin[0]()
				w.eventually("the first has all", func() bool { return slices.Equal(a.owns(), []int32{0, 1, 2, 3}) })
				b := begin[1]()
				w.eventually("they share", func() bool { return len(a.owns()) == 2 && len(b.owns()) == 2 })
				for p := range int32(4) {
					w.put(w.topics[0], p, fmt.Sprintf("shared %d", p))
				}
				w.eventually("all is read", func() bool { return len(a.saw())+len(b.saw()) == 4 })
				require.Len(t, a.saw(), 2)
				a.stop()
				w.eventually("the other takes over", func() bool { return slices.Equal(b.owns(), []int32{0, 1, 2, 3}) })
				for p := range int32(4) {
					w.put(w.topics[0], p, fmt.Sprintf("alone %d", p))
				}
				w.eventually("all is read", func() bool { return len(a.saw())+len(b.saw()) == 8 })
			})
		})
	}
}

// A member with an id of its own has its partitions back at once, the one before
// is fenced, and what is committed is there with its metadata.
func TestGroup_Static(t *testing.T) {
	each(t, 1, 2, func(t *testing.T, w *world) {
		a := w.ours("i", &member{metadata: "about it"})
		w.put(w.topics[0], 0, numbers(0, 3)...)
		w.eventually("all is read", func() bool { return len(a.saw()) == 3 })
		require.Equal(t, int64(sarama.OffsetOldest), a.initial[0])
		a.stop()
		offsets, err := kadm.NewClient(w.k).FetchOffsets(t.Context(), w.prefix+"g")
		require.NoError(t, err)
		o, ok := offsets.Lookup(w.topics[0], 0)
		require.True(t, ok)
		require.EqualValues(t, 3, o.At)
		require.Equal(t, "about it", o.Metadata)

		b := w.ours("i", &member{setup: func(s sarama.ConsumerGroupSession) { s.ResetOffset(w.topics[0], 0, 1, "") }})
		began := time.Now()
		w.eventually("it reads from where it was told", func() bool { return len(b.saw()) == 2 })
		require.Less(t, time.Since(began), 5*time.Second, "it does not wait for the session of the one before")
		require.Equal(t, []string{"1", "2"}, b.saw())
		require.EqualValues(t, 1, b.initial[0])

		g, err := w.c.Group(w.prefix+"g", w.settings("i"), time.Millisecond, func() {})
		require.NoError(t, err)
		c := w.join(g, &member{})
		w.eventually("the newer one has them", func() bool { return len(c.owns()) == 2 })
		w.eventually("the older one is fenced", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return errors.Is(b.err, kerr.FencedInstanceID)
		})
		require.NoError(t, c.err)
	})
}

// Offsets that are gone are begun anew with the oldest.
func TestGroup_OffsetGone(t *testing.T) {
	each(t, 1, 1, func(t *testing.T, w *world) {
		a := w.ours("", &member{})
		w.put(w.topics[0], 0, numbers(0, 4)...)
		w.eventually("all is read", func() bool { return len(a.saw()) == 4 })
		a.stop()
		w.put(w.topics[0], 0, numbers(4, 9)...)
		var gone kadm.Offsets
		gone.Add(kadm.Offset{Topic: w.topics[0], Partition: 0, At: 7})
		_, err := kadm.NewClient(w.k).DeleteRecords(t.Context(), gone)
		require.NoError(t, err)
		b := w.ours("", &member{})
		w.eventually("what is there is read", func() bool { return slices.Equal(b.saw(), []string{"7", "8"}) })
	})
}

// Who is in a hurry is not held up by the pause between two fetches, also where it
// has begun before.
func TestHurry(t *testing.T) {
	each(t, 1, 1, func(t *testing.T, w *world) {
		c := w.c.Consumer(time.Hour, func() {})
		p := w.consume(c, w.topics[0], 0, sarama.OffsetOldest)
		w.put(w.topics[0], 0, "first")
		require.Equal(t, []string{"first"}, w.got(p, 1, patient))
		w.put(w.topics[0], 0, "second")
		select {
		case <-p.Messages():
			require.FailNow(t, "there is a pause")
		case <-time.After(200 * time.Millisecond):
		}
		calm := w.c.Hurry()
		require.Equal(t, []string{"second"}, w.got(p, 1, soon))
		other := w.c.Hurry()
		calm()
		calm()
		w.put(w.topics[0], 0, "third")
		require.Equal(t, []string{"third"}, w.got(p, 1, soon))
		other()
	})
}

package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
)

const patience = 60 * time.Second

// world is the counting group on a broker, seen from outside.
type world struct {
	catalog
	t      *testing.T
	b      kafkatest.Broker
	prefix string
	client *kgo.Client // puts records where it is told to

	mu     sync.Mutex
	table  map[string]count
	totals map[string][]int
	dead   []*kgo.Record
}

// each runs f on each kind of broker.
func each(t *testing.T, f func(*testing.T, *world)) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) { f(t, newWorld(t, b)) })
}

func newWorld(t *testing.T, b kafkatest.Broker) *world {
	prefix := b.Prefix(t)
	w := &world{catalog: newCatalog(prefix), t: t, b: b, prefix: prefix, table: map[string]count{}, totals: map[string][]int{}}
	_, err := broker.CreateTopics([]string{b.Addr}, w.config().WithDefaults().Client(), w.specs(), 1)
	require.NoError(t, err)
	w.client = b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	reader := b.Client(t, kgo.ConsumeTopics(w.catalog.table.Name(), w.catalog.totals.Name(), w.deadLetters.Name()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			reader.PollFetches(ctx).EachRecord(w.see)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return w
}

func (w *world) see(r *kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := string(r.Key)
	switch r.Topic {
	case w.catalog.table.Name():
		var c count
		if err := json.Unmarshal(r.Value, &c); err != nil {
			w.t.Errorf("a row of %q: %v", key, err)
		}
		w.table[key] = c
	case w.catalog.totals.Name():
		var n total
		_ = json.Unmarshal(r.Value, &n)
		w.totals[key] = append(w.totals[key], n.N)
	default:
		w.dead = append(w.dead, r)
	}
}

func (w *world) row(key string) count {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.table[key]
}

func (w *world) config() stream.Config {
	return stream.Config{Brokers: []string{w.b.Addr}, Partitions: partitions, Logger: kafkatest.Logger(w.t), CommitInterval: 20 * time.Millisecond}
}

// put writes hits, each with a key and a partition.
func (w *world) put(records ...*kgo.Record) {
	w.t.Helper()
	for _, r := range records {
		r.Topic = w.hits.Name()
	}
	require.NoError(w.t, w.client.ProduceSync(w.t.Context(), records...).FirstErr())
}

func record(key string, partition int32, value string) *kgo.Record {
	return &kgo.Record{Key: []byte(key), Partition: partition, Value: []byte(value)}
}

// right puts hits where they belong: seq from to to for each of keys.
func (w *world) right(keys []string, from, to int) {
	w.t.Helper()
	var all []*kgo.Record
	for seq := from; seq < to; seq++ {
		for _, key := range keys {
			all = append(all, record(key, stream.Partition(key, partitions), fmt.Sprintf(`{"seq":%d}`, seq)))
		}
	}
	w.put(all...)
}

// engine is a process that runs the group.
type engine struct {
	*stream.Engine
	stop func()

	mu   sync.Mutex
	seen map[int32]int // hits by partition
}

func (e *engine) partitions() (all []int32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p := range e.seen {
		all = append(all, p)
	}
	return all
}

// handled is how many hits were seen.
func (e *engine) handled() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, of := range e.seen {
		n += of
	}
	return n
}

func (e *engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.seen)
}

// start runs the group on a state directory until stop; "" is an empty one.
func (w *world) start(dir string, change func(*stream.Config)) *engine {
	w.t.Helper()
	e := w.startUnready(dir, change)
	w.eventually("the engine is ready", func() bool { return e.Ready() == nil })
	return e
}

// startUnready is start that does not wait until all is well.
func (w *world) startUnready(dir string, change func(*stream.Config)) *engine {
	w.t.Helper()
	return w.startHeld(dir, change, nil)
}

// startHeld lets see hold up what is counted.
func (w *world) startHeld(dir string, change func(*stream.Config), see func()) *engine {
	w.t.Helper()
	if dir == "" {
		dir = w.t.TempDir()
	}
	db, err := state.Open(dir, nil)
	require.NoError(w.t, err)
	cfg := w.config()
	cfg.State = db
	if change != nil {
		change(&cfg)
	}
	e := &engine{seen: map[int32]int{}}
	e.Engine = stream.New(cfg, w.group(w.prefix, func(p int32) {
		if see != nil {
			see()
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.seen[p]++
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(w.t, err)
		case <-time.After(patience):
			require.FailNow(w.t, "the engine does not stop")
		}
		require.NoError(w.t, db.Close())
	})
	w.t.Cleanup(e.stop)
	return e
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	kafkatest.Eventually(w.t, ok, patience, 5*time.Millisecond, what)
}

// counted waits until each key has got its hits 0 to n-1, and fails unless it got each once and in order.
func (w *world) counted(keys []string, n int) {
	w.t.Helper()
	want := make([]int, n)
	for i := range want {
		want[i] = i
	}
	for _, key := range keys {
		w.eventually(fmt.Sprintf("%s is counted", key), func() bool { return w.row(key).N >= n })
		require.Equal(w.t, want, w.row(key).Seqs, key)
	}
}

func keys(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("k-%d", i))
	}
	return all
}

// Records of a client with another partitioner: each key in one partition that is not its own.
func TestEngine_ForeignPartitioner(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.start("", nil)
		all := keys(12)
		var records []*kgo.Record
		for seq := range 50 {
			for i, key := range all {
				r := record(key, int32(i)%partitions, fmt.Sprintf(`{"seq":%d}`, seq))
				if seq == 49 { // forwarded once before, by a process with fewer partitions say
					r.Headers = []kgo.RecordHeader{{Key: stream.HeaderOrigin, Value: fmt.Appendf(nil, "%s/9/%d", w.hits.Name(), i)}}
				}
				records = append(records, r)
			}
		}
		w.put(records...)
		w.counted(all, 50)
		wrong := 0
		for i, key := range all {
			from := w.row(key).From
			for seq, at := range from[:49] { // where it was written, forwarded or not
				require.Equal(t, fmt.Sprintf("%s/%d/%d", w.hits.Name(), i%partitions, records[seq*len(all)+i].Offset), at)
			}
			require.Equal(t, fmt.Sprintf("%s/9/%d", w.hits.Name(), i), from[49], "the first origin stays")
			if int32(i)%partitions != stream.Partition(key, partitions) {
				wrong++
			}
			w.eventually("all totals are sent", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return slices.Contains(w.totals[key], 50) })
		}
		require.Greater(t, wrong, 3, "the test must put some keys into a wrong partition")
		require.Empty(t, w.dead)
	})
}

// What nobody can handle is a dead letter where it was found, and is not sent around first.
func TestEngine_DeadLetters(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.start("", nil)
		key := "k-0"
		home := stream.Partition(key, partitions)
		away := (home + 1) % partitions
		old := record(key, away, `{"seq":9}`)
		old.Timestamp = time.Now().Add(-2 * time.Hour)
		null := record(key, away, "")
		null.Value = nil
		keyless := record("", home, `{"seq":9}`)
		keyless.Key = nil
		w.put(record(key, home, `{"seq":0}`), record(key, home, `{"do":"panic"}`), record(key, home, "\xff"), record(key, home, `{"for":"k-1"}`),
			null, keyless, old, record(key, home, `{"seq":1}`))
		w.counted([]string{key}, 2) // the panic has left nothing in the row, nor in what is kept of it in memory
		w.eventually("the dead letters are there", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.dead) >= 6 })
		got := map[string]string{}
		for _, r := range w.dead {
			h := map[string]string{}
			for _, x := range r.Headers {
				h[x.Key] = string(x.Value)
			}
			require.Equal(t, w.prefix+"counts", h[stream.HeaderGroup])
			require.Equal(t, w.hits.Name(), h[stream.HeaderTopic])
			require.NotEmpty(t, h[stream.HeaderOffset])
			require.NotContains(t, h, stream.HeaderOrigin, "it was not forwarded")
			problem, _, _ := strings.Cut(h[stream.HeaderError], ":")
			got[problem] = fmt.Sprintf("%s %s %s", h[stream.HeaderPartition], r.Key, r.Value)
		}
		require.Len(t, w.dead, 6)
		require.Equal(t, map[string]string{
			"panic":                     fmt.Sprintf(`%d k-0 {"do":"panic"}`, home),
			"not the JSON of a message": fmt.Sprintf("%d k-0 \xff", home),
			`the message names "k-1" but its key is "k-0"`: fmt.Sprintf(`%d k-0 {"for":"k-1"}`, home),
			"the value is null":                            fmt.Sprintf("%d k-0 ", away),
			"the record has no key":                        fmt.Sprintf(`%d  {"seq":9}`, home),
			"stale":                                        fmt.Sprintf(`%d k-0 {"seq":9}`, away),
		}, got)
	})
}

// A process that is stopped goes on where it was; one without its state directory makes the table anew from the changelog.
func TestEngine_StopAndStart(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		all := keys(20)
		dir := t.TempDir()
		e := w.start(dir, nil)
		w.right(all, 0, 10)
		w.counted(all, 10)
		e.stop()
		w.right(all, 10, 20) // while nobody is there
		e = w.start(dir, nil)
		w.counted(all, 20)
		e.stop()
		e = w.start("", nil)
		w.right(all, 20, 30)
		w.counted(all, 30)
		e.stop()

		// In the middle of the work: what is committed is not handled again.
		w.right(all, 30, 200)
		e = w.start(dir, nil) // with a directory that has missed some of it
		w.eventually("some are counted", func() bool { return w.row(all[0]).N > 31 })
		e.stop()
		w.start("", nil)
		w.counted(all, 200)
		for _, key := range all {
			want := make([]int, 200)
			for i := range want {
				want[i] = i + 1
			}
			w.eventually("all totals are sent", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.totals[key]) >= 200 })
			require.Equal(t, want, w.totals[key], "each total once, in order")
		}
		require.Empty(t, w.dead)
	})
}

// A row that is due says so itself: whoever starts next wakes it up.
func TestEngine_TimerSurvives(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		later := func(d time.Duration) func(*stream.Config) {
			return func(c *stream.Config) { c.Now = func() time.Time { return time.Now().Add(d) } }
		}
		soon, kept, rebuilt := "k-soon", "k-kept", "k-rebuilt"
		put := func(key string, due time.Duration) {
			w.put(record(key, stream.Partition(key, partitions), fmt.Sprintf(`{"due":"%s"}`, due)))
		}
		dir := t.TempDir()
		e := w.start(dir, nil)
		put(soon, 50*time.Millisecond)
		put(kept, 30*time.Minute)
		put(rebuilt, 50*time.Minute)
		w.eventually("the first rings", func() bool { return w.row(soon).Rang == 1 })
		w.eventually("the others wait", func() bool { return w.row(kept).Due != nil && w.row(rebuilt).Due != nil })
		e.stop()

		e = w.start(dir, later(40*time.Minute))
		w.eventually("the second rings", func() bool { return w.row(kept).Rang == 1 })
		e.stop()
		require.Zero(t, w.row(rebuilt).Rang)

		e = w.start("", later(55*time.Minute))
		w.eventually("the third rings", func() bool { return w.row(rebuilt).Rang == 1 })
		e.stop()
		for _, key := range []string{soon, kept, rebuilt} {
			require.Equal(t, 1, w.row(key).Rang, key)
			require.Nil(t, w.row(key).Due, key)
		}
		require.Empty(t, w.dead)
	})
}

// Two processes share the partitions; when one leaves, the other has them all.
func TestEngine_Share(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		all := keys(40)
		one := w.start("", nil)
		w.right(all, 0, 10)
		w.counted(all, 10)
		require.ElementsMatch(t, []int32{0, 1, 2, 3}, one.partitions())

		n := 10
		two := w.start("", nil)
		w.eventually("the second has its share", func() bool { // more comes while they sort it out
			w.right(all, n, n+1)
			n++
			return len(two.partitions()) == 2
		})
		w.counted(all, n)
		one.forget()
		two.forget()
		w.right(all, n, n+5)
		n += 5
		w.counted(all, n)
		require.Len(t, one.partitions(), 2)
		require.Len(t, two.partitions(), 2)
		require.ElementsMatch(t, []int32{0, 1, 2, 3}, append(one.partitions(), two.partitions()...))

		w.right(all, n, n+50)
		n += 50
		one.stop()
		w.right(all, n, n+10)
		n += 10
		w.counted(all, n)
		two.forget()
		w.right(all, n, n+1)
		n++
		w.counted(all, n)
		require.ElementsMatch(t, []int32{0, 1, 2, 3}, two.partitions())
		require.Empty(t, w.dead)
	})
}

// What a lost instance left open, in a table or an output, is ended by one that is there, long before the brokers would.
func TestEngine_EndsWhatALostInstanceLeftOpen(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		lost := w.b.Client(t, kgo.TransactionalID(w.prefix+"counts/lost"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(2*patience))
		require.NoError(t, lost.BeginTransaction())
		require.NoError(t, lost.ProduceSync(t.Context(), &kgo.Record{Topic: w.catalog.table.Name(), Partition: 1, Key: []byte("k"), Value: []byte(`{"n":7}`)}).FirstErr())
		for p := range int32(w.config().Partitions) {
			require.NoError(t, lost.ProduceSync(t.Context(), &kgo.Record{Topic: w.catalog.totals.Name(), Partition: p, Key: []byte("k"), Value: []byte(`{"n":7}`)}).FirstErr())
		}
		other := w.b.Client(t, kgo.TransactionalID(w.prefix+"another/lost"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(2*patience))
		require.NoError(t, other.BeginTransaction())

		began := time.Now()
		w.start("", func(c *stream.Config) { c.Guarantee, c.InstanceID = stream.ExactlyOnce, "here" })
		require.Less(t, time.Since(began), 15*time.Second, "brokers look for what is left open after ten seconds and more")
		w.put(record("k-1", stream.Partition("k-1", w.config().Partitions), `{"id":"h","seq":0}`))
		w.counted([]string{"k-1"}, 1)
		require.Error(t, lost.EndTransaction(t.Context(), kgo.TryCommit), "it is shut out")
		require.Zero(t, w.row("k").N, "nothing of it is seen")
		require.NoError(t, other.EndTransaction(t.Context(), kgo.TryAbort))
	})
}

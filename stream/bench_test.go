//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/codecs"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
)

const (
	benchRecords    = 200_000
	benchKeys       = 10_000
	benchPartitions = 8
)

// purchase is message, row and output: an order as JSON of about 300 bytes.
type purchase struct {
	OrderID string         `json:"orderId"`
	UserID  string         `json:"userId"`
	StoreID string         `json:"storeId"`
	Lines   []purchaseLine `json:"lines"`
	Address string         `json:"address"`
	Lat     float64        `json:"lat"`
	Lon     float64        `json:"lon"`
	Note    string         `json:"note"`
	At      time.Time      `json:"at"`
	Count   int            `json:"count"` // messages of this key so far
}

type purchaseLine struct {
	Product  string `json:"product"`
	Quantity int    `json:"quantity"`
	Price    int    `json:"price"`
}

func newPurchase(key string) *purchase {
	return &purchase{
		OrderID: key, UserID: "user-17734", StoreID: "store-231",
		Lines:   []purchaseLine{{"kimchi-jjigae", 2, 9500}, {"rice", 2, 1000}},
		Address: "12 Yanghwa-ro", Lat: 37.5561, Lon: 126.9234, Note: "leave it at the door",
		At: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC),
	}
}

// after is what the processor decides: the row and the output that follow a message.
func (m *purchase) after(row *purchase) *purchase {
	next := *m
	if row != nil {
		next.Count = row.Count
	}
	next.Count++
	return &next
}

// engines run the same processor: decode a message, read the row of its key, write the row, send a message.
var engines = []struct {
	name  string
	start func(*race) (stop func())
}{
	{"goka", (*race).plainGoka},
	{"at-least-once", func(r *race) func() { return r.ours(stream.AtLeastOnce) }},
	{"exactly-once", func(r *race) func() { return r.ours(stream.ExactlyOnce) }},
}

// One operation is 200,000 messages. The clock runs from the first message handed to the processor until a reader outside has every
// output (read committed). The CPU time is this process's, with the reader, and the broker where it is embedded (in memory).
// `make bench` runs it in rounds and compares.
func BenchmarkProcessor(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as baedal does, for all
	for _, kind := range []string{kafkatest.EmbeddedName, kafkatest.KafkaName} {
		b.Run("broker="+kind, func(b *testing.B) {
			if kind == kafkatest.KafkaName {
				kafkatest.Kafka(b) // or skip all of it
			}
			for _, i := range rand.Perm(len(engines)) { // whoever is first may find another machine
				b.Run("engine="+engines[i].name, func(b *testing.B) {
					var took, cpu time.Duration
					for range b.N {
						r := newRace(b, kind)
						r.run(engines[i].start)
						took, cpu = took+r.took, cpu+r.cpu
					}
					n := float64(b.N) * benchRecords
					b.ReportMetric(0, "ns/op") // says nothing: preparing is in it
					b.ReportMetric(n/took.Seconds(), "records/s")
					b.ReportMetric(cpu.Seconds()*1000/(n/1000), "cpu-ms/1000-records")
				})
			}
		})
	}
}

// race is one run of one engine, on topics of its own.
type race struct {
	b      *testing.B
	addr   string
	client *kgo.Client
	prefix string

	in, out topics.Stream[purchase]
	table   topics.Table[purchase]
	dead    topics.DeadLetters

	first     sync.Once
	began     time.Time
	cpuBefore time.Duration

	took, cpu time.Duration
}

func newRace(b *testing.B, kind string) *race {
	var br kafkatest.Broker
	if kind == kafkatest.KafkaName {
		br = kafkatest.Kafka(b)
	} else {
		br = kafkatest.Embedded(b)
	}
	prefix := br.Prefix(b)
	spec := func(name, cleanup string) topics.Spec {
		return topics.Spec{Topic: prefix + name, Partitions: benchPartitions, Cleanup: cleanup, Retention: time.Hour}
	}
	r := &race{
		b: b, addr: br.Addr, prefix: prefix,
		in:    topics.Stream[purchase]{Spec: spec("in", topics.Delete)},
		out:   topics.Stream[purchase]{Spec: spec("out", topics.Delete)},
		table: topics.Table[purchase]{Spec: spec("counts-table", topics.Compact)},
		dead:  topics.DeadLetters{Spec: spec("dead-letters", topics.Delete)},
	}
	_, err := broker.CreateTopics([]string{r.addr}, stream.Config{}.WithDefaults().Client(), []topics.Spec{r.in.Spec, r.out.Spec, r.table.Spec, r.dead.Spec}, 1)
	require.NoError(b, err)
	r.client = br.Client(b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ConsumeTopics(r.out.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMinBytes(1<<20), kgo.FetchMaxWait(20*time.Millisecond)) // a reader that asks seldom takes little from the engine
	r.load()
	return r
}

func benchKey(i int) string { return fmt.Sprintf("order-%08d", i%benchKeys) }

// load writes what is to be handled.
func (r *race) load() {
	values := map[string][]byte{}
	for i := range benchKeys {
		key := benchKey(i)
		value, err := codecs.Marshal(newPurchase(key))
		require.NoError(r.b, err)
		require.InDelta(r.b, 300, len(value), 10)
		values[key] = value
	}
	for i := range benchRecords {
		key := benchKey(i)
		r.client.Produce(r.b.Context(), &kgo.Record{Topic: r.in.Name(), Key: []byte(key), Partition: stream.Partition(key, benchPartitions), Value: values[key]},
			func(_ *kgo.Record, err error) {
				if err != nil {
					r.b.Errorf("loading: %v", err)
				}
			})
	}
	require.NoError(r.b, r.client.Flush(r.b.Context()))
}

// handling is called with every message by the engine that handles it.
func (r *race) handling() {
	r.first.Do(func() { r.began, r.cpuBefore = time.Now(), cpuTime(r.b) })
}

func (r *race) run(start func(*race) func()) {
	runtime.GC()
	stop := start(r)
	r.read()
	r.committed()
	stop()
}

// read takes the outputs until all are there, and checks that each key has had every message once.
func (r *race) read() {
	ctx, cancel := context.WithTimeout(r.b.Context(), patience)
	defer cancel()
	const each = benchRecords / benchKeys
	counts := make(map[string]int, benchKeys)
	for n := 0; n < benchRecords; {
		fetches := r.client.PollFetches(ctx)
		require.NoError(r.b, fetches.Err(), "after %d outputs of %d", n, benchRecords)
		fetches.EachRecord(func(rec *kgo.Record) {
			n++
			key := string(rec.Key)
			counts[key]++
			if counts[key] != each {
				return
			}
			last, err := codecs.Decode[purchase](rec.Value)
			require.NoError(r.b, err)
			require.Equal(r.b, each, last.Count, "the last output of %s", key)
		})
	}
	r.took, r.cpu = time.Since(r.began), cpuTime(r.b)-r.cpuBefore
	require.Len(r.b, counts, benchKeys)
	for key, n := range counts {
		require.Equal(r.b, each, n, "outputs of %s", key)
	}
}

// committed waits until the group has committed all that it has read. The clock has stopped before: goka commits once a second.
func (r *race) committed() {
	admin, err := sarama.NewClusterAdmin([]string{r.addr}, stream.Config{}.WithDefaults().Client())
	require.NoError(r.b, err)
	defer admin.Close()
	kafkatest.Eventually(r.b, func() bool {
		got, err := admin.ListConsumerGroupOffsets(r.group(), nil)
		require.NoError(r.b, err)
		sum := int64(0)
		for _, block := range got.Blocks[r.in.Name()] {
			sum += max(0, block.Offset)
		}
		return sum == benchRecords
	}, patience, 20*time.Millisecond, "all offsets are committed")
}

func (r *race) group() string { return r.prefix + "counts" }

// running runs an engine until the function that it returns is called.
func (r *race) running(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(r.b, <-done)
	})
	r.b.Cleanup(stop) // where the run fails
	return stop
}

// ours is this package with its defaults.
func (r *race) ours(guarantee stream.Guarantee) (stop func()) {
	db, err := state.Open(r.b.TempDir(), nil)
	require.NoError(r.b, err)
	e := stream.New(stream.Config{
		Brokers: []string{r.addr}, Partitions: benchPartitions, Guarantee: guarantee, State: db,
		Logger: kafkatest.Logger(r.b), Registerer: prometheus.NewRegistry(),
	}, stream.Group[purchase]{
		Name:  r.group(),
		Table: r.table,
		Inputs: []stream.Input[purchase]{stream.From(r.in, func(c *stream.Context[purchase], m *purchase) {
			r.handling()
			next := m.after(c.Row())
			c.Save(next)
			stream.Send(c, r.out, c.Key(), next)
		})},
		Outputs:     []stream.Sink{r.out},
		DeadLetters: r.dead,
	})
	return r.running(func(ctx context.Context) error {
		defer func() { require.NoError(r.b, db.Close()) }()
		return e.Run(ctx)
	})
}

// plainGoka is goka with its defaults: acknowledged by the leader, snappy, a flush every 64 kB or 100 ms, offsets every second, LevelDB.
// Only what it can't do without is changed: protocol version, and the first record as the start.
func (r *race) plainGoka() (stop func()) {
	config := func() *sarama.Config { // each builder changes its own
		c := goka.DefaultConfig()
		c.Version = sarama.V2_8_0_0
		c.Consumer.Offsets.Initial = sarama.OffsetOldest
		return c
	}
	tables := goka.NewTopicManagerConfig()
	tables.Table.Replication = 1
	p, err := goka.NewProcessor([]string{r.addr}, goka.DefineGroup(goka.Group(r.group()),
		goka.Input(goka.Stream(r.in.Name()), r.in, func(g goka.Context, m any) {
			r.handling()
			row, _ := g.Value().(*purchase)
			next := m.(*purchase).after(row)
			g.SetValue(next)
			g.Emit(goka.Stream(r.out.Name()), g.Key(), next)
		}),
		goka.Output(goka.Stream(r.out.Name()), r.out),
		goka.Persist(r.table),
	),
		goka.WithLogger(log.New(io.Discard, "", 0)),
		goka.WithStorageBuilder(storage.DefaultBuilder(r.b.TempDir())),
		goka.WithConsumerGroupBuilder(goka.ConsumerGroupBuilderWithConfig(config())),
		goka.WithConsumerSaramaBuilder(goka.SaramaConsumerBuilderWithConfig(config())),
		goka.WithProducerBuilder(goka.ProducerBuilderWithConfig(config())),
		goka.WithTopicManagerBuilder(goka.TopicManagerBuilderWithConfig(config(), tables)),
	)
	require.NoError(r.b, err)
	return r.running(p.Run)
}

// cpuTime is what this process has used of the processors, in user and system mode.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

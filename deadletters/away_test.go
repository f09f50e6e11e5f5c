package deadletters_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/deadletters"
	"baedal/internal/kafkatest"
	"baedal/stream"
)

// long writes a record that no letter holds, and the letter about it.
func (o *office) long(topic, key string, value []byte, more ...kgo.RecordHeader) (deadletters.ID, *kgo.Record) {
	o.Helper()
	packs := o.b.Client(o.T, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(80<<20), kgo.BrokerMaxWriteBytes(90<<20), kgo.ProducerBatchCompression(kgo.GzipCompression(), kgo.NoCompression()))
	r := &kgo.Record{Topic: topic, Key: []byte(key), Partition: stream.Partition(key, partitions), Value: value, Headers: more}
	require.NoError(o, packs.ProduceSync(o.Context(), r).FirstErr())
	return o.away(r, len(value), value[:min(1000, len(value))]), r
}

func (o *office) away(r *kgo.Record, size int, head []byte) deadletters.ID {
	o.Helper()
	return o.buryFrom(r.Topic, string(r.Key[:min(1000, len(r.Key))]), nil, r.Offset,
		kgo.RecordHeader{Key: stream.HeaderSize, Value: strconv.AppendInt(nil, int64(size), 10)}, kgo.RecordHeader{Key: stream.HeaderHead, Value: head})
}

// A message that is not in its letter is read where it lies, and goes back as it
// came, or it is said why not; and all others go back.
func TestReplay_ReadsWhereItLies(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		o := newOffice(t, b)
		topic := o.cat.OrderCommands.Name()
		junk := func(n int, with string) []byte { return append([]byte(with), bytes.Repeat([]byte("x"), n)...) }
		trace := kgo.RecordHeader{Key: "traceparent", Value: []byte("00-1-2-03")}

		plain, first := o.long(topic, "o-1", junk(1_010_000, "one"), trace, kgo.RecordHeader{Key: stream.HeaderSize, Value: []byte("a stranger's")}, kgo.RecordHeader{Key: stream.HeaderHops, Value: []byte("16")})
		packed, second := o.long(topic, "o-2", junk(5_000_000, "two"))
		small := o.bury("o-3", "small", 1000)
		longKey, third := o.long(topic, "o-4"+string(junk(20_000, "")), []byte("{}"))
		fits, _ := o.long(o.cat.StoreCommands.Name(), "s-1", junk(950_000, "packed well"))

		want := map[deadletters.ID]string{plain: "replayed", packed: "replayed", small: "replayed", longKey: "replayed", fits: "replayed"}
		fates, err := o.replay(deadletters.ReplayOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, want, fates)
		fates, err = o.replay(deadletters.ReplayOptions{})
		require.NoError(t, err)
		require.Equal(t, want, fates)

		back := map[string]*kgo.Record{}
		for _, r := range o.records(topic) {
			back[string(r.Key)] = r // the last one
		}
		for _, r := range []*kgo.Record{first, second, third} {
			again := back[string(r.Key)]
			require.Greater(t, again.Offset, r.Offset)
			require.Equal(t, r.Partition, again.Partition)
			require.True(t, bytes.Equal(r.Value, again.Value), "the bytes as they came")
		}
		origin := kgo.RecordHeader{Key: stream.HeaderOrigin, Value: fmt.Appendf(nil, "%s/%d/%d", topic, first.Partition, first.Offset)}
		require.Equal(t, []kgo.RecordHeader{trace, origin}, back["o-1"].Headers, "what the engine reads as its own stays behind")

		fates, err = o.replay(deadletters.ReplayOptions{})
		require.NoError(t, err)
		for id, fate := range fates {
			require.Equal(t, "skipped", fate, "%s goes back once", id)
		}
	})
}

func TestReplay_CantReadWhereItLies(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		o := newOffice(t, b)
		topic := o.cat.OrderCommands.Name()
		long := bytes.Repeat([]byte("x"), 1_000_000)
		gone, r := o.long(topic, "o-1", long)
		_, err := kadm.NewClient(o.cl).DeleteRecords(t.Context(), kadm.Offsets{topic: {r.Partition: {Topic: topic, Partition: r.Partition, At: r.Offset + 1}}})
		require.NoError(t, err)
		write := func(key string) *kgo.Record {
			r := &kgo.Record{Topic: o.cat.StoreCommands.Name(), Key: []byte(key), Partition: stream.Partition(key, partitions), Value: []byte("xxxx")}
			require.NoError(t, o.cl.ProduceSync(t.Context(), r).FirstErr())
			return r
		}
		r = write("s-1")
		r.Offset += 100
		anew := o.away(r, len(long), long[:1000])
		other := o.away(write("s-2"), 3_000_000, []byte("yyy"))
		shorter := o.away(write("s-3"), 3, nil)
		tooLong, _ := o.long(o.cat.StoreCommands.Name(), "s-4", bytes.Repeat([]byte("x"), 65<<20))
		refused, _ := o.long(o.cat.RiderCommands.Name(), "r-1", append(random(600_000), long...))
		small := o.buryFrom(o.cat.RiderCommands.Name(), "r-2", []byte("small"), 1000)
		limit := "500000"
		_, err = kadm.NewClient(o.cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, o.cat.RiderCommands.Name())
		require.NoError(t, err)

		why := map[deadletters.ID]string{}
		err = deadletters.Replay(t.Context(), o.cat, []string{b.Addr}, deadletters.ReplayOptions{}, func(out deadletters.Outcome) {
			if out.Refused != nil {
				why[out.ID] = out.Refused.Error()
			}
		})
		require.ErrorIs(t, err, deadletters.ErrRefused)
		for id, text := range map[deadletters.ID]string{
			gone:    "retention has taken",
			anew:    "made anew",
			other:   "another record lies at",
			shorter: "another record lies at",
			tooLong: "bytes long: at most",
			refused: "raise max.message.bytes",
		} {
			assert.Contains(t, why[id], text)
		}
		assert.NotContains(t, why, small)
		assert.True(t, slices.Contains(o.values(o.cat.RiderCommands.Name()), "small"))
		fates, err := o.replay(deadletters.ReplayOptions{})
		require.ErrorIs(t, err, deadletters.ErrRefused)
		assert.Equal(t, "skipped", fates[small])
		assert.Equal(t, "refused", fates[refused], "it may be tried again")
	})
}

// random returns bytes that can't be packed.
func random(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

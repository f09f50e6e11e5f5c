package deadletters_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/deadletters"
	"baedal/internal/kafkatest"
	"baedal/stream"
	"baedal/topics"
)

const partitions = 4

// office is an installation's topics with somebody who writes dead letters as the engine does.
type office struct {
	*testing.T
	b   kafkatest.Broker
	cat *topics.Catalog
	cl  *kgo.Client
}

func newOffice(t *testing.T, b kafkatest.Broker) *office {
	t.Helper()
	o := &office{T: t, b: b, cat: topics.New(b.Prefix(t), partitions), cl: b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))}
	_, err := broker.CreateTopics([]string{b.Addr}, stream.Config{}.WithDefaults().Client(), o.cat.All(), 1)
	require.NoError(t, err)
	return o
}

// bury writes a dead letter about the record at an offset of order-commands.
func (o *office) bury(key, value string, offset int64, more ...kgo.RecordHeader) deadletters.ID {
	o.Helper()
	return o.buryFrom(o.cat.OrderCommands.Name(), key, []byte(value), offset, more...)
}

func (o *office) buryFrom(topic, key string, value []byte, offset int64, more ...kgo.RecordHeader) deadletters.ID {
	o.Helper()
	p := stream.Partition(key, partitions)
	r := &kgo.Record{Topic: o.cat.DeadLetters.Name(), Partition: p, Key: []byte(key), Value: value, Headers: append([]kgo.RecordHeader{
		{Key: stream.HeaderTopic, Value: []byte(topic)}, {Key: stream.HeaderPartition, Value: strconv.AppendInt(nil, int64(p), 10)},
		{Key: stream.HeaderOffset, Value: strconv.AppendInt(nil, offset, 10)}, {Key: stream.HeaderGroup, Value: []byte(o.cat.Group("orders"))},
		{Key: stream.HeaderError, Value: []byte("a reason")}, {Key: stream.HeaderAt, Value: []byte(time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))},
	}, more...)}
	require.NoError(o, o.cl.ProduceSync(o.Context(), r).FirstErr())
	return deadletters.ID{Partition: r.Partition, Offset: r.Offset}
}

// replay replays and returns what became of the letters, as "replayed", "skipped" or "refused" by id.
func (o *office) replay(opt deadletters.ReplayOptions) (map[deadletters.ID]string, error) {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), time.Minute)
	defer cancel()
	fates := map[deadletters.ID]string{}
	err := deadletters.Replay(ctx, o.cat, []string{o.b.Addr}, opt, func(out deadletters.Outcome) {
		switch {
		case out.Refused != nil:
			fates[out.ID] = "refused"
		case out.Skipped != "":
			fates[out.ID] = "skipped"
		default:
			fates[out.ID] = "replayed"
		}
	})
	return fates, err
}

// records returns all committed records of a topic, those of a partition in their order.
func (o *office) records(topic string) (all []*kgo.Record) {
	o.Helper()
	ctx, cancel := context.WithTimeout(o.Context(), time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(o.cl).ListCommittedOffsets(ctx, topic)
	require.NoError(o, err)
	left := map[int32]int64{}
	ends.Each(func(e kadm.ListedOffset) {
		if e.Offset > 0 {
			left[e.Partition] = e.Offset
		}
	})
	cl := o.b.Client(o.T, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(o, fetches.Err(), "reading %s to its end: %v", topic, left)
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return all
}

// values returns the sorted values of a topic's records.
func (o *office) values(topic string) (all []string) {
	o.Helper()
	for _, r := range o.records(topic) {
		all = append(all, string(r.Value))
	}
	sort.Strings(all)
	return all
}

func TestReplay_PutsBackTheBytesOnce(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		o := newOffice(t, b)
		binary := []byte{0xff, 0, '\n'}
		trace := kgo.RecordHeader{Key: "traceparent", Value: []byte("00-1-2-03")}
		plain := o.buryFrom(o.cat.OrderCommands.Name(), "o-1", binary, 10, trace, kgo.RecordHeader{Key: stream.HeaderStack, Value: []byte("goroutine 1")})
		null := o.buryFrom(o.cat.StoreCommands.Name(), "s-1", nil, 11, kgo.RecordHeader{Key: stream.HeaderOrigin, Value: []byte("elsewhere/2/3")})

		fates, err := o.replay(deadletters.ReplayOptions{DryRun: true})
		require.NoError(t, err)
		assert.Equal(t, map[deadletters.ID]string{plain: "replayed", null: "replayed"}, fates)
		assert.Empty(t, o.records(o.cat.OrderCommands.Name()), "a dry run writes nothing")

		fates, err = o.replay(deadletters.ReplayOptions{})
		require.NoError(t, err)
		assert.Equal(t, map[deadletters.ID]string{plain: "replayed", null: "replayed"}, fates)

		fates, err = o.replay(deadletters.ReplayOptions{})
		require.NoError(t, err)
		assert.Equal(t, map[deadletters.ID]string{plain: "skipped", null: "skipped"}, fates)

		back := o.records(o.cat.OrderCommands.Name())
		require.Len(t, back, 1)
		assert.Equal(t, "o-1", string(back[0].Key))
		assert.Equal(t, binary, back[0].Value)
		assert.Equal(t, stream.Partition("o-1", partitions), back[0].Partition)
		assert.Equal(t, []kgo.RecordHeader{trace, {Key: stream.HeaderOrigin, Value: fmt.Appendf(nil, "%s/%d/10", o.cat.OrderCommands.Name(), plain.Partition)}}, back[0].Headers)

		back = o.records(o.cat.StoreCommands.Name())
		require.Len(t, back, 1)
		assert.Nil(t, back[0].Value)
		assert.Equal(t, []kgo.RecordHeader{{Key: stream.HeaderOrigin, Value: []byte("elsewhere/2/3")}}, back[0].Headers, "the first origin stays")

		_, err = o.replay(deadletters.ReplayOptions{Again: true, Only: deadletters.Only(plain)})
		require.NoError(t, err)
		assert.Len(t, o.records(o.cat.OrderCommands.Name()), 2)
		assert.Len(t, o.records(o.cat.StoreCommands.Name()), 1)
	})
}

func TestReplay_OneOfTwoLettersAboutOneMessage(t *testing.T) {
	o := newOffice(t, kafkatest.Embedded(t))
	first, second := o.bury("o-1", "a", 10), o.bury("o-1", "a", 10)
	fates, err := o.replay(deadletters.ReplayOptions{Batch: 1})
	require.NoError(t, err)
	assert.Equal(t, map[deadletters.ID]string{first: "replayed", second: "skipped"}, fates)
	third := o.bury("o-1", "a", 10) // an engine that crashed buries it once more
	fates, err = o.replay(deadletters.ReplayOptions{Only: deadletters.Only(third)})
	require.NoError(t, err)
	assert.Equal(t, map[deadletters.ID]string{third: "skipped"}, fates)
	assert.Equal(t, []string{"a"}, o.values(o.cat.OrderCommands.Name()))
}

func TestReplay_Refuses(t *testing.T) {
	o := newOffice(t, kafkatest.Embedded(t))
	good := o.bury("o-1", "a", 10)
	foreign := o.buryFrom("payroll", "o-1", []byte("b"), 11)
	table := o.buryFrom(o.cat.OrdersTable.Name(), "o-1", []byte("c"), 12)
	itself := o.buryFrom(o.cat.DeadLetters.Name(), "o-1", []byte("d"), 13)
	junk := &kgo.Record{Topic: o.cat.DeadLetters.Name(), Value: []byte("e")}
	require.NoError(t, o.cl.ProduceSync(t.Context(), junk).FirstErr())
	fates, err := o.replay(deadletters.ReplayOptions{})
	require.ErrorIs(t, err, deadletters.ErrRefused)
	assert.Equal(t, map[deadletters.ID]string{good: "replayed", foreign: "refused", table: "refused", itself: "refused",
		{Partition: junk.Partition, Offset: junk.Offset}: "refused"}, fates)
}

// A replay that dies or is interrupted between what a batch sends and its commit has done what it
// told, and nothing else; the next one does the rest. Readers of committed records see each message once.
func TestReplay_InterruptedInABatch(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		for name, interrupt := range map[string]func(cancel func()) error{
			"Killed":    func(func()) error { return errors.New("killed") },
			"Cancelled": func(cancel func()) error { cancel(); return nil },
		} {
			t.Run(name, func(t *testing.T) {
				o := newOffice(t, b)
				var want []string
				for i := range 25 {
					v := fmt.Sprintf("message %02d", i)
					o.bury(fmt.Sprint("o-", i), v, int64(i))
					want = append(want, v)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				batches, told := 0, 0
				opt := deadletters.ReplayOptions{Batch: 10}.BeforeCommit(func() error {
					if batches++; batches == 2 {
						return interrupt(cancel)
					}
					return nil
				})
				err := deadletters.Replay(ctx, o.cat, []string{o.b.Addr}, opt, func(deadletters.Outcome) { told++ })
				require.Error(t, err)
				assert.Equal(t, 10, told, "what is told is committed")

				fates, err := o.replay(deadletters.ReplayOptions{})
				require.NoError(t, err)
				count := map[string]int{}
				for _, f := range fates {
					count[f]++
				}
				assert.Equal(t, map[string]int{"replayed": 15, "skipped": 10}, count)
				assert.Equal(t, want, o.values(o.cat.OrderCommands.Name()))
			})
		}
	})
}

// A second replay ends the first one, which can't commit any more.
func TestReplay_TwoAtOnce(t *testing.T) {
	o := newOffice(t, kafkatest.Embedded(t))
	o.bury("o-1", "a", 10)
	opt := deadletters.ReplayOptions{}.BeforeCommit(func() error {
		fates, err := o.replay(deadletters.ReplayOptions{})
		assert.NoError(t, err)
		assert.Len(t, fates, 1)
		return nil
	})
	_, err := o.replay(opt)
	require.ErrorContains(t, err, "another replay")
	assert.Equal(t, []string{"a"}, o.values(o.cat.OrderCommands.Name()))
}

// An engine's transaction that is open hides the marks behind it: a replay must wait for them.
func TestOpen_WaitsForMarksBehindAnOpenTransaction(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		o := newOffice(t, b)
		id := o.bury("o-1", "a", 10)
		engine := b.Client(t, kgo.TransactionalID(o.cat.Prefix+"engine"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		require.NoError(t, engine.BeginTransaction())
		open := &kgo.Record{Topic: o.cat.DeadLetters.Name(), Partition: id.Partition, Key: []byte("o-1"), Value: []byte("open")}
		require.NoError(t, engine.ProduceSync(t.Context(), open).FirstErr())

		// A mark that was committed, but stands behind what is open.
		mark := &kgo.Record{Topic: o.cat.DeadLetters.Name(), Partition: id.Partition, Key: []byte("o-1"), Headers: []kgo.RecordHeader{
			{Key: deadletters.HeaderReplayed, Value: []byte(id.String())},
			{Key: deadletters.HeaderSource, Value: fmt.Appendf(nil, "%s/%d/10", o.cat.OrderCommands.Name(), id.Partition)}}}
		require.NoError(t, o.cl.ProduceSync(t.Context(), mark).FirstErr())

		done := make(chan map[deadletters.ID]string, 1)
		go func() {
			fates, err := o.replay(deadletters.ReplayOptions{})
			assert.NoError(t, err)
			done <- fates
		}()
		select {
		case <-done:
			require.FailNow(t, "it did not wait for the end of the transaction")
		case <-time.After(500 * time.Millisecond): // nothing can be waited for but that nothing happens
		}
		require.NoError(t, engine.EndTransaction(t.Context(), kgo.TryAbort))
		assert.Equal(t, map[deadletters.ID]string{id: "skipped"}, <-done)
	})
}

func TestNewest(t *testing.T) {
	o := newOffice(t, kafkatest.Embedded(t))
	var ids []deadletters.ID
	for i := range 20 {
		ids = append(ids, o.bury(fmt.Sprint("o-", i), "a", int64(i)))
		time.Sleep(2 * time.Millisecond) // another time of burial
	}
	_, err := o.replay(deadletters.ReplayOptions{Only: deadletters.Only(ids[18])})
	require.NoError(t, err)
	box, err := deadletters.Open(t.Context(), o.cat, []string{o.b.Addr})
	require.NoError(t, err)
	for _, c := range []struct {
		limit int
		want  []deadletters.ID
	}{{0, ids}, {5, ids[15:]}, {100, ids}} {
		all, err := box.Newest(t.Context(), deadletters.Filter{}, c.limit)
		require.NoError(t, err)
		var got []deadletters.ID
		for _, l := range all {
			got = append(got, l.ID)
			assert.Equal(t, l.ID == ids[18], !l.Replayed.IsZero())
			assert.NoError(t, l.Broken)
			assert.Equal(t, "a reason", l.Error)
		}
		assert.Equal(t, c.want, got)
	}
}

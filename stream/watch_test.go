package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
)

// logged is a log that a test can look into.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
	to   io.Writer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	return l.to.Write(b)
}

// lines returns those lines that hold all of the words.
func (l *logged) lines(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
line:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue line
			}
		}
		found = append(found, line)
	}
	return found
}

func (w *world) log() (*logged, func(*stream.Config)) {
	l := &logged{to: w.t.Output()}
	return l, func(c *stream.Config) {
		c.Logger = slog.New(slog.NewTextHandler(l, nil))
		c.Strays = w.prefix + "strays"
	}
}

func (w *world) admin() *kadm.Client { return kadm.NewClient(w.client) }

func (w *world) raise(to int, topics ...string) {
	w.t.Helper()
	for _, r := range must(w.admin().UpdatePartitions(w.t.Context(), to, topics...))(w.t) {
		require.NoError(w.t, r.Err, r.Topic)
	}
	w.eventually("the client knows the new partitions", func() bool {
		w.client.ForceMetadataRefresh()
		d, err := w.admin().ListTopics(w.t.Context(), topics...)
		if err != nil {
			return false
		}
		for _, t := range topics {
			if len(d[t].Partitions) != to {
				return false
			}
		}
		return true
	})
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		require.NoError(t, err)
		return v
	}
}

// remake deletes topics, and makes them anew.
func (w *world) remake(specs []topics.Spec, between func()) {
	w.t.Helper()
	var names []string
	for _, s := range specs {
		names = append(names, s.Topic)
	}
	before := w.b.TopicIDs(w.t, names...)
	w.remove(specs)
	if between != nil {
		between()
	}
	// A deletion takes its time: as long as the broker has not heard of it, nothing is to be made.
	w.eventually("the topics are made anew", func() bool {
		_, err := broker.CreateTopics([]string{w.b.Addr}, w.config().WithDefaults().Client(), specs, 1)
		now := w.b.TopicIDs(w.t, names...)
		return err == nil && !slices.ContainsFunc(names, func(name string) bool { return now[name] == "" || now[name] == before[name] })
	})
	for _, s := range specs {
		w.client.PurgeTopicsFromClient(s.Topic)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.table)
}

func (w *world) remove(specs []topics.Spec) {
	w.t.Helper()
	var names []string
	for _, s := range specs {
		names = append(names, s.Topic)
	}
	for _, r := range must(w.admin().DeleteTopics(w.t.Context(), names...))(w.t) {
		require.NoError(w.t, r.Err, r.Topic)
	}
}

// read returns the rows of the table that is there now, read from its start.
func (w *world) rows() map[string]string {
	w.t.Helper()
	return w.readAll(w.catalog.table.Name())
}

func (w *world) readAll(topic string) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, r := range w.records(topic) {
		all[string(r.Key)] = string(r.Value)
	}
	return all
}

func (w *world) records(topic string) (all []*kgo.Record) {
	w.t.Helper()
	ends := must(w.admin().ListCommittedOffsets(w.t.Context(), topic))(w.t)
	reader := w.b.Client(w.t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond), kgo.KeepControlRecords())
	defer reader.Close()
	starts := must(w.admin().ListStartOffsets(w.t.Context(), topic))(w.t)
	next := map[int32]int64{}
	starts.Each(func(o kadm.ListedOffset) { next[o.Partition] = o.Offset })
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for behind := true; behind; {
		behind = false
		ends.Each(func(o kadm.ListedOffset) { behind = behind || next[o.Partition] < o.Offset })
		if behind {
			reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				next[r.Partition] = r.Offset + 1
				if !r.Attrs.IsControl() {
					all = append(all, r)
				}
			})
			require.NoError(w.t, ctx.Err(), "reading %s", topic)
		}
	}
	return all
}

// Partitions are raised under a running engine, and are there when it starts: what others put into the new ones is handled,
// once, where its key belongs.
func TestEngine_RaisedPartitions(t *testing.T) {
	kafkatest.Waits(t)
	for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				log, change := w.log()
				set := func(c *stream.Config) { change(c); c.Guarantee = guarantee }
				dir := t.TempDir()
				e := w.start(dir, set)
				all := keys(12)
				w.right(all, 0, 5)
				w.counted(all, 5)

				names := []string{w.hits.Name(), w.loop.Name(), w.catalog.totals.Name(), w.catalog.table.Name(), w.deadLetters.Name()}
				began := time.Now()
				w.raise(partitions+3, names...)
				w.eventually("it is noticed", func() bool { return e.Ready() != nil })
				require.Less(t, time.Since(began), 10*time.Second)
				require.ErrorContains(t, e.Ready(), w.hits.Name()+" (7)")
				require.ErrorContains(t, e.Ready(), "--prefix")

				strays := 0
				put := func(seq int) { // each key always into the same one of the new partitions
					var records []*kgo.Record
					for i, key := range all {
						records = append(records, record(key, int32(partitions+i%3), fmt.Sprintf(`{"seq":%d}`, seq)))
					}
					strays += len(records)
					w.put(records...)
				}
				for seq := 5; seq < 10; seq++ {
					put(seq)
				}
				w.counted(all, 10)
				require.Equal(t, fmt.Sprintf("%s/%d/0", w.hits.Name(), partitions), w.row(all[0]).From[5], "it comes with where it was written")
				w.put(record("k-loud", partitions, `{"do":"panic"}`))
				strays++
				w.eventually("what nobody can handle is a dead letter", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.dead) == 1 })

				// Its own producers keep to the partitions of the installation.
				emitter, err := stream.NewEmitter(func() stream.Config { c := w.config(); set(&c); return c }())
				require.NoError(t, err)
				for _, key := range all {
					require.NoError(t, stream.Emit(t.Context(), emitter, w.hits, key, &hit{Seq: 10}))
				}
				require.NoError(t, emitter.Close())
				w.counted(all, 11)
				require.Error(t, e.Ready(), "it stays so")
				e.stop()

				put(11) // while nobody is there
				e = w.startUnready(dir, set)
				w.counted(all, 12)
				w.eventually("it says so again", func() bool { return e.Ready() != nil && !strings.Contains(e.Ready().Error(), "recovering") })
				e.stop()

				require.Len(t, log.lines("no commands are taken"), 2, "one line for each start")
				require.Empty(t, log.lines("started again"))
				require.Len(t, w.records(w.hits.Name()), 12*6+2*strays, "nothing is forwarded twice")
				for _, topic := range names[1:] {
					for _, r := range w.records(topic) {
						require.Less(t, r.Partition, int32(partitions), topic)
					}
				}
			})
		})
	}
}

// Topics are made anew while nobody is there: the copies of the old ones are worth nothing, and nothing of them is written.
func TestEngine_TopicsMadeAnew(t *testing.T) {
	kafkatest.Waits(t)
	for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/Running=%v", guarantee, running), func(t *testing.T) {
				kafkatest.Waits(t)
				each(t, func(t *testing.T, w *world) {
					log, change := w.log()
					set := func(c *stream.Config) { change(c); c.Guarantee = guarantee }
					dir := t.TempDir()
					e := w.start(dir, set)
					all := keys(12)
					w.right(all, 0, 5)
					w.counted(all, 5)
					w.eventually("all is committed", func() bool { return w.committed() == 60 })
					if !running {
						e.stop()
					}
					w.remake(w.specs(), func() {
						if running {
							w.eventually("it is noticed", func() bool { return e.Ready() != nil && strings.Contains(e.Ready().Error(), "missing") })
						}
					})
					new := []string{"k-0", "k-1", "k-2"}
					if running {
						w.eventually("it is as it should be again", func() bool { return e.Ready() == nil })
					}
					for seq := range 8 { // further than before
						w.rightOf(new, seq)
					}
					if !running {
						w.start(dir, set)
					}
					w.eventually("the new ones are counted", func() bool {
						return strings.Contains(w.rows()["k-2"], `"n":8`) && strings.Contains(w.rows()["k-0"], `"n":8`)
					})
					rows := w.rows()
					require.NotContains(t, rows, "k-5", "nothing old is written")
					for _, k := range new {
						require.Contains(t, rows[k], `"n":8,"seqs":[0,1,2,3,4,5,6,7]`, "nothing is handled that is not there, and nothing twice")
					}
					require.Len(t, log.lines("a table is not as it was left", "made anew"), partitions)
					require.Len(t, log.lines("records are not as they were left", w.hits.Name(), "made anew"), partitions)
					require.Empty(t, log.lines(kerr.UnknownTopicID.Error()), "nothing is sent to the old ones")
				})
			})
		}
	}
}

func (w *world) rightOf(keys []string, seq int) { w.t.Helper(); w.right(keys, seq, seq+1) }

// Topics are deleted and made anew so quickly that nobody sees them missing.
func TestEngine_TopicsMadeAnewAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		log, change := w.log()
		emitter, err := stream.NewEmitter(w.config())
		require.NoError(t, err)
		defer emitter.Close()
		w.start("", change)
		all := keys(6)
		w.right(all, 0, 5)
		w.counted(all, 5)
		w.remake(w.specs(), nil)
		w.eventually("it is noticed", func() bool { return len(log.lines("a topic was deleted and made anew", w.hits.Name())) == 1 })
		w.right(all, 0, 3)
		w.eventually("they are counted from the start", func() bool {
			rows := w.rows()
			return strings.Contains(rows["k-0"], `"n":3,"seqs":[0,1,2]`) && strings.Contains(rows["k-5"], `"n":3,"seqs":[0,1,2]`)
		})
	})
}

// Offsets that an admin sets, deletes, or takes the records of: what is gone is said, one line for a partition.
func TestEngine_OffsetsAndRecordsTaken(t *testing.T) {
	kafkatest.Waits(t)
	for name, one := range map[string]struct {
		do   func(t *testing.T, w *world, key string, at kadm.Offset)
		want string // in the line
		n    int    // hits counted in the end, of 5 before and 5 while nobody is there
	}{
		"SetBack": {func(t *testing.T, w *world, _ string, at kadm.Offset) {
			at.At, at.Metadata = 2, ""
			w.commit(t, at)
		}, "set the committed offset to 2: records up to 4 come again", 14},
		"SetForward": {func(t *testing.T, w *world, _ string, at kadm.Offset) {
			at.At, at.Metadata = 10, ""
			w.commit(t, at)
		}, "offsets 5 to 9 are left out", 6},
		"SetBeyondTheEnd": {func(t *testing.T, w *world, _ string, at kadm.Offset) {
			at.At, at.Metadata = 100, ""
			w.commit(t, at)
		}, "offset 100 is committed and the topic ends at 10", 16},
		"Deleted": {func(t *testing.T, w *world, _ string, at kadm.Offset) {
			for _, r := range must(w.admin().DeleteOffsets(t.Context(), w.prefix+"counts", kadm.TopicsSet{at.Topic: {at.Partition: {}}}))(t) {
				for _, err := range r {
					require.NoError(t, err)
				}
			}
		}, "the committed offset, 5 or more, is gone", 16},
		"RecordsDeleted": {func(t *testing.T, w *world, _ string, at kadm.Offset) {
			var o kadm.Offsets
			o.AddOffset(at.Topic, at.Partition, 8, -1)
			require.NoError(t, must(w.admin().DeleteRecords(t.Context(), o))(t).Error())
		}, "offsets 5 to 7 are gone unread", 8},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				dir := t.TempDir()
				e := w.start(dir, nil)
				key := "k-0"
				w.right([]string{key}, 0, 5)
				w.counted([]string{key}, 5)
				e.stop()
				w.right([]string{key}, 5, 10)
				committed := must(w.admin().FetchOffsets(t.Context(), w.prefix+"counts"))(t)
				at, ok := committed.Lookup(w.hits.Name(), stream.Partition(key, partitions))
				require.True(t, ok)
				require.EqualValues(t, 5, at.At)
				require.Equal(t, partitions, stream.CommittedPartitions(at.Metadata))
				one.do(t, w, key, at.Offset)

				log, change := w.log()
				e = w.start(dir, change)
				w.put(record(key, stream.Partition(key, partitions), `{"seq":99}`))
				w.eventually("the last one is counted", func() bool { s := w.row(key).Seqs; return len(s) > 0 && s[len(s)-1] == 99 })
				require.Equal(t, one.n, w.row(key).N, "%v", w.row(key).Seqs)
				e.stop()
				lines := log.lines("records are not as they were left")
				require.Len(t, lines, 1)
				require.Contains(t, lines[0], one.want)
				require.Contains(t, lines[0], fmt.Sprintf("topic=%s partition=%d", at.Topic, at.Partition))

				log, change = w.log()
				w.start(dir, change).stop()
				require.Empty(t, log.lines("records are not as they were left"), "it is said once")
			})
		})
	}
}

// committed returns the sum of the offsets of hits that the group has committed.
func (w *world) committed() (sum int64) {
	all := must(w.admin().FetchOffsets(w.t.Context(), w.prefix+"counts"))(w.t)
	for _, o := range all[w.hits.Name()] {
		sum += o.At
	}
	return sum
}

func (w *world) commit(t *testing.T, o kadm.Offset) {
	t.Helper()
	all := kadm.Offsets{}
	all.Add(o)
	require.NoError(t, w.admin().CommitAllOffsets(t.Context(), w.prefix+"counts", all))
}

// Records that are taken from under a running engine, as by retention: it goes on, and says what it has not read.
func TestEngine_RecordsTakenWhileRunning(t *testing.T) {
	for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				log, change := w.log()
				hold := make(chan struct{})
				var once, release sync.Once
				defer release.Do(func() { close(hold) })
				e := w.startHeld("", func(c *stream.Config) { change(c); c.Guarantee = guarantee }, func() { once.Do(func() { <-hold }) })
				w.eventually("the engine is ready", func() bool { return e.Ready() == nil })
				key := "k-0"
				p := stream.Partition(key, partitions)
				var all []*kgo.Record
				for seq := range 3000 { // much more than what is read ahead
					all = append(all, record(key, p, fmt.Sprintf(`{"seq":%d,"id":"%s"}`, seq, strings.Repeat("x", 4000))))
				}
				w.put(all...)
				var o kadm.Offsets
				o.AddOffset(w.hits.Name(), p, 3000, -1)
				require.NoError(t, must(w.admin().DeleteRecords(t.Context(), o))(t).Error())
				w.right([]string{key}, 3000, 3001)
				release.Do(func() { close(hold) })
				w.eventually("the last one is counted", func() bool { s := w.row(key).Seqs; return len(s) > 0 && s[len(s)-1] == 3000 })
				n := w.row(key).N
				require.Less(t, n, 3001, "some must be gone")
				require.Len(t, log.lines("records are not as they were left", fmt.Sprintf("offsets %d to 2999 are gone unread", n-1)), 1)
			})
		})
	}
}

// stable reports whether the group has members that have their partitions.
func (w *world) stable() bool {
	d, err := w.admin().DescribeGroups(w.t.Context(), w.prefix+"counts")
	return err == nil && d[w.prefix+"counts"].State == "Stable"
}

// A changelog that loses its beginning under a running engine, as by retention: it is said, once for each partition.
func TestEngine_ChangelogCutWhileRunning(t *testing.T) {
	kafkatest.Waits(t)
	each(t, func(t *testing.T, w *world) {
		log, change := w.log()
		w.start("", change)
		key := "k-0"
		p := stream.Partition(key, partitions)
		w.right([]string{key}, 0, 5)
		w.counted([]string{key}, 5)
		// Kafka deletes nothing from a topic that is only compacted.
		set := kadm.AlterConfig{Name: "cleanup.policy", Value: kadm.StringPtr("compact,delete")}
		_, err := must(w.admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{set}, w.catalog.table.Name()))(t).On(w.catalog.table.Name(), nil)
		require.NoError(t, err)
		var o kadm.Offsets
		o.AddOffset(w.catalog.table.Name(), p, 3, -1)
		w.eventually("the broker has heard of it, and the records are deleted", func() bool {
			err := must(w.admin().DeleteRecords(t.Context(), o))(t).Error()
			require.True(t, err == nil || errors.Is(err, kerr.PolicyViolation), "%v", err)
			return err == nil
		})
		began := time.Now()
		w.eventually("it is said", func() bool { return len(log.lines("a table is not as it was left")) > 0 })
		require.Less(t, time.Since(began), 10*time.Second)
		lines := log.lines("a table is not as it was left", fmt.Sprintf("partition=%d", p), "offsets 0 to 2 of its changelog are gone", "cleanup.policy=compact")
		require.Len(t, lines, 1)
		require.Equal(t, lines, log.lines("a table is not as it was left"))
	})
}

// A group's name that other consumers use ends the engine with what to do.
func TestEngine_GroupInUse(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		plain := w.b.Client(t, kgo.ConsumerGroup(w.prefix+"counts"), kgo.ConsumeTopics(w.hits.Name()), kgo.Balancers(kgo.RangeBalancer()))
		go plain.PollFetches(t.Context())
		w.eventually("others are in the group", func() bool { return w.stable() })
		db := must(state.OpenMemory())(t)
		defer db.Close()
		cfg := w.config()
		cfg.State = db
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := stream.Run(ctx, cfg, w.group(w.prefix, nil))
		var fault *stream.Fault
		require.ErrorAs(t, err, &fault)
		require.ErrorContains(t, err, "take another --prefix")
		require.ErrorContains(t, err, "--group "+w.prefix+"counts")
	})
}

package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/broker"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
)

// chapter is a message to a tale, which has two inputs and says a number for each.
type chapter struct {
	ID  string `json:"id"`
	Pad string `json:"pad,omitempty"`
}

type tale struct {
	Causes []string `json:"causes,omitempty"`
	Note   string   `json:"note,omitempty"`
}

func (t *tale) Spoken() (int, *string) { return len(t.Causes), &t.Note }

// library is a group of tales on a broker.
type library struct {
	*testing.T
	b           kafkatest.Broker
	prefix      string
	left, right topics.Stream[chapter]
	numbers     topics.Stream[total]
	table       topics.Table[tale]
	dead        topics.DeadLetters
	client      *kgo.Client
	mu          sync.Mutex
	heard       map[string][]int
	rows        map[string]int
	buried      int
}

func newLibrary(t *testing.T, b kafkatest.Broker) *library {
	prefix := b.Prefix(t)
	spec := func(name, cleanup string) topics.Spec {
		return topics.Spec{Topic: prefix + name, Partitions: partitions, Cleanup: cleanup, Retention: time.Hour}
	}
	l := &library{T: t, b: b, prefix: prefix, heard: map[string][]int{}, rows: map[string]int{},
		left: topics.Stream[chapter]{Spec: spec("left", topics.Delete)}, right: topics.Stream[chapter]{Spec: spec("right", topics.Delete)},
		numbers: topics.Stream[total]{Spec: spec("numbers", topics.Delete)}, table: topics.Table[tale]{Spec: spec("tales-table", topics.Compact)},
		dead: topics.DeadLetters{Spec: spec("dead-letters", topics.Delete)}}
	_, err := broker.CreateTopics([]string{b.Addr}, stream.Config{}.WithDefaults().Client(),
		[]topics.Spec{l.left.Spec, l.right.Spec, l.numbers.Spec, l.table.Spec, l.dead.Spec}, 1)
	require.NoError(t, err)
	l.client = b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	reader := b.Client(t, kgo.ConsumeTopics(l.numbers.Name(), l.table.Name(), l.dead.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			reader.PollFetches(ctx).EachRecord(l.see)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return l
}

func (l *library) see(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch key := string(r.Key); r.Topic {
	case l.numbers.Name():
		var n total
		_ = json.Unmarshal(r.Value, &n)
		l.heard[key] = append(l.heard[key], n.N)
	case l.table.Name():
		var row tale
		_ = json.Unmarshal(r.Value, &row)
		l.rows[key] = len(row.Causes)
	default:
		l.buried++
	}
}

func (l *library) group() stream.Group[tale] {
	tell := func(c *stream.Context[tale], m *chapter) {
		row := c.Row()
		if row == nil {
			row = &tale{}
		}
		own := slices.Index(row.Causes, m.ID) + 1
		for n := c.Unsaid(); n > 0 && n <= len(row.Causes) && (own == 0 || n < own); n++ {
			stream.Send(c, l.numbers, c.Key(), &total{N: n})
		}
		if own == 0 {
			row.Causes = append(row.Causes, m.ID)
			own = len(row.Causes)
			c.Save(row)
		}
		stream.Send(c, l.numbers, c.Key(), &total{N: own})
	}
	return stream.Group[tale]{Name: l.prefix + "tales", Table: l.table,
		Inputs:      []stream.Input[tale]{stream.From(l.left, tell), stream.From(l.right, tell)},
		Outputs:     []stream.Sink{l.numbers},
		DeadLetters: l.dead}
}

// start runs the group as an instance of that name, with an empty directory.
func (l *library) start(name string, change func(*stream.Config)) (stop func()) {
	l.Helper()
	db, err := state.Open(l.TempDir(), nil)
	require.NoError(l, err)
	cfg := stream.Config{Brokers: []string{l.b.Addr}, Partitions: partitions, Logger: kafkatest.Logger(l.T), CommitInterval: 20 * time.Millisecond,
		InstanceID: name, State: db}
	if change != nil {
		change(&cfg)
	}
	e := stream.New(cfg, l.group())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(l, err)
		case <-time.After(patience):
			require.FailNow(l, "the engine does not stop")
		}
		require.NoError(l, db.Close())
	})
	l.Cleanup(stop)
	l.eventually("the engine is ready", func() bool { return e.Ready() == nil })
	return stop
}

func (l *library) eventually(what string, ok func() bool) {
	l.Helper()
	require.Eventually(l, ok, patience, 5*time.Millisecond, what)
}

// locked returns what f does, with what was read so far.
func (l *library) locked(f func() bool) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return f()
	}
}

// put writes a chapter about each key.
func (l *library) put(t topics.Stream[chapter], id string, pad int, keys ...string) {
	l.Helper()
	var all []*kgo.Record
	for _, key := range keys {
		all = append(all, &kgo.Record{Topic: t.Name(), Key: []byte(key), Partition: stream.Partition(key, partitions),
			Value: fmt.Appendf(nil, `{"id":%q,"pad":%q}`, id, strings.Repeat("x", pad))})
	}
	require.NoError(l, l.client.ProduceSync(l.Context(), all...).FirstErr())
}

// leave takes a member's partitions from it, as the brokers do when it was killed.
func (l *library) leave(name string) {
	l.Helper()
	leave := kmsg.NewPtrLeaveGroupRequest()
	member := kmsg.NewLeaveGroupRequestMember()
	member.InstanceID = &name
	leave.Group, leave.Members = l.prefix+"tales", append(leave.Members, member)
	left, err := leave.RequestWith(l.Context(), l.client)
	require.NoError(l, err)
	require.NoError(l, errors.Join(kerr.ErrorForCode(left.ErrorCode), kerr.ErrorForCode(left.Members[0].ErrorCode)))
}

// A process is lost between its rows and what they say. Whichever input the next
// one reads first, nothing is heard for the first time after something newer.
func TestEngine_FirstAppearancesInOrder(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		l := newLibrary(t, b)
		way := newWire()
		way.pass = 1 // rows
		l.start("lost", func(c *stream.Config) {
			c.Dial, c.Linger = way.dial, 300*time.Millisecond // so that many rows are in one request
		})
		way.set(true)
		t.Cleanup(func() { way.set(false) })
		all := keys(400)
		l.put(l.left, "one", 2000, all...)
		l.eventually("what the rows say is on the way", way.holds)
		unheard := 0
		l.eventually("rows are there", l.locked(func() bool { unheard = len(l.rows); return unheard > 100 }))
		require.Empty(t, l.heard)
		l.leave("lost")
		l.put(l.right, "two", 0, all...)
		l.start("next", nil)
		l.eventually("both are heard", l.locked(func() bool {
			for _, key := range all {
				if !slices.Contains(l.heard[key], 1) || !slices.Contains(l.heard[key], 2) {
					return false
				}
			}
			return true
		}))
		l.mu.Lock()
		defer l.mu.Unlock()
		wrong := 0
		for _, key := range all {
			if slices.Index(l.heard[key], 2) < slices.Index(l.heard[key], 1) {
				wrong++
			}
		}
		require.Zero(t, wrong, "of %d: 2 was heard before 1", len(all))
	})
}

// Without a crash nothing is said twice: neither in a running group, nor when it
// is stopped and started, nor when its partitions move.
func TestEngine_SaysOnceWithoutACrash(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		l := newLibrary(t, b)
		all := keys(40)
		said := func(n int) {
			t.Helper()
			l.eventually(fmt.Sprintf("%d are heard", n), l.locked(func() bool {
				for _, key := range all {
					if len(l.heard[key]) < n {
						return false
					}
				}
				return true
			}))
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, key := range all {
				want := make([]int, n)
				for i := range want {
					want[i] = i + 1
				}
				require.Equal(t, want, l.heard[key], key)
			}
		}
		n := 0
		more := func(times int) {
			for range times {
				n++
				l.put([]topics.Stream[chapter]{l.left, l.right}[n%2], fmt.Sprint(n), 0, all...)
			}
			said(n)
		}
		stop := l.start("one", nil)
		more(6)
		stop()
		stop = l.start("two", nil)
		more(3)
		l.start("three", nil)
		more(3)
		stop()
		more(3)
	})
}

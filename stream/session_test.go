package stream

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

// brokerSession is the session beneath ours: what it is told is what would be committed.
type brokerSession struct {
	sarama.ConsumerGroupSession
	ctx     context.Context
	marked  map[tp]int64
	commits int
}

func (b *brokerSession) MarkOffset(topic string, partition int32, offset int64, _ string) {
	b.marked[tp{topic, partition}] = offset
}

func (b *brokerSession) Commit() { b.commits++ }

func (b *brokerSession) Context() context.Context { return b.ctx }
func (b *brokerSession) GenerationID() int32      { return 1 }
func (b *brokerSession) MemberID() string         { return "m" }

func TestUntilCommit(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, c := range []struct{ now, beat, offbeat int }{ // milliseconds behind a beat, with one every 100
		{0, 100, 50},
		{1, 99, 49},
		{24, 76, 26},
		{25, 75, 125}, // 25 away: too near
		{50, 50, 100},
		{74, 26, 76},
		{76, 124, 74},
		{99, 101, 51},
	} {
		now := time.Unix(1_800_000_000, 0).Add(ms(c.now))
		require.Equal(t, ms(c.beat), untilCommit(now, ms(100), false), "%d ms", c.now)
		require.Equal(t, ms(c.offbeat), untilCommit(now, ms(100), true), "%d ms, offbeat", c.now)
	}
}

func testSession() (*session, *brokerSession) {
	b := &brokerSession{marked: map[tp]int64{}}
	return &session{ConsumerGroupSession: b, run: &run{instance: &instance{tables: newTables()}}, offsets: map[tp]*progress{}}, b
}

func TestSession_FinishedPrefix(t *testing.T) {
	s, b := testSession()
	at := tp{"t", 0}
	for _, offset := range []int64{5, 6, 8, 20} { // offsets between are markers, or compacted
		s.enter("t", 0, offset)
	}
	s.commit()
	require.Empty(t, b.marked, "nothing is finished")

	s.MarkOffset("t", 0, 9, "") // 8 is finished
	s.MarkOffset("t", 0, 21, "")
	s.commit()
	require.Empty(t, b.marked, "5 is not finished")

	s.MarkOffset("t", 0, 6, "")
	require.Empty(t, b.marked, "marking commits nothing")
	s.commit()
	require.Equal(t, map[tp]int64{at: 6}, b.marked)

	s.MarkMessage(&sarama.ConsumerMessage{Topic: "t", Partition: 0, Offset: 6}, "")
	s.commit()
	require.Equal(t, map[tp]int64{at: 21}, b.marked)
	before := b.commits
	s.commit()
	require.Greater(t, b.commits, before, "what could not be committed is tried again, also when nothing new is finished")

	s.enter("t", 0, 21)
	s.commit()
	require.Equal(t, map[tp]int64{at: 21}, b.marked)
}

// One partition that is held up holds up no other, of the same topic or the same number.
func TestSession_EachPartitionAlone(t *testing.T) {
	s, b := testSession()
	for _, at := range []tp{{"a", 0}, {"a", 1}, {"b", 0}} {
		s.enter(at.topic, at.partition, 0)
		s.enter(at.topic, at.partition, 1)
	}
	s.MarkOffset("a", 0, 2, "")
	s.MarkOffset("a", 1, 1, "")
	s.MarkOffset("b", 0, 1, "")
	s.MarkOffset("b", 0, 2, "")
	s.commit()
	require.Equal(t, map[tp]int64{{"a", 1}: 1, {"b", 0}: 2}, b.marked)
}

// In whatever order messages are finished, nothing unfinished is ever committed, and in the end all is.
func TestSession_AnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		s, b := testSession()
		at := tp{"t", 3}
		open, last, entered := map[int64]bool{}, int64(0), 0
		for entered < 40 || len(open) > 0 {
			if entered < 40 && r.IntN(2) == 0 {
				last += 1 + r.Int64N(3)
				s.enter("t", 3, last)
				open[last] = true
				entered++
				continue
			}
			for offset := range open { // any
				s.MarkOffset("t", 3, offset+1, "")
				delete(open, offset)
				break
			}
			s.commit()
			committed, ok := b.marked[at]
			for offset := range open {
				require.True(t, !ok || committed <= offset, "seed %d: %d is committed while %d is open", seed, committed, offset)
			}
		}
		require.Equal(t, last+1, b.marked[at], "seed %d", seed)
		p := s.offsets[at]
		require.Empty(t, p.open)
		require.Empty(t, p.done, "nothing is kept of what is committed")
	}
}

// claimed is a claim with a high watermark.
type claimed struct {
	sarama.ConsumerGroupClaim
	topic         string
	partition     int32
	initial, high int64
}

func (c claimed) Topic() string              { return c.topic }
func (c claimed) Partition() int32           { return c.partition }
func (c claimed) InitialOffset() int64       { return c.initial }
func (c claimed) HighWaterMarkOffset() int64 { return c.high }

func TestSession_Lag(t *testing.T) {
	s, _ := testSession()
	s.claim(claimed{topic: "t", partition: 0, initial: 10, high: 15})
	s.claim(claimed{topic: "t", partition: 1, initial: sarama.OffsetOldest, high: 15}) // from the oldest record there is
	s.claim(claimed{topic: "t", partition: 2, initial: 10, high: 11})
	s.enter("u", 0, 5) // without a claim
	lag := func() map[tp]int64 {
		all := map[tp]int64{}
		s.lag(func(topic string, partition int32, records int64) { all[tp{topic, partition}] = records })
		return all
	}
	require.Equal(t, map[tp]int64{{"t", 0}: 5, {"t", 1}: 15, {"t", 2}: 1}, lag())
	s.enter("t", 0, 10)
	s.enter("t", 0, 11)
	s.MarkOffset("t", 0, 12, "")
	require.Equal(t, int64(5), lag()[tp{"t", 0}])
	s.MarkOffset("t", 0, 11, "")
	require.Equal(t, int64(3), lag()[tp{"t", 0}])
}

// A commit that failed is not forgotten: its offsets count as committed by then,
// so that the session's last commit would find nothing to do and leave the
// transaction open for the next session, which handles the messages again.
func TestSession_BrokenTransaction(t *testing.T) {
	s, _ := testSession()
	s.changed.L = &s.mu
	ctx, cancel := context.WithCancel(t.Context())
	s.ConsumerGroupSession.(*brokerSession).ctx = ctx
	gone, err := Config{Brokers: []string{"127.0.0.1:1"}}.WithDefaults().newClient()
	require.NoError(t, err)
	gone.Close()
	s.run.producer.Store(&producer{txn: &transaction{client: gone, open: true}})

	s.enter("t", 0, 5)
	s.MarkOffset("t", 0, 6, "")
	failed := s.commitTransaction(false)
	require.Error(t, failed)
	require.False(t, s.enter("t", 0, 6), "nothing is let in any more")
	cancel()
	require.ErrorIs(t, s.commitTransaction(true), failed)
}

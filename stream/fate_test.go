package stream

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
)

// holder is a session that has one partition of each topic.
type holder struct {
	*brokerSession
	topics []string
}

func (c holder) Claims() map[string][]int32 {
	all := map[string][]int32{}
	for _, t := range c.topics {
		all[t] = []int32{0}
	}
	return all
}

// What became of a message is told by where the session began, what it has read,
// and what is finished.
func TestSession_Fate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		b := &brokerSession{ctx: ctx, marked: map[tp]int64{}}
		s := newSession(holder{b, []string{"a", "new", "late", "never"}}, &run{instance: &instance{tables: newTables()}})
		type is struct{ read, settled bool }
		fate := func(topic string, offset int64) is {
			read, settled := s.fate(topic, 0, offset)
			return is{read, settled}
		}
		s.claim(claimed{topic: "a", initial: 10})
		s.claim(claimed{topic: "new", initial: sarama.OffsetOldest})
		s.enter("a", 0, 10)
		s.enter("a", 0, 12)
		s.MarkOffset("a", 0, 11, "")
		require.Equal(t, is{true, true}, fate("a", 9), "committed before")
		require.Equal(t, is{true, true}, fate("a", 10), "finished")
		require.Equal(t, is{true, false}, fate("a", 12), "read")
		require.Equal(t, is{}, fate("a", 13))
		require.Equal(t, is{}, fate("new", 0), "nothing is committed")
		require.Equal(t, is{}, fate("removed", 0), "no input any more")
		s.enter("new", 0, 0)
		require.Equal(t, is{true, false}, fate("new", 0))

		got := make(chan is, 2)
		go func() { got <- fate("late", 5) }()
		synctest.Wait()
		require.Empty(t, got, "it is not known where its reading begins")
		s.claim(claimed{topic: "late", initial: 6})
		require.Equal(t, is{true, true}, <-got)
		go func() { got <- fate("never", 5) }()
		synctest.Wait()
		stop()
		require.Equal(t, is{}, <-got, "the session ends")
	})
}

package stream

import (
	"math/rand/v2"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/planted"
	"baedal/state"
)

// What planted bugs need that is longer than a line. In a normal build nothing
// of it is called.

// spoil does what must not be done before a transaction is committed.
func (s *session) spoil(group *kmsg.TxnOffsetCommitRequest) {
	if planted.On(planted.FlushBeforeCommit) {
		_ = s.run.tables.each((*state.Table).Flush)
	}
	if planted.On(planted.OffsetsOutsideTransaction) {
		for _, t := range group.Topics {
			for _, p := range t.Partitions {
				s.ConsumerGroupSession.MarkOffset(t.Topic, p.Partition, p.Offset, "")
			}
		}
		s.ConsumerGroupSession.Commit()
	}
}

// scramble forwards a record some time later, behind those that came after it.
func (h *handler[R]) scramble(in Input[R], key string, raw []byte, headers goka.Headers) bool {
	box := h.outbox.Load()
	if box == nil {
		return false
	}
	time.AfterFunc(rand.N(60*time.Millisecond), func() { box.emit(output{in.sink.Name(), key, raw, headers}) })
	return true
}

package stream_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
	"baedal/stream"
)

// A record that the brokers refuse ends the run also while a commit waits for its message and the next message of the partition
// waits for the commit.
func TestEngine_RefusedWhileACommitWaits(t *testing.T) {
	kafkatest.Waits(t)
	each(t, func(t *testing.T, w *world) {
		log, change := w.log()
		way := newWire()
		e := w.startHeld("", func(c *stream.Config) { change(c); c.Guarantee, c.Dial = stream.ExactlyOnce, way.dial },
			func() { time.Sleep(time.Millisecond) }) // slower than the commits come
		w.eventually("the engine is ready", func() bool { return e.Ready() == nil })

		way.set(true)
		t.Cleanup(func() { way.set(false) })
		key := []string{"k-0"}
		w.right(key, 0, 500)
		handled := 0
		w.eventually("a commit keeps the next message waiting", func() bool {
			was := handled
			handled = e.handled()
			return way.holds() && e.CommitWaits() && handled == was
		})
		require.Less(t, handled, 500, "none is left to wait")
		w.limit(t, "100", w.catalog.totals.Name()) // the end of a transaction is 78 bytes, and must have its place
		w.eventually("the broker has heard of it", func() bool {
			long := &kgo.Record{Topic: w.catalog.totals.Name(), Key: []byte("k-long"), Value: []byte(rand.Text() + rand.Text() + rand.Text() + rand.Text() + rand.Text() + rand.Text())} // can't be packed
			return errors.Is(w.client.ProduceSync(t.Context(), long).FirstErr(), kerr.MessageTooLarge)
		})
		way.set(false)
		w.eventually("the refusal is logged", func() bool { return len(log.lines("a topic refuses", w.catalog.totals.Name())) > 0 })

		w.limit(t, "1048588", w.catalog.totals.Name())
		w.counted(key, 500)
	})
}

// limit sets the size of the batches that a topic takes.
func (w *world) limit(t *testing.T, bytes, topic string) {
	t.Helper()
	set := kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &bytes}
	_, err := must(w.admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{set}, topic))(t).On(topic, nil)
	require.NoError(t, err)
}

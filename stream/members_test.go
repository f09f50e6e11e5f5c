package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"

	"baedal/state"
	"baedal/stream"

	"baedal/internal/kafkatest"
)

// try runs an engine and returns what it ends with.
func (w *world) try(change func(*stream.Config), prepare func(*stream.Engine)) <-chan error {
	w.t.Helper()
	db, err := state.Open(w.t.TempDir(), nil)
	require.NoError(w.t, err)
	cfg := w.config()
	cfg.State = db
	change(&cfg)
	e := stream.New(cfg, w.group(w.prefix, nil))
	if prepare != nil {
		prepare(e)
	}
	ctx, stop := context.WithCancel(context.Background())
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		done <- e.Run(ctx)
	}()
	w.t.Cleanup(func() { stop(); <-ended; _ = db.Close() })
	return done
}

func as(name string, g stream.Guarantee) func(*stream.Config) {
	return func(c *stream.Config) { c.InstanceID, c.Guarantee = name, g }
}

// Who has another guarantee than those who are there is refused, and they go on.
func TestEngine_OtherGuarantee(t *testing.T) {
	kafkatest.Waits(t)
	each(t, func(t *testing.T, w *world) {
		for have, want := range map[stream.Guarantee]stream.Guarantee{stream.AtLeastOnce: stream.ExactlyOnce, stream.ExactlyOnce: stream.AtLeastOnce} {
			t.Run(string(want), func(t *testing.T) {
				e := w.start("", as("first", have))
				select {
				case err := <-w.try(as("second", want), nil):
					require.ErrorAs(t, err, new(*stream.Fault))
					require.ErrorContains(t, err, "instance first")
					require.ErrorContains(t, err, "give this one the guarantee "+string(have))
					require.NotContains(t, err.Error(), "\n")
				case <-time.After(patience):
					require.FailNow(t, "it was not refused")
				}
				require.NoError(t, e.Ready(), "the first goes on")

				select { // both looked before the other one was there
				case err := <-w.try(as("third", want), (*stream.Engine).Unchecked):
					require.ErrorContains(t, err, "give this one the guarantee "+string(have), "the younger one ends")
				case <-time.After(patience):
					require.FailNow(t, "it was not ended")
				}
				w.eventually("the first goes on", func() bool { return e.Ready() == nil })
				e.stop()
			})
		}
		// The same instance again, before the brokers have forgotten it: it may change.
		first := w.try(as("same", stream.AtLeastOnce), nil)
		w.eventually("it is a member", func() bool {
			all, err := stream.Members(t.Context(), w.config(), w.prefix+"counts")
			return err == nil && len(all) == 1 && all[0].InstanceID == "same"
		})
		w.start("", as("same", stream.ExactlyOnce))
		require.ErrorContains(t, <-first, "instance-id")
	})
}

// All members are told, once, that they differ in a setting; also when they have rebalanced before, and of members that say
// nothing of themselves nothing is said.
func TestEngine_OtherSettings(t *testing.T) {
	kafkatest.Waits(t)
	each(t, func(t *testing.T, w *world) {
		with := func(name, keep string, log *lines) func(*stream.Config) {
			return func(c *stream.Config) {
				c.InstanceID, c.Logger = name, log.logger()
				c.Agree = map[string]string{"keep-orders": keep, "dispatch": "assign"}
			}
		}
		var logs [3]lines
		differs := func(log *lines, here, there, instance string) int {
			return log.containing("setting=keep-orders here=" + here + " there=" + there + " instance=" + instance)
		}
		w.start("", with("a", "72h", &logs[0]))
		w.start("", with("b", "72h", &logs[1]))
		silent := w.config().WithDefaults().Client()
		silent.Consumer.Group.InstanceId, silent.Consumer.Group.Member.UserData = "", []byte("something else")
		w.join(silent)
		c := w.start("", with("c", "48h", &logs[2]))
		w.eventually("all are told", func() bool {
			return differs(&logs[0], "72h", "48h", "c") == 1 && differs(&logs[1], "72h", "48h", "c") == 1 &&
				differs(&logs[2], "48h", "72h", "a") == 1 && differs(&logs[2], "48h", "72h", "b") == 1
		})
		d := w.start("", with("d", "72h", &lines{})) // one more rebalance
		w.eventually("it is told, too", func() bool { return differs(&logs[2], "48h", "72h", "d") == 1 })
		d.stop()
		for i := range logs {
			require.Zero(t, logs[i].containing("setting=dispatch"))
			require.LessOrEqual(t, logs[i].containing("differ in a setting"), 3, logs[i].String())
		}
		require.Equal(t, 1, logs[0].containing("differ in a setting"), "once")
		c.stop()
	})
}

// join lets a member of an older kind into the group.
func (w *world) join(cfg *sarama.Config) {
	w.t.Helper()
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{goka.StrictCopartitioningStrategy}
	g, err := sarama.NewConsumerGroup([]string{w.b.Addr}, w.prefix+"counts", cfg)
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	h := &idle{joined: make(chan struct{}, 100)}
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = g.Consume(ctx, []string{w.hits.Name(), w.loop.Name()}, h)
		}
	}()
	w.t.Cleanup(func() { stop(); <-ended; _ = g.Close() })
	select {
	case <-h.joined:
	case <-time.After(patience):
		require.FailNow(w.t, "the silent member does not join")
	}
}

// idle takes partitions and handles nothing.
type idle struct{ joined chan struct{} }

func (h *idle) Setup(sarama.ConsumerGroupSession) error   { h.joined <- struct{}{}; return nil }
func (h *idle) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *idle) ConsumeClaim(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-s.Context().Done()
	return nil
}

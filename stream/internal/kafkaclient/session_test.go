package kafkaclient

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/kafkatest"
)

// Heartbeats are frequent while records come in, and at the beginning; seldom at
// rest; and never so seldom that a session could end by it.
func TestSession_Pause(t *testing.T) {
	cfg := sarama.NewConfig()
	cfg.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	cfg.Consumer.Group.Session.Timeout = 10 * time.Second
	s := &session{g: &group{cfg: cfg}, begun: time.Now()}
	require.Equal(t, 300*time.Millisecond, s.pause())
	s.begun = s.begun.Add(-time.Minute)
	require.Equal(t, time.Second, s.pause())
	s.flow.Store(int64(time.Since(s.begun)))
	require.Equal(t, 300*time.Millisecond, s.pause())
	s.flow.Store(int64(time.Since(s.begun) - 10*time.Second))
	require.Equal(t, time.Second, s.pause())
	cfg.Consumer.Group.Session.Timeout = 2 * time.Second
	require.Equal(t, 500*time.Millisecond, s.pause())
}

// What a heartbeat is answered, or that it is not, ends the session, and the
// member joins again.
func TestGroup_SessionEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer int16 // of heartbeats; 0: the connection breaks
		cause  error
	}{
		{"rebalance", kerr.RebalanceInProgress.Code, kerr.RebalanceInProgress},
		{"unknown", kerr.UnknownMemberID.Code, kerr.UnknownMemberID},
		{"generation", kerr.IllegalGeneration.Code, kerr.IllegalGeneration},
		{"silent", 0, errSilent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"),
				kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "1000"}))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			var bad atomic.Bool
			cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				if !bad.Load() {
					return nil, nil, false
				}
				if c.answer == 0 {
					return nil, errors.New("cut"), true
				}
				resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
				resp.ErrorCode = c.answer
				return resp, nil, true
			})
			w := &world{t: t, b: kafkatest.Broker{Addr: cluster.ListenAddrs()[0]}, topics: []string{"t"}}
			w.c = w.client()
			cfg := w.settings("")
			cfg.Consumer.Group.Session.Timeout = time.Second
			g, err := w.c.Group("g", cfg, time.Millisecond, func() {})
			require.NoError(t, err)
			ended := make(chan error, 100)
			m := w.join(g, &member{setup: func(s sarama.ConsumerGroupSession) {
				ctx := s.Context()
				go func() { <-ctx.Done(); ended <- cause(s) }()
			}})
			w.eventually("it has joined", func() bool { return len(m.owns()) == 2 })
			bad.Store(true)
			select {
			case err := <-ended:
				require.ErrorIs(t, err, c.cause)
			case <-time.After(patient):
				require.FailNow(t, "the session does not end")
			}
			bad.Store(false)
			w.eventually("it joins again", func() bool { return len(m.owns()) == 2 })
			m.stop()
			require.NoError(t, m.err)
		})
	}
}

func cause(s sarama.ConsumerGroupSession) error {
	return context.Cause(s.Context())
}

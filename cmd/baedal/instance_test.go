package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
	"baedal/stream"
	"baedal/topics"
)

// sessionTimeout is the shortest that a kind of broker takes.
func sessionTimeout(b kafkatest.Broker) string {
	if b.Name == kafkatest.KafkaName {
		return "6s"
	}
	return "2s"
}

func upFlags(b kafkatest.Broker, prefix, dir string, more ...string) []string {
	return append([]string{"up", "--brokers", b.Addr, "--prefix", prefix, "--partitions", "4", "--data-dir", dir, "--http", "127.0.0.1:0",
		"--session-timeout", sessionTimeout(b)}, more...)
}

func idOf(t *testing.T, dir string) string {
	i, err := readInstance(dir)
	require.NoError(t, err)
	require.NotEmpty(t, i.id)
	return i.id
}

// copyOf is what cp -r makes of a data directory.
func copyOf(t *testing.T, dir string) string {
	to := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// A copy of a data directory is started beside its original: it is refused, and the original does not notice.
func TestUp_CopiedDataDirectory(t *testing.T) {
	kafkatest.Waits(t)
	for _, guarantee := range []string{"at-least-once", "exactly-once"} {
		t.Run(guarantee, func(t *testing.T) {
			kafkatest.Waits(t)
			kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
				prefix, dir := b.Prefix(t), t.TempDir()
				original := launch(t, upFlags(b, prefix, dir, "--guarantee", guarantee)...).up()
				id := idOf(t, dir)
				to := copyOf(t, dir)
				for range 2 { // it is refused each time
					newcomer := launch(t, upFlags(b, prefix, to, "--guarantee", guarantee)...)
					require.Equal(t, exitFailed, newcomer.ends())
					require.Len(t, newcomer.err.lines("waiting until nobody runs as its instance"), 1)
					last := newcomer.err.lines("baedal: ")
					require.Len(t, last, 1)
					require.Contains(t, last[0], "another process runs as this instance: "+id)
					require.Contains(t, last[0], "delete "+instancePath(to))
					require.True(t, strings.HasSuffix(newcomer.err.String(), last[0]))
				}
				require.Equal(t, id, idOf(t, to), "it has changed nothing")
				code, _, _ := original.call("GET", "/readyz", "")
				require.Equal(t, http.StatusOK, code)
				code, _, _ = original.call("POST", "/v1/orders?wait=refused",
					`{"id":"o","userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`)
				require.Equal(t, http.StatusCreated, code)
				require.Empty(t, original.err.lines("level=ERROR"))

				require.NoError(t, os.Remove(instancePath(to)))
				other := launch(t, upFlags(b, prefix, to, "--guarantee", guarantee)...).up()
				require.NotEqual(t, id, idOf(t, to))
				other.stop()
				require.Zero(t, other.ends())

				// Nobody runs under the name of a copy: it is another instance from now on, and does not meet the original, which is fast.
				second := copyOf(t, dir)
				original.stop()
				require.Zero(t, original.ends())
				other = launch(t, upFlags(b, prefix, second, "--guarantee", guarantee)...).up()
				require.Empty(t, other.err.lines("waiting until nobody runs"))
				require.NotEqual(t, id, idOf(t, second))
				again := launch(t, upFlags(b, prefix, dir, "--guarantee", guarantee)...).up()
				require.Equal(t, id, idOf(t, dir))
				again.stop()
				other.stop()
				require.Zero(t, again.ends())
				require.Zero(t, other.ends())
			})
		})
	}
}

// The same directory needs no question; one that was copied from an instance that was killed waits for its session to end.
func TestInstanceID(t *testing.T) {
	kafkatest.Waits(t)
	b := kafkatest.Embedded(t)
	prefix := b.Prefix(t)
	p := &process{settings: &settings{dataDir: t.TempDir()}, runs: []string{topics.Orders, topics.Stock}, catalog: topics.New(prefix, 4), log: kafkatest.Logger(t)}
	nobody := stream.Config{Brokers: []string{"127.0.0.1:1"}, SessionTimeout: time.Second}
	id, err := p.instanceID(t.Context(), nobody)
	require.NoError(t, err)
	again, err := p.instanceID(t.Context(), nobody)
	require.NoError(t, err)
	require.Equal(t, id, again, "no broker was asked")

	moved := filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.Rename(p.dataDir, moved))
	p.dataDir = moved
	again, err = p.instanceID(t.Context(), nobody)
	require.NoError(t, err)
	require.Equal(t, id, again, "it is the same directory")

	_, err = kadm.NewClient(b.Client(t)).CreateTopics(t.Context(), 1, 1, nil, prefix+"x")
	require.NoError(t, err)
	member := func() *kgo.Client {
		cl := b.Client(t, kgo.ConsumerGroup(prefix+"stock"), kgo.InstanceID(id), kgo.ConsumeTopics(prefix+"x"), kgo.SessionTimeout(3*time.Second), kgo.HeartbeatInterval(300*time.Millisecond))
		require.Eventually(t, func() bool {
			ready, cancel := context.WithCancel(t.Context())
			cancel() // what is there, without waiting
			cl.PollFetches(ready)
			all, err := stream.Members(t.Context(), stream.Config{Brokers: []string{b.Addr}}, prefix+"stock", prefix+"orders")
			return err == nil && len(all) == 1 && all[0].InstanceID == id
		}, time.Minute, 20*time.Millisecond)
		return cl
	}
	cfg := stream.Config{Brokers: []string{b.Addr}, SessionTimeout: 3 * time.Second}
	for name, change := range map[string]func(*instance){
		"AnotherKernel":    func(i *instance) { i.kernel = "another" },
		"AnotherDirectory": func(i *instance) { i.directory = "another" },
		"OlderFile":        func(i *instance) { i.directory, i.kernel = "", "" },
	} {
		t.Run(name, func(t *testing.T) {
			p.dataDir = t.TempDir()
			here := instance{id: id}
			here.directory, here.kernel, err = whichDirectory(p.dataDir)
			require.NoError(t, err)
			changed := here
			change(&changed)
			require.NoError(t, changed.write(p.dataDir))
			if name == "OlderFile" {
				require.NoError(t, os.WriteFile(instancePath(p.dataDir), []byte(id), 0o644))
			}

			cl := member()
			_, err := p.instanceID(t.Context(), cfg)
			require.ErrorContains(t, err, "another process runs as this instance: "+id)
			cl.CloseAllowingRebalance() // without leaving, as it has a name: like a killed one
			began := time.Now()
			got, err := p.instanceID(t.Context(), cfg)
			require.NoError(t, err)
			require.Less(t, time.Since(began), 3*time.Second+vanishing)
			if name == "AnotherDirectory" {
				require.NotEqual(t, id, got)
				here.id = got
			}
			require.Equal(t, here.id, got)
			now, err := readInstance(p.dataDir)
			require.NoError(t, err)
			require.Equal(t, here, now)
			got, err = p.instanceID(t.Context(), nobody)
			require.NoError(t, err)
			require.Equal(t, here.id, got, "and no question from then on")
		})
	}
}

// Instances that share groups have the same settings, or it is said.
func TestRun_SettingsDiffer(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		prefix := b.Prefix(t)
		first := launch(t, upFlags(b, prefix, t.TempDir(), "--deadline", "paid=5m")...).up()
		other := launch(t, upFlags(b, prefix, t.TempDir(), "--guarantee", "at-least-once")...)
		require.Equal(t, exitFailed, other.ends())
		last := other.err.lines("baedal: ")
		require.Len(t, last, 1)
		for _, word := range []string{"exactly-once", "at-least-once", "give this one the guarantee exactly-once"} {
			require.Contains(t, last[0], word)
		}
		second := launch(t, upFlags(b, prefix, t.TempDir(), "--keep-orders", "48h", "--deadline", "ready=1m")...).up()
		for _, p := range []*program{first, second} {
			p.eventually("it is warned of what differs", time.Minute, func() bool {
				return len(p.err.lines("differ in a setting")) >= 2
			})
			for _, line := range p.err.lines("differ in a setting") {
				require.Regexp(t, "setting=(keep-orders|deadline) ", line, "a deadline that is the default is no difference")
			}
		}
		require.Len(t, first.err.lines(`setting=keep-orders here=72h0m0s there=48h0m0s`), 1)
		require.Len(t, second.err.lines(`setting=keep-orders here=48h0m0s there=72h0m0s`), 1)
		code, _, _ := first.call("GET", "/readyz", "")
		require.Equal(t, http.StatusOK, code)
	})
}

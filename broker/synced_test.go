package broker

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// disk is a sync that the test lets end.
type disk struct {
	begun chan struct{}
	end   chan error
	syncs atomic.Int32
}

func newDisk() *disk { return &disk{begun: make(chan struct{}, 100), end: make(chan error)} }

func (d *disk) sync() error {
	d.syncs.Add(1)
	d.begun <- struct{}{}
	return <-d.end
}

func TestGroupSync_OneSyncServesAllWhoCameBeforeItBegan(t *testing.T) {
	d := newDisk()
	g := newGroupSync(d.sync)
	done := make(chan error, 10)
	go func() { done <- g.wait() }()
	<-d.begun
	for range 9 { // too late for the sync that runs
		go func() { done <- g.wait() }()
	}
	waiting := func() bool { // all nine stand in wait: only then is it known that one sync serves them all
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.waiters == 10
	}
	require.Eventually(t, waiting, 10*time.Second, time.Millisecond, "nine more wait")
	d.end <- nil
	require.NoError(t, <-done)
	<-d.begun
	assert.Empty(t, done, "answered by a sync that began before they came")
	d.end <- nil
	for range 9 {
		require.NoError(t, <-done)
	}
	assert.EqualValues(t, 2, d.syncs.Load())
}

func TestGroupSync_NothingIsAcknowledgedAfterAFailure(t *testing.T) {
	full := errors.New("no space left on device")
	g := newGroupSync(func() error { return full })
	require.ErrorIs(t, g.wait(), full)
	g.sync = func() error { return nil }
	require.ErrorIs(t, g.wait(), full)
}

func TestSyncedConn(t *testing.T) {
	for name, c := range map[string]struct {
		key   kmsg.Key
		inner bool // through Dial
		sync  bool
	}{
		"Produce":            {kmsg.Produce, false, true},
		"OffsetCommit":       {kmsg.OffsetCommit, false, true},
		"CreateTopics":       {kmsg.CreateTopics, false, true},
		"EndTxn":             {kmsg.EndTxn, false, true},
		"Fetch":              {kmsg.Fetch, false, false},
		"Heartbeat":          {kmsg.Heartbeat, false, false},
		"Produce, inner":     {kmsg.Produce, true, false},
		"OffsetCommit,inner": {kmsg.OffsetCommit, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			syncs := 0
			client, server := net.Pipe()
			defer client.Close()
			conn := &syncedConn{Conn: server, group: newGroupSync(func() error { syncs++; return nil }), inner: &sync.Map{}}
			if c.inner {
				conn.inner.Store(server.RemoteAddr().String(), nil)
			}
			request := append([]byte{0, 0, 0, 11, 0, byte(c.key), 0, 9, 1, 2, 3, 4}, "abc"...)
			response := []byte{0, 0, 0, 4, 1, 2, 3, 4}
			for round := 1; round <= 2; round++ { // the second shows that the first was read to its end
				go func() {
					for _, b := range request { // however the bytes come
						_, _ = client.Write([]byte{b})
					}
				}()
				for got := 0; got < len(request); {
					n, err := conn.Read(make([]byte, 4))
					require.NoError(t, err)
					got += n
				}
				go func() { _, _ = client.Read(make([]byte, 8)) }()
				_, err := conn.Write(response)
				require.NoError(t, err)
				if c.sync {
					assert.Equal(t, round, syncs)
				} else {
					assert.Zero(t, syncs)
				}
			}
			assert.Empty(t, conn.pending)
		})
	}
}

func TestSyncedConn_NoAnswerWhereTheSyncFails(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	conn := &syncedConn{Conn: server, group: newGroupSync(func() error { return errors.New("broken") }), pending: []request{{id: 7, changes: true}}}
	n, err := conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 7})
	require.ErrorContains(t, err, "broken")
	assert.Zero(t, n)
}

func TestSyncedConn_ForgetsRequestsWithoutAnAnswer(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	conn := &syncedConn{Conn: server, group: newGroupSync(func() error { return errors.New("a sync for a fetch") })}
	conn.pending = []request{{id: 5, changes: true}, {id: 6}, {id: 7, changes: true}}
	go func() { _, _ = client.Read(make([]byte, 8)) }()
	_, err := conn.Write([]byte{0, 0, 0, 4, 0, 0, 0, 6})
	require.NoError(t, err)
	assert.Equal(t, []request{{id: 7, changes: true}}, conn.pending)
}

package broker

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake's own SyncWrites syncs two files for each batch in the one goroutine that handles every request: 2,000 batches a second here,
// and fetches stand in the same line. Here the answer waits instead of the broker: kfake writes, and its answer to a request that
// changed something leaves after a sync of the file system that began once the answer was there. All connections share the syncs.
//
// A consumer may see a record before it is synced. What is acknowledged because of that record was written after it, so the sync
// that its acknowledgement waits for covers both.
//
// What this process itself produces through Dial is answered before the disk has it: the engine handles a command again unless the
// offset behind it is committed, and that answer waits for a sync that covers everything the command led to. A hop of an order then
// costs no sync, and a kill of the process loses nothing, as the operating system has what was written.

// groupSync runs one sync at a time, for all who waited when it began.
type groupSync struct {
	sync func() error
	die  func(error) // is told of the first failure; nil for nobody

	mu      sync.Mutex
	changed sync.Cond
	began   uint64 // syncs begun
	ended   uint64 // syncs ended
	waiters int
	err     error // the first failure; after it nothing is known about what is on disk, and nothing is acknowledged any more
}

func newGroupSync(sync func() error) *groupSync {
	g := &groupSync{sync: sync}
	g.changed.L = &g.mu
	return g
}

// wait returns once a sync that began after the call has ended.
func (g *groupSync) wait() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiters++
	defer func() { g.waiters-- }()
	for mine := g.began + 1; g.ended < mine && g.err == nil; {
		if g.began > g.ended {
			g.changed.Wait()
			continue
		}
		g.began++
		g.mu.Unlock()
		err := g.sync()
		g.mu.Lock()
		g.ended++
		if err != nil {
			g.failed(err)
		}
		g.changed.Broadcast()
	}
	return g.err
}

// fail lets nothing be acknowledged any more.
func (g *groupSync) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed(err)
	g.changed.Broadcast()
}

// quit lets nobody be told of a failure any more: who closes the broker asks for it.
func (g *groupSync) quit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.die = nil
}

// broken returns why nothing is acknowledged any more, or nil.
func (g *groupSync) broken() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

func (g *groupSync) failed(err error) {
	if g.err != nil {
		return
	}
	g.err = fmt.Errorf("the disk did not take what was written: %w", err)
	if g.die != nil {
		go g.die(g.err)
	}
}

// syncedListener's connections send no acknowledgement before what it acknowledges is synced.
type syncedListener struct {
	net.Listener
	group *groupSync
	inner *sync.Map // local addresses of the connections that Dial made
}

func (l syncedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &syncedConn{Conn: conn, group: l.group, inner: l.inner}, nil
}

// syncedConn looks at the head of every request (size, key, version, correlation id) and of every response (size, correlation id).
// kfake writes a response with one Write.
type syncedConn struct {
	net.Conn
	group *groupSync
	inner *sync.Map

	head [12]byte // of the request that is being read
	have int      // bytes of head that are there
	skip int      // bytes of the request that are still to come after its head

	mu      sync.Mutex
	pending []request // read and not answered, in their order, which is also the order of the answers
}

type request struct {
	id      uint32
	changes bool
}

func (c *syncedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.look(b[:n])
	return n, err
}

func (c *syncedConn) look(b []byte) {
	for len(b) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(b))
			c.skip -= n
			b = b[n:]
			continue
		}
		n := copy(c.head[c.have:], b)
		c.have += n
		b = b[n:]
		if c.have < len(c.head) {
			return
		}
		c.have = 0
		c.skip = int(binary.BigEndian.Uint32(c.head[:])) - 8
		c.mu.Lock()
		key := kmsg.Key(binary.BigEndian.Uint16(c.head[4:]))
		_, inner := c.inner.Load(c.RemoteAddr().String())
		c.pending = append(c.pending, request{binary.BigEndian.Uint32(c.head[8:]), changes(key) && !(inner && key == kmsg.Produce)})
		c.mu.Unlock()
	}
}

func (c *syncedConn) Write(b []byte) (int, error) {
	if c.answersChange(b) {
		if err := c.group.wait(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// answersChange tells whether a response is to a request that changed something, and forgets that request and those before it:
// a produce request that wants no acknowledgement has no response.
func (c *syncedConn) answersChange(response []byte) bool {
	if len(response) < 8 {
		return true
	}
	id := binary.BigEndian.Uint32(response[4:])
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.pending, func(r request) bool { return r.id == id })
	if i < 0 {
		return true // never seen; rather sync than not
	}
	changed := c.pending[i].changes
	c.pending = slices.Delete(c.pending, 0, i+1)
	return changed
}

// changes tells whether a request may have written something that its answer acknowledges.
func changes(key kmsg.Key) bool {
	switch key {
	case kmsg.ApiVersions, kmsg.Metadata, kmsg.Fetch, kmsg.ListOffsets, kmsg.OffsetForLeaderEpoch,
		kmsg.FindCoordinator, kmsg.OffsetFetch, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.ConsumerGroupHeartbeat:
		return false
	}
	return true
}

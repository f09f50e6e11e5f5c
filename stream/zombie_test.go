package stream_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/stream"
)

// wire is the way from an engine's producers to the brokers. It can hold up what
// they have sent, as a frozen process does, or a network.
type wire struct {
	mu   sync.Mutex
	free sync.Cond
	shut bool
	held int // requests to produce that stand there
	pass int // how many requests to produce pass before
}

func newWire() *wire {
	w := &wire{}
	w.free.L = &w.mu
	return w
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return wireConn{c, w}, err
}

func (w *wire) set(shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = shut
	w.free.Broadcast()
}

func (w *wire) holds() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held > 0
}

type wireConn struct {
	net.Conn
	w *wire
}

// holdsUp reports whether a request has to wait.
func (w *wire) holdsUp(request []byte) bool {
	if !w.shut || len(request) <= 5 || request[5] != byte(kmsg.Produce) {
		return false
	}
	w.pass--
	return w.pass < 0
}

// Write gets a request in one piece: its size, and then the key of its kind.
func (c wireConn) Write(b []byte) (int, error) {
	c.w.mu.Lock()
	for c.w.holdsUp(b) {
		c.w.held++
		c.w.free.Wait()
		c.w.held--
	}
	c.w.mu.Unlock()
	return c.Conn.Write(b)
}

// What a member had sent off before it was shut out arrives after another one has
// taken over. At least once it overwrites the newer row: the limit that the docs
// name. Exactly once it leaves no trace.
func TestEngine_Zombie(t *testing.T) {
	for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				as := func(name string, to *wire) *engine {
					return w.start("", func(c *stream.Config) {
						c.InstanceID, c.Guarantee = name, guarantee
						if to != nil {
							c.Dial = to.dial
						}
					})
				}
				key := "k-0"
				way := newWire()
				zombie := as("zombie", way)
				w.right([]string{key}, 0, 1)
				w.counted([]string{key}, 1)
				w.eventually("it is committed", func() bool {
					all, err := kadm.NewClient(w.client).FetchOffsets(t.Context(), w.prefix+"counts")
					o, _ := all.Lookup(w.hits.Name(), stream.Partition(key, partitions))
					return err == nil && o.At == 1
				})
				way.set(true)
				t.Cleanup(func() { way.set(false) })
				w.right([]string{key}, 1, 2)
				w.eventually("its row is on the way", way.holds)

				leave := kmsg.NewPtrLeaveGroupRequest()
				member, name := kmsg.NewLeaveGroupRequestMember(), "zombie"
				member.InstanceID = &name
				leave.Group, leave.Members = w.prefix+"counts", append(leave.Members, member)
				left, err := leave.RequestWith(t.Context(), w.client)
				require.NoError(t, err)
				require.NoError(t, errors.Join(kerr.ErrorForCode(left.ErrorCode), kerr.ErrorForCode(left.Members[0].ErrorCode)))
				other := as("other", nil)
				n := 2
				for blind := 0; blind < 5; n++ { // hits that the zombie, which hears of it late, has not read
					zombie.forget()
					w.right([]string{key}, n, n+1)
					w.counted([]string{key}, n+1)
					if blind++; len(zombie.partitions()) > 0 {
						blind = 0
					}
				}

				way.set(false)
				if guarantee == stream.AtLeastOnce {
					w.eventually("an old row overwrites the newer one", func() bool { return w.row(key).N < n })
				}
				zombie.stop()
				other.stop()
				as("third", nil)
				w.right([]string{key}, n, n+1)
				if guarantee == stream.ExactlyOnce {
					w.counted([]string{key}, n+1)
					return
				}
				w.eventually("the last hit is counted", func() bool { return slices.Contains(w.row(key).Seqs, n) })
				require.Less(t, w.row(key).N, n+1, "the limit is gone: the docs must say so")
			})
		})
	}
}

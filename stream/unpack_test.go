package stream_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"baedal/internal/unpack"
	"baedal/stream"
)

// bomb returns a batch with one record of size zeros, without ever holding them.
func bomb(t *testing.T, key string, size int) []byte {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	head := binary.AppendVarint([]byte{0, 0, 0}, int64(len(key)))
	head = binary.AppendVarint(append(head, key...), int64(size))
	_, err = z.Write(append(binary.AppendVarint(nil, int64(len(head)+size+1)), head...))
	require.NoError(t, err)
	_, err = io.CopyN(z, zeros{}, int64(size))
	require.NoError(t, err)
	_, err = z.Write([]byte{0}) // no headers
	require.NoError(t, err)
	require.NoError(t, z.Close())
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{Magic: 2, PartitionLeaderEpoch: -1, Attributes: int16(kgo.CodecZstd), FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: packed.Bytes()}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// putBatch writes a batch as it is.
func (w *world) putBatch(partition int32, batch []byte) {
	w.t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 12)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = w.hits.Name()
	one := kmsg.NewProduceRequestTopicPartition()
	one.Partition, one.Records = partition, batch
	topic.Partitions = append(topic.Partitions, one)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(w.t.Context(), w.b.Client(w.t, kgo.MaxVersions(versions)))
	require.NoError(w.t, err)
	require.NoError(w.t, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

// A compressed record that unpacks to 200 MB comes as its head and its length, and
// what is behind it goes on.
func TestEngine_Bomb(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const size = 200 << 20
		w.start("", nil)
		all := keys(8)
		w.right(all, 0, 1)
		w.counted(all, 1)

		batch := bomb(t, "k-0", size)
		require.Less(t, len(batch), 100_000)
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		var most atomic.Uint64
		watching, watched := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(watched)
			for {
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most.Store(max(most.Load(), now.HeapInuse))
				select {
				case <-watching:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
		w.putBatch(stream.Partition("k-0", partitions), batch)
		w.right(all, 1, 3)
		w.counted(all, 3)
		close(watching)
		<-watched
		require.Less(t, most.Load(), before.HeapInuse+100<<20, "bytes in use")

		w.eventually("the record is a dead letter", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.dead) == 1 })
		require.LessOrEqual(t, len(w.dead[0].Value), unpack.Head)
		sizes := ""
		for _, h := range w.dead[0].Headers {
			if h.Key == unpack.HeaderSize {
				sizes = string(h.Value)
			}
		}
		require.Equal(t, strconv.Itoa(size), sizes)
	})
}

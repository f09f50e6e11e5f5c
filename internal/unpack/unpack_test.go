package unpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// packers compress what a stream writes.
var packers = map[string]struct {
	codec kgo.CompressionCodecType
	open  func(io.Writer) io.WriteCloser
}{
	"gzip": {kgo.CodecGzip, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	"lz4":  {kgo.CodecLz4, func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) }},
	"zstd": {kgo.CodecZstd, func(w io.Writer) io.WriteCloser {
		e, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		return e
	}},
	"snappy": {kgo.CodecSnappy, func(w io.Writer) io.WriteCloser { return &raw{out: w} }},
	"xerial": {kgo.CodecSnappy, func(w io.Writer) io.WriteCloser { return &framed{out: w} }},
}

// raw is snappy in one block.
type raw struct {
	bytes.Buffer
	out io.Writer
}

func (r *raw) Close() error {
	_, err := r.out.Write(s2.EncodeSnappy(nil, r.Bytes()))
	return err
}

// framed is snappy as Java has it.
type framed struct {
	bytes.Buffer
	out io.Writer
}

func (f *framed) Close() error {
	b := append([]byte(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
	for chunk := f.Next(32 << 10); len(chunk) > 0; chunk = f.Next(32 << 10) {
		block := s2.EncodeSnappy(nil, chunk)
		b = binary.BigEndian.AppendUint32(b, uint32(len(block)))
		b = append(b, block...)
	}
	_, err := f.out.Write(b)
	return err
}

func pack(t *testing.T, name string, write func(io.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := packers[name].open(&b)
	write(w)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// row is a record as it lies in a batch.
func row(offset int32, key, value []byte, headers ...string) []byte {
	r := kmsg.Record{OffsetDelta: offset, TimestampDelta64: int64(offset) * 7, Key: key, Value: value}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kmsg.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	body := r.AppendTo(nil)[1:] // without the length, which is 0
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

// read parses what a decompressor returned as the client does.
func read(t *testing.T, d kgo.Decompressor, codec kgo.CompressionCodecType, packed []byte, n int) []*kgo.Record {
	t.Helper()
	b := kmsg.RecordBatch{FirstOffset: 100, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(n - 1), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(n), Records: packed}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	f, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{DisableCRCValidation: true}, &kmsg.FetchResponseTopicPartition{RecordBatches: b.AppendTo(nil)}, d, nil)
	require.NoError(t, f.Err)
	require.Equal(t, int64(100+n), next)
	require.Len(t, f.Records, n)
	for i, r := range f.Records {
		require.Equal(t, int64(100+i), r.Offset)
	}
	return f.Records
}

// logged returns packed records as a batch that lies in the log at offset 100.
func logged(codec kgo.CompressionCodecType, packed []byte, n int) []byte {
	b := kmsg.RecordBatch{FirstOffset: 100, FirstTimestamp: 1e12, MaxTimestamp: 2e12, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(n - 1),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(n), Records: packed}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}

// What fits comes as any other decompressor unpacks it.
func TestBounded_Same(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for name, p := range packers {
		t.Run(name, func(t *testing.T) {
			const n = 300
			packed := pack(t, name, func(w io.Writer) {
				for i := range int32(n) {
					value := make([]byte, i*20)
					if i%3 > 0 {
						_, _ = random.Read(value)
					}
					var key []byte
					if i%7 > 0 {
						key = fmt.Appendf(nil, "key-%d", i)
					}
					if i%11 == 0 {
						value = nil
					}
					_, err := w.Write(row(i, key, value, "a", "b", "c", string(make([]byte, i))))
					require.NoError(t, err)
				}
			})
			want := read(t, kgo.DefaultDecompressor(), p.codec, packed, n)
			got := read(t, Bounded(), p.codec, packed, n)
			require.Equal(t, want, got)

			for _, attributes := range []int{0, 0b1000} {
				batch := logged(p.codec|kgo.CompressionCodecType(attributes), packed, n)
				f, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: 110}, &kmsg.FetchResponseTopicPartition{RecordBatches: batch}, kgo.DefaultDecompressor(), nil)
				require.NoError(t, f.Err)
				at := 0
				require.NoError(t, Each(batch, 110, func(r *kgo.Record) bool {
					want := f.Records[at]
					require.Equal(t, []any{want.Offset, want.Timestamp, want.Key, want.Value, want.Headers}, []any{r.Offset, r.Timestamp, r.Key, r.Value, r.Headers})
					at++
					return at < 200
				}))
				require.Equal(t, 200, at)
				batch[len(batch)-1] ^= 1
				require.Error(t, Each(batch, 0, func(*kgo.Record) bool { return true }))
			}
		})
	}
}

// zeros writes a record whose value is size zeros, without holding it.
func zeros(t *testing.T, w io.Writer, offset int32, key string, size int) {
	t.Helper()
	head := []byte{0}
	head = binary.AppendVarint(head, int64(offset)*7)
	head = binary.AppendVarint(head, int64(offset))
	head = appendField(head, []byte(key), true)
	head = binary.AppendVarint(head, int64(size))
	tail := []byte{2, 2, 'h', 2, 'v'} // one header
	_, err := w.Write(append(binary.AppendVarint(nil, int64(len(head)+size+len(tail))), head...))
	require.NoError(t, err)
	for chunk := make([]byte, 1<<20); size > 0; size -= len(chunk) {
		chunk = chunk[:min(len(chunk), size)]
		_, err := w.Write(chunk)
		require.NoError(t, err)
	}
	_, err = w.Write(tail)
	require.NoError(t, err)
}

// allocated returns the bytes that f allocates, all together.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// A record that unpacks to more than the bound is cut, and those around it are not.
func TestBounded_Bomb(t *testing.T) {
	sizes := map[string]int{"gzip": 400 << 20, "zstd": 1 << 30, "lz4": 256 << 20, "snappy": 20 << 20, "xerial": 64 << 20}
	for name, p := range packers {
		t.Run(name, func(t *testing.T) {
			size := sizes[name]
			packed := pack(t, name, func(w io.Writer) {
				_, err := w.Write(row(0, []byte("before"), []byte("1")))
				require.NoError(t, err)
				zeros(t, w, 1, "bomb", size)
				_, err = w.Write(row(2, []byte("after"), []byte("2")))
				require.NoError(t, err)
			})
			var out []byte
			got := allocated(func() {
				var err error
				out, err = Bounded().Decompress(packed, p.codec)
				require.NoError(t, err)
			})
			require.Less(t, len(out), 2000)
			if name != "snappy" { // which can't be unpacked by and by
				require.Less(t, got, uint64(32<<20), "bytes allocated")
			}
			all := read(t, Bounded(), p.codec, packed, 3)
			n := 0
			require.NoError(t, Each(logged(p.codec, packed, 3), 0, func(r *kgo.Record) bool {
				require.Equal(t, [3]any{all[n].Key, all[n].Value, all[n].Headers}, [3]any{r.Key, r.Value, r.Headers})
				n++
				return true
			}))
			require.Equal(t, 3, n)
			require.Equal(t, "1", string(all[0].Value))
			require.Equal(t, "2", string(all[2].Value))
			require.Empty(t, header(all[0], HeaderSize))
			require.Equal(t, "bomb", string(all[1].Key))
			require.Equal(t, make([]byte, Head), all[1].Value)
			require.Equal(t, strconv.Itoa(size), header(all[1], HeaderSize))
			require.Equal(t, "v", header(all[1], "h"))
		})
	}
}

// Key, value and headers count together; the longest that fits stays whole.
func TestBounded_Bounds(t *testing.T) {
	const bound = 50_000
	d := bounded{record: bound, batch: 300_000}
	one := func(r []byte) *kgo.Record {
		return read(t, d, kgo.CodecGzip, pack(t, "gzip", func(w io.Writer) { _, _ = w.Write(r) }), 1)[0]
	}
	long := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }

	r := one(row(0, long(100), long(bound-100)))
	require.Len(t, r.Value, bound-100)
	require.Empty(t, header(r, HeaderSize))

	r = one(row(0, long(100), long(bound-99)))
	require.Len(t, r.Value, Head)
	require.Len(t, r.Key, 100)
	require.Equal(t, strconv.Itoa(bound-99), header(r, HeaderSize))

	r = one(row(0, long(bound), long(1)))
	require.Len(t, r.Key, Head)
	require.Equal(t, "x", string(r.Value))
	require.Equal(t, "1", header(r, HeaderSize))

	r = one(row(0, []byte("k"), nil, "a", "b", "c", string(long(bound)), "d", "e"))
	require.Nil(t, r.Value)
	require.Equal(t, "0", header(r, HeaderSize))
	require.Equal(t, "b", header(r, "a"))
	require.Empty(t, header(r, "c"))

	// All together: the first six fit, the others are cut, small ones are not.
	all := read(t, d, kgo.CodecGzip, pack(t, "gzip", func(w io.Writer) {
		for i := range int32(20) {
			_, _ = w.Write(row(2*i, []byte("k"), long(bound-500)))
			_, _ = w.Write(row(2*i+1, []byte("k"), long(10)))
		}
	}), 40)
	for i, r := range all {
		want := bound - 500
		switch {
		case i%2 == 1:
			want = 10
		case i >= 12:
			want = Head
		}
		require.Len(t, r.Value, want, i)
		require.Equal(t, want == Head, header(r, HeaderSize) != "", i)
	}
}

// Of very many records, only the one at hand is in memory.
func TestEach_Many(t *testing.T) {
	const n = 3_000_000
	packed := pack(t, "zstd", func(w io.Writer) {
		for i := range int32(n) {
			_, err := w.Write(row(i, nil, nil))
			require.NoError(t, err)
		}
	})
	batch := logged(kgo.CodecZstd, packed, n)
	count, most := 0, uint64(0)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, Each(batch, 0, func(r *kgo.Record) bool {
		if count++; count%100_000 == 0 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
		}
		return true
	}))
	require.Equal(t, n, count)
	require.Less(t, most, before.HeapInuse+64<<20)
}

// What is damaged is an error, whatever it claims, and costs no memory.
func TestBounded_Malformed(t *testing.T) {
	claims := append([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0}, binary.AppendVarint(nil, 1<<40)...) // a key of a terabyte
	for name, p := range packers {
		t.Run(name, func(t *testing.T) {
			whole := pack(t, name, func(w io.Writer) { _, _ = w.Write(row(0, []byte("k"), bytes.Repeat([]byte("v"), 5000))) })
			for _, packed := range [][]byte{
				whole[:len(whole)-5],
				pack(t, name, func(w io.Writer) { _, _ = w.Write(claims) }),
				[]byte("no such thing at all, but long enough"),
			} {
				got := allocated(func() {
					_, err := Bounded().Decompress(packed, p.codec)
					require.Error(t, err)
				})
				require.Less(t, got, uint64(32<<20))
			}
		})
	}
	liar := append(binary.AppendUvarint(nil, 1<<31), "abc"...)
	_, err := Bounded().Decompress(liar, kgo.CodecSnappy)
	require.Error(t, err)
	_, err = Bounded().Decompress([]byte("x"), 9)
	require.Error(t, err)
	same, err := Bounded().Decompress([]byte("x"), kgo.CodecNone)
	require.NoError(t, err)
	require.Equal(t, "x", string(same))
}

func FuzzBounded(f *testing.F) {
	f.Add([]byte("abc"), 1)
	f.Fuzz(func(t *testing.T, b []byte, codec int) {
		_, _ = Bounded().Decompress(b, kgo.CompressionCodecType(codec))
	})
}

// Package unpack bounds what the compressed records of a fetch may become in
// memory. A batch of one megabyte can unpack to gigabytes, and whoever may
// produce to a topic can send one. Here a batch is unpacked as a stream, and a
// record that is too long is cut while it passes by: it keeps its offset and its
// timestamp, its value is the first bytes of the true one, and a header says how
// long that was.
package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// Record is the most bytes that key, value and headers of a record may have
	// together: what a topic takes uncompressed.
	Record = 1_048_588
	// Batch is the most bytes that the records of a batch may have together.
	// Those beyond it are cut, too.
	Batch = 64 << 20
	// Head is how many bytes of a value stay when it is cut, and of a key that is
	// longer.
	Head = 1000

	headers = 10_000 // bytes of headers that stay in a cut record
)

// HeaderSize holds the true length of a value that was cut.
const HeaderSize = "baedal-size"

// window is the largest that Kafka's own zstd takes.
const window = 128 << 20

var errMalformed = errors.New("malformed records")

// Bounded returns a decompressor for clients that read what others have written.
// It is safe for concurrent use.
func Bounded() kgo.Decompressor { return bounded{Record, Batch} }

type bounded struct{ record, batch int } // bytes

// Decompress implements kgo.Decompressor.
func (b bounded) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec == kgo.CodecNone {
		return src, nil
	}
	r, closing, err := open(src, codec)
	if err != nil {
		return nil, err
	}
	defer closing()
	c := &cutter{in: bufio.NewReaderSize(r, 32<<10), bounded: b}
	for {
		switch err := c.next(); {
		case err == io.EOF:
			return c.out, nil
		case err != nil:
			return nil, fmt.Errorf("unpacking a batch: %w", err)
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Each calls f with the records of a compressed batch as it lies in the log (of
// magic 2) that have an offset of from or later, one by one, until it returns
// false. However many there are, only the one at hand is in memory. Topic and
// partition are left out.
func Each(batch []byte, from int64, f func(*kgo.Record) bool) error {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(batch); err != nil {
		return fmt.Errorf("reading a batch: %w", err)
	}
	if int(b.Length) != len(batch)-12 || int32(crc32.Checksum(batch[21:], castagnoli)) != b.CRC {
		return errors.New("reading a batch: its checksum is wrong")
	}
	r, closing, err := open(b.Records, kgo.CompressionCodecType(b.Attributes&7))
	if err != nil {
		return fmt.Errorf("unpacking a batch: %w", err)
	}
	defer closing()
	c := &cutter{in: bufio.NewReaderSize(r, 32<<10), bounded: bounded{Record, math.MaxInt}}
	for range b.NumRecords {
		r, err := c.read(math.MaxInt64)
		if err != nil {
			return fmt.Errorf("unpacking a batch: %w", err)
		}
		offset := b.FirstOffset + r.offset
		if offset < from {
			continue
		}
		at := b.FirstTimestamp + r.timestamp
		if b.Attributes&0b1000 != 0 { // the broker's time, of all of them
			at = b.MaxTimestamp
		}
		one := &kgo.Record{Offset: offset, Timestamp: time.UnixMilli(at), Key: bytes.Clone(r.key), Value: bytes.Clone(r.val)}
		for left := bytes.Clone(c.hdrs); len(left) > 0; {
			var name, value []byte
			name, left = cutField(left)
			value, left = cutField(left)
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: string(name), Value: value})
		}
		if !f(one) {
			return nil
		}
	}
	return nil
}

// cutField takes a field off that appendField has written.
func cutField(b []byte) (field, rest []byte) {
	n, k := binary.Varint(b)
	if b = b[k:]; n < 0 {
		return nil, b
	}
	return b[:n:n], b[n:]
}

func open(src []byte, codec kgo.CompressionCodecType) (_ io.Reader, closing func(), _ error) {
	closing = func() {}
	in := &bytesReader{src}
	switch codec {
	case kgo.CodecGzip:
		r, err := gzip.NewReader(in)
		return r, closing, err
	case kgo.CodecSnappy:
		return newSnappy(src), closing, nil
	case kgo.CodecLz4:
		return lz4.NewReader(in), closing, nil
	case kgo.CodecZstd:
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	return nil, nil, fmt.Errorf("compression %d is not known", codec)
}

// bytesReader hides from libraries that all bytes are there at once.
type bytesReader struct{ left []byte }

func (r *bytesReader) Read(b []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

// snappy reads blocks, of which each is unpacked as a whole: a byte of one can
// become 22 at most. Java frames them ("xerial"), others send one block.
type snappy struct {
	src    []byte
	framed bool
	block  []byte // what is unpacked of the current one and not read
	buffer []byte
}

var xerial = "\x82SNAPPY\x00"

func newSnappy(src []byte) *snappy {
	if len(src) >= 16 && string(src[:8]) == xerial {
		return &snappy{src: src[16:], framed: true}
	}
	return &snappy{src: src}
}

func (s *snappy) Read(b []byte) (int, error) {
	for len(s.block) == 0 {
		if len(s.src) == 0 {
			return 0, io.EOF
		}
		block := s.src
		if s.framed {
			if len(s.src) < 4 {
				return 0, errMalformed
			}
			n := uint64(binary.BigEndian.Uint32(s.src))
			if s.src = s.src[4:]; n > uint64(len(s.src)) {
				return 0, errMalformed
			}
			block = s.src[:n]
		}
		s.src = s.src[len(block):]
		if len(block) == 0 {
			continue
		}
		n, err := s2.DecodedLen(block)
		if err != nil {
			return 0, err
		}
		if n > 22*len(block)+64 {
			return 0, errMalformed
		}
		if s.block, err = s2.Decode(s.buffer[:cap(s.buffer)], block); err != nil {
			return 0, err
		}
		s.buffer = s.block
	}
	n := copy(b, s.block)
	s.block = s.block[n:]
	return n, nil
}

// cutter copies records, and cuts those that are too long.
type cutter struct {
	bounded
	in   *bufio.Reader
	out  []byte
	body []byte // of the record at hand
	key  []byte
	val  []byte
	hdrs []byte
}

// next copies one record to out, uncut unless that would be more than the bound of
// a batch.
func (c *cutter) next() error {
	r, err := c.read(int64(c.batch) - int64(len(c.out)))
	if err != nil {
		return err
	}
	b := append(c.body[:0], r.attributes)
	b = binary.AppendVarint(b, r.timestamp)
	b = binary.AppendVarint(b, r.offset)
	b = appendField(b, r.key, r.key != nil)
	b = appendField(b, r.val, r.val != nil)
	b = binary.AppendVarint(b, int64(r.headers))
	b = append(b, c.hdrs...)
	c.body = b
	c.out = binary.AppendVarint(c.out, int64(len(b)))
	c.out = append(c.out, b...)
	return nil
}

// record is one as it lies in a batch. Its bytes are valid until the next one.
type record struct {
	attributes        byte
	timestamp, offset int64 // as differences
	key, val          []byte
	headers           int // in hdrs of the cutter
}

// read reads one record: its length and then attributes (one byte), timestamp
// and offset as differences, key, value, headers. Lengths are varints, -1 is null.
func (c *cutter) read(room int64) (r record, err error) {
	if _, err = binary.ReadVarint(c.in); err != nil { // what is there counts, not what it says
		return r, err // io.EOF where the batch ends
	}
	defer func() {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}()
	if r.attributes, err = c.in.ReadByte(); err != nil {
		return r, err
	}
	if r.timestamp, err = binary.ReadVarint(c.in); err != nil {
		return r, err
	}
	if r.offset, err = binary.ReadVarint(c.in); err != nil {
		return r, err
	}
	var keySize, valSize, hdrsSize int64
	if c.key, keySize, err = c.field(c.key); err != nil {
		return r, err
	}
	if c.val, valSize, err = c.field(c.val); err != nil {
		return r, err
	}
	if r.headers, hdrsSize, err = c.headers(); err != nil {
		return r, err
	}
	if keySize >= 0 {
		r.key = c.key
	}
	if valSize >= 0 {
		r.val = c.val
	}
	total := max(keySize, 0) + max(valSize, 0) + hdrsSize
	if total > int64(c.record) || total > room && total > 2*Head {
		r.key, r.val = r.key[:min(len(r.key), Head)], r.val[:min(len(r.val), Head)]
		if hdrsSize > headers {
			c.hdrs, r.headers = firstHeaders(c.hdrs, headers)
		}
		c.hdrs = appendField(c.hdrs, []byte(HeaderSize), true)
		c.hdrs = appendField(c.hdrs, strconv.AppendInt(nil, max(valSize, 0), 10), true)
		r.headers++
	}
	return r, nil
}

// field reads a length and as many bytes, of which it keeps as many as a record
// may have.
func (c *cutter) field(into []byte) ([]byte, int64, error) {
	size, err := binary.ReadVarint(c.in)
	if err != nil || size < 0 {
		return into[:0], -1, err
	}
	if into == nil {
		into = []byte{} // null is something else
	}
	into, err = c.keep(into[:0], size, int64(c.record))
	return into, size, err
}

// keep reads size bytes and keeps the first ones, at most.
func (c *cutter) keep(into []byte, size, most int64) ([]byte, error) {
	for kept := min(size, most); kept > 0; { // grows with what is there, not with what is claimed
		n := int(min(kept, 64<<10))
		had := len(into)
		into = append(into, make([]byte, n)...)
		if _, err := io.ReadFull(c.in, into[had:]); err != nil {
			return into, err
		}
		kept -= int64(n)
	}
	if size > most {
		if _, err := io.CopyN(io.Discard, c.in, size-most); err != nil {
			return into, err
		}
	}
	return into, nil
}

// headers reads all headers into hdrs, as they are, of which those beyond the
// bound of a record are left out. It returns how many it kept and how many bytes
// there were.
func (c *cutter) headers() (kept int, size int64, err error) {
	c.hdrs = c.hdrs[:0]
	n, err := binary.ReadVarint(c.in)
	if err != nil {
		return 0, 0, err
	}
	if n < 0 {
		return 0, 0, errMalformed
	}
	var name, value []byte
	for range n {
		var nameSize, valueSize int64
		if name, nameSize, err = c.field(name); err != nil {
			return 0, 0, err
		}
		if value, valueSize, err = c.field(value); err != nil {
			return 0, 0, err
		}
		size += max(nameSize, 0) + max(valueSize, 0) + 2
		if size <= int64(c.record) {
			c.hdrs = appendField(c.hdrs, name, true)
			c.hdrs = appendField(c.hdrs, value, valueSize >= 0)
			kept++
		}
	}
	return kept, size, nil
}

// firstHeaders returns as many of the first headers as fit, and their number.
func firstHeaders(all []byte, most int) (fit []byte, n int) {
	at := 0
	for at < len(all) {
		end := at
		for range 2 {
			size, k := binary.Varint(all[end:])
			end += k + int(max(size, 0))
		}
		if end > most {
			break
		}
		at = end
		n++
	}
	return all[:at], n
}

func appendField(b, field []byte, there bool) []byte {
	if !there {
		return binary.AppendVarint(b, -1)
	}
	b = binary.AppendVarint(b, int64(len(field)))
	return append(b, field...)
}

// Package unpack bounds what the compressed records of a fetch may become in
// memory. A batch of one megabyte can unpack to gigabytes, and whoever may
// produce to a topic can send one. Here a batch is unpacked as a stream, and a
// record that is too long is cut while it passes by: it keeps its offset and its
// timestamp, its value is the first bytes of the true one, and a header says how
// long that was.
package unpack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
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

type bounded struct{ record, batch int }

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

// next copies one record: its length and then attributes (one byte), timestamp
// and offset as differences, key, value, headers. Lengths are varints, -1 is null.
func (c *cutter) next() error {
	length, err := binary.ReadVarint(c.in)
	if err != nil {
		return err // io.EOF where the batch ends
	}
	fail := func(err error) error {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	attributes, err := c.in.ReadByte()
	if err != nil {
		return fail(err)
	}
	timestamp, err := binary.ReadVarint(c.in)
	if err != nil {
		return fail(err)
	}
	offset, err := binary.ReadVarint(c.in)
	if err != nil {
		return fail(err)
	}
	var keySize, valSize int64
	if c.key, keySize, err = c.field(c.key); err != nil {
		return fail(err)
	}
	if c.val, valSize, err = c.field(c.val); err != nil {
		return fail(err)
	}
	count, size, err := c.headers()
	if err != nil {
		return fail(err)
	}
	_ = length // what is there counts

	key, val := c.key, c.val
	total := max(keySize, 0) + max(valSize, 0) + size
	if total > int64(c.record) || int64(len(c.out))+total > int64(c.batch) && total > 2*Head {
		key, val = key[:min(len(key), Head)], val[:min(len(val), Head)]
		if size > headers {
			c.hdrs, count = firstHeaders(c.hdrs, headers)
		}
		c.hdrs = appendField(c.hdrs, []byte(HeaderSize), true)
		c.hdrs = appendField(c.hdrs, strconv.AppendInt(nil, max(valSize, 0), 10), true)
		count++
	}
	b := append(c.body[:0], attributes)
	b = binary.AppendVarint(b, timestamp)
	b = binary.AppendVarint(b, offset)
	b = appendField(b, key, keySize >= 0)
	b = appendField(b, val, valSize >= 0)
	b = binary.AppendVarint(b, int64(count))
	b = append(b, c.hdrs...)
	c.body = b
	c.out = binary.AppendVarint(c.out, int64(len(b)))
	c.out = append(c.out, b...)
	return nil
}

// field reads a length and as many bytes, of which it keeps as many as a record
// may have.
func (c *cutter) field(into []byte) ([]byte, int64, error) {
	size, err := binary.ReadVarint(c.in)
	if err != nil || size < 0 {
		return into[:0], -1, err
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

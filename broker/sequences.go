package broker

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A producer that is not to double or reorder numbers its batches, and a broker refuses those that are out of line. kfake keeps what
// it has seen in memory until it is closed. After a kill -9 it would take whatever comes first: of two batches that were under way
// the second one, and one that was written but not acknowledged again. So before it starts, the numbers are read from the batches
// themselves: its segments are Kafka's record batches, one behind the other. https://kafka.apache.org/documentation/#recordbatch

// producersKept is how many producers of a partition are remembered: those that wrote last.
const producersKept = 64

// restoreSequences gives the broker that starts in dir the numbers of the batches that were written before it.
func restoreSequences(dir string) error {
	partitions, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := sequences{Version: 1}
	for _, p := range partitions {
		dash := strings.LastIndexByte(p.Name(), '-')
		topic, err := url.PathUnescape(p.Name()[:max(dash, 0)])
		partition, err2 := strconv.ParseInt(p.Name()[dash+1:], 10, 32)
		if err != nil || err2 != nil || !p.IsDir() {
			continue
		}
		last, err := lastBatches(filepath.Join(dir, "partitions", p.Name()))
		if err != nil {
			return err
		}
		for _, w := range last {
			w.Topic, w.Part = topic, int32(partition)
		}
		all.Windows = append(all.Windows, last...)
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "seq_windows.json"), data, 0o600)
}

// sequences is a file of kfake.
type sequences struct {
	Version int       `json:"version"`
	Windows []*window `json:"windows"`
}

// window is the last batches of a producer in a partition, a ring of them.
type window struct {
	PID     int64       `json:"pid"`
	Topic   string      `json:"topic"`
	Part    int32       `json:"partition"`
	Entries []batchSeen `json:"entries"`
	Count   int         `json:"count"`
	At      int         `json:"at"` // where the next one goes
	Epoch   int16       `json:"epoch"`
	Seen    bool        `json:"seen"`
	NextSeq int32       `json:"next_seq"`
}

type batchSeen struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

const batchesKept = 5

func (w *window) add(b batch) {
	if w.Epoch != b.epoch {
		w.Entries = nil
	}
	next := int32((int64(b.sequence) + int64(b.records)) % math.MaxInt32) // as kfake has it
	w.Entries = append(w.Entries[max(0, len(w.Entries)-batchesKept+1):], batchSeen{b.sequence, next, b.offset})
	w.PID, w.Epoch, w.Seen, w.NextSeq = b.producer, b.epoch, true, next
	w.Count, w.At = len(w.Entries), len(w.Entries)%batchesKept
}

func (w *window) lastOffset() int64 { return w.Entries[len(w.Entries)-1].Offset }

// lastBatches returns what producers wrote last to a partition. It reads the last two segments: in an older one is nothing that is
// still under way.
func lastBatches(dir string) ([]*window, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segments []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".dat") {
			segments = append(segments, e.Name())
		}
	}
	slices.SortFunc(segments, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) // by their first offset
	byProducer := map[int64]*window{}
	for _, s := range segments[max(0, len(segments)-2):] {
		err := eachBatch(filepath.Join(dir, s), func(b batch) {
			if b.control || b.producer < 0 {
				return
			}
			if byProducer[b.producer] == nil {
				byProducer[b.producer] = &window{}
			}
			byProducer[b.producer].add(b)
		})
		if err != nil {
			return nil, err
		}
	}
	last := slices.SortedFunc(maps.Values(byProducer), func(a, b *window) int { return cmp.Compare(b.lastOffset(), a.lastOffset()) })
	return last[:min(len(last), producersKept)], nil
}

// batch is the head of a record batch.
type batch struct {
	offset, producer  int64
	epoch             int16
	sequence, records int32
	control           bool
}

const (
	beforeLength = 12 // bytes of a batch that its length does not count
	batchHead    = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// eachBatch calls fn with the batches of a segment, up to the first one that is torn.
func eachBatch(file string, fn func(batch)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	left := info.Size()
	in := bufio.NewReaderSize(f, 1<<20)
	var buf []byte
	for {
		start, err := in.Peek(beforeLength)
		if len(start) < beforeLength {
			if err == io.EOF {
				return nil
			}
			return err
		}
		size := int(int32(binary.BigEndian.Uint32(start[8:]))) + beforeLength
		if left -= int64(size); size < batchHead || left < 0 {
			return nil
		}
		buf = slices.Grow(buf[:0], size)[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			return err
		}
		if crc32.Checksum(buf[21:], castagnoli) != binary.BigEndian.Uint32(buf[17:]) {
			return nil
		}
		fn(batch{
			offset:   int64(binary.BigEndian.Uint64(buf)),
			control:  binary.BigEndian.Uint16(buf[21:])&0x20 != 0,
			producer: int64(binary.BigEndian.Uint64(buf[43:])),
			epoch:    int16(binary.BigEndian.Uint16(buf[51:])),
			sequence: int32(binary.BigEndian.Uint32(buf[53:])),
			records:  int32(binary.BigEndian.Uint32(buf[57:])),
		})
	}
}

// cutTorn ends the two logs that kfake appends its bookkeeping to before an entry that a full disk has torn. kfake itself goes on
// behind it, and reads nothing of that at its next start.
func cutTorn(dir string) error {
	for _, name := range []string{"groups.log", "pids.log"} {
		file := filepath.Join(dir, name)
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		whole := 0
		for rest := data; len(rest) >= 8; rest = data[whole:] { // length and checksum of what follows, then that
			size := int64(binary.LittleEndian.Uint32(rest))
			if size < 2 || size > int64(len(rest)-8) || crc32.Checksum(rest[8:8+size], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
				break
			}
			whole += 8 + int(size)
		}
		if whole < len(data) {
			if err := os.Truncate(file, int64(whole)); err != nil {
				return err
			}
		}
	}
	return nil
}

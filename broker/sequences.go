package broker

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A producer that is not to double or reorder numbers its batches, and a broker refuses those that are out of line. kfake keeps what
// it has seen in memory until it is closed. After a kill -9 it would take whatever comes first: of two batches that were under way
// the second one, and one that was written but not acknowledged again. So before it starts, the numbers are read from the batches
// themselves: its segments are Kafka's record batches, one behind the other. https://kafka.apache.org/documentation/#recordbatch

// sequencesKept is for how long before the newest batch producers are remembered. Kafka has a day (producer.id.expiration.ms).
const sequencesKept = time.Hour

// restoreSequences gives the broker that starts in dir the numbers of the batches that were written before it.
func restoreSequences(dir string) error {
	partitions, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := sequences{Version: 1}
	var newest int64
	for _, p := range partitions {
		last, err := lastBatches(filepath.Join(dir, "partitions", p.Name()))
		if err != nil {
			return err
		}
		dash := strings.LastIndexByte(p.Name(), '-')
		topic, err := url.PathUnescape(p.Name()[:max(dash, 0)])
		partition, err2 := strconv.ParseInt(p.Name()[dash+1:], 10, 32)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("%s is no partition: %w", p.Name(), err)
		}
		for id, w := range last {
			w.PID, w.Topic, w.Part, w.Seen = id, topic, int32(partition), true
			newest = max(newest, w.at)
			all.Windows = append(all.Windows, w)
		}
	}
	all.Windows = slices.DeleteFunc(all.Windows, func(w *window) bool { return w.at < newest-sequencesKept.Milliseconds() })
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
	PID     int64        `json:"pid"`
	Topic   string       `json:"topic"`
	Part    int32        `json:"partition"`
	Entries [5]batchSeen `json:"entries"`
	Count   int          `json:"count"`
	At      int          `json:"at"` // where the next one goes
	Epoch   int16        `json:"epoch"`
	Seen    bool         `json:"seen"`
	NextSeq int32        `json:"next_seq"`

	at int64 // time of the newest batch, in milliseconds since 1970
}

type batchSeen struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

func (w *window) add(b batch) {
	if w.Count > 0 && w.Epoch != b.epoch {
		*w = window{}
	}
	next := int32((int64(b.sequence) + int64(b.records)) % math.MaxInt32) // as kfake has it
	w.Entries[w.At] = batchSeen{b.sequence, next, b.offset}
	w.At, w.Count = (w.At+1)%len(w.Entries), min(w.Count+1, len(w.Entries))
	w.Epoch, w.NextSeq, w.at = b.epoch, next, b.at
}

// lastBatches returns what producers wrote last to a partition, by their ids. It reads the last two segments: in an older one is
// nothing that is still under way.
func lastBatches(dir string) (map[int64]*window, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) // by their first offset
	last := map[int64]*window{}
	for _, f := range files[max(0, len(files)-2):] {
		err := eachBatch(f, func(b batch) {
			if b.control || b.producer < 0 {
				return
			}
			if last[b.producer] == nil {
				last[b.producer] = &window{}
			}
			last[b.producer].add(b)
		})
		if err != nil {
			return nil, err
		}
	}
	return last, nil
}

// batch is the head of a record batch.
type batch struct {
	offset, producer, at int64
	epoch                int16
	sequence, records    int32
	control              bool
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
		if size < batchHead || size > 1<<30 {
			return nil
		}
		buf = slices.Grow(buf[:0], size)[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			if err == io.ErrUnexpectedEOF {
				return nil
			}
			return err
		}
		if crc32.Checksum(buf[21:], castagnoli) != binary.BigEndian.Uint32(buf[17:]) {
			return nil
		}
		fn(batch{
			offset:   int64(binary.BigEndian.Uint64(buf)),
			control:  binary.BigEndian.Uint16(buf[21:])&0x20 != 0,
			at:       int64(binary.BigEndian.Uint64(buf[35:])),
			producer: int64(binary.BigEndian.Uint64(buf[43:])),
			epoch:    int16(binary.BigEndian.Uint16(buf[51:])),
			sequence: int32(binary.BigEndian.Uint32(buf[53:])),
			records:  int32(binary.BigEndian.Uint32(buf[57:])),
		})
	}
}

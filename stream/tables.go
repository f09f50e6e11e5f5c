package stream

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka/storage"

	"baedal/internal/failpoint"
	"baedal/state"
)

// tables knows the tables of the partitions that a group owns right now.
type tables struct {
	onRecovered func(partition int32, t *state.Table) error
	changelog   atomic.Pointer[changelog] // as the session found it; nil: not known

	mu   sync.Mutex // for writers
	open atomic.Pointer[[]*table]
}

// table is an open table and how many of its writes were sent to its changelog
// and acknowledged. A table takes acknowledgements in the order of its writes:
// one that is out of order means that a write before it was lost.
type table struct {
	*state.Table
	sent  uint64 // by the partition's goroutine
	acked uint64 // by the producer's
}

// acknowledged is told of each record that is written, with the number that sent
// had before it.
func (t *table) acknowledged(number uint64, offset int64) {
	if number != t.acked {
		t.Discard()
		return
	}
	t.acked++
	t.Acked(offset)
	failpoint.Hit(failpoint.RowAcked, t.Name())
}

func newTables() *tables {
	t := &tables{}
	t.open.Store(&[]*table{})
	return t
}

// get returns the open table of a partition, or nil.
func (t *tables) get(partition int32) *table {
	if open := *t.open.Load(); int(partition) < len(open) {
		return open[partition]
	}
	return nil
}

func (t *tables) partitions() int { return len(*t.open.Load()) }

func (t *tables) set(partition int32, partitions int, st *state.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := make([]*table, max(partitions, int(partition)+1))
	copy(open, *t.open.Load())
	open[partition] = &table{Table: st}
	t.open.Store(&open)
}

// changelog is what a session knows of the topic of its table.
type changelog struct {
	id    string
	ends  map[int32]int64 // of the partitions that it has
	start map[int32]int64
}

// clear forgets all tables; goka closes them.
func (t *tables) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open.Store(&[]*table{})
}

// each calls fn with every open table.
func (t *tables) each(fn func(*state.Table) error) (first error) {
	for _, st := range *t.open.Load() {
		if st == nil {
			continue
		}
		if err := fn(st.Table); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// worthCopying is how many records a copy must be ahead to be taken: fewer are
// read from the changelog in less time.
const worthCopying = 5000

// builder makes goka open tables of ours.
func (t *tables) builder(cfg Config) storage.Builder {
	return func(topic string, partition int32) (storage.Storage, error) {
		log := t.changelog.Load()
		if log == nil {
			log = &changelog{}
		}
		if cfg.CopySpace != "" {
			began := time.Now()
			rows, err := cfg.State.Seed("group", cfg.CopySpace, topic, partition, log.id, worthCopying)
			if err != nil {
				return nil, err
			}
			if rows > 0 {
				cfg.Logger.Info("a table begins with the copy on this machine", "topic", topic, "partition", partition, "rows", rows, "in", time.Since(began).Round(time.Millisecond))
			}
		}
		st, err := t.openTable(cfg, topic, partition, log)
		if err != nil {
			return nil, err
		}
		t.set(partition, cfg.Partitions, st)
		return &ownedTable{Table: st, partition: partition, tables: t}, nil
	}
}

// openTable opens a table that can be recovered from its changelog: rows that go
// beyond what is there are dropped.
func (t *tables) openTable(cfg Config, topic string, partition int32, log *changelog) (*state.Table, error) {
	opts := state.Options{CacheRows: cfg.CacheRows, Transactional: cfg.Guarantee == ExactlyOnce, TopicID: log.id,
		Dropped: DropLine(cfg.Logger, topic, partition)}
	st, err := cfg.State.Table("group", topic, partition, opts)
	if err != nil {
		return nil, err
	}
	offset, err := st.GetOffset(-1)
	if err != nil {
		return nil, err
	}
	warn := func(what string) {
		cfg.Logger.Warn("a table is not as it was left", "topic", topic, "partition", partition, "what", what)
	}
	switch end, known := log.ends[partition]; {
	case !known:
	case offset >= end:
		warn(fmt.Sprintf("offsets %d to %d are gone: the changelog ends at %d; the rows on this machine are read anew from it", end, offset, end))
		if err := cfg.State.Drop("group", topic, partition); err != nil {
			return nil, err
		}
		return cfg.State.Table("group", topic, partition, opts)
	case offset+1 < log.start[partition]:
		warn(fmt.Sprintf("offsets %d to %d are gone: rows that changed there are missing or old", offset+1, log.start[partition]-1))
	}
	return st, nil
}

// DropLine returns what logs that a copy of a topic that is gone was dropped.
func DropLine(log *slog.Logger, topic string, partition int32) func(offset int64) {
	return func(offset int64) {
		log.Warn("a table is not as it was left", "topic", topic, "partition", partition,
			"what", fmt.Sprintf("the topic was deleted and made anew: rows up to offset %d of the one before are dropped, and read anew", offset))
	}
}

// ownedTable is a table that tells when it is recovered.
type ownedTable struct {
	*state.Table
	partition int32
	tables    *tables
}

func (o *ownedTable) MarkRecovered() error {
	if err := o.Table.MarkRecovered(); err != nil {
		return err
	}
	failpoint.Hit(failpoint.Recovered, o.Name())
	if o.tables.onRecovered != nil {
		return o.tables.onRecovered(o.partition, o.Table)
	}
	return nil
}

package stream

import (
	"sync"
	"sync/atomic"

	"github.com/lovoo/goka/storage"

	"baedal/state"
)

// tables knows the tables of the partitions that a group owns right now.
type tables struct {
	onRecovered func(partition int32, t *state.Table) error

	mu   sync.Mutex // for writers
	open atomic.Pointer[[]*state.Table]
}

func newTables() *tables {
	t := &tables{}
	t.open.Store(&[]*state.Table{})
	return t
}

// get returns the open table of a partition, or nil.
func (t *tables) get(partition int32) *state.Table {
	if open := *t.open.Load(); int(partition) < len(open) {
		return open[partition]
	}
	return nil
}

func (t *tables) partitions() int { return len(*t.open.Load()) }

func (t *tables) set(partition int32, partitions int, st *state.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := make([]*state.Table, max(partitions, int(partition)+1))
	copy(open, *t.open.Load())
	open[partition] = st
	t.open.Store(&open)
}

// clear forgets all tables; goka closes them.
func (t *tables) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open.Store(&[]*state.Table{})
}

// each calls fn with every open table.
func (t *tables) each(fn func(*state.Table) error) (first error) {
	for _, st := range *t.open.Load() {
		if st == nil {
			continue
		}
		if err := fn(st); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// builder makes goka open tables of ours.
func (t *tables) builder(cfg Config) storage.Builder {
	return func(topic string, partition int32) (storage.Storage, error) {
		st, err := cfg.State.Table("group", topic, partition, state.Options{CacheRows: cfg.CacheRows})
		if err != nil {
			return nil, err
		}
		t.set(partition, cfg.Partitions, st)
		return &ownedTable{Table: st, partition: partition, tables: t}, nil
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
	if o.tables.onRecovered != nil {
		return o.tables.onRecovered(o.partition, o.Table)
	}
	return nil
}

package views

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka/storage"

	"baedal/state"
)

// partition is the local copy of one partition of a table while one goka view
// runs: the storage that goka fills, and what is known about how current it is.
//
// Rows are read from here and not through goka.View, because goka closes its
// storages and forgets its partitions when a view ends, without a lock against
// readers.
type partition struct {
	storage.Storage
	hooks hooks
	rows  *rows
	lists lists        // of Storage; nil when it keeps no indexes
	open  atomic.Bool  // rows may be read
	begun atomic.Int64 // offset of the newest record that is or was being applied

	// Of the one goroutine that applies records:
	hot     bool        // somebody reads the row that is being written
	decoded any         // it
	touched []groupName // what the record at hand changed
	places  []state.Place

	mu        sync.Mutex
	free      sync.Cond // users has become 0
	users     int       // reads and iterators under way
	closed    bool
	recovered bool
	ahead     bool // an earlier process read further than the topic goes

	applied int64     // offset of the newest record in the copy, -1 for none
	newest  int64     // the topic's newest offset as last heard: the next one to be written
	target  int64     // once applied reaches target-1, the copy is as the table was at asked
	asked   time.Time // zero when no target is open
	current time.Time // the copy holds all that was in the table at this time
}

// hooks are what a partition needs of its view.
type hooks struct {
	recovered func()
	indexes   func(p *partition) *state.Indexes // nil: none
	awaited   func(key string) bool             // somebody waits for a change of the row
	changed   func(groupName)                   // in a group, and readers see it
	cache     int                               // bytes of decoded rows
}

// lists are what a storage that keeps indexes has (state.Table).
type lists interface {
	KeepIndexes(state.Indexes) error
	At(offset int64, at time.Time)
	Scan(index int, group string, after bool, sort, key string) (*state.Entries, error)
	Groups(index int, prefix string, fn func(group string) bool) error
	Changes(index int, group string, since, upTo int64) ([]state.Changed, error)
}

// groupName is a group of an index.
type groupName struct {
	index int
	group string
}

func newPartition(h hooks) *partition {
	p := &partition{applied: -1, hooks: h, rows: newRows(h.cache)}
	p.begun.Store(-1)
	p.free.L = &p.mu
	return p
}

// enter keeps the storage open until leave. It is false when rows must not be read.
func (p *partition) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !p.recovered {
		return false
	}
	p.users++
	return true
}

func (p *partition) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users--
	if p.users == 0 {
		p.free.Broadcast()
	}
}

// begin is called before a record is applied.
func (p *partition) begin(offset int64, at time.Time) {
	p.touched = p.touched[:0]
	p.begun.Store(offset)
	if p.lists != nil {
		p.lists.At(offset, at)
	}
}

// Set changes a row, and keeps it as it was decoded for the indexes.
func (p *partition) Set(key string, value []byte) error {
	p.decoded = nil
	p.hot = p.rows.begin(key) || p.hooks.awaited(key)
	err := p.Storage.Set(key, value)
	if err != nil {
		p.decoded = nil
	}
	p.rows.end(key, p.decoded, len(value))
	return err
}

// Delete removes a row.
func (p *partition) Delete(key string) error {
	p.rows.begin(key)
	defer p.rows.end(key, nil, 0)
	return p.Storage.Delete(key)
}

// Open learns how far an earlier process has brought the copy, and has the
// indexes built where that is needed.
func (p *partition) Open() error {
	if err := p.Storage.Open(); err != nil {
		return err
	}
	if ix := p.hooks.indexes(p); ix != nil {
		if l, ok := p.Storage.(lists); ok {
			if err := l.KeepIndexes(*ix); err != nil {
				return err
			}
			p.lists = l
		}
	}
	offset, err := p.Storage.GetOffset(-1)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = offset
	p.begun.Store(offset)
	return nil
}

// SetOffset is called after each record was applied.
func (p *partition) SetOffset(offset int64) error {
	if err := p.Storage.SetOffset(offset); err != nil {
		return err
	}
	p.mu.Lock()
	p.applied = offset
	p.arrive()
	p.mu.Unlock()
	for _, g := range p.touched {
		p.hooks.changed(g)
	}
	p.touched = p.touched[:0]
	return nil
}

// MarkRecovered is called once, when the copy holds all that was in the table
// when goka last asked for its newest offset.
func (p *partition) MarkRecovered() error {
	if err := p.Storage.MarkRecovered(); err != nil {
		return err
	}
	p.mu.Lock()
	p.recovered = true
	// A topic whose records were all deleted has nothing to apply up to its newest offset.
	p.applied = max(p.applied, p.target-1)
	p.arrive()
	p.open.Store(!p.closed)
	p.mu.Unlock()
	p.hooks.recovered()
	return nil
}

// Close waits for the readers.
func (p *partition) Close() error {
	p.mu.Lock()
	p.closed = true
	p.recovered = false
	p.open.Store(false)
	for p.users > 0 {
		p.free.Wait()
	}
	p.mu.Unlock()
	return p.Storage.Close()
}

// heard notes that the topic's newest offset was asked for at a time. An open
// target stays: under load the copy never reaches the newest one, but soon the
// one before.
func (p *partition) heard(newest int64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest = newest
	p.ahead = !p.recovered && p.applied >= newest || p.ahead && p.recovered
	if p.asked.IsZero() {
		p.target, p.asked = newest, at
	}
	p.arrive()
}

// arrive closes the target when it is reached. With p.mu held.
func (p *partition) arrive() {
	if !p.asked.IsZero() && p.applied >= p.target-1 {
		p.current, p.asked = p.asked, time.Time{}
	}
}

type freshness struct {
	recovered, ahead bool
	current          time.Time
	applied, newest  int64
}

func (p *partition) freshness() freshness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return freshness{p.recovered, p.ahead, p.current, p.applied, p.newest}
}

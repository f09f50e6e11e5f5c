package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/lovoo/goka/storage"

	"baedal/internal/failpoint"
)

const (
	// While a table follows its changelog, it is flushed when this many bytes
	// wait: large enough for cheap batches, small enough to bound the memory of
	// fifty partitions that recover at once.
	flushBytes = 4 << 20
	// writeOverhead is what a buffered write costs beside its key and value.
	writeOverhead = 128
	// placeSize is about what a row's place in an index costs until it is flushed.
	placeSize = 100

	defaultCacheRows = 4000
)

var (
	errClosed    = errors.New("the table is closed")
	errDiscarded = errors.New("the table's writes were discarded: get it again and recover it")
	errReplaced  = errors.New("the table was opened again or dropped")
)

var _ storage.Storage = (*Table)(nil)

// Options say how a table is used. The zero value is a group's table at least
// once.
type Options struct {
	// Follower is for tables that only follow their changelog: views, lookups,
	// joins. MarkRecovered does not end that phase.
	Follower bool
	// Transactional is for exactly-once: Close does not flush, because goka
	// closes a table before the last transaction is committed. Acked, Flush and
	// Discard work after Close.
	Transactional bool
	// CacheRows bounds the decoded rows kept by Cache. Default 4,000; negative
	// keeps none. Lower it when rows are large.
	CacheRows int
	// TopicID says which topic of that name the changelog is now (KIP-516). Rows
	// and offset of another one are dropped as the table is opened: an offset
	// means nothing in a topic that was deleted and made anew. Empty: not known,
	// and what is there is believed.
	TopicID string
	// Dropped is told of the offset up to which rows of another topic were
	// dropped. nil: nobody is told.
	Dropped func(offset int64)
}

// Table is the local store of one table partition, for goka (storage.Storage)
// and for whoever drives the offsets. It is safe for any number of readers
// beside one writer, and Acked, Flush, Discard and Close may come from other
// goroutines.
//
// Until MarkRecovered, and always for a follower, it follows its changelog:
// what was set or deleted up to a SetOffset is flushed with that offset when
// enough waits, at Flush, at MarkRecovered and at Close.
//
// From then on it is owned: each Set and Delete is produced to the changelog,
// and Acked says at which offset the oldest of them arrived. Flush writes those
// that did, the rest stays in memory. SetOffset is ignored, as goka does not
// call it for each write.
type Table struct {
	db     *DB
	prefix string
	name   string
	opts   Options
	cache  *rowCache

	flushMu sync.Mutex // one flush or end at a time; taken before mu

	mu      sync.RWMutex
	owned   bool
	refuse  error             // why no more writes are taken, or nil
	ended   bool              // nothing will be flushed any more
	log     []write           // not on disk yet, in write order
	base    uint64            // the sequence number of log[0]
	covered int               // how many of log may be flushed, at reached
	latest  map[string]uint64 // the newest write in log per key
	bytes   int               // the size of log
	reached position          // the offset that covered stands for
	stored  position          // the offset on disk
	indexes *indexState       // nil: none are kept
}

type write struct {
	key     string
	value   []byte
	deleted bool
	next    uint64 // the next write of this key, 0 when there is none

	before, places []placed // where the row was and is in the indexes
	left           []departure
}

func (w *write) size() int {
	return len(w.key) + len(w.value) + writeOverhead + placeSize*(len(w.places)+len(w.left))
}

// position is an offset, and the id of the topic that it is an offset of.
type position struct {
	offset int64
	known  bool
	topic  string // empty: not known
}

func (p position) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(p.offset)), p.topic...)
}

func decodePosition(raw []byte) (position, error) {
	if len(raw) < 8 {
		return position{}, fmt.Errorf("%w: %d bytes instead of 8", pebble.ErrCorruption, len(raw))
	}
	return position{int64(binary.BigEndian.Uint64(raw)), true, string(raw[8:])}, nil
}

// isOf reports whether the position may be one in the topic of that id.
func (p position) isOf(topic string) bool {
	return p.topic == "" || topic == "" || p.topic == topic
}

func newTable(db *DB, prefix, name string, opts Options) *Table {
	if opts.CacheRows == 0 {
		opts.CacheRows = defaultCacheRows
	}
	return &Table{
		db:     db,
		prefix: prefix,
		name:   name,
		opts:   opts,
		cache:  newRowCache(opts.CacheRows),
		base:   1,
		latest: map[string]uint64{},
	}
}

// Name says which table it is, for people.
func (t *Table) Name() string { return t.name }

// Open does nothing: a Table is open when DB.Table returns it.
func (t *Table) Open() error { return nil }

// Close takes no more writes. It flushes what may be flushed, except in
// transactional mode once the table is owned: there the coordinator calls Flush
// after its commit, or Discard. Closing again does nothing.
func (t *Table) Close() error {
	t.flushMu.Lock()
	defer t.flushMu.Unlock()
	t.mu.Lock()
	wait := t.opts.Transactional && t.owned
	if t.refuse == nil {
		t.refuse = errClosed
	}
	t.mu.Unlock()
	t.cache.clear()
	if wait {
		return nil
	}
	err := t.flush()
	t.endLocked(errClosed)
	return err
}

// Has reports whether there is a row with that key.
func (t *Table) Has(key string) (bool, error) {
	value, err := t.Get(key)
	return value != nil, err
}

// Get returns the newest value of a row, nil when there is none. The caller
// must not change it: a value that is not flushed yet is the very slice given
// to Set.
func (t *Table) Get(key string) ([]byte, error) {
	t.mu.RLock()
	if seq, ok := t.latest[key]; ok {
		value := t.log[seq-t.base].value
		t.mu.RUnlock()
		return value, nil
	}
	t.mu.RUnlock()
	// A write that comes in between and is flushed at once is found on disk.
	return t.read(t.rowKey(key))
}

// Set buffers a value, which the caller must not change afterwards. It blocks
// while a batch is put together, not while it is written.
func (t *Table) Set(key string, value []byte) error {
	if value == nil {
		return t.fail("setting "+key, errors.New("a value is needed: use Delete to remove a row"))
	}
	return t.write(write{key: key, value: value})
}

// Delete buffers the removal of a row, and takes it out of the cache.
func (t *Table) Delete(key string) error {
	t.cache.remove(key)
	return t.write(write{key: key, deleted: true})
}

func (t *Table) write(w write) error {
	indexed := t.indexed()
	if indexed {
		if err := t.index(&w); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuse != nil {
		return t.fail("writing "+w.key, t.refuse)
	}
	seq := t.base + uint64(len(t.log))
	if before, ok := t.latest[w.key]; ok {
		t.log[before-t.base].next = seq
	}
	t.latest[w.key] = seq
	if indexed {
		t.indexes.buffer(&w)
	}
	t.log = append(t.log, w)
	t.bytes += w.size()
	return nil
}

// GetOffset returns the newest offset known, on disk or about to be, and def
// when there is none.
func (t *Table) GetOffset(def int64) (int64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.reached.known {
		return def, nil
	}
	return t.reached.offset, nil
}

// SetOffset says that all writes so far are those of the changelog up to this
// offset. It flushes, and so blocks, when many wait. An owned table ignores it.
func (t *Table) SetOffset(offset int64) error {
	t.mu.Lock()
	if t.owned || t.refuse != nil {
		t.mu.Unlock()
		return nil
	}
	t.covered, t.reached = len(t.log), position{offset, true, t.opts.TopicID}
	if !t.opts.Follower {
		failpoint.Hit(failpoint.Recovering, t.name)
	}
	full := t.bytes >= flushBytes
	t.mu.Unlock()
	if full {
		return t.Flush()
	}
	return nil
}

// MarkRecovered flushes, and makes the table owned unless it is a follower.
// Writes after the last SetOffset come from a record that could not be handled,
// and are dropped then.
func (t *Table) MarkRecovered() error {
	t.flushMu.Lock()
	defer t.flushMu.Unlock()
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.recoverIndexes(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.opts.Follower && !t.owned {
		t.forget()
		t.owned = true
	}
	return nil
}

// Acked says that the oldest write not acked yet is in the changelog at this
// offset. It must be called once per changelog record, in the order of the
// writes. When one record fails, the ones behind it must not be acked: call
// Discard. Without a write to ack, before recovery and after Close (unless
// transactional) it does nothing.
func (t *Table) Acked(offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owned && !t.ended && t.covered < len(t.log) {
		t.covered++
		t.reached = position{offset, true, t.opts.TopicID}
	}
}

// Flush writes what may be written, and its offset, as one batch: all or
// nothing after a crash, and never a value newer than the offset. The batch is
// not synced, so a power cut can lose the newest flushes as a whole; the table
// is merely older then. After an error all is still in memory. It does nothing
// on a table that was discarded, replaced or closed (unless transactional).
//
// It blocks for a memory copy of the batch, longer when Pebble is behind with
// its compactions.
func (t *Table) Flush() error {
	t.flushMu.Lock()
	defer t.flushMu.Unlock()
	return t.flush()
}

// Discard drops all that was not flushed, as the transaction it belongs to was
// aborted, or its record failed. Acks still under way could not be told from
// later ones, so the table takes no more writes: get it again and recover it.
func (t *Table) Discard() { t.end(errDiscarded) }

// Pending returns how many writes are in memory only.
func (t *Table) Pending() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.log)
}

// Cached returns the decoded row that Cache kept. The cache knows nothing of
// Set: whoever sets a row caches the new one or calls Uncache.
func (t *Table) Cached(key string) (any, bool) { return t.cache.get(key) }

// Cache keeps a decoded row, and forgets the one not used for longest when it
// is full.
func (t *Table) Cache(key string, row any) { t.cache.put(key, row) }

// Uncache forgets a decoded row.
func (t *Table) Uncache(key string) { t.cache.remove(key) }

// flush is called with flushMu held.
func (t *Table) flush() error {
	t.mu.RLock()
	n, reached := t.covered, t.reached
	if t.ended || n == 0 && reached == t.stored {
		t.mu.RUnlock()
		return nil
	}
	if err := t.db.enter(); err != nil {
		t.mu.RUnlock()
		return t.fail("flushing", err)
	}
	defer t.db.leave()
	batch, err := t.batch(n, reached)
	t.mu.RUnlock()
	defer batch.Close()
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err != nil {
		return t.fail("flushing", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim(n)
	t.stored = reached
	failpoint.Hit(failpoint.FlushedOne, t.name)
	return nil
}

// batch holds the first n writes and the offset. Of a key written more than
// once it takes the last of those n, never a later one.
func (t *Table) batch(n int, reached position) (*pebble.Batch, error) {
	batch := t.db.pebble.NewBatchWithSize(min(t.bytes, 2*flushBytes) + 64)
	end := t.base + uint64(n)
	key := t.rowKey("")
	skip := len(key)
	for i := range t.log[:n] {
		w := &t.log[i]
		if w.next != 0 && w.next < end {
			continue
		}
		key = append(key[:skip], w.key...)
		var err error
		if w.deleted {
			err = batch.Delete(key, nil)
		} else {
			err = batch.Set(key, w.value, nil)
		}
		if err != nil {
			return batch, err
		}
	}
	if t.indexes != nil {
		if err := t.indexes.flush(t, batch, n, reached.offset); err != nil {
			return batch, err
		}
	}
	return batch, batch.Set(t.offsetKey(), reached.encode(), nil)
}

// trim forgets the first n writes, which are on disk now.
func (t *Table) trim(n int) {
	for i := range t.log[:n] {
		w := &t.log[i]
		t.bytes -= w.size()
		if w.next == 0 {
			delete(t.latest, w.key)
		}
	}
	if t.indexes != nil {
		t.indexes.trim(t, n)
	}
	rest := copy(t.log, t.log[n:])
	clear(t.log[rest:])
	t.log = t.log[:rest]
	t.base += uint64(n)
	t.covered -= n
}

// end drops what is not on disk and puts the table out of use.
func (t *Table) end(reason error) {
	t.flushMu.Lock()
	defer t.flushMu.Unlock()
	t.endLocked(reason)
}

func (t *Table) endLocked(reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.refuse == nil {
		t.refuse = reason
	}
	t.forget()
	t.cache.clear()
}

// forget drops what is not on disk.
func (t *Table) forget() {
	t.base += uint64(len(t.log))
	t.log, t.covered, t.bytes, t.reached = nil, 0, 0, t.stored
	clear(t.latest)
	if t.indexes != nil {
		t.indexes.forget(t.stored)
	}
}

// read returns a copy of what is on disk, nil when there is nothing.
func (t *Table) read(key []byte) ([]byte, error) {
	if err := t.db.enter(); err != nil {
		return nil, t.fail("reading", err)
	}
	defer t.db.leave()
	value, closer, err := t.db.pebble.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, t.fail("reading", err)
	}
	defer closer.Close()
	return append([]byte{}, value...), nil
}

// readOffset learns what is on disk, and drops it where it is of another topic.
func (t *Table) readOffset() error {
	raw, err := t.read(t.offsetKey())
	if err != nil {
		return err
	}
	if raw == nil { // what a copy left that was cut off says nothing of where it is from
		return t.db.eraseAny(t.prefix)
	}
	stored, err := decodePosition(raw)
	if err != nil {
		return t.fail("reading its offset", err)
	}
	if !stored.isOf(t.opts.TopicID) {
		if err := t.db.erase(t.prefix); err != nil {
			return t.fail("dropping rows of a topic that is gone", err)
		}
		if t.opts.Dropped != nil {
			t.opts.Dropped(stored.offset)
		}
		return nil
	}
	t.stored, t.reached = stored, stored
	if t.opts.TopicID != "" {
		t.reached.topic = t.opts.TopicID // and the next flush writes it
	}
	return nil
}

func (t *Table) rowKey(key string) []byte {
	k := make([]byte, 0, len(t.prefix)+1+len(key)+32)
	k = append(append(k, t.prefix...), kindRow)
	return append(k, key...)
}

func (t *Table) offsetKey() []byte { return append([]byte(t.prefix), kindOffset) }

// fail names the table in an error, and the remedy when its files are damaged.
func (t *Table) fail(doing string, err error) error {
	if !IsCorrupt(err) {
		return fmt.Errorf("table %s: %s: %w", t.name, doing, err)
	}
	t.db.noteDamage(err)
	return fmt.Errorf("table %s is damaged, drop it and recover it from its changelog: %s: %w", t.name, doing, err)
}

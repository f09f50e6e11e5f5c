package state

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var errDBClosed = errors.New("the state database is closed")

// DB holds every table partition of a process in one Pebble database, so that
// fifty small partitions share one log, one cache and one compaction. It is
// safe for concurrent use.
type DB struct {
	dir     string
	fs      vfs.FS
	pebble  *pebble.DB
	lock    *pebble.Lock
	rebuilt string
	fatal   atomic.Pointer[func(error)]
	damage  atomic.Pointer[error]

	tablesMu sync.Mutex
	tables   map[string]*Table // the newest opened, by prefix

	closeMu sync.RWMutex
	closed  bool
	inUse   sync.WaitGroup // reads, writes and iterators under way
}

// Open opens the database in dir and creates both when missing. A damaged
// database is moved to dir+".damaged", where it replaces an older one, and an
// empty one is begun, see Rebuilt. The error says so when another process has
// the database open, or when the directory cannot be used; nothing is moved
// then.
//
// fatal is called when Pebble can't go on, such as with a full disk, from the
// beginning of Open on and in any goroutine; it must end the process, and a
// restart loses nothing. nil panics.
func Open(dir string, fatal func(error)) (*DB, error) {
	if fatal == nil {
		return open(dir, vfs.Default)
	}
	return openWatched(dir, vfs.Default, fatal)
}

func openWatched(dir string, fs vfs.FS, fatal func(error)) (*DB, error) {
	db, err := open(dir, watched{fs, fatal})
	if err == nil {
		db.fatal.Store(&fatal)
	}
	return db, err
}

// OpenMemory opens a database that lives in memory and is gone with Close, for
// tests.
func OpenMemory() (*DB, error) {
	return open("state", vfs.NewMem())
}

// Rebuilt says why the database was found damaged by Open and begun anew; it
// is empty when all was well. The rows come back from the changelogs, which
// takes time: log it.
func (db *DB) Rebuilt() string { return db.rebuilt }

// Damaged returns the first sign of damage that any read or background work
// met since Open, or nil. The next Open begins the whole database anew.
//
// It is there beside IsCorrupt because goka turns a storage's errors into text.
func (db *DB) Damaged() error {
	if err := db.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// Close waits for the reads and writes under way and for every iterator to be
// released, then closes the database. What its tables still have in memory is
// lost, as at a crash: close the tables first. Later use of a table is an
// error. Closing again does nothing.
func (db *DB) Close() error {
	db.closeMu.Lock()
	if db.closed {
		db.closeMu.Unlock()
		return nil
	}
	db.closed = true
	db.closeMu.Unlock()

	db.inUse.Wait()
	return errors.Join(db.pebble.Close(), db.lock.Close())
}

// Table returns the partition of a topic as it is on disk. The space keeps
// apart users of the same topic that read it on their own, such as "group" and
// "view".
//
// There is one Table per partition: getting it again puts the older one out of
// use, whose unflushed writes are dropped. They are in the changelog, and a
// late flush of them would take the table back behind its offset.
func (db *DB) Table(space, topic string, partition int32, opts Options) (*Table, error) {
	prefix, err := tablePrefix(space, topic, partition)
	if err != nil {
		return nil, err
	}
	db.tablesMu.Lock()
	defer db.tablesMu.Unlock()
	if old := db.tables[prefix]; old != nil {
		old.end(errReplaced)
	}
	t := newTable(db, prefix, fmt.Sprintf("%s of %s, partition %d", space, topic, partition), opts)
	if err := t.readOffset(); err != nil {
		return nil, err
	}
	db.tables[prefix] = t
	return t, nil
}

// Drop forgets the rows and the offset of a partition, on disk at once, so that
// it is rebuilt from the start of its changelog. A Table of it that is still
// around is put out of use.
func (db *DB) Drop(space, topic string, partition int32) error {
	prefix, err := tablePrefix(space, topic, partition)
	if err != nil {
		return err
	}
	db.tablesMu.Lock()
	defer db.tablesMu.Unlock()
	if old := db.tables[prefix]; old != nil {
		old.end(errReplaced)
		delete(db.tables, prefix)
	}
	return db.erase(prefix)
}

// erase removes everything under a prefix, on disk at once.
func (db *DB) erase(prefix string) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return db.pebble.DeleteRange([]byte(prefix), after(prefix), pebble.Sync)
}

// eraseAny is erase where there is something.
func (db *DB) eraseAny(prefix string) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	there := it.First()
	if err := it.Close(); err != nil || !there {
		return err
	}
	return db.pebble.DeleteRange([]byte(prefix), after(prefix), pebble.Sync)
}

// Note returns what SetNotes wrote last under a name, or "".
func (db *DB) Note(name string) (string, error) {
	if err := db.enter(); err != nil {
		return "", err
	}
	defer db.leave()
	value, closer, err := db.pebble.Get([]byte(notePrefix + name))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading note %q: %w", name, err)
	}
	defer closer.Close()
	return string(value), nil
}

// SetNotes writes texts under names, all or nothing after a crash. Like a flush
// it is not synced.
func (db *DB) SetNotes(notes map[string]string) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	batch := db.pebble.NewBatch()
	defer batch.Close()
	for name, text := range notes {
		if err := batch.Set([]byte(notePrefix+name), []byte(text), nil); err != nil {
			return fmt.Errorf("writing note %q: %w", name, err)
		}
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("writing notes: %w", err)
	}
	return nil
}

// enter keeps the database open until leave; Pebble panics when it is used
// after it was closed.
func (db *DB) enter() error {
	db.closeMu.RLock()
	defer db.closeMu.RUnlock()
	if db.closed {
		return errDBClosed
	}
	db.inUse.Add(1)
	return nil
}

func (db *DB) leave() { db.inUse.Done() }

// options fit two cores and some fifty partitions: one compaction at a time
// (Pebble's default), memory bounded by two memtables and the cache.
func (db *DB) options() *pebble.Options {
	opts := &pebble.Options{
		FS:                 db.fs,
		Lock:               db.lock,
		Logger:             logger{db},
		FormatMajorVersion: pebble.FormatNewest,
		CacheSize:          64 << 20,
		MemTableSize:       32 << 20,
		EventListener: &pebble.EventListener{
			DataCorruption:  func(info pebble.DataCorruptionInfo) { db.noteDamage(info.Details) },
			BackgroundError: db.noteDamage,
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}

// logger keeps Pebble silent, but for what it calls fatal. While the database
// is being opened that is damage, see openPebble.
type logger struct{ db *DB }

func (logger) Infof(string, ...any)  {}
func (logger) Errorf(string, ...any) {}
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("state database: "+format, args...)
	if fatal := l.db.fatal.Load(); fatal != nil {
		(*fatal)(err)
	}
	panic(err)
}

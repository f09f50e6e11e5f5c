package views

import (
	"hash/maphash"
	"sync"
)

// rows keeps decoded rows, so that a hot one is neither read nor decoded again.
// What it shows is never older than what the storage shows: a row that is being
// written is not kept before its writer says what it is.
type rows struct {
	seed   maphash.Seed
	shards [16]rowShard
}

// rowShard keeps two generations: what is used moves to the young one, and when
// that is full, the old one is forgotten.
type rowShard struct {
	mu         sync.RWMutex
	limit      int // of the bytes of a generation
	bytes      int // of the young one
	young, old map[string]keptRow
	writing    int    // writes under way
	writes     uint64 // beginnings and ends of writes
}

type keptRow struct {
	row  any
	size int
}

// decodedSize is about what a decoded row takes for each byte of its JSON.
const decodedSize = 3

func newRows(limit int) *rows {
	r := &rows{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].limit = limit / len(r.shards) / 2
		r.shards[i].young = map[string]keptRow{}
	}
	return r
}

func (r *rows) shard(key string) *rowShard {
	return &r.shards[maphash.String(r.seed, key)%uint64(len(r.shards))]
}

// get returns a row that is kept. Otherwise it returns when that was, for put.
func (r *rows) get(key string) (row any, ok bool, when uint64) {
	s := r.shard(key)
	s.mu.RLock()
	k, young := s.young[key]
	if !young {
		k, ok = s.old[key]
	}
	when = s.writes
	s.mu.RUnlock()
	if young || !ok {
		return k.row, young, when
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok = s.old[key]; ok { // not written in between
		delete(s.old, key)
		s.keep(key, k)
		return k.row, true, when
	}
	k, ok = s.young[key]
	return k.row, ok, s.writes
}

// put keeps a row that was read after get, unless one was written since.
func (r *rows) put(key string, row any, bytes int, when uint64) {
	s := r.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing == 0 && s.writes == when {
		s.keep(key, keptRow{row, bytes*decodedSize + len(key) + 100})
	}
}

// begin forgets a row that is about to be written, and says whether it was kept.
func (r *rows) begin(key string) bool {
	s := r.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing++
	s.writes++
	return s.forget(key)
}

// end keeps the row that was written, if it is known.
func (r *rows) end(key string, row any, bytes int) {
	s := r.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	s.writes++ // what was read in between may be the row before
	if row != nil {
		s.keep(key, keptRow{row, bytes*decodedSize + len(key) + 100})
	}
}

func (s *rowShard) forget(key string) bool {
	k, young := s.young[key]
	if young {
		s.bytes -= k.size
		delete(s.young, key)
	}
	_, old := s.old[key]
	delete(s.old, key)
	return young || old
}

func (s *rowShard) keep(key string, k keptRow) {
	s.forget(key)
	if k.size > s.limit {
		return
	}
	if s.bytes+k.size > s.limit {
		s.old, s.young, s.bytes = s.young, map[string]keptRow{}, 0
	}
	s.young[key] = k
	s.bytes += k.size
}

package state

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/tidwall/btree"
)

// Indexes are second keys of a table's rows, kept in the same batch as the row:
// on disk and in memory they are never ahead of it nor behind.
type Indexes struct {
	// Version names what Of does. Indexes of another version are built anew.
	Version string
	// Feeds says by index whether it also keeps which rows of a group changed at
	// which offset. There are as many indexes as Feeds has elements, at most 256.
	// Only a table that follows its changelog and is told of each record (At)
	// keeps feeds.
	Feeds []bool
	// Of returns where a row is: each group of an index at most once. What it
	// returns is not kept longer than until the next call.
	Of func(key string, value []byte) []Place
	// Settled is how long a record of the changelog is there before it may be
	// compacted away. A hole between offsets that is not older is the end of a
	// transaction; an older one may hide what a feed should know.
	Settled time.Duration
	// Follow is how many writes of a recovery are followed one by one. After more,
	// the indexes are built from the rows once they are there, which is faster, and
	// feeds begin then. Default 20,000.
	Follow int
	// Touched is told of each group of a feed that a row is or was in, before the
	// row's change shows. nil: nobody is told.
	Touched func(index int, group string)
	// Built is told why the indexes were built from the rows. nil: nobody is told.
	Built func(why string, rows int)
}

// Place is where a row is in an index.
type Place struct {
	Index       int
	Group, Sort string
	// Mark is what a feed goes by: a row whose mark and place are what they were has
	// not changed for those who follow it. 0: every write is a change.
	Mark uint64
}

// Changed is a row of a group that changed, or left it.
type Changed struct {
	Key    string
	Offset int64
	At     int64 // in milliseconds, as the record says
}

// ErrGap means that a feed does not reach back that far.
var ErrGap = errors.New("the feed does not reach back that far")

// Of those that left a group, a feed knows the newest leftKept to
// leftKept+leftSlack.
const (
	leftKept  = 1000
	leftSlack = 200
)

// What the indexes of a table are made of, each under kindIndex and one more
// byte. A group or sort is written so that the order of keys is that of (group,
// sort, key), whatever bytes they have.
const (
	entryKind  = 'e' // index, group, sort, row key
	feedKind   = 'f' // index, group, then one of the three below
	placesKind = 'p' // row key: where the row is, and where its feed entries are

	feedInfo = 'g' // how many have left, and the offset that the feed reaches back to
	feedIn   = 'i' // offset, row key: of those in the group
	feedLeft = 'l' // offset, row key: of those that left
)

// indexState is what a table knows about its indexes. What is not on disk yet is
// kept by row: which places it has there, and which ones now. A flush writes the
// difference, so what a row goes through between two flushes costs nothing.
type indexState struct {
	Indexes
	rows    map[string]*pendingRow
	flushed map[string][]placed    // the places on disk of the rows of the last flush, which are likely to change soon
	known   known                  // the keys of all rows that may have places on disk
	entries *btree.BTreeG[entry]   // where the entries of rows differ from those on disk
	feeds   map[feedOf]pendingFeed // rows that are or were in a group of a feed
	stored  sums                   // on disk
	next    sums                   // on disk after the flush under way
	floor   int64                  // the offset that the feeds reach back to
	arrived int64                  // the offset of the newest record, -1 for none
	at      int64                  // when it was written, in milliseconds
	told    bool                   // At is called: the offsets are known

	recovering bool // until MarkRecovered
	followed   int  // writes while recovering
	deferred   bool // too many: nothing is kept before MarkRecovered builds it
}

// sums say whether what is on disk is what was written: every key and value
// counts, in any order.
type sums struct {
	count int64
	sum   uint64
	floor int64 // the offset that the feeds reach back to
}

// pendingRow is a row with writes that are not on disk yet. Its slices are never
// changed.
type pendingRow struct {
	key       string
	disk, now []placed
}

// entry is an entry that is not on disk, or one that is and is there no more.
type entry struct {
	key     string // after kindIndex
	deleted bool
}

// feedOf is a group of a feed.
type feedOf struct {
	index int
	group string
}

// pendingFeed is what is not on disk yet of a feed.
type pendingFeed struct {
	rows []*pendingRow // each of those that are or were in the group, at least once
	left []Changed
}

// departure is a row that left a group of a feed.
type departure struct {
	from   feedOf
	offset int64
	at     int64
}

func newEntries() *btree.BTreeG[entry] {
	return btree.NewBTreeGOptions(func(a, b entry) bool { return a.key < b.key }, btree.Options{NoLocks: true})
}

// reset forgets all that is not on disk.
func (ix *indexState) reset() {
	ix.rows, ix.feeds = map[string]*pendingRow{}, map[feedOf]pendingFeed{}
	ix.entries.Clear()
}

// KeepIndexes makes the table keep indexes from now on. It must come before the
// table is read or written. Indexes on disk that are damaged, behind the rows
// or of another version are built from the rows first, which blocks.
func (t *Table) KeepIndexes(indexes Indexes) error {
	t.flushMu.Lock()
	defer t.flushMu.Unlock()
	ix := &indexState{Indexes: indexes, entries: newEntries(), arrived: -1, stored: sums{floor: -1}, recovering: true}
	ix.reset()
	if ix.Follow == 0 {
		ix.Follow = 20_000
	}
	if t.stored.known {
		ix.arrived = t.stored.offset
		found, why, err := t.checkIndexes(ix)
		if err != nil {
			return err
		}
		if ix.stored = found; why != "" {
			built, rows, err := t.buildIndexes(ix)
			if err != nil {
				return t.fail("building its indexes", err)
			}
			ix.stored = built
			if indexes.Built != nil {
				indexes.Built(why, rows)
			}
		}
	}
	ix.floor = ix.stored.floor
	t.mu.Lock()
	defer t.mu.Unlock()
	t.indexes = ix
	return nil
}

// checkIndexes returns the sums on disk, or why they can't be used.
func (t *Table) checkIndexes(ix *indexState) (found sums, why string, err error) {
	raw, err := t.read(t.indexMetaKey())
	if err != nil {
		return found, "", err
	}
	if raw == nil {
		return found, "there are none", nil
	}
	offset, found, is, ok := decodeIndexMeta(raw)
	switch {
	case !ok:
		return found, "they are damaged", nil
	case is != ix.Version:
		return found, "they are of another version", nil
	case offset != t.stored.offset:
		return found, "they are not those of the rows", nil
	}
	if err := t.db.enter(); err != nil {
		return found, "", t.fail("reading its indexes", err)
	}
	defer t.db.leave()
	prefix := t.prefix + string(kindIndex)
	it, err := t.db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: after(prefix)})
	if err != nil {
		return found, "", t.fail("reading its indexes", err)
	}
	defer it.Close()
	there := sums{floor: found.floor}
	for valid := it.First(); valid; valid = it.Next() {
		there.count++
		key := string(it.Key()[len(prefix):])
		there.sum += hash(key, it.Value())
		if key[0] == placesKind {
			ix.known.add(key[1:])
		}
	}
	if err := it.Error(); err != nil {
		return found, "", t.fail("reading its indexes", err)
	}
	if there != found {
		return found, "they are damaged", nil
	}
	return found, "", nil
}

// buildIndexes makes the indexes on disk from the rows on disk. What changed
// before is not known then. A crash in between leaves no sums.
func (t *Table) buildIndexes(ix *indexState) (built sums, rows int, err error) {
	if err := t.db.enter(); err != nil {
		return built, 0, err
	}
	defer t.db.leave()
	batch := t.db.pebble.NewBatch()
	defer func() { batch.Close() }()
	prefix := t.prefix + string(kindIndex)
	if err := batch.DeleteRange([]byte(prefix), after(prefix), nil); err != nil {
		return built, 0, err
	}
	if err := batch.Delete(t.indexMetaKey(), nil); err != nil {
		return built, 0, err
	}
	built = sums{floor: t.stored.offset}
	it, err := t.db.pebble.NewIter(&pebble.IterOptions{LowerBound: t.rowKey(""), UpperBound: after(t.prefix + string(kindRow))})
	if err != nil {
		return built, 0, err
	}
	defer it.Close()
	put := func(key string, value []byte) error {
		built.count++
		built.sum += hash(key, value)
		return batch.Set([]byte(prefix+key), value, nil)
	}
	skip := len(t.rowKey(""))
	for valid := it.First(); valid; valid = it.Next() {
		rows++
		key := string(it.Key()[skip:])
		var at []placed
		for _, p := range ix.Of(key, slices.Clone(it.Value())) {
			at = append(at, placed{Place: p, offset: -1})
			if err := put(entryKey(p, key), nil); err != nil {
				return built, rows, err
			}
		}
		if len(at) > 0 {
			ix.known.add(key)
			if err := put(placesKey(key), encodePlaces(at)); err != nil {
				return built, rows, err
			}
		}
		if batch.Len() >= flushBytes {
			if err := batch.Commit(pebble.NoSync); err != nil {
				return built, rows, err
			}
			batch.Reset()
		}
	}
	if err := it.Error(); err != nil {
		return built, rows, err
	}
	if err := batch.Set(t.indexMetaKey(), built.encode(t.stored.offset, ix.Version), nil); err != nil {
		return built, rows, err
	}
	return built, rows, batch.Commit(pebble.NoSync)
}

// indexed reports whether a write is to be followed in the indexes. It is called
// by the one writer.
func (t *Table) indexed() bool {
	ix := t.indexes
	if ix == nil || ix.deferred {
		return false
	}
	if ix.recovering {
		if ix.followed++; ix.followed > ix.Follow {
			t.mu.Lock()
			defer t.mu.Unlock()
			ix.deferred, ix.flushed = true, nil
			ix.reset()
			return false
		}
	}
	return true
}

// recoverIndexes ends the recovery of the indexes. With t.flushMu held.
func (t *Table) recoverIndexes() error {
	ix := t.indexes
	if ix == nil {
		return nil
	}
	ix.recovering = false
	if !ix.deferred {
		return nil
	}
	built, rows, err := t.buildIndexes(ix)
	if err != nil {
		return t.fail("building its indexes", err)
	}
	t.mu.Lock()
	ix.stored, ix.floor, ix.deferred = built, built.floor, false
	t.mu.Unlock()
	if ix.Built != nil {
		ix.Built("many records were read", rows)
	}
	return nil
}

// At says which record of the changelog the writes that follow come from, and
// when it was written.
func (t *Table) At(offset int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ix := t.indexes
	if ix == nil {
		return
	}
	if offset > ix.arrived+1 && time.Since(at) >= ix.Settled {
		ix.floor = max(ix.floor, offset-1)
	}
	ix.arrived, ix.at, ix.told = max(offset, ix.arrived), at.UnixMilli(), true
}

// index says in a write where the row is from then on. It is called by the one
// writer, without a lock.
func (t *Table) index(w *write) error {
	ix := t.indexes
	old, err := t.places(w.key)
	if err != nil {
		return err
	}
	var places []Place
	if !w.deleted {
		places = ix.Of(w.key, w.value)
	}
	offset := int64(-1)
	if ix.told {
		offset = ix.arrived
	}
	var now []placed
	if len(places) > 0 {
		now = make([]placed, len(places))
	}
	for n, p := range places {
		now[n] = placed{Place: p, offset: -1}
		if !ix.Feeds[p.Index] || offset < 0 {
			continue
		}
		if o := in(old, p); o != nil && p.Mark != 0 && o.Place == p {
			now[n].offset, now[n].at = o.offset, o.at
			continue
		}
		now[n].offset, now[n].at = offset, ix.at
		ix.touch(p)
	}
	for _, o := range old {
		if !ix.Feeds[o.Index] || in(now, o.Place) != nil {
			continue
		}
		if offset >= 0 {
			w.left = append(w.left, departure{feedOf{o.Index, o.Group}, offset, ix.at})
		}
		ix.touch(o.Place)
	}
	w.before, w.places = old, now
	return nil
}

// in returns where a row is in the group of a place, nil if it is not in it.
func in(at []placed, p Place) *placed {
	for i := range at {
		if at[i].Index == p.Index && at[i].Group == p.Group {
			return &at[i]
		}
	}
	return nil
}

func (ix *indexState) touch(p Place) {
	if ix.Touched != nil {
		ix.Touched(p.Index, p.Group)
	}
}

// places returns where a row is now.
func (t *Table) places(key string) ([]placed, error) {
	t.mu.RLock()
	r, pending := t.indexes.rows[key]
	if pending {
		defer t.mu.RUnlock()
		return r.now, nil
	}
	at, known := t.indexes.flushed[key]
	known = known || !t.indexes.known.has(key)
	t.mu.RUnlock()
	if known {
		return at, nil
	}
	raw, err := t.read([]byte(t.prefix + string(kindIndex) + placesKey(key)))
	if err != nil {
		return nil, err
	}
	at, ok := decodePlaces(raw)
	if !ok {
		return nil, t.fail("reading its indexes", fmt.Errorf("%w: the places of row %q", pebble.ErrCorruption, key))
	}
	return at, nil
}

// buffer takes over where a write puts its row. With t.mu held.
func (ix *indexState) buffer(w *write) {
	r := ix.rows[w.key]
	if r == nil {
		r = &pendingRow{key: w.key, disk: w.before, now: w.before}
		ix.rows[w.key] = r
		for _, p := range r.disk {
			ix.follow(r, p.Place)
		}
	}
	for _, p := range r.now {
		if q := in(w.places, p.Place); q == nil || q.Sort != p.Sort {
			ix.differ(r, p.Place, true)
		}
	}
	for _, p := range w.places {
		q := in(r.now, p.Place)
		if q == nil || q.Sort != p.Sort {
			ix.differ(r, p.Place, false)
		}
		if q == nil {
			ix.follow(r, p.Place)
		}
	}
	for _, d := range w.left {
		f := ix.feeds[d.from]
		f.left = append(f.left, Changed{w.key, d.offset, d.at})
		ix.feeds[d.from] = f
	}
	r.now = w.places
}

// differ notes that an entry comes or goes.
func (ix *indexState) differ(r *pendingRow, p Place, deleted bool) {
	e := entry{entryKey(p, r.key), deleted}
	d := in(r.disk, p)
	if there := d != nil && d.Sort == p.Sort; there != deleted {
		ix.entries.Delete(e) // as on disk
	} else {
		ix.entries.Set(e)
	}
}

// follow has a feed look at a row.
func (ix *indexState) follow(r *pendingRow, p Place) {
	if !ix.Feeds[p.Index] {
		return
	}
	of := feedOf{p.Index, p.Group}
	f := ix.feeds[of]
	f.rows = append(f.rows, r)
	ix.feeds[of] = f
}

// indexBatch adds to a batch what changes in the indexes on disk.
type indexBatch struct {
	*pebble.Batch
	key  []byte
	skip int
	sums sums
	err  error
}

func (b *indexBatch) put(key string, value []byte) {
	b.sums.count++
	b.sums.sum += hash(key, value)
	b.key = append(b.key[:b.skip], key...)
	b.err = cmp.Or(b.err, b.Set(b.key, value, nil))
}

// remove is told the value that was under the key where that counts, see hash.
func (b *indexBatch) remove(key string, value []byte) {
	b.sums.count--
	b.sums.sum -= hash(key, value)
	b.key = append(b.key[:b.skip], key...)
	b.err = cmp.Or(b.err, b.Delete(b.key, nil))
}

// row writes what has changed in the places of a row.
func (b *indexBatch) row(key string, was, is []placed) {
	for _, p := range was {
		q := in(is, p.Place)
		if q == nil || q.Sort != p.Sort {
			b.remove(entryKey(p.Place, key), nil)
		}
		if p.offset >= 0 && (q == nil || q.offset != p.offset) {
			b.remove(feedKey(p.Place, feedIn, p.offset, key), nil)
		}
	}
	for _, p := range is {
		q := in(was, p.Place)
		if q == nil || q.Sort != p.Sort {
			b.put(entryKey(p.Place, key), nil)
		}
		if p.offset >= 0 && (q == nil || q.offset != p.offset) {
			b.put(feedKey(p.Place, feedIn, p.offset, key), timeOf(p.at))
		}
	}
	if slices.EqualFunc(was, is, func(a, b placed) bool { return a.Place == b.Place && a.offset == b.offset }) {
		return
	}
	if len(was) > 0 { // a put over it counts one key less
		b.sums.count--
		b.sums.sum -= hash(placesKey(key), encodePlaces(was))
	}
	if len(is) > 0 {
		b.put(placesKey(key), encodePlaces(is))
	} else {
		b.key = append(append(b.key[:b.skip], placesKind), key...)
		b.err = cmp.Or(b.err, b.Delete(b.key, nil))
	}
}

func timeOf(at int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(at)) }

// flush adds to a batch what the first n writes changed, and the sums after them.
func (ix *indexState) flush(t *Table, batch *pebble.Batch, n int, offset int64) error {
	if ix.deferred {
		return nil // the sums on disk are not those of this offset, so nobody takes them for it
	}
	key := []byte(t.prefix + string(kindIndex))
	b := &indexBatch{Batch: batch, key: key, skip: len(key), sums: ix.stored}
	end := t.base + uint64(n)
	left := map[feedOf][]Changed{}
	for i := range t.log[:n] {
		w := &t.log[i]
		for _, d := range w.left {
			c := Changed{w.key, d.offset, d.at}
			if all := left[d.from]; !slices.Contains(all[max(0, len(all)-8):], c) { // twice by one record is once
				left[d.from] = append(all, c)
			}
		}
		if w.next == 0 || w.next >= end {
			b.row(w.key, ix.rows[w.key].disk, w.places)
		}
	}
	for from, who := range left {
		if err := b.leave(t, from, who); err != nil {
			return err
		}
	}
	b.sums.floor = ix.floor
	ix.next = b.sums
	return cmp.Or(b.err, batch.Set(t.indexMetaKey(), b.sums.encode(offset, ix.Version), nil))
}

// leave notes who has left a group, oldest first, and forgets who left long
// before.
func (b *indexBatch) leave(t *Table, from feedOf, who []Changed) error {
	p := Place{Index: from.index, Group: from.group}
	info := feedKey(p, feedInfo, 0, "")
	raw, err := t.read(append(b.key[:b.skip], info...))
	if err != nil {
		return err
	}
	count, floor := decodeFeedInfo(raw)
	if count += len(who); count > leftKept+leftSlack {
		it, err := t.diskIterator(feedKey(p, feedLeft, 0, ""), feedKey(p, feedLeft+1, 0, ""))
		if err != nil {
			return t.fail("reading its feeds", err)
		}
		for valid := it.First(); valid && count > leftKept; valid = it.Next() {
			key := string(it.Key()[b.skip:])
			o, _, ok := cutOffset(key[len(info):])
			if !ok {
				break
			}
			floor = max(floor, o)
			b.remove(key, nil)
			count--
		}
		if err := errors.Join(it.Error(), it.Close()); err != nil {
			return t.fail("reading its feeds", err)
		}
		if more := min(count-leftKept, len(who)); more > 0 {
			floor = max(floor, who[more-1].Offset)
			who, count = who[more:], count-more
		}
	}
	for _, c := range who {
		b.put(feedKey(p, feedLeft, c.Offset, c.Key), timeOf(c.At))
	}
	if raw != nil {
		b.sums.count--
		b.sums.sum -= hash(info, raw)
	}
	b.put(info, encodeFeedInfo(count, floor))
	return nil
}

// trim forgets what the first n writes changed, which is on disk now. With t.mu
// held.
func (ix *indexState) trim(t *Table, n int) {
	if ix.deferred {
		return
	}
	ix.stored = ix.next
	if n == 0 {
		return
	}
	rows := ix.rows
	ix.reset()
	ix.flushed = make(map[string][]placed, len(rows))
	end := t.base + uint64(n)
	for i := range t.log[:n] {
		if w := &t.log[i]; w.next == 0 || w.next >= end {
			ix.flushed[w.key] = w.places
			if len(w.places) > 0 {
				ix.known.add(w.key)
			}
		}
	}
	for i := n; i < len(t.log); i++ {
		w := &t.log[i]
		disk, ok := ix.flushed[w.key]
		if !ok {
			disk = rows[w.key].disk
		}
		w.before = disk
		ix.buffer(w)
	}
}

// forget drops what is not on disk.
func (ix *indexState) forget(stored position) {
	ix.reset()
	ix.flushed = nil
	ix.floor = ix.stored.floor
	ix.arrived = -1
	if stored.known {
		ix.arrived = stored.offset
	}
}

var errNoIndexes = errors.New("it keeps no indexes")

// Entries walks over a group of an index. For one goroutine; it must be
// released.
type Entries struct {
	it   *sideIterator
	skip int // length of a key before the sort
	sort string
	key  string
}

// Scan returns the entries of a group in the order of their sort and key, those
// after one of them, as they are now. after says whether there is one.
func (t *Table) Scan(index int, group string, after bool, sort, key string) (*Entries, error) {
	prefix := groupKey(entryKind, index, group)
	from := prefix
	if after {
		from = entryKey(Place{Index: index, Group: group, Sort: sort}, key) + "\x00"
	}
	it, err := t.sideIterator(from, string(appendUnending(groupKeyOpen(entryKind, index, group))), nil)
	if err != nil {
		return nil, err
	}
	return &Entries{it: it, skip: len(prefix)}, nil
}

// Next moves to the next entry.
func (e *Entries) Next() bool {
	if !e.it.next() {
		return false
	}
	var ok bool
	e.sort, e.key, ok = cutText(e.it.key()[e.skip:])
	if !ok {
		e.it.broken = fmt.Errorf("%w: an entry of its indexes", pebble.ErrCorruption)
	}
	return ok
}

// Sort returns the entry's sort, Key the key of its row.
func (e *Entries) Sort() string { return e.sort }

// Key returns the key of the entry's row.
func (e *Entries) Key() string { return e.key }

// Err returns the error that ended the walk early, if one did.
func (e *Entries) Err() error {
	if err := e.it.err(); err != nil {
		return e.it.table.fail("reading its indexes", err)
	}
	return nil
}

// Release gives back what the walk holds.
func (e *Entries) Release() { _ = e.it.close() }

// Groups calls fn with the groups of an index that begin with prefix and have
// an entry, in their order, until it returns false.
func (t *Table) Groups(index int, prefix string, fn func(group string) bool) error {
	from := groupKeyOpen(entryKind, index, prefix)
	it, err := t.sideIterator(from, string(after(string([]byte{entryKind, byte(index)}))), nil)
	if err != nil {
		return err
	}
	defer it.close()
	for it.next() {
		group, _, ok := cutText(it.key()[2:])
		if !ok {
			return t.fail("reading its indexes", fmt.Errorf("%w: an entry of its indexes", pebble.ErrCorruption))
		}
		if !strings.HasPrefix(group, prefix) || !fn(group) {
			break
		}
		it.seek(string(appendUnending(groupKeyOpen(entryKind, index, group))))
	}
	if err := it.err(); err != nil {
		return t.fail("reading its indexes", err)
	}
	return nil
}

// Changes returns the rows of a group that changed or left it after an offset,
// up to another one, oldest first, each once. ErrGap: not all of them are known.
func (t *Table) Changes(index int, group string, since, upTo int64) ([]Changed, error) {
	p := Place{Index: index, Group: group}
	info := feedKey(p, feedInfo, 0, "")
	var found []Changed
	newest := map[string]int{}
	note := func(c Changed) {
		if c.Offset <= since || c.Offset > upTo {
			return
		}
		if i, ok := newest[c.Key]; !ok {
			newest[c.Key] = len(found)
			found = append(found, c)
		} else if found[i].Offset < c.Offset {
			found[i] = c
		}
	}
	var floor int64
	var pending map[string]bool // rows whose place on disk is not the one now
	it, err := t.sideIterator(info, feedKey(p, feedLeft+1, 0, ""), func(ix *indexState) {
		floor = ix.floor
		f := ix.feeds[feedOf{index, group}]
		if len(f.rows) > 0 {
			pending = make(map[string]bool, len(f.rows))
		}
		for _, r := range f.rows {
			was, is := in(r.disk, p), in(r.now, p)
			if was != nil && is != nil && was.offset == is.offset {
				continue // what is on disk holds
			}
			pending[r.key] = true
			if is != nil {
				note(Changed{r.key, is.offset, is.at})
			}
		}
		for _, c := range f.left {
			note(c)
		}
	})
	if err != nil {
		return nil, err
	}
	defer it.close()
	for _, kind := range []byte{feedInfo, feedIn, feedLeft} {
		if kind == feedInfo {
			it.seek(info)
		} else {
			it.seek(feedKey(p, kind, since+1, ""))
		}
		for it.next() {
			rest := it.key()[len(info)-1:]
			if rest[0] != kind {
				break
			}
			if kind == feedInfo {
				_, own := decodeFeedInfo(it.value())
				floor = max(floor, own)
				break
			}
			offset, key, ok := cutOffset(rest[1:])
			if !ok || len(it.value()) != 8 {
				return nil, t.fail("reading its feeds", fmt.Errorf("%w: an entry of its feeds", pebble.ErrCorruption))
			}
			if offset > upTo {
				break
			}
			if kind == feedLeft || !pending[key] {
				note(Changed{key, offset, int64(binary.BigEndian.Uint64(it.value()))})
			}
		}
	}
	if err := it.err(); err != nil {
		return nil, t.fail("reading its feeds", err)
	}
	if since < floor {
		return nil, ErrGap
	}
	slices.SortFunc(found, func(a, b Changed) int { return cmp.Compare(a.Offset, b.Offset) })
	return found, nil
}

// sideIterator merges what is pending over what is on disk, as both are now.
type sideIterator struct {
	table  *Table
	rows   []entry
	at     int
	disk   *pebble.Iterator
	skip   int
	begun  bool
	fresh  bool // positioned on something that next has not shown
	mem    bool
	onDisk bool
	broken error
}

// diskIterator walks over what is on disk.
func (t *Table) diskIterator(from, to string) (*pebble.Iterator, error) {
	prefix := t.prefix + string(kindIndex)
	return t.db.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte(prefix + from), UpperBound: []byte(prefix + to)})
}

// sideIterator calls then, if not nil, for what else is to be seen as it is at
// the same moment.
func (t *Table) sideIterator(from, to string, then func(*indexState)) (*sideIterator, error) {
	if err := t.db.enter(); err != nil {
		return nil, t.fail("reading its indexes", err)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.indexes == nil {
		t.db.leave()
		return nil, t.fail("reading its indexes", errNoIndexes)
	}
	disk, err := t.diskIterator(from, to)
	if err != nil {
		t.db.leave()
		return nil, t.fail("reading its indexes", err)
	}
	it := &sideIterator{table: t, disk: disk, skip: len(t.prefix) + 1}
	t.indexes.entries.Ascend(entry{key: from}, func(e entry) bool {
		if e.key >= to {
			return false
		}
		it.rows = append(it.rows, e)
		return true
	})
	if then != nil {
		then(t.indexes)
	}
	return it, nil
}

func (it *sideIterator) next() bool {
	switch {
	case it.fresh:
		it.fresh = false
		return it.mem || it.onDisk
	case !it.begun:
		it.begun = true
		it.disk.First()
	default:
		it.step()
	}
	return it.settle()
}

// seek makes next move to the first key that is not below one.
func (it *sideIterator) seek(key string) {
	it.begun = true
	it.at, _ = slices.BinarySearchFunc(it.rows, key, func(e entry, k string) int { return cmp.Compare(e.key, k) })
	it.disk.SeekGE([]byte(it.table.prefix + string(kindIndex) + key))
	it.settle()
	it.fresh = true
}

func (it *sideIterator) step() {
	if it.mem {
		it.at++
	}
	if it.onDisk {
		it.disk.Next()
	}
}

func (it *sideIterator) settle() bool {
	for {
		it.mem, it.onDisk = it.at < len(it.rows), it.disk.Valid()
		if it.disk.Error() != nil {
			it.mem, it.onDisk = false, false
			return false
		}
		if it.mem && it.onDisk {
			order := cmp.Compare(it.rows[it.at].key, string(it.disk.Key()[it.skip:]))
			it.mem, it.onDisk = order <= 0, order >= 0
		}
		if !it.mem || !it.rows[it.at].deleted {
			return it.mem || it.onDisk
		}
		it.step()
	}
}

func (it *sideIterator) key() string {
	if it.mem {
		return it.rows[it.at].key
	}
	return string(it.disk.Key()[it.skip:])
}

// value is that of a feed, which is on disk. It is valid until the next move.
func (it *sideIterator) value() []byte { return it.disk.Value() }

func (it *sideIterator) err() error { return cmp.Or(it.broken, it.disk.Error()) }

func (it *sideIterator) close() error {
	if it.disk == nil {
		return nil
	}
	err := it.disk.Close()
	it.disk = nil
	it.table.db.leave()
	return err
}

// placed is a place of a row, and at which offset its feed has it, -1 for none.
type placed struct {
	Place
	offset int64
	at     int64 // when that was, in milliseconds; not known of what was read from disk
}

func encodePlaces(at []placed) []byte {
	b := binary.AppendUvarint(nil, uint64(len(at)))
	for _, p := range at {
		b = append(b, byte(p.Index))
		b = append(binary.AppendUvarint(b, uint64(len(p.Group))), p.Group...)
		b = append(binary.AppendUvarint(b, uint64(len(p.Sort))), p.Sort...)
		b = binary.AppendUvarint(b, uint64(p.offset+1))
		b = binary.AppendUvarint(b, p.Mark)
	}
	return b
}

func decodePlaces(b []byte) (at []placed, ok bool) {
	if b == nil {
		return nil, true
	}
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			ok = false
			return 0
		}
		b = b[size:]
		return n
	}
	text := func() string {
		n := number()
		if uint64(len(b)) < n {
			ok = false
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	ok = true
	for n := number(); ok && n > 0; n-- {
		var p placed
		if len(b) == 0 {
			return nil, false
		}
		p.Index, b = int(b[0]), b[1:]
		p.Group, p.Sort = text(), text()
		p.offset = int64(number()) - 1
		p.Mark = number()
		at = append(at, p)
	}
	return at, ok && len(b) == 0
}

func encodeFeedInfo(count int, floor int64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(count)), uint64(floor+1))
}

func decodeFeedInfo(b []byte) (count int, floor int64) {
	n, size := binary.Uvarint(b)
	f, _ := binary.Uvarint(b[max(0, min(size, len(b))):])
	return int(n), int64(f) - 1
}

func (s sums) encode(offset int64, version string) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(offset))
	b = binary.BigEndian.AppendUint64(b, uint64(s.count))
	b = binary.BigEndian.AppendUint64(b, s.sum)
	b = binary.BigEndian.AppendUint64(b, uint64(s.floor))
	return append(b, version...)
}

func decodeIndexMeta(b []byte) (offset int64, s sums, version string, ok bool) {
	if len(b) < 32 {
		return 0, s, "", false
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return int64(n(0)), sums{int64(n(1)), n(2), int64(n(3))}, string(b[32:]), true
}

// hash is what a key and its value add to the sums. Of feeds, only keys count:
// their values are not known any more when they are deleted.
func hash(key string, value []byte) uint64 {
	if key[0] == feedKind {
		return xxhash.Sum64String(key)
	}
	return xxhash.Sum64String(key) + 31*xxhash.Sum64(value)
}

func entryKey(p Place, key string) string {
	b := make([]byte, 0, 2+len(p.Group)+2+len(p.Sort)+2+len(key)+8)
	b = appendText(append(b, entryKind, byte(p.Index)), p.Group)
	return string(append(appendText(b, p.Sort), key...))
}

func feedKey(p Place, kind byte, offset int64, key string) string {
	b := append(appendText([]byte{feedKind, byte(p.Index)}, p.Group), kind)
	if kind == feedInfo {
		return string(b)
	}
	return string(append(binary.BigEndian.AppendUint64(b, uint64(offset)), key...))
}

func placesKey(key string) string { return string(placesKind) + key }

// groupKey is what all keys of a group begin with.
func groupKey(kind byte, index int, group string) string {
	return string(appendText([]byte{kind, byte(index)}, group))
}

// groupKeyOpen is groupKey without the end of the group.
func groupKeyOpen(kind byte, index int, group string) string {
	return string(appendBytes([]byte{kind, byte(index)}, group))
}

// Texts are written with an end that no longer text of the same beginning has:
// NUL 1, and a NUL within is NUL 255.
func appendText(b []byte, s string) []byte { return append(appendBytes(b, s), 0, 1) }

// appendUnending makes what is behind all keys of a group.
func appendUnending(open string) []byte { return append([]byte(open), 0, 2) }

func appendBytes(b []byte, s string) []byte {
	for {
		before, behind, found := strings.Cut(s, "\x00")
		b = append(b, before...)
		if !found {
			return b
		}
		b = append(b, 0, 255)
		s = behind
	}
}

// cutText returns the text that a key begins with, and the rest.
func cutText(key string) (text, rest string, ok bool) {
	for from := 0; ; {
		i := strings.IndexByte(key[from:], 0)
		if i < 0 || from+i+1 >= len(key) {
			return "", "", false
		}
		switch i += from; key[i+1] {
		case 1:
			text = key[:i]
			if strings.Contains(text, "\x00") {
				text = strings.ReplaceAll(text, "\x00\xff", "\x00")
			}
			return text, key[i+2:], true
		case 255:
			from = i + 2
		default:
			return "", "", false
		}
	}
}

func cutOffset(rest string) (offset int64, key string, ok bool) {
	if len(rest) < 8 {
		return 0, "", false
	}
	return int64(binary.BigEndian.Uint64([]byte(rest[:8]))), rest[8:], true
}

func (t *Table) indexMetaKey() []byte { return append([]byte(t.prefix), kindIndexMeta) }

package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"baedal/state"
)

// world is a table under test beside a model of its changelog. Its moves are
// what goka, the producer and fate may do, in random order.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	opts state.Options

	fs    *vfs.MemFS
	db    *state.DB
	table *state.Table

	changelog []record // all that the broker has
	next      int64    // the offset of the next record
	inFlight  []record // written, not in the changelog yet, offsets unset
	unacked   []record // in the changelog, not acked yet
	committed int      // how much of the changelog survives an abort
	floor     int64    // an offset known to be on disk unless power was cut
}

type record struct {
	offset  int64
	key     string
	value   string
	deleted bool
}

func (w *world) replay(upTo int64) map[string]string {
	rows := map[string]string{}
	for _, r := range w.changelog {
		if r.offset > upTo {
			break
		}
		apply(rows, r)
	}
	return rows
}

func apply(rows map[string]string, r record) {
	if r.deleted {
		delete(rows, r.key)
	} else {
		rows[r.key] = r.value
	}
}

func (w *world) put(r record) {
	if r.deleted {
		require.NoError(w.t, w.table.Delete(r.key))
	} else {
		MustSet(w.t, w.table, r.key, r.value)
	}
}

func (w *world) write() {
	r := record{key: fmt.Sprintf("k%d", w.rng.IntN(12)), value: fmt.Sprint(w.rng.Int64()), deleted: w.rng.IntN(4) == 0}
	w.put(r)
	w.inFlight = append(w.inFlight, r)
}

// arrive moves the oldest write into the changelog; offsets have gaps, as
// transaction markers take some.
func (w *world) arrive() {
	if len(w.inFlight) == 0 {
		return
	}
	r := w.inFlight[0]
	w.inFlight = w.inFlight[1:]
	r.offset = w.next
	w.next += 1 + int64(w.rng.IntN(3)/2)
	w.changelog = append(w.changelog, r)
	w.unacked = append(w.unacked, r)
}

func (w *world) ack() {
	if len(w.unacked) > 0 {
		w.table.Acked(w.unacked[0].offset)
		w.unacked = w.unacked[1:]
	}
}

func (w *world) flush() {
	if w.opts.Transactional { // a commit: all is acked before
		w.settleAll()
		w.committed = len(w.changelog)
	}
	require.NoError(w.t, w.table.Flush())
	w.floor = MustOffset(w.t, w.table)
}

func (w *world) settleAll() {
	for len(w.inFlight) > 0 {
		w.arrive()
	}
	for len(w.unacked) > 0 {
		w.ack()
	}
}

// check compares what readers see with all that was ever written.
func (w *world) check() {
	want := w.replay(w.next)
	for _, r := range w.inFlight {
		apply(want, r)
	}
	require.Equal(w.t, want, MustRows(w.t, w.table))
	w.checkIndex(want)
	key := fmt.Sprintf("k%d", w.rng.IntN(12))
	value, err := w.table.Get(key)
	require.NoError(w.t, err)
	expected, ok := want[key]
	require.Equal(w.t, ok, value != nil)
	require.Equal(w.t, expected, string(value))
}

// checkIndex compares the index with the rows.
func (w *world) checkIndex(rows map[string]string) {
	var want, found []string
	for key, value := range rows {
		want = append(want, value[:1]+"/"+value+":"+key)
	}
	slices.Sort(want)
	for _, g := range groups(w.t, w.table, 0, "") {
		for _, e := range entries(w.t, w.table, 0, g) {
			found = append(found, g+"/"+e)
		}
	}
	require.Equal(w.t, want, found)
}

// kill leaves nothing but the disk. A cut of the power also takes a random part
// of what was not synced.
func (w *world) kill() {
	lost := 100
	if w.rng.IntN(2) == 0 {
		lost, w.floor = w.rng.IntN(100), noOffset
	}
	disk := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: lost, RNG: w.rng})
	if lost == 100 { // a killed process: the system still has all that it was given
		_ = w.db.Close()
		disk = w.fs
	}
	for len(w.inFlight) > 0 && w.rng.IntN(2) == 0 { // some were on the wire
		w.arrive()
	}
	if lost < 100 {
		_ = w.db.Close()
	}
	w.abort()
	w.fs = disk
	w.boot()
}

// abort forgets what no commit covers.
func (w *world) abort() {
	if w.opts.Transactional {
		w.changelog = w.changelog[:w.committed]
	}
	w.inFlight, w.unacked = nil, nil
}

// stop is a session that ends in order: goka closes the table, late acks come,
// and in transactional mode the last commit or an abort follows.
func (w *world) stop() {
	for range w.rng.IntN(4) {
		w.arrive()
		w.ack()
	}
	require.NoError(w.t, w.table.Close())
	switch {
	case !w.opts.Transactional:
		w.floor = MustOffset(w.t, w.table)
		for len(w.unacked) > 0 {
			w.ack()
		}
		require.NoError(w.t, w.table.Flush())
	case w.rng.IntN(2) == 0:
		w.flush()
	default:
		w.table.Discard()
	}
	for w.rng.IntN(2) == 0 {
		w.arrive()
	}
	w.abort()
	if w.rng.IntN(2) == 0 {
		require.NoError(w.t, w.db.Close())
		w.boot()
		return
	}
	w.recover()
}

func (w *world) boot() {
	db, err := state.OpenFS("state", w.fs)
	require.NoError(w.t, err)
	require.Empty(w.t, db.Rebuilt(), "a crash is no damage")
	w.db = db
	w.recover()
}

// recover checks the promise of this package, then does what goka does: replay
// the changelog from the stored offset on.
func (w *world) recover() {
	for {
		w.table = MustTable(w.t, w.db, w.opts)
		MustKeep(w.t, w.table, state.Indexes{Version: "1", Feeds: []bool{false},
			Of: func(_ string, value []byte) []state.Place {
				return []state.Place{{Group: string(value[:1]), Sort: string(value)}}
			},
			Built: func(why string, _ int) { require.Fail(w.t, "no crash harms an index", why) }})
		stored := MustOffset(w.t, w.table)
		require.GreaterOrEqual(w.t, stored, w.floor, "a flush was lost")
		require.Equal(w.t, w.replay(stored), MustRows(w.t, w.table), "rows on disk are those of offset %d", stored)
		w.checkIndex(w.replay(stored))

		interrupted := false
		for _, r := range w.changelog {
			if r.offset <= stored {
				continue
			}
			w.put(r)
			if interrupted = w.rng.IntN(100) == 0; interrupted {
				break // between Update and SetOffset
			}
			require.NoError(w.t, w.table.SetOffset(r.offset))
			if w.rng.IntN(10) == 0 {
				require.NoError(w.t, w.table.Flush())
			}
		}
		if !interrupted {
			break
		}
		if w.rng.IntN(2) == 0 {
			require.NoError(w.t, w.table.Close())
		}
	}
	require.NoError(w.t, w.table.MarkRecovered())
	w.floor = MustOffset(w.t, w.table)
	w.check()
}

func TestTable_NeverAheadOfItsChangelog(t *testing.T) {
	for _, opts := range []state.Options{{}, {Transactional: true}} {
		t.Run(fmt.Sprintf("Transactional=%v", opts.Transactional), func(t *testing.T) {
			seeds, moves := int64(40), 400
			if testing.Short() {
				seeds = 5
			}
			for seed := range seeds {
				w := &world{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), opts: opts, fs: vfs.NewCrashableMem(), floor: noOffset}
				w.boot()
				for range moves {
					switch n := w.rng.IntN(100); {
					case n < 40:
						w.write()
					case n < 62:
						w.arrive()
					case n < 82:
						w.ack()
					case n < 90:
						w.flush()
					case n < 96:
						w.check()
					case n < 98:
						w.stop()
					default:
						w.kill()
					}
				}
				require.NoError(t, w.db.Close())
			}
		})
	}
}

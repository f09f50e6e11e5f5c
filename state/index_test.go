package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"baedal/state"
)

// byWord puts a row "group,group/sort" into the groups of index 0, and into
// group "" of index 1 under its sort. Index 0 keeps a feed.
func byWord(built *[]string) state.Indexes {
	return state.Indexes{
		Version: "1",
		Feeds:   []bool{true, false},
		Settled: time.Hour,
		Of: func(_ string, value []byte) []state.Place {
			groups, sort, _ := strings.Cut(string(value), "/")
			at := []state.Place{{Index: 1, Sort: sort}}
			for g := range strings.SplitSeq(groups, ",") {
				at = append(at, state.Place{Group: g, Sort: sort})
			}
			return at
		},
		Built: func(why string, rows int) {
			if built != nil {
				*built = append(*built, fmt.Sprint(why, ": ", rows))
			}
		},
	}
}

func MustKeep(t testing.TB, table *state.Table, ix state.Indexes) {
	t.Helper()
	require.NoError(t, table.KeepIndexes(ix))
}

// MustApply is MustFollow with a feed; an empty value deletes.
func MustApply(t testing.TB, table *state.Table, key, value string, offset int64) {
	t.Helper()
	table.At(offset, time.Now())
	if value == "" {
		require.NoError(t, table.Delete(key))
	} else {
		MustSet(t, table, key, value)
	}
	require.NoError(t, table.SetOffset(offset))
}

// entries returns SORT:KEY of a group, those after an entry.
func entries(t testing.TB, table *state.Table, index int, group string, after ...string) (found []string) {
	t.Helper()
	var sort, key string
	if len(after) > 0 {
		sort, key = after[0], after[1]
	}
	it, err := table.Scan(index, group, len(after) > 0, sort, key)
	require.NoError(t, err)
	defer it.Release()
	for it.Next() {
		found = append(found, it.Sort()+":"+it.Key())
	}
	require.NoError(t, it.Err())
	return found
}

func groups(t testing.TB, table *state.Table, index int, prefix string) (found []string) {
	t.Helper()
	require.NoError(t, table.Groups(index, prefix, func(g string) bool {
		found = append(found, g)
		return true
	}))
	return found
}

// changed returns KEY@OFFSET of what changed in a group of index 0.
func changed(t testing.TB, table *state.Table, group string, since, upTo int64) (found []string) {
	t.Helper()
	all, err := table.Changes(0, group, since, upTo)
	require.NoError(t, err)
	for _, c := range all {
		require.NotZero(t, c.At)
		found = append(found, fmt.Sprintf("%s@%d", c.Key, c.Offset))
	}
	return found
}

// Flushed and restarted, or all in memory: readers see the same.
func TestTable_Indexes(t *testing.T) {
	for _, flushed := range []string{"Buffered", "Mixed", "Flushed", "Reopened"} {
		t.Run(flushed, func(t *testing.T) {
			db := MustOpenMemory(t)
			table := MustTable(t, db, state.Options{Follower: true})
			MustKeep(t, table, byWord(nil))
			n := int64(-1)
			put := func(key, value string) {
				n++
				MustApply(t, table, key, value, n)
				if flushed == "Mixed" && n%3 == 0 {
					require.NoError(t, table.Flush())
				}
			}
			put("a", "x,y/3")
			put("b", "x/1")
			put("c", "x\x00,x\x00y/2")
			put("d", "x/2")
			put("d", "x,z/2") // stays, and enters
			put("a", "y/3")   // leaves
			put("e", "x/2")
			put("b", "x/4") // moves within
			put("f", "x/9")
			put("f", "") // gone
			switch flushed {
			case "Flushed":
				require.NoError(t, table.Flush())
			case "Reopened":
				require.NoError(t, table.Close())
				var built []string
				table = MustTable(t, db, state.Options{Follower: true})
				MustKeep(t, table, byWord(&built))
				require.Empty(t, built, "what was closed is whole")
			}
			require.Equal(t, []string{"2:d", "2:e", "4:b"}, entries(t, table, 0, "x"))
			require.Equal(t, []string{"2:e", "4:b"}, entries(t, table, 0, "x", "2", "d"))
			require.Equal(t, []string{"4:b"}, entries(t, table, 0, "x", "2", "zzz"))
			require.Equal(t, []string{"2:c"}, entries(t, table, 0, "x\x00"))
			require.Equal(t, []string{"2:c", "2:d", "2:e", "3:a", "4:b"}, entries(t, table, 1, ""))
			require.Empty(t, entries(t, table, 0, "w"))
			require.Equal(t, []string{"x", "x\x00", "x\x00y", "y", "z"}, groups(t, table, 0, ""))
			require.Equal(t, []string{"x", "x\x00", "x\x00y"}, groups(t, table, 0, "x"))
			require.Equal(t, []string{"x\x00", "x\x00y"}, groups(t, table, 0, "x\x00"))
			require.Equal(t, []string{""}, groups(t, table, 1, ""))

			require.Equal(t, []string{"d@4", "a@5", "e@6", "b@7", "f@9"}, changed(t, table, "x", -1, n))
			require.Equal(t, []string{"e@6", "b@7", "f@9"}, changed(t, table, "x", 5, n))
			require.Equal(t, []string{"e@6"}, changed(t, table, "x", 5, 6))
			require.Empty(t, changed(t, table, "x", n, n))
			require.Equal(t, []string{"d@4"}, changed(t, table, "z", -1, n))
		})
	}
}

func TestTable_IndexesAreBuilt(t *testing.T) {
	fill := func(t *testing.T) (*state.DB, *state.Table) {
		db := MustOpenMemory(t)
		table := MustTable(t, db, state.Options{Follower: true})
		MustKeep(t, table, byWord(nil))
		for n := range int64(30) {
			MustApply(t, table, fmt.Sprintf("k%02d", n), fmt.Sprintf("g%d/%d", n%3, n%7), n)
		}
		require.NoError(t, table.Close())
		return db, table
	}
	want := []string{"0:k00", "0:k21", "1:k15", "2:k09", "3:k03", "3:k24", "4:k18", "5:k12", "6:k06", "6:k27"}
	for name, c := range map[string]struct {
		harm func(t *testing.T, db *state.DB)
		ix   func(*state.Indexes)
		why  string
	}{
		"OtherVersion": {ix: func(ix *state.Indexes) { ix.Version = "2" }, why: "they are of another version: 30"},
		"EntryLost":    {harm: func(t *testing.T, db *state.DB) { require.NoError(t, db.LoseEntry("group", "orders-table", 0)) }, why: "they are damaged: 30"},
		"SumsLost":     {harm: func(t *testing.T, db *state.DB) { require.NoError(t, db.LoseSums("group", "orders-table", 0)) }, why: "there are none: 30"},
		"WrittenWithout": {harm: func(t *testing.T, db *state.DB) { // by a program that knows of no indexes
			table, err := db.Table("group", "orders-table", 0, state.Options{Follower: true})
			require.NoError(t, err)
			MustFollow(t, table, "k30", "g1/0", 30)
			require.NoError(t, table.Close())
		}, why: "they are not those of the rows: 31"},
	} {
		t.Run(name, func(t *testing.T) {
			db, _ := fill(t)
			if c.harm != nil {
				c.harm(t, db)
			}
			for range 2 {
				var built []string
				ix := byWord(&built)
				if c.ix != nil {
					c.ix(&ix)
				}
				table := MustTable(t, db, state.Options{Follower: true})
				MustKeep(t, table, ix)
				require.Equal(t, want, entries(t, table, 0, "g0"))
				last := MustOffset(t, table)
				require.Empty(t, changed(t, table, "g0", last, last))
				if c.why != "" {
					require.Equal(t, []string{c.why}, built)
					_, err := table.Changes(0, "g0", last-1, last)
					require.ErrorIs(t, err, state.ErrGap, "who changed when is not in the rows")
				} else {
					require.Empty(t, built, "once is enough")
				}
				c.why = ""
				MustApply(t, table, "k00", "g0/0", last+1)
				require.Equal(t, []string{fmt.Sprintf("k00@%d", last+1)}, changed(t, table, "g0", last, last+1))
				require.NoError(t, table.Close())
			}
		})
	}
}

// After a long recovery the indexes are built from the rows, and feeds begin.
func TestTable_IndexesAfterALongRecovery(t *testing.T) {
	for _, reopened := range []bool{false, true} { // in the middle
		db := MustOpenMemory(t)
		var built []string
		ix := byWord(&built)
		ix.Follow = 10
		open := func() *state.Table {
			table := MustTable(t, db, state.Options{Follower: true})
			MustKeep(t, table, ix)
			return table
		}
		table := open()
		for n := range int64(35) {
			MustApply(t, table, fmt.Sprint("k", n%8), fmt.Sprintf("g%d/%d", n%3, n%5), n)
			if n%4 == 0 {
				require.NoError(t, table.Flush())
			}
			if n == 20 && reopened {
				require.NoError(t, table.Close())
				table = open()
				require.Len(t, built, 1, "what was begun is not taken for whole")
			}
		}
		require.NoError(t, table.MarkRecovered())
		require.NotEmpty(t, built)
		check := func() {
			require.Equal(t, []string{"0:k6", "2:k3"}, entries(t, table, 0, "g0"))
			_, err := table.Changes(0, "g0", 33, 36)
			require.ErrorIs(t, err, state.ErrGap)
			require.Equal(t, []string{"k1@35", "k3@36"}, changed(t, table, "g0", 34, 36))
		}
		MustApply(t, table, "k1", "g1/1", 35) // leaves g0, where it was
		MustApply(t, table, "k3", "g0/2", 36)
		check()
		require.NoError(t, table.Close())
		built = nil
		table = open()
		check()
		require.Empty(t, built)
	}
}

// Who left long ago is forgotten, and the feed says so.
func TestTable_FeedsAreBounded(t *testing.T) {
	db := MustOpenMemory(t)
	table := MustTable(t, db, state.Options{Follower: true})
	MustKeep(t, table, byWord(nil))
	n := int64(-1)
	put := func(key, value string) {
		n++
		MustApply(t, table, key, value, n)
	}
	put("stays", "g/1")
	for i := range 5000 {
		put(fmt.Sprint("k", i), "g/1")
		put(fmt.Sprint("k", i), "h/1")
		if i%700 == 0 {
			require.NoError(t, table.Flush())
		}
	}
	for range 3000 {
		put("stays", "g/1")
	}
	require.NoError(t, table.Flush())
	keys, err := db.IndexKeys("group", "orders-table", 0)
	require.NoError(t, err)
	require.Less(t, keys, 4*5001+1300, "two entries, feed and places of each row, and some that left")
	_, err = table.Changes(0, "g", -1, n)
	require.ErrorIs(t, err, state.ErrGap)
	all, err := table.Changes(0, "h", -1, n)
	require.NoError(t, err)
	require.Len(t, all, 5000, "those in the group are all known")
	var floor int64
	for floor = n; floor > 0; floor-- {
		if _, err := table.Changes(0, "g", floor-1, n); err != nil {
			break
		}
	}
	known := changed(t, table, "g", floor, n-3000)
	require.GreaterOrEqual(t, len(known), 1000)
	require.LessOrEqual(t, len(known), 1200)
	require.Len(t, known, int(n-3000-floor)/2, "all that left since then")
}

// A hole of old records may hide what was compacted away, one of new ones is the
// end of a transaction.
func TestTable_FeedsReachBackToTheNewestHole(t *testing.T) {
	table := MustTable(t, MustOpenMemory(t), state.Options{Follower: true})
	MustKeep(t, table, byWord(nil))
	put := func(offset int64, at time.Time) {
		table.At(offset, at)
		MustSet(t, table, fmt.Sprint("k", offset), "g/1")
		require.NoError(t, table.SetOffset(offset))
	}
	old, now := time.Now().Add(-2*time.Hour), time.Now()
	put(3, old)
	put(4, old)
	put(9, old)
	put(10, old)
	put(12, now)
	put(20, now)
	_, err := table.Changes(0, "g", 7, 20)
	require.ErrorIs(t, err, state.ErrGap)
	require.Equal(t, []string{"k9@9", "k10@10", "k12@12", "k20@20"}, changed(t, table, "g", 8, 20))
	require.NoError(t, table.Flush())
	_, err = table.Changes(0, "g", 7, 20)
	require.ErrorIs(t, err, state.ErrGap)
}

// An index is that of the rows, whatever is killed when.
func TestTable_IndexesAreNeverAheadNorBehind(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		for _, opts := range []state.Options{{Follower: true}, {}} {
			indexedWorld(t, seed, opts, vfs.NewCrashableMem())
		}
	}
}

// indexedWorld writes, flushes and is killed at random, and compares what scans
// and feeds show with all that was ever written.
func indexedWorld(t *testing.T, seed uint64, opts state.Options, fs *vfs.MemFS) {
	rng := rand.New(rand.NewPCG(seed, 7))
	type change struct {
		key, value string
		offset     int64
	}
	var log []change // the changelog
	var db *state.DB
	var table *state.Table
	built := []string{}
	value := func() string {
		if rng.IntN(4) == 0 {
			return ""
		}
		return fmt.Sprintf("g%d,h%d/%d", rng.IntN(3), rng.IntN(2), rng.IntN(5))
	}
	check := func(upTo int64) {
		rows := map[string]string{}
		last := map[string]map[string]int64{} // by group, the offset of the newest change of who is or was in it
		for _, c := range log {
			if c.offset > upTo {
				break
			}
			for _, v := range []string{rows[c.key], c.value} {
				names, _, _ := strings.Cut(v, "/")
				for g := range strings.SplitSeq(names, ",") {
					if last[g] == nil {
						last[g] = map[string]int64{}
					}
					last[g][c.key] = c.offset
				}
			}
			rows[c.key] = c.value
		}
		for _, g := range []string{"g0", "g1", "g2", "h0", "h1"} {
			var want []string
			for key, v := range rows {
				if names, sort, _ := strings.Cut(v, "/"); slices.Contains(strings.Split(names, ","), g) {
					want = append(want, sort+":"+key)
				}
			}
			slices.Sort(want)
			require.Equal(t, want, entries(t, table, 0, g), "seed %d", seed)
			if !opts.Follower {
				continue
			}
			since := int64(rng.IntN(int(upTo+2))) - 1
			var feed []string
			for key, o := range last[g] {
				if o > since {
					feed = append(feed, fmt.Sprintf("%s@%d", key, o))
				}
			}
			require.ElementsMatch(t, feed, changed(t, table, g, since, upTo), "seed %d", seed)
		}
	}
	acked := 0 // of log, by an owned table
	boot := func() {
		var err error
		db, err = state.OpenFS("state", fs)
		require.NoError(t, err)
		table = MustTable(t, db, opts)
		ix := byWord(&built)
		MustKeep(t, table, ix)
		at := max(-1, MustOffset(t, table))
		check(at)
		for _, c := range log {
			if c.offset > at {
				MustApply(t, table, c.key, c.value, c.offset)
			}
		}
		require.NoError(t, table.MarkRecovered())
		acked = len(log)
	}
	boot()
	for range 150 {
		switch n := rng.IntN(100); {
		case n < 70:
			c := change{fmt.Sprint("k", rng.IntN(8)), value(), int64(len(log))}
			log = append(log, c)
			MustApply(t, table, c.key, c.value, c.offset)
		case n < 85:
			for !opts.Follower && acked < len(log) && rng.IntN(4) > 0 {
				table.Acked(log[acked].offset)
				acked++
			}
			require.NoError(t, table.Flush())
		case n < 96:
			check(int64(len(log)) - 1)
		default:
			disk := fs
			if rng.IntN(2) == 0 { // the power is cut
				disk = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(100), RNG: rng})
			}
			require.NoError(t, db.Close())
			fs = disk
			boot()
		}
	}
	require.Empty(t, built, "a crash is no damage")
	require.NoError(t, db.Close())
}

package state_test

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/state"
)

func TestDB_Reopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	db := MustOpen(t, dir)
	table := MustOwn(t, db, state.Options{})
	MustSet(t, table, "a", "1")
	table.Acked(3)
	require.NoError(t, table.Close())
	require.NoError(t, db.Close())
	require.NoError(t, db.Close())

	db = MustOpen(t, dir)
	require.Empty(t, db.Rebuilt())
	table = MustTable(t, db, state.Options{})
	require.Equal(t, map[string]string{"a": "1"}, MustRows(t, table))
	require.EqualValues(t, 3, MustOffset(t, table))
}

func TestDB_OneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	db := MustOpen(t, dir)
	_, err := state.Open(dir, nil)
	require.ErrorContains(t, err, "in use")
	require.NoDirExists(t, dir+".damaged")
	require.NoError(t, db.Close())
	MustOpen(t, dir)
}

func TestDB_NotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o644))
	_, err := state.Open(file, nil)
	require.Error(t, err)
	require.FileExists(t, file, "what is not ours stays")
}

func TestDB_TableNames(t *testing.T) {
	db := MustOpenMemory(t)
	for _, bad := range []struct {
		space, topic string
		partition    int32
	}{{"", "t", 0}, {"group", "", 0}, {"a\x00b", "t", 0}, {"group", "t\x00", 0}, {"group", "t", -1}} {
		_, err := db.Table(bad.space, bad.topic, bad.partition, state.Options{})
		require.Error(t, err, "%q", bad)
		require.Error(t, db.Drop(bad.space, bad.topic, bad.partition), "%q", bad)
	}
}

func TestDB_Drop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	db := MustOpen(t, dir)
	for partition := range int32(300) { // past one byte of the partition number
		table, err := db.Table("group", "t", partition, state.Options{})
		require.NoError(t, err)
		MustFollow(t, table, "a", "1", 5)
		require.NoError(t, table.Close())
	}
	require.NoError(t, db.Drop("group", "t", 255))
	require.NoError(t, db.Close())

	db = MustOpen(t, dir)
	for partition := range int32(300) {
		table, err := db.Table("group", "t", partition, state.Options{})
		require.NoError(t, err)
		if partition == 255 {
			require.Empty(t, MustRows(t, table))
			require.EqualValues(t, noOffset, MustOffset(t, table))
			continue
		}
		require.Equal(t, map[string]string{"a": "1"}, MustRows(t, table), partition)
		require.EqualValues(t, 5, MustOffset(t, table))
	}
}

// A view that is asked while the process stops gets an error, not a panic.
func TestDB_UseAfterClose(t *testing.T) {
	db := MustOpenMemory(t)
	table := MustOwn(t, db, state.Options{})
	MustSet(t, table, "a", "1")
	table.Acked(1)
	it := MustIterate(t, table, nil, nil)

	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	require.Eventually(t, func() bool { _, err := table.Get("b"); return err != nil }, 5*time.Second, time.Millisecond,
		"the database refuses new reads")
	require.Len(t, Drain(t, it), 1, "an iterator works until it is released")
	select {
	case <-closed:
		t.Fatal("Close did not wait for the iterator")
	default:
	}
	it.Release()
	require.NoError(t, <-closed)

	_, err := table.Get("b")
	require.ErrorContains(t, err, "closed")
	require.False(t, state.IsCorrupt(err))
	_, err = table.Iterator()
	require.ErrorContains(t, err, "closed")
	require.ErrorContains(t, table.Flush(), "closed")
	require.Equal(t, 1, table.Pending(), "a failed flush keeps its writes")
	require.ErrorContains(t, db.Drop("group", "orders-table", 0), "closed")
}

// Whatever happens to a file, a table is never wrong in silence: it is whole at
// some offset, or a read says it is corrupt and the next Open begins anew, or
// Open begins anew.
func TestDB_DamagedFiles(t *testing.T) {
	const rounds, perRound = 3, 200
	source := filepath.Join(t.TempDir(), "state")
	db := MustOpen(t, source)
	offset := int64(0)
	for range rounds {
		table := MustTable(t, db, state.Options{})
		for i := range perRound {
			MustFollow(t, table, fmt.Sprintf("k%03d", i), fmt.Sprintf("%d %s", offset, strings.Repeat("x", 300)), offset)
			offset++
		}
		require.NoError(t, table.Close())
		require.NoError(t, db.Close()) // the next Open turns the log into a table file
		db = MustOpen(t, source)
	}
	require.NoError(t, db.Close())

	rng := rand.New(rand.NewSource(1))
	damages := map[string]func([]byte) []byte{
		"flipped":   func(b []byte) []byte { b[rng.Intn(len(b))] ^= 0x55; return b },
		"truncated": func(b []byte) []byte { return b[:rng.Intn(len(b))] },
		"emptied":   func([]byte) []byte { return nil },
		"removed":   nil,
	}
	files, err := filepath.Glob(filepath.Join(source, "*"))
	require.NoError(t, err)
	noticed := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		if len(content) == 0 {
			continue
		}
		kind := filepath.Ext(name)
		if strings.HasPrefix(name, "MANIFEST") {
			kind = "MANIFEST"
		}
		for how, damage := range damages {
			for range 6 {
				dir := filepath.Join(t.TempDir(), "state")
				require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
				if damage == nil {
					require.NoError(t, os.Remove(filepath.Join(dir, name)))
				} else {
					require.NoError(t, os.WriteFile(filepath.Join(dir, name), damage(append([]byte(nil), content...)), 0o644))
				}
				if checkDamaged(t, dir, name+" "+how, perRound) {
					noticed[kind+" "+how] = true
				}
			}
		}
	}
	for _, must := range []string{"MANIFEST flipped", "MANIFEST emptied", "MANIFEST removed", ".sst flipped", ".sst truncated", ".sst emptied", ".sst removed"} {
		require.True(t, noticed[must], must)
	}
}

// The list of files is longest in a process that has run for a while. Wherever
// a bit of it is wrong, no row may be lost that the offset stands for.
func TestOpen_FlippedManifest(t *testing.T) {
	const keys = 500
	source := filepath.Join(t.TempDir(), "state")
	db := MustOpen(t, source)
	table := MustTable(t, db, state.Options{})
	files := func(pattern string) []string {
		all, err := filepath.Glob(filepath.Join(source, pattern))
		require.NoError(t, err)
		return all
	}
	for offset := int64(0); len(files("*.sst")) < 2; offset++ {
		MustFollow(t, table, fmt.Sprintf("k%03d", offset%keys), fmt.Sprintf("%d %s", offset, strings.Repeat("x", 300)), offset)
		require.NoError(t, table.Flush())
	}
	killed := filepath.Join(t.TempDir(), "killed")
	require.NoError(t, db.Close())
	require.NoError(t, os.CopyFS(killed, os.DirFS(source)))

	manifest := filepath.Base(files("MANIFEST-*")[len(files("MANIFEST-*"))-1])
	content, err := os.ReadFile(filepath.Join(killed, manifest))
	require.NoError(t, err)
	step := 5
	if testing.Short() {
		step = 37
	}
	for i := 0; i < len(content); i += step {
		dir := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.CopyFS(dir, os.DirFS(killed)))
		flipped := append([]byte(nil), content...)
		flipped[i] ^= 0x10
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifest), flipped, 0o644))
		require.True(t, checkDamaged(t, dir, fmt.Sprintf("byte %d", i), keys), "byte %d of %d", i, len(content))
	}
}

// checkDamaged opens a damaged directory and returns whether that was noticed.
func checkDamaged(t *testing.T, dir, what string, keys int64) bool {
	db := MustOpen(t, dir)
	defer func() { _ = db.Close() }()
	table, err := db.Table("group", "orders-table", 0, state.Options{})
	if err == nil && db.Rebuilt() != "" {
		require.EqualValues(t, noOffset, MustOffset(t, table), what)
		require.Empty(t, MustRows(t, table), what)
		require.DirExists(t, dir+".damaged", what)
		return true
	}
	rows := map[string]string{}
	if err == nil {
		it := MustIterate(t, table, nil, nil)
		defer it.Release()
		for it.Next() {
			value, verr := it.Value()
			require.NoError(t, verr, what)
			rows[string(it.Key())] = strings.Fields(string(value))[0]
		}
		err = it.Err()
		it.Release()
	}
	if err == nil { // whole, maybe older
		want := map[string]string{}
		if offset := MustOffset(t, table); offset != noOffset {
			for o := range offset + 1 {
				want[fmt.Sprintf("k%03d", o%keys)] = fmt.Sprint(o)
			}
		}
		require.Equal(t, want, rows, what)
		return false
	}

	require.True(t, state.IsCorrupt(err), "%s: %v", what, err)
	require.ErrorContains(t, err, "group of orders-table, partition 0", what)
	require.ErrorContains(t, err, "drop it", what)
	require.Error(t, db.Damaged(), what)

	// Dropped, the partition works again at once.
	require.NoError(t, db.Drop("group", "orders-table", 0), what)
	table = MustTable(t, db, state.Options{})
	require.EqualValues(t, noOffset, MustOffset(t, table), what)
	MustFollow(t, table, "k1", "new", 1)
	require.NoError(t, table.Flush(), what)
	require.Equal(t, map[string]string{"k1": "new"}, MustRows(t, table), what)
	require.NoError(t, db.Close(), what)

	db = MustOpen(t, dir)
	require.Contains(t, db.Rebuilt(), "damage was met", what)
	require.NoError(t, db.Close())
	return true
}

package state_test

import (
	"testing"

	"github.com/lovoo/goka/storage"
	"github.com/stretchr/testify/require"

	"baedal/state"
)

const noOffset = -9

func MustOpenMemory(t testing.TB) *state.DB {
	t.Helper()
	db, err := state.OpenMemory()
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func MustOpen(t testing.TB, dir string) *state.DB {
	t.Helper()
	db, err := state.Open(dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// MustTable opens partition 0 of one table of a group.
func MustTable(t testing.TB, db *state.DB, opts state.Options) *state.Table {
	t.Helper()
	table, err := db.Table("group", "orders-table", 0, opts)
	require.NoError(t, err)
	return table
}

// MustOwn is MustTable after its recovery.
func MustOwn(t testing.TB, db *state.DB, opts state.Options) *state.Table {
	t.Helper()
	table := MustTable(t, db, opts)
	require.NoError(t, table.MarkRecovered())
	return table
}

func MustSet(t testing.TB, table *state.Table, key, value string) {
	t.Helper()
	require.NoError(t, table.Set(key, []byte(value)))
}

// MustFollow applies one changelog record as goka does.
func MustFollow(t testing.TB, table *state.Table, key, value string, offset int64) {
	t.Helper()
	MustSet(t, table, key, value)
	require.NoError(t, table.SetOffset(offset))
}

func MustOffset(t testing.TB, table *state.Table) int64 {
	t.Helper()
	offset, err := table.GetOffset(noOffset)
	require.NoError(t, err)
	return offset
}

func MustRows(t testing.TB, table *state.Table) map[string]string {
	t.Helper()
	it := MustIterate(t, table, nil, nil)
	defer it.Release()
	rows := map[string]string{}
	for _, r := range Drain(t, it) {
		rows[r.key] = r.value
	}
	return rows
}

// MustIterate releases the iterator before the database is closed, which would
// wait for it, when the test fails in between.
func MustIterate(t testing.TB, table *state.Table, start, limit []byte) storage.Iterator {
	t.Helper()
	it, err := table.IteratorWithRange(start, limit)
	require.NoError(t, err)
	t.Cleanup(it.Release)
	return it
}

type row struct{ key, value string }

func Drain(t testing.TB, it storage.Iterator) []row {
	t.Helper()
	var rows []row
	for it.Next() {
		value, err := it.Value()
		require.NoError(t, err)
		rows = append(rows, row{string(it.Key()), string(value)})
	}
	require.NoError(t, it.Err())
	return rows
}

package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/state"
)

// fill makes the copy of a partition as a follower leaves it.
func fill(t *testing.T, db *state.DB, space, id string, offset int64, rows map[string]string) {
	t.Helper()
	table, err := db.Table(space, "t", 0, state.Options{Follower: true, TopicID: id})
	require.NoError(t, err)
	for k, v := range rows {
		require.NoError(t, table.Set(k, []byte(v)))
	}
	require.NoError(t, table.SetOffset(offset))
	require.NoError(t, table.Close())
}

// An offset means nothing in a topic that was deleted and made anew: rows and
// offset of another one are gone when the table is opened.
func TestTable_TopicMadeAnew(t *testing.T) {
	for name, one := range map[string]struct {
		stored, now string
		kept        bool
	}{
		"Same":          {"one", "one", true},
		"Other":         {"one", "two", false},
		"NowNotKnown":   {"one", "", true},
		"StoredUnknown": {"", "two", true},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := state.OpenMemory()
			require.NoError(t, err)
			defer db.Close()
			fill(t, db, "group", one.stored, 7, map[string]string{"a": "old"})
			dropped := int64(-1)
			table, err := db.Table("group", "t", 0, state.Options{TopicID: one.now, Dropped: func(o int64) { dropped = o }})
			require.NoError(t, err)
			offset, err := table.GetOffset(-2)
			require.NoError(t, err)
			value, err := table.Get("a")
			require.NoError(t, err)
			if one.kept {
				require.EqualValues(t, 7, offset)
				require.Equal(t, "old", string(value))
				require.EqualValues(t, -1, dropped)
				return
			}
			require.EqualValues(t, -2, offset, "as if there had been none")
			require.Nil(t, value)
			require.EqualValues(t, 7, dropped)
		})
	}
}

// What was believed because nothing was known is the topic's from then on.
func TestTable_TopicBecomesKnown(t *testing.T) {
	db, err := state.OpenMemory()
	require.NoError(t, err)
	defer db.Close()
	fill(t, db, "group", "", 7, map[string]string{"a": "old"})
	table, err := db.Table("group", "t", 0, state.Options{TopicID: "one"})
	require.NoError(t, err)
	require.NoError(t, table.Close())
	table, err = db.Table("group", "t", 0, state.Options{TopicID: "two"})
	require.NoError(t, err)
	value, err := table.Get("a")
	require.NoError(t, err)
	require.Nil(t, value)
}

// A copy begins a table only where it is of the same topic, and then replaces
// rows of another one, however few records it is ahead.
func TestSeed_TopicMadeAnew(t *testing.T) {
	for name, one := range map[string]struct {
		ours, theirs string
		copied       int
	}{
		"CopyOfAnother": {"new", "old", 0},
		"OwnOfAnother":  {"old", "new", 1},
		"BothTheSame":   {"new", "new", 0}, // it is not far ahead
	} {
		t.Run(name, func(t *testing.T) {
			db, err := state.OpenMemory()
			require.NoError(t, err)
			defer db.Close()
			fill(t, db, "group", one.ours, 900, map[string]string{"a": one.ours})
			fill(t, db, "view", one.theirs, 901, map[string]string{"a": one.theirs})
			rows, err := db.Seed("group", "view", "t", 0, "new", 5000)
			require.NoError(t, err)
			require.Equal(t, one.copied, rows)
			table, err := db.Table("group", "t", 0, state.Options{TopicID: "new"})
			require.NoError(t, err)
			value, err := table.Get("a")
			require.NoError(t, err)
			require.Equal(t, "new", string(value))
		})
	}
}

func TestDB_Notes(t *testing.T) {
	db, err := state.OpenMemory()
	require.NoError(t, err)
	defer db.Close()
	text, err := db.Note("orders/t/0")
	require.NoError(t, err)
	require.Empty(t, text)
	require.NoError(t, db.SetNotes(map[string]string{"orders/t/0": "5", "orders/t/1": "6"}))
	text, err = db.Note("orders/t/0")
	require.NoError(t, err)
	require.Equal(t, "5", text)
}

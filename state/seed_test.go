package state_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/state"
)

// A table that is taken over begins with the follower's copy when that is further, and only then.
func TestDB_Seed(t *testing.T) {
	for name, c := range map[string]struct {
		follower, group int64 // offsets; below 0: nothing there
		want            bool
	}{
		"NothingToCopy":   {-1, -1, false},
		"NothingOfOurOwn": {500, -1, true},
		"FarAhead":        {500, 400, true},
		"ALittleAhead":    {500, 401, false},
		"Behind":          {400, 500, false},
		"OldOfOurOwn":     {-1, 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := state.OpenMemory()
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			fill := func(space string, offset int64, rows ...string) {
				if offset < 0 {
					return
				}
				table, err := db.Table(space, "t", 3, state.Options{Follower: true})
				require.NoError(t, err)
				for _, r := range rows {
					require.NoError(t, table.Set(r, []byte(space)))
				}
				require.NoError(t, table.SetOffset(offset))
				require.NoError(t, table.Close())
			}
			fill("view", c.follower, "", "a", "b")
			fill("group", c.group, "a", "gone")
			// Of another partition nothing comes along.
			other, err := db.Table("view", "t", 4, state.Options{Follower: true})
			require.NoError(t, err)
			require.NoError(t, other.Set("other", []byte("x")))
			require.NoError(t, other.SetOffset(9))
			require.NoError(t, other.Close())

			n, err := db.Seed("group", "view", "t", 3, "", 100)
			require.NoError(t, err)
			table, err := db.Table("group", "t", 3, state.Options{})
			require.NoError(t, err)
			if !c.want {
				require.Zero(t, n)
				offset, err := table.GetOffset(-1)
				require.NoError(t, err)
				require.Equal(t, max(c.group, -1), offset)
				return
			}
			require.Equal(t, 3, n)
			require.Equal(t, map[string]string{"": "view", "a": "view", "b": "view"}, MustRows(t, table))
			offset, err := table.GetOffset(-1)
			require.NoError(t, err)
			require.Equal(t, c.follower, offset)
		})
	}
}

func BenchmarkSeed(b *testing.B) {
	db, err := state.Open(b.TempDir(), nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, db.Close()) }()
	table, err := db.Table("view", "t", 0, state.Options{Follower: true})
	require.NoError(b, err)
	const rows = 200_000
	value := make([]byte, 1000)
	for i := range rows {
		require.NoError(b, table.Set(fmt.Sprintf("order-%d", i), value))
		require.NoError(b, table.SetOffset(int64(i)))
	}
	require.NoError(b, table.Close())
	for i := 0; b.Loop(); i++ {
		n, err := db.Seed(fmt.Sprintf("group-%d", i), "view", "t", 0, "", 1)
		require.NoError(b, err)
		require.Equal(b, rows, n)
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

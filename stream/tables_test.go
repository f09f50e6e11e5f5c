package stream

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/state"
)

// A partition that is taken over begins with the copy that something else on this machine keeps, when that saves much.
func TestTables_BeginWithTheCopy(t *testing.T) {
	for name, c := range map[string]struct {
		space string
		ahead int64
		want  int64 // the offset to go on from
	}{
		"FarAhead":     {"view", worthCopying, 7 + worthCopying},
		"ALittleAhead": {"view", worthCopying - 1, 7},
		"NoCopies":     {"", worthCopying, 7},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := state.OpenMemory()
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			for space, offset := range map[string]int64{"group": 7, "view": 7 + c.ahead} {
				table, err := db.Table(space, "orders-table", 2, state.Options{Follower: true})
				require.NoError(t, err)
				require.NoError(t, table.Set("o-1", []byte(space)))
				require.NoError(t, table.SetOffset(offset))
				require.NoError(t, table.Close())
			}
			tables := newTables()
			st, err := tables.builder(Config{State: db, Partitions: 4, CopySpace: c.space}.WithDefaults())("orders-table", 2)
			require.NoError(t, err)
			offset, err := st.GetOffset(-1)
			require.NoError(t, err)
			require.Equal(t, c.want, offset)
			row, err := st.Get("o-1")
			require.NoError(t, err)
			require.Equal(t, c.want != 7, string(row) == "view")
			require.NotNil(t, tables.get(2))
			require.NoError(t, st.Close())
		})
	}
}

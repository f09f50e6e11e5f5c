package state_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/state"
)

func TestTable_RowKeys(t *testing.T) {
	for _, key := range []string{"__offset", "", "o", "r", "a\x00b", "\xff\xff", "주문-1"} {
		t.Run(fmt.Sprintf("%q", key), func(t *testing.T) {
			db := MustOpenMemory(t)
			table := MustOwn(t, db, state.Options{})
			for _, at := range []string{"buffered", "on disk"} {
				MustSet(t, table, key, "v "+at)
				if at == "on disk" {
					table.Acked(6)
					table.Acked(7)
					require.NoError(t, table.Flush())
					require.Zero(t, table.Pending())
				}
				value, err := table.Get(key)
				require.NoError(t, err)
				require.Equal(t, "v "+at, string(value))
				require.Equal(t, map[string]string{key: "v " + at}, MustRows(t, table))
			}
			require.EqualValues(t, 7, MustOffset(t, MustTable(t, db, state.Options{})))
		})
	}
}

func TestTable_Values(t *testing.T) {
	db := MustOpenMemory(t)
	table := MustOwn(t, db, state.Options{})

	require.ErrorContains(t, table.Set("k", nil), "use Delete")
	require.NoError(t, table.Set("empty", []byte{}))
	for _, flushed := range []bool{false, true} {
		if flushed {
			table.Acked(0)
			require.NoError(t, table.Flush())
		}
		has, err := table.Has("empty")
		require.NoError(t, err)
		require.True(t, has, "an empty value is a value (flushed: %v)", flushed)
		has, err = table.Has("k")
		require.NoError(t, err)
		require.False(t, has)
	}
	require.EqualValues(t, 0, MustOffset(t, table), "0 is an offset like others")
}

// What is on disk is read through a second Table, which drops what the first
// one has in memory, as a crash would.
func TestTable_OwnedFlushesOnlyWhatIsAcked(t *testing.T) {
	set := func(k, v string) func(*testing.T, *state.Table) {
		return func(t *testing.T, table *state.Table) { MustSet(t, table, k, v) }
	}
	del := func(k string) func(*testing.T, *state.Table) {
		return func(t *testing.T, table *state.Table) { require.NoError(t, table.Delete(k)) }
	}
	ack := func(o int64) func(*testing.T, *state.Table) {
		return func(_ *testing.T, table *state.Table) { table.Acked(o) }
	}
	offset := func(o int64) func(*testing.T, *state.Table) {
		return func(t *testing.T, table *state.Table) { require.NoError(t, table.SetOffset(o)) }
	}
	flush := func(t *testing.T, table *state.Table) { require.NoError(t, table.Flush()) }
	closed := func(t *testing.T, table *state.Table) { require.NoError(t, table.Close()) }
	discard := func(_ *testing.T, table *state.Table) { table.Discard() }

	tests := []struct {
		name   string
		opts   state.Options
		steps  []func(*testing.T, *state.Table)
		rows   map[string]string
		offset int64
	}{
		{"NothingAcked", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), flush, closed}, map[string]string{}, noOffset},
		{"AckedPrefix", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), set("b", "1"), ack(4), flush}, map[string]string{"a": "1"}, 4},
		{"AckedThenOverwritten", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), set("a", "2"), flush}, map[string]string{"a": "1"}, 4},
		{"AckedThenDeleted", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), del("a"), flush}, map[string]string{"a": "1"}, 4},
		{"OverwrittenWithinPrefix", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), set("a", "2"), set("a", "3"), ack(4), ack(5), flush}, map[string]string{"a": "2"}, 5},
		{"DeleteStoresItsOffset", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), del("a"), ack(5), flush}, map[string]string{}, 5},
		{"FlushedTwice", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), flush, set("a", "2"), set("b", "1"), ack(6), flush}, map[string]string{"a": "2"}, 6},
		{"NotFlushed", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4)}, map[string]string{}, noOffset},
		{"CloseFlushesAcked", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), set("b", "1"), ack(4), closed}, map[string]string{"a": "1"}, 4},
		{"LateAckAfterClose", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), closed, ack(4), flush, closed}, map[string]string{}, noOffset},
		{"SetOffsetIgnored", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), set("b", "1"), offset(9), flush}, map[string]string{"a": "1"}, 4},
		{"AckWithoutWriteIgnored", state.Options{}, []func(*testing.T, *state.Table){ack(3), set("a", "1"), flush}, map[string]string{}, noOffset},
		{"Discarded", state.Options{}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), flush, set("a", "2"), ack(5), discard, ack(6), flush, closed}, map[string]string{"a": "1"}, 4},

		{"TransactionalCloseWaits", state.Options{Transactional: true}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), closed}, map[string]string{}, noOffset},
		{"TransactionalCommitAfterClose", state.Options{Transactional: true}, []func(*testing.T, *state.Table){set("a", "1"), set("b", "1"), ack(4), closed, ack(5), flush}, map[string]string{"a": "1", "b": "1"}, 5},
		{"TransactionalAbortAfterClose", state.Options{Transactional: true}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), closed, discard, flush}, map[string]string{}, noOffset},
		{"TransactionalTwoCommits", state.Options{Transactional: true}, []func(*testing.T, *state.Table){set("a", "1"), ack(4), flush, set("a", "2"), ack(5), closed, discard}, map[string]string{"a": "1"}, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := MustOpenMemory(t)
			table := MustOwn(t, db, tt.opts)
			for _, step := range tt.steps {
				step(t, table)
			}
			stored := MustTable(t, db, tt.opts)
			require.Equal(t, tt.rows, MustRows(t, stored))
			require.Equal(t, tt.offset, MustOffset(t, stored))
		})
	}
}

func TestTable_UnackedIsVisible(t *testing.T) {
	table := MustOwn(t, MustOpenMemory(t), state.Options{})
	MustSet(t, table, "a", "1")
	MustSet(t, table, "b", "1")
	table.Acked(1)
	table.Acked(2)
	require.NoError(t, table.Flush())
	MustSet(t, table, "a", "2")
	require.NoError(t, table.Delete("b"))
	require.NoError(t, table.Flush())

	require.Equal(t, 2, table.Pending())
	require.Equal(t, map[string]string{"a": "2"}, MustRows(t, table))
	value, err := table.Get("b")
	require.NoError(t, err)
	require.Nil(t, value)
	require.EqualValues(t, 2, MustOffset(t, table))
	table.Acked(3)
	require.EqualValues(t, 3, MustOffset(t, table), "an acked offset is known before it is flushed")
}

func TestTable_Following(t *testing.T) {
	t.Run("FlushStopsAtTheOffset", func(t *testing.T) {
		db := MustOpenMemory(t)
		table := MustTable(t, db, state.Options{})
		MustFollow(t, table, "a", "1", 10)
		MustSet(t, table, "a", "2") // its SetOffset did not come yet
		require.NoError(t, table.Flush())
		require.Equal(t, map[string]string{"a": "2"}, MustRows(t, table))
		require.Equal(t, 1, table.Pending())

		stored := MustTable(t, db, state.Options{})
		require.Equal(t, map[string]string{"a": "1"}, MustRows(t, stored))
		require.EqualValues(t, 10, MustOffset(t, stored))
	})
	t.Run("FlushesWhenMuchWaits", func(t *testing.T) {
		db := MustOpenMemory(t)
		table := MustTable(t, db, state.Options{})
		for i := range int64(6) {
			MustFollow(t, table, fmt.Sprint(i), string(make([]byte, 1<<20)), i)
		}
		require.Less(t, table.Pending(), 6)
		stored := MustTable(t, db, state.Options{})
		require.EqualValues(t, len(MustRows(t, stored))-1, MustOffset(t, stored))
		require.Greater(t, MustOffset(t, stored), int64(0))
	})
	t.Run("OffsetWithoutWrites", func(t *testing.T) {
		db := MustOpenMemory(t)
		table := MustTable(t, db, state.Options{Follower: true})
		require.NoError(t, table.SetOffset(5)) // an update callback that keeps nothing
		require.NoError(t, table.Close())
		require.EqualValues(t, 5, MustOffset(t, MustTable(t, db, state.Options{})))
	})
	for _, opts := range []state.Options{{}, {Transactional: true}, {Follower: true}} {
		t.Run(fmt.Sprintf("CloseFlushes%+v", opts), func(t *testing.T) {
			db := MustOpenMemory(t)
			table := MustTable(t, db, opts)
			MustFollow(t, table, "a", "1", 10)
			require.NoError(t, table.Close())
			require.EqualValues(t, 10, MustOffset(t, MustTable(t, db, opts)))
		})
	}
	t.Run("MarkRecoveredFlushesAndDropsTheUnfinished", func(t *testing.T) {
		db := MustOpenMemory(t)
		table := MustTable(t, db, state.Options{})
		MustFollow(t, table, "a", "1", 10)
		MustSet(t, table, "b", "1")
		require.NoError(t, table.MarkRecovered())
		require.NoError(t, table.MarkRecovered())
		require.Zero(t, table.Pending())
		require.Equal(t, map[string]string{"a": "1"}, MustRows(t, table))
	})
	t.Run("FollowerGoesOnAfterRecovery", func(t *testing.T) {
		db := MustOpenMemory(t)
		table := MustTable(t, db, state.Options{Follower: true})
		MustFollow(t, table, "a", "1", 10)
		require.NoError(t, table.MarkRecovered())
		MustFollow(t, table, "a", "2", 11)
		table.Acked(99) // not its business
		require.NoError(t, table.Flush())
		stored := MustTable(t, db, state.Options{})
		require.Equal(t, map[string]string{"a": "2"}, MustRows(t, stored))
		require.EqualValues(t, 11, MustOffset(t, stored))
	})
}

func TestTable_OutOfUse(t *testing.T) {
	tests := []struct {
		name string
		end  func(*testing.T, *state.DB, *state.Table)
		says string
	}{
		{"DiscardedWithAcks", func(_ *testing.T, _ *state.DB, table *state.Table) { table.Acked(1); table.Discard() }, "discarded"},
		{"Closed", func(t *testing.T, _ *state.DB, table *state.Table) { require.NoError(t, table.Close()) }, "closed"},
		{"Discarded", func(_ *testing.T, _ *state.DB, table *state.Table) { table.Discard() }, "discarded"},
		{"Replaced", func(t *testing.T, db *state.DB, _ *state.Table) { MustTable(t, db, state.Options{}) }, "opened again"},
		{"Dropped", func(t *testing.T, db *state.DB, _ *state.Table) {
			require.NoError(t, db.Drop("group", "orders-table", 0))
		}, "dropped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := MustOpenMemory(t)
			table := MustOwn(t, db, state.Options{})
			MustSet(t, table, "a", "1")
			tt.end(t, db, table)
			require.EqualValues(t, noOffset, MustOffset(t, table))
			require.ErrorContains(t, table.Set("a", []byte("2")), tt.says)
			require.ErrorContains(t, table.Delete("a"), "group of orders-table, partition 0")
			require.Zero(t, table.Pending())
			table.Acked(7)
			require.NoError(t, table.Flush())
			require.NoError(t, table.Close())
			require.EqualValues(t, noOffset, MustOffset(t, MustTable(t, db, state.Options{})))
		})
	}
}

// A partition that leaves and comes back while the old session still has a
// commit to flush must not be taken back to the old offset.
func TestTable_ReplacedCannotFlushLate(t *testing.T) {
	db := MustOpenMemory(t)
	old := MustOwn(t, db, state.Options{Transactional: true})
	MustSet(t, old, "a", "old")
	old.Acked(1)
	require.NoError(t, old.Close())

	table := MustTable(t, db, state.Options{Transactional: true})
	MustFollow(t, table, "a", "old", 1)
	MustFollow(t, table, "a", "new", 2)
	require.NoError(t, table.Flush())
	require.NoError(t, old.Flush())

	stored := MustTable(t, db, state.Options{})
	require.Equal(t, map[string]string{"a": "new"}, MustRows(t, stored))
	require.EqualValues(t, 2, MustOffset(t, stored))
}

func TestTable_Cache(t *testing.T) {
	table := MustOwn(t, MustOpenMemory(t), state.Options{CacheRows: 2})
	cached := func(key string) any { row, _ := table.Cached(key); return row }

	table.Cache("a", 1)
	table.Cache("b", 2)
	table.Cache("a", 3)
	table.Cache("c", 4) // b was not used for longest
	require.Equal(t, []any{3, nil, 4}, []any{cached("a"), cached("b"), cached("c")})

	require.NoError(t, table.Delete("a"))
	table.Uncache("c")
	require.Equal(t, []any{nil, nil}, []any{cached("a"), cached("c")})

	table.Cache("d", 5)
	table.Discard()
	require.Nil(t, cached("d"), "a row of an aborted transaction must not survive it")

	none := MustOwn(t, MustOpenMemory(t), state.Options{CacheRows: -1})
	none.Cache("a", 1)
	_, ok := none.Cached("a")
	require.False(t, ok)
}

// One writer, its acks, a flusher and readers at once: run it with -race. The
// writer only ever raises the values, so a reader must never see one fall.
func TestTable_Concurrent(t *testing.T) {
	const writes, keys = 3000, 10
	db := MustOpenMemory(t)
	table := MustOwn(t, db, state.Options{})
	acks := make(chan int64, writes)
	done := make(chan struct{})
	var writer, others sync.WaitGroup

	writer.Go(func() {
		for i := range writes {
			if err := table.Set(fmt.Sprint(i%keys), fmt.Appendf(nil, "%06d", i)); err != nil {
				t.Error(err)
			}
			acks <- int64(i)
		}
		close(acks)
	})
	others.Go(func() {
		for offset := range acks {
			table.Acked(offset)
		}
	})
	loop := func(f func() error) {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(table.Flush)
	var newest [2][keys]string
	loop(func() error {
		for k := range keys {
			value, err := table.Get(fmt.Sprint(k))
			if err != nil {
				return err
			}
			if string(value) < newest[0][k] {
				return fmt.Errorf("Get went back from %s to %s", newest[0][k], value)
			}
			newest[0][k] = string(value)
		}
		return nil
	})
	loop(func() error {
		it, err := table.Iterator()
		if err != nil {
			return err
		}
		defer it.Release()
		for it.Next() {
			value, err := it.Value()
			if err != nil {
				return err
			}
			k := it.Key()[0] - '0'
			if string(value) < newest[1][k] {
				return fmt.Errorf("the iterator went back from %s to %s", newest[1][k], value)
			}
			newest[1][k] = string(value)
		}
		return it.Err()
	})
	writer.Wait()
	close(done)
	others.Wait()

	require.NoError(t, table.Close())
	stored := MustTable(t, db, state.Options{})
	require.EqualValues(t, writes-1, MustOffset(t, stored))
	require.Len(t, MustRows(t, stored), keys)
}

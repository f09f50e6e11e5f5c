package state_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"github.com/lovoo/goka/storage"
	"github.com/stretchr/testify/require"

	"baedal/state"
)

// mixedTable has rows on disk, in memory, in both, and deleted ones, between
// neighbours whose rows must never show; and what it should hold.
func mixedTable(t *testing.T, rng *rand.Rand) (*state.Table, map[string]string) {
	db := MustOpenMemory(t)
	for _, n := range []struct {
		space, topic string
		partition    int32
	}{{"group", "orders-table", 1}, {"group", "orders-tabl", 0}, {"group", "orders-table2", 0}, {"grou", "orders-table", 0}, {"view", "orders-table", 0}} {
		neighbour, err := db.Table(n.space, n.topic, n.partition, state.Options{})
		require.NoError(t, err)
		MustFollow(t, neighbour, "k10", "not mine", 1)
		require.NoError(t, neighbour.Close())
	}
	table := MustOwn(t, db, state.Options{})
	model := map[string]string{}
	for i := range int64(150) {
		key := fmt.Sprintf("k%02d", rng.Intn(40))
		if rng.Intn(3) == 0 {
			require.NoError(t, table.Delete(key))
			delete(model, key)
		} else {
			model[key] = fmt.Sprint(i)
			MustSet(t, table, key, model[key])
		}
		if i < 100 {
			table.Acked(i)
		}
		if rng.Intn(20) == 0 {
			require.NoError(t, table.Flush())
		}
	}
	require.Positive(t, table.Pending())
	return table, model
}

// between returns the rows of the model in [start, limit), in key order.
func between(model map[string]string, start, limit []byte) []row {
	var rows []row
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if key >= string(start) && (len(limit) == 0 || key < string(limit)) {
			rows = append(rows, row{key, model[key]})
		}
	}
	return rows
}

func TestTable_Iterators(t *testing.T) {
	for seed := range int64(20) {
		rng := rand.New(rand.NewSource(seed))
		table, model := mixedTable(t, rng)
		bound := func() []byte {
			if rng.Intn(4) == 0 {
				return nil
			}
			return fmt.Appendf(nil, "k%02d", rng.Intn(42))
		}
		for range 30 {
			start, limit, sought := bound(), bound(), bound()
			want := between(model, start, limit)
			it := MustIterate(t, table, start, limit)
			require.Equal(t, want, Drain(t, it), "[%s, %s)", start, limit)
			require.False(t, it.Next(), "it stays at its end")
			require.Nil(t, it.Key())

			i, _ := slices.BinarySearchFunc(want, string(sought), func(r row, k string) int {
				if r.key < k {
					return -1
				}
				return 1
			})
			require.Equal(t, i < len(want), it.Seek(sought), "seek %s in [%s, %s)", sought, start, limit)
			got := Drain(t, it)
			require.Len(t, got, len(want)-i)
			require.Equal(t, append([]row(nil), want[i:]...), got)
			it.Release()
			it.Release()
			require.False(t, it.Next(), "released")
		}
	}
}

func TestTable_EmptyRanges(t *testing.T) {
	table, model := mixedTable(t, rand.New(rand.NewSource(1)))
	for _, bounds := range [][2]string{{"k10", "k10"}, {"k20", "k10"}, {"z", "zz"}, {"", "a"}} {
		it := MustIterate(t, table, []byte(bounds[0]), []byte(bounds[1]))
		require.Empty(t, Drain(t, it), "%v", bounds)
		require.False(t, it.Seek([]byte("k")))
		it.Release()
	}
	it := MustIterate(t, table, []byte{}, []byte{})
	require.Equal(t, between(model, nil, nil), Drain(t, it), "goka passes empty bounds for none")
}

func TestTable_IteratorSeesOneMoment(t *testing.T) {
	table, model := mixedTable(t, rand.New(rand.NewSource(2)))
	want := between(model, nil, nil)
	it := MustIterate(t, table, nil, nil)
	require.True(t, it.Next())

	for i := range int64(40) {
		MustSet(t, table, fmt.Sprintf("k%02d", i), "later")
	}
	for i := range int64(90) {
		table.Acked(1000 + i)
	}
	require.NoError(t, table.Flush())
	require.Equal(t, want[1:], Drain(t, it))
}

// Views read through goka's merging iterator, which takes a row right after
// Seek and before Next.
func TestTable_IteratorsMerge(t *testing.T) {
	a, modelA := mixedTable(t, rand.New(rand.NewSource(3)))
	b, _ := mixedTable(t, rand.New(rand.NewSource(4)))
	require.NoError(t, b.Delete("k07"))
	for partitions := 1; partitions <= 2; partitions++ {
		want := len(between(modelA, []byte("k05"), nil))
		iterators := []storage.Iterator{MustIterate(t, a, nil, nil)}
		if partitions == 2 {
			iterators = append(iterators, MustIterate(t, b, nil, nil))
			want += len(between(MustRows(t, b), []byte("k05"), nil))
		}
		merged := storage.NewMultiIterator(iterators)
		require.True(t, merged.Seek([]byte("k05")))
		got := Drain(t, merged)
		require.Len(t, got, want)
		require.True(t, slices.IsSortedFunc(got, func(a, b row) int { return cmp.Compare(a.key, b.key) }))
		require.GreaterOrEqual(t, got[0].key, "k05")
		merged.Release()
	}
}

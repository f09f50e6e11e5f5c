package deadletters_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/deadletters"
	"baedal/internal/kafkatest"
)

// Pages show every letter that was there when the first was read, each once, newest
// first, though more are buried meanwhile, in partitions that were empty, too.
func TestOffice_Page(t *testing.T) {
	o := newOffice(t, kafkatest.Embedded(t))
	desk := deadletters.NewOffice(o.cat, []string{o.b.Addr})
	var want []string
	for i := range 7 {
		id := o.bury(fmt.Sprint("o-", i%2), "a", int64(i))
		want = append([]string{id.String()}, want...)
		time.Sleep(2 * time.Millisecond) // another time of burial
	}
	var got []string
	var before deadletters.Before
	for page := 0; page == 0 || before != nil; page++ {
		letters, next, err := desk.Page(t.Context(), nil, before, 3)
		require.NoError(t, err)
		for _, l := range letters {
			got = append(got, l.ID.String())
		}
		before = next
		for i := range 8 {
			o.bury(fmt.Sprint("later-", i), "b", 100)
		}
		require.Less(t, page, 4)
	}
	require.Equal(t, want, got)

	letters, next, err := desk.Page(t.Context(), []string{"key=o-1"}, nil, 3)
	require.NoError(t, err)
	require.Len(t, letters, 3)
	require.Nil(t, next, "a full last page is the last")
}

func TestOffice_Replay(t *testing.T) {
	o := newOffice(t, kafkatest.Embedded(t))
	desk := deadletters.NewOffice(o.cat, []string{o.b.Addr})
	id := o.bury("o-1", "a", 7)
	out, err := desk.Replay(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, o.cat.OrderCommands.Name(), out.To.Topic)
	require.Equal(t, []string{"a"}, o.values(o.cat.OrderCommands.Name()))

	out, err = desk.Replay(t.Context(), id)
	require.NoError(t, err)
	require.NotEmpty(t, out.Skipped)
	broken, err := desk.Replay(t.Context(), o.buryFrom("elsewhere", "o-1", nil, 8))
	require.NoError(t, err)
	require.Error(t, broken.Refused)
	_, err = desk.Replay(t.Context(), deadletters.ID{Partition: id.Partition, Offset: 99})
	require.ErrorIs(t, err, deadletters.ErrNoLetter)
}

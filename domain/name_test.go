package domain_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/domain"
)

func TestCheckName(t *testing.T) {
	for _, tt := range []struct {
		id    string
		parts []any
		ok    bool
	}{
		{"o-1/reserve/1", []any{"o-1", "reserve", 1}, true},
		{"o-1/reserve/2", []any{"o-1", "reserve", 1}, false},
		{"o-2/reserve/1", []any{"o-1", "reserve", 1}, false},
		{"o-1/release/1", []any{"o-1", "reserve", 1}, false},
		{"o-1/reserve/1/1", []any{"o-1", "reserve", 1}, false},
		{"o-1/reserve/11", []any{"o-1", "reserve", 1}, false},
		{"o-1/reserve", []any{"o-1", "reserve", 1}, false},
		{"o-1/reserve/", []any{"o-1", "reserve", domain.AnyNumber}, false},
		{"o-1reserve/1", []any{"o-1", "reserve", 1}, false},
		{"", []any{"o-1", "reserve", 1}, false},
		{"/reserve/1", []any{"", "reserve", 1}, false},
		{"o-1/ready/17", []any{"o-1", "ready", domain.AnyNumber}, true},
		{"o-1/ready/0", []any{"o-1", "ready", domain.AnyNumber}, false},
		{"o-1/ready/-1", []any{"o-1", "ready", domain.AnyNumber}, false},
		{"o-1/ready/+1", []any{"o-1", "ready", domain.AnyNumber}, false},
		{"o-1/ready/01", []any{"o-1", "ready", domain.AnyNumber}, false},
		{"o-1/ready/1/2", []any{"o-1", "ready", domain.AnyNumber}, false},
		{"r-1/claim/mark/c", []any{"r-1", "claim", domain.AnyWord, "c"}, true},
		{"r-1/claim//c", []any{"r-1", "claim", domain.AnyWord, "c"}, false},
		{"r-1/claim/m/t/0/7", []any{"r-1", "claim", domain.AnyWord, "t/0/7"}, true},
		{"r-1/move/1/m/t/0/7", []any{"r-1", "move", 1, domain.AnyWord, domain.AnyRest}, true},
		{"r-1/move/1/m/", []any{"r-1", "move", 1, domain.AnyWord, domain.AnyRest}, false},
		{"r-1/move/1/m", []any{"r-1", "move", 1, domain.AnyWord, domain.AnyRest}, false},
	} {
		err := domain.CheckName(tt.id, tt.parts...)
		require.Equal(t, tt.ok, err == nil, "%q: %v", tt.id, err)
		if err != nil {
			field, _ := domain.WrongField(err)
			require.Equal(t, "id", field)
		}
	}
	require.EqualError(t, domain.CheckName("", "o-1", "ready", domain.AnyNumber), "id: is missing: it is o-1/ready/NUMBER")
	require.EqualError(t, domain.CheckName("c-1", "o-1", "reserve", 1), `id: "c-1" does not name what the message is about: that is o-1/reserve/1`)
}

func TestCheckCommandID(t *testing.T) {
	for _, id := range []string{"", "c", "c-1:x", "주문 1", strings.Repeat("k", 200)} {
		require.NoError(t, domain.CheckCommandID(id), id)
	}
	for _, id := range []string{"o-1/assigned/1/1", "/", "a/", "a\nb", "a\xff", strings.Repeat("k", 201)} {
		require.Error(t, domain.CheckCommandID(id), id)
	}
}

// A command is known again by its id and what it says; one without an id by its
// coordinates in the topic as it is now.
func TestName(t *testing.T) {
	own := domain.NameOf("c-1", "aa", "t/0/7", "x")
	require.True(t, own.Own)
	require.Equal(t, "c-1", own.ID)
	require.Equal(t, own, domain.NameOf("c-1", "aa", "t/1/9", "y"), "wherever it comes again")
	other := domain.NameOf("c-1", "bb", "t/0/8", "x")
	require.True(t, own.Is("c-1", own.Mark))
	require.False(t, own.Taken("c-1", own.Mark))
	require.False(t, own.Is("c-1", other.Mark))
	require.True(t, own.Taken("c-1", other.Mark))
	require.False(t, own.Taken("c-2", other.Mark))

	none := domain.NameOf("", "aa", "t/0/7", "x")
	require.Equal(t, "t/0/7", none.ID)
	require.False(t, none.Own)
	require.Equal(t, none, domain.NameOf("", "aa", "t/0/7", "x"))
	anew := domain.NameOf("", "aa", "t/0/7", "y")
	require.False(t, none.Is(anew.ID, anew.Mark), "the topic was made anew")
	require.False(t, none.Taken(anew.ID, anew.Mark), "and its sender took nothing")

	v, w := domain.NewVerdict("s", "k", own, domain.Refusal{}, 0, 1), domain.NewVerdict("s", "k", other, own.Refusal(), 0, 1)
	require.NotEqual(t, v.ID, w.ID)
	require.Equal(t, []string{"k", "c-1", "aa", domain.Accepted}, []string{v.Key, v.CommandID, v.Digest, v.Verdict})
}

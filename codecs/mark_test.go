package codecs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain/order"
)

// A byte order mark before a record, as some shells write it, is no part of it.
func TestDecode_ByteOrderMark(t *testing.T) {
	want, err := codecs.Decode[order.Command]([]byte(place))
	require.NoError(t, err)
	got, err := codecs.Decode[order.Command]([]byte("\ufeff" + place))
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, s := range []string{"\ufeff", "\ufeffnull", place + "\ufeff", "\xef\xbb" + place} {
		_, err := codecs.Decode[order.Command]([]byte(s))
		require.ErrorContains(t, err, "not the JSON of a message", "%q", s)
	}
}

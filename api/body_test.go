package api_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func MustGzip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

// A body may come as clients send it: in the names that UTF-8 has, with a byte
// order mark, or compressed. What is told on is the same.
func TestAPI_BodyForms(t *testing.T) {
	const mark = "\ufeff"
	sent := func(body string, headers ...string) any {
		f := newFixture(t)
		a := f.later("POST", "/v1/orders", body, headers...)
		require.Equal(t, http.StatusAccepted, a.Code, "%v: %s", headers, a.Body.String())
		require.Len(t, f.commands.all(), 1)
		return f.commands.all()[0]
	}
	want := sent(placeBody, "Content-Type", "application/json", "Idempotency-Key", "o-1")
	for _, kind := range []string{"application/json;charset=utf8", `application/json; charset="UTF8"`, "application/json; charset=Utf-8", "application/json; charset=us-ascii", ""} {
		require.Equal(t, want, sent(placeBody, "Content-Type", kind, "Idempotency-Key", "o-1"), kind)
	}
	require.Equal(t, want, sent(mark+placeBody, "Idempotency-Key", "o-1"))
	for _, encoding := range []string{"gzip", "x-gzip", "GZIP", "identity, gzip"} {
		require.Equal(t, want, sent(MustGzip(t, placeBody), "Content-Encoding", encoding, "Idempotency-Key", "o-1"), encoding)
	}
	require.Equal(t, want, sent(MustGzip(t, mark+placeBody), "Content-Encoding", "gzip", "Idempotency-Key", "o-1"))
	require.Equal(t, want, sent(placeBody, "Content-Encoding", "identity", "Idempotency-Key", "o-1"))
}

func TestAPI_BodyForms_Refused(t *testing.T) {
	f := newFixture(t)
	do := func(body string, headers ...string) answer { return f.later("POST", "/v1/orders", body, headers...) }
	for _, encoding := range []string{"br", "zstd", "deflate", "gzip, gzip"} {
		a := do(placeBody, "Content-Encoding", encoding)
		a.problem(t, http.StatusUnsupportedMediaType, "is not understood: send gzip")
		require.Equal(t, "gzip", a.Header().Get("Accept-Encoding"))
	}
	packed := MustGzip(t, placeBody)
	do(packed).problem(t, http.StatusUnsupportedMediaType, "the body is compressed: say so with Content-Encoding: gzip")
	do(placeBody, "Content-Encoding", "gzip").problem(t, http.StatusBadRequest, "is not the gzip that its Content-Encoding says")
	do(packed[:len(packed)-5], "Content-Encoding", "gzip").problem(t, http.StatusBadRequest, "is not the gzip that its Content-Encoding says")
	do("\xff\xfe{\x00}\x00").problem(t, http.StatusUnsupportedMediaType, "the body is UTF-16")
	do("\xff\xfe{\x00}\x00", "Content-Type", "application/json; charset=utf-16").problem(t, http.StatusUnsupportedMediaType, "UTF-16")

	bomb := MustGzip(t, `{"a":"`+strings.Repeat("x", 64<<20)+`"}`) // 64 kB that become 64 MB
	require.Less(t, len(bomb), 100_000)
	do(bomb, "Content-Encoding", "gzip").problem(t, http.StatusRequestEntityTooLarge, "larger than 1048576 bytes")
	require.Empty(t, f.commands.all())
}

package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"

	"baedal/codecs"
)

// plain returns a body as JSON: unpacked, and without the byte order mark that some
// editors and shells put in front. What is unpacked is bounded as the body itself.
func plain(w http.ResponseWriter, r *http.Request, body []byte) ([]byte, error) {
	refused := func(format string, args ...any) error {
		w.Header().Set("Accept-Encoding", "gzip") // RFC 9110, 12.5.3
		return problemf(http.StatusUnsupportedMediaType, format, args...)
	}
	var encodings []string
	for _, header := range r.Header.Values("Content-Encoding") {
		for one := range strings.SplitSeq(header, ",") {
			if one = strings.ToLower(strings.TrimSpace(one)); one != "" && one != "identity" {
				encodings = append(encodings, one)
			}
		}
	}
	switch {
	case len(encodings) > 1 || len(encodings) == 1 && encodings[0] != "gzip" && encodings[0] != "x-gzip":
		return nil, refused("the Content-Encoding %q is not understood: send gzip, or the JSON itself", strings.Join(encodings, ", "))
	case len(encodings) == 1:
		var err error
		if body, err = unzip(body); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
		return nil, refused("the body is compressed: say so with Content-Encoding: gzip, or send the JSON itself")
	}
	if bytes.HasPrefix(body, []byte{0xff, 0xfe}) || bytes.HasPrefix(body, []byte{0xfe, 0xff}) {
		return nil, refused("the body is UTF-16: send UTF-8")
	}
	return codecs.WithoutMark(body), nil
}

func unzip(body []byte) ([]byte, error) {
	broken := newProblem(http.StatusBadRequest, "the body is not the gzip that its Content-Encoding says: send it again, or the JSON itself")
	if len(body) == 0 {
		return nil, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, broken
	}
	unpacked, err := io.ReadAll(io.LimitReader(z, maxBody+1))
	switch {
	case len(unpacked) > maxBody:
		return nil, &http.MaxBytesError{Limit: maxBody}
	case err != nil:
		return nil, broken
	}
	return unpacked, nil
}

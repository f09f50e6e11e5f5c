package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"baedal/codecs"
)

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := codecs.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // an error is the client's, who is gone
	return nil
}

// writeList answers with what has no version of its own, and is known by its bytes.
func writeList(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := codecs.Marshal(v)
	if err != nil {
		return err
	}
	return writeTagged(w, r, http.StatusOK, `"`+hash(body)+`"`, append(body, '\n'))
}

// writeThing answers with a single thing. Its ETag is its version, and a hash of
// the answer where that shows more than the version counts.
func writeThing(w http.ResponseWriter, r *http.Request, status int, a answer) error {
	body, err := codecs.Marshal(a)
	if err != nil {
		return err
	}
	return writeTagged(w, r, status, tagOf(a, body), append(body, '\n'))
}

func tagOf(a answer, body []byte) string {
	version, alone := a.tag()
	tag := strconv.Itoa(version)
	if !alone {
		tag += "." + hash(body)
	}
	return `"` + tag + `"`
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// Values of headers that every answer has. They are shared and never changed.
var (
	jsonType = []string{"application/json"}
	noCache  = []string{"no-cache"}
	noSniff  = []string{"nosniff"}

	varyEncoding = []string{"Accept-Encoding"}
)

// writeTagged answers 304 to a client that asks and has got it already. It keeps
// neither tag nor body.
func writeTagged(w http.ResponseWriter, r *http.Request, status int, tag string, body []byte) error {
	return newTagged(tag, body).write(w, r, status)
}

// tagged is an answer that is known by a tag, and may be given again and again.
type tagged struct {
	tag, length []string // headers, which are never changed
	body        []byte
}

func newTagged(tag string, body []byte) tagged {
	return tagged{[]string{tag}, []string{strconv.Itoa(len(body))}, body}
}

func (t tagged) write(w http.ResponseWriter, r *http.Request, status int) error {
	tag := t.tag[0]
	h := w.Header()
	h["Etag"] = t.tag
	h["Cache-Control"] = noCache
	if asked := r.Header["If-None-Match"]; len(asked) > 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		for have := range strings.SplitSeq(strings.Join(asked, ","), ",") {
			if have = strings.TrimPrefix(strings.TrimSpace(have), "W/"); have == tag || have == "*" {
				w.WriteHeader(http.StatusNotModified)
				return nil
			}
		}
	}
	h["Content-Type"] = jsonType
	h["Content-Length"] = t.length // or a long answer goes in chunks
	w.WriteHeader(status)
	_, _ = w.Write(t.body) // an error is the client's, who is gone
	return nil
}

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
	return writeTagged(w, r, http.StatusOK, `"`+hash(body)+`"`, body)
}

// writeThing answers with a single thing. Its ETag is its version, and a hash of
// the answer where that shows more than the version counts.
func writeThing(w http.ResponseWriter, r *http.Request, status int, a answer) error {
	body, err := codecs.Marshal(a)
	if err != nil {
		return err
	}
	version, alone := a.tag()
	tag := strconv.Itoa(version)
	if !alone {
		tag += "." + hash(body)
	}
	return writeTagged(w, r, status, `"`+tag+`"`, body)
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// writeTagged answers 304 to a client that asks and has got it already.
func writeTagged(w http.ResponseWriter, r *http.Request, status int, tag string, body []byte) error {
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		for have := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
			if have = strings.TrimPrefix(strings.TrimSpace(have), "W/"); have == tag || have == "*" {
				w.WriteHeader(http.StatusNotModified)
				return nil
			}
		}
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // an error is the client's, who is gone
	return nil
}

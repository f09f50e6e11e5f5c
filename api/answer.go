package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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

// writeTable answers from a table: 304 to a client that has got it already. An
// answer that has no version of its own is known by its bytes.
func writeTable(w http.ResponseWriter, r *http.Request, tag string, v any) error {
	if tag == "" {
		body, err := codecs.Marshal(v)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		tag = fmt.Sprintf(`"%x"`, sum[:8])
	}
	w.Header().Set("ETag", tag)
	for have := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if have = strings.TrimPrefix(strings.TrimSpace(have), "W/"); have == tag || have == "*" {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	return writeJSON(w, http.StatusOK, v)
}

// etag is the tag of a row that counts its versions.
func etag(version int) string { return strconv.Quote(strconv.Itoa(version)) }

// processing is the status of a command that is in its stream, but not decided.
const processing = "accepted for processing"

// taken is the answer to a command that is in its stream.
type taken struct {
	CommandID string `json:"commandId"`
	Status    string `json:"status"`
	Detail    string `json:"detail"`
}

// send hands a command to its stream and answers 202. Where it fails, the
// client is told the id that makes it safe to try again.
func (s *server) send(w http.ResponseWriter, r *http.Request, id, location string, send func(context.Context) error) error {
	if err := s.hand(r, id, send); err != nil {
		return err
	}
	w.Header().Set("Location", location)
	return writeJSON(w, http.StatusAccepted, taken{
		CommandID: id,
		Status:    processing,
		Detail:    "the command is in its stream; " + location + " shows what becomes of it",
	})
}

func (s *server) hand(r *http.Request, id string, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(r.Context(), sendTimeout)
	defer cancel()
	err := send(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLong):
		return problemf(http.StatusRequestEntityTooLarge, "the command is longer than a record may be, and was not sent: send less")
	}
	p := problemf(http.StatusServiceUnavailable, "the broker did not acknowledge the command, which may have arrived or not: send it again with the id %q", id)
	p.ID, p.cause = id, err
	return p
}

package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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

// hand hands a command to its stream. It takes no longer than the client waits.
// That brokers are away is said once by who notices, not for each request.
func (s *server) hand(r *http.Request, id string, send func(context.Context) error) error {
	if s.Damaged != nil {
		if err := s.Damaged(); err != nil {
			p := problemf(http.StatusServiceUnavailable, "%v; the command was not sent", err)
			p.ID, p.Sent = id, "no"
			return p
		}
	}
	limit, err := timeout(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), max(limit, leastSend))
	defer cancel()
	switch err = send(ctx); {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLong):
		return problemf(http.StatusRequestEntityTooLarge, "the command is longer than a record may be, and was not sent: send less")
	case errors.Is(err, ErrNotSent):
		p := problemf(http.StatusServiceUnavailable, "the brokers acknowledge nothing, and the command was not sent: send it again (id %q)", id)
		p.ID, p.Sent = id, "no"
		return p
	}
	p := problemf(http.StatusServiceUnavailable, "the broker did not acknowledge the command, which may have arrived or not: send it again with the id %q", id)
	p.ID, p.Sent = id, "unknown"
	if !errors.Is(err, ErrUnacknowledged) {
		p.cause = err
	}
	return p
}

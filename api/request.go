package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"baedal/codecs"
	"baedal/domain"
)

const (
	maxBody     = 1 << 20
	bodyTimeout = 15 * time.Second       // to read it
	leastSend   = 100 * time.Millisecond // for the broker to acknowledge a command, even where nobody waits

	defaultLimit = 50
	maxLimit     = 500

	defaultWait = 5 * time.Second
	maxWait     = time.Minute
)

// pathID returns an id of the path.
func pathID(r *http.Request, name string) (string, error) {
	id, err := url.PathUnescape(mux.Vars(r)[name])
	if err != nil {
		return "", wrong(name, "is not escaped as a URL asks for")
	}
	return id, parameter(domain.CheckID(name, id))
}

// readBody fills v from the JSON of the body, if there is one. Fields of the
// wrong type are named in the error, unknown ones ignored. What is missing is
// said by the message's own Validate, the one that its stream asks, too.
func readBody(w http.ResponseWriter, r *http.Request, v any) error {
	// Deadlines are not there in tests that call the handler without a connection.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(r.Body)
	_ = rc.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemf(http.StatusRequestTimeout, "the body did not come within %v: send it again", bodyTimeout)
	case err != nil:
		return newProblem(http.StatusBadRequest, "the body could not be read: send it again")
	}
	if body, err = plain(w, r, body); err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	if bytes.TrimSpace(body)[0] != '{' {
		return newProblem(http.StatusBadRequest, "the body must be a JSON object")
	}
	if err := codecs.Unmarshal(body, v); err != nil {
		if _, named := domain.WrongField(err); named {
			return err
		}
		return problemf(http.StatusBadRequest, "the body is not as it should be: %v", err)
	}
	return nil
}

// checkContentType takes JSON, and a client that does not say what it sends.
func checkContentType(header string) error {
	if header == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	json := kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
	charset := strings.ToLower(params["charset"])
	if err != nil || !json || charset != "" && charset != "utf-8" && charset != "utf8" && charset != "us-ascii" {
		return problemf(http.StatusUnsupportedMediaType, "the Content-Type %q is not understood: send application/json (curl: --json in place of -d)", header)
	}
	return nil
}

// commandID returns what names a command: the id of its body, the
// Idempotency-Key, or a new one.
func commandID(r *http.Request, fromBody string) (string, error) {
	id := fromBody
	if id == "" {
		id = idempotencyKey(r)
	}
	if id == "" {
		return uuid.Must(uuid.NewV7()).String(), nil
	}
	return id, domain.CheckCommandID(id)
}

// idempotencyKey returns the header of that name, in which the quotes that its
// draft standard asks for are optional.
func idempotencyKey(r *http.Request) string {
	key := strings.TrimSpace(r.Header.Get("Idempotency-Key"))
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	return key
}

// limit returns how many entries a page may have.
func limit(r *http.Request) (int, error) {
	q := r.URL.Query()
	if !q.Has("limit") {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > maxLimit {
		return 0, wrong("limit", fmt.Sprintf("must be from 1 to %d", maxLimit))
	}
	return n, nil
}

// A cursor is opaque to clients. Its kind is in it, so that the cursor of one
// list is not taken for that of another.
func encodeCursor(kind, at string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + at))
}

// cursor returns what encodeCursor was given, or "".
func cursor(r *http.Request, kind string) (string, error) {
	q := r.URL.Query()
	if !q.Has("cursor") {
		return "", nil
	}
	data, err := base64.RawURLEncoding.DecodeString(q.Get("cursor"))
	at, ok := strings.CutPrefix(string(data), kind+":")
	if err != nil || !ok || at == "" {
		return "", wrong("cursor", "is not one that this list gave: begin without one")
	}
	return at, nil
}

// timeout returns how long the client wants to wait: for the broker to
// acknowledge a command as for what it asks for.
func timeout(r *http.Request) (time.Duration, error) {
	q := r.URL.Query()
	if !q.Has("timeout") {
		return preferredWait(r.Header), nil
	}
	d, err := time.ParseDuration(q.Get("timeout"))
	if err != nil || d < 0 || d > maxWait {
		return 0, wrong("timeout", fmt.Sprintf("must be a duration such as 5s, at most %v", maxWait))
	}
	return d, nil
}

// preferredWait returns the seconds of "Prefer: wait=SECONDS" (RFC 7240). It is a
// preference: one that can't be understood is none, and too much is the most.
func preferredWait(h http.Header) time.Duration {
	for _, line := range h.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			token, _, _ := strings.Cut(preference, ";")
			name, value, _ := strings.Cut(token, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return defaultWait
			}
			return min(time.Duration(seconds)*time.Second, maxWait)
		}
	}
	return defaultWait
}

type drainKey struct{}

// waitContext ends after d, or when the client leaves, or when the server
// begins to shut down: who waits is answered then with what there is.
func waitContext(r *http.Request, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), d)
	if drain, ok := ctx.Value(drainKey{}).(context.Context); ok {
		stop := context.AfterFunc(drain, cancel)
		return ctx, func() { stop(); cancel() }
	}
	return ctx, cancel
}

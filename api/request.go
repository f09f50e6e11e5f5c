package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"baedal/codecs"
	"baedal/domain"
)

const (
	maxBody     = 1 << 20
	bodyTimeout = 15 * time.Second       // to read it
	leastSend   = 100 * time.Millisecond // for the broker to acknowledge a command, even where nobody waits

	defaultWait = 5 * time.Second
	maxWait     = time.Minute
)

// pathID returns an id of the path.
func pathID(r *http.Request, name string) (string, error) {
	id := r.PathValue(name)
	return id, parameter(domain.CheckID(name, id))
}

// onlyWith refuses query parameters that a path does not take, those that come
// twice, and a query that can't be read, before handle is asked.
func onlyWith(params []string, handle func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.RawQuery != "" {
			if err := checkQuery(r.URL.RawQuery, params); err != nil {
				return err
			}
		}
		return handle(w, r)
	}
}

func checkQuery(raw string, params []string) error {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return newProblem(http.StatusBadRequest, "the query is not escaped as a URL asks for: "+domain.Clip(raw))
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case len(errs) == domain.MaxFieldErrors:
			return together(errs...)
		case len(params) == 0:
			errs = append(errs, wrong(domain.Clip(name), "is not known: this path takes no query parameters"))
		case !slices.Contains(params, name):
			errs = append(errs, wrong(domain.Clip(name), "is not a query parameter of this path: it takes "+strings.Join(params, ", ")))
		case len(q[name]) > 1:
			errs = append(errs, wrong(name, "comes more than once: send it once"))
		}
	}
	return together(errs...)
}

// readBody fills v from the JSON of the body, if there is one. Fields of the
// wrong form are named by form, unknown ones ignored. What is missing is said by
// the message's own Validate, the one that its stream asks, too: see whole.
func readBody(w http.ResponseWriter, r *http.Request, v any) (form, err error) {
	// Deadlines are not there in tests that call the handler without a connection.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(r.Body)
	_ = rc.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemf(http.StatusRequestTimeout, "the body did not come within %v: send it again", bodyTimeout)
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, "the body could not be read: send it again")
	}
	if body, err = plain(w, r, body); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	if bytes.TrimSpace(body)[0] != '{' {
		return nil, newProblem(http.StatusBadRequest, "the body must be a JSON object")
	}
	if err := codecs.Unmarshal(body, v); err != nil {
		if domain.WrongFields(err) != nil {
			return err, nil
		}
		return nil, problemf(http.StatusBadRequest, "the body is not as it should be: %v", err)
	}
	return nil, nil
}

// whole names all that is wrong with a command: what readBody found, and the rest.
func whole(form error, c interface{ Validate() error }) error {
	if form != nil {
		return codecs.WithRest(form, c)
	}
	return c.Validate()
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
// Idempotency-Key, or a new one. Both must be ids, though the key of a body that
// has one is not used.
func commandID(r *http.Request, fromBody string) (string, error) {
	key, err := idempotencyKey(r)
	switch {
	case err != nil:
		return fromBody, err
	case fromBody != "":
		return fromBody, nil // its own check says the rest
	case key != "":
		return key, nil
	}
	return uuid.Must(uuid.NewV7()).String(), nil
}

// orderID returns the id of an order that is placed: the body's; where the client
// only named its request, one that follows from the user and that name, whichever
// instance computes it; a new one otherwise.
func orderID(r *http.Request, fromBody, userID string) (string, error) {
	key, err := idempotencyKey(r)
	switch {
	case fromBody != "":
		return fromBody, together(err, domain.CheckID("id", fromBody))
	case err != nil:
		return "", err
	case key != "" && domain.CheckID("userId", userID) == nil:
		return orderIDOf(userID, key), nil
	}
	return uuid.Must(uuid.NewV7()).String(), nil
}

// orderIDOf computes a UUIDv8 (RFC 9562, section 5.8): the first 128 bits of the
// SHA-256 of "baedal order", the user's id and the key, with a NUL byte after each
// of the first two, which none of them contains; version and variant replace the
// bits that are theirs.
func orderIDOf(userID, key string) string {
	sum := sha256.Sum256([]byte("baedal order\x00" + userID + "\x00" + key))
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// idempotencyKey returns the header of that name, or "". The quotes that its draft
// standard asks for are optional. It obeys the rules for ids.
func idempotencyKey(r *http.Request) (string, error) {
	const name = "Idempotency-Key"
	all := r.Header.Values(name)
	if len(all) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(all[0])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if len(all) > 1 {
		return "", wrong(name, "comes more than once: send it once")
	}
	return key, parameter(domain.CheckID(name, key))
}

// preference is how a client wants to wait (RFC 7240).
type preference struct {
	wait  time.Duration // at most
	said  bool          // the client said how long
	async bool          // it wants to be answered before the outcome is known
}

// now reports whether the outcome is not waited for. One who says how long, too,
// wants to hear later only after that time.
func (p preference) now() bool { return p.async && !p.said }

// applied is what a Preference-Applied says.
func (p preference) applied() string {
	if p.said {
		return fmt.Sprintf("wait=%d", p.wait/time.Second)
	}
	return "respond-async"
}

// preferred says on a read that Prefer bounds how long it waits.
func preferred(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Prefer")
	if p := preferenceOf(r.Header); p.said {
		w.Header().Set("Preference-Applied", p.applied())
	}
}

// preferenceOf reads "Prefer: wait=SECONDS" and "Prefer: respond-async". They are
// preferences: one that can't be understood is none, and too much is the most. Of
// two the first counts.
func preferenceOf(h http.Header) preference {
	p := preference{wait: defaultWait}
	seen := false
	for _, line := range h.Values("Prefer") {
		for one := range strings.SplitSeq(line, ",") {
			token, _, _ := strings.Cut(one, ";")
			name, value, _ := strings.Cut(token, "=")
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, "respond-async"):
				p.async = true
			case strings.EqualFold(name, "wait") && !seen:
				seen = true
				seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
				if err == nil {
					p.wait, p.said = min(time.Duration(seconds)*time.Second, maxWait), true
				}
			}
		}
	}
	return p
}

// ifVersion reads which version the thing must have: from If-Match, whose
// ETag may have a hash behind the version, or 0 from "If-None-Match: *" on a PUT.
// said is what the body says itself.
func ifVersion(r *http.Request, said *int) (*int, error) {
	match, none := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	var want *int
	switch {
	case len(match) > 0 && len(none) > 0:
		return nil, wrong("If-Match", "cannot be used together with If-None-Match: choose one")
	case len(match) > 0:
		tag := strings.TrimSpace(strings.Join(match, ","))
		if tag == "*" { // that there is one is asked of every command but those that make it
			return said, nil
		}
		for one := range strings.SplitSeq(tag, ",") {
			n, ok := versionOf(strings.TrimSpace(one))
			switch {
			case !ok:
				return nil, problemf(http.StatusPreconditionFailed, "If-Match: %q is not an ETag that this API gave, in its quotes: nothing has it", domain.Clip(one))
			case want != nil && *want != n: // a command can name one alone
				return nil, wrong("If-Match", "names several versions: send the ETag that you decided by")
			}
			want = &n
		}
	case len(none) > 0 && r.Method == http.MethodPut:
		if strings.TrimSpace(strings.Join(none, ",")) != "*" {
			return nil, wrong("If-None-Match", "must be * on a PUT: the thing must not exist yet")
		}
		want = new(int)
	default:
		return said, nil
	}
	if said != nil && *said != *want {
		return nil, domain.Wrong("ifVersion", fmt.Sprintf("is %d and the header says %d: leave one out", *said, *want))
	}
	return want, nil
}

// versionOf returns the version that an ETag names.
func versionOf(tag string) (int, bool) {
	text, ok := strings.CutPrefix(strings.TrimPrefix(tag, "W/"), `"`)
	text, closed := strings.CutSuffix(text, `"`)
	text, _, _ = strings.Cut(text, ".")
	n, err := strconv.Atoi(text)
	return n, ok && closed && err == nil && n >= 1 && n <= domain.MaxCount
}

// ifThere reports whether the thing must exist, in whatever version.
func ifThere(r *http.Request) bool {
	match := r.Header.Values("If-Match")
	return len(match) == 1 && strings.TrimSpace(match[0]) == "*"
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

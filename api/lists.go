package api

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"baedal/domain"
	"baedal/views"
)

const (
	defaultLimit = 50
	maxLimit     = 500

	// lookLimit bounds how many rows one request looks at, so that a rare filter does
	// not make it walk over a whole index: the page is then short, perhaps empty, and
	// its cursor leads on.
	lookLimit = 5_000
)

// page is what a request wants of a list: how much of it, and where it goes on.
type page struct {
	limit int
	after views.Entry
	name  uint64 // of the list with its filters
}

// pageOf reads limit and cursor. The index that a list is read from is part of its
// name, since a place in one says nothing in another.
func pageOf(r *http.Request, q url.Values, index string) (p page, err error) {
	var wrongLimit, wrongCursor error
	p.limit, wrongLimit = limit(q)
	p.name = listName(r.URL.Path, q, index)
	p.after, wrongCursor = after(q.Get("cursor"), p.name)
	return p, together(wrongLimit, wrongCursor)
}

// after returns the entry that a cursor of the list of that name leads on from.
func after(cursor string, name uint64) (views.Entry, error) {
	if cursor == "" {
		return views.Entry{}, nil
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(data) < 8 {
		return views.Entry{}, wrong("cursor", "is not one that a list gave: begin without one")
	}
	sort, key, whole := strings.Cut(string(data[8:]), "\x00")
	if binary.BigEndian.Uint64(data) != name || !whole || key == "" {
		return views.Entry{}, wrong("cursor", "is of another list, or of other filters: begin without one")
	}
	return views.Entry{Sort: sort, Key: key}, nil
}

// cursor is opaque to clients: the list that it is of, and the last entry that its
// page is past. What is added before that entry, or after it, moves no page.
func (p page) cursor(at views.Entry) string {
	data := binary.BigEndian.AppendUint64(nil, p.name)
	data = append(append(append(data, at.Sort...), 0), at.Key...)
	return base64.RawURLEncoding.EncodeToString(data)
}

// listName stands for a path with its filters, in whatever order they came.
func listName(path string, q url.Values, index string) uint64 {
	filters := url.Values{}
	for name, values := range q {
		if name != "limit" && name != "cursor" {
			filters[name] = values
		}
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s", path, filters.Encode(), index)
	return h.Sum64()
}

// errEnd ends a walk: no later row is of the list.
var errEnd = errors.New("the list ends here")

// walk looks at the rows of a group of an index in their order, from where the page
// goes on, until take has taken as many as the page may have. It returns the cursor
// of the next page, or "" when there is none.
func walk[R any](r *http.Request, table Lists[R], index, group string, p page, take func(key string, row *R) (taken bool, err error)) (cursor string, err error) {
	last, looked, have, more := p.after, 0, 0, false
	var failed error
	err = table.Scan(index, group, p.after, func(at views.Entry, key string, row *R) bool {
		if have == p.limit || looked == lookLimit || r.Context().Err() != nil {
			more = looked > 0
			return false
		}
		looked++
		var taken bool
		if taken, failed = take(key, row); failed != nil {
			return false
		}
		last = at
		if taken {
			have++
		}
		return true
	})
	switch {
	case err != nil:
		return "", err
	case failed != nil && !errors.Is(failed, errEnd):
		return "", failed
	case more:
		return p.cursor(last), nil
	}
	return "", nil
}

// limit returns how many entries a page may have.
func limit(q url.Values) (int, error) {
	if !q.Has("limit") {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > maxLimit {
		return 0, wrong("limit", fmt.Sprintf("must be a whole number from 1 to %d", maxLimit))
	}
	return n, nil
}

// idFilter returns the id that a list is filtered by, or "".
func idFilter(q url.Values, name string) (string, error) {
	if !q.Has(name) {
		return "", nil
	}
	return q.Get(name), parameter(domain.CheckID(name, q.Get(name)))
}

// timeFilter returns the time that a list is filtered by, and whether it is.
func timeFilter(q url.Values, name string) (at domain.Time, has bool, err error) {
	if !q.Has(name) {
		return 0, false, nil
	}
	if at.UnmarshalText([]byte(q.Get(name))) != nil {
		return 0, true, wrong(name, "must be a time such as 2026-01-02T03:04:05Z (a + in it is written %2B)")
	}
	return at, true, nil
}

// wordFilter returns the word that a list is filtered by, or "".
func wordFilter(q url.Values, name string, words ...string) (string, error) {
	word := q.Get(name)
	if q.Has(name) && !slices.Contains(words, word) {
		return "", wrong(name, "must be "+strings.Join(words, " or "))
	}
	return word, nil
}

package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"baedal/deadletters"
	"baedal/domain"
)

// Engine says what this process is.
type Engine struct {
	Version    string
	Prefix     string // of the installation's names
	Partitions int
	Guarantee  string
	Groups     []string // that run in this process
	Started    time.Time
}

// DeadLetters are the messages that no rule could be applied to; deadletters.Office
// says what each method promises.
type DeadLetters interface {
	Page(ctx context.Context, only []string, before deadletters.Before, limit int) ([]*deadletters.Letter, deadletters.Before, error)
	Replay(ctx context.Context, id deadletters.ID) (deadletters.Outcome, error)
}

// lettersPatience is how long dead letters are read at most, or put back.
const lettersPatience = 30 * time.Second

type engineAnswer struct {
	Version    string      `json:"version"`
	Prefix     string      `json:"prefix"`
	Partitions int         `json:"partitions"`
	Guarantee  string      `json:"guarantee"`
	Groups     []string    `json:"groups"` // that run in this process
	StartedAt  domain.Time `json:"startedAt,omitzero"`
	Ready      bool        `json:"ready"`
	Processors string      `json:"processors,omitempty"` // what they wait for
	Problem    string      `json:"problem,omitempty"`    // why no command is taken
	Views      []viewState `json:"views"`
}

// engine tells the operator what this process is and how far it has come.
func (s *server) engine(w http.ResponseWriter, r *http.Request) error {
	state := s.readiness()
	e := engineAnswer{
		Version: s.Engine.Version, Prefix: s.Engine.Prefix, Partitions: s.Engine.Partitions, Guarantee: s.Engine.Guarantee,
		Groups: append([]string{}, s.Engine.Groups...),
		Ready:  state.Ready, Processors: state.Processors, Views: state.Views,
	}
	if !s.Engine.Started.IsZero() {
		e.StartedAt = domain.At(s.Engine.Started)
	}
	if s.Damaged != nil {
		if err := s.Damaged(); err != nil {
			e.Problem, e.Ready = err.Error(), false
		}
	}
	return writeJSON(w, http.StatusOK, e)
}

// place is coordinates of a record.
type place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

type letterAnswer struct {
	ID         string      `json:"id"` // PARTITION/OFFSET
	At         domain.Time `json:"at"` // when it was buried
	Group      string      `json:"group,omitempty"`
	Source     *place      `json:"source,omitempty"` // where its message was read
	Key        *string     `json:"key,omitempty"`
	KeyBase64  []byte      `json:"keyBase64,omitempty"` // of one that is no UTF-8
	Size       int64       `json:"size"`                // of the message's value
	Error      string      `json:"error"`
	ReplayedAt domain.Time `json:"replayedAt,omitzero"`
}

type letterPage struct {
	DeadLetters []letterAnswer `json:"deadLetters"`
	Cursor      string         `json:"cursor,omitempty"`
}

func letterOf(l *deadletters.Letter) letterAnswer {
	a := letterAnswer{ID: l.ID.String(), At: domain.At(l.At), Group: l.Group, Size: l.Size, Error: l.Error}
	if l.Broken != nil {
		a.Error = l.Broken.Error()
	} else {
		a.Source = &place{l.From.Topic, l.From.Partition, l.From.Offset}
	}
	switch {
	case l.Key != nil && utf8.Valid(l.Key):
		key := string(l.Key)
		a.Key = &key
	case l.Key != nil:
		a.KeyBase64 = l.Key
	}
	if !l.Replayed.IsZero() {
		a.ReplayedAt = domain.At(l.Replayed)
	}
	return a
}

// listDeadLetters lists dead letters, newest first.
func (s *server) listDeadLetters(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	n, wrongLimit := limit(q)
	errs := []error{wrongLimit}
	var only []string
	for _, name := range []string{"group", "topic", "key", "error", "since"} {
		if !q.Has(name) {
			continue
		}
		one := name + "=" + q.Get(name)
		if _, err := deadletters.ParseFilter([]string{one}, "", time.Now()); err != nil {
			what := "must not be empty"
			if name == "since" {
				what = "must be a duration such as 2h, or a time such as 2026-01-02T15:04:05Z (a + in it is written %2B)"
			}
			errs = append(errs, wrong(name, what))
		}
		only = append(only, one)
	}
	name := listName(r.URL.Path, q, "dead-letters")
	var before deadletters.Before
	if text := q.Get("cursor"); text != "" {
		var c letterCursor
		data, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || json.Unmarshal(data, &c) != nil || c.Name != name || c.Before == nil {
			errs = append(errs, wrong("cursor", "is not one that this list gave with these filters: begin without one"))
		}
		before = c.Before
	}
	if err := together(errs...); err != nil {
		return err
	}
	if s.DeadLetters == nil {
		return unreadable(errNoLetters)
	}
	patience := lettersPatience
	if p := preferenceOf(r.Header); p.said {
		patience = min(patience, max(p.wait, leastSend))
		preferred(w, r)
	}
	ctx, cancel := waitContext(r, patience)
	defer cancel()
	letters, next, err := s.DeadLetters.Page(ctx, only, before, n)
	if err != nil {
		return unreadable(err)
	}
	out := letterPage{DeadLetters: make([]letterAnswer, len(letters))}
	for i, l := range letters {
		out.DeadLetters[i] = letterOf(l)
	}
	if next != nil {
		data, err := json.Marshal(letterCursor{name, next})
		if err != nil {
			return err
		}
		out.Cursor = base64.RawURLEncoding.EncodeToString(data)
	}
	return writeList(w, r, out)
}

type letterCursor struct {
	Name   uint64             `json:"n"`
	Before deadletters.Before `json:"b"`
}

var errNoLetters = errors.New("this process was given no dead letters to read")

func unreadable(err error) error {
	p := newProblem(http.StatusServiceUnavailable, "the dead letters can't be read now: ask again in a moment")
	p.cause = err
	return p
}

type replayAnswer struct {
	ID string `json:"id"`
	To place  `json:"to"` // where its message is now
}

// replayDeadLetter puts the message of a dead letter back to where it came from, once.
func (s *server) replayDeadLetter(w http.ResponseWriter, r *http.Request) error {
	partition, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	var wrongPartition, wrongOffset error
	if err != nil || partition < 0 {
		wrongPartition = wrong("partition", fmt.Sprintf("must be a whole number from 0 to %d", math.MaxInt32))
	}
	offset, err := strconv.ParseInt(r.PathValue("offset"), 10, 64)
	if err != nil || offset < 0 {
		wrongOffset = wrong("offset", "must be a whole number, 0 or more")
	}
	if err := together(wrongPartition, wrongOffset); err != nil {
		return err
	}
	id := deadletters.ID{Partition: int32(partition), Offset: offset}
	if s.DeadLetters == nil {
		return unreadable(errNoLetters)
	}
	// One who has gone away must not end it halfway: it is one transaction.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), lettersPatience)
	defer cancel()
	out, err := s.DeadLetters.Replay(ctx, id)
	switch {
	case errors.Is(err, deadletters.ErrNoLetter):
		return problemf(http.StatusNotFound, "there is no dead letter %s (any more): GET /v1/dead-letters lists them", id)
	case err != nil:
		return unreadable(err)
	case out.Refused != nil:
		return problemf(http.StatusConflict, "dead letter %s can't be put back: %v", id, out.Refused)
	case out.Skipped != "":
		return problemf(http.StatusConflict, "dead letter %s is not put back again: %s", id, out.Skipped)
	}
	return writeJSON(w, http.StatusOK, replayAnswer{id.String(), place{out.To.Topic, out.To.Partition, out.To.Offset}})
}

package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"baedal/codecs"
	"baedal/domain"
	"baedal/views"
)

// problem is an error that the client is told: a problem document of RFC 9457.
// Detail says what is wrong and what to do about it.
type problem struct {
	Type   string       `json:"type"` // a page of ours that explains it; see kinds
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Errors []wrongField `json:"errors,omitempty"` // each field or parameter that is wrong

	// Of a command that could not be decided or was refused.
	ID     string            `json:"id,omitempty"`   // to repeat it with
	Sent   string            `json:"sent,omitempty"` // no, or unknown: it may have arrived
	Reason string            `json:"reason,omitempty"`
	Code   string            `json:"code,omitempty"` // what kind of reason it is: domain.CodeUnknown…
	Short  []domain.Shortage `json:"short,omitempty"`
	Order  *orderAnswer      `json:"order,omitempty"` // as it is

	name  string // of its kind, where the rest does not say it
	cause error  // for the log
}

// wrongField names a field of the body by its JSON pointer (RFC 6901), or a
// parameter of the path, the query or the header.
type wrongField struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

func (p *problem) Error() string { return p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{Status: status, Detail: detail}
}

func problemf(status int, format string, args ...any) *problem {
	return newProblem(status, fmt.Sprintf(format, args...))
}

// wrong is the answer to a request with a wrong parameter.
func wrong(parameter, what string) *problem {
	p := newProblem(http.StatusBadRequest, parameter+": "+what)
	p.Errors = []wrongField{{Parameter: parameter, Detail: what}}
	return p
}

// parameter says of a parameter what a check says of a field of its name.
func parameter(err error) error {
	if all := domain.WrongFields(err); all != nil {
		return wrong(all[0].Field, all[0].Problem)
	}
	return err
}

// together joins what is wrong with the fields of a body and the parameters of a
// request, so that one answer names all of it. Where nothing of that kind is wrong,
// it is the first error.
func together(errs ...error) error {
	var first error
	var all *problem
	for _, err := range errs {
		var p *problem
		switch {
		case err == nil:
			continue
		case errors.As(err, &p):
		case domain.WrongFields(err) != nil:
			p = wrongFields(domain.WrongFields(err))
		}
		switch {
		case p == nil || len(p.Errors) == 0:
			first = cmp.Or(first, err)
		case all == nil:
			copied := *p
			all = &copied
		default:
			all.Detail += "; " + p.Detail
			all.Errors = append(all.Errors[:len(all.Errors):len(all.Errors)], p.Errors...)
		}
	}
	if all != nil {
		return all
	}
	return first
}

// wrongFields is the answer to a body with wrong fields.
func wrongFields(all domain.FieldErrors) *problem {
	p := newProblem(http.StatusBadRequest, all.Error())
	for _, fe := range all {
		p.Errors = append(p.Errors, wrongField{Pointer: fe.Pointer(), Detail: fe.Problem})
	}
	return p
}

// problemOf is the one place where errors become statuses. What it does not
// know is internal, and its text is not shown.
func problemOf(err error) *problem {
	var p *problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case domain.WrongFields(err) != nil:
		return wrongFields(domain.WrongFields(err))
	case errors.As(err, &tooLarge):
		return problemf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes: send less", tooLarge.Limit)
	case errors.Is(err, views.ErrNotReady):
		return newProblem(http.StatusServiceUnavailable, "the tables are still being read: ask again in a second (/readyz says how far it is)")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p = newProblem(http.StatusServiceUnavailable, "the answer took too long: ask again")
	default:
		p = newProblem(http.StatusInternalServerError, "Internal error")
	}
	p.cause = err
	return p
}

// notReady reports whether err says that a view can't be read yet.
func notReady(err error) bool { return errors.Is(err, views.ErrNotReady) }

func (s *server) writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	if p.cause != nil && r.Context().Err() == nil {
		s.Logger.Error("a request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", p.cause)
	}
	k := p.kind()
	p.Type, p.Title = k.path(), k.Title
	h := w.Header()
	h.Del("ETag")
	if p.Status == http.StatusServiceUnavailable {
		h.Del(stalenessHeader)
		h.Set("Retry-After", "1")
	}
	body, err := codecs.Marshal(p)
	if err != nil { // cannot be, and must not recurse
		s.Logger.Error("encoding a problem", "error", err)
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// serve turns a handler that returns an error into one that answers with it.
func (s *server) serve(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handle(w, r); err != nil {
			s.writeProblem(w, r, problemOf(err))
		}
	})
}

// guard bounds what one request may take, and keeps its panic to itself.
func (s *server) guard(router http.Handler) http.Handler {
	next := s.mannerly(router)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := &beginning{ResponseWriter: w}
		defer func() {
			reason := recover()
			switch {
			case reason == nil:
			case reason == http.ErrAbortHandler || began.begun:
				if reason != http.ErrAbortHandler {
					s.Logger.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", reason, "stack", string(debug.Stack()))
				}
				panic(http.ErrAbortHandler) // the client sees a cut answer, not a whole one
			default:
				s.Logger.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", reason, "stack", string(debug.Stack()))
				s.writeProblem(w, r, newProblem(http.StatusInternalServerError, "Internal error"))
			}
		}()
		w.Header()["X-Content-Type-Options"] = noSniff
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(began, r)
	})
}

// beginning notes whether an answer has begun.
type beginning struct {
	http.ResponseWriter
	begun bool
}

func (b *beginning) WriteHeader(status int) {
	b.begun = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *beginning) Write(p []byte) (int, error) {
	b.begun = true
	return b.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func unknownPath(_ http.ResponseWriter, r *http.Request) error {
	return problemf(http.StatusNotFound, "there is nothing at %s: /openapi.yaml lists every path", r.URL.EscapedPath())
}

// wrongMethod names the methods that there are, as HTTP asks for. OPTIONS asks
// for nothing else.
func wrongMethod(w http.ResponseWriter, r *http.Request, router *mux.Router) error {
	allowed := map[string]bool{}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		try := r.Clone(r.Context())
		try.Method = method
		var match mux.RouteMatch
		if router.Match(try, &match) && match.MatchErr == nil {
			allowed[method] = true
		}
	}
	methods := strings.Join(slices.Sorted(maps.Keys(allowed)), ", ")
	w.Header().Set("Allow", methods)
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", methods+", "+http.MethodOptions)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return problemf(http.StatusMethodNotAllowed, "%s is not for this path: use %s", r.Method, methods)
}

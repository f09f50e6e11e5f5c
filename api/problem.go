package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"baedal/codecs"
	"baedal/domain"
	"baedal/views"
)

// problem is an error that the client is told: a problem document of RFC 9457.
// Detail says what is wrong and what to do about it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"` // where one thing is wrong

	// Of a command that could not be decided or was refused.
	ID     string            `json:"id,omitempty"`   // to repeat it with
	Sent   string            `json:"sent,omitempty"` // no, or unknown: it may have arrived
	Reason string            `json:"reason,omitempty"`
	Code   string            `json:"code,omitempty"` // what kind of reason it is: domain.CodeUnknown…
	Short  []domain.Shortage `json:"short,omitempty"`
	Order  *orderAnswer      `json:"order,omitempty"` // as it is

	cause error // for the log
}

func (p *problem) Error() string { return p.Detail }

func newProblem(status int, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

func problemf(status int, format string, args ...any) *problem {
	return newProblem(status, fmt.Sprintf(format, args...))
}

func wrong(field, what string) *problem {
	p := newProblem(http.StatusBadRequest, field+": "+what)
	p.Field = field
	return p
}

// problemOf is the one place where errors become statuses. What it does not
// know is internal, and its text is not shown.
func problemOf(err error) *problem {
	var p *problem
	var fe *domain.FieldError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &fe):
		return wrong(fe.Field, fe.Problem)
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
	_, _ = w.Write(body)
}

// serve turns a handler that returns an error into one that answers with it.
func (s *server) serve(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handle(w, r); err != nil {
			s.writeProblem(w, r, problemOf(err))
		}
	})
}

// guard bounds what one request may take, and keeps its panic to itself. There
// are no logins, so a web page of somewhere else must not use the browser of
// somebody who can reach us.
func (s *server) guard(router http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(s.serve(func(_ http.ResponseWriter, r *http.Request) error {
		return problemf(http.StatusForbidden, "a page of another site (%s) must not send commands: send them from where this API is served, or not from a browser", r.Header.Get("Origin"))
	}))
	next := origin.Handler(router)
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

// notRouted says what is wrong with a request that no route takes: there is
// nothing at its path, or nothing for its method.
func notRouted(w http.ResponseWriter, r *http.Request, known *http.ServeMux) error {
	var allowed []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut} {
		try := &http.Request{Method: method, Host: r.Host, URL: r.URL}
		if _, pattern := known.Handler(try); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return unknownPath(w, r)
	}
	methods := strings.Join(allowed, ", ")
	w.Header().Set("Allow", methods)
	return problemf(http.StatusMethodNotAllowed, "%s is not for this path: use %s", r.Method, methods)
}

package api

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"

	"baedal/domain"
)

// kind is a type of problem. Its page says what it means and what a client does.
type kind struct {
	Name, Title string
	Status      int
	Means, Do   string
}

// kinds lists all types; of several with one status, the first is the usual one.
var kinds = []kind{
	{"bad-request", "The request can't be understood", http.StatusBadRequest,
		"The body is no JSON object, or a part of the request is not as HTTP asks for.",
		"Read detail, mend the request and send it again. Nothing was done."},
	{"wrong-fields", "Fields or parameters are wrong", http.StatusBadRequest,
		"Fields of the body, or parameters of the address, are missing, unknown, or have values that they must not have. errors lists all of them: pointer is a JSON pointer (RFC 6901) into the body, parameter the name of one in the path, the query or the header.",
		"Mend what errors names and send it again, under the same key where you like. Nothing was done."},
	{"other-site", "A page of another site must not do this", http.StatusForbidden,
		"A browser sent this for a web page that was not served from here.",
		"Serve the page from here, or have its origin named by --cors-origin."},
	{"not-found", "There is no such thing", http.StatusNotFound,
		"The address leads nowhere, or to a thing that is not known: never made, or forgotten after its time.",
		"Look at the id. /openapi.yaml lists every path."},
	{"method-not-allowed", "The method is not for this path", http.StatusMethodNotAllowed,
		"There is something at this path, but not for this method.",
		"Use a method that the header Allow names."},
	{"slow-body", "The body did not come in time", http.StatusRequestTimeout,
		"The body of the request took too long to arrive.",
		"Send it again, under the same key."},
	{"refused", "The command was refused", http.StatusConflict,
		"The command was understood and decided on, and the rules don't allow it now. reason says why; short says what the store has too little of; order is the order as it is.",
		"Sending it again gets the same answer. Decide by reason what to do, and send another command under another key."},
	{"id-reused", "The id names another command", http.StatusConflict,
		"Another command with other content was sent under this id or Idempotency-Key. It stays as it was decided, and this one was not followed.",
		"Send this command under a key of its own."},
	{"not-reached", "The order can't come to the status any more", http.StatusConflict,
		"The order was placed, and has come to nothing, or can't come any more to the status that wait names. reason says why; short says what the store has too little of; order is the order as it is.",
		"Sending it again gets the same answer. Decide by reason what to do, and place another order."},
	{"ambiguous-id", "Several commands have this id", http.StatusConflict,
		"An id counts within its stream and key, and commands of several bear it.",
		"Ask again with the parameters stream and key; detail names them."},
	{"version-mismatch", "The thing has changed meanwhile", http.StatusPreconditionFailed,
		"If-Match names a version that the thing does not have any more, so the command was not followed.",
		"Read the thing again, decide again, and send the command with its new ETag."},
	{"too-large", "The request is too large", http.StatusRequestEntityTooLarge,
		"The body, or the command that it makes, is longer than a message may be.",
		"Send less."},
	{"unsupported-media-type", "The body is in a form that is not understood", http.StatusUnsupportedMediaType,
		"Bodies are JSON in UTF-8, plain or as gzip.",
		"Send application/json; with curl, use --json in place of -d."},
	{"too-many-requests", "Too many requests", http.StatusTooManyRequests,
		"This address sends more requests than --http-rate allows.",
		"Wait for as long as Retry-After says, and send it again."},
	{"internal", "A fault of ours", http.StatusInternalServerError,
		"Something failed that should not. The log of this instance has the cause.",
		"Send it again under the same key; tell the operator if it stays."},
	{"not-ready", "Not ready yet", http.StatusServiceUnavailable,
		"This instance has just started and still reads its tables, or it is too slow to answer.",
		"Ask again after Retry-After, or ask another instance. /readyz says how far it is."},
	{"not-acknowledged", "The brokers did not acknowledge the command", http.StatusServiceUnavailable,
		"With sent: no, the command was not sent and never will be. With sent: unknown, it may have arrived or not.",
		"Send it again under the id that the answer names: should it have arrived, that changes nothing and gets its answer."},
}

func (k kind) path() string { return "/problems/" + k.Name }

// kind returns what type of problem it is.
func (p *problem) kind() kind {
	name := p.name
	switch {
	case name != "":
	case len(p.Errors) > 0:
		name = "wrong-fields"
	case p.Sent != "":
		name = "not-acknowledged"
	case p.Code == domain.CodeReused:
		name = "id-reused"
	}
	for _, k := range kinds {
		if k.Status == p.Status && (name == "" || k.Name == name) {
			return k
		}
	}
	return kind{Name: "internal", Title: http.StatusText(p.Status), Status: p.Status}
}

//go:embed problems.html
var problemsPage string

var problemsTemplate = template.Must(template.New("problems").Parse(problemsPage))

// problems serves the page of one type, or of all.
func problems(w http.ResponseWriter, r *http.Request) error {
	show := kinds
	if name := r.PathValue("name"); name != "" {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.Name == name })
		if i < 0 {
			return problemf(http.StatusNotFound, "there is no type of problem named %q: GET /problems lists all", name)
		}
		show = kinds[i : i+1]
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	return problemsTemplate.Execute(w, show)
}

package api_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	openapipaths "github.com/pb33f/libopenapi-validator/paths"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/stretchr/testify/require"
)

// document is openapi.yaml with what checks requests and answers by it.
type document struct {
	model    *v3.Document
	requests validator.Validator
	answers  validator.Validator // which may not hold a field that is not described
}

var readDocument = sync.OnceValues(func() (*document, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		return nil, err
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		return nil, err
	}
	return &document{
		model:    &model.Model,
		requests: validator.NewValidatorFromV3Model(&model.Model, config.WithFormatAssertions()),
		answers:  validator.NewValidatorFromV3Model(&model.Model, config.WithFormatAssertions(), config.WithStrictMode(), config.WithStrictIgnorePaths("$.headers.**")),
	}, nil
})

// asDescribed lets every answer of a handler be checked by openapi.yaml, and the
// requests that it accepts: see check.
func asDescribed(t testing.TB, handler http.Handler) http.Handler {
	doc, err := readDocument()
	require.NoError(t, err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		sent := r.Clone(context.WithoutCancel(r.Context()))
		r.Body = teeing{io.TeeReader(r.Body, &body), r.Body}
		copied := &copying{ResponseWriter: w, status: http.StatusOK}
		handler.ServeHTTP(copied, r) // a panic is not checked: the client sees a cut answer
		doc.check(t, sent, body.Bytes(), copied)
	})
}

// teeing is a body of which a copy is kept as it is read.
type teeing struct {
	io.Reader
	io.Closer
}

// copying keeps what is answered.
type copying struct {
	http.ResponseWriter
	status int
	header http.Header
	body   bytes.Buffer
}

func (c *copying) WriteHeader(status int) {
	if c.header == nil {
		c.status, c.header = status, c.Header().Clone()
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *copying) Write(b []byte) (int, error) {
	if c.header == nil {
		c.WriteHeader(http.StatusOK)
	}
	c.body.Write(b)
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *copying) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// check fails the test where an answer is not as it is described, or where a
// request was accepted that should not have been.
func (d *document) check(t testing.TB, r *http.Request, body []byte, answer *copying) {
	t.Helper()
	request := func() *http.Request {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		if len(body) == 0 {
			again.Header.Del("Content-Type")
		}
		if again.Method == http.MethodHead {
			again.Method = http.MethodGet
		}
		return again
	}
	what := r.Method + " " + r.URL.String()
	kind, _, _ := mime.ParseMediaType(answer.Header().Get("Content-Type"))
	item, _, path := openapipaths.FindPath(request(), d.model, nil)
	var op *v3.Operation
	if item != nil {
		op = item.GetOperations().GetOrZero(strings.ToLower(request().Method))
	}
	switch {
	case op == nil && r.Method == http.MethodOptions:
		return
	case op == nil:
		require.GreaterOrEqual(t, answer.status, 400, "%s is not described", what)
		require.Equal(t, "application/problem+json", kind, "%s: %s", what, &answer.body)
		return
	case r.Method == http.MethodHead || answer.status == http.StatusOK && strings.HasSuffix(path, "/events") || answer.Header().Get("Content-Encoding") != "":
		return
	}
	response := &http.Response{StatusCode: answer.status, Header: answer.Header().Clone(), Body: io.NopCloser(bytes.NewReader(answer.body.Bytes()))}
	if ok, wrong := d.answers.ValidateHttpResponse(request(), response); !ok {
		for _, w := range wrong {
			t.Errorf("%s (%s) answers %d %s\nwhich is not as openapi.yaml says: %v", what, path, answer.status, &answer.body, w)
		}
	}
	// The document knows JSON alone; that other forms of it are taken is a courtesy.
	plain := r.Header.Get("Content-Encoding") == "" && (len(body) == 0 || r.Header.Get("Content-Type") == "application/json" && body[0] == '{')
	if answer.status < 300 && plain {
		if ok, wrong := d.requests.ValidateHttpRequestSync(request()); !ok {
			for _, w := range wrong {
				t.Errorf("%s with %q is accepted, and openapi.yaml says that it is wrong: %v", what, body, w)
			}
		}
	}
}

// Package client is the Go client of Baedal's HTTP API.
//
// The methods and types of generated.go come from api/openapi.yaml. By hand is
// what makes them safe to use: a command goes out under one key however often it
// has to be repeated (New), an answer is a thing or a Problem (As), and a stream
// of events goes on where it was cut (Events).
//
//	c, err := client.New("http://127.0.0.1:8080", client.Options{})
//	order, err := client.As[client.Order](c.PlaceOrder(ctx, nil, client.PlaceOrderJSONRequestBody{…}))
package client

//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../api/openapi.yaml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Options say how a client behaves. The zero value is good for most.
type Options struct {
	// HTTP does the requests. It should have no Timeout: contexts bound requests, and
	// streams of events never end. Nil is http.DefaultClient.
	HTTP *http.Client
	// Wait is how long the server waits for a decision, or for what a long poll asks
	// for, where a call says nothing else. 0 is the server's default, 5s; at most 60s.
	Wait time.Duration
	// Repeat is for how long a request is repeated that the server could not take, or
	// that was not answered. Less than 0 is never. Default 30s.
	Repeat time.Duration
}

// New returns a client of the API at an address such as http://127.0.0.1:8080.
//
// What could not be taken (429, 502, 503, 504) or was not answered is repeated
// with growing pauses, and not before the moment that the server asks for. Each
// command carries an Idempotency-Key, the caller's or a new one, which stays the
// same in every repeat: it is done once.
func New(server string, o Options) (*Client, error) {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Repeat == 0 {
		o.Repeat = 30 * time.Second
	}
	return NewClient(server, WithHTTPClient(&repeater{o}))
}

// repeater does requests until they are answered.
type repeater struct{ Options }

const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// Do implements HttpRequestDoer.
func (c *repeater) Do(r *http.Request) (*http.Response, error) {
	h := r.Header
	if command := r.Method != http.MethodGet && r.Method != http.MethodHead; command && h.Get("Idempotency-Key") == "" {
		h.Set("Idempotency-Key", uuid.Must(uuid.NewV7()).String())
	}
	if c.Wait > 0 && h.Get("Prefer") == "" {
		h.Set("Prefer", fmt.Sprintf("wait=%d", int((c.Wait+time.Second-1)/time.Second)))
	}
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		again := r
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			again = r.Clone(r.Context())
			again.Body = body
		}
		rsp, err := c.HTTP.Do(again)
		if err == nil && !untaken(rsp.StatusCode) || r.Context().Err() != nil || r.Body != nil && r.GetBody == nil {
			return rsp, err
		}
		wait := pause/2 + rand.N(pause) // who was cut off together does not come back together
		if err == nil {
			if seconds, bad := strconv.Atoi(rsp.Header.Get("Retry-After")); bad == nil {
				wait = max(wait, time.Duration(seconds)*time.Second)
			}
		}
		if time.Since(began)+wait > c.Repeat {
			return rsp, err
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(rsp.Body, 64<<10)) // so that the connection is used again
			_ = rsp.Body.Close()
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}
}

// untaken reports whether a request was not taken, or maybe not, and may be next time.
func untaken(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// Pending is the error of As for a command that is not decided yet. GetCommand
// tells later, and so does the same call under the same key.
type Pending struct{ Command }

func (p *Pending) Error() string {
	return fmt.Sprintf("command %s is not decided yet: %s", p.ID, deref(p.Detail))
}

// Error says what is wrong and what to do about it.
func (p *Problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail) }

// CodeOf returns the code of a command's refusal, or "" where err is none.
func CodeOf(err error) Code {
	var p *Problem
	if errors.As(err, &p) && p.Code != nil {
		return *p.Code
	}
	return ""
}

// As turns the answer of a call into what the document says that it is. The error
// is a *Problem where the server refused, a *Pending where a command is not
// decided yet, and another one where there is no answer:
//
//	page, err := client.As[client.OrderPage](c.ListOrders(ctx, nil))
func As[T any](rsp *http.Response, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(rsp.Header.Get("Content-Type"))
	if !strings.HasSuffix(kind, "json") {
		return nil, fmt.Errorf("%s is answered with %s of type %q: is Baedal there?", rsp.Request.URL, rsp.Status, kind)
	}
	switch {
	case rsp.StatusCode >= 400:
		p := &Problem{}
		if err := json.Unmarshal(body, p); err != nil {
			return nil, fmt.Errorf("%s: %w", rsp.Status, err)
		}
		return nil, p
	case rsp.StatusCode == http.StatusAccepted:
		p := &Pending{}
		if err := json.Unmarshal(body, &p.Command); err != nil {
			return nil, fmt.Errorf("%s: %w", rsp.Status, err)
		}
		return nil, p
	}
	v := new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return nil, fmt.Errorf("%s: %w", rsp.Request.URL, err)
	}
	return v, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

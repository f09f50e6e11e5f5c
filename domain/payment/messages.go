// Package payment keeps what was authorised, captured, voided and refunded for
// each order, and when the gateway must be asked again.
package payment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"baedal/domain"
)

// Request types.
const (
	Authorize = "authorize"
	Capture   = "capture"
	Void      = "void"
	Refund    = "refund"
)

// Request is a message of payment-requests (key: order id).
type Request struct {
	domain.Meta
	OrderID string        `json:"orderId"`
	Attempt int           `json:"attempt"`
	UserID  string        `json:"userId,omitempty"` // authorize
	Amount  *domain.Money `json:"amount,omitempty"` // authorize
	Reason  string        `json:"reason,omitempty"` // void, refund
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (r *Request) Validate() error {
	if !slices.Contains([]string{Authorize, Capture, Void, Refund}, r.Type) {
		return domain.Wrong("type", fmt.Sprintf("%q is not a payment request: authorize, capture, void or refund", domain.Clip(r.Type)))
	}
	if err := cmp.Or(
		domain.CheckMadeID(r.ID),
		domain.CheckCount("attempt", r.Attempt, domain.MaxAttempts),
		domain.CheckText("reason", r.Reason, domain.MaxReply),
		domain.CheckID("orderId", r.OrderID),
	); err != nil || r.Type != Authorize {
		return err
	}
	return cmp.Or(domain.CheckMoney("amount", r.Amount, domain.MaxTotal), domain.CheckID("userId", r.UserID))
}

// Names returns the key that the message itself claims.
func (r *Request) Names() string { return r.OrderID }

// Reply types.
const (
	Approved = "approved"
	Declined = "declined"
	Delayed  = "delayed"
	Captured = "captured"
	Voided   = "voided"
	Refunded = "refunded"
)

// Reply is a message of payment-replies (key: order id).
type Reply struct {
	domain.Meta
	OrderID string        `json:"orderId"`
	Attempt int           `json:"attempt"`
	Amount  *domain.Money `json:"amount,omitempty"` // of what was ever to be authorised
	Reason  string        `json:"reason,omitempty"`
	RetryAt domain.Time   `json:"retryAt,omitzero"` // delayed: when the gateway is asked again
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (r *Reply) Validate() error {
	if err := cmp.Or(
		domain.CheckOneOf("type", r.Type, Approved, Declined, Delayed, Captured, Voided, Refunded),
		domain.CheckMadeID(r.ID),
		domain.CheckCount("attempt", r.Attempt, domain.MaxAttempts),
		domain.CheckText("reason", r.Reason, domain.MaxWhy),
		domain.CheckID("orderId", r.OrderID),
	); err != nil || r.Amount == nil {
		return err
	}
	return domain.CheckMoney("amount", r.Amount, domain.MaxTotal)
}

// Names returns the key that the message itself claims.
func (r *Reply) Names() string { return r.OrderID }

// Answers of a gateway.
const (
	OK     = "ok"
	Denied = "denied" // final: asking again would not change it
	Failed = "failed" // no answer, or an error of the gateway: to be asked again
)

// Call is one call to the gateway: what is asked and under which idempotency
// key (ORDERID/KIND/ATTEMPT). Try counts from 1.
type Call struct {
	OrderID string       `json:"orderId"`
	Kind    string       `json:"kind"` // Authorize, Capture, Void, Refund or Forget
	Attempt int          `json:"attempt"`
	Try     int          `json:"try"`
	Amount  domain.Money `json:"amount"`
	UserID  string       `json:"userId,omitempty"`
}

// Forget is the kind of a call that is for nobody: it says that a row was
// settled long ago.
const Forget = "forget"

// Key is the Idempotency-Key that leaves for the gateway.
func (c Call) Key() string { return fmt.Sprintf("%s/%s/%d", c.OrderID, c.Kind, c.Attempt) }

// Result is what the payments group tells itself about a call that it made:
// the gateway's answer.
type Result struct {
	domain.Meta
	Call
	Answer string `json:"answer"` // OK, Denied or Failed
	Reason string `json:"reason,omitempty"`
}

// ResultType is the type of a Result.
const ResultType = "result"

// NewResult builds the result of a call; its id is the call's key and try. What
// is neither OK nor Denied is Failed. Of a long reason the beginning is kept.
func NewResult(c Call, answer, reason string, at domain.Time) Result {
	if answer != OK && answer != Denied {
		answer = Failed
	}
	meta := domain.Meta{Type: ResultType, ID: fmt.Sprintf("%s/%d/%s", c.Key(), c.Try, ResultType), At: at}
	reason = domain.Cut(strings.ToValidUTF8(reason, "\uFFFD"), domain.MaxWhy)
	return Result{Meta: meta, Call: c, Answer: answer, Reason: reason}
}

// Validate returns a domain.FieldError for the first field that is missing or wrong.
func (r *Result) Validate() error {
	if !slices.Contains([]string{OK, Denied, Failed}, r.Answer) {
		return domain.Wrong("answer", fmt.Sprintf("%q is no answer of a gateway: ok, denied or failed", domain.Clip(r.Answer)))
	}
	if !slices.Contains([]string{Authorize, Capture, Void, Refund, Forget}, r.Call.Kind) {
		return domain.Wrong("kind", fmt.Sprintf("%q is no call to a gateway: authorize, capture, void, refund or forget", domain.Clip(r.Call.Kind)))
	}
	if r.Try < 0 || r.Try > domain.MaxCount {
		return domain.Wrong("try", fmt.Sprintf("must be from 0 to %d", domain.MaxCount))
	}
	return cmp.Or(
		domain.CheckOneOf("type", r.Type, ResultType),
		domain.CheckMadeID(r.ID),
		domain.CheckCount("attempt", r.Attempt, domain.MaxAttempts),
		domain.CheckMoney("amount", &r.Amount, domain.MaxTotal),
		domain.CheckText("userId", r.UserID, domain.MaxID),
		domain.CheckText("reason", r.Reason, domain.MaxWhy),
		domain.CheckID("orderId", r.OrderID))
}

// Kind returns the type of the message, not that of the call.
func (r *Result) Kind() string { return r.Type }

// Names returns the key that the message itself claims.
func (r *Result) Names() string { return r.OrderID }

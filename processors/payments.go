package processors

import (
	"context"
	"errors"
	"strings"
	"time"

	"baedal/domain"
	"baedal/domain/payment"
	"baedal/stream"
	"baedal/topics"
)

// gatewayCalls is how many calls to the gateway one instance has open at most.
const gatewayCalls = 64

// gatewayPatience is how long one call may take before it counts as failed.
const gatewayPatience = 30 * time.Second

// GatewayPatience is how long an answer of the gateway may take at the most.
const GatewayPatience = gatewayPatience

// Payments keeps the money of each order. The row says which call to the
// gateway is due; it is made beside the stream, and its result comes back as a
// message, so a slow gateway holds up nothing but its own orders. After a crash
// the call is made again, under the same idempotency key.
func Payments(t *topics.Catalog, cfg payment.Settings, gateway payment.Gateway) stream.Definition {
	p := payments{t, cfg}
	return stream.Group[payment.Payment]{
		Name:  t.Group(topics.Payments),
		Table: t.PaymentsTable,
		Inputs: []stream.Input[payment.Payment]{
			stream.From(t.PaymentRequests, p.request),
			stream.FromLoop(t.PaymentsLoop, p.result),
		},
		Outputs:     []stream.Sink{t.PaymentReplies},
		DeadLetters: t.DeadLetters,
		Timer:       stream.Wake(t.PaymentsLoop, gatewayCalls, p.due, callGateway(gateway)),
	}
}

type payments struct {
	t   *topics.Catalog
	cfg payment.Settings
}

type paymentContext = stream.Context[payment.Payment]

func (p payments) request(c *paymentContext, m *payment.Request) {
	checkKey(c)
	r := row(c, payment.New)
	p.tell(c, r, r.Handle(m, now(c), p.cfg))
}

func (p payments) result(c *paymentContext, m *payment.Result) {
	r := row(c, payment.New)
	p.tell(c, r, r.HandleResult(m, now(c), p.cfg))
}

func (p payments) tell(c *paymentContext, r *payment.Payment, out payment.Out) {
	sendAll(c, p.t.PaymentReplies, c.Key(), out.Replies)
	switch {
	case out.Forget:
		c.Delete()
	case out.Changed:
		c.Save(r)
	}
}

func (p payments) due(r *payment.Payment) (time.Time, payment.Call, bool) {
	at, call, ok := r.Next()
	if !ok {
		at, call, ok = r.Forget(p.cfg)
	}
	return at.Time(), call, ok
}

// longestReason is how much of what the gateway says is kept, in bytes.
const longestReason = 1000

// callGateway makes a call and returns its answer as a message. No answer in
// time is an answer too: the row decides when to ask again.
func callGateway(g payment.Gateway) func(context.Context, payment.Call) (*payment.Result, error) {
	return func(ctx context.Context, call payment.Call) (*payment.Result, error) {
		if call.Kind == payment.Forget {
			r := payment.NewResult(call, payment.OK, "", domain.At(time.Now()))
			return &r, nil
		}
		limited, cancel := context.WithTimeout(ctx, gatewayPatience)
		defer cancel()
		answer, reason, err := g.Call(limited, call)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			answer, reason = payment.Failed, err.Error()
			if errors.Is(err, context.DeadlineExceeded) {
				reason = "the gateway did not answer within " + gatewayPatience.String()
			}
		}
		// What somebody else's program says may be anything: it must fit a message.
		reason = strings.ToValidUTF8(reason[:min(len(reason), longestReason)], "")
		r := payment.NewResult(call, answer, reason, domain.At(time.Now()))
		return &r, nil
	}
}

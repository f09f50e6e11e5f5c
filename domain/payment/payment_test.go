package payment_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/domain/payment"
)

const noon = domain.Time(1_780_000_000_000)

var (
	settings = payment.DefaultSettings()
	kinds    = []string{payment.Authorize, payment.Capture, payment.Void, payment.Refund}
	answers  = []string{payment.OK, payment.Denied, payment.Failed}
)

func request(kind string, attempt int) *payment.Request {
	r := &payment.Request{Meta: domain.Meta{Type: kind, ID: fmt.Sprintf("o-1/%s/%d", kind, attempt)}, OrderID: "o-1", Attempt: attempt}
	if kind == payment.Authorize {
		r.UserID, r.Amount = "u-1", new(domain.Money(9000))
	}
	return r
}

func encoded(t require.TestingT, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// money drives a row; every message comes a second later than the one before.
type money struct {
	t   *testing.T
	row *payment.Payment
	now domain.Time
}

func unpaid(t *testing.T) *money { return &money{t: t, row: payment.New("o-1"), now: noon} }

func (m *money) request(kind string, attempt int) payment.Out {
	m.t.Helper()
	r := request(kind, attempt)
	require.NoError(m.t, r.Validate())
	m.now = m.now.Add(time.Second)
	return m.row.Handle(r, m.now, settings)
}

func (m *money) result(c payment.Call, answer string) payment.Out {
	m.t.Helper()
	r := payment.NewResult(c, answer, "because it is "+answer, m.now)
	require.NoError(m.t, r.Validate())
	m.now = m.now.Add(time.Second)
	return m.row.HandleResult(&r, m.now, settings)
}

// answered lets the gateway answer the call that is due.
func (m *money) answered(answer string) payment.Out {
	m.t.Helper()
	_, c, ok := m.row.Next()
	require.True(m.t, ok, "a call is due")
	return m.result(c, answer)
}

func (m *money) due() payment.Call {
	m.t.Helper()
	_, c, ok := m.row.Next()
	require.True(m.t, ok, "a call is due")
	return c
}

// does runs a script of requests and of the gateway's answers to what is due.
func (m *money) does(script string) (out payment.Out) {
	m.t.Helper()
	for word := range strings.FieldsSeq(script) {
		switch word {
		case payment.OK, payment.Denied, payment.Failed:
			out = m.answered(word)
		default:
			out = m.request(word, 1)
		}
	}
	return out
}

// drained answers ok to all that is due; it tells what was called and replied.
func (m *money) drained() string {
	m.t.Helper()
	var words []string
	for range 10 {
		_, c, ok := m.row.Next()
		if !ok {
			return strings.Join(words, " ")
		}
		words = append(words, c.Kind)
		words = append(words, types(m.answered(payment.OK))...)
	}
	require.Fail(m.t, "calls never end", words)
	return ""
}

func types(out payment.Out) []string {
	words := []string{}
	for _, r := range out.Replies {
		words = append(words, r.Type)
	}
	return words
}

// statuses has how each is reached.
var statuses = map[string]string{
	"none":              "",
	payment.Authorizing: "authorize",
	payment.Approved:    "authorize ok",
	payment.Declined:    "authorize denied",
	payment.Capturing:   "authorize ok capture",
	payment.Captured:    "authorize ok capture ok",
	payment.Voiding:     "authorize ok void",
	payment.Voided:      "authorize ok void ok",
	payment.Refunding:   "authorize ok capture ok refund",
	payment.Refunded:    "authorize ok capture ok refund ok",
}

func TestPayment_EveryRequestInEveryStatus(t *testing.T) {
	// What is replied at once; what is called, and replied to its ok; the end.
	type want struct{ now, then, end string }
	tests := map[string]map[string]want{
		"none": {
			payment.Authorize: {"", "authorize approved", payment.Approved},
			payment.Capture:   {"declined", "", payment.Declined},
			payment.Void:      {"voided", "", payment.Voided},
			payment.Refund:    {"declined", "", payment.Declined},
		},
		payment.Authorizing: {
			payment.Authorize: {"", "authorize approved", payment.Approved},
			payment.Capture:   {"", "authorize approved capture captured", payment.Captured},
			payment.Void:      {"", "authorize void voided", payment.Voided},
			payment.Refund:    {"", "authorize approved approved", payment.Approved},
		},
		payment.Approved: {
			payment.Authorize: {"approved", "", payment.Approved},
			payment.Capture:   {"", "capture captured", payment.Captured},
			payment.Void:      {"", "void voided", payment.Voided},
			payment.Refund:    {"approved", "", payment.Approved},
		},
		payment.Declined: {
			payment.Authorize: {"declined", "", payment.Declined},
			payment.Capture:   {"declined", "", payment.Declined},
			payment.Void:      {"voided", "", payment.Voided},
			payment.Refund:    {"declined", "", payment.Declined},
		},
		payment.Capturing: {
			payment.Authorize: {"approved", "capture captured", payment.Captured},
			payment.Capture:   {"", "capture captured", payment.Captured},
			payment.Void:      {"", "capture captured captured", payment.Captured},
			payment.Refund:    {"", "capture captured refund refunded", payment.Refunded},
		},
		payment.Captured: {
			payment.Authorize: {"approved", "", payment.Captured},
			payment.Capture:   {"captured", "", payment.Captured},
			payment.Void:      {"captured", "", payment.Captured},
			payment.Refund:    {"", "refund refunded", payment.Refunded},
		},
		payment.Voiding: {
			payment.Authorize: {"approved", "void voided", payment.Voided},
			payment.Capture:   {"", "void voided voided", payment.Voided},
			payment.Void:      {"", "void voided", payment.Voided},
			payment.Refund:    {"", "void voided voided", payment.Voided},
		},
		payment.Voided: {
			payment.Authorize: {"approved", "", payment.Voided},
			payment.Capture:   {"voided", "", payment.Voided},
			payment.Void:      {"voided", "", payment.Voided},
			payment.Refund:    {"voided", "", payment.Voided},
		},
		payment.Refunding: {
			payment.Authorize: {"approved", "refund refunded", payment.Refunded},
			payment.Capture:   {"captured", "refund refunded", payment.Refunded},
			payment.Void:      {"", "refund refunded refunded", payment.Refunded},
			payment.Refund:    {"", "refund refunded", payment.Refunded},
		},
		payment.Refunded: {
			payment.Authorize: {"approved", "", payment.Refunded},
			payment.Capture:   {"captured", "", payment.Refunded},
			payment.Void:      {"refunded", "", payment.Refunded},
			payment.Refund:    {"refunded", "", payment.Refunded},
		},
	}
	for status, script := range statuses {
		for _, kind := range kinds {
			t.Run(status+"/"+kind, func(t *testing.T) {
				want, ok := tests[status][kind]
				require.True(t, ok, "the table has every pair")
				m := unpaid(t)
				m.does(script)
				before := encoded(t, m.row)

				out := m.request(kind, 1)
				assert.Equal(t, want.now, strings.Join(types(out), " "))
				assert.Equal(t, before != encoded(t, m.row), out.Changed)

				// The same again says the same and changes nothing.
				after := encoded(t, m.row)
				again := m.request(kind, 1)
				if kind == payment.Authorize || len(out.Replies) > 0 {
					assert.Equal(t, encoded(t, out.Replies), encoded(t, again.Replies))
				}
				assert.False(t, again.Changed)
				assert.Equal(t, after, encoded(t, m.row))

				assert.Equal(t, want.then, m.drained())
				assert.Equal(t, want.end, m.row.Attempts[0].Status)
			})
		}
	}
}

func TestPayment_EveryResultThatIsNotAwaited(t *testing.T) {
	for status, script := range statuses {
		for _, kind := range kinds {
			for _, answer := range answers {
				for try := range 3 {
					m := unpaid(t)
					m.does(script)
					if _, c, ok := m.row.Next(); ok && c.Kind == kind && (c.Try == try || answer == payment.OK) {
						continue // awaited
					}
					granted := status == payment.Declined && kind == payment.Authorize && answer == payment.OK
					t.Run(fmt.Sprintf("%s/%s/%s/%d", status, kind, answer, try), func(t *testing.T) {
						before := encoded(t, m.row)
						out := m.result(payment.Call{OrderID: "o-1", Kind: kind, Attempt: 1, Try: try}, answer)
						if granted {
							assert.Equal(t, payment.Out{Changed: true}, out)
							assert.Equal(t, payment.Void, m.due().Kind, "an authorisation that nobody waits for is voided")
							return
						}
						assert.False(t, out.Changed)
						assert.Equal(t, before, encoded(t, m.row))
					})
				}
			}
		}
	}
	t.Run("UnknownOrder", func(t *testing.T) {
		assert.Equal(t, payment.Out{}, unpaid(t).result(payment.Call{OrderID: "o-1", Kind: payment.Authorize, Attempt: 1, Try: 1}, payment.OK))
	})
}

func TestPayment_Replies(t *testing.T) {
	tests := map[string]struct {
		script, id, reason string
		amount             domain.Money
	}{
		payment.Approved: {"authorize ok", "o-1/approved/1", "", 9000},
		payment.Declined: {"authorize denied", "o-1/declined/1", "because it is denied", 9000},
		payment.Captured: {"authorize ok capture ok", "o-1/captured/1", "", 9000},
		payment.Voided:   {"authorize ok void ok", "o-1/voided/1", "", 9000},
		payment.Refunded: {"authorize ok capture ok refund ok", "o-1/refunded/1", "", 9000},
		"NothingToVoid":  {"void", "o-1/voided/1", "", 0},
		"VoidedBefore":   {"void authorize", "o-1/declined/1", "voided before it was authorised", 0},
		"NotAuthorised":  {"capture", "o-1/declined/1", "nothing was authorised", 0},
		"NeverTwice":     {"capture authorize", "o-1/declined/1", "nothing was authorised", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := unpaid(t)
			out := m.does(tt.script)
			require.Len(t, out.Replies, 1)
			kind := strings.Split(tt.id, "/")[1]
			at := out.Replies[0].At
			assert.LessOrEqual(t, at, m.now)
			want := payment.Reply{Meta: domain.Meta{Type: kind, ID: tt.id, At: at}, OrderID: "o-1", Attempt: 1, Reason: tt.reason}
			if tt.amount > 0 { // of what nobody has authorised no amount is known
				want.Amount = &tt.amount
			}
			assert.Equal(t, want, out.Replies[0])
		})
	}
}

// A result may be handled before and its reply lost: it is said again as it was.
func TestPayment_ResultAgain(t *testing.T) {
	for name, script := range map[string]string{
		payment.Approved: "authorize ok", payment.Declined: "authorize denied", payment.Delayed: "authorize failed",
		payment.Captured: "authorize ok capture ok", payment.Voided: "authorize ok void ok",
		payment.Refunded: "authorize ok capture ok refund ok", "DeclinedUnwanted": "authorize void denied",
		"DeclinedUnwantedAfterDelay": "authorize failed void denied",
	} {
		t.Run(name, func(t *testing.T) {
			m := unpaid(t)
			words := strings.Fields(script)
			m.does(strings.Join(words[:len(words)-1], " "))
			c, answer := m.due(), words[len(words)-1]
			out := m.result(c, answer)
			require.Len(t, out.Replies, 1)
			after := encoded(t, m.row)
			assert.Equal(t, payment.Out{Replies: out.Replies}, m.result(c, answer))
			assert.Equal(t, after, encoded(t, m.row))
		})
	}
}

func TestPayment_CallsCarryOneKey(t *testing.T) {
	m := unpaid(t)
	m.request(payment.Authorize, 1)
	at, c, ok := m.row.Next()
	require.True(t, ok)
	assert.Equal(t, m.now, at)
	assert.Equal(t, payment.Call{OrderID: "o-1", Kind: payment.Authorize, Attempt: 1, Try: 1, Amount: 9000, UserID: "u-1"}, c)
	m.answered(payment.Failed)
	assert.Equal(t, 2, m.due().Try)
	assert.Equal(t, "o-1/authorize/1", m.due().Key())
	assert.Equal(t, c.Key(), m.due().Key())
}

func TestPayment_FailingGateway(t *testing.T) {
	m := unpaid(t)
	m.request(payment.Authorize, 1)
	var waits []time.Duration
	for try := 1; try <= 12; try++ {
		out := m.answered(payment.Failed)
		at, c, _ := m.row.Next()
		require.Equal(t, try+1, c.Try)
		require.Equal(t, []payment.Reply{{
			Meta:    domain.Meta{Type: payment.Delayed, ID: fmt.Sprintf("o-1/delayed/1/%d", try), At: m.now},
			OrderID: "o-1", Attempt: 1, Amount: new(domain.Money(9000)), Reason: "because it is failed", RetryAt: at,
		}}, out.Replies)
		require.Equal(t, out.Replies, m.request(payment.Authorize, 1).Replies, "asked again it says what it waits for")
		waits = append(waits, at.Sub(out.Replies[0].At))
	}
	for i, w := range waits {
		most := min(settings.RetryFirst<<i, settings.RetryMax)
		assert.GreaterOrEqual(t, w, most/2, "try %d", i+1)
		assert.LessOrEqual(t, w, most, "try %d", i+1)
	}
	assert.Len(t, m.row.Attempts[0].Said, 1, "the row does not grow with failures")
	assert.Equal(t, []string{payment.Approved}, types(m.answered(payment.OK)))
	assert.Equal(t, []string{payment.Approved}, types(m.request(payment.Authorize, 1)))
}

func TestPayment_RetriesNoLaterThanTheMost(t *testing.T) {
	cfg := payment.Settings{RetryFirst: time.Second, RetryMax: 1100 * time.Millisecond, RetryDenied: time.Minute}
	row := payment.New("o-1")
	row.Handle(request(payment.Authorize, 1), noon, cfg)
	for range 50 {
		_, c, _ := row.Next()
		r := payment.NewResult(c, payment.Failed, "", noon)
		row.HandleResult(&r, noon, cfg)
		at, _, _ := row.Next()
		require.LessOrEqual(t, at.Sub(noon), cfg.RetryMax)
	}
}

func TestPayment_LateApprovalOfAnOlderTry(t *testing.T) {
	m := unpaid(t)
	m.request(payment.Authorize, 1)
	first := m.due()
	m.answered(payment.Failed)
	second := m.due()
	assert.Equal(t, []string{payment.Approved}, types(m.result(first, payment.OK)))
	assert.False(t, m.result(second, payment.Failed).Changed)
	assert.False(t, m.result(second, payment.OK).Changed)
	assert.Equal(t, payment.Approved, m.row.Attempts[0].Status)
}

func TestPayment_VoidWhileTheGatewayFails(t *testing.T) {
	m := unpaid(t)
	assert.Empty(t, m.does("authorize failed void").Replies)
	assert.Equal(t, payment.Authorize, m.due().Kind, "first it must be known whether it holds")
	assert.Empty(t, m.answered(payment.Failed).Replies, "nobody waits for it any more")
	assert.Equal(t, "authorize void voided", m.drained())

	m = unpaid(t)
	m.does("authorize failed void")
	assert.Equal(t, []string{payment.Voided}, types(m.answered(payment.Denied)), "nothing to void")
	assert.Empty(t, m.drained())
	assert.Equal(t, []string{payment.Declined}, types(m.request(payment.Authorize, 1)))
}

func TestPayment_WhatMustBeDoneIsNeverDropped(t *testing.T) {
	for _, script := range []string{"authorize ok capture", "authorize ok void", "authorize ok capture ok refund"} {
		t.Run(script, func(t *testing.T) {
			m := unpaid(t)
			m.does(script)
			kind := m.due().Kind
			assert.Empty(t, m.answered(payment.Denied).Replies)
			a := m.row.Attempts[0]
			assert.True(t, a.Stuck)
			assert.Equal(t, "because it is denied", a.Error)
			at, c, ok := m.row.Next()
			require.True(t, ok)
			assert.Equal(t, 2, c.Try)
			assert.GreaterOrEqual(t, at.Sub(m.now), settings.RetryDenied/2)
			assert.LessOrEqual(t, at.Sub(m.now), settings.RetryDenied)
			assert.False(t, m.row.Settled())

			assert.Empty(t, m.answered(payment.Failed).Replies)
			assert.False(t, m.row.Attempts[0].Stuck)
			out := m.answered(payment.OK)
			require.Len(t, out.Replies, 1)
			assert.Equal(t, map[string]string{payment.Capture: payment.Captured, payment.Void: payment.Voided, payment.Refund: payment.Refunded}[kind], out.Replies[0].Type)
			assert.Empty(t, m.row.Attempts[0].Error)
			assert.True(t, m.row.Settled())
		})
	}
}

func TestPayment_WhatWaitsIsAppliedInOrder(t *testing.T) {
	for script, want := range map[string]string{
		"authorize capture void":        "authorize approved capture captured captured",
		"authorize void capture":        "authorize void voided voided",
		"authorize refund void":         "authorize approved approved void voided",
		"authorize capture refund void": "authorize approved capture captured refund refunded refunded",
	} {
		m := unpaid(t)
		assert.Empty(t, m.does(script).Replies, script)
		assert.Equal(t, want, m.drained(), script)
	}
}

func TestPayment_GrantAfterDecline(t *testing.T) {
	m := unpaid(t)
	m.does("authorize")
	c := m.due()
	m.does("denied void") // answered voided: there was nothing
	assert.Equal(t, payment.Out{Changed: true}, m.result(c, payment.OK))
	assert.False(t, m.result(c, payment.OK).Changed, "it is being voided")
	assert.Equal(t, "void voided", m.drained())
	assert.False(t, m.result(c, payment.OK).Changed, "once")
}

func TestPayment_Attempts(t *testing.T) {
	t.Run("ALaterRequestIsAboutTheMoneyThereIs", func(t *testing.T) {
		m := unpaid(t)
		m.does("authorize ok capture ok")
		m.request(payment.Refund, 2)
		assert.Equal(t, "o-1/refund/1", m.due().Key())
		assert.Equal(t, "refund refunded", m.drained())
		assert.Len(t, m.row.Attempts, 1)
	})
	t.Run("TwoAuthorisationsAreToldApart", func(t *testing.T) {
		m := unpaid(t)
		m.does("authorize denied")
		m.request(payment.Authorize, 2)
		assert.Equal(t, "o-1/authorize/2", m.due().Key())
		out := m.answered(payment.OK)
		assert.Equal(t, "o-1/approved/2", out.Replies[0].ID)
		m.request(payment.Void, 1)
		assert.Empty(t, m.drained(), "the second one is not voided")
		m.request(payment.Void, 2)
		assert.Equal(t, "void voided", m.drained())
	})
	t.Run("TheCallDueFirstComesFirst", func(t *testing.T) {
		m := unpaid(t)
		m.request(payment.Authorize, 2)
		m.request(payment.Authorize, 1)
		assert.Equal(t, 2, m.due().Attempt)
		m.answered(payment.Failed)
		m.now = m.now.Add(time.Second)
		assert.Equal(t, 1, m.due().Attempt)
	})
}

func TestPayment_NothingToPay(t *testing.T) {
	m := unpaid(t)
	r := request(payment.Authorize, 1)
	r.Amount = new(domain.Money(0))
	require.NoError(t, r.Validate())
	m.row.Handle(r, noon, settings)
	m.request(payment.Capture, 1)
	assert.Equal(t, "authorize approved capture captured", m.drained())
}

func TestPayment_Forget(t *testing.T) {
	open := map[string]bool{payment.Authorizing: true, payment.Approved: true, payment.Capturing: true, payment.Voiding: true, payment.Refunding: true}
	for status, script := range statuses {
		m := unpaid(t)
		m.does(script)
		at, call, ok := m.row.Forget(settings)
		assert.Equal(t, !open[status] && status != "none", ok, status)
		if !ok {
			continue
		}
		assert.Equal(t, m.row.Updated.Add(settings.Keep), at, status)
		r := payment.NewResult(call, payment.OK, "", at)
		require.NoError(t, r.Validate())
		assert.Equal(t, payment.Out{}, m.row.HandleResult(&r, at-1, settings), "%s: too early", status)
		assert.Equal(t, payment.Out{Forget: true}, m.row.HandleResult(&r, at, settings), status)
	}
	gone := payment.New("o-1")
	_, call, _ := payment.New("o-1").Forget(settings)
	r := payment.NewResult(call, payment.OK, "", 0)
	assert.Equal(t, payment.Out{}, gone.HandleResult(&r, 0, settings), "forgotten already")
}

func TestSettings_Validate(t *testing.T) {
	assert.NoError(t, payment.DefaultSettings().Validate())
	for want, s := range map[string]payment.Settings{
		"the first retry comes after 0s: at least 1ms":                         {RetryMax: 1, RetryDenied: time.Second},
		"retries come after 1s at most, which is less than the first one's 2s": {RetryFirst: 2 * time.Second, RetryMax: time.Second, RetryDenied: time.Second},
		"a denied call is retried after 0s: at least 1ms":                      {RetryFirst: time.Second, RetryMax: time.Second},
	} {
		assert.EqualError(t, s.Validate(), want)
	}
}

func TestMessages_Validate(t *testing.T) {
	good := request(payment.Authorize, 1)
	for field, spoil := range map[string]func(*payment.Request){
		"type":    func(r *payment.Request) { r.Type = "gift" },
		"amount":  func(r *payment.Request) { r.Amount = new(domain.Money(-1)) },
		"attempt": func(r *payment.Request) { r.Attempt = 0 },
		"orderId": func(r *payment.Request) { r.OrderID = "" },
	} {
		r := *good
		spoil(&r)
		got, ok := domain.WrongField(r.Validate())
		assert.True(t, ok, field)
		assert.Equal(t, field, got)
	}
	for field, spoil := range map[string]func(*payment.Result){
		"answer":  func(r *payment.Result) { r.Answer = "maybe" },
		"kind":    func(r *payment.Result) { r.Call.Kind = "gift" },
		"orderId": func(r *payment.Result) { r.OrderID = "" },
	} {
		r := payment.NewResult(payment.Call{OrderID: "o-1", Kind: payment.Void, Attempt: 1, Try: 1}, "?", "", noon)
		assert.Equal(t, payment.Failed, r.Answer)
		assert.Equal(t, payment.ResultType, r.Kind())
		assert.Equal(t, "o-1/void/1/1/result", r.ID)
		require.NoError(t, r.Validate())
		spoil(&r)
		got, ok := domain.WrongField(r.Validate())
		assert.True(t, ok, field)
		assert.Equal(t, field, got)
	}
}

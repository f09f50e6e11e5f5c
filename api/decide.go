package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"baedal/codecs"
	"baedal/domain"
	"baedal/views"
)

// Verdicts is what became of commands; views.Verdicts has it, and says what each
// method promises.
type Verdicts interface {
	Get(id string) ([]views.Outcome, error)
	Find(id, stream, key string) ([]views.Outcome, error)
	Watch(id, stream, key string) (woken <-chan struct{}, stop func())
	Staleness() time.Duration
}

// maxWaiters bounds how many requests wait for a verdict. Those beyond are
// answered at once, as if they had asked for that.
const maxWaiters = 20_000

// command is a command on its way from its client to the one who decides.
type command struct {
	id, stream, key string
	digest          string // of what it says
	send            func(context.Context) error
	about           string // the id that its client knows it by, where that is not id
}

// newCommand returns a command that says m.
func newCommand(stream, key, id string, m any, send func(context.Context) error) (*command, error) {
	data, err := codecs.Marshal(m)
	if err != nil {
		return nil, err
	}
	digest, err := codecs.Digest(data)
	return &command{id: id, stream: stream, key: key, digest: digest, send: send}, err
}

// path is where what became of a command can be read.
func (c *command) path() string {
	return "/v1/commands/" + url.PathEscape(c.id) + "?" + url.Values{"stream": {c.stream}, "key": {c.key}}.Encode()
}

// turn is one command's way through one request.
type turn struct {
	*server
	*command
	w    http.ResponseWriter
	r    *http.Request
	pref preference
	ctx  context.Context // done when the client's time is up, and when the server stops

	unmet string // what was waited for beside the decision, and did not come in time
}

// decide hands a command to its stream and waits until it is decided on. Then it
// calls answer, which may wait for the tables to show it, and reports false, or
// that they are not ready, where they don't in time. A command that is not decided in time, or is not waited
// for, is answered with 202 and where to ask. Where it could not be sent, the
// client is told the id that makes it safe to try again.
func (s *server) decide(w http.ResponseWriter, r *http.Request, c *command, answer func(*turn, *views.Outcome) (bool, error)) error {
	began := time.Now()
	pref := preferenceOf(r.Header)
	ctx, cancel := waitContext(r, pref.wait)
	defer cancel()
	t := &turn{server: s, command: c, w: w, r: r, pref: pref, ctx: ctx}
	w.Header().Add("Vary", "Prefer")
	out, err := t.outcome(began)
	if err != nil {
		return err
	}
	if out != nil {
		if pref.said {
			w.Header().Set("Preference-Applied", pref.applied())
		}
		if done, err := answer(t, out); done || outOfTime(err) != nil {
			return err
		}
		w.Header().Del("Preference-Applied")
	}
	return t.pending(out)
}

// outcome returns what became of the command, or nil where that is not known in
// time.
func (t *turn) outcome(began time.Time) (*views.Outcome, error) {
	// What was decided is not decided again: the verdict stands, whatever the group
	// still remembers.
	if out := t.known(nil); out != nil && out.Letter == nil {
		return out, nil
	}
	before := t.letters()
	if t.waiting.Add(1) > maxWaiters {
		t.pref.wait, t.pref.async = 0, true
	}
	defer t.waiting.Add(-1)
	// Before anything is sent: a verdict that comes at once wakes, too.
	woken, stop := t.Verdicts.Watch(t.id, t.stream, t.key)
	defer stop()
	t.sent.note(t.id, t.stream, t.key)
	if err := t.hand(began); err != nil {
		if p := (*problem)(nil); errors.As(err, &p) && p.Sent == "unknown" {
			if out := t.known(before); out != nil { // it has arrived
				return out, nil
			}
		}
		return nil, err
	}
	for !t.pref.now() {
		if out := t.known(before); out != nil {
			return out, nil
		}
		select {
		case <-woken:
		case <-t.ctx.Done():
			return t.known(before), nil
		}
	}
	return nil, nil
}

// known returns what is known to have become of the command. One that became a
// dead letter before is sent again, so that letter is not its outcome.
func (t *turn) known(before map[views.Letter]bool) *views.Outcome {
	all, err := t.Verdicts.Find(t.id, t.stream, t.key)
	if err != nil {
		if !errors.Is(err, views.ErrNotReady) {
			t.Logger.Error("reading a verdict", "command", t.id, "error", err)
		}
		return nil
	}
	for i := range all {
		switch out := &all[i]; {
		case out.Letter == nil && out.Digest == t.digest:
			return out
		case out.Letter != nil && !before[*out.Letter] && (out.Digest == t.digest || out.Digest == ""):
			return out
		}
	}
	return nil
}

// letters are the dead letters that the command became before.
func (t *turn) letters() map[views.Letter]bool {
	all, err := t.Verdicts.Find(t.id, t.stream, t.key)
	if err != nil {
		return nil
	}
	var out map[views.Letter]bool
	for _, o := range all {
		if o.Letter != nil {
			if out == nil {
				out = map[views.Letter]bool{}
			}
			out[*o.Letter] = true
		}
	}
	return out
}

// hand hands the command to its stream. It takes no longer than the client waits.
// That brokers are away is said once by who notices, not for each request.
func (t *turn) hand(began time.Time) error {
	id := cmp.Or(t.about, t.id)
	if t.Damaged != nil {
		if err := t.Damaged(); err != nil {
			p := problemf(http.StatusServiceUnavailable, "%v; the command was not sent", err)
			p.ID, p.Sent = id, "no"
			return p
		}
	}
	ctx, cancel := context.WithDeadline(t.r.Context(), began.Add(max(t.pref.wait, leastSend)))
	defer cancel()
	err := t.send(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLong):
		return problemf(http.StatusRequestEntityTooLarge, "the command is longer than a record may be, and was not sent: send less")
	case errors.Is(err, ErrNotSent):
		p := problemf(http.StatusServiceUnavailable, "the brokers acknowledge nothing, and the command was not sent: send it again (id %q)", id)
		p.ID, p.Sent = id, "no"
		return p
	}
	p := problemf(http.StatusServiceUnavailable, "the broker did not acknowledge the command, which may have arrived or not: send it again with the id %q", id)
	p.ID, p.Sent = id, "unknown"
	if !errors.Is(err, ErrUnacknowledged) {
		p.cause = err
	}
	return p
}

// pending answers that the command is in its stream, and where to ask what becomes of
// it. Where that is known already, the tables do not show it yet.
func (t *turn) pending(out *views.Outcome) error {
	a := commandAnswer{ID: t.id, Stream: t.stream, Key: t.key, Verdict: pending, Detail: "the command is in its stream; the Location shows what becomes of it"}
	if out != nil {
		a = answerTo(out)
		a.Detail = cmp.Or(t.unmet, "the command is decided on; the tables of this instance do not show it yet")
	}
	h := t.w.Header()
	h.Set("Location", t.path())
	if t.pref.said || t.pref.async {
		h.Set("Preference-Applied", t.pref.applied())
	}
	return writeJSON(t.w, http.StatusAccepted, a)
}

// refusal is the answer to a command that was refused.
func (t *turn) refusal(out *views.Outcome) *problem {
	status := http.StatusConflict
	switch out.Code {
	case domain.CodeUnknown:
		status = http.StatusNotFound
	case domain.CodeVersion:
		status = http.StatusPreconditionFailed
	}
	p := problemf(status, "%s", out.Reason)
	if out.Letter != nil {
		p.Detail = fmt.Sprintf("the command could not be handled (%s): it is dead letter %d/%d, for the operator to look at", out.Letter.Error, out.Letter.Partition, out.Letter.Offset)
	}
	p.ID, p.Reason, p.Code = cmp.Or(t.about, t.id), out.Reason, out.Code
	return p
}

// sentCommands bounds what a process remembers of the commands that it has sent.
const sentCommands = 1 << 16

// sent remembers which commands this process has sent lately, so that it can say
// of one that is not decided yet where it is.
type sent struct {
	mu    sync.Mutex
	of    map[string][]address
	ring  []string
	place int
}

// address is where a command was sent.
type address struct{ stream, key string }

func newSent(size int) *sent {
	return &sent{of: map[string][]address{}, ring: make([]string, size)}
}

func (m *sent) note(id, stream, key string) {
	a := address{stream, key}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.of[id]
	for _, known := range all {
		if known == a {
			return
		}
	}
	if len(all) > 0 {
		if len(all) < 8 {
			m.of[id] = append(all, a)
		}
		return
	}
	if oldest := m.ring[m.place]; oldest != "" {
		delete(m.of, oldest)
	}
	m.ring[m.place] = id
	m.place = (m.place + 1) % len(m.ring)
	m.of[id] = []address{a}
}

// to returns where commands of that id were sent.
func (m *sent) to(id string) []address {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[id]
}

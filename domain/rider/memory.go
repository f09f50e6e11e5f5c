package rider

import (
	"fmt"
	"strconv"
	"strings"

	"baedal/domain"
	"baedal/domain/dispatch"
)

// A rider's row is written with each of their commands, so what it remembers of
// them is packed: fields between slashes, those that are empty left out at the
// end, and last what may contain anything.

// Moved is a location update that was applied: the mark of its id, the mark of
// its name, when, and the version of the row then.
type Moved struct {
	Of      dispatch.Mark
	Name    string
	At      domain.Time
	Version int
}

// AppendText implements encoding.TextAppender.
func (m Moved) AppendText(b []byte) ([]byte, error) {
	return joined(b, string(m.Of), m.Name, number(int64(m.At)), number(int64(m.Version))), nil
}

// MarshalText implements encoding.TextMarshaler.
func (m Moved) MarshalText() ([]byte, error) { return m.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Moved) UnmarshalText(b []byte) error {
	f := &fields{rest: string(b)}
	*m = Moved{Of: dispatch.Mark(f.text()), Name: f.text(), At: domain.Time(f.number()), Version: int(f.number())}
	return f.err
}

// movedBytes is what a location update takes at most: two marks, a time, a
// version and what is between them.
const movedBytes = 2*domain.MaxMark + 10 + 6 + 6

func (m *Moved) weigh() (domain.Time, int, bool) { return m.At, movedBytes, false }

// Answer is what was decided about a command.
type Answer struct {
	Of      dispatch.Mark // the command's id
	Name    string        // the mark of its name
	At      domain.Time
	Version int    // of the row, once it was decided
	Area    string // where it was forwarded to, to be decided there

	domain.Refusal // why it was refused here
	// When another message brought the decision, it brings the verdict again.
	By dispatch.Mark
	Asker
}

// AppendText implements encoding.TextAppender.
func (a Answer) AppendText(b []byte) ([]byte, error) {
	asked := ""
	if a.Verdict {
		asked = "v"
	}
	named := ""
	if a.CommandID != "" || a.Reason != "" { // either may contain slashes
		named = number(int64(len(a.CommandID))) + "/" + a.CommandID + a.Reason
	}
	return joined(b, string(a.Of), a.Name, number(int64(a.At)), number(int64(a.Version)), a.Area,
		a.Code, string(a.By), asked, number(int64(a.AskedAt)), a.Digest, named), nil
}

// MarshalText implements encoding.TextMarshaler.
func (a Answer) MarshalText() ([]byte, error) { return a.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Answer) UnmarshalText(b []byte) error {
	f := &fields{rest: string(b)}
	*a = Answer{Of: dispatch.Mark(f.text()), Name: f.text(), At: domain.Time(f.number()), Version: int(f.number()), Area: f.text()}
	a.Code, a.By, a.Verdict, a.AskedAt, a.Digest = f.text(), dispatch.Mark(f.text()), f.text() != "", domain.Time(f.number()), f.text()
	n := int(f.number())
	if n < 0 || n > len(f.rest) {
		return fmt.Errorf("%q is no answer of a rider's row: it ends too early", domain.Clip(string(b)))
	}
	a.CommandID, a.Reason = f.rest[:n], f.rest[n:]
	if a.By != "" {
		a.Mark = a.Name
	}
	return f.err
}

// answerBytes is what an answer takes at most beside its texts: three marks, two
// times, a version, a length and what is between them.
const answerBytes = 3*domain.MaxMark + 2*10 + 6 + 3 + 14

func (a *Answer) weigh() (domain.Time, int, bool) {
	switch {
	case a.Is():
		return a.At, domain.RefusedBytes(a.CommandID, a.Reason), true
	case a.By != "":
		return a.At, answerBytes + len(a.Digest) + domain.Written(a.CommandID), false
	}
	return a.At, answerBytes - domain.MaxMark - 10 + domain.Written(a.Area), false
}

// joined appends fields with slashes between them.
func joined(b []byte, all ...string) []byte {
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	for i, f := range all {
		if i > 0 {
			b = append(b, '/')
		}
		b = append(b, f...)
	}
	return b
}

// number writes n; 0 is left out.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 36)
}

// fields reads what joined wrote.
type fields struct {
	rest string
	err  error
}

func (f *fields) text() (s string) {
	s, f.rest, _ = strings.Cut(f.rest, "/")
	return s
}

func (f *fields) number() int64 {
	s := f.text()
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 36, 64)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("the row of a rider is damaged at %q: %w", s, err)
	}
	return n
}

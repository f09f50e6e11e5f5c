package audit

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// Names of the checks.
const (
	Orders     = "orders"
	Repeats    = "repeats"
	Verdicts   = "verdicts"
	Stock      = "stock"
	Payments   = "payments"
	Deliveries = "deliveries"
	Messages   = "messages"
	Inputs     = "inputs"
)

// promises is what each check proves, in the order of the report.
var promises = []struct{ name, promise string }{
	{Orders, "every order has versions without gaps, one event for each, and ends once or waits within its deadline"},
	{Repeats, "a message that is said again is the same, byte for byte"},
	{Verdicts, "one verdict on a command, and it is what happened"},
	{Stock, "put = free + reserved + sold + removed, never negative, and as the commands say"},
	{Payments, "money is authorised once, and captured, voided or refunded once"},
	{Deliveries, "one rider at a time, none beyond his capacity, one end"},
	{Messages, "what people are told has happened, and is logged"},
	{Inputs, "what came in was decided on or is in the dead letters"},
}

// Shown is how many violations of a check are listed.
const Shown = 20

// shownUnproved is how many keys are listed whose records are gone.
const shownUnproved = 200

// Violation is a promise that is broken, and where.
type Violation struct {
	Check     string `json:"check"`
	Key       string `json:"key"`
	Problem   string `json:"problem"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s (%s/%d/%d)", v.Check, shown(v.Key), shown(v.Problem), v.Topic, v.Partition, v.Offset)
}

// mostShown is how much of a key or a problem is shown: strangers write keys as
// long as a record, and with what makes a terminal obey.
const mostShown = 500

func shown(s string) string {
	if len(s) > mostShown {
		s = strings.ToValidUTF8(s[:mostShown], "") + "…"
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		s = strings.Trim(strconv.Quote(s), `"`)
	}
	return s
}

// Check is what one check has looked at and found.
type Check struct {
	Name       string `json:"name"`
	Promise    string `json:"promise"`
	Records    int64  `json:"records"`
	Open       int    `json:"open"` // within their time
	Violations int    `json:"violations"`
}

// Report is what an audit has found.
type Report struct {
	Guarantee  string      `json:"guarantee"`
	Live       bool        `json:"live"` // records came while it was read
	Records    int64       `json:"records"`
	Seconds    float64     `json:"seconds"`
	Orders     int         `json:"orders"`
	Checks     []Check     `json:"checks"`
	Violations []Violation `json:"violations"`         // of each check the first ones
	Unproved   []Violation `json:"unproved,omitempty"` // of each check and key the first: records are gone that may have kept the promise
	Notes      []string    `json:"notes,omitempty"`    // what else could not be proved

	found  map[string]int
	said   map[Violation]bool
	counts map[string]int
	open   map[string]int
}

func newReport() *Report {
	return &Report{found: map[string]int{}, said: map[Violation]bool{}, counts: map[string]int{}, open: map[string]int{}, Violations: []Violation{}}
}

func (r *Report) add(v Violation) {
	if r.said[v] {
		return
	}
	if r.found[v.Check]++; r.found[v.Check] <= Shown {
		r.said[v] = true
		r.Violations = append(r.Violations, v)
	}
}

// doubt notes a promise that can't be proved.
func (r *Report) doubt(v Violation) {
	k := Violation{Check: v.Check, Key: v.Key}
	if !r.said[k] {
		r.said[k] = true
		r.Unproved = append(r.Unproved, v)
	}
}

func (r *Report) note(what string, n int) { r.counts[what] += n }

// OK reports whether every promise holds.
func (r *Report) OK() bool { return len(r.found) == 0 }

// Broken lists the checks that failed.
func (r *Report) Broken() (names []string) {
	for _, c := range r.Checks {
		if c.Violations > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%d records, %d orders, %.1f s, %s\n\n", r.Records, r.Orders, r.Seconds, r.Guarantee)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CHECK\tRECORDS\tOPEN\tBROKEN\tPROMISE")
	for _, c := range r.Checks {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\n", c.Name, c.Records, c.Open, c.Violations, c.Promise)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	for i, v := range r.Unproved {
		if i == shownUnproved {
			fmt.Fprintf(w, "not proved: %d more: --format json names them\n", len(r.Unproved)-i)
			break
		}
		fmt.Fprintln(w, "not proved:", v)
	}
	if len(r.Violations) > 0 {
		fmt.Fprintln(w)
	}
	for _, p := range promises {
		for _, v := range r.Violations {
			if v.Check == p.name {
				fmt.Fprintln(w, v)
			}
		}
		if n := r.found[p.name]; n > Shown {
			fmt.Fprintf(w, "%s: %d more\n", p.name, n-Shown)
		}
	}
	return nil
}

// finish judges what is still owed.
func (a *auditor) finish(now int64) *Report {
	a.debts(func(d *debt) {
		switch a.judge(d, now) {
		case late:
			a.violation(d.check, d.key, d.from, "%s", d.text)
		case waiting:
			a.rep.open[d.check]++
		case unproved:
			a.rep.doubt(Violation{Check: d.check, Key: d.key, Problem: d.text, Topic: a.topics[d.from.stream], Partition: d.from.partition, Offset: d.from.offset})
		}
	})
	slices.SortFunc(a.rep.Unproved, func(x, y Violation) int {
		return cmp.Or(cmp.Compare(x.Check, y.Check), cmp.Compare(x.Key, y.Key))
	})
	r := a.rep
	var unknown int
	for _, l := range a.orders {
		if l.next == 0 {
			unknown++
		}
	}
	r.Orders = len(a.orders) - unknown + len(a.closed)
	for _, l := range a.orders {
		if l.reopened {
			r.Orders--
		}
	}
	for _, p := range promises {
		c := Check{Name: p.name, Promise: p.promise, Open: r.open[p.name], Violations: r.found[p.name]}
		for s, of := range checkOf {
			if of == p.name || p.name == Repeats && repeated[s] {
				c.Records += a.records[s]
			}
		}
		r.Checks = append(r.Checks, c)
	}
	for s := range streams {
		switch {
		case a.truncated[s] && !s.isTable():
			r.Notes = append(r.Notes, fmt.Sprintf("records of %s are gone, %s: what began before is judged from what is left", a.topics[s], a.goneOf(s)))
		case a.compacted[s]:
			r.Notes = append(r.Notes, fmt.Sprintf("%s has gaps, as it is compacted or a transaction was aborted: what left its trace only there can't be proved", a.topics[s]))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(r.counts)) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d %s", r.counts[what], what))
	}
	return r
}

// goneOf says of each partition of a stream before which offset its records are gone.
func (a *auditor) goneOf(s stream) string {
	var all []string
	for p, at := range a.starts {
		if p.stream == s {
			all = append(all, fmt.Sprintf("of partition %d before offset %d", p.number, at))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// repeated are the streams whose messages are compared when they come again.
var repeated = [streams]bool{orderEvents: true, verdicts: true, stockReplies: true, paymentRequests: true, paymentReplies: true,
	dispatchCommands: true, riderEvents: true, deliveryEvents: true, notifications: true, messageLog: true}

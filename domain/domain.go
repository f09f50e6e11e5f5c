// Package domain holds the words that every bounded context shares: what all
// messages carry, places, lines, money, time and the verdict on a command.
//
// Nothing below domain knows Kafka, HTTP or a clock: a rule gets the time as an
// argument and answers with the messages to send.
package domain

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Money is an amount in the smallest unit of the currency (won by default).
type Money = int64

// Meta is what every message carries. ID names the message: the same ID again
// is the same message again. At is when what it says came about; commands may
// leave both out.
type Meta struct {
	Type string `json:"type"`
	ID   string `json:"id,omitempty"`
	At   Time   `json:"at,omitzero"`
}

// Kind returns the type of the message.
func (m *Meta) Kind() string { return m.Type }

// Place is a point on the globe in degrees (WGS 84).
type Place struct {
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
}

// Check names the coordinate that is out of range.
func (p Place) Check(field string) error {
	if !(p.Lat >= -90 && p.Lat <= 90) {
		return Wrong(field+"lat", "must be between -90 and 90 degrees")
	}
	if !(p.Lon >= -180 && p.Lon <= 180) {
		return Wrong(field+"lon", "must be between -180 and 180 degrees")
	}
	return nil
}

// Point is a Place as a message says it: a coordinate that is missing or null
// is nil, and not 0, which is a place as good as any.
type Point struct {
	Lat *float64 `json:"lat,omitempty"`
	Lon *float64 `json:"lon,omitempty"`
}

// PointAt says a place.
func PointAt(p Place) *Point { return &Point{Lat: &p.Lat, Lon: &p.Lon} }

// Place returns the place of a Point that was checked. Adding 0 makes 0 of -0,
// which is the same place and is written otherwise.
func (p Point) Place() (at Place) {
	if p.Lat != nil && p.Lon != nil {
		at = Place{Lat: *p.Lat + 0, Lon: *p.Lon + 0}
	}
	return at
}

// Check names the coordinate that is missing or out of range.
func (p Point) Check(field string) error {
	var lat, lon error
	if p.Lat == nil {
		lat = Wrong(field+"lat", "is missing")
	}
	if p.Lon == nil {
		lon = Wrong(field+"lon", "is missing")
	}
	return All(lat, lon, p.Place().Check(field))
}

// Line is one product of an order. Name and Price are known once the store has
// reserved it; Price is for one piece, nil while it is not known.
type Line struct {
	Product  string `json:"product"`
	Quantity int    `json:"quantity"`
	Name     string `json:"name,omitempty"`
	Price    *Money `json:"price,omitempty"`
}

// Cost is what the line costs as far as is known.
func (l Line) Cost() Money {
	if l.Price == nil {
		return 0
	}
	return Money(l.Quantity) * *l.Price
}

// Shortage says how much of a product was wanted and how much could be had.
type Shortage struct {
	Product   string `json:"product"`
	Wanted    int    `json:"wanted"`
	Available int    `json:"available"`
}

// Verdicts.
const (
	Accepted = "accepted"
	Refused  = "refused"
)

// Codes of a refusal: what kind of reason it has, for programs.
const (
	CodeUnknown = "unknown" // what the command is about does not exist
	CodeVersion = "version" // the command's ifVersion is not the thing's version
	CodeReused  = "reused"  // the command's id names another command
	CodeShort   = "short"   // there is less than is wanted
	CodeStatus  = "status"  // it can't be done in the status of the thing
	CodeRefused = "refused" // any other
)

// Refusal is why a command is refused: a code, and a sentence for people. The
// zero Refusal refuses nothing.
type Refusal struct {
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Refuse builds a Refusal.
func Refuse(code, format string, args ...any) Refusal {
	return Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Because returns the Refusal of a reason that has no code of its own; an empty
// one refuses nothing.
func Because(reason string) (r Refusal) {
	if reason != "" {
		r = Refusal{Code: CodeRefused, Reason: reason}
	}
	return r
}

// Is reports whether anything is refused.
func (r Refusal) Is() bool { return r.Code != "" }

// CheckIfVersion says what is wrong with the version that a command wants a
// thing to have; nil wants none, 0 wants that the thing does not exist.
func CheckIfVersion(want *int) error {
	if want != nil && (*want < 0 || *want > MaxCount) {
		return Wrong("ifVersion", fmt.Sprintf("must be from 0 to %d: 0 where it must not exist yet", MaxCount))
	}
	return nil
}

// OtherVersion refuses a command that wants a thing to have another version than
// it has; a thing that does not exist has version 0. The thing is named as a
// reader would: order "o-1".
func OtherVersion(thing string, want *int, has int) (r Refusal) {
	switch {
	case want == nil || *want == has:
	case has == 0:
		r = Refuse(CodeVersion, "%s does not exist, and ifVersion is %d: only 0 fits", thing, *want)
	case *want == 0:
		r = Refuse(CodeVersion, "%s exists, in version %d, and ifVersion is 0: it must not exist yet", thing, has)
	default:
		r = Refuse(CodeVersion, "%s has version %d, and ifVersion is %d: read it again, then decide", thing, has, *want)
	}
	return r
}

// Verdict says what became of a command of a customer, a store or a rider. Its
// type repeats the verdict. Key is that of the command's record. Digest is the
// SHA-256 of what the command says, so that a reader knows which command is
// meant where two came under one id.
type Verdict struct {
	Meta
	CommandID string `json:"commandId"`
	Stream    string `json:"stream"`
	Key       string `json:"key"`
	Digest    string `json:"digest"`
	Verdict   string `json:"verdict"`
	Code      string `json:"code,omitempty"` // of a refusal, one of the codes
	Reason    string `json:"reason,omitempty"`
	// Version is that of the row that decided, once it had decided: a view of
	// that row shows what the verdict says from this version on.
	Version int `json:"version,omitzero"`
}

// Validate returns a FieldError for the first field that is missing or wrong.
func (v *Verdict) Validate() error {
	if err := CheckOneOf("type", v.Type, Accepted, Refused); err != nil {
		return err
	}
	if v.Verdict != v.Type {
		return Wrong("verdict", "must be the type again")
	}
	if err := CheckMadeID(v.ID); err != nil {
		return err
	}
	if v.CommandID == "" {
		return Wrong("commandId", "is missing")
	}
	var code error
	switch {
	case v.Type == Refused:
		code = CheckOneOf("code", v.Code, CodeUnknown, CodeVersion, CodeReused, CodeShort, CodeStatus, CodeRefused)
	case v.Code != "":
		code = Wrong("code", "is of a refusal, and this is none")
	}
	if v.Version < 0 || v.Version > MaxCount {
		return Wrong("version", fmt.Sprintf("must be from 0 to %d", MaxCount))
	}
	return cmp.Or(
		code,
		CheckText("commandId", v.CommandID, MaxCommandID),
		CheckText("stream", v.Stream, MaxName),
		CheckText("key", v.Key, MaxID),
		CheckText("digest", v.Digest, MaxDigest),
		CheckText("reason", v.Reason, MaxReply))
}

// NewVerdict builds the verdict on a command: refused for a reason, or accepted
// where there is none, by a row that has the version then. The stream is the
// contract's name, without an installation's prefix.
func NewVerdict(stream, key string, n Name, why Refusal, version int, at Time) Verdict {
	v := Verdict{CommandID: n.ID, Stream: stream, Key: key, Digest: n.Digest, Verdict: Accepted,
		Code: why.Code, Reason: why.Reason, Version: version}
	if why.Is() {
		v.Verdict = Refused
	}
	v.Meta = Meta{Type: v.Verdict, ID: key + "/verdict/" + stream + "/" + n.Mark + "/" + n.ID, At: at}
	return v
}

// Time is a point in time in milliseconds since 1970, written as RFC 3339 in
// UTC with milliseconds. The zero Time means: not known. Only the years 0 to
// 9999 can be written, and read.
type Time int64

const layout = "2006-01-02T15:04:05.000Z"

// At converts t, dropping what is below a millisecond.
func At(t time.Time) Time { return Time(t.UnixMilli()) }

// Time returns t for the standard library.
func (t Time) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// Add returns t later by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d.Milliseconds()) }

// Sub returns how much later t is than u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t-u) * time.Millisecond }

func (t Time) String() string { return t.Time().Format(layout) }

// AppendText implements encoding.TextAppender. Rows and messages are full of
// times: this takes a sixth of what time.Time.AppendFormat takes.
func (t Time) AppendText(b []byte) ([]byte, error) {
	u := t.Time()
	year, month, day := u.Date()
	if year < 0 || year > 9999 {
		return nil, fmt.Errorf("a time in the year %d can't be written: RFC 3339 has the years 0 to 9999", year)
	}
	hour, minute, second := u.Clock()
	ms := u.Nanosecond() / 1e6
	return append(b,
		'0'+byte(year/1000), '0'+byte(year/100%10), '0'+byte(year/10%10), '0'+byte(year%10), '-',
		'0'+byte(month/10), '0'+byte(month%10), '-',
		'0'+byte(day/10), '0'+byte(day%10), 'T',
		'0'+byte(hour/10), '0'+byte(hour%10), ':',
		'0'+byte(minute/10), '0'+byte(minute%10), ':',
		'0'+byte(second/10), '0'+byte(second%10), '.',
		'0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z'), nil
}

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText accepts any RFC 3339 time (section 5.6): T and Z in lower case,
// a leap second, which is the second after it, and any offset that leaves it in
// the years 0 to 9999 of UTC.
func (t *Time) UnmarshalText(b []byte) error {
	v, err := parseTime(string(b))
	if err != nil {
		return err
	}
	*t = At(v)
	return nil
}

func parseTime(text string) (time.Time, error) {
	s := strings.ToUpper(text)
	leap := len(s) > 19 && s[16:19] == ":60"
	if leap {
		s = s[:16] + ":59" + s[19:]
	}
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return v, fmt.Errorf("%q is not an RFC 3339 time such as 2026-01-02T15:04:05.000Z", Clip(text))
	}
	v = v.UTC()
	if leap {
		v = v.Add(time.Second)
		if v.Day() != 1 || v.Hour() != 0 || v.Minute() != 0 {
			return v, fmt.Errorf("%q is no time: a leap second is the last of a month", Clip(text))
		}
	}
	if y := v.Year(); y < 0 || y > 9999 {
		return v, fmt.Errorf("%q is in the year %d of UTC: only the years 0 to 9999 can be written", Clip(text), y)
	}
	return v, nil
}

// Duration is a span of time, written in Go's style (90s, 1h30m).
type Duration time.Duration

// String writes d as people do: 15m and not 15m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, nothing) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts what time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s or 15m", Clip(string(b)))
	}
	*d = Duration(v)
	return nil
}

// FieldError is one field of a message that is missing or wrong. Field is its
// path as people write it: lines[0].quantity.
type FieldError struct {
	Field   string
	Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Pointer returns the path of the field as a JSON pointer (RFC 6901):
// /lines/0/quantity.
func (e *FieldError) Pointer() string { return "/" + toPointer.Replace(e.Field) }

// A name that is no name of ours may hold what the pointer's own syntax needs.
var toPointer = strings.NewReplacer("~", "~0", "/", "~1", "[", "/", "]", "", ".", "/")

// Wrong builds a FieldError.
func Wrong(field, problem string) error { return &FieldError{Field: field, Problem: problem} }

// FieldErrors is the answer to a message of which several fields are missing or wrong.
type FieldErrors []*FieldError

func (e FieldErrors) Error() string {
	all := make([]string, len(e))
	for i := range e {
		all[i] = e[i].Error()
	}
	return strings.Join(all, "; ")
}

// Unwrap lets errors.As find the first of them.
func (e FieldErrors) Unwrap() []error {
	all := make([]error, len(e))
	for i := range e {
		all[i] = e[i]
	}
	return all
}

// MaxFieldErrors bounds how many wrong fields are named at once.
const MaxFieldErrors = 100

// All joins what was found wrong with the fields of a message: nil, the one
// error there is, or FieldErrors. An error that is about no field goes before
// those that are.
func All(errs ...error) error {
	n := 0
	for _, err := range errs {
		if err != nil {
			n++
		}
	}
	if n == 0 { // no message is wrong, as a rule
		return nil
	}
	var all FieldErrors
	for _, err := range errs {
		switch err := err.(type) {
		case nil:
		case *FieldError:
			all = append(all, err)
		case FieldErrors:
			all = append(all, err...)
		default:
			return err
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return all[:min(len(all), MaxFieldErrors)]
}

// WrongFields returns what err says of fields, or nil.
func WrongFields(err error) FieldErrors {
	var one *FieldError
	var all FieldErrors
	switch {
	case errors.As(err, &all):
		return all
	case errors.As(err, &one):
		return FieldErrors{one}
	}
	return nil
}

// WrongField returns the name of the first field that err complains about, if it does.
func WrongField(err error) (string, bool) {
	var fe *FieldError
	if errors.As(err, &fe) {
		return fe.Field, true
	}
	return "", false
}

// CheckID says what is wrong with an id: it must be UTF-8 of 1 to 200 bytes
// without control characters and without a slash, and not . or .., which no
// address can carry: clients take them for this path and the one above it.
func CheckID(field, id string) error {
	switch {
	case id == "":
		return Wrong(field, "is missing")
	case len(id) > MaxID:
		return Wrong(field, fmt.Sprintf("is %d bytes long: at most %d", len(id), MaxID))
	case !utf8.ValidString(id):
		return Wrong(field, "is not UTF-8")
	case id == "." || id == "..":
		return Wrong(field, fmt.Sprintf("must not be %q: no address can carry it", id))
	case strings.ContainsRune(id, '/'):
		return Wrong(field, "must not contain a slash")
	case strings.ContainsFunc(id, unicode.IsControl):
		return Wrong(field, "must not contain control characters")
	}
	return nil
}

// CheckLines says what is wrong with the lines of an order.
func CheckLines(lines []Line) error {
	if len(lines) == 0 {
		return Wrong("lines", "is missing: at least one product is ordered")
	}
	if len(lines) > MaxLines {
		return Wrong("lines", fmt.Sprintf("has %d entries: at most %d", len(lines), MaxLines))
	}
	seen := make(map[string]bool, len(lines))
	var all []error
	for i, l := range lines {
		product := CheckID("product", l.Product)
		if product == nil && seen[l.Product] {
			product = Wrong("product", fmt.Sprintf("%q is ordered twice: add the quantities up", l.Product))
		}
		all = append(all, Within(fmt.Sprintf("lines[%d].", i), All(product, CheckRange("quantity", l.Quantity, 1, MaxLineQuantity))))
		seen[l.Product] = true
	}
	return All(all...)
}

// CheckRange says what is wrong with a whole number.
func CheckRange(field string, n, least, most int) error {
	if n < least || n > most {
		return Wrong(field, fmt.Sprintf("must be from %d to %d", least, most))
	}
	return nil
}

// Within names where the fields are that err says are wrong.
func Within(prefix string, err error) error {
	if err == nil {
		return nil
	}
	var all []error
	for _, fe := range WrongFields(err) {
		all = append(all, Wrong(prefix+fe.Field, fe.Problem))
	}
	return All(all...)
}

// Total adds up the prices of lines.
func Total(lines []Line) (sum Money) {
	for _, l := range lines {
		sum += l.Cost()
	}
	return sum
}

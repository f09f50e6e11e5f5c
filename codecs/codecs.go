// Package codecs turns messages and rows into bytes and back. It is the one
// place that knows which JSON library is used.
package codecs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"baedal/domain"
)

// JSON encodes values of one type. It implements goka.Codec: Encode takes a *M
// or, unchanged, a []byte; Decode returns a *M. It is safe for concurrent use.
type JSON[M any] struct{}

// New returns an empty M. It gives the codec its type where a generic function
// must infer it.
func (JSON[M]) New() *M { return new(M) }

// Encode returns the JSON of value, which must be a *M or already encoded bytes.
func (JSON[M]) Encode(value any) ([]byte, error) {
	switch v := value.(type) {
	case []byte:
		return v, nil
	case *M:
		return Marshal(v)
	}
	return nil, fmt.Errorf("a %T was given to the codec of %T", value, (*M)(nil))
}

// Decode returns a *M. Unknown fields are ignored; an error names the field
// that has the wrong form. JSON's null is no message. One that can check itself
// or its name is checked, and a client's command is told its digest.
func (JSON[M]) Decode(data []byte) (any, error) {
	m, err := Decode[M](data)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Decode is JSON.Decode with a typed result.
func Decode[M any](data []byte) (*M, error) {
	data = WithoutMark(data)
	m := new(M)
	if err := Unmarshal(data, m); err != nil {
		return nil, WithRest(err, m)
	}
	if string(bytes.TrimSpace(data)) == "null" {
		return nil, errors.New("not the JSON of a message: null")
	}
	if v, ok := any(m).(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	if n, ok := any(m).(interface{ CheckName() error }); ok {
		if err := n.CheckName(); err != nil {
			return nil, err
		}
	}
	if d, ok := any(m).(interface{ SetDigest(string) }); ok {
		digest, err := Digest(data)
		if err != nil {
			return nil, err
		}
		d.SetDigest(digest)
	}
	return m, nil
}

// WithRest adds what Validate says of the other fields to what Unmarshal said of
// the form of some.
func WithRest(err error, m any) error {
	v, checks := m.(interface{ Validate() error })
	form := domain.WrongFields(err)
	if form == nil || !checks {
		return err
	}
	all := []error{err}
	for _, fe := range domain.WrongFields(v.Validate()) {
		if !slices.ContainsFunc(form, func(f *domain.FieldError) bool { return within(fe.Field, f.Field) }) {
			all = append(all, fe)
		}
	}
	return domain.All(all...)
}

// within reports whether a field is another one or a part of it.
func within(field, of string) bool {
	rest, is := strings.CutPrefix(field, of)
	return is && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Digest returns the SHA-256, in hex, of what a command says: of its JSON in the
// canonical form of RFC 8785, without id, at and verdict.
func Digest(data []byte) (string, error) {
	v := jsontext.Value(bytes.Clone(data))
	if err := v.Canonicalize(); err != nil {
		return "", fmt.Errorf("not the JSON of a message: %w", err)
	}
	d := jsontext.NewDecoder(bytes.NewReader(v))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return "", errors.New("not the JSON of a message: it is no object")
	}
	said := []byte{'{'}
	for d.PeekKind() == '"' {
		quoted, err := d.ReadValue()
		if err != nil {
			return "", err
		}
		name := string(quoted)
		value, err := d.ReadValue()
		if err != nil {
			return "", err
		}
		if slices.Contains(calling, name) {
			continue
		}
		if len(said) > 1 {
			said = append(said, ',')
		}
		said = append(append(append(said, name...), ':'), value...)
	}
	sum := sha256.Sum256(append(said, '}'))
	return hex.EncodeToString(sum[:]), nil
}

// calling are the fields that say how a command is called, since when it is so,
// and whether an answer is wanted.
var calling = []string{`"id"`, `"at"`, `"verdict"`}

// Marshal returns the JSON of v, of the same v always the same: maps are sorted.
func Marshal(v any) ([]byte, error) { return json.Marshal(v, sorted) }

var sorted = json.Deterministic(true)

// WithoutMark returns data without the byte order mark that may stand before
// UTF-8. It is not part of the text (RFC 8259, section 8.1, lets parsers skip it).
func WithoutMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

// Unmarshal fills v from JSON. Values of the wrong form are named, all of them:
// a domain.FieldError or domain.FieldErrors. The others are in v then.
func Unmarshal(data []byte, v any) error {
	data = WithoutMark(data)
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	if _, of := wrongForm(err, ""); of != nil {
		return cmp.Or(wrongForms(data, v), of)
	}
	var whole *json.SemanticError
	if errors.As(err, &whole) {
		return fmt.Errorf("not the JSON of a message: a JSON %s", kind(byte(whole.JSONKind)))
	}
	return fmt.Errorf("not the JSON of a message: %s", domain.Cut(err.Error(), maxError))
}

// wrongForms reads data into v once more, goes on after values of the wrong form,
// and returns what is wrong with them.
func wrongForms(data []byte, v any) error {
	var all []error
	each := json.UnmarshalFromFunc(func(d *jsontext.Decoder, p any) error {
		t := reflect.TypeOf(p).Elem()
		_, isText := p.(encoding.TextUnmarshaler)
		switch next := d.PeekKind(); {
		case t.Kind() == reflect.Pointer:
			return errors.ErrUnsupported
		case isText:
		case next == 'n', t.Kind() == reflect.Struct && next == '{', t.Kind() == reflect.Slice && next == '[':
			return errors.ErrUnsupported // its fields and entries come here, too
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := json.Unmarshal(value, p); err != nil {
			if _, wrong := wrongForm(err, string(d.StackPointer())); wrong != nil && len(all) < domain.MaxFieldErrors {
				all = append(all, wrong)
			}
		}
		return nil
	})
	if err := json.Unmarshal(data, v, json.WithUnmarshalers(each)); err != nil {
		return nil
	}
	return domain.All(all...)
}

// wrongForm returns what err says of a value: where it is, from an outer place on.
func wrongForm(err error, at string) (field string, wrong error) {
	var se *json.SemanticError
	if !errors.As(err, &se) || at == "" && se.JSONPointer == "" {
		return "", nil
	}
	field = fieldOf(at + string(se.JSONPointer))
	switch got, want := kind(byte(se.JSONKind)), wanted(se.GoType); {
	case errors.Is(se.Err, strconv.ErrRange):
		return field, domain.Wrong(field, "is a number out of range")
	case got == want && se.Err != nil:
		return field, domain.Wrong(field, domain.Cut(se.Err.Error(), maxError))
	case got == "number" && want == wholeNumber:
		return field, domain.Wrong(field, "must be a whole number, written without a fraction or an exponent")
	default:
		return field, domain.Wrong(field, fmt.Sprintf("must be a %s, not a JSON %s", want, got))
	}
}

const wholeNumber = "whole number"

// wanted names the form that a value of type t has in JSON.
func wanted(t reflect.Type) string {
	switch {
	case t == nil:
		return "value"
	case t.Kind() == reflect.Pointer:
		return wanted(t.Elem())
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()), t.Kind() == reflect.String:
		return "string"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return wholeNumber
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Slice:
		return "JSON array"
	}
	return "JSON object"
}

// fieldOf spells a JSON pointer as Validate does: lines[0].quantity.
func fieldOf(pointer string) string {
	var field strings.Builder
	for i, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch _, err := strconv.ParseUint(part, 10, 32); {
		case err == nil && i > 0:
			part = "[" + part + "]"
		case i > 0:
			part = "." + part
		}
		field.WriteString(part)
	}
	return field.String()
}

// maxError keeps an error from quoting a message at length: it goes into a header.
const maxError = 500

func kind(k byte) string {
	switch k {
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "value"
}

// Raw passes bytes through: dead letters keep what came as it came.
type Raw struct{}

// Encode returns value, which must be a []byte or nil.
func (Raw) Encode(value any) ([]byte, error) {
	b, ok := value.([]byte)
	if !ok && value != nil {
		return nil, fmt.Errorf("a %T was given to the codec of bytes", value)
	}
	return b, nil
}

// Decode returns data.
func (Raw) Decode(data []byte) (any, error) { return data, nil }

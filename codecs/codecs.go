// Package codecs turns messages and rows into bytes and back. It is the one
// place that knows which JSON library is used.
package codecs

import (
	"bytes"
	"crypto/sha256"
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
		return nil, err
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

// Unmarshal fills v from JSON. A value of the wrong form is a
// domain.FieldError that names the field.
func Unmarshal(data []byte, v any) error {
	data = WithoutMark(data)
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var se *json.SemanticError
	if errors.As(err, &se) && se.JSONPointer != "" {
		field := strings.ReplaceAll(strings.TrimPrefix(string(se.JSONPointer), "/"), "/", ".")
		switch whole := se.GoType != nil && se.GoType.Kind() >= reflect.Int && se.GoType.Kind() <= reflect.Uint64; {
		case errors.Is(se.Err, strconv.ErrRange):
			return domain.Wrong(field, "is a number out of range")
		case whole && errors.Is(se.Err, strconv.ErrSyntax):
			return domain.Wrong(field, "must be a whole number, written without a fraction or an exponent")
		case se.Err != nil:
			return domain.Wrong(field, domain.Cut(se.Err.Error(), maxError))
		}
		return domain.Wrong(field, fmt.Sprintf("must not be a JSON %s", kind(byte(se.JSONKind))))
	}
	return fmt.Errorf("not the JSON of a message: %s", domain.Cut(err.Error(), maxError))
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

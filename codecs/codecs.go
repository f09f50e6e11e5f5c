// Package codecs turns messages and rows into bytes and back. It is the one
// place that knows which JSON library is used.
package codecs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

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
// is checked.
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
	return m, nil
}

// Marshal returns the JSON of v.
func Marshal(v any) ([]byte, error) { return json.Marshal(v) }

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
		if se.Err != nil {
			return domain.Wrong(field, se.Err.Error())
		}
		return domain.Wrong(field, fmt.Sprintf("must not be a JSON %s", kind(byte(se.JSONKind))))
	}
	return fmt.Errorf("not the JSON of a message: %w", err)
}

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

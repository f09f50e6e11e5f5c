package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// saying returns the SHA-256, in hex, of what a command says: of its JSON in the
// canonical form of RFC 8785, without id, at and verdict.
func saying(value []byte) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(value, byteOrderMark)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return "", errors.New("it is no object")
	}
	for _, field := range []string{"id", "at", "verdict"} {
		delete(m, field)
	}
	var b strings.Builder
	canonical(&b, m)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:]), nil
}

func canonical(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		for i, k := range slices.SortedFunc(maps.Keys(v), func(x, y string) int {
			return slices.CompareFunc(utf16.Encode([]rune(x)), utf16.Encode([]rune(y)), cmp.Compare[uint16])
		}) {
			b.WriteByte("{,"[min(i, 1)])
			quote(b, k)
			b.WriteByte(':')
			canonical(b, v[k])
		}
		if len(v) == 0 {
			b.WriteByte('{')
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			canonical(b, e)
		}
		b.WriteByte(']')
	case string:
		quote(b, v)
	case json.Number:
		f, _ := strconv.ParseFloat(v.String(), 64)
		if math.IsInf(f, 0) { // there is none beyond the largest
			f = math.Copysign(math.MaxFloat64, f)
		}
		if f == 0 {
			f = 0 // JavaScript's -0
		}
		data, _ := json.Marshal(f) // as RFC 8785 asks for, but for the two above
		b.Write(data)
	default:
		data, _ := json.Marshal(v)
		b.Write(data)
	}
}

func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch i := strings.IndexRune("\b\t\n\f\r\"\\", r); {
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte(`btnfr"\`[i])
		case r < ' ':
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

package domain

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The bounds of all fields. Rows and messages are built from fields, so these
// bound them too: what a row holds at most, written as JSON, is shorter than a
// record may be (see TestFits in package processors). In bytes where not said otherwise.
const (
	MaxID        = 200 // of a thing, and of a command as its client names it
	MaxCommandID = 300 // of a command as it is known again: TOPIC/PARTITION/OFFSET may stand in for its id
	MaxMadeID    = 640 // of a message that Baedal makes: it joins two things, or a thing and a command
	MaxMark      = 11  // of a name; see Hash64
	MaxDigest    = 64  // SHA-256 in hex

	MaxName   = 500  // of a store, a product or a person; no control characters
	MaxText   = 1000 // of an address, or a note
	MaxPhone  = 50   // a number as people write it
	MaxReason = 1000 // of a command
	MaxTold   = 1100 // of an event: a command's reason, and whose it is
	MaxURL    = 2000

	MaxWhy    = 200  // a gateway's reason
	MaxReply  = 5000 // a refusal, which may quote ids and what was said
	MaxPhrase = 5000 // a sentence for people

	MaxLines        = 100       // of an order, each another product
	MaxLineQuantity = 1_000_000 // of one line
	MaxQuantity     = 1_000_000_000

	MaxPrice = Money(10_000_000_000)
	MaxTotal = MaxLines * MaxLineQuantity * MaxPrice // 10^18, and fits

	MaxAttempts = 9             // of one order
	MaxCount    = 1_000_000_000 // versions, shifts, tries

	MaxCookingTime = Duration(24 * time.Hour) // a slip must not make an order wait for days
)

// CheckLabel says what is wrong with a name for people that is needed.
func CheckLabel(field, name string) error {
	switch {
	case name == "":
		return Wrong(field, "is missing")
	case len(name) > MaxName:
		return Wrong(field, fmt.Sprintf("must be 1 to %d bytes long", MaxName))
	case strings.ContainsFunc(name, unicode.IsControl):
		return Wrong(field, "must not contain control characters")
	}
	return CheckText(field, name, MaxName)
}

// CheckNeeded says that a text is missing.
func CheckNeeded(field, text string) error {
	if text == "" {
		return Wrong(field, "is missing")
	}
	return nil
}

// Optional checks a value if there is one.
func Optional[T any](v *T, check func(T) error) error {
	if v == nil {
		return nil
	}
	return check(*v)
}

// CheckText says what is wrong with a text that may be left out.
func CheckText(field, text string, most int) error {
	if len(text) > most {
		return Wrong(field, fmt.Sprintf("is longer than %d bytes", most))
	}
	if !utf8.ValidString(text) {
		return Wrong(field, "is not UTF-8")
	}
	return nil
}

// CheckPhone says what is wrong with a telephone number that may be left out.
func CheckPhone(field, number string) error {
	if strings.ContainsFunc(number, unicode.IsControl) {
		return Wrong(field, "must not contain control characters")
	}
	return CheckText(field, number, MaxPhone)
}

// CheckMadeID says what is wrong with the id of a message that Baedal makes,
// whatever it is about: see CheckName.
func CheckMadeID(id string) error { return CheckText("id", id, MaxMadeID) }

// CheckCount says what is wrong with a number that counts from 1.
func CheckCount(field string, n, most int) error {
	if n < 1 {
		return Wrong(field, "must be 1 or more")
	}
	if n > most {
		return Wrong(field, fmt.Sprintf("must be at most %d", most))
	}
	return nil
}

// CheckMoney says what is wrong with an amount that is needed.
func CheckMoney(field string, m *Money, most Money) error {
	if m == nil {
		return Wrong(field, "is missing")
	}
	if *m < 0 || *m > most {
		return Wrong(field, fmt.Sprintf("must be from 0 to %d", most))
	}
	return nil
}

// CheckCookingTime says what is wrong with a cooking time that was said.
func CheckCookingTime(field string, d Duration) error {
	if d < 0 || d > MaxCookingTime {
		return Wrong(field, "must be from 0s to 24h")
	}
	return nil
}

// CheckPriced says what is wrong with lines as a store has reserved them.
func CheckPriced(lines []Line) error {
	all := []error{CheckLines(lines)}
	for i, l := range lines[:min(len(lines), MaxLines)] {
		all = append(all, Within(fmt.Sprintf("lines[%d].", i), All(CheckLabel("name", l.Name), CheckMoney("price", l.Price, MaxPrice))))
	}
	return All(all...)
}

// CheckShort says what is wrong with a list of what is short.
func CheckShort(short []Shortage) error {
	if len(short) > MaxLines {
		return Wrong("short", fmt.Sprintf("has %d entries: at most %d", len(short), MaxLines))
	}
	var all []error
	for i, s := range short {
		all = append(all, Within(fmt.Sprintf("short[%d].", i), All(CheckID("product", s.Product),
			CheckRange("wanted", s.Wanted, 0, MaxQuantity), CheckRange("available", s.Available, 0, MaxQuantity))))
	}
	return All(all...)
}

// CheckOneOf says what is wrong with a word that must be one of a list.
func CheckOneOf(field, word string, all ...string) error {
	for _, w := range all {
		if w == word {
			return nil
		}
	}
	return Wrong(field, fmt.Sprintf("%q must be one of %s", Clip(word), strings.Join(all, ", ")))
}

// Clip keeps a long word from making its own refusal long.
func Clip(s string) string { return Cut(s, 50) }

// Cut returns s, or as much of its beginning as fits into n bytes.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Written returns how many bytes a string takes in JSON, quotes included. Rows
// that are bounded in bytes count with it.
func Written(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f':
			n++
		case c < ' ':
			n += 5
		}
	}
	return n
}

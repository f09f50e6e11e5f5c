package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"baedal/api"
	"baedal/deadletters"
	"baedal/stream"
)

func TestDeadLetters_Usage(t *testing.T) {
	for says, args := range map[string][]string{
		"list, show or replay?":          {},
		"--limit":                        {"list", "--limit", "-1"},
		`--format "xml"`:                 {"list", "--format", "xml"},
		"show which?":                    {"show"},
		`"3-17" is no dead letter`:       {"show", "3-17"},
		"replay which?":                  {"replay"},
		"Either --all, or --only":        {"replay", "--all", "--only", "key=x"},
		`--only: "color=red" is not KEY`: {"replay", "--only", "color=red"},
		"--only: since=x":                {"replay", "--only", "since=x"},
		"--partitions":                   {"replay", "--all", "--partitions", "0"},
	} {
		var stderr bytes.Buffer
		code := Main(t.Context(), append([]string{"dead-letters"}, args...), &bytes.Buffer{}, &stderr)
		assert.Equal(t, exitUsage, code, "%v", args)
		assert.Contains(t, stderr.String(), says)
	}
	var stderr bytes.Buffer
	assert.Equal(t, exitFailed, Main(t.Context(), []string{"dead-letters", "list", "--brokers", "127.0.0.1:1"}, &bytes.Buffer{}, &stderr))
	assert.Contains(t, stderr.String(), "check --brokers")
}

// A dead letter may hold anything, and a terminal obeys what it is given.
func TestAsText(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "(empty)",
		"{\"a\":\n\t\"배달\"}":  "{\"a\":\n\t\"배달\"}",
		"\xff\x00":            "(no UTF-8, in base64) /wA=",
		"red \x1b[31m":        `(with control characters, quoted) "red \x1b[31m"`,
		"C1 \u009b31m is one": `(with control characters, quoted) "C1 \u009b31m is one"`,
	} {
		assert.Equal(t, want, asText([]byte(in)))
	}
	assert.Equal(t, "null", asText(nil))
	assert.Equal(t, "a b c�", oneLine("a\nb\x1bc\xff"))
	assert.Equal(t, "-", oneLine(""))
}

// Of a message that is not in its letter, it is said where it lies and how it begins.
func TestDeadLetters_ShowsWhereItLies(t *testing.T) {
	l := &deadletters.Letter{From: deadletters.Source{Topic: "order-commands", Partition: 3, Offset: 17}, Away: true, Size: 1_010_000, Head: []byte("배달")[:4]}
	var out bytes.Buffer
	assert.NoError(t, writeLetter(&out, l))
	assert.Contains(t, out.String(), "value, 1010000 bytes, lies at order-commands/3/17 while retention keeps it; it begins with: 배\n")
	j := wholeLetterJSON(l)
	assert.Equal(t, int64(1_010_000), j["size"])
	assert.Equal(t, []byte("배달")[:4], j["headBase64"])
	assert.Nil(t, j["value"])
	assert.NotContains(t, letterJSON(&deadletters.Letter{Value: []byte("x"), Size: 1}), "size")
}

func TestSent(t *testing.T) {
	assert.NoError(t, sent(nil))
	assert.ErrorIs(t, sent(fmt.Errorf("x: %w", stream.ErrTooLong)), api.ErrTooLong)
	assert.NotErrorIs(t, sent(errors.New("another")), api.ErrTooLong)
}

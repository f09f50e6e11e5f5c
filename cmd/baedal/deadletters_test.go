package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
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

package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = ".."

// Whoever changes the code that a bug is planted in must refresh its patch.
func TestPlanted_Apply(t *testing.T) {
	all, err := patches()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			changed, err := p.apply(root)
			require.NoError(t, err)
			for file, text := range changed {
				data, err := os.ReadFile(filepath.Join(root, file))
				require.NoError(t, err)
				assert.NotEqual(t, string(data), text, file)
				_, err = parser.ParseFile(token.NewFileSet(), file, text, 0)
				assert.NoError(t, err)
			}
			assert.NotContains(t, p.why, "TODO")
		})
	}
}

// The compiler has its say, too: a variable may have another name by now.
func TestPlanted_Build(t *testing.T) {
	if testing.Short() {
		t.Skip("a build for each bug")
	}
	all, err := patches()
	require.NoError(t, err)
	for _, p := range all {
		assert.NoError(t, p.goWithBug(t.Context(), root, t.TempDir(), append([]string{"build"}, p.packages()...)...))
	}
}

// A patch that no longer applies, or makes a tree that does not build, says so and names itself.
func TestPatch_FailsLoudly(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o644))
	source := "package m\n\nfunc f() int {\n\treturn 1\n}\n\nfunc g() int {\n\treturn 1\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.go"), []byte(source), 0o644))
	for name, c := range map[string]struct{ body, want string }{
		"moved":     {"@@ -90,2 +90,2 @@\n func g() int {\n-\treturn 1\n+\treturn 2\n", ""},
		"gone":      {"@@ -3,2 +3,2 @@\n func f() int {\n-\treturn 7\n+\treturn 2\n", "fits 0 places in m.go"},
		"anywhere":  {"@@ -4,1 +4,1 @@\n-\treturn 1\n+\treturn 2\n", "fits 2 places in m.go"},
		"half-line": {"@@ -4,1 +4,1 @@\n-unc f() int {\n+\treturn 2\n", "fits 0 places in m.go"},
		"unbuilt":   {"@@ -3,2 +3,2 @@\n func f() int {\n-\treturn 1\n+\treturn nothing\n", "does not build"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parsePatch(name, "A bug.\n\n--- a/m.go\n+++ b/m.go\n"+c.body)
			require.NoError(t, err)
			require.Equal(t, "A bug.", p.why)
			err = p.goWithBug(t.Context(), dir, t.TempDir(), "build", "./...")
			if c.want == "" {
				require.NoError(t, err)
				changed, _ := p.apply(dir)
				require.True(t, strings.HasSuffix(changed["m.go"], "func g() int {\n\treturn 2\n}\n"), changed["m.go"])
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "chaos/planted/"+name+".patch")
		})
	}
	_, err := parsePatch("empty", "A bug.\n")
	require.ErrorContains(t, err, "chaos/planted/empty.patch")
	_, err = patchByName("unheard-of")
	require.ErrorContains(t, err, "unheard-of")
}

// A bug that nobody hunts would count as found.
func TestHunts_AllBugs(t *testing.T) {
	hunted := map[string]bool{}
	for _, h := range hunts {
		assert.False(t, hunted[h.bug], "%s is hunted twice", h.bug)
		hunted[h.bug] = true
		assert.Contains(t, faultNames(), h.fault)
		assert.NotEmpty(t, h.steps, h.bug)
		_, err := patchByName(h.bug)
		assert.NoError(t, err)
	}
	all, err := patches()
	require.NoError(t, err)
	for _, p := range all {
		assert.True(t, hunted[p.name], p.name)
	}
}

package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// arrows is what of ours each part may import, beside itself: docs/architecture.md.
// Tests may import more.
var arrows = map[string][]string{
	"domain":             {},
	"codecs":             {"domain"},
	"topics":             {"codecs", "domain"},
	"internal/failpoint": {},
	"internal/machine":   {},
	"state":              {"internal/failpoint", "internal/machine"},
	"internal/unpack":    {},
	"stream":             {"state", "internal/failpoint", "internal/unpack"},
	"processors":         {"stream", "topics", "codecs", "domain"},
	"views":              {"state", "topics", "codecs", "domain"},
	"api":                {"views", "deadletters", "codecs", "domain"},
	"broker":             {"topics", "internal/machine"},
	"audit":              {"topics"}, // it shares no rule with the engine
}

func TestArrows(t *testing.T) {
	const root, module = "..", "baedal/"
	fset := token.NewFileSet()
	for part, may := range arrows {
		files := 0
		err := filepath.WalkDir(filepath.Join(root, part), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			files++
			f, err := parser.ParseFile(fset, name, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, i := range f.Imports {
				imported, _ := strconv.Unquote(i.Path.Value)
				of, ours := strings.CutPrefix(imported, module)
				if !ours {
					continue
				}
				allowed := slices.ContainsFunc(append(may, part), func(m string) bool { return of == m || strings.HasPrefix(of, m+"/") })
				assert.True(t, allowed, "%s imports %s, and %s may import %v only", filepath.ToSlash(path.Clean(name)), imported, part, may)
			}
			return nil
		})
		require.NoError(t, err)
		require.NotZero(t, files, part)
	}
}

package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page asks this server alone, and its policy lets it ask nobody else.
func TestDocs(t *testing.T) {
	w := httptest.NewRecorder()
	require.NoError(t, docs(w, httptest.NewRequest("GET", "/docs", nil)))
	policy := w.Header().Get("Content-Security-Policy")
	require.True(t, strings.HasPrefix(policy, "default-src 'none'; "), policy)
	require.NotContains(t, policy, "http")
	require.NotContains(t, policy, "*")
	for _, m := range regexp.MustCompile(`(?:src|href|spec-url)="([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		require.True(t, strings.HasPrefix(m[1], "/") && !strings.HasPrefix(m[1], "//"), m[1])
	}
	require.Contains(t, w.Body.String(), `spec-url="/openapi.yaml"`)
}

// The script is the one whose origin is noted.
func TestDocs_Renderer(t *testing.T) {
	origin, err := os.ReadFile("docs/ORIGIN.txt")
	require.NoError(t, err)
	sum := sha256.Sum256(docsScript)
	require.Contains(t, string(origin), "sha256 "+hex.EncodeToString(sum[:])+"\n")
}

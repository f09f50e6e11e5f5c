package api

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Every route is described, and everything described is there.
func TestOpenAPI(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	require.NoError(t, yaml.Unmarshal(openAPIDocument, &doc))
	var described []string
	ids := map[any]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			if method == "parameters" {
				continue
			}
			described = append(described, strings.ToUpper(method)+" "+path)
			id := op.(map[string]any)["operationId"]
			require.NotNil(t, id, path)
			require.False(t, ids[id], "operationId %v is used twice", id)
			ids[id] = true
		}
	}

	var served []string
	for _, rt := range (&server{Deps: Deps{Metrics: prometheus.DefaultGatherer, Logger: slog.Default()}}).routes() {
		path, _ := rt.split()
		served = append(served, rt.method+" "+path)
	}
	slices.Sort(served)
	slices.Sort(described)
	require.Equal(t, served, described)
}

// Every reference leads to something.
func TestOpenAPI_References(t *testing.T) {
	var doc map[string]any
	require.NoError(t, yaml.Unmarshal(openAPIDocument, &doc))
	seen := 0
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if k != "$ref" {
					walk(e)
					continue
				}
				seen++
				var at any = doc
				for name := range strings.SplitSeq(strings.TrimPrefix(e.(string), "#/"), "/") {
					m, ok := at.(map[string]any)
					require.True(t, ok && m[name] != nil, "%s leads nowhere", e)
					at = m[name]
				}
			}
		}
	}
	walk(doc)
	require.Greater(t, seen, 100)
}

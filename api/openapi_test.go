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

// operation is one of the document.
type operation struct {
	ID     string
	Params []string // of its query
}

// described reads the operations of the document by METHOD PATH.
func described(t *testing.T) map[string]operation {
	type param struct {
		Ref  string `yaml:"$ref"`
		Name string `yaml:"name"`
		In   string `yaml:"in"`
	}
	var doc struct {
		Paths      map[string]map[string]yaml.Node `yaml:"paths"`
		Components struct {
			Parameters map[string]param `yaml:"parameters"`
		} `yaml:"components"`
	}
	require.NoError(t, yaml.Unmarshal(openAPIDocument, &doc))
	all, ids := map[string]operation{}, map[string]bool{}
	for path, item := range doc.Paths {
		for method, node := range item {
			if method == "parameters" {
				continue
			}
			var op struct {
				ID         string  `yaml:"operationId"`
				Parameters []param `yaml:"parameters"`
			}
			require.NoError(t, node.Decode(&op))
			require.NotEmpty(t, op.ID, path)
			require.False(t, ids[op.ID], "operationId %v is used twice", op.ID)
			ids[op.ID] = true
			o := operation{ID: op.ID}
			for _, p := range op.Parameters {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
					p = doc.Components.Parameters[name]
				}
				if p.In == "query" {
					o.Params = append(o.Params, p.Name)
				}
			}
			slices.Sort(o.Params)
			all[strings.ToUpper(method)+" "+path] = o
		}
	}
	return all
}

// Every route is described with its query parameters, and everything described is there.
func TestOpenAPI(t *testing.T) {
	all := described(t)
	served := map[string]bool{}
	for _, rt := range (&server{Deps: Deps{Metrics: prometheus.DefaultGatherer, Logger: slog.Default()}}).routes() {
		path, params := rt.split()
		key := rt.method + " " + path
		op, ok := all[key]
		require.True(t, ok, "%s is served and not described", key)
		served[key] = true
		slices.Sort(params)
		require.Equal(t, op.Params, params, "%s: query parameters", key)
	}
	for key, op := range all {
		require.True(t, served[key], "%s (%s) is described and not served", key, op.ID)
	}
}

// The document names every type of problem.
func TestOpenAPI_Problems(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct {
						Type struct {
							Enum []string `yaml:"enum"`
						} `yaml:"type"`
					} `yaml:"properties"`
				} `yaml:"Problem"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	require.NoError(t, yaml.Unmarshal(openAPIDocument, &doc))
	var all []string
	for _, k := range kinds {
		all = append(all, k.path())
	}
	require.ElementsMatch(t, all, doc.Components.Schemas.Problem.Properties.Type.Enum)
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

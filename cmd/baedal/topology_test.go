package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/topics"
)

// Every topic of the catalogue is somebody's, and every topic of a group is in the
// catalogue.
func TestTopology_Whole(t *testing.T) {
	c := topics.New("p.", 4)
	top := newTopology(c)
	require.Len(t, top.Groups, len(topics.Groups))
	known, used := map[string]bool{}, map[string]bool{}
	for _, s := range top.Topics {
		known[s.Topic] = true
	}
	for _, g := range top.Groups {
		require.NotEmpty(t, g.Reads, g.Group)
		for _, name := range slices.Concat(g.Reads, g.Writes, []string{g.DeadLetters}) {
			require.True(t, known[name], "%s: %s", g.Group, name)
			used[name] = true
		}
		for _, name := range []string{g.Loop, g.Table} {
			if name != "" {
				require.True(t, known[name], "%s: %s", g.Group, name)
				used[name] = true
			}
		}
	}
	require.Equal(t, known, used)
	require.Equal(t, "p.order-commands", c.OrderCommands.Name())
	require.Contains(t, top.Groups[slices.Index(topics.Groups, topics.Orders)].Reads, "p.order-commands")
}

// What mermaid is given has a node for each end of an arrow.
func TestTopology_Mermaid(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, newTopology(topics.New("", 4)).writeMermaid(&b))
	require.True(t, strings.HasPrefix(b.String(), "flowchart LR\n"))
	nodes := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  ([gt]\d+)(?:\[|\()`).FindAllStringSubmatch(b.String(), -1) {
		require.False(t, nodes[m[1]], "%s is drawn twice", m[1])
		nodes[m[1]] = true
	}
	arrows := regexp.MustCompile(`(?m)^  (\S+) <?--> (\S+)$`).FindAllStringSubmatch(b.String(), -1)
	require.Greater(t, len(arrows), 30)
	for _, a := range arrows {
		require.True(t, nodes[a[1]] && nodes[a[2]], a[0])
	}
}

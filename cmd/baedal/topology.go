package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"baedal/domain/order"
	"baedal/processors"
	"baedal/stream"
	"baedal/topics"
)

// topology is every group with what it reads and writes, and every topic. It comes
// from the definitions that the engine runs.
type topology struct {
	Groups []stream.Wiring `json:"groups"`
	Topics []topics.Spec   `json:"topics"`
}

func topologyCommand() *cobra.Command {
	s := &settings{partitions: 1} // how many there are does not show
	cmd := s.judged(&cobra.Command{
		Use:   "topology",
		Short: "Draw the groups, and what they read and write",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := newTopology(s.catalog())
			switch s.format {
			case "json":
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(t)
			case "mermaid":
				return t.writeMermaid(cmd.OutOrStdout())
			}
			return t.writeText(cmd.OutOrStdout())
		},
	})
	s.prefixFlag(cmd.Flags())
	s.formatFlag(cmd.Flags(), "mermaid")
	return cmd
}

func newTopology(c *topics.Catalog) topology {
	t := topology{Topics: c.All()}
	all := processors.All(c, processors.Settings{Orders: order.DefaultSettings()})
	for _, name := range topics.Groups {
		t.Groups = append(t.Groups, stream.WiringOf(all[name]))
	}
	return t
}

func (t topology) writeText(w io.Writer) error {
	var b strings.Builder
	for _, g := range t.Groups {
		fmt.Fprintf(&b, "%s\n", g.Group)
		for _, line := range []struct{ what, topics string }{
			{"reads", strings.Join(g.Reads, ", ")}, {"itself", g.Loop}, {"writes", strings.Join(g.Writes, ", ")}, {"table", g.Table},
		} {
			if line.topics != "" {
				fmt.Fprintf(&b, "  %-7s %s\n", line.what, line.topics)
			}
		}
	}
	fmt.Fprintf(&b, "What a group can't handle it writes to %s.\n", t.Groups[0].DeadLetters)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeMermaid leaves dead letters out: all groups write to them.
func (t topology) writeMermaid(w io.Writer) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	topic := func(name string) string {
		i := slices.IndexFunc(t.Topics, func(s topics.Spec) bool { return s.Topic == name })
		return fmt.Sprintf("t%d", i)
	}
	drawn := map[string]bool{}
	for i, g := range t.Groups {
		node := fmt.Sprintf("g%d", i)
		fmt.Fprintf(&b, "  %s([%q])\n", node, g.Group)
		for _, name := range slices.Concat(g.Reads, g.Writes, []string{g.Loop, g.Table}) {
			if name == "" || drawn[name] {
				continue
			}
			drawn[name] = true
			shape := "  %s[%q]\n"
			if name == g.Table {
				shape = "  %s[(%q)]\n"
			}
			fmt.Fprintf(&b, shape, topic(name), name)
		}
		for _, name := range g.Reads {
			fmt.Fprintf(&b, "  %s --> %s\n", topic(name), node)
		}
		for _, name := range g.Writes {
			fmt.Fprintf(&b, "  %s --> %s\n", node, topic(name))
		}
		for _, name := range []string{g.Loop, g.Table} {
			if name != "" {
				fmt.Fprintf(&b, "  %s <--> %s\n", node, topic(name))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var root = filepath.Join("..", "..")

// documents returns all that tells people which flags there are.
func documents(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "docker-compose.yml", "Makefile", "deploy/*", ".ci/run"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.IsDir() || strings.HasSuffix(f, ".go") {
				continue
			}
			data, err := os.ReadFile(f)
			require.NoError(t, err)
			all[f] = string(data)
		}
	}
	return all
}

// row is a line of the table of settings.
type row struct {
	flags, defaults []string
	commands        []string
}

func settingsTable(t *testing.T) (rows []row) {
	_, text, found := strings.Cut(documents(t)[filepath.Join(root, "docs", "operations.md")], "| flag | default | where | what |\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n\n")
	letters := map[string]string{"u": "up", "r": "run", "a": "api"}
	for _, line := range strings.Split(text, "\n")[1:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		require.Len(t, cells, 4, line)
		r := row{flags: regexp.MustCompile("--[a-z-]+").FindAllString(cells[0], -1), defaults: strings.Split(cells[1], ", ")}
		if len(r.flags) == 1 {
			r.defaults = []string{cells[1]}
		}
		require.Len(t, r.defaults, len(r.flags), "one default for each flag: %s", line)
		for _, where := range strings.Split(cells[2], ", ") {
			for _, word := range strings.Fields(where) {
				if letters[word] != "" {
					where = strings.Replace(where, word, letters[word], 1)
					r.commands = append(r.commands, "baedal "+letters[word])
				}
			}
			if !strings.HasPrefix(where, "up ") && where != "up" && where != "run" && where != "api" {
				cmd, rest, err := command().Find(strings.Fields(where))
				require.NoError(t, err, line)
				require.Empty(t, rest, line)
				for _, leaf := range leaves(cmd) {
					r.commands = append(r.commands, leaf.CommandPath())
				}
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// The table of settings has every flag of every command with its default, and none
// that there is not.
func TestDocs_Settings(t *testing.T) {
	told := map[string]string{} // default by command and flag
	for _, r := range settingsTable(t) {
		for i, flag := range r.flags {
			for _, cmd := range r.commands {
				_, twice := told[cmd+" "+flag]
				assert.False(t, twice, "%s %s is told twice", cmd, flag)
				told[cmd+" "+flag] = r.defaults[i]
			}
		}
	}
	each(command(), func(cmd *cobra.Command) {
		for _, f := range flagsOf(cmd) {
			name := cmd.CommandPath() + " --" + f.Name
			says, ok := told[name]
			assert.True(t, ok, "docs/operations.md does not tell of %s", name)
			assert.Contains(t, says, defaultOf(f), name)
			delete(told, name)
		}
	})
	assert.Empty(t, told, "docs/operations.md tells of flags that there are not")
}

// defaultOf returns the default as people read it.
func defaultOf(f *pflag.Flag) string {
	if m := regexp.MustCompile(`\(default:? ([^\s,;)]+)`).FindStringSubmatch(f.Usage); m != nil {
		return m[1]
	}
	switch d := f.DefValue; {
	case f.Name == "groups":
		return "all"
	case d == "" || d == "[]":
		return "none"
	case f.Value.Type() == "duration":
		d = regexp.MustCompile(`([hm])0s$`).ReplaceAllString(d, "$1")
		return regexp.MustCompile(`h0m$`).ReplaceAllString(d, "h")
	default:
		return d
	}
}

// What is to be pasted works: the command is there, and has the flags.
func TestDocs_CommandLines(t *testing.T) {
	line := regexp.MustCompile("(?:bin/|`|\\$\\(BIN\\) |exec )(?:baedal )?((?:up|run|api|topics|load|replay|audit|dead-letters|topology|reset|version|gateway|webhooks|top|explain|export|import)\\b[^`#\n|&]*)")
	seen := 0
	for file, text := range documents(t) {
		for _, m := range line.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[0], "baedal ") && !strings.Contains(m[0], "BIN") {
				continue
			}
			cmd, rest, err := command().Find(strings.Fields(m[1]))
			if !assert.True(t, err == nil && cmd != cmd.Root(), "%s: %s: there is no such command", file, m[0]) {
				continue
			}
			for _, flag := range regexp.MustCompile(`(^|\s)--([a-z-]+)`).FindAllStringSubmatch(strings.Join(rest, " "), -1) {
				seen++
				has := slices.ContainsFunc(append(flagsOf(cmd), &pflag.Flag{Name: "help"}), func(f *pflag.Flag) bool { return f.Name == flag[2] })
				assert.True(t, has, "%s: %q: %s has no --%s", file, m[0], cmd.CommandPath(), flag[2])
			}
		}
	}
	assert.Greater(t, seen, 30, "the lines are found")
}

// Every flag and variable that is told of is there.
func TestDocs_NoFlagsOfNobody(t *testing.T) {
	flags, variables := map[string]bool{}, map[string]bool{"BAEDAL_TEST_KAFKA": true, "BAEDAL_TEST_ONLY_KAFKA": true, "BAEDAL_CACHE": true, "BAEDAL_FAILPOINT": true, "BAEDAL_": true}
	each(command(), func(cmd *cobra.Command) {
		for _, f := range flagsOf(cmd) {
			flags[f.Name], variables[variable(f.Name)] = true, true
		}
	})
	for _, others := range []string{"help", "json", "build"} { // of Baedal, of curl and of docker
		flags[others] = true
	}
	for file, text := range documents(t) {
		for _, v := range regexp.MustCompile(`\bBAEDAL_[A-Z_]*`).FindAllString(text, -1) {
			assert.True(t, variables[v], "%s: %s is no flag's", file, v)
		}
		if !strings.HasSuffix(file, ".md") {
			continue
		}
		for _, m := range regexp.MustCompile("[`( /]--([a-z][a-z-]*)").FindAllStringSubmatch(text, -1) {
			assert.True(t, flags[m[1]], "%s: no command has --%s", file, m[1])
		}
	}
}

// Every command is told of.
func TestDocs_Commands(t *testing.T) {
	all := ""
	for file, text := range documents(t) {
		if strings.HasSuffix(file, ".md") {
			all += text
		}
	}
	each(command(), func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		if _, alone, _ := strings.Cut(name, " "); alone == "run" || alone == "api" { // named beside up
			name = "`" + alone
		}
		assert.True(t, strings.Contains(all, name), "nobody tells of %s", name)
	})
}

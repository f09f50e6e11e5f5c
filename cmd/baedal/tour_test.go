package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stop is a block of lines of the tour, and what comes of them.
type stop struct {
	title, lines, comes string
}

var fenced = regexp.MustCompile("(?s)(?:^|\n)(#+ [^\n]*)|\n```(sh)?\n(.*?)\n```(?:\n\n?```\n(.*?)\n```)?")

// stopsOf reads a page: each block of sh, with the block without a name that follows it.
func stopsOf(page string) (all []stop) {
	title := ""
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		if m[1] != "" {
			title = m[1]
			continue
		}
		all = append(all, stop{title, m[3], m[4]})
	}
	return all
}

// pattern is what comes, with … for whatever it is.
func pattern(comes string) *regexp.Regexp {
	parts := strings.Split(comes, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, ".*?") + `\s*$`)
}

// Every line of the tour is pasted, and what it says comes.
func TestTour(t *testing.T) {
	if os.Getenv("TOUR") == "" {
		t.Skip("it needs other tools than Go: make tour")
	}
	for _, tool := range []string{"bash", "curl", "kcat"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: the tour needs %s, which is not here", tool)
		}
	}
	if out, err := exec.Command("curl", "--help", "all").Output(); err != nil || !strings.Contains(string(out), "--json") {
		t.Skip("SKIPPED: the tour needs curl 7.82 or newer, which knows --json")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tour.md"))
	require.NoError(t, err)
	stops := stopsOf(string(page))
	require.Greater(t, len(stops), 10, "the tour is read")

	// The first block starts Baedal.
	started := regexp.MustCompile(`bin/baedal (up.*)`).FindStringSubmatch(stops[0].lines)
	require.NotNil(t, started, stops[0].lines)
	kafka := freeAddress(t)
	p := &manual{t, map[string]bool{}}
	up := p.start(append(strings.Fields(started[1]), "--data-dir", t.TempDir(), "--http", "127.0.0.1:0", "--kafka-listen", kafka)...)
	http := up.says(&up.out, `HTTP http://(\S+)`)

	shell := exec.Command("bash")
	shell.Dir = filepath.Join("..", "..")
	shell.Stderr = t.Output()
	in, err := shell.StdinPipe()
	require.NoError(t, err)
	out := &output{}
	shell.Stdout = out
	require.NoError(t, shell.Start())
	defer func() {
		in.Close()
		_ = shell.Wait() // of what failed here
	}()
	read := 0
	for i, s := range stops[1:] {
		if strings.Contains(s.lines, "python3") && exec.Command("python3", "-c", "import confluent_kafka").Run() != nil {
			t.Logf("SKIPPED %q: it needs Python with confluent-kafka, which is not here", s.title)
			continue
		}
		lines := strings.NewReplacer("127.0.0.1:8080", http, "127.0.0.1:9092", kafka).Replace(s.lines)
		end := fmt.Sprintf("---- end of stop %d", i)
		_, err := fmt.Fprintf(in, "%s\necho; echo '%s'\n", lines, end)
		require.NoError(t, err)
		var came string
		require.Eventually(t, func() bool {
			var done bool
			came, _, done = strings.Cut(out.String()[read:], "\n"+end+"\n")
			return done
		}, patience, 5*time.Millisecond, "%s\n%s\ndo not end", s.title, s.lines)
		read += len(came) + len(end) + 2
		t.Log(s.title)
		if s.comes != "" {
			require.Regexp(t, pattern(s.comes), strings.TrimSpace(came), "%s\n%s", s.title, s.lines)
		}
	}
	up.stopped()
}

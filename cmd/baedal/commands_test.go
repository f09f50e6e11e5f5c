package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
	"baedal/topics"
)

const patience = 60 * time.Second

// manual runs commands of this process and notes which flags they were given.
type manual struct {
	t     *testing.T
	given map[string]bool // "command --flag"
}

func (p *manual) note(args []string) {
	cmd, rest, err := command().Find(args)
	require.NoError(p.t, err)
	require.NoError(p.t, cmd.ParseFlags(rest))
	p.given[cmd.CommandPath()] = true
	cmd.Flags().Visit(func(f *pflag.Flag) { p.given[cmd.CommandPath()+" --"+f.Name] = true })
}

// run runs a command to its end.
func (p *manual) run(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	p.note(args)
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var out, err output
	code = Main(ctx, args, &out, &err)
	return out.String(), err.String(), code
}

// ok is run for a command that must succeed.
func (p *manual) ok(args ...string) string {
	p.t.Helper()
	stdout, stderr, code := p.run(args...)
	require.Equal(p.t, exitDone, code, "%v\n%s\n%s", args, stdout, stderr)
	return stdout
}

// running is a command that goes on until it is stopped.
type running struct {
	t        *testing.T
	out, err output
	stop     context.CancelFunc
	ended    chan struct{}
	code     int
}

func (p *manual) start(args ...string) *running {
	p.t.Helper()
	p.note(args)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: p.t, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.code = Main(ctx, args, &r.out, &r.err)
	}()
	p.t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

// says waits for words of a command and returns the part in parentheses.
func (r *running) says(of *output, words string) string {
	r.t.Helper()
	pattern, found := regexp.MustCompile(words), ""
	kafkatest.Eventually(r.t, func() bool {
		m := pattern.FindStringSubmatch(of.String())
		if m != nil {
			found = m[len(m)-1]
		}
		select {
		case <-r.ended:
			require.FailNow(r.t, "it ended before it was up", "%s\n%s", r.out.String(), r.err.String())
		default:
		}
		return m != nil
	}, patience, 10*time.Millisecond, "%s does not come; %s", words, of)
	return found
}

func (r *running) stopped() {
	r.t.Helper()
	r.stop()
	<-r.ended
	require.Equal(r.t, exitDone, r.code, r.err.String())
	require.Contains(r.t, r.err.String(), "msg=stopped")
}

const serving = `msg="serving HTTP" address=(\S+)`

// answers waits until a path answers with a status.
func answers(t *testing.T, method, address, path, body string, status int) (answer string) {
	t.Helper()
	kafkatest.Eventually(t, func() bool {
		req, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			answer = err.Error()
			return false
		}
		defer res.Body.Close()
		data, _ := io.ReadAll(res.Body)
		answer = fmt.Sprint(res.StatusCode, " ", string(data))
		return res.StatusCode == status
	}, patience, 20*time.Millisecond, "%s %s: want %d", method, path, status)
	return answer
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// Every command is started with every flag that it has, and does its work.
func TestCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs everything: make integration")
	}
	kafkatest.Each(t, everyCommand)
}

func everyCommand(t *testing.T, b kafkatest.Broker) {
	p := &manual{t, map[string]bool{}}
	prefix := b.Prefix(t)
	cluster := []string{"--brokers", b.Addr, "--prefix", prefix, "--partitions", "2"}
	on := func(prefix []string, flags ...string) []string { return slices.Concat(prefix, cluster, flags) }
	process := func() []string {
		return []string{"--data-dir", t.TempDir(), "--log-format", "text", "--log-level", "info", "--shutdown-timeout", "20s", "--replication", "1", "--pprof", freeAddress(t)}
	}
	engine := []string{"--commit-interval", "50ms", "--session-timeout", "6s", "--deadline", "paid=4m,accepted=4m", "--deadline", "ready=10m", "--refund-window", "9m",
		"--keep-orders", "71h", "--dispatch", "hybrid", "--rider-speed", "6", "--gateway", "decline-over=90000000", "--language", "ko", "--standby", "1", "--guarantee", "at-least-once"}
	exactlyOnce := append(engine[:len(engine)-1:len(engine)-1], "exactly-once")

	// topics
	require.Contains(t, p.ok(on([]string{"topics", "create"}, "--replication", "1")...), "created "+prefix+"order-commands")
	require.Contains(t, p.ok(on([]string{"topics", "create"})...), "topics are as they should be")
	var listed []struct {
		Topic      string
		Exists     bool
		Partitions int
	}
	require.NoError(t, json.Unmarshal([]byte(p.ok(on([]string{"topics", "list"}, "--format", "json")...)), &listed))
	require.Len(t, listed, len(topics.New(prefix, 2).All()))
	for _, l := range listed {
		require.True(t, l.Exists && l.Partitions == 2, l.Topic)
	}

	// run, and api beside it
	var runs []*running
	for _, groups := range []string{"orders,stock,payments,riders", "dispatch, notifier,messenger,projections"} {
		r := p.start(slices.Concat(on([]string{"run"}, "--groups", groups, "--http", "127.0.0.1:0"), process(), exactlyOnce)...)
		http := r.says(&r.err, serving)
		answers(t, "GET", http, "/readyz", "", 200)
		require.Contains(t, answers(t, "GET", http, "/metrics", "", 200), "baedal_messages_in_total")
		runs = append(runs, r)
	}
	pprof := freeAddress(t)
	front := []string{"--http", "127.0.0.1:0", "--cors-origin", "https://shop.example", "--http-rate", "10000"}
	served := p.start(append(slices.Concat(on([]string{"api"}, front...), process()), "--pprof", pprof)...)
	at := served.says(&served.err, serving)
	answers(t, "GET", at, "/readyz", "", 200)
	answers(t, "GET", pprof, "/debug/pprof/", "", 200)
	answers(t, "POST", at, "/v1/orders", `{"id":"mine","userId":"u","storeId":"nowhere","lines":[{"product":"p","quantity":1}],"address":{"lat":37.5,"lon":127}}`, 201)
	require.Contains(t, answers(t, "GET", at, "/v1/orders/mine", "", 200), "nowhere")

	// load and replay
	var loaded struct{ Orders, Placed, Unfinished int }
	report := p.ok(on([]string{"load"}, "--format", "json", "--orders", "20", "--duration", "20s", "--rate", "100", "--in-flight", "15", "--stores", "4", "--areas", "2", "--riders", "4",
		"--capacity", "5", "--cooking-time", "10ms", "--manual-share", "0.5", "--cancel-rate", "0.1", "--warm-up", "1ms", "--timeout", "30s")...)
	require.NoError(t, json.Unmarshal([]byte(report), &loaded), report)
	require.Zero(t, loaded.Unfinished, report)
	report = p.ok(on([]string{"load"}, "--format", "json", "--over-http", "http://"+at, "--orders", "20", "--in-flight", "10", "--stores", "2", "--riders", "4")...)
	require.NoError(t, json.Unmarshal([]byte(report), &loaded), report)
	require.Zero(t, loaded.Unfinished, report)
	report = p.ok(on([]string{"replay", filepath.Join("..", "..", "sim", "testdata", "day")}, "--format", "json", "--speed", "3000")...)
	require.True(t, json.Valid([]byte(report)), report)
	require.Contains(t, report, "delivered")

	// dead-letters
	poison := &kgo.Record{Topic: prefix + "order-commands", Key: []byte("poison"), Value: []byte("{")}
	require.NoError(t, b.Client(t).ProduceSync(t.Context(), poison).FirstErr())
	var letter struct{ ID, Key, Value string }
	kafkatest.Eventually(t, func() bool {
		out := p.ok(on([]string{"dead-letters", "list"}, "--format", "json", "--limit", "3", "--only", "key=poison")...)
		return json.Unmarshal([]byte(out), &letter) == nil
	}, patience, 50*time.Millisecond, "the dead letter does not come")
	require.NoError(t, json.Unmarshal([]byte(p.ok(on([]string{"dead-letters", "show", letter.ID}, "--format", "json")...)), &letter))
	require.Equal(t, "{", letter.Value)
	require.Contains(t, p.ok(on([]string{"dead-letters", "replay"}, "--only", "id="+letter.ID, "--dry-run", "--again")...), "1 would be replayed")
	require.Contains(t, p.ok(on([]string{"dead-letters", "replay"}, "--all")...), "1 replayed, 0 skipped, 0 refused")

	// audit
	var proved struct{ Violations []any }
	report = p.ok(on([]string{"audit"}, "--format", "json", "--guarantee", "exactly-once", "--settle", "20s", "--slack", "20s")...)
	require.NoError(t, json.Unmarshal([]byte(report), &proved), report)
	require.Empty(t, proved.Violations)

	for _, r := range append(runs, served) {
		r.stopped()
	}

	// up, on a broker of others and on its own
	other := b.Prefix(t)
	up := p.start(slices.Concat([]string{"up", "--brokers", b.Addr, "--prefix", other, "--partitions", "2"}, front, process(), engine)...)
	at = up.says(&up.out, `HTTP http://(\S+)`)
	answers(t, "GET", at, "/readyz", "", 200)
	up.stopped()
	up = p.start(slices.Concat([]string{"up", "--prefix", other, "--partitions", "2", "--http", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0", "--no-sync", "--demo"}, process(), engine)...)
	at = up.says(&up.out, `HTTP http://(\S+)`)
	up.says(&up.out, `(?m)^\d\d:\d\d:\d\d (delivered|refused|cancelled|payment_failed)`)
	answers(t, "GET", at, "/readyz", "", 200)
	up.stopped()

	// topology
	require.Contains(t, p.ok("topology", "--prefix", prefix), prefix+"orders\n")
	for _, format := range []string{"mermaid", "json"} {
		require.Contains(t, p.ok("topology", "--format", format), "order-commands")
	}

	// version
	require.Regexp(t, `^baedal \S+.* go1\.`, p.ok("version"))
	var version output
	require.Equal(t, exitDone, Main(t.Context(), []string{"--version"}, &version, &version))
	require.Contains(t, version.String(), thisBuild().String())
	var built build
	require.NoError(t, json.Unmarshal([]byte(p.ok("version", "--format", "json")), &built))
	require.NotEmpty(t, built.Version)

	for _, cmd := range leaves(command()) {
		assert.True(t, p.given[cmd.CommandPath()], "%s is not started", cmd.CommandPath())
		for _, f := range flagsOf(cmd) {
			assert.True(t, p.given[cmd.CommandPath()+" --"+f.Name], "%s is not started with --%s", cmd.CommandPath(), f.Name)
		}
	}
}

// leaves returns the commands that do something.
func leaves(cmd *cobra.Command) (all []*cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Name() != "help" {
			all = append(all, leaves(c)...)
		}
	}
	if len(cmd.Commands()) == 0 {
		all = append(all, cmd)
	}
	return all
}

// flagsOf returns what --help of a command lists, but for --help.
func flagsOf(cmd *cobra.Command) (all []*pflag.Flag) {
	take := func(f *pflag.Flag) {
		if f.Name != "help" {
			all = append(all, f)
		}
	}
	cmd.LocalFlags().VisitAll(take)
	cmd.InheritedFlags().VisitAll(take)
	return all
}

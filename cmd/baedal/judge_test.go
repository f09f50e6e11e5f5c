package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Main with settings that are right would start something: the context is done, so
// it ends at once, and not with exitUsage.
func judge(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var err bytes.Buffer
	code = Main(ctx, args, &bytes.Buffer{}, &err)
	return code, err.String()
}

const (
	u = "up --kafka-listen 127.0.0.1:0 --http 127.0.0.1:0"
	k = "up --http 127.0.0.1:0 --brokers 127.0.0.1:1"
	r = "run --brokers 127.0.0.1:1"
	a = "api --brokers 127.0.0.1:1"
	l = "load --brokers 127.0.0.1:1"
)

var mistakes = []struct {
	commands []string // each alone
	flags    string   // | stands for a blank within a value
	says     string
}{
	{[]string{k, r, a, l, "topics list", "topics create", "audit", "replay DAY", "dead-letters list", "dead-letters replay --all"}, "--brokers DEAD:1,", `an address is empty`},
	{[]string{k, r, a, l, "topics list", "topics create", "audit"}, "--brokers |", `an address is empty`},
	{[]string{k, r, a, l, "audit"}, "--brokers localhost", `"localhost" is not host:port`},
	{[]string{k, r, a, l, "audit"}, "--brokers :9092", `":9092" names no broker`},
	{[]string{k, r, a, l, "audit"}, "--brokers h:0", `"h:0" names no broker`},
	{[]string{k, r, a, l, "audit"}, "--brokers h:66000", `the port must be from 0 to 65535`},
	{[]string{k, r, a, l, "audit"}, "--brokers h:kafka", `the port must be from 0 to 65535`},
	{[]string{k, r, a, l, "audit"}, "--brokers a|b:9092", `no host is named "a b"`},
	{[]string{k, r, a, l, "audit"}, "--brokers ::1:9092", `an IPv6 address needs brackets`},
	{[]string{k, r, a, l, "audit"}, "--brokers SSL://h:9093", `host:port without SSL://`},
	{[]string{"run", "api"}, "", "--brokers is missing"},
	{[]string{u, r, a, l, "topics create", "audit", "dead-letters list"}, "--partitions 0", "--partitions 0 must be from 1 to 10000"},
	{[]string{u, r, a, l, "topics create", "audit", "dead-letters list"}, "--partitions 10001", "--partitions 10001 must be"},
	{[]string{u, r, a, l, "topics create", "audit", "dead-letters list"}, "--prefix a|b", "--prefix"},
	{[]string{u, r, a, l, "topics create", "audit", "dead-letters list"}, "--prefix " + strings.Repeat("p", 101), "--prefix"},
	{[]string{k, r, a, "topics create"}, "--replication -1", "--replication -1 must be from 0 to 32767"},
	{[]string{k, r, a, "topics create"}, "--replication 70000", "--replication 70000"},
	{[]string{u}, "--replication 3", "--replication 3 needs Kafka"},
	{[]string{u, r, a}, "--log-format xml", "--log-format"},
	{[]string{u, r, a}, "--log-level loud", "--log-level"},
	{[]string{l, "audit", "topics list", "replay DAY", "dead-letters list", "dead-letters show 0/1", "version"}, "--format xml", `--format "xml"`},
	{[]string{u, r, a}, "--data-dir=", "--data-dir is empty"},
	{[]string{u, r, a}, "--data-dir |", "--data-dir is empty"},
	{[]string{u, r, a}, "--data-dir FILE", "is a file"},
	{[]string{u, r, a}, "--data-dir FILE/below", "is a file"},
	{[]string{u, r, a}, "--data-dir data|", "begins or ends with a blank"},
	{[]string{u, r, a}, "--shutdown-timeout 0s", "--shutdown-timeout 0s must be from 100ms to 1h"},
	{[]string{u, r, a}, "--shutdown-timeout -5s", "--shutdown-timeout"},
	{[]string{u, a}, "--http=", "--http"},
	{[]string{u, r, a}, "--http 8080", `--http: "8080" is not host:port`},
	{[]string{u, r, a}, "--http h:99999", "the port must be"},
	{[]string{u, a}, "--cors-origin shop.example", `--cors-origin "shop.example"`},
	{[]string{u, a}, "--cors-origin https://shop.example/path", "--cors-origin"},
	{[]string{u, a}, "--http-rate -1", "--http-rate -1 must be from 0 to"},
	{[]string{u, r, a}, "--pprof 6060", "--pprof"},
	{[]string{u, r, a}, "--http 127.0.0.1:8080 --pprof localhost:8080", "--http 127.0.0.1:8080 and --pprof localhost:8080 are one address"},
	{[]string{u, r, a}, "--http :8080 --pprof 127.0.0.1:8080", "are one address"},
	{[]string{"up"}, "--http 127.0.0.1:9092", "--http 127.0.0.1:9092 and --kafka-listen 127.0.0.1:9092 are one address"},
	{[]string{"up"}, "--kafka-listen 127.0.0.1:6060 --pprof 127.0.0.1:6060", "are one address"},
	{[]string{u}, "--kafka-listen :9092", "stands for every interface"},
	{[]string{u}, "--kafka-listen 9092", "--kafka-listen"},
	{[]string{k}, "--kafka-listen 127.0.0.1:9999", "--kafka-listen is of the embedded broker"},
	{[]string{k}, "--no-sync", "--no-sync is of the embedded broker"},
	{[]string{r}, "--groups orders,,stock", `"" is no group`},
	{[]string{r}, "--groups orders,kitchen", `"kitchen" is no group`},
	{[]string{r}, "--groups orders,|orders", "orders is named twice"},
	{[]string{u, r}, "--guarantee twice", "--guarantee"},
	{[]string{u}, "--guarantee exactly-once", "needs Kafka"},
	{[]string{k, r}, "--commit-interval 30s", "--commit-interval 30s is too long for exactly-once"},
	{[]string{k, r}, "--commit-interval 5001ms", "too long for exactly-once"},
	{[]string{k, r}, "--commit-interval 2s --deadline paying=3s", "--deadline paying=3s must be longer than two times --commit-interval"},
	{[]string{u, r}, "--commit-interval 0s", "--commit-interval 0s must be from 1ms to 1m"},
	{[]string{u, r}, "--commit-interval -1s", "--commit-interval"},
	{[]string{u, r}, "--commit-interval 2m", "--commit-interval"},
	{[]string{u, r}, "--session-timeout 999ms", "--session-timeout 999ms must be from 1s to 30m"},
	{[]string{u, r}, "--session-timeout 31m", "--session-timeout"},
	{[]string{u, r}, "--standby 2", "--standby 2 must be from 0 to 1"},
	{[]string{u, r}, "--deadline soon=1s", `"soon" is no status`},
	{[]string{u, r}, "--deadline paid", "must be STATUS=DURATION"},
	{[]string{u, r}, "--deadline=", "must be STATUS=DURATION"},
	{[]string{u, r}, "--deadline paid=1s,", "must be STATUS=DURATION"},
	{[]string{u, r}, "--deadline paid=0s", "no duration above zero"},
	{[]string{u, r}, "--deadline paid=-1s", "no duration above zero"},
	{[]string{u, r}, "--deadline paid=1ns", "must be from 1ms to 87600h"},
	{[]string{u, r}, "--deadline refund_requested=2000000h", "must be from 1ms to 87600h"}, // twice that, and more, overflows
	{[]string{u, r}, "--deadline paid=1s --deadline ready=1m,paid=2s", "paid is given twice"},
	{[]string{u, r}, "--keep-orders 2500000h", "--keep-orders"},
	{[]string{u, r}, "--keep-orders 0s", "--keep-orders"},
	{[]string{u, r}, "--refund-window -1s", "--refund-window"},
	{[]string{u, r}, "--refund-window 2500000h", "--refund-window"},
	{[]string{u, r}, "--keep-orders 9m59s", "--keep-orders 9m59s is shorter than --refund-window 10m0s"},
	{[]string{u, r}, "--refund-window 73h", "is shorter than --refund-window 73h0m0s"},
	{[]string{u, r}, "--refund-window 0s --keep-orders 9s", "must be longer than --session-timeout and --commit-interval together"},
	{[]string{u, r}, "--dispatch drone", "--dispatch"},
	{[]string{u}, "--demo --dispatch claim", "claim nothing"},
	{[]string{u, r}, "--rider-speed 0", "--rider-speed 0 must be from 0.1 to 1000000"},
	{[]string{u, r}, "--rider-speed -5", "--rider-speed"},
	{[]string{u, r}, "--rider-speed NaN", "--rider-speed"},
	{[]string{u, r}, "--rider-speed +Inf", "--rider-speed"},
	{[]string{u, r}, "--rider-speed 1e-300", "--rider-speed"},
	{[]string{u, r}, "--language xx", "--language"},
	{[]string{u, r}, "--language=", "--language"},
	{[]string{u, r}, "--gateway fail-rate=NaN", "--gateway"},
	{[]string{u, r}, "--gateway=", "--gateway"},
	{[]string{u, r}, "--gateway latency=30s", "no call could succeed"},
	{[]string{l}, "--rate NaN", "--rate NaN"},
	{[]string{l}, "--rate +Inf", "--rate +Inf"},
	{[]string{l}, "--rate -1", "--rate -1"},
	{[]string{l}, "--orders -1", "--orders -1"},
	{[]string{l}, "--stores 9223372036854775807", "--stores 9223372036854775807 must be from 0 to 100000"},
	{[]string{l}, "--stores 2 --areas 3", "--areas must be from 1 to the number of stores"},
	{[]string{l}, "--stores 2 --areas 2 --riders 1", "--riders must be at least 2"},
	{[]string{l}, "--riders 9223372036854775807", "--riders"},
	{[]string{l}, "--in-flight -1", "--in-flight"},
	{[]string{l}, "--over-http 127.0.0.1:8080", "--over-http"},
	{[]string{l}, "--over-http http://127.0.0.1:8080 --rate 5", "--over-http knows no --rate"},
	{[]string{l}, "--capacity 21", "--capacity"},
	{[]string{l}, "--manual-share NaN", "--manual-share"},
	{[]string{l}, "--cancel-rate 2", "--cancel-rate"},
	{[]string{l}, "--duration -1s", "--duration"},
	{[]string{l}, "--warm-up 5s --duration 5s", "--warm-up 5s must be shorter than --duration 5s"},
	{[]string{l}, "--cooking-time 30s", "--cooking-time 30s must be shorter than --timeout 30s"},
	{[]string{l}, "--timeout -1s", "--timeout"},
	{[]string{"replay DAY"}, "--speed 0", "--speed 0 must be from 0.001 to 1000000"},
	{[]string{"replay DAY"}, "--speed NaN", "--speed NaN"},
	{[]string{"replay DAY"}, "--speed +Inf", "--speed +Inf"},
	{[]string{"audit"}, "--settle -1s", "--settle -1s"},
	{[]string{"audit"}, "--slack 9999999h", "1ns"},
	{[]string{"audit"}, "--guarantee never", "--guarantee"},
	{[]string{"dead-letters list"}, "--limit -1", "--limit -1"},
	{[]string{"dead-letters list", "dead-letters replay"}, "--only color=red", "--only:"},
	{[]string{"dead-letters replay"}, "", "Either --all, or --only"},
}

// Each mistake is told before anything starts, by every command that has the flag,
// and the same where the flag comes from the environment.
func TestSettings_Mistakes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.WriteFile("FILE", nil, 0o600))
	for _, m := range mistakes {
		if m.says == "1ns" { // what can't be a duration is the flag's own affair
			m.says = "--slack"
		}
		for _, c := range m.commands {
			flags := blanks(strings.Fields(m.flags))
			code, says := judge(t, append(strings.Fields(c), flags...)...)
			assert.Equal(t, exitUsage, code, "%s %s: %s", c, m.flags, says)
			assert.Contains(t, says, m.says, "%s %s", c, m.flags)

			t.Run("environment", func(t *testing.T) {
				base := strings.Fields(c)
				environment, ok := asEnvironment(t, flags, base)
				if !ok {
					return
				}
				for name, value := range environment {
					t.Setenv(name, value)
				}
				code, says := judge(t, base...)
				assert.Equal(t, exitUsage, code, "%s with %v: %s", c, environment, says)
				assert.Contains(t, says, m.says, "%s with %v", c, environment)
			})
		}
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing was begun")
}

func blanks(args []string) []string {
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "|", " ")
	}
	return args
}

// asEnvironment turns flags into variables, unless the command line has one of them:
// it would win.
func asEnvironment(t *testing.T, flags, base []string) (map[string]string, bool) {
	all := map[string]string{}
	for i := 0; i < len(flags); i++ {
		name, value, has := strings.Cut(flags[i], "=")
		if !has {
			value = "true"
			if i+1 < len(flags) && !strings.HasPrefix(flags[i+1], "--") {
				i++
				value = flags[i]
			}
		}
		v := variable(strings.TrimPrefix(name, "--"))
		if _, twice := all[v]; twice || strings.Contains(strings.Join(base, " "), name) || value == "" && name == "--deadline" { // an empty list is none
			return nil, false
		}
		all[v] = value
	}
	return all, len(all) > 0
}

// All mistakes are told at once, from wherever they come.
func TestSettings_AllAtOnce(t *testing.T) {
	t.Setenv("BAEDAL_RIDER_SPEED", "fast")
	t.Setenv("BAEDAL_LANGUAGE", "xx")
	code, says := judge(t, "up", "--partitions", "0", "--keep-orders", "1m", "--brokers", "a,b", "--deadline", "x=1s")
	require.Equal(t, exitUsage, code)
	for _, one := range []string{`BAEDAL_RIDER_SPEED="fast"`, "--partitions 0", "--keep-orders 1m0s is shorter", `"a" is not host:port`, `"b" is not host:port`, `"x" is no status`, "(set by BAEDAL_LANGUAGE)"} {
		assert.Equal(t, 1, strings.Count(says, one), "%s in: %s", one, says)
	}
}

// What is right is not refused: it goes on to where the context ends it.
func TestSettings_Right(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range []string{
		u,
		u + " --replication 1 --standby 1 --no-sync --demo",
		u + " --commit-interval 30s", // at-least-once
		u + " --deadline |paid=1s,|ready|=|2m --refund-window 0s --keep-orders 11s",
		u + " --deadline delivered=87600h,refund_requested=87600h --keep-orders 87600h --refund-window 87600h --rider-speed 0.1",
		u + " --http [::1]:0 --pprof 127.0.0.1:0",
		u + " --cors-origin https://shop.example,http://localhost:5173 --cors-origin * --http-rate 1000",
		k + " --commit-interval 5s --deadline placed=11s",
		k + " --commit-interval 1m --guarantee at-least-once",
		k + " --kafka-listen 127.0.0.1:9092", // the default, said
		r + " --groups |orders,|stock --http :0",
		"run --brokers 127.0.0.1:1,|127.0.0.1:2",
		"run --brokers PLAINTEXT://127.0.0.1:1,[::1]:2",
		a + " --http localhost:0",
		l + " --rate 0.01 --duration 1h --warm-up 59m --cooking-time 29s",
		"audit --brokers plaintext://127.0.0.1:1 --settle 0s --guarantee exactly-once",
		"replay ../nowhere --speed 0.5 --brokers 127.0.0.1:1",
		"dead-letters list --limit 0 --only group=orders --only since=2h --brokers 127.0.0.1:1",
	} {
		code, says := judge(t, blanks(strings.Fields(args))...)
		assert.NotEqual(t, exitUsage, code, "%s: %s", args, says)
	}
	for _, name := range []string{"BROKERS", "PREFIX", "PPROF", "GUARANTEE", "DEADLINE"} { // empty is not given
		t.Setenv("BAEDAL_"+name, "")
	}
	code, says := judge(t, strings.Fields(u)...)
	require.Equal(t, exitDone, code, says)
	require.Contains(t, says, "stopped")
}

// The addresses that are used are those without blanks and scheme.
func TestSettings_Tidy(t *testing.T) {
	s := &settings{brokers: []string{" a:1", "PLAINTEXT://b:2 "}, groups: []string{" orders "}, deadlines: []string{" paid = 1s , ready=2s"}}
	s.tidy()
	require.Equal(t, []string{"a:1", "b:2"}, s.brokers)
	require.Equal(t, []string{"orders"}, s.groups)
	require.Equal(t, []string{"paid=1s", "ready=2s"}, s.deadlines)
}

// Every number that a command takes has bounds, in judge.go or in its package.
func TestSettings_EveryNumberHasBounds(t *testing.T) {
	bounded := map[string]bool{"capacity": true, "manual-share": true, "cancel-rate": true} // LoadOptions.Validate
	for _, b := range durations {
		bounded[b.flag] = true
	}
	for _, b := range numbers {
		bounded[b.flag] = true
	}
	for _, b := range fractions {
		bounded[b.flag] = true
	}
	each(command(), func(cmd *cobra.Command) {
		for _, f := range flagsOf(cmd) {
			switch f.Value.Type() {
			case "int", "float64", "duration":
				assert.True(t, bounded[f.Name], "%s --%s may be anything", cmd.CommandPath(), f.Name)
			}
		}
	})
}

func each(cmd *cobra.Command, f func(*cobra.Command)) {
	for _, leaf := range leaves(cmd) {
		f(leaf)
	}
}

// Every command judges its settings: one that is wrong for all is refused by all.
func TestSettings_EveryCommandJudges(t *testing.T) {
	t.Chdir(t.TempDir())
	arguments := map[string][]string{"baedal replay": {filepath.Join("no", "day")}, "baedal dead-letters show": {"0/1"}}
	each(command(), func(cmd *cobra.Command) {
		for _, f := range flagsOf(cmd) {
			if f.Name == "prefix" || f.Name == "format" {
				args := append(strings.Fields(cmd.CommandPath())[1:], arguments[cmd.CommandPath()]...)
				code, says := judge(t, append(args, "--"+f.Name, "?")...)
				assert.Equal(t, exitUsage, code, cmd.CommandPath())
				assert.Contains(t, says, "--"+f.Name, cmd.CommandPath())
			}
		}
	})
}

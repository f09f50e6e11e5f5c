package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"baedal/broker"
	"baedal/internal/kafkatest"
)

// child is baedal as a process of its own.
type child struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err output
	ended    chan struct{}
}

// spawn starts baedal. A prefix such as a shell that sets limits may stand before it.
func spawn(t testing.TB, prefix []string, args ...string) *child {
	t.Helper()
	all := append(append([]string{}, prefix...), append([]string{os.Args[0]}, args...)...)
	c := &child{t: t, cmd: exec.Command(all[0], all[1:]...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), asProgram+"=1")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	require.NoError(t, c.cmd.Start())
	go func() { _ = c.cmd.Wait(); close(c.ended) }()
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); <-c.ended })
	return c
}

func (c *child) until(of *output, words string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		select {
		case <-c.ended:
			return true
		default:
			return strings.Contains(of.String(), words)
		}
	}, patience, time.Millisecond, "%q does not come: %s", words, of)
	require.Contains(c.t, of.String(), words, "stderr: %s", &c.err)
}

// end waits for the end and returns the exit code and how long it took.
func (c *child) end(within time.Duration) (int, time.Duration) {
	c.t.Helper()
	began := time.Now()
	select {
	case <-c.ended:
	case <-time.After(within):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT)
		<-c.ended
		require.FailNow(c.t, "it did not end", "within %s: %v\n%s", within, c.cmd.Args, c.err.String())
	}
	return c.cmd.ProcessState.ExitCode(), time.Since(began)
}

// deaf returns the address of a server that answers nothing.
func deaf(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

func seed(t *testing.T) *rand.Rand {
	n := uint64(time.Now().UnixNano())
	t.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// However far a start has come, the first signal ends it at once, and that is no
// failure.
func TestSignal_WhileStarting(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes: make integration")
	}
	rnd := seed(t)
	b := kafkatest.Embedded(t)
	ways := map[string][]string{
		"up, nobody there":  {"up", "--brokers", "127.0.0.1:1"},
		"run, nobody there": {"run", "--brokers", "127.0.0.1:1"},
		"api, nobody there": {"api", "--brokers", "127.0.0.1:1"},
		"up, no answer":     {"up", "--brokers", deaf(t)},
		"up, own broker":    {"up", "--kafka-listen", "127.0.0.1:0"},
		"up":                {"up", "--brokers", b.Addr, "--partitions", "2", "--prefix", b.Prefix(t)},
		"run":               {"run", "--brokers", b.Addr, "--partitions", "2", "--prefix", b.Prefix(t)},
		"api":               {"api", "--brokers", b.Addr, "--partitions", "2", "--prefix", b.Prefix(t)},
	}
	for name, args := range ways {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for range 3 {
				c := spawn(t, nil, append(args, "--data-dir", dir, "--http", "127.0.0.1:0")...)
				c.until(&c.err, "msg=settings")
				after := time.Duration(rnd.Int64N(int64(1500 * time.Millisecond)))
				time.Sleep(after) // the moment is what is tested
				require.NoError(t, c.cmd.Process.Signal([]os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}[rnd.IntN(3)]))
				code, took := c.end(10 * time.Second)
				assert.Equal(t, exitDone, code, "after %s: %s", after, &c.err)
				assert.Less(t, took, 5*time.Second, "after %s: %s", after, &c.err)
				assert.Contains(t, c.err.String(), "msg=stopped", "after %s", after)
				assert.NotContains(t, c.err.String(), "baedal: ", "nobody is blamed")
			}
		})
	}
}

// The brokers go away in the middle of a start.
func TestSignal_BrokersGoneWhileStarting(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes: make integration")
	}
	for _, command := range []string{"up", "run", "api"} {
		for _, seen := range []string{"msg=settings", "topics created", "serving HTTP"} {
			t.Run(command+" "+seen, func(t *testing.T) {
				own, err := broker.Start(broker.Options{Memory: true, Logger: kafkatest.Logger(t)})
				require.NoError(t, err)
				t.Cleanup(func() { _ = own.Close() })
				c := spawn(t, nil, command, "--brokers", own.Addr(), "--partitions", "2", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0")
				c.until(&c.err, seen)
				require.NoError(t, own.Close())
				time.Sleep(300 * time.Millisecond) // until it has noticed, or not yet
				require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM), &c.err)
				code, took := c.end(40 * time.Second)
				assert.Equal(t, exitDone, code, c.err.String())
				assert.Less(t, took, 8*time.Second, c.err.String())
				assert.Contains(t, c.err.String(), "msg=stopped")
			})
		}
	}
}

// Work that has an end and is interrupted before it says so, and blames nobody.
func TestSignal_Visitors(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes: make integration")
	}
	day := filepath.Join("..", "..", "sim", "testdata", "day")
	for name, at := range map[string]string{"nobody there": "127.0.0.1:1", "no answer": deaf(t)} {
		for _, args := range []string{"load", "replay " + day, "audit", "topics list", "topics create", "dead-letters list", "dead-letters show 0/1", "dead-letters replay --all"} {
			t.Run(name+" "+args, func(t *testing.T) {
				t.Parallel()
				c := spawn(t, nil, append(strings.Fields(args), "--brokers", at)...)
				select {
				case <-c.ended: // nobody is there, and it said so at once
					require.Equal(t, exitFailed, c.cmd.ProcessState.ExitCode(), c.err.String())
					return
				case <-time.After(2 * time.Second): // it has begun to wait
				}
				require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
				code, took := c.end(10 * time.Second)
				assert.Equal(t, exitFailed, code)
				assert.Less(t, took, lastWords/2, "nothing was begun")
				assert.Contains(t, c.err.String(), "baedal: interrupted: ")
				assert.NotContains(t, c.err.String(), "--brokers")
			})
		}
	}
}

// Whoever says something says it in --log-format.
func TestLogFormat_WhileWaiting(t *testing.T) {
	kafkatest.Waits(t)
	c := spawn(t, nil, "run", "--brokers", deaf(t), "--data-dir", t.TempDir(), "--log-format", "json")
	c.until(&c.err, "waiting for Kafka")
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	code, _ := c.end(10 * time.Second)
	require.Equal(t, exitDone, code)
	for line := range strings.Lines(c.err.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

// Visitors that are interrupted in the middle of the work tell what was done so far.
func TestSignal_VisitorsAtWork(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts an engine: make integration")
	}
	b := kafkatest.Embedded(t)
	cluster := []string{"--brokers", b.Addr, "--prefix", b.Prefix(t), "--partitions", "2"}
	engine := spawn(t, nil, append([]string{"up", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0"}, cluster...)...)
	engine.until(&engine.out, "Baedal is up")
	for _, c := range []struct{ args, report string }{
		{"load --rate 50 --duration 5m --stores 2", "placed"},
		{"replay " + filepath.Join("..", "..", "sim", "testdata", "day") + " --speed 100", "delivered"},
	} {
		t.Run(c.args, func(t *testing.T) {
			v := spawn(t, nil, append(strings.Fields(c.args), cluster...)...)
			time.Sleep(1500 * time.Millisecond) // somewhere in the middle
			select {
			case <-v.ended:
				t.Skipf("it was done before it could be interrupted: %s", &v.out)
			default:
			}
			require.NoError(t, v.cmd.Process.Signal(syscall.SIGTERM))
			code, took := v.end(10 * time.Second)
			assert.Equal(t, exitFailed, code, v.err.String())
			assert.Less(t, took, lastWords+time.Second)
			assert.Contains(t, v.err.String(), "baedal: interrupted: ")
			assert.Contains(t, v.out.String(), c.report)
		})
	}
	require.NoError(t, engine.cmd.Process.Signal(syscall.SIGTERM))
	code, _ := engine.end(patience)
	require.Equal(t, exitDone, code, engine.err.String())
}

// Who reads the output may leave: the engine goes on, and drains when it is told.
func TestSignal_NobodyReads(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts an engine: make integration")
	}
	cmd := exec.Command(os.Args[0], "up", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0", "--partitions", "2", "--demo")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	go func() { _, _ = io.Copy(&bytes.Buffer{}, io.LimitReader(stderr, 1)); stderr.Close() }() // from the first line on nobody reads
	lines, http := bufio.NewScanner(stdout), ""
	for lines.Scan() && http == "" {
		if _, rest, ok := strings.Cut(lines.Text(), "HTTP http://"); ok {
			http, _, _ = strings.Cut(rest, " ")
		}
	}
	require.NotEmpty(t, http)
	stdout.Close()
	answers(t, "POST", http, "/v1/orders", `{"id":"mine","userId":"u","storeId":"nowhere","lines":[{"product":"p","quantity":1}],"address":{"lat":37.5,"lon":127}}`, 201)
	require.Contains(t, answers(t, "GET", http, "/v1/orders/mine", "", 200), "nowhere")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "it drained")
}

// A disk that takes no more ends the process with one line that says what mends it,
// while it starts and while it runs.
func TestDiskRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts engines: make integration")
	}
	b := kafkatest.Embedded(t)
	args := func(dir string) []string {
		return []string{"up", "--brokers", b.Addr, "--prefix", b.Prefix(t), "--partitions", "2", "--data-dir", dir, "--http", "127.0.0.1:0"}
	}
	oneLine := func(t *testing.T, c *child, remedy string) {
		t.Helper()
		code, _ := c.end(patience)
		said := c.err.String()
		require.Equal(t, exitFailed, code, said)
		require.NotContains(t, said, "goroutine ", "no stack")
		require.NotContains(t, said, "panic")
		_, last, found := strings.Cut(said, "\nbaedal: ") // after the log; all that preflight finds is one more line each
		require.True(t, found, said)
		require.Contains(t, last, remedy)
	}
	filesUpTo := func(kilobytes int) []string {
		return []string{"bash", "-c", fmt.Sprintf(`ulimit -f %d; exec "$@"`, kilobytes), "bash"}
	}
	t.Run("files too large at the start", func(t *testing.T) {
		c := spawn(t, filesUpTo(0), args(t.TempDir())...)
		oneLine(t, c, "ulimit -f")
	})
	t.Run("files too large of the own broker", func(t *testing.T) {
		c := spawn(t, filesUpTo(8), "up", "--demo", "--partitions", "2", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0")
		oneLine(t, c, "ulimit -f")
	})
	t.Run("too many open files", func(t *testing.T) {
		for _, n := range []int{12, 20, 40} {
			c := spawn(t, []string{"bash", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, n), "bash"}, args(t.TempDir())...)
			oneLine(t, c, "ulimit -n")
		}
	})
	limited := func(t *testing.T, which int, limit uint64, remedy string, flags ...string) {
		c := spawn(t, nil, append(args(t.TempDir()), flags...)...)
		c.until(&c.out, "Baedal is up")
		require.NoError(t, unix.Prlimit(c.cmd.Process.Pid, which, &unix.Rlimit{Cur: limit, Max: limit}, nil))
		oneLine(t, c, remedy)
	}
	t.Run("files too large while running", func(t *testing.T) { limited(t, unix.RLIMIT_FSIZE, 4096, "ulimit -f", "--demo") })

	full := func(t *testing.T, below string, options string, flags uintptr) *child {
		if os.Getuid() != 0 {
			t.Skip("a full file system of its own needs root to mount it")
		}
		dir := t.TempDir()
		at := filepath.Join(dir, below)
		require.NoError(t, os.MkdirAll(at, 0o755))
		if err := unix.Mount("baedal-test", at, "tmpfs", flags, options); err != nil {
			t.Skipf("a full file system of its own can't be mounted: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
		if below == "broker" {
			return spawn(t, nil, "up", "--demo", "--partitions", "2", "--data-dir", dir, "--http", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0")
		}
		return spawn(t, nil, append(args(dir), "--demo")...)
	}
	for _, size := range []string{"4k", "64k", "512k"} { // nothing fits, the beginning, the rows
		t.Run("state full, "+size, func(t *testing.T) {
			oneLine(t, full(t, "state", "size="+size, 0), "make room")
		})
		t.Run("own broker full, "+size, func(t *testing.T) {
			oneLine(t, full(t, "broker", "size="+size, 0), "make room")
		})
	}
	t.Run("data full", func(t *testing.T) { oneLine(t, full(t, ".", "size=64k", 0), "make room") })
	for _, below := range []string{".", "state", "broker"} {
		t.Run("read-only, "+below, func(t *testing.T) {
			oneLine(t, full(t, below, "", unix.MS_RDONLY), "make the data directory writable")
		})
	}
}

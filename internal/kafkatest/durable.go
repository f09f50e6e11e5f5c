package kafkatest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/broker"
)

// The test binary runs itself again as the broker, so that a test can kill it as an operating system does.
const (
	childDir    = "BAEDAL_KAFKATEST_DIR"
	childListen = "BAEDAL_KAFKATEST_LISTEN"
)

func init() {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir, os.Getenv(childListen)))
	}
}

// child is the broker's process: it says its address on standard output and lives until its standard input ends, which it does
// at the latest when the test's process does.
func child(dir, listen string) int {
	e, err := broker.Start(broker.Options{Dir: dir, Listen: listen, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(e.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := e.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// DurableBroker is an embedded broker in a process of its own, with synced writes and a directory that outlives the process.
type DurableBroker struct {
	Broker
	Dir string

	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
}

// Durable starts an embedded broker that can be killed and started again.
func Durable(t testing.TB) *DurableBroker {
	t.Helper()
	skipEmbedded(t)
	d := &DurableBroker{Broker: Broker{Name: EmbeddedName, Addr: "127.0.0.1:0"}, Dir: t.TempDir(), t: t}
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

// Kill ends the broker's process at once, as kill -9 does.
func (d *DurableBroker) Kill() {
	d.t.Helper()
	require.NotNil(d.t, d.cmd, "the broker runs")
	require.NoError(d.t, d.cmd.Process.Kill())
	d.wait()
}

// Stop ends the broker in an orderly way. It does nothing where the broker does not run.
func (d *DurableBroker) Stop() {
	if d.cmd == nil {
		return
	}
	_ = d.stdin.Close()
	d.wait()
}

// Restart kills the broker, where it still runs, and starts it again on the same directory and address.
func (d *DurableBroker) Restart() {
	d.t.Helper()
	if d.cmd != nil {
		d.Kill()
	}
	d.Start()
}

// Start starts the broker after Kill or Stop and returns once it listens.
func (d *DurableBroker) Start() {
	d.t.Helper()
	require.Nil(d.t, d.cmd, "the broker does not run")
	exe, err := os.Executable()
	require.NoError(d.t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDir+"="+d.Dir, childListen+"="+d.Addr)
	cmd.Stderr = d.t.Output()
	stdin, err := cmd.StdinPipe()
	require.NoError(d.t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, cmd.Start())
	d.cmd, d.stdin = cmd, stdin

	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- strings.TrimSpace(s)
	}()
	select {
	case addr := <-line:
		require.NotEmpty(d.t, addr, "the broker's process ended before it listened; its words are above")
		if d.Addr != addr { // only the first time: others may read it while a broker starts again
			d.Addr = addr
		}
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		require.FailNow(d.t, "the broker's process did not listen within 30s")
	}
}

func (d *DurableBroker) wait() {
	_ = d.cmd.Wait() // a killed process ends with an error, as asked
	d.cmd, d.stdin = nil, nil
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// instance is a baedal that runs groups, on a data directory that outlives its
// processes.
type instance struct {
	w       *world
	number  int
	dir     string
	cmd     *exec.Cmd
	ready   chan struct{} // closed when it says so
	done    chan struct{} // closed when it has ended
	stopped atomic.Bool   // by SIGSTOP of its own
	hit     atomic.Bool   // a failpoint was met
}

// watcher passes a process's log on and looks for words in it.
type watcher struct {
	file  *os.File
	mu    sync.Mutex
	rest  []byte
	lines func(string)
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			break
		}
		w.lines(string(w.rest[:i]))
		w.rest = w.rest[i+1:]
	}
	return w.file.Write(b)
}

// start starts the instance's process; spec is the failpoint, or none.
func (in *instance) start(spec string) error {
	if in.cmd != nil {
		return fmt.Errorf("instance %d runs already", in.number)
	}
	if err := in.w.keepTables(in); err != nil {
		return err
	}
	args := in.w.arguments(in.number, in.dir)
	logs, err := os.OpenFile(filepath.Join(in.w.dir, fmt.Sprintf("instance-%d.log", in.number)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	fmt.Fprintf(logs, "\n=== %s start %s %s\n", time.Now().Format("15:04:05.000"), strings.Join(args, " "), spec)
	cmd := exec.Command(in.w.bin, args...)
	cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	if spec != "" {
		cmd.Env = append(cmd.Env, "BAEDAL_FAILPOINT="+spec)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	ready, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	in.hit.Store(false)
	in.stopped.Store(false)
	cmd.Stdout = logs
	cmd.Stderr = &watcher{file: logs, lines: func(line string) {
		switch {
		case strings.Contains(line, "msg=ready "):
			once.Do(func() { close(ready) })
		case strings.HasPrefix(line, "failpoint: "):
			in.hit.Store(true)
			in.stopped.Store(strings.HasPrefix(line, "failpoint: stop"))
		}
	}}
	if err := startLocked(cmd); err != nil {
		return err
	}
	in.cmd, in.ready, in.done = cmd, ready, done
	go func() {
		_ = cmd.Wait()
		fmt.Fprintf(logs, "=== %s ended: %s\n", time.Now().Format("15:04:05.000"), cmd.ProcessState)
		logs.Close()
		close(done)
	}()
	return nil
}

// waitReady waits until the instance says that it is up.
func (in *instance) waitReady(d time.Duration) error {
	select {
	case <-in.ready:
		return nil
	case <-in.done:
		in.cmd = nil
		return fmt.Errorf("instance %d ended before it was ready: see instance-%d.log", in.number, in.number)
	case <-time.After(d):
		return fmt.Errorf("instance %d was not ready within %s: see instance-%d.log", in.number, d, in.number)
	}
}

// startReady starts the instance whole and waits for it.
func (in *instance) startReady() error {
	if err := in.start(""); err != nil {
		return err
	}
	return in.waitReady(60 * time.Second)
}

func (in *instance) signal(s syscall.Signal) {
	if in.cmd != nil {
		_ = in.cmd.Process.Signal(s)
	}
}

// kill is kill -9. It does nothing where no process runs.
func (in *instance) kill() {
	in.signal(syscall.SIGKILL)
	in.gone()
}

func (in *instance) gone() {
	if in.cmd != nil {
		<-in.done
		in.cmd = nil
	}
}

// ended reports whether the process has ended within d.
func (in *instance) ended(d time.Duration) bool {
	if in.cmd == nil {
		return true
	}
	select {
	case <-in.done:
		in.cmd = nil
		return true
	case <-time.After(d):
		return false
	}
}

// term stops the instance in an orderly way.
func (in *instance) term() error {
	in.signal(syscall.SIGTERM)
	if !in.ended(40 * time.Second) {
		in.signal(syscall.SIGQUIT) // for its stacks
		in.ended(2 * time.Second)
		in.kill()
		return fmt.Errorf("instance %d did not stop within 40s of SIGTERM: its stacks are in instance-%d.log", in.number, in.number)
	}
	return nil
}

// kafka is a real Kafka of ours.
type kafka struct {
	script, dir    string
	addr, upstream string // for everybody; for the proxy
	proxy          *proxy
}

func (k *kafka) start() error {
	cmd := exec.Command(k.script, "start", k.dir)
	cmd.Env = append(os.Environ(), "KAFKA_PROXY="+k.proxy.addr)
	if os.Getenv("KAFKA_HEAP") == "" {
		cmd.Env = append(cmd.Env, "KAFKA_HEAP=512m")
	}
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("deploy/kafka.sh start: %w: %s", err, words.String())
	}
	k.addr = strings.TrimSpace(string(out))
	up, err := os.ReadFile(filepath.Join(k.dir, "upstream"))
	k.upstream = strings.TrimSpace(string(up))
	return err
}

// kill is kill -9 of the process that our script started.
func (k *kafka) kill() error {
	data, err := os.ReadFile(filepath.Join(k.dir, "pid"))
	if err != nil {
		return err
	}
	var pid int
	if _, err := fmt.Sscan(string(data), &pid); err != nil || pid < 2 {
		return errors.Join(err, fmt.Errorf("%q is no process", data))
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

func (k *kafka) stop() { _ = exec.Command(k.script, "stop", k.dir).Run() }

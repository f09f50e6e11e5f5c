package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"baedal/internal/failpoint"
	"baedal/stream"
)

// fault is a way to break something. do breaks and heals it, and reports
// whether it was really met: a failpoint may never be.
type fault struct {
	name  string
	steps int // how often in a round
	draw  func(*rand.Rand, stream.Guarantee) step
	not   func(broker string, g stream.Guarantee) string // why it can't be had there; "" where it can
	do    func(context.Context, *world, step) (met bool, err error)
}

func anywhere(string, stream.Guarantee) string { return "" }

func onKafka(broker string, _ stream.Guarantee) string {
	if broker != "kafka" {
		return "it needs a broker that is not the engine's own: -broker kafka"
	}
	return ""
}

// A member that is stopped past its session is the limit of at-least-once:
// docs/architecture.md, Guarantees; stream/zombie_test.go shows it.
func fenced(broker string, g stream.Guarantee) string {
	if g != stream.ExactlyOnce {
		return "a zombie is the limit of at-least-once, which stream/zombie_test.go shows"
	}
	return onKafka(broker, g)
}

var faults = slices.Concat(breaking, spoiling)

// breaking are what an installation survives as it was.
var breaking = []fault{
	{"none", 1, anyStep, anywhere, func(context.Context, *world, step) (bool, error) { return true, nil }},
	{"kill", 3, anyStep, anywhere, kill},
	{"kill-at", 3, at("kill", 25, failpoint.Always), anywhere, killAt},
	{"linger-at", 3, at("linger", 25, failpoint.Always), anywhere, killAt},
	{"kill-recovering", 2, at("kill", 4, failpoint.AtStart), anywhere, killRecovering},
	{"kill-revoking", 2, at("kill", 2, failpoint.AtEnd), anywhere, killRevoking},
	{"stop", 2, anyStep, anywhere, stopOrderly},
	{"freeze", 1, anyStep, anywhere, freeze},
	{"wipe", 2, anyStep, anywhere, wipe},
	{"kill-at-wipe", 3, at("kill", 25, failpoint.Always), anywhere, killAtWipe},
	{"roll-back", 1, anyStep, anywhere, rollBack},
	{"flip", 2, anyStep, anywhere, flip},
	{"disk-full", 1, anyStep, mountable, diskFull},
	{"signal-at-start", 4, anyStep, anywhere, signalAtStart},
	{"scale", 1, anyStep, anywhere, scale},
	{"scale-kill", 1, anyStep, anywhere, scaleKill},
	{"poison-sizes", 1, anyStep, anywhere, poisonSizes},
	{"poison-fields", 1, anyStep, anywhere, poisoned(poisonFields)},
	{"poison-ids", 2, anyStep, anywhere, poisonIDs},
	{"broker-kill", 2, anyStep, onKafka, killBroker},
	{"cut", 3, anyStep, onKafka, cut},
	{"slow", 1, anyStep, onKafka, slow},
	{"reset", 2, anyStep, onKafka, reset},
	{"zombie", 1, anyStep, fenced, zombie},
	{"zombie-at", 1, at("stop", 25, failpoint.Always), fenced, zombieAt},
}

func faultNames() (names []string) {
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

func faultByName(name string) fault {
	return faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })]
}

// wait waits before a fault.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func kill(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	w.say("kill -9")
	w.all[0].kill()
	return true, w.all[0].startReady()
}

// killAt starts the instance so that it dies at a point.
func killAt(ctx context.Context, w *world, s step) (bool, error) {
	in := w.all[0]
	in.kill()
	if err := in.start(s.spec()); err != nil {
		return false, err
	}
	met := in.ended(10 * time.Second)
	w.say("%s: met: %v", s.spec(), met)
	in.kill()
	return met, in.startReady()
}

func killRecovering(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	in := w.all[0]
	in.kill()
	if s.pick%2 == 0 { // there must be something to recover
		if err := os.RemoveAll(filepath.Join(in.dir, "state")); err != nil {
			return false, err
		}
	}
	return killAt(ctx, w, s)
}

func killRevoking(ctx context.Context, w *world, s step) (bool, error) {
	in := w.all[0]
	in.kill()
	if err := in.start(s.spec()); err != nil {
		return false, err
	}
	if err := in.waitReady(60 * time.Second); err != nil {
		return false, err
	}
	wait(ctx, s.wait/2)
	in.signal(syscall.SIGTERM)
	if !in.ended(40 * time.Second) {
		return false, in.term()
	}
	met := in.hit.Load()
	w.say("%s: met: %v", s.spec(), met)
	return met, in.startReady()
}

func stopOrderly(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	if err := w.all[0].term(); err != nil {
		return false, err
	}
	return true, w.all[0].startReady()
}

// freeze stops the only instance past its session. Nobody takes over.
func freeze(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	w.all[0].signal(syscall.SIGSTOP)
	wait(ctx, sessionTimeout+s.pause)
	w.all[0].signal(syscall.SIGCONT)
	return true, nil
}

func wipe(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	in := w.all[0]
	in.kill()
	if err := w.empty(filepath.Join(in.dir, "state")); err != nil {
		return false, err
	}
	return true, in.startReady()
}

// killAtWipe kills at a point, lets what was not committed be handled again, and
// loses the tables: what they knew beyond their changelogs is gone then.
func killAtWipe(ctx context.Context, w *world, s step) (bool, error) {
	met, err := killAt(ctx, w, s)
	if err != nil {
		return met, err
	}
	s.wait = s.pause / 4
	_, err = wipe(ctx, w, s)
	return met, err
}

// empty removes what is in a directory, which may be a mount.
func (w *world) empty(dir string) error {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if e := os.RemoveAll(filepath.Join(dir, e.Name())); e != nil {
			return e
		}
	}
	return err
}

// rollBack lets the instance find its tables as they were some time ago.
func rollBack(ctx context.Context, w *world, s step) (bool, error) {
	in := w.all[0]
	state, old := filepath.Join(in.dir, "state"), filepath.Join(w.dir, "state-of-old")
	in.kill()
	if err := os.RemoveAll(old); err != nil {
		return false, err
	}
	if err := os.CopyFS(old, os.DirFS(state)); err != nil {
		return false, err
	}
	if err := in.startReady(); err != nil {
		return false, err
	}
	wait(ctx, s.wait)
	in.kill()
	if err := w.empty(state); err != nil {
		return false, err
	}
	if err := os.CopyFS(state, os.DirFS(old)); err != nil {
		return false, err
	}
	return true, in.startReady()
}

// flip changes one byte of a file of the tables.
func flip(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	in := w.all[0]
	in.kill()
	var files []string
	err := filepath.WalkDir(filepath.Join(in.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, e := d.Info(); e == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return false, fmt.Errorf("no file to flip a byte in: %w", err)
	}
	path := files[s.pick%uint64(len(files))]
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	i := (s.pick >> 16) % uint64(len(data))
	data[i] ^= 1 << (s.pick >> 8 % 8)
	w.damaged = true
	w.say("byte %d of %d flipped in %s", i, len(data), path)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return false, err
	}
	// A damaged file may be noticed when it is read, while running: then the
	// instance may end, and the next start begins anew.
	if err := in.startReady(); err != nil {
		in.kill()
		return true, in.startReady()
	}
	return true, nil
}

// mountable says why disks can't be filled here.
func mountable(string, stream.Guarantee) string {
	dir, err := os.MkdirTemp("", "baedal-mount.")
	if err != nil {
		return err.Error()
	}
	defer os.Remove(dir)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return "a small file system can't be mounted here (" + err.Error() + "): run it as root"
	}
	_ = syscall.Unmount(dir, syscall.MNT_DETACH)
	return ""
}

// diskFull fills a disk under the running instance: that of its tables, of the
// records where the broker is its own, or of all that it has.
func diskFull(ctx context.Context, w *world, s step) (bool, error) {
	in := w.all[0]
	dirs := []string{in.dir, filepath.Join(in.dir, "state")}
	if w.broker == "embedded" {
		dirs = append(dirs, filepath.Join(in.dir, "broker"))
	}
	dir := dirs[s.pick%uint64(len(dirs))]
	in.kill()
	leave, err := w.onSmallDisk(dir, 128<<20)
	if err != nil {
		return false, err
	}
	if err := in.startReady(); err != nil {
		return false, err
	}
	wait(ctx, s.wait)
	ballast := filepath.Join(dir, "ballast")
	_ = exec.Command("dd", "if=/dev/zero", "of="+ballast, "bs=64k").Run() // ends when there is no room
	cmd := in.cmd
	met := in.ended(4 * time.Second)
	w.say("%s is full: the instance ended: %v", dir, met)
	if err := os.Remove(ballast); err != nil {
		return false, err
	}
	if met {
		if err := in.endedInWords(cmd, 1); err != nil {
			return true, fmt.Errorf("%s is full: %w", dir, err)
		}
	}
	// A directory that is a mount can't be moved aside where it is damaged, and the
	// next faults may do that.
	in.kill()
	if err := leave(); err != nil {
		return false, err
	}
	return met, in.startReady()
}

// endedInWords finds that a process ended with a code, and with a line for
// people instead of the runtime's.
func (in *instance) endedInWords(cmd *exec.Cmd, code int) error {
	lines, err := in.said()
	if err != nil {
		return err
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "goroutine ") {
			return fmt.Errorf("it ended with %s and the runtime's words: %s", cmd.ProcessState, line)
		}
	}
	if cmd.ProcessState.ExitCode() != code {
		return fmt.Errorf("it ended with %s, not with %d", cmd.ProcessState, code)
	}
	return nil
}

// signalAtStart tells an instance to stop at any moment of its start, also while
// it waits for brokers that are away.
func signalAtStart(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait/4)
	in, waits := w.all[0], s.pick%3 == 0
	in.kill()
	if waits {
		in = w.all[1] // on the embedded broker it waits for the first one
		if w.kafka != nil {
			w.proxy.cut()
		}
	}
	if err := in.start(""); err != nil {
		return false, err
	}
	moment := time.Duration(s.pick>>8%1500) * time.Millisecond
	wait(ctx, moment)
	sig := syscall.SIGTERM
	if s.pick>>2%2 == 0 {
		sig = syscall.SIGINT
	}
	cmd, told := in.cmd, time.Now()
	in.signal(sig)
	stopped := in.ended(15 * time.Second)
	if waits && w.kafka != nil {
		if err := w.proxy.mend(); err != nil {
			return true, err
		}
	}
	if !stopped {
		return true, errors.Join(fmt.Errorf("it did not stop within 15s of %s, %s after its start (waiting: %v)", sig, moment, waits), in.term())
	}
	w.say("%s %s after the start (waiting: %v): ended after %s with %s", sig, moment, waits, time.Since(told).Round(time.Millisecond), cmd.ProcessState)
	lines, err := in.said()
	if err != nil {
		return true, err
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && len(lines) < 5 {
		return false, w.all[0].startReady() // before its first instruction: the kernel's word, not ours
	}
	if err := in.endedInWords(cmd, 0); err != nil {
		return true, fmt.Errorf("told to stop by %s, %s after its start (waiting: %v): %w", sig, moment, waits, err)
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "stopped") }) {
		return true, fmt.Errorf("told to stop by %s, %s after its start (waiting: %v): it does not say that it stopped", sig, moment, waits)
	}
	return true, w.all[0].startReady()
}

// onSmallDisk puts a directory onto a disk of its own with some bytes of room.
// What it returns takes the directory back as it is by then.
func (w *world) onSmallDisk(dir string, room int64) (leave func() error, err error) {
	aside, used := dir+".aside", int64(0)
	if err := os.Rename(dir, aside); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(aside, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			used += info.Size() + 4096 // of the last page
		}
		return err
	})
	err = errors.Join(err, os.Mkdir(dir, 0o755), syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", used+room)))
	if err != nil {
		return nil, err
	}
	w.mounts = []string{dir}
	if err := os.CopyFS(dir, os.DirFS(aside)); err != nil {
		return nil, err
	}
	return func() error {
		if err := errors.Join(os.RemoveAll(aside), os.CopyFS(aside, os.DirFS(dir)), syscall.Unmount(dir, syscall.MNT_DETACH)); err != nil {
			return err
		}
		w.mounts = nil
		return errors.Join(os.Remove(dir), os.Rename(aside, dir))
	}, nil
}

// scale goes from one instance to three and back.
func scale(ctx context.Context, w *world, s step) (bool, error) {
	return true, w.scaled(ctx, s, func(in *instance) error { return in.term() })
}

func scaleKill(ctx context.Context, w *world, s step) (bool, error) {
	return true, w.scaled(ctx, s, func(in *instance) error { in.kill(); return nil })
}

func (w *world) scaled(ctx context.Context, s step, end func(*instance) error) error {
	for _, in := range w.all[1:] {
		wait(ctx, s.pause/2)
		if err := in.startReady(); err != nil {
			return err
		}
	}
	wait(ctx, s.wait)
	for _, in := range w.all[1:] {
		if err := end(in); err != nil {
			return err
		}
		wait(ctx, s.pause/2)
	}
	return nil
}

func killBroker(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	if err := w.kafka.kill(); err != nil {
		return false, err
	}
	wait(ctx, s.pause)
	return true, w.kafka.start()
}

// cut takes the network away from the instances for a while.
func cut(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait)
	w.proxy.cut()
	wait(ctx, s.pause)
	return true, w.proxy.mend()
}

// slow makes each answer late.
func slow(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait/4)
	if err := w.proxy.slow(20+int(s.pick%100), 20); err != nil {
		return false, err
	}
	wait(ctx, 4*s.pause)
	return true, w.proxy.whole()
}

// reset breaks connections in the middle of what is said on them.
func reset(ctx context.Context, w *world, s step) (bool, error) {
	wait(ctx, s.wait/2)
	if err := w.proxy.reset(int(s.pick % 400)); err != nil {
		return false, err
	}
	wait(ctx, s.pause)
	return true, w.proxy.whole()
}

// zombie stops one of two instances until the other has taken over, and lets it
// go on.
func zombie(ctx context.Context, w *world, s step) (bool, error) {
	if err := w.all[1].startReady(); err != nil {
		return false, err
	}
	wait(ctx, s.wait)
	in := w.all[s.pick%2]
	in.signal(syscall.SIGSTOP)
	wait(ctx, sessionTimeout+2*time.Second)
	in.signal(syscall.SIGCONT)
	wait(ctx, 2*time.Second)
	return true, nil
}

// zombieAt is zombie with the moment chosen.
func zombieAt(ctx context.Context, w *world, s step) (bool, error) {
	in := w.all[1]
	if err := in.start(s.spec()); err != nil {
		return false, err
	}
	for began := time.Now(); !in.stopped.Load(); {
		if time.Since(began) > 12*time.Second || in.ended(20*time.Millisecond) {
			w.say("%s: not met", s.spec())
			return false, nil
		}
	}
	w.say("%s: met", s.spec())
	wait(ctx, sessionTimeout+2*time.Second)
	in.signal(syscall.SIGCONT)
	wait(ctx, 2*time.Second)
	return true, nil
}

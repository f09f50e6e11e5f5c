package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"baedal/broker"
	"baedal/topics"
)

const (
	partitions     = 4
	sessionTimeout = 3 * time.Second
)

// world is one installation: a broker, instances, and what is known of it.
type world struct {
	*suite
	dir     string
	prefix  string
	cat     *topics.Catalog
	addr    string // of the broker, for everybody but the instances
	lived   int    // rounds
	first   int    // the first of them
	all     [3]*instance
	round   round
	mounts  []string
	proxy   *proxy   // between the instances and Kafka
	left    []string // copies of what dead processes left on their disks
	damaged bool     // a fault has damaged files on a disk

	ledger    *ledger
	disturber *disturber       // of the round
	own       *broker.Embedded // while no instance holds it
}

func (s *suite) newWorld(ctx context.Context, name string) (*world, error) {
	w := &world{suite: s, dir: filepath.Join(s.dir, name)}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	if s.broker == "kafka" {
		w.prefix = fmt.Sprintf("%s-%d.", name, time.Now().UnixNano()%1e6)
		if err := s.kafkaUp(); err != nil {
			return nil, err
		}
		w.addr, w.proxy = s.kafka.addr, s.kafka.proxy
	} else {
		w.addr = freeAddr()
	}
	w.cat = topics.New(w.prefix, partitions)
	w.ledger = newLedger(w)
	for i := range w.all {
		w.all[i] = &instance{w: w, number: i, dir: filepath.Join(w.dir, "data-"+strconv.Itoa(i))}
	}
	return w, ctx.Err()
}

// kafkaUp starts the suite's Kafka, behind the proxy that instances use.
func (s *suite) kafkaUp() error {
	if s.kafka != nil {
		return nil
	}
	s.kafka = &kafka{script: "deploy/kafka.sh", dir: filepath.Join(s.dir, "kafka"), proxy: &proxy{addr: freeAddr()}}
	if err := s.kafka.start(); err != nil {
		return err
	}
	return s.kafka.proxy.to(s.kafka.upstream)
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a machine without a free port
	}
	defer l.Close()
	return l.Addr().String()
}

// arguments are of an instance's process. The first one is whole, and on the
// embedded broker holds it; the others run groups alone.
func (w *world) arguments(number int, dir string) []string {
	commit := w.round.commit
	if commit == 0 {
		commit = 100 * time.Millisecond
	}
	args := []string{"run", "--brokers", w.addr}
	if number == 0 {
		args = []string{"up", "--kafka-listen", w.addr}
		if w.kafka != nil {
			args = []string{"up", "--brokers", w.proxy.addr}
		}
		args = append(args, "--http", "127.0.0.1:0")
	} else if w.kafka != nil {
		args[2] = w.proxy.addr
	}
	return append(args, "--prefix", w.prefix, "--partitions", strconv.Itoa(partitions), "--data-dir", dir,
		"--guarantee", string(w.guarantee), "--session-timeout", sessionTimeout.String(), "--commit-interval", commit.String(),
		// Nobody brings what the disturber orders: it must end by a deadline.
		"--deadline", "ready=4s", "--deadline", "paying=20s", "--gateway", "fail-rate=0.05,decline-over=24000")
}

func (w *world) close() {
	for _, in := range w.all {
		in.kill()
	}
	if w.own != nil {
		_ = w.own.Close()
	}
	w.ledger.close()
	if w.keep {
		return
	}
	for _, m := range w.mounts {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	for _, in := range w.all {
		_ = os.RemoveAll(in.dir)
	}
}

func (w *world) say(format string, args ...any) {
	if w.verbose {
		fmt.Fprintf(w.out, "    %s %s\n", time.Now().Format("15:04:05.0"), fmt.Sprintf(format, args...))
	}
}

// result is what a round came to.
type result struct {
	met, unmet int // faults
	orders     int
	byStatus   map[string]int
	poison     int
	repeats    int
	tables     int // compared with their changelogs
	audit      string
}

func (r result) String() string {
	var by []string
	for s, n := range r.byStatus {
		by = append(by, fmt.Sprintf("%d %s", n, s))
	}
	slices.Sort(by)
	s := fmt.Sprintf("%d orders (%s), %d poisoned, %d sent twice, %d tables left behind are right, %s", r.orders, strings.Join(by, ", "), r.poison, r.repeats, r.tables, r.audit)
	if r.unmet > 0 {
		s += fmt.Sprintf(" (%d failpoints not met)", r.unmet)
	}
	return s
}

// broken is a promise that does not hold, with who found it.
type broken struct {
	by   string // load, ledger, audit, or instance
	text string
}

func (b broken) Error() string { return b.by + ": " + b.text }

// live lives through one round: load, faults, healing, checks. What the error
// joins are brokens, unless the round could not be run at all.
func (w *world) live(ctx context.Context, r round) (res result, err error) {
	if f := faultByName(r.fault); f.spoils() {
		return w.liveSpoiled(ctx, r, f)
	}
	w.round = r
	first := w.all[0]
	if first.cmd == nil {
		if err := first.startReady(); err != nil {
			return res, broken{"instance", err.Error()}
		}
	}
	load, err := w.startLoad(ctx)
	if err != nil {
		return res, err
	}
	d, err := w.ledger.disturb(ctx, r)
	if err != nil {
		return res, err
	}
	w.disturber = d
	f := faultByName(r.fault)
	for _, st := range r.steps {
		met, err := f.do(ctx, w, st)
		if err != nil {
			load.cancel()
			_ = d.stop()
			return res, broken{"instance", err.Error()}
		}
		if met {
			res.met++
		} else {
			res.unmet++
		}
	}
	if err := w.heal(); err != nil {
		load.cancel()
		_ = d.stop()
		return res, broken{"instance", err.Error()}
	}
	w.say("healed")
	var errs []error
	report, err := load.wait()
	unsaid := d.stop()
	if ctx.Err() != nil {
		return res, ctx.Err()
	}
	if unsaid != nil {
		errs = append(errs, broken{"ledger", unsaid.Error()})
	}
	if err != nil {
		errs = append(errs, broken{"load", err.Error()})
	}
	res.orders, res.byStatus = report.Orders, report.ByStatus
	w.say("load has ended")
	if err := w.ledger.settle(ctx, w.patience); err != nil {
		errs = append(errs, broken{"ledger", err.Error()})
	}
	res.poison, res.repeats = d.count()
	w.say("ledger is settled")
	if res.tables, err = w.compareTables(ctx); err != nil {
		errs = append(errs, broken{"tables", err.Error()})
	}
	if res.audit, err = w.audit(ctx, r.n); err != nil {
		errs = append(errs, broken{"audit", err.Error()})
	}
	return res, errors.Join(errs...)
}

// heal brings the installation back to one whole instance.
func (w *world) heal() error {
	for _, in := range w.all[1:] {
		if in.cmd != nil {
			in.signal(syscall.SIGCONT)
			if err := in.term(); err != nil {
				return err
			}
		}
	}
	first := w.all[0]
	first.signal(syscall.SIGCONT)
	if first.ended(0) {
		if err := first.start(""); err != nil {
			return err
		}
	}
	return first.waitReady(60 * time.Second)
}

// loadRun is simulated people at work.
type loadRun struct {
	cancel context.CancelFunc
	cmd    *exec.Cmd
	out    bytes.Buffer
	err    bytes.Buffer
	done   chan error
}

type loadReport struct {
	Orders             int            `json:"orders"`
	ByStatus           map[string]int `json:"byStatus"`
	Unfinished         int            `json:"unfinished"`
	UnfinishedByStatus map[string]int `json:"unfinishedByStatus"`
	UnfinishedOrders   []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	} `json:"unfinishedOrders"`
}

// startLoad starts the load and returns when its orders begin to come.
func (w *world) startLoad(ctx context.Context) (*loadRun, error) {
	l := &loadRun{done: make(chan error, 1)}
	ctx, l.cancel = context.WithTimeout(ctx, 2*w.patience+2*time.Minute)
	l.cmd = exec.CommandContext(ctx, w.bin, "load", "--brokers", w.addr, "--prefix", w.prefix, "--partitions", strconv.Itoa(partitions),
		"--orders", strconv.Itoa(w.orders), "--rate", fmt.Sprint(w.rate), // So many areas that none has more orders at once than its row remembers of what is over.
		"--stores", "20", "--areas", "20", "--riders", "40", "--capacity", "1",
		"--manual-share", "0.34", "--cancel-rate", "0.2", "--cooking-time", "150ms", "--timeout", w.patience.String(), "--format", "json")
	l.cmd.Stdout = &l.out
	placing := make(chan struct{})
	l.cmd.Stderr = writerFunc(func(b []byte) {
		select {
		case <-placing:
		default:
			if bytes.Contains(b, []byte("order")) {
				close(placing)
			}
		}
		l.err.Write(b)
	})
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startLocked(l.cmd); err != nil {
		return nil, err
	}
	go func() { l.done <- l.cmd.Wait(); close(l.done) }()
	select {
	case <-placing:
	case <-l.done:
	case <-time.After(15 * time.Second):
	}
	return l, nil
}

func (l *loadRun) wait() (r loadReport, err error) {
	defer l.cancel()
	err = <-l.done
	if e := json.Unmarshal(l.out.Bytes(), &r); e != nil {
		return r, fmt.Errorf("%w: %s", errors.Join(err, e), tail(l.err.String(), 3))
	}
	if r.Unfinished > 0 {
		var some []string
		for _, o := range r.UnfinishedOrders[:min(5, len(r.UnfinishedOrders))] {
			some = append(some, o.ID+" ("+o.Status+")")
		}
		return r, fmt.Errorf("%d of %d orders have not ended: %v, such as %s: %s", r.Unfinished, r.Orders, r.UnfinishedByStatus, strings.Join(some, ", "), tail(l.err.String(), 1))
	}
	return r, err
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], " | ")
}

// audit runs `baedal audit` over all that the installation has ever done.
func (w *world) audit(ctx context.Context, n int) (string, error) {
	if w.noAudit {
		return "NOT AUDITED", nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin, "audit", "--brokers", w.addr, "--prefix", w.prefix, "--partitions", strconv.Itoa(partitions),
		"--guarantee", string(w.guarantee), "--settle", "15s")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // for its stacks
	out, err := cmd.CombinedOutput()
	path := filepath.Join(w.dir, fmt.Sprintf("audit-%d.txt", n))
	_ = os.WriteFile(path, out, 0o644)
	if err != nil {
		return "audit failed", fmt.Errorf("%s (%w, all of it: %s)", foundBy(string(out)), err, path)
	}
	return fmt.Sprintf("audit ok in %.1f s", time.Since(began).Seconds()), nil
}

// foundBy is the first of what the audit names, which stands behind its table.
func foundBy(out string) string {
	blocks := strings.Split(strings.TrimSpace(out), "\n\n")
	lines := strings.Split(blocks[len(blocks)-1], "\n")
	return strings.Join(lines[:min(3, len(lines))], " | ")
}

// auditThere reports whether the program has the command.
func auditThere(bin string) bool {
	out, err := exec.Command(bin, "audit", "--help").CombinedOutput()
	return err == nil && bytes.Contains(out, []byte("--guarantee"))
}

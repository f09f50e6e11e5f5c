// Package integration runs the program as its users do: as a process beside a
// broker, spoken to over the streams and over HTTP. Everything runs against the
// embedded broker, and against a real Kafka where one is given.
package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/order"
	"baedal/internal/kafkatest"
	"baedal/sim"
	"baedal/stream"
	"baedal/topics"
)

// patience is how long a test waits for anything that must come.
const patience = 30 * time.Second

var program string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: whole flows take minutes: make integration")
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "baedal-integration-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "baedal")
	build := exec.Command("go", "build", "-o", program, "baedal/cmd/baedal")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is a running baedal.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	http string // host:port, of one that serves
	addr string // of the brokers
	done chan struct{}
}

var upLine = regexp.MustCompile(`HTTP http://(\S+)\s+Kafka (\S+)`)

// start starts the program and returns when it says that it is up.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	select {
	case <-p.done:
		require.FailNow(t, "baedal ended before it was up; its words are above")
	case <-time.After(2 * patience):
		require.FailNow(t, "baedal was not up in time")
	case <-p.up():
	}
	return p
}

var ups sync.Map // *process → chan struct{}

func (p *process) up() <-chan struct{} {
	c, _ := ups.Load(p)
	return c.(chan struct{})
}

// launch starts the program without waiting.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), done: make(chan struct{})}
	up := make(chan struct{})
	ups.Store(p, up)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.cmd.Stderr = t.Output()
	for _, e := range os.Environ() { // what a test wants it says in flags
		if !strings.HasPrefix(e, "BAEDAL_") {
			p.cmd.Env = append(p.cmd.Env, e)
		}
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(stdout)
		said := false
		for lines.Scan() {
			if m := upLine.FindStringSubmatch(lines.Text()); m != nil && !said {
				p.http, p.addr, said = m[1], m[2], true
				close(up)
			}
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.stop)
	return p
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process in an orderly way.
func (p *process) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Error("baedal did not stop on SIGTERM")
		p.kill()
	}
}

// world is an installation with somebody who talks to it and listens.
type world struct {
	t   testing.TB
	cat *topics.Catalog
	cl  *kgo.Client
	p   *process

	mu       sync.Mutex
	news     *sync.Cond
	events   map[string][]order.Event // by order and version, each once; the zero event is one that has not come yet
	verdicts map[string]domain.Verdict
	problems []string
	once     bool // with exactly-once each event comes once, and in order
}

// newWorld starts an engine on a broker, with the flags given, and listens.
func newWorld(t testing.TB, b kafkatest.Broker, flags ...string) *world {
	t.Helper()
	prefix := b.Prefix(t)
	w := newListener(t, b.Addr, prefix)
	w.p = start(t, append(engineFlags(t, b.Addr, prefix), flags...)...)
	w.listen(t, b.Addr)
	t.Cleanup(func() { // whatever was done to it, it has kept its promises
		if !t.Failed() {
			r, code := runAudit(t, b.Addr, prefix, stream.AtLeastOnce)
			assert.Zero(t, code, "the audit at the end: %v", r.Violations)
		}
	})
	return w
}

func engineFlags(t testing.TB, addr, prefix string) []string {
	return []string{"up", "--brokers", addr, "--prefix", prefix, "--partitions", "4", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0"}
}

func newListener(t testing.TB, addr, prefix string) *world {
	w := &world{t: t, cat: topics.New(prefix, 4), events: map[string][]order.Event{}, verdicts: map[string]domain.Verdict{}}
	w.news = sync.NewCond(&w.mu)
	var err error
	w.cl, err = kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(sim.Partitioner()), kgo.ProducerLinger(0))
	require.NoError(t, err)
	t.Cleanup(w.cl.Close)
	return w
}

// listen reads order-events and verdicts from the beginning.
func (w *world) listen(t testing.TB, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(w.cat.OrderEvents.Name(), w.cat.Verdicts.Name()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(w.hear)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); cl.Close() })
}

// hear notes a record, and whether it breaks a promise: one event for one
// version, one verdict for one command.
func (w *world) hear(r *kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.news.Broadcast()
	wrong := func(format string, args ...any) { w.problems = append(w.problems, fmt.Sprintf(format, args...)) }
	if r.Topic == w.cat.Verdicts.Name() {
		v, err := codecs.Decode[domain.Verdict](r.Value)
		if err != nil {
			wrong("verdict %s: %v", r.Value, err)
			return
		}
		// Another command under the same id is refused, under the same id.
		if old, ok := w.verdicts[v.CommandID]; ok && old.Digest == v.Digest && old != *v {
			wrong("two verdicts on %s: %+v and %+v", v.CommandID, old, *v)
		}
		w.verdicts[v.CommandID] = *v
		return
	}
	e, err := codecs.Decode[order.Event](r.Value)
	if err != nil {
		wrong("event %s: %v", r.Value, err)
		return
	}
	if seen := len(w.events[e.OrderID]); w.once && e.Version != seen+1 {
		wrong("order %s: version %d comes after %d", e.OrderID, e.Version, seen)
	}
	// At least once: after a crash what was not committed is said again, in the order in
	// which it is read again: an event may come late, but none is left out.
	for len(w.events[e.OrderID]) < e.Version {
		w.events[e.OrderID] = append(w.events[e.OrderID], order.Event{})
	}
	at := &w.events[e.OrderID][e.Version-1]
	if at.Version == 0 {
		*at = *e
		return
	}
	if then, _ := codecs.Marshal(at); !bytes.Equal(then, r.Value) {
		wrong("order %s, version %d was %s and is %s", e.OrderID, e.Version, then, r.Value)
	}
}

// until waits until what is heard satisfies a condition.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	wake := time.AfterFunc(patience, w.news.Broadcast)
	defer wake.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !cond() {
		if time.Now().After(deadline) {
			require.FailNow(w.t, "it did not come", "%s; heard: %v", what, w.summary())
		}
		w.news.Wait()
	}
}

func (w *world) summary() map[string][]string {
	all := map[string][]string{}
	for id, es := range w.events {
		if len(all) < 5 {
			for _, e := range es {
				all[id] = append(all[id], e.Type)
			}
		}
	}
	return all
}

// reaches waits until an order has had an event of a type, and returns it.
func (w *world) reaches(id, typ string) (e order.Event) {
	w.t.Helper()
	w.until(fmt.Sprintf("order %s: %s", id, typ), func() bool {
		for _, e = range w.events[id] {
			if e.Type == typ {
				return true
			}
		}
		return false
	})
	return e
}

// types returns the types of an order's events so far.
func (w *world) types(id string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events[id] {
		all = append(all, e.Type)
	}
	return all
}

// verdict waits for the verdict on a command.
func (w *world) verdict(id string) (v domain.Verdict) {
	w.t.Helper()
	w.until("a verdict on "+id, func() bool {
		var ok bool
		v, ok = w.verdicts[id]
		return ok
	})
	return v
}

// sound fails if anything was heard that breaks a promise.
func (w *world) sound() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(w.t, w.problems)
	for id, es := range w.events {
		for i, e := range es {
			require.Equal(w.t, i+1, e.Version, "order %s lacks a version", id)
		}
	}
}

// say produces a command as JSON onto a stream.
func (w *world) say(stream, key, format string, args ...any) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := &kgo.Record{Topic: stream, Key: []byte(key), Value: fmt.Appendf(nil, format, args...)}
	require.NoError(w.t, w.cl.ProduceSync(ctx, r).FirstErr())
}

func (w *world) order(id, format string, args ...any) {
	w.t.Helper()
	w.say(w.cat.OrderCommands.Name(), id, format, args...)
}

func (w *world) rider(id, format string, args ...any) {
	w.t.Helper()
	w.say(w.cat.RiderCommands.Name(), id, format, args...)
}

// place places an order of n of a product.
func (w *world) place(id, store, product string, n int) {
	w.t.Helper()
	w.order(id, `{"type":"place","id":"%s-place","userId":"u-%s","storeId":"%s","lines":[{"product":"%s","quantity":%d}],"address":{"lat":37.51,"lon":127.04}}`,
		id, id, store, product, n)
}

// openStore registers a store with ten of a product for 9000 each.
func (w *world) openStore(id, area, more string) {
	w.t.Helper()
	s := w.cat.StoreCommands.Name()
	for field, usual := range map[string]string{"autoAccept": "false", "cookingTime": `"0s"`} {
		if !strings.Contains(more, field) {
			more += fmt.Sprintf(`,%q:%s`, field, usual)
		}
	}
	w.say(s, id, `{"type":"register","name":"%s","area":"%s","lat":37.5,"lon":127.03%s}`, id, area, more)
	w.say(s, id, `{"type":"put_product","product":"bibimbap","name":"Bibimbap","price":9000}`)
	w.say(s, id, `{"type":"add_stock","id":"%s-stock","product":"bibimbap","quantity":10,"verdict":true}`, id)
	require.Equal(w.t, domain.Accepted, w.verdict(id+"-stock").Verdict)
}

// riderOnline brings a rider on shift.
func (w *world) riderOnline(id, area string) {
	w.t.Helper()
	w.rider(id, `{"type":"online","id":"%s-online","area":"%s","lat":37.5,"lon":127.03,"verdict":true}`, id, area)
	require.Equal(w.t, domain.Accepted, w.verdict(id+"-online").Verdict)
}

// run is t.Run for a part of a test that shares the world.
func (w *world) run(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		whole := w.t
		w.t = t
		defer func() { w.t = whole }()
		f(t)
	})
}

// get reads JSON over HTTP; it fails unless the answer has the status.
func (w *world) get(path string, status int, v any) http.Header {
	w.t.Helper()
	return w.call(http.MethodGet, path, "", status, v)
}

func (w *world) call(method, path, body string, status int, v any) http.Header {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://"+w.p.http+path, strings.NewReader(body))
	require.NoError(w.t, err)
	res, err := (&http.Client{Timeout: patience}).Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, status, res.StatusCode, "%s %s: %s", method, path, data)
	if v != nil {
		require.NoError(w.t, json.Unmarshal(data, v), "%s", data)
	}
	return res.Header
}

// stock is what of a product a store has.
type stock struct{ OnHand, Reserved, Available int }

// stockOf waits until the view says what is expected of the bibimbap.
func (w *world) stockIs(store string, want stock) {
	w.t.Helper()
	var got stock
	kafkatest.Eventually(w.t, func() bool {
		var s struct{ Products []stock }
		w.get("/v1/stores/"+store+"/stock", http.StatusOK, &s)
		if len(s.Products) == 1 {
			got = s.Products[0]
		}
		return got == want
	}, patience, 20*time.Millisecond, "stock of %s: want %+v, last %+v", store, want, &got)
}

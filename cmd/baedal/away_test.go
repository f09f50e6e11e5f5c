package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
)

// output is what a process says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) lines(text string) (all []string) {
	for line := range strings.Lines(o.String()) {
		if strings.Contains(line, text) {
			all = append(all, line)
		}
	}
	return all
}

// program is Main at work within the test.
type program struct {
	t        *testing.T
	out, err output
	stop     context.CancelFunc
	done     chan struct{}
	code     int
	http     string
}

// launch runs the program without waiting for anything.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, done: make(chan struct{})}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		defer close(p.done)
		p.code = Main(ctx, args, &p.out, &p.err)
	}()
	t.Cleanup(func() {
		p.stop()
		<-p.done
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(args, " "), p.err.String())
		}
	})
	return p
}

var welcome = regexp.MustCompile(`Baedal is up\.\s+HTTP (http://\S+)`)

// up waits until the program says that it is.
func (p *program) up() *program {
	p.t.Helper()
	p.eventually("it is up", time.Minute, func() bool {
		select {
		case <-p.done:
			require.FailNow(p.t, "it ended", p.err.String())
		default:
		}
		if m := welcome.FindStringSubmatch(p.out.String()); m != nil {
			p.http = m[1]
			return true
		}
		return false
	})
	return p
}

// ends waits for the end and returns the exit code.
func (p *program) ends() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		require.FailNow(p.t, "it does not end", p.err.String())
	}
	return p.code
}

func (p *program) eventually(what string, limit time.Duration, ok func() bool) {
	p.t.Helper()
	require.Eventually(p.t, ok, limit, 20*time.Millisecond, what)
}

// call answers with the status, and the body where it is JSON.
func (p *program) call(method, path, body string, headers ...string) (int, map[string]any, http.Header) {
	req, err := http.NewRequest(method, p.http+path, strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return 0, nil, nil
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		p.t.Error(err)
		return 0, nil, nil
	}
	defer res.Body.Close()
	data, _ := io.ReadAll(res.Body)
	var m map[string]any
	_ = json.Unmarshal(data, &m)
	return res.StatusCode, m, res.Header
}

// The brokers of the whole program are away, in two ways, and come back.
func TestUp_BrokersAway(t *testing.T) {
	kafkatest.Waits(t)
	for name, shut := range map[string]func(*kafkatest.Gate){"Stopped": (*kafkatest.Gate).Freeze, "Refusing": (*kafkatest.Gate).Cut} {
		t.Run(name, func(t *testing.T) {
			kafkatest.Waits(t)
			b, gate := kafkatest.Gated(t)
			prefix := b.Prefix(t)
			p := launch(t, "up", "--brokers", b.Addr, "--prefix", prefix, "--partitions", "4", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0").up()
			place := func(id, query string, headers ...string) (int, map[string]any, http.Header) {
				return p.call("POST", "/v1/orders"+query, fmt.Sprintf(
					`{"id":"%s","userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`, id), headers...)
			}
			code, _, _ := place("before", "?wait=refused")
			require.Equal(t, http.StatusCreated, code)
			said := len(p.err.lines("level="))

			shut(gate)
			began := time.Now()
			outcomes := map[string]string{} // by order: no, unknown
			var mu sync.Mutex
			var clients sync.WaitGroup
			for i := range 40 {
				clients.Go(func() {
					id, sent := fmt.Sprintf("early-%d", i), time.Now()
					code, body, header := place(id, "", "Prefer", "wait=1")
					if took := time.Since(sent); took > 1500*time.Millisecond {
						t.Errorf("it took %s with a limit of 1s", took)
					}
					if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
						t.Errorf("%d %v", code, body)
					}
					mu.Lock()
					defer mu.Unlock()
					outcomes[id] = fmt.Sprint(body["sent"])
				})
			}
			clients.Wait()
			p.eventually("it is known", 5*time.Second, func() bool { return len(p.err.lines("no broker answers")) > 0 })
			p.eventually("it is not ready", 5*time.Second, func() bool { code, _, _ := p.call("GET", "/readyz", ""); return code == http.StatusServiceUnavailable })
			require.Less(t, time.Since(began), 5*time.Second)
			for i := range 200 {
				id, sent := fmt.Sprintf("late-%d", i), time.Now()
				code, body, header := place(id, "")
				require.Less(t, time.Since(sent), 300*time.Millisecond)
				require.Equal(t, http.StatusServiceUnavailable, code)
				require.NotEmpty(t, header.Get("Retry-After"))
				require.Equal(t, "no", body["sent"])
				outcomes[id] = "no"
			}
			code, body, header := p.call("GET", "/v1/orders/before", "")
			require.Equal(t, http.StatusOK, code, "reads go on")
			require.Equal(t, "refused", body["status"])
			require.NotEmpty(t, header.Get("Baedal-Staleness-Ms"))
			time.Sleep(time.Until(began.Add(15 * time.Second))) // longer than sessions live
			code, _, _ = p.call("GET", "/v1/orders/before", "")
			require.Equal(t, http.StatusOK, code, "reads go on")
			during := p.err.lines("level=")[said:]

			gate.Open()
			back := time.Now()
			p.eventually("it is ready again", 30*time.Second, func() bool { code, _, _ := p.call("GET", "/readyz", ""); return code == http.StatusOK })
			t.Logf("ready again after %s", time.Since(back))
			p.eventually("orders are taken again", 10*time.Second, func() bool { code, _, _ := place("after", "?wait=refused"); return code == http.StatusCreated })
			p.stop()
			require.Zero(t, p.ends())

			there := map[string]bool{}
			topic := prefix + "order-commands"
			ends, err := kadm.NewClient(b.Client(t)).ListEndOffsets(t.Context(), topic)
			require.NoError(t, err)
			var records int64
			ends.Each(func(o kadm.ListedOffset) { records += o.Offset })
			reader := b.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			for n := int64(0); n < records; {
				reader.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) { n++; there[string(r.Key)] = true })
			}
			require.True(t, there["before"] && there["after"])
			unknown := 0
			for id, sent := range outcomes {
				if sent == "unknown" {
					unknown++
					continue
				}
				require.Equal(t, "no", sent)
				require.False(t, there[id], "%s was said to be not sent", id)
			}
			t.Logf("%d not sent, %d unknown", len(outcomes)-unknown, unknown)
			require.Len(t, during, 1, "one line says it: %s", strings.Join(during, ""))
			require.Contains(t, during[0], "no broker answers")
			require.Len(t, p.err.lines("the brokers are back"), 1)
			require.Empty(t, p.err.lines("level=ERROR"))
		})
	}
}

// Told to stop while nothing can be drained, the program ends soon, and well.
func TestUp_StoppedWhileBrokersAway(t *testing.T) {
	kafkatest.Waits(t)
	for name, shut := range map[string]func(*kafkatest.Gate){"Stopped": (*kafkatest.Gate).Freeze, "Refusing": (*kafkatest.Gate).Cut} {
		t.Run(name, func(t *testing.T) {
			kafkatest.Waits(t)
			b, gate := kafkatest.Gated(t)
			p := launch(t, "up", "--brokers", b.Addr, "--prefix", b.Prefix(t), "--partitions", "4", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0").up()
			shut(gate)
			for i := range 8 { // in flight
				p.call("POST", "/v1/orders", fmt.Sprintf(
					`{"id":"o%d","userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`, i), "Prefer", "wait=1")
			}
			told := time.Now()
			p.stop()
			require.Zero(t, p.ends(), p.err.String())
			require.Less(t, time.Since(told), reachKnown+awayPatience+3*time.Second)
			require.Len(t, p.err.lines("stopped"), 1)
		})
	}
}

// reachKnown is the longest that brokers which don't answer are not known to be
// away.
const reachKnown = 3 * time.Second

// An admin makes topics refuse what is sent there: one line says what mends it, and
// with that done everything goes on.
func TestUp_TopicsRefuse(t *testing.T) {
	kafkatest.Waits(t)
	b := kafkatest.Embedded(t)
	prefix := b.Prefix(t)
	p := launch(t, "up", "--brokers", b.Addr, "--prefix", prefix, "--partitions", "2", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0").up()
	most := func(topic, bytes string) {
		_, err := kadm.NewClient(b.Client(t)).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &bytes}}, prefix+topic)
		require.NoError(t, err)
	}
	place := func(id string) int {
		code, _, _ := p.call("POST", "/v1/orders", fmt.Sprintf(
			`{"id":"%s","userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`, id), "Prefer", "respond-async")
		return code
	}
	said := func(topic string) []string {
		return p.err.lines("raise max.message.bytes of " + prefix + topic + " to")
	}
	for _, topic := range []string{"orders-table", "order-events"} {
		most(topic, "300")
		for i := range 4 {
			require.Equal(t, http.StatusAccepted, place(fmt.Sprint(topic, i)))
		}
		p.eventually("it is said", 10*time.Second, func() bool { return len(said(topic)) > 0 })
		time.Sleep(refusedTwice)
		most(topic, "1048588")
		for i := range 4 {
			p.eventually("the order goes on", 30*time.Second, func() bool {
				_, body, _ := p.call("GET", fmt.Sprint("/v1/orders/", topic, i), "")
				return body["status"] == "refused" // nobody has the store
			})
		}
		require.Len(t, said(topic), 1)
		require.Empty(t, p.err.lines("a group stopped"))
	}
	most("order-commands", "100")
	for i := range 4 {
		require.Equal(t, http.StatusServiceUnavailable, place(fmt.Sprint("refused", i)))
	}
	require.Len(t, said("order-commands"), 1)
	most("order-commands", "1048588")
	require.Equal(t, http.StatusAccepted, place("taken"))
}

// refusedTwice is longer than a group waits until it tries again.
const refusedTwice = 5 * time.Second

// Some of --brokers are away from the start, with blanks and a scheme around them:
// the others do, without a word of it.
func TestUp_OneBrokerAway(t *testing.T) {
	kafkatest.Waits(t)
	b := kafkatest.Embedded(t)
	for range 2 {
		p := launch(t, "up", "--brokers", "127.0.0.1:1, PLAINTEXT://127.0.0.1:2 , "+b.Addr, "--prefix", b.Prefix(t), "--partitions", "2", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0").up()
		require.Contains(t, p.out.String(), "Kafka 127.0.0.1:1,127.0.0.1:2,"+b.Addr)
		p.stop()
		require.Zero(t, p.ends())
		require.Empty(t, append(p.err.lines("level=ERROR"), p.err.lines("level=WARN")...))
	}
}

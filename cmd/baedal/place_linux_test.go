package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/internal/kafkatest"
)

// serves waits until a process is ready, and returns the address of its API.
func (c *child) serves() string {
	c.t.Helper()
	c.until(&c.err, "serving HTTP")
	c.until(&c.err, "msg=ready")
	return "http://" + regexp.MustCompile(serving).FindStringSubmatch(c.err.String())[1]
}

// said is what an API answered: status 0 is a cut connection.
type said struct {
	status int
	json   map[string]any
	header http.Header
}

var clients = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}

func ask(method, url, body string, headers ...string) said {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return said{}
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := clients.Do(req)
	if err != nil {
		return said{}
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return said{}
	}
	out := said{status: res.StatusCode, header: res.Header}
	_ = json.Unmarshal(data, &out.json)
	return out
}

// openStore registers the store that orderFor orders from, with plenty of everything.
func openStore(t require.TestingT, url string) {
	for _, c := range [][3]string{
		{"PUT", "/v1/stores/s", `{"name":"S","area":"a","lat":37.5,"lon":127,"autoAccept":false,"cookingTime":"5m"}`},
		{"PUT", "/v1/stores/s/products/p", `{"name":"P","price":5}`},
		{"POST", "/v1/stores/s/products/p/add", `{"quantity":1000000}`},
	} {
		a := ask(c[0], url+c[1], c[2], "Prefer", "wait=30")
		require.Equal(t, http.StatusOK, a.status, "%v: %v", c, a.json)
	}
}

func orderFor(user string, quantity int) string {
	return fmt.Sprintf(`{"userId":%q,"storeId":"s","lines":[{"product":"p","quantity":%d}],"address":{"text":"x","lat":37.5,"lon":127}}`, user, quantity)
}

// Of two instances one is killed while clients wait at both. Each client gets the
// truth, or is told that it is not known yet, or nothing; and the other instance,
// asked again under the same key, says the same.
func TestPlace_OneOfTwoKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a killed member is missed for its session's time")
	}
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		prefix := b.Prefix(t)
		start := func() *child {
			return spawn(t, nil, "up", "--brokers", b.Addr, "--prefix", prefix, "--partitions", "4", "--data-dir", t.TempDir(), "--http", "127.0.0.1:0", "--session-timeout", "6s")
		}
		first := start()
		at := first.serves()
		second := start()
		other := second.serves()
		openStore(t, at)

		const people = 60
		var mu sync.Mutex
		answers := map[string][]said{} // by key
		stop := make(chan struct{})
		var all sync.WaitGroup
		for i := range people {
			all.Go(func() {
				url := at
				if i%2 == 1 {
					url = other
				}
				for n := 0; ; n++ {
					key := fmt.Sprintf("k-%d-%d", i, n)
					a := ask("POST", url+"/v1/orders", orderFor("u", 1+n%3), "Idempotency-Key", key, "Prefer", "wait=2")
					mu.Lock()
					answers[key] = append(answers[key], a)
					mu.Unlock()
					select {
					case <-stop:
						return
					default:
					}
					if a.status == 0 {
						return
					}
				}
			})
		}
		time.Sleep(time.Second) // so that all kinds of waits are under way
		require.NoError(t, first.cmd.Process.Kill())
		time.Sleep(500 * time.Millisecond)
		close(stop)
		all.Wait()

		counts := map[int]int{}
		for key, was := range answers {
			counts[was[0].status]++
			var n int
			_, err := fmt.Sscanf(key[strings.LastIndex(key, "-")+1:], "%d", &n)
			require.NoError(t, err)
			before := was[0]
			require.Contains(t, []int{0, 201, 202, 503}, before.status, "%s: %v", key, before.json)
			if before.status == 201 { // it is there, whatever has happened since
				require.Equal(t, 200, ask("GET", other+before.header.Get("Location"), "").status, key)
			}
			if before.status == 202 {
				require.Equal(t, "pending", before.json["verdict"])
			}
			again := ask("POST", other+"/v1/orders", orderFor("u", 1+n%3), "Idempotency-Key", key, "Prefer", "wait=60")
			require.Equal(t, 201, again.status, "%s: %v, was %d", key, again.json, before.status)
			if before.status == 201 {
				require.Equal(t, before.json["id"], again.json["id"])
			}
			if before.status == 202 {
				a := ask("GET", other+before.header.Get("Location"), "")
				require.Equal(t, "accepted", a.json["verdict"], "%s: %v", key, a.json)
			}
		}
		t.Logf("%s: answers while one was killed: %v", b.Name, counts)
		require.NotZero(t, counts[201])
		require.NotZero(t, counts[0]+counts[202], "somebody was waiting")

		// A third instance, which knows nothing but what the brokers have, says the same.
		third := start()
		fresh := third.serves()
		for key, was := range answers {
			if was[0].status != 201 {
				continue
			}
			var n int
			_, _ = fmt.Sscanf(key[strings.LastIndex(key, "-")+1:], "%d", &n)
			require.Equal(t, was[0].json["id"], ask("POST", fresh+"/v1/orders", orderFor("u", 1+n%3), "Idempotency-Key", key, "Prefer", "wait=60").json["id"])
			a := ask("POST", fresh+"/v1/orders", orderFor("u", 9), "Idempotency-Key", key, "Prefer", "wait=60")
			require.Equal(t, 409, a.status, "another body under the same key: %v", a.json)
			require.Equal(t, "reused", a.json["code"])
			break
		}
	})
}

// How long a client waits for the 201 of an order, at a steady rate: the engine, with
// its brokers beside it or in it, is a process of its own.
//
//	go test ./cmd/baedal -run '^$' -bench Place -benchtime 1x
func BenchmarkPlace(b *testing.B) {
	for _, kind := range []string{kafkatest.EmbeddedName, kafkatest.KafkaName} {
		for _, rate := range []int{100, 400} {
			b.Run(fmt.Sprintf("%s/%d", kind, rate), func(b *testing.B) {
				args := []string{"up", "--data-dir", b.TempDir(), "--http", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"}
				if kind == kafkatest.KafkaName {
					k := kafkatest.Kafka(b)
					args = []string{"up", "--brokers", k.Addr, "--prefix", k.Prefix(b), "--data-dir", b.TempDir(), "--http", "127.0.0.1:0"}
				}
				url := spawn(b, nil, args...).serves()
				openStore(b, url)
				steady(url, rate, 2*time.Second) // warm
				b.ResetTimer()
				var took []time.Duration
				failed := 0
				for range b.N {
					all, wrong := steady(url, rate, 10*time.Second)
					took, failed = append(took, all...), failed+wrong
				}
				b.StopTimer()
				slices.Sort(took)
				require.NotEmpty(b, took)
				at := func(q float64) float64 {
					return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
				}
				b.ReportMetric(at(0.5), "p50-ms")
				b.ReportMetric(at(0.99), "p99-ms")
				b.ReportMetric(float64(len(took))/10/float64(b.N), "orders/s")
				b.ReportMetric(float64(failed), "other-answers")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// steady places orders at a rate, whether those before are answered or not.
func steady(url string, rate int, span time.Duration) (took []time.Duration, failed int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for i := range int(span.Seconds() * float64(rate)) {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		all.Go(func() {
			sent := time.Now()
			a := ask("POST", url+"/v1/orders", orderFor(fmt.Sprintf("u-%d", i%500), 1))
			mu.Lock()
			defer mu.Unlock()
			if a.status != http.StatusCreated {
				failed++
				return
			}
			took = append(took, time.Since(sent))
		})
	}
	all.Wait()
	return took, failed
}

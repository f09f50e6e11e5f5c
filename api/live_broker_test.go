package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/api"
	"baedal/broker"
	"baedal/domain/order"
	"baedal/domain/stock"
	"baedal/internal/kafkatest"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
	"baedal/views"
)

// shop is an installation of which only the tables are there: the test writes
// them, as the groups would.
type shop struct {
	t       *testing.T
	cfg     stream.Config
	catalog *topics.Catalog
	client  *kgo.Client
	marks   int // how often the changelog was read
}

func newShop(t *testing.T, b kafkatest.Broker) *shop {
	cfg := stream.Config{Brokers: []string{b.Addr}, Partitions: 4, Logger: kafkatest.Logger(t)}.WithDefaults()
	s := &shop{t: t, cfg: cfg, catalog: topics.New(b.Prefix(t), 4), client: b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))}
	_, err := broker.CreateTopics(cfg.Brokers, cfg.Client(), s.catalog.All(), 1)
	require.NoError(t, err)
	s.cfg.Watch = stream.NewWatch(cfg, s.catalog.OrdersTable.Name())
	require.NoError(t, s.cfg.Watch.Look(t.Context()))
	t.Cleanup(s.cfg.Watch.Close)
	return s
}

// write puts a row into a table; nil deletes it.
func write[R any](s *shop, table topics.Table[R], key string, row *R) {
	r := &kgo.Record{Topic: table.Name(), Partition: stream.Partition(key, 4), Key: []byte(key)}
	if row != nil {
		var err error
		r.Value, err = table.Encode(row)
		require.NoError(s.t, err)
	}
	require.NoError(s.t, s.client.ProduceSync(s.t.Context(), r).FirstErr())
}

// node is an instance that serves HTTP.
type node struct {
	url  string
	kill func() // cuts off all clients in the middle
}

func (s *shop) start(dir string) *node {
	db, err := state.Open(dir, nil)
	require.NoError(s.t, err)
	set := views.New(views.Options{Brokers: s.cfg.Brokers, Catalog: s.catalog, Logger: s.cfg.Logger, ProbeEvery: 50 * time.Millisecond,
		Storage: func(topic string, p int32) (storage.Storage, error) {
			id, _ := s.cfg.Watch.Incarnation(topic)
			return db.Table("view", topic, p, state.Options{Follower: true, CacheRows: -1, TopicID: id})
		},
		SaramaConsumer: func(brokers []string, id string) (sarama.Consumer, error) {
			return s.cfg.ConsumerBuilder()(brokers, id)
		},
		TopicManager: func(brokers []string) (goka.TopicManager, error) { return s.cfg.TopicManagerBuilder()(brokers) },
		Incarnation:  s.cfg.Watch.Incarnation,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- set.Run(ctx) }()
	registry := prometheus.NewRegistry()
	srv := httptest.NewServer(api.New(api.Deps{Tables: api.Views(set), Commands: &fakeCommands{}, Metrics: registry, Registerer: registry, Logger: s.cfg.Logger}))
	require.Eventually(s.t, set.Recovered, 30*time.Second, time.Millisecond, "the views catch up")
	kill := sync.OnceFunc(func() {
		srv.Listener.Close()
		srv.CloseClientConnections()
		cancel()
		require.NoError(s.t, <-done)
		srv.Close()
		require.NoError(s.t, db.Close())
	})
	s.t.Cleanup(kill)
	return &node{srv.URL, kill}
}

// follower is a client that always comes again, to whichever instance there is.
type follower struct {
	path string
	url  func() string

	mu     sync.Mutex
	have   map[string]int // version by order
	heard  []string       // ORDER VERSION, or ORDER gone, since the last reset
	resets int
	wrong  error
}

func (f *follower) run(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		if err := f.listen(ctx, &last); err != nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (f *follower) listen(ctx context.Context, last *string) error {
	r, err := http.NewRequestWithContext(ctx, "GET", f.url()+f.path, nil)
	if err != nil {
		return err
	}
	if *last != "" {
		r.Header.Set("Last-Event-ID", *last)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	if *last == "" {
		f.hear("begin", nil)
	}
	var id, kind string
	var data []byte
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = []byte(value)
		case "":
			if strings.HasPrefix(lines.Text(), ":") {
				continue
			}
			if id != "" {
				*last = id
			}
			if kind != "" {
				f.hear(kind, data)
			}
			id, kind, data = "", "", nil
		}
	}
	return errors.New("cut off")
}

func (f *follower) hear(kind string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var about struct {
		ID      string
		Version int
	}
	if data != nil {
		if err := json.Unmarshal(data, &about); err != nil {
			f.wrong = err
		}
	}
	switch kind {
	case "reset":
		f.resets++
		fallthrough
	case "begin":
		f.have, f.heard = map[string]int{}, nil
	case "gone":
		delete(f.have, about.ID)
		f.heard = append(f.heard, about.ID+" gone")
	case "order":
		f.have[about.ID] = about.Version
		f.heard = append(f.heard, fmt.Sprintf("%s %d", about.ID, about.Version))
	}
}

// knows returns what the client has, and what it heard.
func (f *follower) knows() (have map[string]int, heard []string, resets int, wrong error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.have), append([]string{}, f.heard...), f.resets, f.wrong
}

// row is what the changelog says of an order.
type row struct {
	version int
	on      bool // on the board
}

// changelog reads the orders' table as its records are, by order.
func (s *shop) changelog() map[string][]row {
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.cfg.Brokers...), kgo.ConsumeTopics(s.catalog.OrdersTable.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(s.t, err)
	defer reader.Close()
	// The last record of each partition says that all was read.
	for p := range 4 {
		require.NoError(s.t, s.client.ProduceSync(s.t.Context(), &kgo.Record{Topic: s.catalog.OrdersTable.Name(), Partition: int32(p), Key: []byte("end")}).FirstErr())
	}
	out := map[string][]row{}
	ends := map[int32]int{}
	s.marks++
	for done := 0; done < 4; {
		fetches := reader.PollFetches(s.t.Context())
		require.NoError(s.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			key := string(r.Key)
			if key == "end" {
				if ends[r.Partition]++; ends[r.Partition] == s.marks {
					done++
				}
				return
			}
			var o order.Order
			if r.Value != nil {
				require.NoError(s.t, json.Unmarshal(r.Value, &o))
			}
			out[key] = append(out[key], row{o.Version, o.StoreID == "s-7" && !o.Status.Final()})
		})
	}
	return out
}

// Two instances, of which one is killed while everything changes; it comes back
// with its data directory, then the other with an empty one. Whoever listens and
// comes again anywhere has heard each change once and in order, and has what the
// changelog says.
func TestLive_KilledInstance(t *testing.T) {
	kafkatest.Waits(t)
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		s := newShop(t, b)
		write(s, s.catalog.StockTable, "s-7", &stock.Inventory{StoreID: "s-7", Store: &stock.Store{Name: "Seven"}})
		versions := map[string]int{}
		change := func() {
			id := fmt.Sprintf("b-%d", rand.IntN(30))
			versions[id]++
			o := openOrder(id, "s-7", 1)
			o.Version = versions[id]
			switch rand.IntN(8) {
			case 0:
				o.Status = order.RefusedStatus
			case 1:
				o = nil
			}
			write(s, s.catalog.OrdersTable, id, o)
		}
		for range 50 {
			change()
		}
		dirs := []string{t.TempDir(), t.TempDir()}
		var nodes [2]atomic.Pointer[node]
		for i := range nodes {
			nodes[i].Store(s.start(dirs[i]))
		}
		var clients []*follower
		for i := range 6 {
			path := "/v1/stores/s-7/events"
			if i%3 == 2 {
				path = "/v1/users/u-7/events"
			}
			f := &follower{path: path, url: func() string {
				for range 2 {
					if n := nodes[(i+rand.IntN(8)/7)%2].Load(); n != nil {
						return n.url
					}
				}
				return "" // none: it tries again
			}}
			clients = append(clients, f)
			go f.run(t.Context())
		}
		// settle compares what all know with the changelog.
		settle := func(what string, resets bool) {
			t.Helper()
			log := s.changelog()
			for i, f := range clients {
				board := strings.Contains(f.path, "stores")
				want := map[string]int{}
				for id, rows := range log {
					if last := rows[len(rows)-1]; last.on || !board && last.version > 0 {
						want[id] = last.version
					}
				}
				require.Eventually(t, func() bool {
					have, _, _, _ := f.knows()
					return maps.Equal(have, want)
				}, 20*time.Second, 5*time.Millisecond, "%s: client %d has all", what, i)
				_, heard, n, wrong := f.knows()
				require.NoError(t, wrong)
				if !resets {
					require.Zero(t, n, "%s: client %d was told all again", what, i)
				}
				at := map[string]int{} // how far in the changelog of each order
				for _, h := range heard {
					id, version, _ := strings.Cut(h, " ")
					rows := log[id]
					k := at[id]
					for k < len(rows) && (version == "gone" && (rows[k].on || !board && rows[k].version > 0) || version != "gone" && fmt.Sprint(rows[k].version) != version) {
						k++
					}
					require.Less(t, k, len(rows), "%s: client %d heard %q, again or out of order: %v", what, i, h, heard)
					at[id] = k + 1
				}
			}
		}
		busy := func(n int) {
			for range n {
				change()
			}
		}
		busy(100)
		settle("two instances", false)

		amid := make(chan struct{})
		go func() {
			defer close(amid)
			old := nodes[0].Swap(nil)
			old.kill()
		}()
		busy(150)
		<-amid
		busy(50)
		settle("one was killed", false)

		nodes[0].Store(s.start(dirs[0]))
		busy(50)
		amid = make(chan struct{})
		go func() {
			defer close(amid)
			old := nodes[1].Swap(nil)
			old.kill()
		}()
		busy(100)
		<-amid
		settle("it came back, and the other was killed", true)

		require.NoError(t, os.RemoveAll(dirs[1]))
		nodes[1].Store(s.start(filepath.Join(dirs[1], "empty")))
		busy(50)
		nodes[0].Swap(nil).kill()
		busy(50)
		settle("an instance with nothing", true)
		resets := 0
		for _, f := range clients {
			_, _, n, _ := f.knows()
			resets += n
		}
		t.Logf("resets: %d", resets)
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/lovoo/goka/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"baedal/api"
	"baedal/broker"
	"baedal/processors"
	"baedal/state"
	"baedal/stream"
	"baedal/topics"
	"baedal/views"
)

// process is what goes on until it is told to stop: a broker, groups, HTTP, or
// some of them.
type process struct {
	*settings
	out, err io.Writer
	log      *slog.Logger
	catalog  *topics.Catalog
	registry *prometheus.Registry

	embedded bool // with a broker of its own
	runs     []string
	serves   bool

	// ready is called once everything is up, with the address of the HTTP
	// server. It may block until its context is done.
	ready func(ctx context.Context, http string) error
}

// run starts everything in order, and stops it in the opposite one. It blocks
// until ctx is done or something fails that can't be mended while running.
func (p *process) run(ctx context.Context) (err error) {
	var rules processors.Settings
	if len(p.runs) > 0 {
		if rules, err = p.rules(); err != nil {
			return err
		}
	}
	p.registry = prometheus.NewRegistry()
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	lock, err := broker.LockDir(p.dataDir)
	if err != nil {
		return err
	}
	defer lock.Unlock()

	if p.pprof != "" {
		l, err := net.Listen("tcp", p.pprof)
		if err != nil {
			return fmt.Errorf("--pprof: %w", err)
		}
		defer l.Close()
		go http.Serve(l, http.DefaultServeMux) // its only handlers are those of net/http/pprof
	}
	var own *broker.Embedded
	if p.embedded {
		opts := broker.Options{Dir: filepath.Join(p.dataDir, "broker"), Listen: p.kafkaListen, NoSync: p.noSync, Partitions: p.partitions, Die: p.die, Logger: p.log}
		if err := opts.Validate(); err != nil {
			return usageError{err}
		}
		if own, err = broker.Start(opts); err != nil {
			return err
		}
		defer own.Close()
		p.brokers = []string{own.Addr()}
	}
	cfg := stream.Config{Brokers: p.brokers, Partitions: p.partitions, CommitInterval: p.commitInterval,
		SessionTimeout: p.sessionTimeout, Logger: p.log, Registerer: p.registry}
	cfg.CopySpace = viewSpace
	if own != nil {
		cfg.Dial = own.Dial
	}
	if cfg.Guarantee, err = p.promise(); err != nil {
		return err
	}
	rules.ExactlyOnce = cfg.Guarantee == stream.ExactlyOnce
	if err := p.prepareTopics(ctx, cfg); err != nil {
		return err
	}
	if cfg.InstanceID, err = instanceID(p.dataDir); err != nil {
		return err
	}
	if cfg.State, err = state.Open(filepath.Join(p.dataDir, "state"), p.die); err != nil {
		return err
	}
	defer cfg.State.Close()
	if why := cfg.State.Rebuilt(); why != "" {
		p.log.Warn("the tables on this machine were damaged and are rebuilt from their changelogs", "why", why)
	}

	if cfg.Kafka, err = cfg.Connect(); err != nil {
		return err
	}
	defer cfg.Kafka.Close()
	var definitions []stream.Definition
	for _, name := range p.runs {
		definitions = append(definitions, processors.All(p.catalog, rules)[name])
	}
	engine := stream.New(cfg, definitions...)
	follow := cfg
	follow.FetchPause = 20 * time.Millisecond // nothing waits for a view but its readers
	opts := views.Options{Brokers: p.brokers, Catalog: p.catalog, Logger: p.log,
		SaramaConsumer: follow.ConsumerBuilder(), TopicManager: cfg.TopicManagerBuilder(), Storage: viewStorage(cfg.State)}
	tables := views.New(opts)
	standby := &views.Set{}
	if p.standby > 0 {
		standby = views.Standby(opts, p.runs, p.serves)
	}

	// The people of the demo and HTTP stop first, then the groups drain, then
	// what they write to is closed.
	return p.together(ctx, engine, tables, standby, cfg)
}

// together runs the engine, the views and the HTTP server.
func (p *process) together(ctx context.Context, engine *stream.Engine, tables, standby *views.Set, cfg stream.Config) error {
	front, stopFront := context.WithCancelCause(ctx)
	defer stopFront(nil)
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()

	var behind, before sync.WaitGroup
	fail := func(what string, err error) {
		if err != nil && !errors.Is(err, context.Canceled) {
			stopFront(fmt.Errorf("%s: %w", what, err))
		}
	}
	behind.Go(func() { fail("the groups", engine.Run(back)) })
	behind.Go(func() { fail("the copies", standby.Run(back)) })
	before.Go(func() { fail("the tables on this machine", untilDamaged(front, cfg.State)) })

	address := make(chan string, 1)
	if p.serves {
		behind.Go(func() { fail("the views", tables.Run(back)) })
		commands, err := newCommands(p.catalog, cfg)
		if err != nil {
			return err
		}
		defer commands.Close()
		handler := api.New(api.Deps{Tables: api.Views(tables), Commands: commands, Ready: engine.Ready, Metrics: p.registry, Logger: p.log})
		before.Go(func() {
			fail("HTTP", api.Serve(front, p.http, handler, func(a string) { address <- a }))
		})
	} else if p.http != "" {
		before.Go(func() {
			fail("HTTP", api.Serve(front, p.http, p.health(engine), func(a string) { address <- a }))
		})
	} else {
		address <- ""
	}
	before.Go(func() {
		var at string
		select {
		case at = <-address:
		case <-front.Done():
			return
		}
		if p.waitReady(front, engine, tables) && p.ready != nil {
			fail("the demo", p.ready(front, at))
		}
	})

	<-front.Done()
	p.log.Info("stopping: draining what is in flight")
	finished := make(chan struct{})
	go func() {
		before.Wait()
		stopBack()
		behind.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(p.shutdownTimeout):
		return fmt.Errorf("draining took longer than --shutdown-timeout %s: what was not committed is handled again by the next start", p.shutdownTimeout)
	}
	if ctx.Err() != nil {
		p.log.Info("stopped")
		return nil
	}
	return context.Cause(front)
}

// untilDamaged blocks until ctx is done or the tables turn out to be damaged
// while they are in use. A group that meets damage could only fail for ever;
// the next start rebuilds them.
func untilDamaged(ctx context.Context, db *state.DB) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := db.Damaged(); err != nil {
				return fmt.Errorf("damaged: start again, and they are rebuilt from their changelogs: %w", err)
			}
		}
	}
}

// health is what a process serves that runs groups only.
func (p *process) health(engine *stream.Engine) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := engine.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}))
	return mux
}

// waitReady blocks until the groups run and the views have caught up.
func (p *process) waitReady(ctx context.Context, engine *stream.Engine, tables *views.Set) bool {
	began, told := time.Now(), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := engine.Ready()
		if err == nil && p.serves && !tables.Recovered() {
			err = errors.New("the views are still catching up")
		}
		if err == nil {
			p.log.Info("ready", "after", time.Since(began).Round(time.Millisecond))
			return true
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			p.log.Info("starting", "waiting for", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func (p *process) prepareTopics(ctx context.Context, cfg stream.Config) error {
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := broker.Wait(waiting, p.brokers); err != nil {
		return err
	}
	demand := broker.Demand{Addrs: p.brokers, Prefix: p.prefix, Specs: p.catalog.All(), Replication: p.replication,
		Transactions: cfg.Guarantee == stream.ExactlyOnce && len(p.runs) > 0, DataDir: p.dataDir}
	for _, name := range p.runs {
		demand.Groups, demand.SessionTimeout = append(demand.Groups, p.catalog.Group(name)), cfg.SessionTimeout
	}
	warnings, err := broker.Preflight(ctx, demand)
	for _, w := range warnings {
		p.log.Warn("preflight: " + w.String())
	}
	if err != nil {
		return err
	}
	created, err := broker.CreateTopics(p.brokers, cfg.Client(), p.catalog.All(), p.replication)
	if len(created) > 0 {
		p.log.Info("topics created", "count", len(created))
	}
	return err
}

// promise returns the guarantee: by default the one that holds. The embedded
// broker lives and dies with its one process, so there is no zombie there, and
// a kill may hit it in the middle of the end of a transaction.
func (p *process) promise() (stream.Guarantee, error) {
	if p.guarantee == "" {
		if p.embedded {
			return stream.AtLeastOnce, nil
		}
		return stream.ExactlyOnce, nil
	}
	g, err := stream.ParseGuarantee(p.guarantee)
	if err != nil {
		return "", usage("--guarantee: %v", err)
	}
	if g == stream.ExactlyOnce && p.embedded {
		return "", usage("--guarantee exactly-once needs Kafka (--brokers): a kill of the embedded broker in the middle of a commit would leave a transaction that never ends")
	}
	return g, nil
}

// die ends the process at once: the disk does not take what must be written.
func (p *process) die(err error) {
	fmt.Fprintf(p.err, "baedal: %v: make room on the disk of %s and start again; nothing is lost\n", err, p.dataDir)
	os.Exit(exitFailed)
}

// instanceID returns the name of the instance that a data directory belongs to.
// It is made at the first start.
func instanceID(dir string) (string, error) {
	path := filepath.Join(dir, "instance-id")
	if data, err := os.ReadFile(path); err == nil && len(data) > 0 {
		return string(data), nil
	}
	id := uuid.NewString()
	return id, os.WriteFile(path, []byte(id), 0o644)
}

// viewSpace is where views keep their rows.
const viewSpace = "view"

func viewStorage(db *state.DB) storage.Builder {
	return func(topic string, partition int32) (storage.Storage, error) {
		return db.Table(viewSpace, topic, partition, state.Options{Follower: true, CacheRows: -1})
	}
}

package main

import (
	"cmp"
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
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"baedal/api"
	"baedal/broker"
	"baedal/deadletters"
	"baedal/internal/machine"
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
	dying    sync.Once
	server   *api.Server // nil: none

	// ready is called once everything is up, with the address of the HTTP
	// server. It may block until its context is done.
	ready func(ctx context.Context, http string) error
}

// run starts everything in order, and stops it in the opposite one. It blocks
// until ctx is done or something fails that can't be mended while running.
func (p *process) run(ctx context.Context) (err error) {
	begun := false
	defer func() { // whatever fails because of the signal is no failure
		if ctx.Err() != nil && (err == nil || !begun) {
			p.log.Info("stopped")
			err = nil
		}
	}()
	var rules processors.Settings
	if len(p.runs) > 0 {
		rules, _ = p.rules() // judged already
	}
	guarantee, _ := p.promise()
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
	if p.http != "" { // an address that is taken is noticed before anything else is started
		if p.server, err = api.Listen(p.http); err != nil {
			return err
		}
		defer p.server.Close()
	}
	var own *broker.Embedded
	if p.embedded {
		opts := broker.Options{Dir: filepath.Join(p.dataDir, "broker"), Listen: p.kafkaListen, NoSync: p.noSync, Partitions: p.partitions, Die: p.die, Logger: p.log}
		own, err = orStopped(ctx, func() (*broker.Embedded, error) { return broker.Start(opts) }, (*broker.Embedded).Close)
		if err != nil {
			return err
		}
		defer own.Close()
		p.brokers = []string{own.Addr()}
	}
	cfg := stream.Config{Brokers: p.brokers, Partitions: p.partitions, CommitInterval: p.commitInterval,
		SessionTimeout: p.sessionTimeout, Logger: p.log, Registerer: p.registry}.WithDefaults() // api has no flags for some
	cfg.CopySpace, cfg.Strays = viewSpace, p.catalog.Group("strays")
	cfg.Reach = stream.NewReach(p.brokers, p.log)
	if own != nil {
		cfg.Dial = own.Dial
	}
	cfg.Guarantee = guarantee
	rules.ExactlyOnce = cfg.Guarantee == stream.ExactlyOnce
	cfg.Agree = p.agreed(rules)
	if _, err := orStopped(ctx, func() (any, error) { return nil, p.prepareTopics(ctx, cfg) }, nil); err != nil {
		return err
	}
	var names []string
	for _, s := range p.catalog.All() {
		names = append(names, s.Topic)
	}
	cfg.Watch = stream.NewWatch(cfg, names...)
	defer cfg.Watch.Close()
	if err := p.whileAway(ctx, func() error { return cfg.Watch.Look(ctx) }); err != nil {
		return err
	}
	if cfg.InstanceID, err = p.instanceID(ctx, cfg); err != nil {
		return err
	}
	cfg.State, err = orStopped(ctx, func() (*state.DB, error) { return state.Open(filepath.Join(p.dataDir, "state"), p.die) }, (*state.DB).Close)
	if err != nil {
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
	if err := engine.Check(ctx); err != nil {
		return err
	}
	follow := cfg
	follow.FetchPause = 20 * time.Millisecond // nothing waits for a view but its readers; see Options.Hurry
	opts := views.Options{Brokers: p.brokers, Catalog: p.catalog, Logger: p.log,
		SaramaConsumer: follow.ConsumerBuilder(), TopicManager: cfg.TopicManagerBuilder(), Storage: viewStorage(cfg.State, cfg.Watch, p.log),
		Incarnation: cfg.Watch.Incarnation, Hurry: cfg.Kafka.Hurry}
	tables := views.New(opts)
	standby := &views.Set{}
	if p.standby > 0 {
		standby = views.Standby(opts, p.runs, p.serves)
	}

	// The people of the demo and HTTP stop first, then the groups drain, then
	// what they write to is closed.
	begun = true
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
	if len(p.runs) > 0 {
		behind.Go(func() { fail("the groups", engine.Run(back)) })
	}
	behind.Go(func() { fail("the copies", standby.Run(back)) })
	behind.Go(func() { cfg.Watch.Run(back) })
	before.Go(func() { fail("the tables on this machine", untilDamaged(front, cfg.State)) })

	var up atomic.Bool // it has been ready
	at := ""
	serve := func(handler http.Handler) {
		at = p.server.Addr()
		p.log.Info("serving HTTP", "address", at)
		before.Go(func() { fail("HTTP", p.server.Serve(front, handler)) })
	}
	if p.serves {
		behind.Go(func() { fail("the views", tables.Run(back)) })
		commands, err := newCommands(p.catalog, cfg)
		if err != nil {
			return err
		}
		defer commands.Close()
		consumed, err := newConsumed(p.catalog, cfg)
		if err != nil {
			return err
		}
		defer consumed.Close()
		ready := func() error { return cmp.Or(engine.Ready(), commands.Ready()) }
		asyncAPI, err := p.catalog.AsyncAPI()
		if err != nil {
			return err
		}
		serve(api.New(api.Deps{Tables: api.Views(tables), Commands: commands, Verdicts: tables.Verdicts, Consumed: consumed.Wait,
			Ready: ready, Damaged: cfg.Watch.Err, AsyncAPI: asyncAPI, Manners: api.Manners{Origins: p.corsOrigins, Rate: p.httpRate},
			Engine:      api.Engine{Version: thisBuild().Version, Prefix: p.prefix, Partitions: p.partitions, Guarantee: string(cfg.Guarantee), Groups: p.runs, Started: time.Now()},
			DeadLetters: deadletters.NewOffice(p.catalog, p.brokers), Metrics: p.registry, Registerer: p.registry, Logger: p.log}))
	} else if p.server != nil {
		serve(p.health(engine))
	}
	before.Go(func() {
		if !p.waitReady(front, engine, tables) {
			return
		}
		up.Store(true)
		if p.ready != nil {
			fail("the demo", p.ready(front, at))
		}
	})

	<-front.Done()
	patience, slow := p.shutdownTimeout, fmt.Errorf("draining took longer than --shutdown-timeout %s: what was not committed is handled again by the next start", p.shutdownTimeout)
	if up.Load() {
		p.log.Info("stopping: draining what is in flight")
	} else { // clients that still look for brokers listen to nobody
		p.log.Info("stopping before the start is done")
		patience, slow = min(patience, startPatience), nil
	}
	finished := make(chan struct{})
	go func() {
		before.Wait()
		stopBack()
		behind.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		slow = nil
	case <-time.After(patience):
	case <-unreachable(cfg.Reach, finished):
		p.log.Warn("stopping without draining, as no broker answers: what was not committed is handled again by the next start")
		slow = nil
	}
	if cause := context.Cause(front); !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, slow)
	}
	return slow
}

// startPatience is how long a start that is ended is waited for. What it leaves
// undone is what a kill leaves.
const startPatience = 2 * time.Second

// awayPatience is how long a process that is told to stop waits for brokers that
// do not answer. Nothing can be drained without them.
const awayPatience = 5 * time.Second

// unreachable is closed when no broker has answered for awayPatience. It looks
// until done.
func unreachable(reach *stream.Reach, done <-chan struct{}) <-chan struct{} {
	given := make(chan struct{})
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for answered := time.Now(); time.Since(answered) < awayPatience; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if reach.Err() == nil {
				answered = time.Now()
			}
		}
		close(given)
	}()
	return given
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

// whileAway does a step of the start that asks the brokers, and does it again
// where they have gone away in it: they are waited for as at the beginning.
func (p *process) whileAway(ctx context.Context, step func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := step()
		if err == nil || !connectionLost(err) {
			return err
		}
		if away := broker.Wait(ctx, p.brokers); away != nil {
			return away
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// connectionLost reports whether an error is about reaching the brokers, not
// about what they said or this machine refuses.
func connectionLost(err error) bool {
	return machine.Remedy(err) == "" && (errors.As(err, new(net.Error)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, sarama.ErrOutOfBrokers))
}

// waitReady blocks until the groups run and the views have caught up.
func (p *process) waitReady(ctx context.Context, engine *stream.Engine, tables *views.Set) bool {
	began, told := time.Now(), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := engine.Recovered() // topics that are not as they should be may stay so: the watch says it
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
	demand := broker.Demand{Addrs: p.brokers, Prefix: p.prefix, Specs: p.catalog.All(), Replication: p.replication, CommittedWith: stream.CommittedPartitions,
		Transactions: cfg.Guarantee == stream.ExactlyOnce && len(p.runs) > 0, DataDir: p.dataDir}
	for _, name := range topics.Groups {
		demand.Installation = append(demand.Installation, p.catalog.Group(name))
	}
	for _, name := range p.runs {
		demand.Groups, demand.SessionTimeout = append(demand.Groups, p.catalog.Group(name)), cfg.SessionTimeout
	}
	var warnings []broker.Finding
	err := p.whileAway(ctx, func() (err error) {
		warnings, err = broker.Preflight(ctx, demand)
		return err
	})
	for _, w := range warnings {
		if w.Check != broker.RaisedPartitions { // the watch says it, and goes on to
			p.log.Warn("preflight: " + w.String())
		}
	}
	if err != nil {
		return err
	}
	return p.whileAway(ctx, func() error {
		created, err := broker.CreateTopics(p.brokers, cfg.Client(), p.catalog.All(), p.replication)
		if len(created) > 0 {
			p.log.Info("topics created", "count", len(created))
		}
		return err
	})
}

// die ends the process at once: the disk does not take what must be written. It
// does not return.
func (p *process) die(err error) {
	p.dying.Do(func() {
		remedy := cmp.Or(machine.Remedy(err), "look at the disk of the data directory")
		fmt.Fprintf(p.err, "baedal: %v: %s (%s) and start again; nothing is lost\n", err, remedy, p.dataDir)
		os.Exit(exitFailed)
	})
}

// viewSpace is where views keep their rows.
const viewSpace = "view"

func viewStorage(db *state.DB, watch *stream.Watch, log *slog.Logger) storage.Builder {
	return func(topic string, partition int32) (storage.Storage, error) {
		id, _ := watch.Incarnation(topic)
		return db.Table(viewSpace, topic, partition, state.Options{Follower: true, CacheRows: -1, TopicID: id,
			Dropped: stream.DropLine(log.With("of", "a view"), topic, partition)})
	}
}

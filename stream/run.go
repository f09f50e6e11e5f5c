package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"

	"baedal/stream/internal/kafkaclient"
)

// Engine runs groups until it is told to stop.
type Engine struct {
	cfg    Config
	groups []*run
	own    bool // the watch is this engine's

	checked    bool          // nobody in the groups has another guarantee
	rebalanced chan struct{} // a group has got its partitions
}

// New prepares groups to be run. Nothing is contacted yet.
func New(cfg Config, groups ...Definition) *Engine {
	e := &Engine{cfg: cfg.WithDefaults(), rebalanced: make(chan struct{}, 1)}
	for _, g := range groups {
		r := &run{group: g.name(), cfg: e.cfg.gathering(g.gather()), prompt: e.cfg, offbeat: g.offbeat(), instance: g.instance(e.cfg), joined: e.joined}
		if cfg.Registerer != nil {
			cfg.Registerer.MustRegister(lagCollector{r.group, &r.session})
		}
		e.groups = append(e.groups, r)
	}
	if e.own = e.cfg.Watch == nil; e.own {
		e.cfg.Watch = NewWatch(e.cfg, topicsOf(e.groups)...)
		for _, r := range e.groups {
			r.cfg.Watch, r.prompt.Watch = e.cfg.Watch, e.cfg.Watch
		}
	}
	return e
}

// Run runs groups until ctx is done; see Engine.Run.
func Run(ctx context.Context, cfg Config, groups ...Definition) error {
	return New(cfg, groups...).Run(ctx)
}

// Run blocks until ctx is done and everything in flight is finished and
// committed. A group that fails is built anew after a pause; the others go on.
// After a Fault, which no new start heals, all are ended and it is returned.
func (e *Engine) Run(ctx context.Context) error {
	if len(e.groups) == 0 {
		return errors.New("there are no groups to run")
	}
	kafka, closing, err := e.cfg.kafka()
	if err != nil {
		return err
	}
	defer closing()
	for _, g := range e.groups {
		g.cfg.Kafka, g.prompt.Kafka = kafka, kafka
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer e.cfg.Reach.use()()
	if !e.checked {
		if err := e.Check(ctx); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	if e.own {
		defer e.cfg.Watch.Close()
		wg.Go(func() { e.cfg.Watch.Run(ctx) })
	}
	clients := map[time.Duration]*client{} // groups with the same Linger share one
	for _, g := range e.groups {
		if g.client = clients[g.cfg.Linger]; g.client != nil {
			continue
		}
		client, err := g.cfg.newClient(g.cfg.dialer()...)
		if err != nil {
			return err
		}
		defer client.Close()
		wg.Go(func() { client.tellStalls(ctx) })
		e.cfg.Watch.onReplaced(client.forgetTopic)
		g.client, clients[g.cfg.Linger] = client, client
	}
	wg.Go(func() { e.tellRecovery(ctx, e.groups[0].client) })
	wg.Go(func() { e.forwardStrays(ctx) })
	errs := make([]error, len(e.groups)+1)
	wg.Go(func() {
		if errs[len(e.groups)] = e.compareSettings(ctx, kadm.NewClient(e.groups[0].client.Client)); errs[len(e.groups)] != nil {
			stop()
		}
	})
	for i, g := range e.groups {
		wg.Go(func() {
			if errs[i] = g.supervise(ctx); errs[i] != nil {
				stop()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Ready returns nil when brokers answer, every group has its partitions and its
// tables are recovered, and the topics are as they should be, or an error that
// says what is not so.
func (e *Engine) Ready() error {
	return errors.Join(e.cfg.Watch.Err(), e.Recovered())
}

// Recovered is Ready whatever the topics are like.
func (e *Engine) Recovered() error {
	var waiting []error
	if err := e.cfg.Reach.Err(); err != nil {
		waiting = append(waiting, err)
	}
	for _, g := range e.groups {
		if p := g.processor.Load(); p == nil || !p.Recovered() {
			waiting = append(waiting, fmt.Errorf("group %s is still recovering its tables", g.group))
		}
	}
	return errors.Join(waiting...)
}

// run is one group at work.
type run struct {
	group   string
	cfg     Config
	prompt  Config // without time to gather
	offbeat bool
	client  *client // of all groups with the same Linger
	*instance
	session   atomic.Pointer[session]
	processor atomic.Pointer[goka.Processor]
	producer  atomic.Pointer[producer]
	cause     atomic.Pointer[error] // why the run is ended before its time
	stop      context.CancelFunc
	joined    func() // is called when the group has got its partitions
	// replacements is how often each topic had been replaced when the run began.
	// Ids would not do: the watch may not know them yet.
	replacements map[string]int
	// ownTransactions is the transactional id. It is stable: the instance that
	// is started again fences the one before.
	ownTransactions string
}

func (r *run) exactlyOnce() bool { return r.cfg.Guarantee == ExactlyOnce }

// fail ends the run; the supervisor starts another one.
func (r *run) fail(err error) {
	r.cause.CompareAndSwap(nil, &err)
	r.stop()
}

func (r *run) failed() error {
	if e := r.cause.Load(); e != nil {
		return *e
	}
	return nil
}

// Pauses between a failure of a group and the next start.
const (
	firstPause   = 200 * time.Millisecond
	lastPause    = 10 * time.Second
	refusedPause = 3 * time.Second // while somebody has to change a topic
)

func (r *run) supervise(ctx context.Context) error {
	pause, refused := firstPause, ""
	for {
		r.cfg.Watch.await(ctx, r.topics())
		began := time.Now()
		err := r.once(ctx)
		if ctx.Err() != nil {
			r.leave()
			return nil // what is not committed is handled again by the next start
		}
		if fault := faultOf(r.group, err); fault != nil {
			r.leave()
			return fault
		}
		if time.Since(began) > time.Minute {
			pause, refused = firstPause, ""
		}
		r.meter.restarts.WithLabelValues(r.group).Inc()
		level := slog.LevelError
		if r.cfg.Reach.silent(ctx) || r.cfg.Reach.disturbed(began) { // which was said
			level, pause = slog.LevelDebug, firstPause
		}
		if topic, remedy := refusalOf(err); remedy != "" {
			if topic != refused {
				refused = topic
				r.cfg.Logger.Error("a topic refuses what a group sends, and the group waits: "+remedy, "group", r.group, "topic", topic)
			}
			level, pause = slog.LevelDebug, refusedPause
		}
		r.cfg.Logger.Log(ctx, level, "a group stopped and is started again", "group", r.group, "in", pause, "error", err)
		r.cfg.Reach.wait(ctx)
		select {
		case <-ctx.Done():
			r.leave()
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// leave gives the partitions to the other instances at once. A member with an
// id of its own is waited for otherwise.
func (r *run) leave() {
	if r.cfg.InstanceID == "" || r.cfg.Reach.Err() != nil {
		return
	}
	cfg := r.cfg.Client()
	cfg.Metadata.Retry.Max, cfg.Admin.Retry.Max = 0, 0
	cfg.Net.DialTimeout = time.Second
	admin, err := sarama.NewClusterAdmin(r.cfg.Brokers, cfg)
	if err == nil {
		defer admin.Close()
		_, err = admin.RemoveMemberFromConsumerGroup(r.group, []string{r.cfg.InstanceID})
	}
	if err != nil {
		r.cfg.Logger.Warn("leaving a group failed: its partitions are taken over when the session times out", "group", r.group, "error", err)
	}
}

// once runs the group until it fails or ctx is done.
func (r *run) once(ctx context.Context) error {
	r.cause.Store(nil)
	r.replacements = r.cfg.Watch.replacements(r.topics())
	ctx, r.stop = context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer telling.Wait()
	defer r.stop()
	r.ownTransactions = r.group + "/" + cmp.Or(r.cfg.InstanceID, uuid.NewString())
	log := r.cfg.Log()
	p, err := goka.NewProcessor(r.cfg.Brokers, r.graph,
		goka.WithClientID(r.cfg.ClientID),
		goka.WithLogger(log),
		goka.WithNilHandling(goka.NilProcess),
		goka.WithContextWrapper(wrapContext(&r.session)),
		goka.WithStorageBuilder(r.tables.builder(r.cfg)),
		goka.WithConsumerSaramaBuilder(r.prompt.recoveryBuilder()),
		goka.WithTopicManagerBuilder(r.prompt.TopicManagerBuilder()),
		goka.WithConsumerGroupBuilder(func(_ []string, group, _ string) (sarama.ConsumerGroup, error) {
			cg, err := r.cfg.Kafka.Group(group, r.cfg.Client(), r.cfg.FetchPause, func() {})
			if err != nil {
				return nil, err
			}
			return &consumerGroup{ConsumerGroup: cg, run: r}, nil
		}),
		goka.WithProducerBuilder(func(brokers []string, _ string, _ func() hash.Hash32) (goka.Producer, error) {
			client, txn := r.client, (*transaction)(nil)
			if r.exactlyOnce() {
				err := kafkaclient.AnyBroker(len(r.cfg.Brokers), func() (err error) {
					txn, err = r.newTransactions(ctx, r.ownTransactions)
					return err
				})
				if err != nil {
					return nil, err
				}
				client = txn.client
				telling.Go(func() { client.tellStalls(ctx) })
			}
			p := newProducer(client, r.tables, r.tableName(), txn)
			p.beat = r.beat
			if txn != nil {
				p.broken = r.fail
			}
			r.outbox.Store(p.outbox)
			r.producer.Store(p)
			return p, nil
		}),
	)
	if err != nil {
		return err
	}
	r.processor.Store(p)
	defer r.processor.Store(nil)

	if r.timers == nil {
		return cmp.Or(p.Run(ctx), r.failed())
	}
	// What a timer sends belongs to no transaction, and must not go to a producer
	// that goka has closed.
	alarms := newProducer(r.client, r.tables, "", nil)
	defer alarms.Close()
	timing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		r.timers.run(timing, func(key string, data []byte) *goka.Promise {
			return alarms.EmitWithHeaders(r.timers.topic, key, data, nil)
		})
	})
	defer wg.Wait()
	defer stop()
	return cmp.Or(p.Run(ctx), r.failed())
}

// beat says why the session at work can't be this process's any more.
func (r *run) beat() error {
	if s := r.session.Load(); s != nil {
		return s.pulse.beat()
	}
	return nil
}

func (r *run) tableName() string {
	if t := r.graph.GroupTable(); t != nil {
		return t.Topic()
	}
	return ""
}

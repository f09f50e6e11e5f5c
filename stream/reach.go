package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrAway is the error while no broker answers.
var ErrAway = errors.New("no broker answers")

// Reach knows whether any broker answers this process. It listens to all
// clients that are made of its Config, and asks the brokers itself where these
// have nothing to say. One Reach for a process says once that the brokers are
// lost, and once that they are back.
type Reach struct {
	brokers []string
	log     *slog.Logger
	start   time.Time
	heard   atomic.Int64 // when a broker answered last, since start
	probing atomic.Bool
	refused atomic.Bool // the last question, by all addresses, at once

	mu    sync.Mutex
	users int
	end   context.CancelFunc // of the watch; nil while nobody uses it
	since time.Time          // the last answer before the brokers were lost; zero: they answer
	back  chan struct{}      // closed when they answer again
	lost  time.Time          // when an outage began or ended last
}

// How soon it is known that no broker answers.
const (
	reachQuiet  = time.Second             // without an answer before the brokers are asked, and lost where all refuse
	reachLost   = 2500 * time.Millisecond // without an answer before they are lost
	reachTick   = 100 * time.Millisecond
	reachAnswer = time.Second // an answer takes at most
)

// NewReach returns the Reach of a process, for Config. It works while an Engine
// runs, or an Emitter is open.
func NewReach(brokers []string, log *slog.Logger) *Reach {
	if log == nil {
		log = slog.Default()
	}
	return &Reach{brokers: brokers, log: log, start: time.Now()}
}

// Err returns nil while brokers answer, and an ErrAway since when they do not.
func (r *Reach) Err() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		return nil
	}
	return fmt.Errorf("%w at %s for %s", ErrAway, strings.Join(r.brokers, ", "), time.Since(r.since).Round(100*time.Millisecond))
}

// wait blocks until brokers answer, or ctx is done.
func (r *Reach) wait(ctx context.Context) {
	r.mu.Lock()
	back := r.back
	away := !r.since.IsZero()
	r.mu.Unlock()
	if !away {
		return
	}
	select {
	case <-back:
	case <-ctx.Done():
	}
}

// silent reports whether the brokers turn out to be lost. It blocks until one
// answers, or that is known, or ctx is done.
func (r *Reach) silent(ctx context.Context) bool {
	began := time.Since(r.start)
	t := time.NewTicker(reachTick)
	defer t.Stop()
	for r.Err() == nil {
		if time.Duration(r.heard.Load()) > began || time.Since(r.start) > began+2*reachLost {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
	}
	return true
}

// disturbed reports whether the brokers were away at any time since t.
func (r *Reach) disturbed(t time.Time) bool {
	if t.IsZero() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.since.IsZero() || r.lost.After(t)
}

// OnBrokerE2E is called by a client when a request has been answered or failed.
func (r *Reach) OnBrokerE2E(_ kgo.BrokerMetadata, _ int16, e kgo.BrokerE2E) {
	if e.BytesRead == 0 || e.WriteErr != nil || e.ReadErr != nil {
		return
	}
	r.heard.Store(int64(time.Since(r.start)))
	r.refused.Store(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.since.IsZero() {
		r.log.Info("the brokers are back", "away", time.Since(r.since).Round(100*time.Millisecond))
		r.since, r.lost = time.Time{}, time.Now()
		close(r.back)
	}
}

// use lets the Reach watch until the function that is returned is called.
func (r *Reach) use() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users++
	if r.end == nil {
		ctx, cancel := context.WithCancel(context.Background())
		r.end = cancel
		r.heard.Store(int64(time.Since(r.start)))
		go r.watch(ctx)
	}
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.users--; r.users > 0 {
			return
		}
		r.end()
		r.end = nil
		if !r.since.IsZero() {
			r.since = time.Time{}
			close(r.back)
		}
	})
}

func (r *Reach) watch(ctx context.Context) {
	t := time.NewTicker(reachTick)
	defer t.Stop()
	p := &prober{reach: r}
	var asking sync.WaitGroup
	defer func() { asking.Wait(); p.close() }()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		if now.Sub(last) > reachLost/2 { // this process stood still: the brokers are not to blame
			r.heard.Store(int64(now.Sub(r.start)))
		}
		last = now
		quiet := now.Sub(r.start) - time.Duration(r.heard.Load())
		if quiet > reachQuiet && r.probing.CompareAndSwap(false, true) {
			asking.Go(func() { defer r.probing.Store(false); p.ask(ctx) })
		}
		if quiet > reachLost || quiet > reachQuiet && r.refused.Load() {
			r.lose(now.Add(-quiet))
		}
	}
}

func (r *Reach) lose(since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() && r.end != nil {
		r.since, r.lost, r.back = since, time.Now(), make(chan struct{})
		r.log.Warn("no broker answers: handling and commands wait until one does", "brokers", strings.Join(r.brokers, ","))
	}
}

// prober asks the brokers whether they are there.
type prober struct {
	reach  *Reach
	client *kgo.Client
}

// ask asks all known addresses at once. After a failure the next question has a
// connection of its own: one that hangs would hide that the brokers are back.
func (p *prober) ask(ctx context.Context) {
	if p.client == nil {
		var err error
		p.client, err = kgo.NewClient(kgo.SeedBrokers(p.reach.brokers...), kgo.RequestRetries(0), kgo.DialTimeout(reachAnswer),
			kgo.WithHooks(p.reach))
		if err != nil {
			return
		}
	}
	asking, cancel := context.WithTimeout(ctx, reachAnswer)
	defer cancel()
	var wg sync.WaitGroup
	var answered, hangs atomic.Bool
	for _, b := range p.client.SeedBrokers() {
		wg.Go(func() {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{}
			switch _, err := b.Request(asking, req); {
			case err == nil:
				answered.Store(true)
				cancel()
			case !errors.Is(err, syscall.ECONNREFUSED):
				hangs.Store(true)
			}
		})
	}
	wg.Wait()
	if !answered.Load() {
		p.reach.refused.Store(!hangs.Load())
		p.close()
		select { // a refusal comes at once
		case <-time.After(reachTick):
		case <-ctx.Done():
		}
	}
}

func (p *prober) close() {
	if p.client != nil {
		p.client.Close()
		p.client = nil
	}
}

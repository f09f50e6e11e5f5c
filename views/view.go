package views

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"baedal/topics"
)

// ErrNotReady means that the view has not caught up with its table yet, or is
// being rebuilt: ask again in a moment.
var ErrNotReady = errors.New("the view has not caught up with its table yet")

// View is a read-only copy of a table. It is safe for concurrent use.
type View[R any] struct {
	name    string
	table   topics.Table[R]
	opts    Options
	log     *slog.Logger
	apply   goka.UpdateCallback // of one record; goka.DefaultUpdate for a table
	since   time.Duration       // of a stream: what is older is not read; 0 is all
	indexes []Index[R]
	brief   func(key string, row []byte) (*R, error) // decodes what the indexes look at; nil: the whole row
	waiters waiters[string]
	groups  waiters[groupName]
	parts   atomic.Pointer[[]*partition] // of the goka view that runs now; nil between two
	topic   atomic.Uint64                // which topic of the table's name it reads, see Cursor
	asker   asker
	lag     atomic.Pointer[lag]

	mu    sync.RWMutex
	fault error // why the last one ended
}

// NewView returns the view of one table, to be filled by Run. It panics when
// Options lack what they must have.
func NewView[R any](name string, table topics.Table[R], opts Options, indexes ...Index[R]) *View[R] {
	opts = opts.withDefaults()
	return &View[R]{name: name, table: table, opts: opts, log: opts.Logger.With("view", name), apply: goka.DefaultUpdate, indexes: indexes}
}

// Get returns the row of key, or nil when there is none. It does not block. The
// row must not be changed: others are given the same one. The error is
// ErrNotReady until the view has caught up.
func (v *View[R]) Get(key string) (*R, error) {
	parts, err := v.partitions()
	if err != nil {
		return nil, err
	}
	return v.row(parts[partitionOf(key, len(parts))], key)
}

// row returns a row of one partition, or nil.
func (v *View[R]) row(p *partition, key string) (*R, error) {
	if !p.open.Load() {
		return nil, v.notReady()
	}
	kept, ok, when := p.rows.get(key)
	if ok {
		return kept.(*R), nil
	}
	if !p.enter() {
		return nil, v.notReady()
	}
	defer p.leave()
	data, err := p.Storage.Get(key)
	if err != nil {
		return nil, fmt.Errorf("view %s, key %q: %w", v.name, key, err)
	}
	if data == nil {
		return nil, nil
	}
	row, err := v.decode(key, data)
	if err == nil {
		p.rows.put(key, row, len(data), when)
	}
	return row, err
}

// Each calls fn with the rows whose keys are from or greater, in the order of
// their keys, until fn returns false. It walks over the rows as they were when
// it began. To go on after a key, begin at the key followed by "\x00". The
// error is ErrNotReady until the view has caught up.
func (v *View[R]) Each(from string, fn func(key string, row *R) bool) error {
	parts, err := v.partitions()
	if err != nil {
		return err
	}
	var iters []storage.Iterator
	defer func() {
		for i, it := range iters {
			it.Release()
			parts[i].leave()
		}
	}()
	for _, p := range parts {
		if !p.enter() {
			return v.notReady()
		}
		// 0xff is in no UTF-8 text. An empty limit would mean "with the prefix
		// from" to goka's own storages.
		it, err := p.Storage.IteratorWithRange([]byte(from), []byte{0xff})
		if err != nil {
			p.leave()
			return fmt.Errorf("view %s, from key %q: %w", v.name, from, err)
		}
		iters = append(iters, it)
	}
	merged := storage.NewMultiIterator(iters)
	for merged.Next() {
		data, err := merged.Value()
		if err != nil {
			return fmt.Errorf("view %s, key %q: %w", v.name, merged.Key(), err)
		}
		key := string(merged.Key())
		row, err := v.decode(key, data)
		if err != nil {
			return err
		}
		if !fn(key, row) {
			return nil
		}
	}
	if err := merged.Err(); err != nil {
		return fmt.Errorf("view %s, from key %q: %w", v.name, from, err)
	}
	return nil
}

// Wait returns the row of key as soon as cond accepts it; cond is given nil
// while there is none, and is asked at once and after each change. When ctx is
// done first, Wait returns the row as seen last and the context's error. The
// error is ErrNotReady when the view has not caught up at the time of the call;
// a view that is rebuilt while it is waited for is waited for too.
func (v *View[R]) Wait(ctx context.Context, key string, cond func(*R) bool) (*R, error) {
	// Registered before the row is read: a change in between is not missed.
	woken, remove := v.waiters.add(key)
	defer remove()
	hurried := false
	var last *R
	for first := true; ; first = false {
		row, err := v.Get(key)
		switch {
		case err == nil && cond(row):
			return row, nil
		case err == nil:
			last = row
		case first || !errors.Is(err, ErrNotReady):
			return nil, err
		}
		if !hurried {
			hurried = true
			defer v.opts.Hurry()()
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// Staleness returns how far the view may lag behind the table: the time since
// the view is known to have held all that was in the table. It is an upper
// bound. When what is known is old, the brokers are asked, and waited for up to
// answerIn: at rest, it is some milliseconds. It is math.MaxInt64 while the view
// is not ready.
func (v *View[R]) Staleness() time.Duration {
	known := v.staleness()
	if known > freshFor && known < math.MaxInt64 {
		v.asker.ask(known > knownFor)
		return v.staleness()
	}
	return known
}

// lag is what staleness was at a time. Until it is asked again, it is at most as
// much more as time has passed.
type lag struct {
	was time.Duration
	at  time.Time
}

// lagFor is how long a lag is good enough: whoever reads a hot row asks for it.
const lagFor = time.Millisecond

// staleness is Staleness by what is known.
func (v *View[R]) staleness() time.Duration {
	if l := v.lag.Load(); l != nil {
		if passed := time.Since(l.at); passed < lagFor {
			return l.was + passed
		}
	}
	now := time.Now()
	was := v.stalenessNow()
	if was < freshFor { // the rest is to be asked for
		v.lag.Store(&lag{was, now})
	}
	return was
}

func (v *View[R]) stalenessNow() time.Duration {
	parts, err := v.partitions()
	if err != nil {
		return math.MaxInt64
	}
	now, most := time.Now(), time.Duration(0)
	for _, p := range parts {
		f := p.freshness()
		if !f.recovered || f.current.IsZero() {
			return math.MaxInt64
		}
		most = max(most, now.Sub(f.current))
	}
	return most
}

// Recovered reports whether rows can be read.
func (v *View[R]) Recovered() bool {
	parts, err := v.partitions()
	if err != nil {
		return false
	}
	for _, p := range parts {
		if !p.freshness().recovered {
			return false
		}
	}
	return true
}

// Progress says how far the view has come.
func (v *View[R]) Progress() Progress {
	out := Progress{View: v.name, Table: v.table.Name(), Recovered: v.Recovered(), Staleness: v.staleness()}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.fault != nil {
		out.Problem = v.fault.Error()
	}
	parts, _ := v.partitions()
	for i, p := range parts {
		f := p.freshness()
		out.Applied += f.applied + 1
		out.Newest += f.newest
		if f.ahead {
			out.Problem = fmt.Sprintf("the local copy of %s/%d has read further than the topic goes: the topic was made anew; delete the local copy", v.table.Name(), i)
		}
	}
	return out
}

// Run keeps the view up to date until ctx is done, which is no error. A goka
// view that ends for another reason is replaced by a new one, after a pause.
func (v *View[R]) Run(ctx context.Context) error {
	pause := v.opts.RetryMin
	for {
		began := time.Now()
		err := v.runOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		if time.Since(began) > v.opts.RetryMax {
			pause = v.opts.RetryMin
		}
		v.setFault(err)
		v.log.Error("a view ended and is rebuilt", "error", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, v.opts.RetryMax)
	}
}

func (v *View[R]) runOnce(ctx context.Context) (err error) {
	defer func() {
		// A panic in a storage would take the whole process with it.
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var id string
	var gone <-chan struct{} // taken before the storages are opened, which hold to the same topic or to a newer one
	if v.opts.Incarnation != nil {
		id, gone = v.opts.Incarnation(v.table.Name())
	}
	v.topic.Store(topicHash(id))
	ctx, cancel := context.WithCancel(ctx)
	var probing sync.WaitGroup
	conn := &clients{opts: v.opts, topic: v.table.Name(), since: v.since, learn: v.learn, newest: v.heard}
	defer func() {
		cancel()
		if cerr := conn.close(); cerr != nil {
			v.log.Warn("closing the clients of a view", "error", cerr)
		}
		probing.Wait()
		v.forget()
	}()

	gv, err := goka.NewView(v.opts.Brokers, goka.Table(v.table.Name()), v.table.JSON,
		goka.WithViewClientID("baedal-view-"+v.name),
		goka.WithViewConsumerSaramaBuilder(conn.buildConsumer),
		goka.WithViewTopicManagerBuilder(conn.buildManager),
		goka.WithViewStorageBuilder(v.buildStorage),
		goka.WithViewCallback(v.update),
		goka.WithViewLogger(gokaLogger{v.log}),
		goka.WithViewAutoReconnect(),
		// goka waits 10, 20, 30… seconds by default.
		goka.WithViewBackoffBuilder(func() (goka.Backoff, error) {
			return goka.NewSimpleBackoff(v.opts.RetryMin, v.opts.RetryMax), nil
		}),
	)
	if err != nil {
		return err
	}
	probing.Go(func() { v.probe(ctx, conn) })
	if gone == nil {
		return gv.Run(ctx)
	}
	var replaced atomic.Bool
	probing.Go(func() {
		select {
		case <-gone:
			replaced.Store(true)
			cancel()
		case <-ctx.Done():
		}
	})
	if err := gv.Run(ctx); !replaced.Load() {
		return err
	}
	return fmt.Errorf("topic %s was deleted and made anew", v.table.Name())
}

// probe asks for the newest offsets again and again, which is what shows how
// far the view lags, and that a quiet view is not a stuck one.
func (v *View[R]) probe(ctx context.Context, conn *clients) {
	tm, err := conn.buildManager(v.opts.Brokers)
	if err != nil {
		v.log.Warn("the staleness of a view is not known", "error", err)
		return
	}
	ask := func() {
		parts, err := v.partitions()
		var asking sync.WaitGroup
		errs := make([]error, len(parts))
		for i, p := range parts {
			if p.freshness().recovered { // until then only what goka itself asked for counts
				asking.Go(func() { _, errs[i] = tm.GetOffset(v.table.Name(), int32(i), sarama.OffsetNewest) })
			}
		}
		asking.Wait()
		if err = errors.Join(append(errs, err)...); err != nil && ctx.Err() == nil {
			v.log.Debug("asking for the newest offsets of a table", "error", err)
		}
	}
	v.asker.start(ask)
	defer v.asker.stop()
	for {
		// All views of a process ask at the same time, which makes one question of them.
		select {
		case <-ctx.Done():
			return
		case <-time.After(v.opts.ProbeEvery - time.Duration(time.Now().UnixNano())%v.opts.ProbeEvery):
			ask()
		}
	}
}

// update applies one record of the changelog and wakes those who wait for it.
func (v *View[R]) update(ctx goka.UpdateContext, s storage.Storage, key string, value []byte) error {
	if parts, err := v.partitions(); err == nil && int(ctx.Partition()) < len(parts) {
		parts[ctx.Partition()].begin(ctx.Offset(), ctx.Timestamp())
	}
	if err := v.apply(ctx, s, key, value); err != nil {
		return err
	}
	v.waiters.wake(key)
	return nil
}

func (v *View[R]) buildStorage(topic string, p int32) (storage.Storage, error) {
	parts, err := v.partitions()
	if err != nil || int(p) >= len(parts) {
		return nil, fmt.Errorf("table %s has no partition %d", topic, p)
	}
	st, err := v.opts.Storage(topic, p)
	if err != nil {
		return nil, err
	}
	parts[p].Storage = st
	return parts[p], nil
}

// learn prepares the partitions of a new goka view, before it has any storage.
func (v *View[R]) learn(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if parts := v.parts.Load(); parts != nil && len(*parts) == n {
		return
	}
	parts := make([]*partition, n)
	for i := range parts {
		parts[i] = newPartition(hooks{recovered: v.recovering, indexes: v.stateIndexes, awaited: v.awaited, changed: v.groups.wake, cache: v.opts.CacheBytes / n})
	}
	v.parts.Store(&parts)
}

// awaited reports whether somebody is likely to read a row as soon as it changes.
func (v *View[R]) awaited(key string) bool { return v.groups.n.Load() > 0 || v.waiters.has(key) }

func (v *View[R]) forget() { v.parts.Store(nil) }

// recovering is called when one more partition has recovered.
func (v *View[R]) recovering() {
	if v.Recovered() {
		v.setFault(nil)
		v.waiters.wakeAll()
		v.groups.wakeAll()
	}
}

func (v *View[R]) heard(p int32, offset int64, at time.Time) {
	if parts, err := v.partitions(); err == nil && int(p) < len(parts) {
		parts[p].heard(offset, at)
	}
}

func (v *View[R]) partitions() ([]*partition, error) {
	parts := v.parts.Load()
	if parts == nil || len(*parts) == 0 {
		return nil, v.notReady()
	}
	return *parts, nil
}

func (v *View[R]) setFault(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fault = err
}

func (v *View[R]) notReady() error { return fmt.Errorf("view %s: %w", v.name, ErrNotReady) }

func (v *View[R]) decode(key string, data []byte) (*R, error) {
	row, err := v.table.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("view %s, key %q: %w", v.name, key, err)
	}
	return row.(*R), nil
}

// partitionOf returns where goka's producer puts a key. goka's own view
// computes it in another order and fails for the one hash whose absolute value
// does not fit.
func partitionOf(key string, partitions int) int {
	h := goka.DefaultHasher()()
	h.Write([]byte(key))
	p := int(int32(h.Sum32())) % partitions
	if p < 0 {
		p = -p
	}
	return p
}

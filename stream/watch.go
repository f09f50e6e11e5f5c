package stream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watchEvery is the time between two looks at the topics, and watchPatience how
// long the brokers have for an answer.
const (
	watchEvery    = 2 * time.Second
	watchPatience = 5 * time.Second
)

// Watch knows the topics of an installation as the cluster has them: their ids
// and their partition counts, asked for in one request every two seconds. All of
// a process share one, so that nobody goes by another count, or takes a topic
// that was deleted and made anew for the one before. It is safe for concurrent
// use.
type Watch struct {
	cfg    Config
	topics []string

	mu       sync.Mutex
	client   *kgo.Client // from the first look on, until Run ends
	seen     map[string]*seen
	changed  chan struct{} // closed when anything has changed
	replaced []func(topic string)
	damage   error
}

// seen is what is known of one topic.
type seen struct {
	id         string
	partitions int
	missed     int             // looks in a row that did not find it
	before     map[string]bool // ids that it had
	gone       chan struct{}   // closed when the topic of this id is replaced
}

// missedLooks is how many looks in a row must miss a topic that was there: a
// broker that has just started may know less than the others for a moment.
const missedLooks = 2

// NewWatch prepares a watch over some topics. Nothing is contacted yet.
func NewWatch(cfg Config, topics ...string) *Watch {
	w := &Watch{cfg: cfg.WithDefaults(), topics: slices.Compact(slices.Sorted(slices.Values(topics))), seen: map[string]*seen{}, changed: make(chan struct{})}
	for _, t := range w.topics {
		w.seen[t] = &seen{before: map[string]bool{}, gone: make(chan struct{})}
	}
	return w
}

// connect returns the client to ask with.
func (w *Watch) connect() (*kgo.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(w.cfg.Brokers...), kgo.ClientID(w.cfg.ClientID), kgo.WithLogger(clientLogger{w.cfg.Logger}))
		if err != nil {
			return nil, fmt.Errorf("watching the topics: %w", err)
		}
		w.client = client
	}
	return w.client, nil
}

// Close ends its connection. The next look makes another one.
func (w *Watch) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

// Run looks again and again until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Debug("looking at the topics", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look asks now. Brokers that don't answer are the error; what is wrong with the
// topics is said by Err.
func (w *Watch) Look(ctx context.Context) error {
	client, err := w.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range w.topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("asking for the topics: %w", err)
	}
	w.learn(resp)
	return nil
}

func (w *Watch) learn(resp *kmsg.MetadataResponse) {
	w.mu.Lock()
	var anew []string
	changed := false
	for _, t := range resp.Topics {
		if t.Topic == nil || w.seen[*t.Topic] == nil {
			continue
		}
		s := w.seen[*t.Topic]
		switch {
		case errors.Is(kerr.ErrorForCode(t.ErrorCode), kerr.UnknownTopicOrPartition):
			s.missed++
			changed = changed || s.missed == missedLooks
			continue
		case len(t.Partitions) == 0: // a right that lacks, or no leader yet
			continue
		}
		id, replaced := topicID(t.TopicID), false
		if s.before[id] {
			continue // a broker that has not heard yet
		}
		if s.id != "" && id != "" && s.id != id {
			s.before[s.id] = true
			close(s.gone)
			s.gone = make(chan struct{})
			s.partitions = 0
			anew, replaced = append(anew, *t.Topic), true
		}
		changed = changed || replaced || s.missed >= missedLooks || len(t.Partitions) > s.partitions
		s.missed = 0
		if id != "" {
			s.id = id
		}
		if id == "" {
			s.partitions = len(t.Partitions)
		} else {
			s.partitions = max(s.partitions, len(t.Partitions)) // they are never taken back
		}
	}
	was := w.damage
	w.damage = w.judge()
	now := w.damage
	if changed {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	listeners := slices.Clone(w.replaced)
	w.mu.Unlock()

	for _, topic := range anew {
		w.cfg.Logger.Error("a topic was deleted and made anew: what it held is gone, and what is read from it begins at its start", "topic", topic)
		for _, tell := range listeners {
			tell(topic)
		}
	}
	switch {
	case now != nil && (was == nil || was.Error() != now.Error()):
		w.cfg.Logger.Error(now.Error())
	case now == nil && was != nil:
		w.cfg.Logger.Info("the topics are as they should be again")
	}
}

// topicID spells an id as Kafka's tools do; older brokers have none.
func topicID(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// judge says in one line what is wrong, and what to do. With w.mu held.
func (w *Watch) judge() error {
	var missing, fewer, raised []string
	for _, name := range w.topics {
		s, n := w.seen[name], w.cfg.Partitions
		switch {
		case s.missed >= missedLooks:
			missing = append(missing, name)
		case n == 0 || s.partitions == 0:
		case s.partitions < n:
			fewer = append(fewer, fmt.Sprintf("%s (%d)", name, s.partitions))
		case s.partitions > n:
			raised = append(raised, fmt.Sprintf("%s (%d)", name, s.partitions))
		}
	}
	var wrong []string
	if len(missing) > 0 {
		wrong = append(wrong, fmt.Sprintf("missing: %s: start again, and they are made anew; what they held is gone", strings.Join(missing, ", ")))
	}
	if len(fewer) > 0 {
		wrong = append(wrong, fmt.Sprintf("fewer than %d partitions: %s: delete them and start again, and they are made anew", w.cfg.Partitions, strings.Join(fewer, ", ")))
	}
	if len(raised) > 0 {
		wrong = append(wrong, fmt.Sprintf("raised to more than %d partitions: %s: take another --prefix, as partitions can't be taken back; what comes into the new ones is read until then",
			w.cfg.Partitions, strings.Join(raised, ", ")))
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New("no commands are taken, as topics are not as they should be: " + strings.Join(wrong, "; "))
}

// Err says what is wrong with the topics and what to do, or returns nil. While
// there is something wrong no command should be taken.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.damage
}

// Incarnation returns the id of the topic of that name, empty where it is not
// known, and a channel that is closed when another topic has come in its place.
func (w *Watch) Incarnation(topic string) (id string, gone <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.seen[topic]; s != nil {
		return s.id, s.gone
	}
	return "", nil
}

// onReplaced lets tell be told of each topic that was made anew.
func (w *Watch) onReplaced(tell func(topic string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replaced = append(w.replaced, tell)
}

// raisedTopic is a topic that has more partitions than it should.
type raisedTopic struct {
	id         string
	partitions int
}

// raised returns those of the topics that have more partitions than they should,
// and a channel that is closed when that may have changed.
func (w *Watch) raised(topics []string) (map[string]raisedTopic, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]raisedTopic{}
	for _, t := range topics {
		if s := w.seen[t]; s != nil && w.cfg.Partitions > 0 && s.partitions > w.cfg.Partitions {
			all[t] = raisedTopic{s.id, s.partitions}
		}
	}
	return all, w.changed
}

// await blocks while one of the topics can't be worked with: it is missing, or
// has too few partitions.
func (w *Watch) await(ctx context.Context, topics []string) {
	for {
		w.mu.Lock()
		unfit := slices.ContainsFunc(topics, func(t string) bool {
			s := w.seen[t]
			return s != nil && (s.missed >= missedLooks || s.partitions > 0 && s.partitions < w.cfg.Partitions)
		})
		changed := w.changed
		w.mu.Unlock()
		if !unfit {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// replacements returns how often each of topics has been replaced so far.
func (w *Watch) replacements(topics []string) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]int{}
	for _, t := range topics {
		if s := w.seen[t]; s != nil {
			all[t] = len(s.before)
		}
	}
	return all
}

// replacedSince returns a topic that has been replaced since replacements
// returned before, if there is one, and a channel that is closed when that may
// have changed.
func (w *Watch) replacedSince(before map[string]int) (topic string, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for topic, n := range before {
		if len(w.seen[topic].before) > n {
			return topic, w.changed
		}
	}
	return "", w.changed
}

// ids returns what is known of topics by now.
func (w *Watch) ids(topics []string) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]string{}
	for _, t := range topics {
		if s := w.seen[t]; s != nil {
			all[t] = s.id
		}
	}
	return all
}

// topicsOf returns the names of all topics that groups read and write.
func topicsOf(groups []*run) []string {
	all := map[string]bool{}
	for _, r := range groups {
		for _, t := range r.topics() {
			all[t] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (r *run) topics() (all []string) {
	for _, e := range r.graph.AllEdges() {
		all = append(all, e.Topic())
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// inputs returns the topics whose records the group decides on.
func (r *run) inputs() (all []string) {
	for _, e := range r.graph.InputStreams() {
		all = append(all, e.Topic())
	}
	if loop := r.graph.LoopStream(); loop != nil {
		all = append(all, loop.Topic())
	}
	return all
}

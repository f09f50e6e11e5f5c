package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/domain/order"
	"baedal/stream"
	"baedal/topics"
)

// ledger is what the disturber said to an installation, to be compared with
// what came of it. It is the suite's own witness beside the audit: it alone
// knows what was sent, and in which order.
type ledger struct {
	w      *world
	client *kgo.Client // reads, from the beginning

	mu       sync.Mutex
	poison   map[string]string   // topic/partition/offset → what it was
	buried   map[string]int      // the same → dead letters of it
	either   map[string]try      // the same → a command that must have a verdict or a dead letter
	expect   map[string]string   // command id → verdict that it must have: accepted, or "" for any
	verdicts map[string][][]byte // command id → all that was said
	tried    map[string]bool     // ids of what is in either
	orders   map[string]bool     // of the disturber
	final    map[string]string   // orders that ended
}

// try is a command that somebody might allow.
type try struct{ what, id string }

func newLedger(w *world) *ledger {
	return &ledger{w: w, poison: map[string]string{}, either: map[string]try{}, tried: map[string]bool{}, buried: map[string]int{}, expect: map[string]string{},
		verdicts: map[string][][]byte{}, orders: map[string]bool{}, final: map[string]string{}}
}

func (l *ledger) close() {
	if l.client != nil {
		l.client.Close()
	}
}

// read takes in what has come since the last time, for a moment.
func (l *ledger) read(ctx context.Context) error {
	if l.client == nil {
		c, err := kgo.NewClient(kgo.SeedBrokers(l.w.addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumeTopics(l.w.cat.DeadLetters.Name(), l.w.cat.Verdicts.Name(), l.w.cat.OrderEvents.Name()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			return err
		}
		l.client = c
	}
	ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		l.client.PollFetches(ctx).EachRecord(l.record)
	}
	return nil
}

func (l *ledger) record(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r.Topic {
	case l.w.cat.DeadLetters.Name():
		h := map[string]string{}
		for _, x := range r.Headers {
			h[x.Key] = string(x.Value)
		}
		by := " by " + h[stream.HeaderGroup]
		l.buried[h[stream.HeaderTopic]+"/"+h[stream.HeaderPartition]+"/"+h[stream.HeaderOffset]+by]++
		if o := h[stream.HeaderOrigin]; o != "" {
			l.buried[o+by]++
		}
	case l.w.cat.Verdicts.Name():
		var v struct {
			CommandID string `json:"commandId"`
		}
		if json.Unmarshal(r.Value, &v) == nil {
			if _, ours := l.expect[v.CommandID]; ours || l.tried[v.CommandID] {
				l.verdicts[v.CommandID] = append(l.verdicts[v.CommandID], r.Value)
			}
		}
	case l.w.cat.OrderEvents.Name():
		var e order.Event
		if l.orders[string(r.Key)] && json.Unmarshal(r.Value, &e) == nil && e.Status.Final() {
			l.final[string(r.Key)] = string(e.Status)
		}
	}
}

// settle waits until everything that was said has its answer, and returns what
// has not, or has a wrong one.
func (l *ledger) settle(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		if err := l.read(ctx); err != nil {
			return err
		}
		missing, wrong := l.compare()
		switch {
		case len(wrong) > 0:
			return fmt.Errorf("%d wrong: %s", len(wrong), l.some(wrong))
		case len(missing) == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d missing: %s", len(missing), l.some(missing))
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// some writes all of it to a file, and returns some.
func (l *ledger) some(all []string) string {
	sort.Strings(all)
	path := filepath.Join(l.w.dir, fmt.Sprintf("ledger-%d.txt", l.w.round.n))
	_ = os.WriteFile(path, []byte(strings.Join(all, "\n")+"\n"), 0o644)
	return some(all) + " (all of it: " + path + ")"
}

func some(all []string) string {
	sort.Strings(all)
	return strings.Join(all[:min(4, len(all))], "; ")
}

func (l *ledger) compare() (missing, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, what := range l.poison {
		switch n := l.buried[at]; {
		case n == 0:
			missing = append(missing, fmt.Sprintf("no dead letter for %s at %s", what, at))
		case n > 1 && l.w.guarantee == stream.ExactlyOnce:
			wrong = append(wrong, fmt.Sprintf("%d dead letters for %s at %s", n, what, at))
		}
	}
	for at, t := range l.either {
		switch letters, said := l.buried[at], l.verdicts[t.id]; {
		case letters == 0 && len(said) == 0:
			missing = append(missing, fmt.Sprintf("no verdict and no dead letter for %s at %s", t.what, at))
		case letters > 1 && l.w.guarantee == stream.ExactlyOnce:
			wrong = append(wrong, fmt.Sprintf("%d dead letters for %s at %s", letters, t.what, at))
		}
	}
	for id, want := range l.expect {
		all := l.verdicts[id]
		if len(all) == 0 {
			missing = append(missing, "no verdict for "+id)
			continue
		}
		for _, v := range all[1:] {
			if !bytes.Equal(v, all[0]) {
				wrong = append(wrong, fmt.Sprintf("two verdicts for %s: %s and %s", id, all[0], v))
				break
			}
		}
		if want != "" && !bytes.Contains(all[0], []byte(`"`+want+`"`)) {
			wrong = append(wrong, fmt.Sprintf("%s must be %s: %s", id, want, all[0]))
		}
	}
	for id := range l.orders {
		if l.final[id] == "" {
			missing = append(missing, "no end of order "+id)
		}
	}
	return missing, wrong
}

// disturber says wrong things, and things twice, for the length of a round.
type disturber struct {
	*ledger
	run      string
	rnd      *rand.Rand
	client   *kgo.Client
	poisoned int   // under mu
	again    int   // under mu
	unsaid   error // under mu: what could not be said
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

const againHeader = "chaos-again"

// disturb begins.
func (l *ledger) disturb(ctx context.Context, r round) (*disturber, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &disturber{ledger: l, run: fmt.Sprintf("chaos%d", r.n), rnd: chance(r.seed^0xd15, r.n), cancel: cancel}
	c, err := kgo.NewClient(kgo.SeedBrokers(l.w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(2<<20), kgo.ProducerLinger(0),
		kgo.ConsumeTopics(l.w.cat.OrderCommands.Name(), l.w.cat.StoreCommands.Name(), l.w.cat.RiderCommands.Name()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	if err != nil {
		return nil, err
	}
	d.client = c
	d.wg.Go(func() { d.mirror(ctx) })
	d.wg.Go(func() { d.talk(ctx) })
	return d, nil
}

// stop ends it when it has said all that it wanted, and the brokers have it. The
// error is that they do not.
func (d *disturber) stop() error {
	d.cancel()
	d.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := d.client.Flush(ctx)
	d.client.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err = errors.Join(err, d.unsaid); err != nil {
		return fmt.Errorf("saying commands and poison: %w", err)
	}
	return nil
}

// said is called with what became of a record.
func (d *disturber) said(_ *kgo.Record, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsaid = errors.Join(d.unsaid, err)
}

func (d *disturber) count() (poisoned, repeated int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.poisoned, d.again
}

// mirror sends a part of all clients' commands again, into the same partition.
// Riders' come soon: their rows remember a dozen commands.
func (d *disturber) mirror(ctx context.Context) {
	for ctx.Err() == nil {
		d.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				if h.Key == againHeader || h.Key == stream.HeaderOrigin {
					return
				}
			}
			var c struct {
				Type string `json:"type"`
				ID   string `json:"id"`
			}
			if json.Unmarshal(r.Value, &c) != nil || c.ID == "" || rand.IntN(4) > 0 {
				return
			}
			late := 3 * time.Second
			switch {
			case c.Type == "reserve" || c.Type == "commit" || c.Type == "release":
				return // the engine's own
			case r.Topic == d.w.cat.RiderCommands.Name():
				late = 300 * time.Millisecond
			}
			again := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value,
				Headers: append(r.Headers, kgo.RecordHeader{Key: againHeader})}
			d.wg.Go(func() {
				select {
				case <-time.After(rand.N(late)):
				case <-ctx.Done():
				}
				d.mu.Lock()
				d.again++
				d.mu.Unlock()
				d.client.Produce(context.Background(), again, d.said)
			})
		})
	}
}

// talk says commands and poison, each round some of all kinds.
func (d *disturber) talk(ctx context.Context) {
	poison := d.allPoison()
	d.rnd.Shuffle(len(poison), func(i, j int) { poison[i], poison[j] = poison[j], poison[i] })
	right, wrong := d.store(true), d.store(false)
	d.open(right, true)
	d.open(wrong, false)
	const ticks = 40
	all := len(poison)
	for i := range ticks {
		for len(poison) > (ticks-1-i)*all/ticks {
			d.bury(poison[0])
			poison = poison[1:]
		}
		// A chain: each link stands only behind the one before.
		n := strconv.Itoa(i)
		d.command(d.w.cat.StoreCommands.Name(), wrong, false, wrong+":add:"+n, "accepted", `"type":"add_stock","product":"p","quantity":100`)
		d.command(d.w.cat.StoreCommands.Name(), wrong, false, wrong+":remove:"+n, "accepted", `"type":"remove_stock","product":"p","quantity":100`)
		d.command(d.w.cat.StoreCommands.Name(), right, true, right+":add:"+n, "accepted", `"type":"add_stock","product":"p","quantity":1`)
		if i%4 == 0 {
			d.place(right, i)
		}
		if ctx.Err() == nil {
			wait(ctx, time.Duration(50+d.rnd.IntN(150))*time.Millisecond)
		}
	}
}

// store names a store for which our partitioner and murmur2 agree, or not.
func (d *disturber) store(agree bool) string {
	for i := 0; ; i++ {
		if id := fmt.Sprintf("%s-s%d", d.run, i); (murmur(id) == d.home(id)) == agree {
			return id
		}
	}
}

func (d *disturber) home(key string) int32 { return stream.Partition(key, partitions) }

var murmurOf = kgo.StickyKeyPartitioner(nil).ForTopic("")

// murmur is where Java's and franz-go's clients put a key.
func murmur(key string) int32 {
	return int32(murmurOf.Partition(&kgo.Record{Key: []byte(key)}, partitions))
}

func (d *disturber) open(store string, right bool) {
	t := d.w.cat.StoreCommands.Name()
	d.command(t, store, right, store+":register", "accepted", `"type":"register","name":"S","area":"`+d.run+`","lat":37.5,"lon":127,"autoAccept":true,"cookingTime":"100ms"`)
	d.command(t, store, right, store+":put", "accepted", `"type":"put_product","product":"p","name":"P","price":1000`)
}

// place places an order that nobody brings; some are cancelled at once.
func (d *disturber) place(store string, i int) {
	id := fmt.Sprintf("%s-o%d", d.run, i)
	right := d.rnd.IntN(2) == 0
	d.mu.Lock()
	d.orders[id] = true
	d.mu.Unlock()
	t := d.w.cat.OrderCommands.Name()
	d.command(t, id, right, id+":place", "accepted", `"type":"place","userId":"u-`+d.run+`","storeId":"`+store+
		`","lines":[{"product":"p","quantity":1}],"address":{"lat":37.51,"lon":127}`)
	if i%8 == 0 {
		d.command(t, id, right, id+":cancel", "", `"type":"cancel","by":"customer","reason":"chaos"`)
	}
}

// command sends a command that asks for its verdict. The mirror repeats some.
func (d *disturber) command(topic, key string, right bool, id, want, fields string) {
	d.mu.Lock()
	d.expect[id] = want
	d.mu.Unlock()
	p := d.home(key)
	if !right {
		p = murmur(key)
	}
	d.client.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: p, Key: []byte(key),
		Value: []byte(`{"id":"` + id + `","verdict":true,` + fields + `}`)}, d.said)
}

// bad is a record that nobody can handle.
type bad struct {
	what       string
	topic      string
	key, value []byte
	headers    []kgo.RecordHeader
	at         time.Time // of the record; zero: now
	id         string    // of a command that may be decided on instead, as somebody might allow it
	may        bool      // so, and where it has no id its coordinates are it
	silent     bool      // it is right, and is of a kind that nobody answers
}

func (d *disturber) bury(b bad) { d.buryBy(d.client, b) }

// buryBy sends poison with a client of its own making.
func (d *disturber) buryBy(client *kgo.Client, b bad) {
	d.mu.Lock()
	d.poisoned++
	d.mu.Unlock()
	r := &kgo.Record{Topic: b.topic, Partition: int32(d.rnd.IntN(partitions)), Key: b.key, Value: b.value, Timestamp: b.at,
		Headers: append(b.headers, kgo.RecordHeader{Key: againHeader})}
	client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if refused(err) {
			d.w.say("the brokers refuse %s: %v", b.what, err)
			return
		}
		if d.said(r, err); err != nil || b.silent {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, group := range readers[d.w.cat.Short(r.Topic)] {
			at := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
			by := at + " by " + d.w.cat.Group(group)
			if b.may {
				t := try{b.what, cmp.Or(b.id, at)}
				d.either[by], d.tried[t.id] = t, true
			} else {
				d.poison[by] = b.what
			}
		}
	})
}

// refused reports whether the brokers do not take a record, whoever sends it.
func refused(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidTimestamp) || errors.Is(err, kerr.InvalidRecord)
}

// readers are the groups that read a stream.
var readers = map[string][]string{
	"order-commands": {topics.Orders}, "stock-replies": {topics.Orders}, "payment-replies": {topics.Orders}, "delivery-events": {topics.Orders}, "orders-loop": {topics.Orders},
	"store-commands":   {topics.Stock},
	"payment-requests": {topics.Payments}, "payments-loop": {topics.Payments},
	"rider-commands": {topics.Riders}, "rider-events": {topics.Riders},
	"dispatch-commands": {topics.Dispatch},
	"order-events":      {topics.Notifier, topics.Projections}, "projections-loop": {topics.Projections},
	"notifications": {topics.Messenger},
}

var unreadable = []struct{ what, value string }{
	{"nothing", ""},
	{"half of a message", `{"orderId":"o`},
	{"bytes", "\x00\xff\xfe\x01\x80"},
	{"an array", "[1,2]"},
	{"a number", "42"},
	{"JSON's null", "null"},
	{"two messages", "{}{}"},
	{"deep brackets", strings.Repeat("[", 20000)},
}

// allPoison is one of every kind for every stream that a group reads.
func (d *disturber) allPoison() (all []bad) {
	key := []byte(d.run + "-poison")
	for _, short := range slices.Sorted(maps.Keys(readers)) {
		topic := d.w.cat.Prefix + short
		all = append(all, bad{what: "null on " + short, topic: topic, key: key})
		for _, b := range unreadable {
			all = append(all, bad{what: b.what + " on " + short, topic: topic, key: key, value: []byte(b.value)})
		}
	}
	place := `{"type":"place","userId":"u","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"lat":1,"lon":1}`
	for topic, good := range map[string]string{
		d.w.cat.OrderCommands.Name(): place + `}`,
		d.w.cat.StoreCommands.Name(): `{"type":"add_stock","product":"p","quantity":1}`,
		d.w.cat.RiderCommands.Name(): `{"type":"claim","orderId":"o"}`,
	} {
		add := func(what string, key []byte, value string) {
			all = append(all, bad{what: what + " on " + d.w.cat.Short(topic), topic: topic, key: key, value: []byte(value)})
		}
		add("no key", nil, good)
		add("an empty key", []byte{}, good)
		add("an unknown type", key, `{"type":"dance"}`)
		add("no type", key, `{"id":"x"}`)
		add("an id as the engine makes them", key, `{"id":"o/assigned/1/1",`+good[1:])
		add("a type that is no text", key, `{"type":7}`)
		add("a missing field", key, good[:strings.Index(good, ",")]+"}")
		add("a control character in the key", []byte("a\x01b"), good)
		add("a slash in the key", []byte("a/b"), good)
		add("a long key", bytes.Repeat([]byte("k"), 201), good)
		add("a key that is no UTF-8", []byte("k\xff\xfe"), good)
		switch topic {
		case d.w.cat.OrderCommands.Name():
			add("another key in the message", key, place+`,"orderId":"another"}`)
			add("lines that are no list", key, `{"type":"place","userId":"u","storeId":"s","lines":"many","address":{"lat":1,"lon":1}}`)
			add("a negative quantity", key, `{"type":"place","userId":"u","storeId":"s","lines":[{"product":"p","quantity":-1}],"address":{"lat":1,"lon":1}}`)
			add("more than a row may hold", key, `{"type":"place","userId":"`+strings.Repeat("u", 950_000)+`","storeId":"s","lines":[{"product":"p","quantity":1}],"address":{"lat":1,"lon":1}}`)
		case d.w.cat.StoreCommands.Name():
			add("another key in the message", key, `{"type":"add_stock","storeId":"another","product":"p","quantity":1}`)
			add("a huge number", key, `{"type":"add_stock","product":"p","quantity":1e300}`)
			add("a quantity of nothing", key, `{"type":"add_stock","product":"p","quantity":0}`)
		case d.w.cat.RiderCommands.Name():
			add("another key in the message", key, `{"type":"claim","riderId":"another","orderId":"o"}`)
			add("a place off the earth", key, `{"type":"move","lat":1000,"lon":1}`)
		}
	}
	return all
}

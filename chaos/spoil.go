package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/broker"
	"baedal/domain/order"
	"baedal/topics"
)

// Some faults destroy records, or leave an installation that can't go on as it
// was. They have rounds of their own, whose installation ends with them: first
// people live as always until all is settled; then records are written, the
// fault destroys some of them, and another rule holds:
//
//   - within 10 s one line per group and partition says which offsets are gone,
//   - what is left is decided on, nothing destroyed is told accepted,
//   - nothing old is written over what is new,
//   - the audit names the keys that miss something, and no other.

var spoiling = []fault{
	{"retention-cut", 1, anyStep, anywhere, retentionCut},
	{"offsets-reset", 1, anyStep, anywhere, offsetsReset},
	{"topic-anew", 1, anyStep, anywhere, topicAnew},
	{"partitions-raised", 1, anyStep, anywhere, partitionsRaised},
}

func (f fault) spoils() bool {
	return slices.ContainsFunc(spoiling, func(s fault) bool { return s.name == f.name })
}

// sayWithin is how long an instance has to say what is gone.
const sayWithin = 10 * time.Second

// liveSpoiled lives through a round of such a fault.
func (w *world) liveSpoiled(ctx context.Context, r round, f fault) (res result, err error) {
	w.round = r
	first := w.all[0]
	if first.cmd == nil {
		if err := first.startReady(); err != nil {
			return res, broken{"instance", err.Error()}
		}
	}
	load, err := w.startLoad(ctx)
	if err != nil {
		return res, err
	}
	d, err := w.ledger.disturb(ctx, r)
	if err != nil {
		return res, err
	}
	w.disturber = d
	report, err := load.wait()
	if err != nil {
		_ = d.stop()
		return res, broken{"load", err.Error()}
	}
	res.orders, res.byStatus = report.Orders, report.ByStatus
	if err := errors.Join(d.stop(), w.ledger.settle(ctx, w.patience)); err != nil {
		return res, broken{"ledger", err.Error()}
	}
	res.poison, res.repeats = d.count()
	for _, st := range r.steps {
		met, err := f.do(ctx, w, st)
		if err != nil {
			return res, broken{f.name, err.Error()}
		}
		if met {
			res.met++
		} else {
			res.unmet++
		}
	}
	if first.ended(0) {
		return res, broken{"instance", "it has ended: see instance-0.log"}
	}
	res.audit = "the rule for what is destroyed holds"
	return res, nil
}

func (w *world) admin(do func(*kadm.Client) error) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr))
	if err != nil {
		return err
	}
	defer c.Close()
	return do(kadm.NewClient(c))
}

// started is the line with which the log of a process begins.
var started = regexp.MustCompile(`(?m)^=== \S+ start `)

// said returns what the instance's process has logged since its start.
func (in *instance) said() ([]string, error) {
	data, err := os.ReadFile(filepath.Join(in.w.dir, fmt.Sprintf("instance-%d.log", in.number)))
	if err != nil {
		return nil, err
	}
	if all := started.FindAllIndex(data, -1); len(all) > 0 {
		data = data[all[len(all)-1][0]:]
	}
	return strings.Split(string(data), "\n"), nil
}

// gone is what a line must say: of which partition which offsets, ends included.
type gone struct {
	group, topic string
	partition    int32
	numbers      []int64
}

func (g gone) in(line string) bool {
	words := []string{regexp.QuoteMeta("topic=" + g.topic), "partition=" + strconv.Itoa(int(g.partition)), regexp.QuoteMeta("group=" + g.group)}
	for _, n := range g.numbers {
		words = append(words, strconv.FormatInt(n, 10))
	}
	return !slices.ContainsFunc(words, func(word string) bool {
		return !regexp.MustCompile(`(^|[^\w.-])` + word + `($|[^\w-])`).MatchString(line)
	})
}

// saysOnce waits until the instance has said each, and finds it said once.
func (w *world) saysOnce(ctx context.Context, all []gone) error {
	deadline := time.Now().Add(sayWithin)
	for {
		lines, err := w.all[0].said()
		if err != nil {
			return err
		}
		var wrong []string
		silent := false
		for _, g := range all {
			n := 0
			for _, line := range lines {
				if g.in(line) {
					n++
				}
			}
			if n != 1 {
				wrong = append(wrong, fmt.Sprintf("%d lines say of group %s that %v of %s/%d are gone", n, g.group, g.numbers, g.topic, g.partition))
			}
			silent = silent || n == 0
		}
		switch {
		case len(wrong) == 0:
			return nil
		case !silent, time.Now().After(deadline), ctx.Err() != nil:
			return fmt.Errorf("%d of %d: %s (within %s, instance-0.log)", len(wrong), len(all), some(wrong), sayWithin)
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// named runs the audit and returns the keys that it names.
func (w *world) named(ctx context.Context) (map[string]bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin, "audit", "--brokers", w.addr, "--prefix", w.prefix, "--partitions", strconv.Itoa(partitions),
		"--guarantee", string(w.guarantee), "--settle", "15s", "--format", "json")
	out, err := cmd.Output()
	path := filepath.Join(w.dir, fmt.Sprintf("audit-%d.json", w.round.n))
	_ = os.WriteFile(path, out, 0o644)
	var r struct {
		Violations []struct{ Key, Problem string } `json:"violations"`
		Unproved   []struct{ Key, Problem string } `json:"unproved"`
	}
	if e := json.Unmarshal(out, &r); e != nil {
		return nil, path, fmt.Errorf("the audit: %w", errors.Join(err, e))
	}
	keys := map[string]bool{}
	for _, v := range append(r.Violations, r.Unproved...) {
		keys[v.Key] = true
	}
	return keys, path, nil
}

// names is the audit's part of the rule: must is named, and beyond it at most may.
func (w *world) names(ctx context.Context, must, may map[string]bool) error {
	if w.noAudit {
		return nil
	}
	keys, path, err := w.named(ctx)
	if err != nil {
		return err
	}
	var wrong []string
	for k := range must {
		if !keys[k] {
			wrong = append(wrong, fmt.Sprintf("%q is not named", k))
		}
	}
	for k := range keys {
		if !must[k] && !may[k] {
			wrong = append(wrong, fmt.Sprintf("%q is named", k))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the audit: %d keys wrong of %d: %s (all of it: %s)", len(wrong), len(must), some(wrong), path)
	}
	return nil
}

// unread is a command that nobody has read yet.
type unread struct {
	id, key   string
	partition int32
	offset    int64
}

// writeUnread writes some commands while no instance runs: orders at a store
// that is not there, which are accepted and end at once.
func (w *world) writeUnread(ctx context.Context, n int) (all []unread, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for i := range n {
		key := fmt.Sprintf("%s-unread%d-%d", w.disturber.run, time.Now().UnixNano()%1e9, i)
		r := &kgo.Record{Topic: w.cat.OrderCommands.Name(), Partition: w.disturber.home(key), Key: []byte(key), Value: fmt.Appendf(nil,
			`{"type":"place","id":"%s:place","verdict":true,"userId":"u","storeId":"nowhere","lines":[{"product":"p","quantity":1}],"address":{"lat":37.5,"lon":127.1}}`, key)}
		if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
			return nil, err
		}
		all = append(all, unread{key + ":place", key, r.Partition, r.Offset})
	}
	return all, nil
}

// decided waits for the verdicts of what is left, and finds none of what is lost.
func (w *world) decided(ctx context.Context, left, lost []unread) error {
	l := w.ledger
	l.mu.Lock()
	for _, u := range left {
		l.expect[u.id], l.orders[u.key] = "accepted", true
	}
	for _, u := range lost {
		l.tried[u.id] = true // to hear of it
	}
	l.mu.Unlock()
	if err := l.settle(ctx, w.patience); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range lost {
		if v := l.verdicts[u.id]; len(v) > 0 {
			return fmt.Errorf("%s is told %s, and its record was gone before anybody read it", u.id, v[0])
		}
	}
	return nil
}

// goesOn proves that the installation still works.
func (w *world) goesOn(ctx context.Context) error {
	more, err := w.writeUnread(ctx, partitions)
	if err != nil {
		return err
	}
	return w.decided(ctx, more, nil)
}

// committed returns where a group is on a topic.
func (w *world) committed(ctx context.Context, a *kadm.Client, group, topic string) (map[int32]int64, error) {
	all, err := a.FetchOffsetsForTopics(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	at := map[int32]int64{}
	all.Each(func(o kadm.OffsetResponse) { at[o.Partition] = max(0, o.At) })
	return at, all.Error()
}

// retentionCut: records of orders' commands are gone before anybody read them, or
// events of orders when all have read them.
func retentionCut(ctx context.Context, w *world, s step) (bool, error) {
	if s.pick%2 == 0 {
		return true, w.cutUnread(ctx, s)
	}
	return true, w.cutRead(ctx, s)
}

// someOf chooses some partitions, never none.
func someOf(pick uint64) (all []int32) {
	for p := range int32(partitions) {
		if pick>>(8+p)&1 == 1 {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return []int32{int32(pick >> 20 % partitions)}
	}
	return all
}

// deleteRecords takes all records of some partitions but the newest, and returns
// where they begin then. An embedded broker whose partition is all empty counts
// from 0 again at its next start.
func deleteRecords(ctx context.Context, a *kadm.Client, topic string, of []int32) (map[int32]int64, error) {
	ends, err := a.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	begin, to := map[int32]int64{}, kadm.Offsets{}
	for _, p := range of {
		o, _ := ends.Lookup(topic, p)
		begin[p] = max(0, o.Offset-1)
		to.AddOffset(topic, p, begin[p], -1)
	}
	done, err := a.DeleteRecords(ctx, to)
	return begin, errors.Join(err, done.Error())
}

func (w *world) cutUnread(ctx context.Context, s step) error {
	topic, group := w.cat.OrderCommands.Name(), w.cat.Group(topics.Orders)
	if err := w.asleep(ctx); err != nil {
		return err
	}
	all, err := w.writeUnread(ctx, 6*partitions)
	if err != nil {
		return err
	}
	var must []gone
	var left, lost []unread
	err = w.admin(func(a *kadm.Client) error {
		at, err := w.committed(ctx, a, group, topic)
		if err != nil {
			return err
		}
		begin, err := deleteRecords(ctx, a, topic, someOf(s.pick))
		for p, b := range begin {
			if b > at[p] {
				must = append(must, gone{group, topic, p, []int64{at[p], b - 1}})
			}
		}
		for _, u := range all {
			if u.offset < begin[u.partition] {
				lost = append(lost, u)
			} else {
				left = append(left, u)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	w.say("%d of %d unread commands are destroyed", len(lost), len(all))
	if err := w.awake(); err != nil {
		return err
	}
	// What nobody has read leaves nothing to miss: the audit can't name it.
	return errors.Join(w.saysOnce(ctx, must), w.decided(ctx, left, lost), w.goesOn(ctx), w.names(ctx, nil, nil))
}

func (w *world) cutRead(ctx context.Context, s step) error {
	topic := w.cat.OrderEvents.Name()
	keys := map[string]bool{}
	err := w.admin(func(a *kadm.Client) error {
		begin, err := deleteRecordsSeen(ctx, w, a, topic, someOf(s.pick), keys)
		w.say("events of %d orders in %d partitions are destroyed", len(keys), len(begin))
		return err
	})
	if err != nil {
		return err
	}
	// The embedded broker notes where a partition begins when it is stopped only;
	// killed before, it counts from 0 again: docs/operations.md, Known limits.
	if in := w.all[0]; w.kafka != nil {
		in.kill()
	} else if err := in.term(); err != nil {
		return err
	}
	return errors.Join(w.awake(), w.goesOn(ctx), w.names(ctx, keys, nil))
}

// deleteRecordsSeen notes the keys of the events that it destroys.
func deleteRecordsSeen(ctx context.Context, w *world, a *kadm.Client, topic string, of []int32, keys map[string]bool) (map[int32]int64, error) {
	from := map[int32]kgo.Offset{}
	for _, p := range of {
		from[p] = kgo.NewOffset().AtStart()
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	begin, err := deleteRecordsAfter(ctx, a, topic, of, func(ends map[int32]int64) error {
		next := map[int32]int64{}
		poll, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		for poll.Err() == nil && !reached(next, ends) {
			c.PollFetches(poll).EachRecord(func(r *kgo.Record) {
				var e order.Event
				if r.Offset < ends[r.Partition] && json.Unmarshal(r.Value, &e) == nil && e.Version > 0 { // no poison
					keys[string(r.Key)] = true
				}
				next[r.Partition] = r.Offset + 1
			})
		}
		return ctx.Err()
	})
	return begin, err
}

func reached(next, ends map[int32]int64) bool {
	for p, end := range ends {
		if next[p] < end {
			return false
		}
	}
	return true
}

func deleteRecordsAfter(ctx context.Context, a *kadm.Client, topic string, of []int32, look func(map[int32]int64) error) (map[int32]int64, error) {
	all, err := a.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for _, p := range of {
		o, _ := all.Lookup(topic, p)
		ends[p] = max(0, o.Offset-1)
	}
	if err := look(ends); err != nil {
		return nil, err
	}
	return deleteRecords(ctx, a, topic, of)
}

// asleep ends the instance's groups. The embedded broker lives in its process, so
// another one is started that has no groups.
func (w *world) asleep(ctx context.Context) error {
	in := w.all[0]
	if err := in.term(); err != nil {
		return err
	}
	if w.kafka != nil {
		return nil
	}
	var err error
	w.own, err = broker.Start(broker.Options{Dir: filepath.Join(in.dir, "broker"), Listen: w.addr, Partitions: partitions})
	return err
}

// awake starts the instance again.
func (w *world) awake() error {
	if w.own != nil {
		err := w.own.Close()
		if w.own = nil; err != nil {
			return err
		}
	}
	return w.all[0].startReady()
}

// offsetsReset: an admin sets the offsets of a group that is stopped, some back by
// a few records, some forward past what nobody has read.
func offsetsReset(ctx context.Context, w *world, s step) (bool, error) {
	topic, group := w.cat.OrderCommands.Name(), w.cat.Group(topics.Orders)
	if err := w.asleep(ctx); err != nil {
		return false, err
	}
	all, err := w.writeUnread(ctx, 4*partitions) // the audit names 20 of a kind
	if err != nil {
		return false, err
	}
	forward := someOf(s.pick)
	var must []gone
	var left, lost []unread
	skipped, again := map[string]bool{}, map[string]bool{}
	err = w.admin(func(a *kadm.Client) error {
		at, err := w.committed(ctx, a, group, topic)
		if err != nil {
			return err
		}
		ends, err := a.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		to := kadm.Offsets{}
		for p := range int32(partitions) {
			end, _ := ends.Lookup(topic, p)
			set := max(0, at[p]-1-int64(s.pick>>32%10)) // not beyond what rows remember
			if slices.Contains(forward, p) {
				set = end.Offset
			}
			if set == at[p] {
				continue
			}
			to.AddOffset(topic, p, set, -1)
			if set > at[p] {
				must = append(must, gone{group, topic, p, []int64{at[p], set - 1}})
			} else {
				must = append(must, gone{group, topic, p, []int64{set}})
			}
		}
		for _, u := range all {
			if slices.Contains(forward, u.partition) {
				lost = append(lost, u)
				skipped[u.key] = true
			} else {
				left = append(left, u)
			}
		}
		back := map[int32]int64{}
		for p, o := range to[topic] {
			if o.At < at[p] {
				back[p] = o.At
			}
		}
		if again, err = w.keysBetween(ctx, topic, back, at); err != nil {
			return err
		}
		done, err := a.CommitOffsets(ctx, group, to)
		return errors.Join(err, done.Error())
	})
	if err != nil {
		return false, err
	}
	w.say("%d of %d unread commands are skipped", len(lost), len(all))
	if err := w.awake(); err != nil {
		return false, err
	}
	// What is read again is answered again, the same: a verdict too many where each
	// is promised once.
	return true, errors.Join(w.saysOnce(ctx, must), w.decided(ctx, left, lost), w.goesOn(ctx), w.names(ctx, skipped, again))
}

// keysBetween returns the keys of the records of some partitions from where to
// where.
func (w *world) keysBetween(ctx context.Context, topic string, from, to map[int32]int64) (map[string]bool, error) {
	keys, left, begin := map[string]bool{}, map[int32]int64{}, map[int32]kgo.Offset{}
	for p, o := range from {
		begin[p], left[p] = kgo.NewOffset().At(o), to[p]
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: begin}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	poll, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for next := map[int32]int64{}; !reached(next, left); {
		if poll.Err() != nil {
			return nil, fmt.Errorf("reading %s from %v to %v: %w", topic, from, left, poll.Err())
		}
		c.PollFetches(poll).EachRecord(func(r *kgo.Record) {
			if r.Offset < left[r.Partition] && !r.Attrs.IsControl() {
				keys[string(r.Key)] = true
			}
			next[r.Partition] = r.Offset + 1
		})
	}
	return keys, nil
}

// topicAnew: topics are deleted and made anew, by the program's next start or by
// an admin while it runs: one of clients' streams, or all of them beside the old
// tables on the disk.
func topicAnew(ctx context.Context, w *world, s step) (bool, error) {
	var names []string
	all := s.pick%2 == 0
	for _, t := range w.cat.All() {
		if all || t.Topic == w.cat.OrderCommands.Name() {
			names = append(names, t.Topic)
		}
	}
	running := s.pick>>1%2 == 0 && !all
	if !running {
		if err := w.asleep(ctx); err != nil {
			return false, err
		}
	}
	err := w.admin(func(a *kadm.Client) error {
		done, err := a.DeleteTopics(ctx, names...)
		if err = errors.Join(err, done.Error()); err != nil {
			return err
		}
		for deadline := time.Now().Add(10 * time.Second); ; wait(ctx, 100*time.Millisecond) { // brokers take their time
			there, err := a.ListTopics(ctx)
			left := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !there.Has(n) })
			if err != nil {
				return err
			}
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("deleted topics are still there: %s", some(left))
			}
		}
		if !running {
			return nil
		}
		made, err := a.CreateTopics(ctx, partitions, 1, nil, names...)
		return errors.Join(err, made.Error())
	})
	if err != nil {
		return false, err
	}
	w.say("%d topics deleted, while running: %v", len(names), running)
	if !running {
		if err := w.awake(); err != nil {
			return false, err
		}
	}
	if all { // whatever was said before is gone with them
		w.ledger.close()
		w.ledger = newLedger(w)
		w.disturber.ledger = w.ledger
	}
	said := w.saysAnew(ctx, names)
	if err := errors.Join(said, w.goesOn(ctx), w.sellsNew(ctx)); err != nil {
		return true, err
	}
	if all {
		return true, w.names(ctx, nil, nil)
	}
	// Verdicts and events of before have lost their commands, and are named. Nobody else is.
	keys, path, err := w.named(ctx)
	for k := range keys {
		if strings.Contains(k, "-unread") {
			err = errors.Join(err, fmt.Errorf("the audit names %q, which came after that (all of it: %s)", k, path))
		}
	}
	return true, err
}

// saysAnew waits until a line names each of the topics that were made anew.
func (w *world) saysAnew(ctx context.Context, names []string) error {
	deadline := time.Now().Add(sayWithin)
	for {
		lines, err := w.all[0].said()
		if err != nil {
			return err
		}
		var silent []string
		for _, name := range names {
			told := slices.ContainsFunc(lines, func(line string) bool {
				return strings.Contains(line, name) && strings.Contains(line, "anew")
			})
			if !told && readers[w.cat.Short(name)] != nil { // what nobody reads needs no word
				silent = append(silent, name)
			}
		}
		if len(silent) == 0 {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("no line says within %s that it was made anew: %s", sayWithin, some(silent))
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// sellsNew opens a store that the old tables may know, and lets the audit prove
// its sums: an old row that is written over the new one would be in them.
func (w *world) sellsNew(ctx context.Context) error {
	d, err := w.ledger.disturb(ctx, w.round)
	if err != nil {
		return err
	}
	d.cancel() // it says a little of everything, and the same stores as in the round
	return errors.Join(d.stop(), w.ledger.settle(ctx, w.patience))
}

// partitionsRaised: an admin adds partitions to a stream of clients, while all runs.
func partitionsRaised(ctx context.Context, w *world, s step) (bool, error) {
	topic := w.cat.OrderCommands.Name()
	if err := w.admin(func(a *kadm.Client) error {
		done, err := a.CreatePartitions(ctx, 2, topic)
		return errors.Join(err, done.Error())
	}); err != nil {
		return false, err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return false, err
	}
	defer c.Close()
	// What other clients put there.
	var all []unread
	for i := range 12 {
		key := fmt.Sprintf("%s-raised-%d", w.disturber.run, i)
		r := &kgo.Record{Topic: topic, Partition: int32(partitions + i%2), Key: []byte(key), Value: fmt.Appendf(nil,
			`{"type":"place","id":"%s:place","verdict":true,"userId":"u","storeId":"nowhere","lines":[{"product":"p","quantity":1}],"address":{"lat":37.5,"lon":127.1}}`, key)}
		if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
			return false, err
		}
		all = append(all, unread{id: key + ":place", key: key, partition: r.Partition, offset: r.Offset})
	}
	refuses := w.refusesCommands(ctx)
	return true, errors.Join(refuses, w.decided(ctx, all, nil), w.saysRaised(ctx, topic), w.quiet(ctx), w.buriesNone(ctx, all), w.names(ctx, nil, nil))
}

var httpAt = regexp.MustCompile(`HTTP http://(\S+)`)

// refusesCommands waits until HTTP answers commands, and whether it is ready, with 503.
func (w *world) refusesCommands(ctx context.Context) error {
	lines, err := w.all[0].said()
	if err != nil {
		return err
	}
	m := httpAt.FindStringSubmatch(strings.Join(lines, "\n"))
	if m == nil {
		return errors.New("it does not say where HTTP is")
	}
	deadline, client := time.Now().Add(sayWithin), &http.Client{Timeout: 5 * time.Second}
	for i := 0; ; i++ {
		body := fmt.Sprintf(`{"id":"%s-http-%d","userId":"u","storeId":"nowhere","lines":[{"product":"p","quantity":1}],"address":{"lat":37.5,"lon":127.1}}`, w.disturber.run, i)
		command, err := w.status(client.Post("http://"+m[1]+"/v1/orders", "application/json", strings.NewReader(body)))
		ready, err2 := w.status(client.Get("http://" + m[1] + "/readyz"))
		switch {
		case command == http.StatusServiceUnavailable && ready == http.StatusServiceUnavailable:
			return nil
		case time.Now().After(deadline), ctx.Err() != nil:
			return errors.Join(fmt.Errorf("within %s commands are answered with %d and /readyz with %d, not both with 503", sayWithin, command, ready), err, err2)
		}
		wait(ctx, 300*time.Millisecond)
	}
}

func (w *world) status(r *http.Response, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return r.StatusCode, r.Body.Close()
}

// saysRaised finds one line that names the topic and its partitions.
func (w *world) saysRaised(ctx context.Context, topic string) error {
	deadline := time.Now().Add(sayWithin)
	for {
		lines, err := w.all[0].said()
		if err != nil {
			return err
		}
		n := 0
		for _, line := range lines {
			if strings.Contains(line, topic) && strings.Contains(line, "partitions") && strings.Contains(line, strconv.Itoa(partitions+2)) {
				n++
			}
		}
		switch {
		case n == 1:
			return nil
		case n > 1, time.Now().After(deadline), ctx.Err() != nil:
			return fmt.Errorf("%d lines say that %s has %d partitions", n, topic, partitions+2)
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// buriesNone finds no dead letter of what was right, nor of anything that was
// forwarded out of new partitions, where no poison is.
func (w *world) buriesNone(ctx context.Context, all []unread) error {
	if err := w.ledger.read(ctx); err != nil {
		return err
	}
	var wrong []string
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for at, n := range w.ledger.buried {
		place, group, _ := strings.Cut(at, " by ")
		right := slices.ContainsFunc(all, func(u unread) bool {
			return place == fmt.Sprintf("%s/%d/%d", w.cat.OrderCommands.Name(), u.partition, u.offset)
		})
		if right || group == w.cat.Group("strays") {
			wrong = append(wrong, fmt.Sprintf("%d dead letters of %s", n, at))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d wrong: %s", len(wrong), w.ledger.some(wrong))
	}
	return nil
}

// quiet finds that nothing is written where nobody says anything.
func (w *world) quiet(ctx context.Context) error {
	return w.admin(func(a *kadm.Client) error {
		total := func() (n int64, err error) {
			var names []string
			for _, t := range w.cat.All() {
				names = append(names, t.Topic)
			}
			ends, err := a.ListEndOffsets(ctx, names...)
			ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
			return n, err
		}
		for deadline := time.Now().Add(w.patience); ; {
			before, err := total()
			if err != nil {
				return err
			}
			wait(ctx, 3*time.Second)
			after, err := total()
			switch {
			case err != nil:
				return err
			case before == after:
				return nil
			case time.Now().After(deadline), ctx.Err() != nil:
				return fmt.Errorf("%d records were written within 3 s, and nobody says anything", after-before)
			}
		}
	})
}

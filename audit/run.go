package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/topics"
)

// Options say how an audit is made.
type Options struct {
	// Guarantee is what the engine runs with. AtLeastOnce allows what is said
	// to be said again, the same; ExactlyOnce does not. Default AtLeastOnce.
	Guarantee string
	// Settle is how long is waited for what is owed at the cut. Default 30s. A
	// system at rest is not waited for.
	Settle time.Duration
	// Slack is how much later than its deadline an order may act. Default 30s.
	Slack time.Duration
	// Decompressor bounds what a compressed batch may become in memory. Default
	// franz-go's own, which fails where there is too much.
	Decompressor kgo.Decompressor
}

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	switch {
	case o.Guarantee != "" && o.Guarantee != AtLeastOnce && o.Guarantee != ExactlyOnce:
		return fmt.Errorf("--guarantee %q: %s or %s", o.Guarantee, AtLeastOnce, ExactlyOnce)
	case o.Settle < 0 || o.Slack < 0:
		return fmt.Errorf("--settle and --slack must not be negative")
	}
	return nil
}

// quiet is how long nothing must come before a system is taken for one at rest.
const quiet = 2 * time.Second

// Run audits an installation. It returns a report whenever all was read.
func Run(ctx context.Context, c *topics.Catalog, brokers []string, opt Options, progress io.Writer) (*Report, error) {
	if opt.Guarantee == "" {
		opt.Guarantee = AtLeastOnce
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("baedal-audit"))
	if err != nil {
		return nil, fmt.Errorf("brokers %v: %w", brokers, err)
	}
	defer cl.Close()
	in := &installation{adm: kadm.NewClient(cl), names: names(c), groups: groupNames(c), brokers: brokers, partitions: int32(c.Partitions), index: map[string]stream{}}
	short := names(topics.New("", c.Partitions))
	for s, name := range in.names {
		in.index[name] = stream(s)
	}

	// Outputs first: what is there before the cut has its cause before the goal,
	// which the groups must have passed before anything is held against them.
	starts, cut, err := in.ends(ctx)
	if err != nil {
		return nil, err
	}
	_, goal, err := in.ends(ctx)
	if err != nil {
		return nil, err
	}
	if in.written, err = in.newest(ctx); err != nil {
		return nil, err
	}
	var opts []kgo.Opt
	if opt.Decompressor != nil {
		opts = append(opts, kgo.WithDecompressor(opt.Decompressor))
	}
	rd, err := newReader(brokers, in.names, starts, goal, opts...)
	if err != nil {
		return nil, err
	}
	defer rd.close()

	began := time.Now()
	a := newAuditor(in.names, short, opt.Guarantee, opt.Slack)
	a.cut = cut
	for tp, at := range starts {
		a.begins(tp, at)
	}
	var total int64
	for tp, end := range goal {
		total += end - starts[tp]
	}
	show := newProgress(progress)
	feed := func(r *record) { a.feed(r); show.tick(a.rep.Records, total) }
	if err := rd.read(ctx, feed); err != nil {
		return nil, err
	}
	show.end()

	if err := in.settle(ctx, a, rd, goal, opt.Settle, feed, show); err != nil {
		return nil, err
	}
	for tp, p := range rd.parts {
		a.compacted[tp.stream] = a.compacted[tp.stream] || p.holes && tp.stream.isTable()
		if p.idle && p.next < p.end {
			a.rep.note("offsets of "+p.topic+" at its end that can't be read: a transaction is open or was aborted, or they are compacted", int(p.end-p.next))
		}
	}
	a.rep.Guarantee, a.rep.Live = opt.Guarantee, in.live
	now := time.Now().UnixMilli()
	if !in.alive[orders] { // nobody looks at the clock: the time stands still with the records
		now = a.clock
	}
	in.lag(a, goal, rd)
	r := a.finish(now)
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// installation is what is asked of the brokers.
type installation struct {
	adm        *kadm.Client
	brokers    []string
	partitions int32 // of the installation; topics may have been raised to more
	names      [streams]string
	groups     [groups]string
	index      map[string]stream
	live       bool
	alive      [groups]bool
	committed  [groups]map[partition]int64
	written    map[partition]int64 // where topics ended at first, with what is in open transactions
}

// ends returns where every topic begins and ends now, as committed readers see it.
func (in *installation) ends(ctx context.Context) (starts, ends map[partition]int64, err error) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	first, err := in.adm.ListStartOffsets(limited, in.names[:]...)
	if err != nil {
		return nil, nil, fmt.Errorf("no answer from brokers %v: is one running there? %w", in.brokers, err)
	}
	last, err := in.adm.ListCommittedOffsets(limited, in.names[:]...)
	if err != nil {
		return nil, nil, fmt.Errorf("brokers %v: %w", in.brokers, err)
	}
	starts, ends = map[partition]int64{}, map[partition]int64{}
	for all, to := range map[*kadm.ListedOffsets]map[partition]int64{&first: starts, &last: ends} {
		for topic, ps := range *all {
			for p, o := range ps {
				if o.Err != nil {
					return nil, nil, fmt.Errorf("topic %s: %w: is this the right --prefix? `baedal topics list` shows what is there", topic, o.Err)
				}
				to[partition{in.index[topic], p}] = o.Offset
			}
		}
	}
	return starts, ends, nil
}

// newest returns where every topic ends now, with what is in open transactions.
func (in *installation) newest(ctx context.Context) (map[partition]int64, error) {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	all, err := in.adm.ListEndOffsets(limited, in.names[:]...)
	if err == nil {
		err = all.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("brokers %v: %w", in.brokers, err)
	}
	ends := map[partition]int64{}
	all.Each(func(o kadm.ListedOffset) { ends[partition{in.index[o.Topic], o.Partition}] = o.Offset })
	return ends, nil
}

// hidden returns where a transaction is still open that was open at first: what
// is behind it can't be read, and would be missed.
func (in *installation) hidden(ends map[partition]int64) (p partition, yes bool) {
	for p, at := range in.written {
		if ends[p] < at {
			return p, true
		}
	}
	return p, false
}

// look asks how far the groups have come, and whether anybody is in them.
func (in *installation) look(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	described, err := in.adm.DescribeGroups(limited, in.groups[orders:]...)
	if err != nil && !noCoordinator(err) {
		return fmt.Errorf("the groups: %w", err)
	}
	for g := orders; g < groups; g++ {
		in.alive[g] = len(described[in.groups[g]].Members) > 0
		offsets, err := in.adm.FetchOffsets(limited, in.groups[g])
		if err != nil && !noCoordinator(err) && !errors.Is(err, kerr.GroupIDNotFound) { // nobody ever ran it: nothing is committed
			return fmt.Errorf("the offsets of group %s: %w", in.groups[g], err)
		}
		in.committed[g] = map[partition]int64{}
		offsets.Each(func(o kadm.OffsetResponse) {
			if s, ok := in.index[o.Topic]; ok {
				in.committed[g][partition{s, o.Partition}] = o.At
			}
		})
	}
	return nil
}

// noCoordinator: a cluster in which no group ever was has nobody who knows of groups.
func noCoordinator(err error) bool {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) && len(shards.Errs) > 0 {
		err = shards.Errs[0].Err
	}
	return errors.Is(err, kerr.CoordinatorNotAvailable)
}

// behind returns how many offsets before the goal a group has still to handle
// in a partition; -1: in all of them. Markers of transactions are nothing to handle.
func (in *installation) behind(g group, number int32, goal map[partition]int64, rd *reader) (n int64) {
	for _, s := range inputs[g] {
		for tp, end := range goal {
			if in.partitions > 0 && tp.number >= in.partitions {
				continue // read by nobody's group, but forwarded: each record must have its copy, or nothing became of it
			}
			if p := rd.parts[tp]; tp.stream == s && (number < 0 || tp.number == number) && p.data >= 0 {
				if at := in.committed[g][tp]; at < min(end, p.data+1) {
					n += min(end, p.data+1) - at
				}
			}
		}
	}
	return n
}

// settle follows the topics until all that was owed at the cut is paid, nothing
// moves any more, or the time is over.
func (in *installation) settle(ctx context.Context, a *auditor, rd *reader, goal map[partition]int64, patience time.Duration, feed func(*record), show *progress) error {
	began, moved := time.Now(), time.Now()
	judged := func(f func() bool) bool {
		owes := false
		a.debts(func(d *debt) {
			owes = owes || !owes && f() && a.judge(d, time.Now().UnixMilli()) != waiting && a.before(d.from)
		})
		return owes
	}
	for {
		if err := in.look(ctx); err != nil {
			return err
		}
		// Everything that the groups had committed by now is in the topics by now.
		_, ends, err := in.ends(ctx)
		if err != nil {
			return err
		}
		rd.extend(ends)
		seen := a.rep.Records
		if err := rd.read(ctx, feed); err != nil {
			return err
		}
		if a.rep.Records > seen {
			in.live, moved = true, time.Now()
		}
		a.unhandled = func(g group, number int32) bool { return in.behind(g, number, goal, rd) > 0 }
		lag := int64(0)
		anyone := false
		for g := orders; g < groups; g++ {
			lag += in.behind(g, -1, goal, rd)
			anyone = anyone || in.alive[g]
		}
		owes := judged(func() bool { return true })
		open, hidden := in.hidden(ends)
		switch {
		case patience == 0:
			return nil
		case hidden && time.Since(began) > patience:
			return fmt.Errorf("a transaction in %s/%d is open since the audit began, and hides what is behind it: try again, or end it with kafka-transactions.sh (find-hanging, abort)",
				in.names[open.stream], open.number)
		case hidden:
		case lag == 0 && !owes, time.Since(began) > patience:
			return nil
		case time.Since(moved) > quiet && (lag == 0 || !anyone):
			return nil
		}
		show.line("waiting for what is owed: %s of %s", time.Since(began).Round(time.Second), patience)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// lag reports groups that are there and do not come past the goal.
func (in *installation) lag(a *auditor, goal map[partition]int64, rd *reader) {
	for g := orders; g < groups; g++ {
		n := in.behind(g, -1, goal, rd)
		switch {
		case n == 0:
		case in.alive[g]:
			s := inputs[g][0]
			a.violation(Inputs, in.groups[g], where{stream: s}, "the group still has %d records to handle that were there at the start", n)
		default:
			a.rep.note("records that group "+in.groups[g]+" has not handled yet: nobody runs it", int(n))
		}
	}
}

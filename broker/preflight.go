package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/topics"
)

// Demand is what a process is going to ask of the cluster and of its machine.
type Demand struct {
	Addrs        []string
	Prefix       string
	Specs        []topics.Spec
	Replication  int      // of topics that are created; 0 leaves it to the brokers
	Groups       []string // that it runs, with the prefix
	Installation []string // all groups of the installation, with the prefix
	// CommittedWith reads from the metadata of a committed offset how many partitions
	// the installation has that committed it; 0: it does not say. nil: nobody knows.
	CommittedWith  func(metadata string) int
	SessionTimeout time.Duration // of its groups; 0 without any
	Transactions   bool
	DataDir        string // none: ""
}

// Mistakes is all that must be mended before a process may start.
type Mistakes []Finding

func (m Mistakes) Error() string {
	var lines []string
	for _, f := range m {
		lines = append(lines, fmt.Sprintf("  %s: %s\n      %s", strings.Join(f.Subjects, ", "), f.Problem, f.Mend()))
	}
	return fmt.Sprintf("nothing was begun, as this must be mended first (%d):\n%s", len(m), strings.Join(lines, "\n"))
}

// Preflight looks at the cluster and at this machine, and changes nothing. All that would fail later, or quietly be
// wrong, is told at once: the error is then Mistakes. What is only risky is returned as warnings, in either case.
func Preflight(ctx context.Context, d Demand) (warnings []Finding, err error) {
	f, err := gather(ctx, d)
	if err != nil {
		return nil, err
	}
	var wrong Mistakes
	for _, one := range Judge(f) {
		if one.Warning {
			warnings = append(warnings, one)
		} else {
			wrong = append(wrong, one)
		}
	}
	if len(wrong) > 0 {
		return warnings, wrong
	}
	return warnings, nil
}

func gather(ctx context.Context, d Demand) (*Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.Addrs...), kgo.ClientID("baedal"))
	if err != nil {
		return nil, fmt.Errorf("--brokers %s: %w", strings.Join(d.Addrs, ","), err)
	}
	defer cl.Close()
	f := &Facts{Demand: d, Now: time.Now(), Brokers: map[int32]BrokerFacts{}, Topics: map[string]TopicFacts{}, Groups: map[string]Rights{}}
	if d.DataDir != "" {
		f.Disk.Free, f.Disk.Known = free(d.DataDir)
		f.Disk.Problem = tryToWrite(d.DataDir)
	}
	if err := f.lookAtTopics(ctx, cl); err != nil {
		return nil, fmt.Errorf("looking at the topics at %s: %w", strings.Join(d.Addrs, ","), err)
	}
	// What does not answer from here on is left out: it is not worth more than the start.
	var looking sync.WaitGroup
	var configs map[string]topicConfigs
	looking.Go(func() { configs = topicSettings(ctx, cl, f) })
	var brokers map[int32]BrokerFacts
	looking.Go(func() { brokers = lookAtBrokers(ctx, cl, f.Brokers) })
	var groups map[string]Rights
	if _, there := f.Topics["__consumer_offsets"]; there && len(d.Groups) > 0 { // or asking would make the brokers make it
		looking.Go(func() { groups = lookAtGroups(ctx, cl, d.Groups) })
	}
	var kinds map[string]GroupKind
	var begun int
	looking.Go(func() {
		existing := existingGroups(ctx, cl)
		kinds = kindsOfGroups(ctx, cl, d.Groups, existing)
		begun = begunWith(ctx, cl, slices.DeleteFunc(slices.Clone(d.Installation), func(name string) bool { return existing[name] == GroupKind{} }), d.CommittedWith)
	})
	var others []string
	looking.Go(func() { others = allTopics(ctx, cl) })
	var newest time.Time
	looking.Go(func() { newest = newestRecord(ctx, cl, f) })
	empty := map[string]bool{}
	looking.Go(func() { empty = emptyTopics(ctx, cl, f) })
	looking.Wait()
	for name, t := range f.Topics {
		t.Config, t.Hidden, t.Empty = configs[name].values, configs[name].hidden, empty[name]
		f.Topics[name] = t
	}
	f.Brokers, f.Groups, f.Newest = brokers, groups, newest
	f.Kinds, f.Begun, f.Others = kinds, begun, others
	return f, nil
}

func (f *Facts) lookAtTopics(ctx context.Context, cl *kgo.Client) error {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	names := []string{"__consumer_offsets", "__transaction_state"}
	for _, s := range f.Specs {
		names = append(names, s.Topic)
	}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, b := range resp.Brokers {
		f.Brokers[b.NodeID] = BrokerFacts{}
	}
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		one := TopicFacts{Partitions: len(t.Partitions)}
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			one.Denied = true
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			continue
		}
		for i, p := range t.Partitions {
			if i == 0 || len(p.Replicas) < one.Replication {
				one.Replication = len(p.Replicas)
			}
			if i == 0 || len(p.ISR) < one.InSync {
				one.InSync = len(p.ISR)
			}
		}
		one.Allowed = operations(t.AuthorizedOperations)
		f.Topics[*t.Topic] = one
	}
	return nil
}

// operations reads Kafka's bit field; the lowest number says that it is not known.
func operations(bits int32) (all []kmsg.ACLOperation) {
	if bits == -1<<31 {
		return nil
	}
	all = []kmsg.ACLOperation{}
	for op := range kmsg.ACLOperation(31) {
		if bits&(1<<op) != 0 {
			all = append(all, op)
		}
	}
	return all
}

type topicConfigs struct {
	values map[string]string
	hidden bool
}

func topicSettings(ctx context.Context, cl *kgo.Client, f *Facts) map[string]topicConfigs {
	var names []string
	for _, s := range f.Specs {
		if t, ok := f.Topics[s.Topic]; ok && !t.Denied {
			names = append(names, s.Topic)
		}
	}
	all := map[string]topicConfigs{}
	if len(names) == 0 {
		return all
	}
	described, _ := kadm.NewClient(cl).DescribeTopicConfigs(ctx, names...)
	for _, r := range described {
		all[r.Name] = topicConfigs{values(r), errors.Is(r.Err, kerr.TopicAuthorizationFailed)}
	}
	return all
}

func lookAtBrokers(ctx context.Context, cl *kgo.Client, ids map[int32]BrokerFacts) map[int32]BrokerFacts {
	all := map[int32]BrokerFacts{}
	var numbers []int32
	for id := range ids {
		all[id] = BrokerFacts{}
		numbers = append(numbers, id)
	}
	adm := kadm.NewClient(cl)
	versions, _ := adm.ApiVersions(ctx)
	for _, v := range versions {
		if b, ok := all[v.NodeID]; ok && v.Err == nil {
			b.Versions = map[kmsg.Key]int16{}
			for _, n := range needs {
				if highest, ok := v.KeyMaxVersion(n.key.Int16()); ok {
					b.Versions[n.key] = highest
				}
			}
			all[v.NodeID] = b
		}
	}
	described, err := adm.DescribeBrokerConfigs(ctx, numbers...)
	for id, b := range all {
		r, e := described.On(fmt.Sprint(id), nil)
		if e == nil {
			b.Config = values(r)
		}
		b.Hidden = errors.Is(errors.Join(err, r.Err), kerr.ClusterAuthorizationFailed)
		all[id] = b
	}
	return all
}

func values(r kadm.ResourceConfig) map[string]string {
	if r.Err != nil {
		return nil
	}
	all := map[string]string{}
	for _, c := range r.Configs {
		if c.Value != nil {
			all[c.Key] = *c.Value
		}
	}
	return all
}

func lookAtGroups(ctx context.Context, cl *kgo.Client, names []string) map[string]Rights {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all := map[string]Rights{}
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = names, true
	for _, shard := range cl.RequestSharded(ctx, req) {
		resp, ok := shard.Resp.(*kmsg.DescribeGroupsResponse)
		if !ok || shard.Err != nil {
			continue
		}
		for _, g := range resp.Groups {
			r := Rights{Denied: g.ErrorCode == kerr.GroupAuthorizationFailed.Code}
			if g.ErrorCode == 0 {
				r.Allowed = operations(g.AuthorizedOperations)
			}
			all[g.Group] = r
		}
	}
	return all
}

// existingGroups says of all groups of the cluster what they are. Unlike other
// questions about groups it does not make the brokers make a topic for them.
func existingGroups(ctx context.Context, cl *kgo.Client) map[string]GroupKind {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all := map[string]GroupKind{}
	for _, shard := range cl.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		resp, ok := shard.Resp.(*kmsg.ListGroupsResponse)
		if !ok || shard.Err != nil {
			continue
		}
		for _, g := range resp.Groups {
			all[g.Group] = GroupKind{Type: strings.ToLower(g.GroupType), State: g.GroupState, Kind: g.ProtocolType}
		}
	}
	return all
}

// kindsOfGroups says of those groups that exist what they are.
func kindsOfGroups(ctx context.Context, cl *kgo.Client, names []string, existing map[string]GroupKind) map[string]GroupKind {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all := map[string]GroupKind{}
	var classic []string
	for _, name := range names {
		if g, ok := existing[name]; ok {
			all[name] = g
			if g.Type == "" || g.Type == "classic" {
				classic = append(classic, name)
			}
		}
	}
	if len(classic) == 0 {
		return all
	}
	described, _ := kadm.NewClient(cl).DescribeGroups(ctx, classic...)
	for name, g := range described {
		if g.Err == nil {
			kind := all[name]
			kind.State, kind.Protocol = g.State, g.Protocol
			all[name] = kind
		}
	}
	return all
}

// begunWith returns the partition count that offsets of the groups were committed
// with, which partitions reads from their metadata; 0 when none says.
func begunWith(ctx context.Context, cl *kgo.Client, groups []string, partitions func(metadata string) int) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if len(groups) == 0 || partitions == nil {
		return 0
	}
	for _, g := range kadm.NewClient(cl).FetchManyOffsets(ctx, groups...) {
		for _, offsets := range g.Fetched {
			for _, o := range offsets {
				if n := partitions(o.Metadata); o.Err == nil && n > 0 {
					return n
				}
			}
		}
	}
	return 0
}

// allTopics returns the names of all topics that this client may see.
func allTopics(ctx context.Context, cl *kgo.Client) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	listed, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return nil
	}
	return listed.Names()
}

// newestRecord returns the latest timestamp in the streams. Kafka tells its own time nowhere but in what is written to
// it, so this is what can be known without writing: a clock here that is behind the writers'. One that is ahead looks
// like streams in which nothing happened lately.
func newestRecord(ctx context.Context, cl *kgo.Client, f *Facts) (newest time.Time) {
	var streams []string
	for _, s := range f.Specs {
		if t, ok := f.Topics[s.Topic]; ok && s.Cleanup == topics.Delete && !t.Denied {
			streams = append(streams, s.Topic)
		}
	}
	if len(streams) == 0 {
		return newest
	}
	listed, _ := kadm.NewClient(cl).ListMaxTimestampOffsets(ctx, streams...)
	listed.Each(func(o kadm.ListedOffset) {
		if at := time.UnixMilli(o.Timestamp); o.Err == nil && o.Timestamp > 0 && at.After(newest) {
			newest = at
		}
	})
	return newest
}

// emptyTopics looks among the topics with a wrong partition count for those that hold nothing.
func emptyTopics(ctx context.Context, cl *kgo.Client, f *Facts) map[string]bool {
	empty := map[string]bool{}
	adm := kadm.NewClient(cl)
	for _, s := range f.Specs {
		t, ok := f.Topics[s.Topic]
		if !ok || t.Denied || t.Partitions == s.Partitions {
			continue
		}
		ends, err := adm.ListEndOffsets(ctx, s.Topic)
		if err != nil || ends.Error() != nil {
			continue
		}
		empty[s.Topic] = true
		ends.Each(func(o kadm.ListedOffset) { empty[s.Topic] = empty[s.Topic] && o.Offset == 0 })
	}
	return empty
}

// tryToWrite writes a file to the disk and removes it.
func tryToWrite(dir string) (err error) {
	file, err := os.CreateTemp(dir, ".preflight-")
	if err != nil {
		return err
	}
	_, err = file.WriteString("baedal")
	return errors.Join(err, file.Sync(), file.Close(), os.Remove(file.Name()))
}

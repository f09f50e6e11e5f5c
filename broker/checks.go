package broker

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/machine"
	"baedal/topics"
)

// Finding is something that is not as it should be, and the command that mends it.
type Finding struct {
	Check    string
	Warning  bool     // the start goes on
	Subjects []string // what it is about, such as topics; each needs the remedy
	Problem  string
	// Remedy is a command to be pasted, or words where there is none. {} stands for the subject.
	Remedy string
}

// String returns one line: what is wrong, and what mends it.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s", strings.Join(f.Subjects, ", "), f.Problem, f.Mend())
}

// Mend returns the remedy for all subjects.
func (f Finding) Mend() string {
	if len(f.Subjects) > 1 && strings.Contains(f.Remedy, "{}") {
		return fmt.Sprintf("for t in %s; do %s; done", strings.Join(f.Subjects, " "), strings.ReplaceAll(f.Remedy, "{}", "$t"))
	}
	return strings.ReplaceAll(f.Remedy, "{}", f.Subjects[0])
}

// Facts are what the checks judge. What could not be found out is missing, and not judged.
type Facts struct {
	Demand
	Now     time.Time
	Brokers map[int32]BrokerFacts
	Topics  map[string]TopicFacts // those that exist, and those that are hidden from us
	Groups  map[string]Rights
	Kinds   map[string]GroupKind // of the groups that exist
	// Begun is the partition count that groups have committed offsets with; 0 where
	// none has yet.
	Begun int
	// Others are the names of all topics of the cluster.
	Others []string
	// Newest is the latest timestamp of any record in a stream that clients write to.
	Newest time.Time
	Disk   DiskFacts
}

// BrokerFacts are of one broker.
type BrokerFacts struct {
	Versions map[kmsg.Key]int16 // the highest version of each request that it knows
	Config   map[string]string
	Hidden   bool // it does not show us its settings
}

// TopicFacts are of one topic.
type TopicFacts struct {
	Partitions  int
	Replication int // of the partition that has the fewest
	Empty       bool
	InSync      int // of the partition that has the fewest
	Config      map[string]string
	Rights
	Hidden bool // it does not show us its settings
}

// Rights are what we may do with something.
type Rights struct {
	Denied  bool                // nothing at all
	Allowed []kmsg.ACLOperation // nil: not known
}

// DiskFacts are of the data directory.
type DiskFacts struct {
	Free    uint64 // bytes
	Known   bool   // Free is
	Problem error  // why nothing can be written and synced there
}

// lacks returns the operations that are wanted and not allowed.
func (r Rights) lacks(want ...kmsg.ACLOperation) (no []kmsg.ACLOperation) {
	if r.Denied {
		return want
	}
	for _, op := range want {
		if r.Allowed != nil && !slices.Contains(r.Allowed, op) && !slices.Contains(r.Allowed, kmsg.ACLOperationAll) {
			no = append(no, op)
		}
	}
	return no
}

// What the engine needs.
const (
	longestRecord = 1_000_000 // of a request with one record: its value is 900 kB at most
	transactionIs = 10 * time.Second
	diskFull      = 100 << 20
	diskLow       = 1 << 30
	shortestKept  = time.Hour
	clockSlack    = 10 * time.Second
)

// checks in the order in which they are told.
var checks = []struct {
	name  string
	judge func(*Facts, func(Finding))
}{
	{"versions", checkVersions},
	{"rights", checkRights},
	{"partitions", checkPartitions},
	{RaisedPartitions, checkRaised},
	{"names", checkNames},
	{"groups", checkGroups},
	{"cleanup.policy", topicConfig("cleanup.policy", func(s topics.Spec, v string) (string, string, bool) {
		return fmt.Sprintf("is %s, must be %s", v, s.Cleanup), s.Cleanup, v != s.Cleanup
	})},
	{"max.message.bytes", topicConfig("max.message.bytes", func(_ topics.Spec, v string) (string, string, bool) {
		return fmt.Sprintf("is %s, but rows and messages may be %d long", v, longestRecord), "1048588", number(v) < longestRecord
	})},
	{"retention.ms", topicConfig("retention.ms", func(s topics.Spec, v string) (string, string, bool) {
		return fmt.Sprintf("is %s: what waits longer than %s is lost", v, ms(v)), millis(s.Retention), s.Retention > 0 && number(v) >= 0 && ms(v) < shortestKept
	})},
	{"retention", warn(topicConfig("retention.ms", func(s topics.Spec, v string) (string, string, bool) {
		return fmt.Sprintf("is %s: what a stopped group leaves for longer than %s is lost", v, ms(v)), millis(s.Retention), number(v) >= 0 && ms(v) < s.Retention && ms(v) >= shortestKept
	}))},
	{"retention.bytes", warn(topicConfig("retention.bytes", func(s topics.Spec, v string) (string, string, bool) {
		return fmt.Sprintf("is %s: records may go before anybody has read them", v), "-1", s.Cleanup == topics.Delete && number(v) >= 0
	}))},
	{"delete.retention.ms", warn(topicConfig("delete.retention.ms", func(s topics.Spec, v string) (string, string, bool) {
		return fmt.Sprintf("is %s: an instance that was off for longer than %s sees deleted rows again", v, ms(v)), millis(tombstones), s.Cleanup == topics.Compact && ms(v) < tombstones
	}))},
	{"replication", checkReplication},
	{"new topics", checkNewTopics},
	{"coordinators", checkCoordinators},
	{"session timeout", checkSession},
	{"transaction timeout", checkTransactions},
	{"clock", checkClock},
	{"disk", checkDisk},
}

// Judge returns all findings, mistakes before warnings.
func Judge(f *Facts) (all []Finding) {
	for _, c := range checks {
		c.judge(f, func(one Finding) {
			one.Check = c.name
			for i := range all { // one line for the same problem of many topics
				if o := &all[i]; o.Check == one.Check && o.Problem == one.Problem && o.Remedy == one.Remedy && o.Warning == one.Warning {
					o.Subjects = append(o.Subjects, one.Subjects...)
					return
				}
			}
			all = append(all, one)
		})
	}
	slices.SortStableFunc(all, func(x, y Finding) int {
		switch {
		case x.Warning == y.Warning:
			return 0
		case y.Warning:
			return -1
		}
		return 1
	})
	return all
}

func subject(s string) []string { return []string{s} }

func (d Demand) tool(name, format string, args ...any) string {
	return name + " --bootstrap-server " + strings.Join(d.Addrs, ",") + " " + fmt.Sprintf(format, args...)
}

// topicConfig judges a setting of every topic that exists.
func topicConfig(key string, judge func(s topics.Spec, value string) (problem, mend string, wrong bool)) func(*Facts, func(Finding)) {
	return func(f *Facts, found func(Finding)) {
		for _, s := range f.Specs {
			v, ok := f.Topics[s.Topic].Config[key]
			if !ok {
				continue
			}
			if problem, mend, wrong := judge(s, v); wrong {
				found(Finding{Subjects: subject(s.Topic), Problem: key + " " + problem,
					Remedy: f.tool("kafka-configs.sh", "--alter --topic {} --add-config %s=%s", key, mend)})
			}
		}
	}
}

func warn(judge func(*Facts, func(Finding))) func(*Facts, func(Finding)) {
	return func(f *Facts, found func(Finding)) {
		judge(f, func(one Finding) { one.Warning = true; found(one) })
	}
}

// number returns a setting as a number; none is large enough to be right.
func number(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 1<<63 - 1
	}
	return n
}

// ms returns a setting in milliseconds as a duration, at most some hundred years.
func ms(v string) time.Duration {
	return time.Duration(min(number(v), (1<<63-1)/int64(time.Millisecond))) * time.Millisecond
}

// needs are the requests that clients of an engine send, and since when Kafka knows them.
var needs = []struct {
	key          kmsg.Key
	version      int16
	transactions bool // only with exactly-once
	what         string
}{
	{kmsg.InitProducerID, 1, false, "idempotent producers"},
	{kmsg.Fetch, 4, false, "reading committed records"},
	{kmsg.JoinGroup, 5, false, "static membership"},
	{kmsg.TxnOffsetCommit, 3, true, "exactly-once (KIP-447)"},
}

func checkVersions(f *Facts, found func(Finding)) {
	for _, id := range slices.Sorted(maps.Keys(f.Brokers)) {
		b := f.Brokers[id]
		for _, n := range needs {
			if have, ok := b.Versions[n.key]; b.Versions == nil || n.transactions && !f.Transactions || ok && have >= n.version {
				continue
			}
			found(Finding{Subjects: subject(fmt.Sprintf("broker %d", id)), Problem: fmt.Sprintf("it is too old for %s: no %s of version %d", n.what, n.key.Name(), n.version),
				Remedy: "upgrade it to Kafka 2.8 or newer; " + f.tool("kafka-broker-api-versions.sh", "| grep 'Join\\|Txn\\|InitProducer'") + " shows what it speaks"})
		}
	}
}

func (f *Facts) acl(ops []kmsg.ACLOperation, resource string) string {
	names := map[kmsg.ACLOperation]string{kmsg.ACLOperationRead: "Read", kmsg.ACLOperationWrite: "Write", kmsg.ACLOperationDescribe: "Describe",
		kmsg.ACLOperationDescribeConfigs: "DescribeConfigs", kmsg.ACLOperationCreate: "Create"}
	var flags []string
	for _, op := range ops {
		flags = append(flags, "--operation "+names[op])
	}
	// Without SASL, which clients here do not speak, everybody is ANONYMOUS.
	return f.tool("kafka-acls.sh", "--add --allow-principal User:ANONYMOUS %s %s", strings.Join(flags, " "), resource)
}

func checkRights(f *Facts, found func(Finding)) {
	denied := func(subjects, problem string, ops []kmsg.ACLOperation, resource string, warning bool) {
		if len(ops) > 0 {
			found(Finding{Subjects: subject(subjects), Warning: warning, Problem: problem, Remedy: f.acl(ops, resource)})
		}
	}
	for _, s := range f.Specs {
		t, ok := f.Topics[s.Topic]
		if !ok {
			continue
		}
		denied(s.Topic, "this process may not read and write the topic", t.lacks(kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe), "--topic {}", false)
		if t.Hidden {
			denied(s.Topic, "this process may not look at the topic's settings, so they are not checked", []kmsg.ACLOperation{kmsg.ACLOperationDescribeConfigs}, "--topic {}", true)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(f.Groups)) {
		denied(g, "this process may not be a member of the group", f.Groups[g].lacks(kmsg.ACLOperationRead), "--group {}", false)
	}
	for _, id := range slices.Sorted(maps.Keys(f.Brokers)) {
		if f.Brokers[id].Hidden {
			denied(fmt.Sprintf("broker %d", id), "this process may not look at the broker's settings, so they are not checked", []kmsg.ACLOperation{kmsg.ACLOperationDescribeConfigs}, "--cluster", true)
		}
	}
}

// RaisedPartitions is the name of the check for topics that have more partitions
// than they should. Partitions can't be taken back, so a process starts all the
// same, and goes on saying so.
const RaisedPartitions = "raised partitions"

// checkPartitions judges counts that no process can work with: too few, or all
// alike and another one than was asked for.
func checkPartitions(f *Facts, found func(Finding)) {
	if f.Begun > 0 && f.Begun != f.Specs[0].Partitions {
		found(Finding{Subjects: subject("--partitions"), Problem: fmt.Sprintf("is %d, and the groups have worked with %d so far", f.Specs[0].Partitions, f.Begun),
			Remedy: fmt.Sprintf("start with --partitions %d, or take another --prefix", f.Begun)})
		return
	}
	counts := map[int]bool{}
	fewest := 0
	for _, s := range f.Specs {
		if t := f.Topics[s.Topic]; t.Partitions > 0 {
			counts[t.Partitions] = true
			if fewest == 0 || t.Partitions < fewest {
				fewest = t.Partitions
			}
		}
	}
	for _, s := range f.Specs {
		t := f.Topics[s.Topic]
		if t.Partitions == 0 || t.Partitions == s.Partitions || f.raised(s) {
			continue
		}
		remedy := fmt.Sprintf("start with --partitions %d, or take another --prefix", fewest)
		switch {
		case f.Begun == 0 && (len(counts) == 1 || t.Partitions == fewest && !t.Empty):
		case t.Empty:
			remedy = f.tool("kafka-topics.sh", "--delete --topic {}") + ", and start again"
		default:
			remedy = "take another --prefix: the topics differ, and records can't be moved to the partitions where their keys would belong"
		}
		found(Finding{Subjects: subject(s.Topic), Problem: fmt.Sprintf("has %d partitions, not %d", t.Partitions, s.Partitions), Remedy: remedy})
	}
}

// raised reports whether a topic has more partitions than the installation. Where
// no group has worked yet, topics that are all alike speak for another count.
func (f *Facts) raised(s topics.Spec) bool {
	if f.Topics[s.Topic].Partitions <= s.Partitions {
		return false
	}
	if f.Begun == s.Partitions {
		return true
	}
	for _, o := range f.Specs {
		if f.Topics[o.Topic].Partitions == o.Partitions {
			return true
		}
	}
	return false
}

func checkRaised(f *Facts, found func(Finding)) {
	if f.Begun > 0 && f.Begun != f.Specs[0].Partitions {
		return
	}
	for _, s := range f.Specs {
		if f.raised(s) {
			found(Finding{Subjects: subject(s.Topic), Warning: true, Problem: fmt.Sprintf("has %d partitions, as they were raised, not %d: no commands are taken, what is in them is read", f.Topics[s.Topic].Partitions, s.Partitions),
				Remedy: "take another --prefix, as partitions can't be taken back"})
		}
	}
}

// checkNames looks for topics of others whose names the brokers take for the same
// as ours, as their metrics spell '.' and '_' alike.
func checkNames(f *Facts, found func(Finding)) {
	for _, s := range f.Specs {
		if _, there := f.Topics[s.Topic]; there {
			continue
		}
		for _, o := range f.Others {
			if o != s.Topic && metricName(o) == metricName(s.Topic) {
				found(Finding{Subjects: subject(cmp.Or("--prefix "+f.Prefix, "--prefix")), Problem: fmt.Sprintf("topic %s can't be made beside %s: the brokers spell '.' and '_' alike in the names of their metrics", s.Topic, o),
					Remedy: "take another --prefix"})
				return
			}
		}
	}
}

func metricName(topic string) string { return strings.ReplaceAll(topic, ".", "_") }

// checkGroups judges who else uses the groups' names.
func checkGroups(f *Facts, found func(Finding)) {
	for _, g := range slices.Sorted(maps.Keys(f.Kinds)) {
		if problem := f.Kinds[g].foreign(); problem != "" {
			found(Finding{Subjects: subject(g), Problem: problem,
				Remedy: "stop its members (" + f.tool("kafka-consumer-groups.sh", "--describe --members --group {}") + "), or take another --prefix"})
		}
	}
}

// GroupKind is what a consumer group is now.
type GroupKind struct {
	Type     string // classic, consumer (KIP-848), share, streams; empty: not known
	State    string
	Protocol string // how its members share partitions: the assignor
	Kind     string // of protocol: consumer, connect
}

// assignor is the name under which goka's members share partitions.
const assignor = "copartition"

// foreign says in what way members of another kind are in the group, or "".
func (g GroupKind) foreign() string {
	empty := g.State == "Empty" || g.State == "Dead" || g.State == ""
	switch {
	case g.Type == "share" || g.Type == "streams":
		return fmt.Sprintf("the name is taken by a %s group", g.Type)
	case empty:
		return ""
	case g.Type == "consumer":
		return "the name is in use by consumers of the new kind (KIP-848)"
	case g.Kind != "" && g.Kind != "consumer":
		return fmt.Sprintf("the name is in use by a group of kind %q", g.Kind)
	case g.State == "Stable" && g.Protocol != "" && g.Protocol != assignor:
		return fmt.Sprintf("the name is in use by other consumers, which share partitions by %q", g.Protocol)
	}
	return ""
}

func checkReplication(f *Facts, found func(Finding)) {
	for _, s := range f.Specs {
		t := f.Topics[s.Topic]
		v, ok := t.Config["min.insync.replicas"]
		if t.Replication == 0 || !ok {
			continue
		}
		least := int(number(v))
		lower := func(to int) string {
			return f.tool("kafka-configs.sh", "--alter --topic {} --add-config min.insync.replicas=%d", max(to, 1))
		}
		one := Finding{Subjects: subject(s.Topic), Warning: true}
		switch {
		case t.Replication < least:
			one.Warning = false
			one.Problem, one.Remedy = fmt.Sprintf("has %d replicas and min.insync.replicas=%d: nothing can ever be written to it", t.Replication, least), lower(t.Replication-1)
		case t.InSync < least:
			one.Problem, one.Remedy = fmt.Sprintf("only %d replicas are in sync and min.insync.replicas=%d: writes wait", t.InSync, least), "start the brokers that are down: "+f.tool("kafka-topics.sh", "--describe --under-min-isr-partitions")
		case t.Replication == least && least > 1:
			one.Problem, one.Remedy = fmt.Sprintf("has %d replicas and min.insync.replicas=%d: one broker down stops writes", t.Replication, least), lower(least-1)
		case t.Replication == 1 && len(f.Brokers) > 1:
			one.Problem, one.Remedy = "has 1 replica: one broker's disk is the only copy", "kafka-reassign-partitions.sh, or take another --prefix and --replication 3"
		default:
			continue
		}
		found(one)
	}
}

// checkNewTopics judges what the topics will be like that are going to be created.
func checkNewTopics(f *Facts, found func(Finding)) {
	missing := 0
	for _, s := range f.Specs {
		if _, ok := f.Topics[s.Topic]; !ok {
			missing++
		}
	}
	if missing == 0 || len(f.Brokers) == 0 {
		return
	}
	config := f.Brokers[slices.Min(slices.Collect(maps.Keys(f.Brokers)))].Config
	replicas, known := f.Replication, f.Replication > 0
	if v, ok := config["default.replication.factor"]; ok && !known {
		replicas, known = int(number(v)), true
	}
	name := subject(fmt.Sprintf("%d topics to be created", missing))
	least := int(number(cmp.Or(config["min.insync.replicas"], "1")))
	one := func(warning bool, remedy, problem string, args ...any) {
		found(Finding{Subjects: name, Warning: warning, Problem: fmt.Sprintf(problem, args...), Remedy: remedy})
	}
	create := func(n int) string {
		return fmt.Sprintf("baedal topics create --brokers %s%s --partitions %d --replication %d", strings.Join(f.Addrs, ","), f.prefixFlag(), f.Specs[0].Partitions, n)
	}
	lower := func(to int) string {
		return f.tool("kafka-configs.sh", "--alter --entity-type brokers --entity-default --add-config min.insync.replicas=%d", max(to, 1))
	}
	switch n := len(f.Brokers); {
	case !known:
	case replicas > n:
		one(false, create(min(n, 3)), "%d replicas are wanted and there are %d brokers", replicas, n)
	case replicas < least && least <= n:
		one(false, create(min(n, least+1)), "they would have %d replicas and min.insync.replicas=%d: nothing could ever be written", replicas, least)
	case replicas < least:
		one(false, lower(n-1), "they would have %d replicas and min.insync.replicas=%d: nothing could ever be written", replicas, least)
	case replicas == least && least > 1:
		one(true, create(min(n, least+1)), "they will have %d replicas and min.insync.replicas=%d: one broker down stops writes", replicas, least)
	case replicas == 1 && n > 1:
		one(true, create(min(n, 3)), "they will have 1 replica: one broker's disk is the only copy")
	}
	if v, ok := config["message.max.bytes"]; ok && number(v) < longestRecord {
		one(false, f.tool("kafka-configs.sh", "--alter --entity-type brokers --entity-default --add-config message.max.bytes=1048588"),
			"message.max.bytes of the brokers is %s, but rows and messages may be %d long", v, longestRecord)
	}
}

func (d Demand) prefixFlag() string {
	if d.Prefix == "" {
		return ""
	}
	return " --prefix " + d.Prefix
}

// checkCoordinators judges whether Kafka can make the topics that it keeps offsets and
// transactions in: where it can't, clients wait without a word.
func checkCoordinators(f *Facts, found func(Finding)) {
	for _, c := range []struct {
		topic, setting string
		wanted         bool
	}{
		{"__consumer_offsets", "offsets.topic.replication.factor", len(f.Demand.Groups) > 0},
		{"__transaction_state", "transaction.state.log.replication.factor", f.Transactions},
	} {
		if _, there := f.Topics[c.topic]; there || !c.wanted {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(f.Brokers)) {
			if v, ok := f.Brokers[id].Config[c.setting]; ok && number(v) > int64(len(f.Brokers)) {
				found(Finding{Subjects: subject(fmt.Sprintf("broker %d", id)), Problem: fmt.Sprintf("%s=%s and there are %d brokers: Kafka can't make %s", c.setting, v, len(f.Brokers), c.topic),
					Remedy: fmt.Sprintf("echo %s=%d >> server.properties # and restart the broker", c.setting, len(f.Brokers))})
			}
		}
	}
}

func checkSession(f *Facts, found func(Finding)) {
	if f.SessionTimeout == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(f.Brokers)) {
		config := f.Brokers[id].Config
		if v, ok := config["group.min.session.timeout.ms"]; ok && f.SessionTimeout < ms(v) {
			found(Finding{Subjects: subject(fmt.Sprintf("broker %d", id)), Problem: fmt.Sprintf("group.min.session.timeout.ms is %s and --session-timeout %s", v, f.SessionTimeout), Remedy: "start with --session-timeout " + ms(v).String()})
		}
		if v, ok := config["group.max.session.timeout.ms"]; ok && f.SessionTimeout > ms(v) {
			found(Finding{Subjects: subject(fmt.Sprintf("broker %d", id)), Problem: fmt.Sprintf("group.max.session.timeout.ms is %s and --session-timeout %s", v, f.SessionTimeout), Remedy: "start with --session-timeout " + ms(v).String()})
		}
	}
}

func checkTransactions(f *Facts, found func(Finding)) {
	for _, id := range slices.Sorted(maps.Keys(f.Brokers)) {
		if v, ok := f.Brokers[id].Config["transaction.max.timeout.ms"]; ok && f.Transactions && ms(v) < transactionIs {
			found(Finding{Subjects: subject(fmt.Sprintf("broker %d", id)), Problem: fmt.Sprintf("transaction.max.timeout.ms is %s and transactions have %s", v, transactionIs),
				Remedy: "echo transaction.max.timeout.ms=900000 >> server.properties # and restart the broker; or start with --guarantee at-least-once"})
		}
	}
}

func checkClock(f *Facts, found func(Finding)) {
	if ahead := f.Newest.Sub(f.Now); ahead > clockSlack {
		found(Finding{Subjects: subject("clock"), Warning: true, Remedy: "timedatectl set-ntp true, on the machine that is wrong",
			Problem: fmt.Sprintf("the newest record is %s ahead of this machine: its clock or that of a client is wrong, and deadlines are as wrong", ahead.Round(time.Second))})
	}
}

func checkDisk(f *Facts, found func(Finding)) {
	if f.DataDir == "" {
		return
	}
	dir, err := filepath.Abs(f.DataDir)
	if err != nil {
		dir = f.DataDir
	}
	mib := f.Disk.Free >> 20
	switch {
	case f.Disk.Problem != nil:
		remedy := machine.Remedy(f.Disk.Problem)
		if remedy == "" || errors.Is(f.Disk.Problem, fs.ErrPermission) {
			remedy = "chown -R $(id -un) {}"
		}
		found(Finding{Subjects: subject(dir), Problem: fmt.Sprintf("nothing can be written and synced there: %v", f.Disk.Problem), Remedy: remedy + ", or choose another --data-dir"})
	case f.Disk.Known && f.Disk.Free < diskFull:
		found(Finding{Subjects: subject(dir), Problem: fmt.Sprintf("%d MiB are free, at least %d are needed", mib, diskFull>>20), Remedy: "make room (df -h {}), or choose another --data-dir"})
	case f.Disk.Known && f.Disk.Free < diskLow:
		found(Finding{Subjects: subject(dir), Warning: true, Problem: fmt.Sprintf("only %d MiB are free", mib), Remedy: "make room (df -h {}), or choose another --data-dir"})
	}
}

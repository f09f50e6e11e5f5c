package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"baedal/broker"
	"baedal/internal/kafkatest"
	"baedal/stream"
	"baedal/topics"
)

// fine are facts in which nothing is wrong.
func fine() *broker.Facts {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := &broker.Facts{Now: now, Newest: now.Add(-time.Second), Brokers: map[int32]broker.BrokerFacts{}, Topics: map[string]broker.TopicFacts{}, Groups: map[string]broker.Rights{"orders": {}},
		Demand: broker.Demand{Addrs: []string{"k:9092"}, Groups: []string{"orders"}, SessionTimeout: 10 * time.Second, Transactions: true, DataDir: "/data", Specs: []topics.Spec{
			{Topic: "order-events", Partitions: 8, Cleanup: topics.Delete, Retention: topics.Retention},
			{Topic: "orders-table", Partitions: 8, Cleanup: topics.Compact},
		}},
		Disk: broker.DiskFacts{Known: true, Free: 10 << 30}}
	for id := range int32(3) {
		f.Brokers[id] = broker.BrokerFacts{
			Versions: map[kmsg.Key]int16{kmsg.InitProducerID: 4, kmsg.Fetch: 12, kmsg.JoinGroup: 7, kmsg.TxnOffsetCommit: 3},
			Config: map[string]string{"min.insync.replicas": "2", "default.replication.factor": "3", "message.max.bytes": "1048588", "offsets.topic.replication.factor": "3",
				"transaction.state.log.replication.factor": "3", "group.min.session.timeout.ms": "6000", "group.max.session.timeout.ms": "1800000", "transaction.max.timeout.ms": "900000"},
		}
	}
	config := map[string]string{"min.insync.replicas": "2", "max.message.bytes": "1048588", "retention.bytes": "-1", "delete.retention.ms": "604800000"}
	stream, table := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}, map[string]string{"cleanup.policy": "compact", "retention.ms": "604800000"}
	for k, v := range config {
		stream[k], table[k] = v, v
	}
	f.Topics["order-events"] = broker.TopicFacts{Partitions: 8, Replication: 3, InSync: 3, Config: stream}
	f.Topics["orders-table"] = broker.TopicFacts{Partitions: 8, Replication: 3, InSync: 3, Config: table}
	return f
}

func kind(kind, state, protocol, protocolType string) map[string]broker.GroupKind {
	return map[string]broker.GroupKind{"orders": {Type: kind, State: state, Protocol: protocol, Kind: protocolType}}
}

func TestJudge(t *testing.T) {
	require.Empty(t, broker.Judge(fine()))
	require.Empty(t, broker.Judge(&broker.Facts{}), "what is not known is not judged")

	topic := func(name string, change func(*broker.TopicFacts)) func(*broker.Facts) {
		return func(f *broker.Facts) { t := f.Topics[name]; change(&t); f.Topics[name] = t }
	}
	config := func(name, key, value string) func(*broker.Facts) {
		return topic(name, func(t *broker.TopicFacts) { t.Config[key] = value })
	}
	missing := func(then func(*broker.Facts)) func(*broker.Facts) {
		return func(f *broker.Facts) { delete(f.Topics, "order-events"); then(f) }
	}
	all := func(pairs ...string) func(*broker.Facts) { // of all brokers
		return func(f *broker.Facts) {
			for _, b := range f.Brokers {
				for i := 0; i < len(pairs); i += 2 {
					b.Config[pairs[i]] = pairs[i+1]
				}
			}
		}
	}
	alter := "kafka-configs.sh --bootstrap-server k:9092 --alter --topic "
	for name, c := range map[string]struct {
		mangle  func(*broker.Facts)
		warning bool
		says    []string // none: nothing is found
	}{
		"OldForTransactions":     {func(f *broker.Facts) { f.Brokers[1].Versions[kmsg.TxnOffsetCommit] = 2 }, false, []string{"broker 1", "too old for exactly-once", "TxnOffsetCommit of version 3", "Kafka 2.8"}},
		"OldWithoutTransactions": {func(f *broker.Facts) { f.Brokers[1].Versions[kmsg.TxnOffsetCommit], f.Transactions = 2, false }, false, nil},
		"OldForStaticMembership": {func(f *broker.Facts) { f.Brokers[2].Versions[kmsg.JoinGroup] = 4 }, false, []string{"broker 2", "static membership"}},
		"NoIdempotence":          {func(f *broker.Facts) { delete(f.Brokers[0].Versions, kmsg.InitProducerID) }, false, []string{"broker 0", "idempotent"}},

		"TopicDenied": {topic("order-events", func(t *broker.TopicFacts) { *t = broker.TopicFacts{Rights: broker.Rights{Denied: true}} }), false,
			[]string{"order-events: ", "kafka-acls.sh --bootstrap-server k:9092 --add --allow-principal User:ANONYMOUS --operation Read --operation Write --operation Describe --topic order-events"}},
		"TopicReadOnly": {topic("order-events", func(t *broker.TopicFacts) {
			t.Allowed = []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationDescribe}
		}), false, []string{"User:ANONYMOUS --operation Write --topic order-events"}},
		"TopicAllAllowed":      {topic("order-events", func(t *broker.TopicFacts) { t.Allowed = []kmsg.ACLOperation{kmsg.ACLOperationAll} }), false, nil},
		"TopicSettingsHidden":  {topic("order-events", func(t *broker.TopicFacts) { t.Config, t.Hidden = nil, true }), true, []string{"order-events: ", "--operation DescribeConfigs --topic order-events"}},
		"GroupDenied":          {func(f *broker.Facts) { f.Groups["orders"] = broker.Rights{Denied: true} }, false, []string{"orders: ", "--operation Read --group orders"}},
		"BrokerSettingsHidden": {func(f *broker.Facts) { f.Brokers[0] = broker.BrokerFacts{Hidden: true} }, true, []string{"broker 0", "--operation DescribeConfigs --cluster"}},

		"PartitionsOfAll": {func(f *broker.Facts) { f.Specs[0].Partitions, f.Specs[1].Partitions = 16, 16 }, false, []string{"order-events, orders-table: has 8 partitions, not 16", "--partitions 8", "--prefix"}},
		"PartitionsOfOneEmpty": {topic("order-events", func(t *broker.TopicFacts) { t.Partitions, t.Empty = 4, true }), false,
			[]string{"order-events: has 4 partitions, not 8", "kafka-topics.sh --bootstrap-server k:9092 --delete --topic order-events"}},
		"PartitionsOfOneInUse": {topic("order-events", func(t *broker.TopicFacts) { t.Partitions = 4 }), false, []string{"order-events: has 4 partitions, not 8", "another --prefix"}},

		"PartitionsRaised": {topic("order-events", func(t *broker.TopicFacts) { t.Partitions = 12 }), true, []string{"order-events: has 12 partitions, as they were raised, not 8", "another --prefix"}},
		"PartitionsOfAllRaised": {func(f *broker.Facts) {
			f.Begun = 8
			for name, t := range f.Topics {
				t.Partitions = 12
				f.Topics[name] = t
			}
		}, true, []string{"order-events, orders-table: has 12 partitions, as they were raised, not 8"}},
		"PartitionsBegunWithOthers": {func(f *broker.Facts) {
			f.Begun = 8
			f.Specs[0].Partitions, f.Specs[1].Partitions = 12, 12
			for name, t := range f.Topics {
				t.Partitions = 12
				f.Topics[name] = t
			}
		}, false, []string{"--partitions: is 12, and the groups have worked with 8 so far", "start with --partitions 8"}},
		"PartitionsForgotten": {func(f *broker.Facts) { // a raised one speaks for the higher count, the others don't
			f.Specs[0].Partitions, f.Specs[1].Partitions = 12, 12
			topic("order-events", func(t *broker.TopicFacts) { t.Partitions = 12 })(f)
		}, false, []string{"orders-table: has 8 partitions, not 12", "start with --partitions 8"}},

		"NameCollides": {missing(func(f *broker.Facts) { f.Prefix, f.Others = "", []string{"order-events2", "order-events", "x"} }), false, nil},
		"NameCollidesInMetrics": {func(f *broker.Facts) {
			f.Prefix, f.Specs[0].Topic, f.Others = "a.", "a.order-events", []string{"a_order-events"}
		}, false, []string{"--prefix a.: ", "a.order-events", "a_order-events", "take another --prefix"}},
		"NameIsThere": {func(f *broker.Facts) { f.Others = []string{"order_events", "order-events", "orders-table"} }, false, nil},

		"GroupOfOurs":     {func(f *broker.Facts) { f.Kinds = kind("classic", "Stable", "copartition", "consumer") }, false, nil},
		"GroupRests":      {func(f *broker.Facts) { f.Kinds = kind("classic", "Empty", "", "connect") }, false, nil},
		"GroupSimple":     {func(f *broker.Facts) { f.Kinds = kind("", "Empty", "", "") }, false, nil},
		"GroupOfConnect":  {func(f *broker.Facts) { f.Kinds = kind("classic", "Stable", "sessioned", "connect") }, false, []string{"orders: ", `kind "connect"`, "--describe --members --group orders", "--prefix"}},
		"GroupOfConsumer": {func(f *broker.Facts) { f.Kinds = kind("classic", "Stable", "range", "consumer") }, false, []string{"orders: ", `"range"`, "--prefix"}},
		"GroupNewKind":    {func(f *broker.Facts) { f.Kinds = kind("consumer", "Stable", "", "consumer") }, false, []string{"KIP-848"}},
		"GroupNewAtRest":  {func(f *broker.Facts) { f.Kinds = kind("consumer", "Empty", "", "consumer") }, false, nil},
		"GroupShare":      {func(f *broker.Facts) { f.Kinds = kind("share", "Empty", "", "share") }, false, []string{"share group"}},

		"StreamCompacted":  {config("order-events", "cleanup.policy", "compact"), false, []string{"cleanup.policy is compact, must be delete", alter + "order-events --add-config cleanup.policy=delete"}},
		"TableDeleted":     {config("orders-table", "cleanup.policy", "compact,delete"), false, []string{alter + "orders-table --add-config cleanup.policy=compact"}},
		"SmallMessages":    {config("orders-table", "max.message.bytes", "999999"), false, []string{"orders-table", "max.message.bytes is 999999", "max.message.bytes=1048588"}},
		"RetentionMinutes": {config("order-events", "retention.ms", "600000"), false, []string{"retention.ms is 600000", "10m", "retention.ms=604800000"}},
		"RetentionDay":     {config("order-events", "retention.ms", "86400000"), true, []string{"retention.ms is 86400000", "24h", "retention.ms=604800000"}},
		"RetentionForEver": {config("order-events", "retention.ms", "-1"), false, nil},
		"RetentionOfTable": {config("orders-table", "retention.ms", "1"), false, nil},
		"RetentionBySize":  {config("order-events", "retention.bytes", "1000"), true, []string{"retention.bytes is 1000", "retention.bytes=-1"}},
		"TombstonesDay":    {config("orders-table", "delete.retention.ms", "86400000"), true, []string{"delete.retention.ms is 86400000", "delete.retention.ms=604800000"}},

		"NeverWritable": {topic("order-events", func(t *broker.TopicFacts) { t.Replication, t.InSync = 1, 1 }), false, []string{"1 replicas and min.insync.replicas=2", alter + "order-events --add-config min.insync.replicas=1"}},
		"OneDownStops":  {config("order-events", "min.insync.replicas", "3"), true, []string{"one broker down stops writes", alter + "order-events --add-config min.insync.replicas=2"}},
		"TooFewInSync":  {topic("order-events", func(t *broker.TopicFacts) { t.InSync = 1 }), true, []string{"only 1 replicas are in sync", "--under-min-isr-partitions"}},
		"OneCopy": {func(f *broker.Facts) {
			config("order-events", "min.insync.replicas", "1")(f)
			topic("order-events", func(t *broker.TopicFacts) { t.Replication, t.InSync = 1, 1 })(f)
		}, true, []string{"only copy"}},
		"NewTooMany":      {missing(func(f *broker.Facts) { f.Replication = 5 }), false, []string{"1 topics to be created", "5 replicas are wanted and there are 3 brokers", "baedal topics create --brokers k:9092 --partitions 8 --replication 3"}},
		"NewNotWritable":  {missing(func(f *broker.Facts) { f.Replication = 1 }), false, []string{"1 replicas and min.insync.replicas=2", "--replication 3"}},
		"NewOneDownStops": {missing(func(f *broker.Facts) { f.Replication, f.Prefix = 2, "p." }), true, []string{"one broker down stops writes", "--prefix p. --partitions 8 --replication 3"}},
		"NewOneCopy":      {missing(all("min.insync.replicas", "1", "default.replication.factor", "1")), true, []string{"only copy", "--replication 3"}},
		"NewSmall":        {missing(all("message.max.bytes", "1000")), false, []string{"message.max.bytes of the brokers is 1000", "--entity-type brokers --entity-default --add-config message.max.bytes=1048588"}},
		"NewAsTheySay":    {missing(func(*broker.Facts) {}), false, nil},

		"NoOffsetsTopic":     {all("offsets.topic.replication.factor", "4"), false, []string{"broker 0, broker 1, broker 2: offsets.topic.replication.factor=4 and there are 3 brokers", "__consumer_offsets", "offsets.topic.replication.factor=3"}},
		"NoTransactionTopic": {all("transaction.state.log.replication.factor", "4"), false, []string{"__transaction_state"}},
		"TransactionTopicIsThere": {func(f *broker.Facts) {
			all("transaction.state.log.replication.factor", "4")(f)
			f.Topics["__transaction_state"] = broker.TopicFacts{}
		}, false, nil},
		"SessionTooShort":      {func(f *broker.Facts) { f.SessionTimeout = 5 * time.Second }, false, []string{"group.min.session.timeout.ms is 6000 and --session-timeout 5s", "--session-timeout 6s"}},
		"SessionTooLong":       {func(f *broker.Facts) { f.SessionTimeout = time.Hour }, false, []string{"group.max.session.timeout.ms", "--session-timeout 30m0s"}},
		"NoGroups":             {func(f *broker.Facts) { f.SessionTimeout = 0 }, false, nil},
		"TransactionsTooShort": {all("transaction.max.timeout.ms", "5000"), false, []string{"transaction.max.timeout.ms is 5000 and transactions have 10s", "transaction.max.timeout.ms=900000"}},

		"ClockBehind":    {func(f *broker.Facts) { f.Newest = f.Now.Add(time.Minute) }, true, []string{"1m0s ahead of this machine", "timedatectl"}},
		"ClockLittleOff": {func(f *broker.Facts) { f.Newest = f.Now.Add(time.Second) }, false, nil},
		"DiskFull":       {func(f *broker.Facts) { f.Disk.Free = 99 << 20 }, false, []string{"/data: 99 MiB are free, at least 100", "df -h /data"}},
		"DiskLow":        {func(f *broker.Facts) { f.Disk.Free = 900 << 20 }, true, []string{"/data: only 900 MiB are free"}},
		"DiskUnknown":    {func(f *broker.Facts) { f.Disk = broker.DiskFacts{} }, false, nil},
		"DiskReadOnly":   {func(f *broker.Facts) { f.Disk.Problem = errors.New("read-only file system") }, false, []string{"/data: nothing can be written", "read-only file system", "make the data directory writable"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fine()
			c.mangle(f)
			found := broker.Judge(f)
			if c.says == nil {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			assert.Equal(t, c.warning, found[0].Warning)
			for _, s := range c.says {
				assert.Contains(t, found[0].String(), s)
			}
		})
	}

	t.Run("MistakesComeFirst", func(t *testing.T) {
		f := fine()
		config("orders-table", "delete.retention.ms", "1")(f)
		f.Disk.Free = 0
		found := broker.Judge(f)
		require.Len(t, found, 2)
		assert.False(t, found[0].Warning)
	})
	t.Run("OneLoopForManyTopics", func(t *testing.T) {
		f := fine()
		config("order-events", "max.message.bytes", "1")(f)
		config("orders-table", "max.message.bytes", "1")(f)
		found := broker.Judge(f)
		require.Len(t, found, 1)
		assert.Equal(t, "for t in order-events orders-table; do kafka-configs.sh --bootstrap-server k:9092 --alter --topic $t --add-config max.message.bytes=1048588; done", found[0].Mend())
	})
}

// demand is what a process asks for that runs everything.
func demand(t *testing.T, b kafkatest.Broker, prefix string) broker.Demand {
	return broker.Demand{Addrs: []string{b.Addr}, Prefix: prefix, Specs: topics.New(prefix, 4).All(), Groups: []string{prefix + "orders", prefix + "stock"},
		SessionTimeout: 10 * time.Second, Transactions: true, DataDir: t.TempDir()}
}

func mistakes(t *testing.T, err error) broker.Mistakes {
	t.Helper()
	var m broker.Mistakes
	require.ErrorAs(t, err, &m)
	return m
}

func TestPreflight_NothingWrong(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		d := demand(t, b, b.Prefix(t))
		for _, when := range []string{"before the topics are made", "after"} {
			began := time.Now()
			warnings, err := broker.Preflight(t.Context(), d)
			t.Logf("%s: %s", when, time.Since(began))
			require.NoError(t, err, when)
			for _, w := range warnings { // the disk of the machine that tests may be small
				assert.Equal(t, "disk", w.Check, "%s: %s", when, w)
			}
			_, err = broker.CreateTopics(d.Addrs, stream.Config{}.WithDefaults().Client(), d.Specs, 1)
			require.NoError(t, err)
		}
		left, err := os.ReadDir(d.DataDir)
		require.NoError(t, err)
		assert.Empty(t, left)
	})
}

// Everything that is wrong is told at once, and nothing is created or changed.
func TestPreflight_ManyMistakesAtOnce(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		prefix := b.Prefix(t)
		d := demand(t, b, prefix)
		cl := b.Client(t)
		compact, small, most := "compact", "1000", "604800000"
		makeTopic := func(name string, partitions int32, config map[string]*string) {
			req := kmsg.NewPtrCreateTopicsRequest()
			one := kmsg.NewCreateTopicsRequestTopic()
			one.Topic, one.NumPartitions, one.ReplicationFactor = prefix+name, partitions, 1
			for k, v := range config {
				c := kmsg.NewCreateTopicsRequestTopicConfig()
				c.Name, c.Value = k, v
				one.Configs = append(one.Configs, c)
			}
			req.Topics = append(req.Topics, one)
			_, err := req.RequestWith(MustContext(t), cl)
			require.NoError(t, err)
		}
		two := "2"
		makeTopic("order-commands", 4, map[string]*string{"cleanup.policy": &compact, "retention.ms": &most})
		makeTopic("order-events", 3, nil)
		makeTopic("verdicts", 2, nil)
		makeTopic("stock-table", 4, map[string]*string{"max.message.bytes": &small, "delete.retention.ms": &most})
		makeTopic("riders-table", 4, map[string]*string{"cleanup.policy": &compact, "min.insync.replicas": &two, "delete.retention.ms": &most})
		require.NoError(t, cl.ProduceSync(MustContext(t), &kgo.Record{Topic: prefix + "verdicts", Value: []byte("x")}).FirstErr())
		d.SessionTimeout = time.Second / 2
		d.DataDir = filepath.Join(d.DataDir, "missing")

		_, err := broker.Preflight(t.Context(), d)
		var told []string
		for _, m := range mistakes(t, err) {
			told = append(told, m.Check+" "+strings.ReplaceAll(strings.Join(m.Subjects, " "), prefix, ""))
			assert.NotEmpty(t, m.Mend())
		}
		assert.Subset(t, told, []string{"partitions order-events", "partitions verdicts", "cleanup.policy order-commands", "cleanup.policy stock-table",
			"max.message.bytes stock-table", "replication riders-table", "disk " + d.DataDir})
		assert.Contains(t, strings.Join(told, "; "), "session timeout")
		assert.ErrorContains(t, err, "--delete --topic "+prefix+"order-events")
		assert.NotContains(t, err.Error(), "--delete --topic "+prefix+"verdicts", "it is in use")
		all, err := broker.ListTopics(d.Addrs, stream.Config{}.WithDefaults().Client(), d.Specs)
		require.NoError(t, err)
		there := 0
		for _, s := range all {
			if s.Exists {
				there++
			}
		}
		assert.Equal(t, 5, there, "nothing was created")
	})
}

func mustFake(t *testing.T, opts ...kfake.Opt) kafkatest.Broker {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return kafkatest.Broker{Name: kafkatest.EmbeddedName, Addr: c.ListenAddrs()[0]}
}

func TestPreflight_OldBroker(t *testing.T) {
	_, err := broker.Preflight(t.Context(), demand(t, mustFake(t, kfake.MaxVersions(kversion.V2_2_0())), "t."))
	require.ErrorContains(t, err, "static membership")
	require.ErrorContains(t, err, "KIP-447")
}

func TestPreflight_NoRights(t *testing.T) {
	b := mustFake(t, kfake.EnableACLs(), kfake.SeedTopics(4, "t.order-commands"))
	_, err := broker.Preflight(t.Context(), demand(t, b, "t."))
	require.ErrorContains(t, err, "for t in t.order-commands ")
	require.ErrorContains(t, err, "--allow-principal User:ANONYMOUS --operation Read --operation Write --operation Describe --topic $t")
}

// A prefix that collides is one line that says what to do, before anything is made.
func TestPreflight_CollidingPrefix(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		dotted := b.Prefix(t)
		cfg := stream.Config{Brokers: []string{b.Addr}}.WithDefaults().Client()
		_, err := broker.CreateTopics([]string{b.Addr}, cfg, topics.New(dotted, 2).All(), 1)
		require.NoError(t, err)
		prefix := strings.TrimSuffix(dotted, ".") + "_"
		_, err = broker.Preflight(t.Context(), broker.Demand{Addrs: []string{b.Addr}, Prefix: prefix, Specs: topics.New(prefix, 2).All()})
		require.ErrorContains(t, err, "take another --prefix")
		require.Len(t, strings.Split(err.Error(), "\n"), 3, "one finding, and its remedy")

		_, err = broker.CreateTopics([]string{b.Addr}, cfg, topics.New(prefix, 2).All(), 1)
		require.ErrorContains(t, err, "take another --prefix")
		require.NotContains(t, err.Error(), "\n", "one line for all topics")
	})
}

// A group's name that other consumers use is found before anything starts.
func TestPreflight_GroupInUse(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		prefix := b.Prefix(t)
		catalog := topics.New(prefix, 2)
		cfg := stream.Config{Brokers: []string{b.Addr}}.WithDefaults().Client()
		_, err := broker.CreateTopics([]string{b.Addr}, cfg, catalog.All(), 1)
		require.NoError(t, err)
		plain := b.Client(t, kgo.ConsumerGroup(catalog.Group("orders")), kgo.ConsumeTopics(catalog.OrderCommands.Name()), kgo.Balancers(kgo.RangeBalancer()))
		go plain.PollFetches(t.Context())
		demand := broker.Demand{Addrs: []string{b.Addr}, Prefix: prefix, Specs: catalog.All(), Groups: []string{catalog.Group("orders")}}
		require.Eventually(t, func() bool {
			_, err = broker.Preflight(t.Context(), demand)
			return err != nil
		}, 30*time.Second, 100*time.Millisecond)
		require.ErrorContains(t, err, "in use by other consumers")
		require.ErrorContains(t, err, "--prefix")
	})
}

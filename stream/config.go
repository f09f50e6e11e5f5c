package stream

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/lovoo/goka"
	"github.com/prometheus/client_golang/prometheus"

	"baedal/stream/internal/kafkaclient"
	"baedal/state"
)

// Config is what all groups of a process share.
type Config struct {
	// Brokers are host:port of some brokers of the cluster.
	Brokers []string
	// ClientID names the process in the brokers' logs and metrics.
	ClientID string
	// Partitions is the partition count of every stream and table. Records
	// whose key belongs to another partition are forwarded; 0 forwards nothing.
	// Of a topic that has more, the groups and the producers keep to these; what
	// comes into the others is forwarded, too.
	Partitions int
	// Strays is the consumer group that reads the partitions of inputs beyond
	// Partitions. All processes of an installation must name the same one.
	// Default "strays".
	Strays string
	// Watch knows the topics; all of a process share it, and who made it runs
	// it. nil: the engine makes its own.
	Watch *Watch
	// InstanceID names this instance among those that share the groups, for
	// longer than a process lives (KIP-345, static membership): one that is
	// started again under the same id has its partitions back at once, instead
	// of after SessionTimeout. Exactly once, the others end what one that is lost
	// has left open. Empty: every start is another instance.
	InstanceID string
	// Guarantee is what holds when something fails. Default AtLeastOnce.
	Guarantee Guarantee
	// CommitInterval is the time between commits of offsets and of local
	// state. Shorter costs requests, longer costs repeats after a crash.
	// Default 100ms.
	CommitInterval time.Duration
	// SessionTimeout is how long a group waits for a member that has gone
	// silent before others take over its partitions. Default 10s.
	SessionTimeout time.Duration
	// FetchPause is the least time between two fetches of a consumer. Longer
	// costs latency at every hop, shorter costs requests. Default 2ms.
	FetchPause time.Duration
	// Linger is how long a producer waits for more to send along with a record.
	// It is short beside the brokers' own time, and saves most of the requests.
	// Default 1ms.
	Linger time.Duration
	// Kafka is what groups and views read with, made by Connect: all of a process
	// share its connections. Default: each engine, consumer and topic manager has
	// its own.
	Kafka *kafkaclient.Client
	// Dial makes the connections of the groups' producers. Default a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// State holds the tables on this machine.
	State *state.DB
	// CopySpace is the space of State in which something else follows the same
	// tables: a partition that is taken over begins with that copy when it is
	// much newer than its own. Empty: it begins with its own.
	CopySpace string
	// CacheRows is how many decoded rows of a table partition stay in memory.
	// Default 4000.
	CacheRows int
	// Reach knows whether brokers answer. Default one of its own for each Engine
	// and each Emitter.
	Reach *Reach
	// Agree holds settings, by name, that all members of a group should share, as
	// they decide on the same rows. Members with other ones are warned of.
	Agree map[string]string
	// Logger defaults to slog's.
	Logger *slog.Logger
	// Registerer takes the metrics; nil keeps them unregistered.
	Registerer prometheus.Registerer
	// Now is the clock. Default time.Now.
	Now func() time.Time

	who   string // names the process among the members of its groups
	since int64  // when it started
}

// WithDefaults fills in what was left out.
func (c Config) WithDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = "baedal"
	}
	if c.Strays == "" {
		c.Strays = "strays"
	}
	if c.Guarantee == "" {
		c.Guarantee = AtLeastOnce
	}
	if c.CommitInterval == 0 {
		c.CommitInterval = 100 * time.Millisecond
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.FetchPause == 0 {
		c.FetchPause = 2 * time.Millisecond
	}
	if c.Linger == 0 {
		c.Linger = time.Millisecond
	}
	if c.CacheRows == 0 {
		c.CacheRows = 4000
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.who == "" {
		c.who, c.since = uuid.NewString(), time.Now().UnixNano()
	}
	if c.Reach == nil {
		c.Reach = NewReach(c.Brokers, c.Logger)
	}
	return c
}

// gathering returns c with time for records to gather on their way in and out.
func (c Config) gathering(d time.Duration) Config {
	c.FetchPause, c.Linger = max(c.FetchPause, d), max(c.Linger, d)
	return c
}

// Connect returns what a process reads with, for Config.Kafka. Nothing is contacted
// yet.
func (c Config) Connect() (*kafkaclient.Client, error) {
	c = c.WithDefaults()
	o := kafkaclient.Options{Brokers: c.Brokers, ClientID: c.ClientID, Logger: c.Logger, Log: clientLogger{c.Logger}}
	if c.Reach != nil {
		o.Hooks = append(o.Hooks, c.Reach)
	}
	return kafkaclient.New(o)
}

// kafka returns Config.Kafka, or a client that is closed by closing.
func (c Config) kafka() (_ *kafkaclient.Client, closing func(), err error) {
	if c.Kafka != nil {
		return c.Kafka, func() {}, nil
	}
	k, err := c.Connect()
	if err != nil {
		return nil, nil, err
	}
	return k, k.Close, nil
}

// Client returns settings for sarama's admin client and for the members of groups:
// a new group starts with the oldest record. Every caller gets its own copy, as
// sarama's and goka's builders change it.
func (c Config) Client() *sarama.Config {
	s := sarama.NewConfig()
	s.ClientID = c.ClientID
	s.Version = sarama.V2_8_0_0

	s.Consumer.Offsets.Initial = sarama.OffsetOldest
	s.Consumer.Offsets.AutoCommit.Enable = false // see session.commit
	s.Consumer.Return.Errors = true
	s.Consumer.Group.InstanceId = c.InstanceID
	s.Consumer.Group.Member.UserData = c.userData()
	s.Consumer.Group.Session.Timeout = c.SessionTimeout
	s.Consumer.Group.Heartbeat.Interval = min(300*time.Millisecond, c.SessionTimeout/4) // how soon a member learns that others come and go
	s.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{c.strategy()}

	s.Metadata.Retry.Max = 100
	s.Metadata.Retry.Backoff = 100 * time.Millisecond
	s.Metadata.AllowAutoTopicCreation = false
	return s
}

// ConsumerBuilder and TopicManagerBuilder make what goka's tables and views read
// with. What a transaction has not committed is not read.
func (c Config) ConsumerBuilder() goka.SaramaConsumerBuilder {
	return func([]string, string) (sarama.Consumer, error) {
		k, closing, err := c.kafka()
		if err != nil {
			return nil, err
		}
		return k.Consumer(c.FetchPause, closing), nil
	}
}

// recoveryBuilder makes what the tables of groups are recovered with. Another pause
// gives them connections of their own: what they bring holds up no message.
func (c Config) recoveryBuilder() goka.SaramaConsumerBuilder {
	c.FetchPause /= 2
	return c.ConsumerBuilder()
}

// TopicManagerBuilder returns a manager that creates nothing.
func (c Config) TopicManagerBuilder() goka.TopicManagerBuilder {
	return func([]string) (goka.TopicManager, error) {
		k, closing, err := c.kafka()
		if err != nil {
			return nil, err
		}
		return firstManager{k.Manager(closing), c.Partitions}, nil
	}
}

// strategy shares the first Partitions partitions of every topic: all topics must
// have as many as their table, whatever an admin has raised them to.
func (c Config) strategy() sarama.BalanceStrategy {
	if c.Partitions == 0 {
		return goka.StrictCopartitioningStrategy
	}
	return firstPartitions{goka.StrictCopartitioningStrategy, c.Partitions}
}

type firstPartitions struct {
	sarama.BalanceStrategy
	n int
}

func (f firstPartitions) Plan(members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32) (sarama.BalanceStrategyPlan, error) {
	cut := make(map[string][]int32, len(topics))
	for topic, partitions := range topics {
		cut[topic] = first(partitions, f.n)
	}
	return f.BalanceStrategy.Plan(members, cut)
}

// firstManager is a topic manager that shows no more of any topic than the
// partitions of the installation.
type firstManager struct {
	goka.TopicManager
	n int
}

// Partitions implements goka.TopicManager.
func (m firstManager) Partitions(topic string) ([]int32, error) {
	all, err := m.TopicManager.Partitions(topic)
	return first(all, m.n), err
}

// first returns those of the partitions that are below n; 0 stands for all.
func first(partitions []int32, n int) []int32 {
	if n == 0 {
		return partitions
	}
	return slices.DeleteFunc(slices.Clone(partitions), func(p int32) bool { return p >= int32(n) })
}

// Log returns goka's kind of logger. What goka says is for debugging: what a
// user must know is logged by this package.
func (c Config) Log() goka.Logger { return gokaLogger{c.Logger} }

type gokaLogger struct{ *slog.Logger }

func (l gokaLogger) Print(args ...any)   { l.debug(func() string { return fmt.Sprint(args...) }) }
func (l gokaLogger) Println(args ...any) { l.debug(func() string { return fmt.Sprint(args...) }) }
func (l gokaLogger) Printf(format string, args ...any) {
	l.debug(func() string { return fmt.Sprintf(format, args...) })
}

func (l gokaLogger) debug(text func() string) {
	if l.Enabled(context.Background(), slog.LevelDebug) {
		l.Debug(text())
	}
}

// Package kafkatest runs tests against brokers: the embedded one always, a real Kafka where one is given.
package kafkatest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/broker"
)

// KafkaEnv names the variable that holds the host:port of a real Kafka.
const KafkaEnv = "BAEDAL_TEST_KAFKA"

// OnlyKafkaEnv names the variable that, when set, leaves out what runs on the
// embedded broker: it was tested before.
const OnlyKafkaEnv = "BAEDAL_TEST_ONLY_KAFKA"

// Names of the kinds of broker.
const (
	EmbeddedName = "embedded"
	KafkaName    = "kafka"
)

// Broker is a broker to test against.
type Broker struct {
	Name string // EmbeddedName or KafkaName
	Addr string // host:port
}

// Each runs f as one subtest for each kind of broker. On real Kafka it is skipped where none is given, and says how to give one.
func Each(t *testing.T, f func(t *testing.T, b Broker)) {
	t.Helper()
	t.Run(EmbeddedName, func(t *testing.T) { f(t, Embedded(t)) })
	t.Run(KafkaName, func(t *testing.T) { f(t, Kafka(t)) })
}

// Waits marks a test that mostly waits for a time to pass: it waits beside others,
// but on a real Kafka, which is slow enough with one. It is called before anything
// else.
func Waits(t *testing.T) {
	if !OnlyKafka() {
		t.Parallel()
	}
}

// Embedded starts an embedded broker in memory that ends with the test.
func Embedded(t testing.TB) Broker {
	t.Helper()
	skipEmbedded(t)
	e, err := broker.Start(broker.Options{Memory: true, Logger: Logger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return Broker{Name: EmbeddedName, Addr: e.Addr()}
}

// OnlyKafka reports whether what runs on the embedded broker is left out.
func OnlyKafka() bool { return os.Getenv(OnlyKafkaEnv) != "" }

func skipEmbedded(t testing.TB) {
	t.Helper()
	if OnlyKafka() {
		t.Skipf("%s is set: not on the embedded broker", OnlyKafkaEnv)
	}
}

// Kafka returns the real Kafka that BAEDAL_TEST_KAFKA gives, or skips the test.
func Kafka(t testing.TB) Broker {
	t.Helper()
	addr := os.Getenv(KafkaEnv)
	if addr == "" {
		t.Skipf("no real Kafka: run `make kafka`, or start one with `deploy/kafka.sh start` and set %s to its address", KafkaEnv)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	require.NoError(t, broker.Wait(ctx, []string{addr}), "%s=%s", KafkaEnv, addr)
	return Broker{Name: KafkaName, Addr: addr}
}

// Prefix returns a prefix for topics, groups and transactional ids that no other test has, ending in a dot. Topics under it are
// deleted at the end of the test, as a real Kafka outlives it.
func (b Broker) Prefix(t testing.TB) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '-'
	}, t.Name())
	if len(name) > 60 { // a topic's name has at most 249 characters, and some of ours are long
		name = name[len(name)-60:]
	}
	prefix := fmt.Sprintf("%s-%s.", name, strings.ToLower(rand.Text()[:8]))
	if b.Name == KafkaName {
		t.Cleanup(func() { b.deleteTopics(t, prefix) })
	}
	return prefix
}

// Client returns a franz-go client of the broker that ends with the test.
func (b Broker) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(client.CloseAllowingRebalance)
	return client
}

// TopicIDs returns the ids of those of the topics that the broker knows. One that is deleted and made anew has another id.
func (b Broker) TopicIDs(t testing.TB, names ...string) map[string]string {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	require.NoError(t, err)
	defer client.Close()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(t.Context(), client)
	require.NoError(t, err)
	all := map[string]string{}
	for _, topic := range resp.Topics {
		if topic.ErrorCode == 0 && len(topic.Partitions) > 0 {
			all[*topic.Topic] = fmt.Sprintf("%x", topic.TopicID)
		}
	}
	return all
}

func (b Broker) deleteTopics(t testing.TB, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Logf("topics under %s stay: %v", prefix, err)
		return
	}
	defer client.Close()
	list := kmsg.NewPtrMetadataRequest()
	list.Topics = nil // all
	topics, err := list.RequestWith(ctx, client)
	if err != nil {
		t.Logf("topics under %s stay: %v", prefix, err)
		return
	}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TimeoutMillis = 20_000
	for _, topic := range topics.Topics {
		if topic.Topic == nil || !strings.HasPrefix(*topic.Topic, prefix) {
			continue
		}
		one := kmsg.NewDeleteTopicsRequestTopic()
		one.Topic = topic.Topic
		del.Topics = append(del.Topics, one)
		del.TopicNames = append(del.TopicNames, *topic.Topic)
	}
	if len(del.Topics) == 0 {
		return
	}
	if _, err := del.RequestWith(ctx, client); err != nil {
		t.Logf("topics under %s stay: %v", prefix, err)
	}
}

// Logger returns a logger that writes into the test's own log.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

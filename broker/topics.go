package broker

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"baedal/topics"
)

// tombstones is how long a deleted row's tombstone is kept: a machine that was
// off for longer must rebuild its tables.
const tombstones = 7 * 24 * time.Hour

// CreateTopics makes every topic that is missing; Preflight judges those that
// exist. It changes nothing that exists. A replication of 0 leaves it to the
// broker. All mistakes are told at once.
func CreateTopics(addrs []string, cfg *sarama.Config, specs []topics.Spec, replication int) (created []string, err error) {
	admin, err := sarama.NewClusterAdmin(addrs, cfg)
	if err != nil {
		return nil, fmt.Errorf("no Kafka broker answers at %v: %w: check --brokers", addrs, err)
	}
	defer admin.Close()
	there, err := admin.ListTopics()
	if err != nil {
		return nil, fmt.Errorf("listing the topics at %v: %w", addrs, err)
	}
	var wrong refusals
	for _, s := range specs {
		if _, ok := there[s.Topic]; ok {
			continue
		}
		switch err := admin.CreateTopic(s.Topic, detail(s, replication), false); {
		case err == nil:
			created = append(created, s.Topic)
		case errors.Is(err, sarama.ErrTopicAlreadyExists): // another instance was quicker
		default:
			wrong.add(s.Topic, err)
		}
	}
	if len(wrong) > 0 {
		return created, wrong.err(addrs)
	}
	return created, awaitTopics(addrs, cfg, specs)
}

// refusals are topics that the brokers refuse to create, by the reason.
type refusals []*refusal

type refusal struct {
	topics []string
	err    error
}

func (r *refusals) add(topic string, err error) {
	for _, one := range *r {
		if one.kind() == (&refusal{err: err}).kind() {
			one.topics = append(one.topics, topic)
			return
		}
	}
	*r = append(*r, &refusal{[]string{topic}, err})
}

// kind is the code of the error: the brokers' words about it name the topic.
func (r *refusal) kind() string {
	for _, c := range creation {
		if errors.Is(r.err, c.err) {
			return c.err.Error()
		}
	}
	return r.err.Error()
}

// creation is why brokers refuse to create a topic for good, and what to do; {}
// stands for the first topic.
var creation = []struct {
	err    error
	remedy string
}{
	{sarama.ErrTopicAuthorizationFailed, "kafka-acls.sh --bootstrap-server BROKERS --add --allow-principal User:ANONYMOUS --operation Create --topic {}"},
	{sarama.ErrClusterAuthorizationFailed, "kafka-acls.sh --bootstrap-server BROKERS --add --allow-principal User:ANONYMOUS --operation Create --topic {}"},
	{sarama.ErrInvalidTopic, "take another --prefix: this one gives names that the brokers don't allow, or that collide with others where '.' and '_' are alike"},
	{sarama.ErrInvalidReplicationFactor, "choose a --replication that is not above the number of brokers"},
	{sarama.ErrInvalidPartitions, "choose another number of --partitions"},
	{sarama.ErrInvalidConfig, "the brokers don't take cleanup.policy, retention.ms or delete.retention.ms of a topic: lift that, or create the topics by hand"},
	{sarama.ErrPolicyViolation, "the brokers' create.topic.policy refuses it: choose --replication and --partitions that it takes, or create the topics by hand"},
	{sarama.ErrUnsupportedVersion, "upgrade the brokers to Kafka 2.8 or newer"},
	{sarama.ErrThrottlingQuotaExceeded, "the quota for changes of topics is used up: start again in a minute"},
}

// err says all of it, a line for each reason.
func (r refusals) err(addrs []string) error {
	var all []error
	for _, one := range r {
		names := one.topics[0]
		if n := len(one.topics) - 1; n > 0 {
			names = fmt.Sprintf("%s and %d more", names, n)
		}
		remedy := ""
		for _, c := range creation {
			if errors.Is(one.err, c.err) {
				remedy = ": " + strings.NewReplacer("{}", one.topics[0], "BROKERS", strings.Join(addrs, ",")).Replace(c.remedy)
				break
			}
		}
		all = append(all, fmt.Errorf("creating topic %s: %w%s", names, one.err, remedy))
	}
	return errors.Join(all...)
}

// awaitTopics waits until brokers say that all topics exist and have leaders:
// on a cluster that takes a moment after they were created.
func awaitTopics(addrs []string, cfg *sarama.Config, specs []topics.Spec) error {
	client, err := sarama.NewClient(addrs, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	deadline := time.Now().Add(30 * time.Second)
	for _, s := range specs {
		for p := 0; p < s.Partitions; {
			_, err := client.Leader(s.Topic, int32(p))
			switch {
			case err == nil:
				p++
				continue
			case time.Now().After(deadline):
				return fmt.Errorf("topic %s, partition %d: no leader: %w: are all brokers up?", s.Topic, p, err)
			}
			time.Sleep(50 * time.Millisecond) // between two questions
			_ = client.RefreshMetadata(s.Topic)
		}
	}
	return nil
}

func detail(s topics.Spec, replication int) *sarama.TopicDetail {
	config := map[string]string{"cleanup.policy": s.Cleanup}
	if s.Cleanup == topics.Compact {
		config["delete.retention.ms"] = millis(tombstones)
	} else {
		config["retention.ms"] = millis(s.Retention)
	}
	d := &sarama.TopicDetail{NumPartitions: int32(s.Partitions), ReplicationFactor: int16(replication), ConfigEntries: map[string]*string{}}
	if replication == 0 {
		d.ReplicationFactor = -1
	}
	for k, v := range config {
		d.ConfigEntries[k] = &v
	}
	return d
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// TopicState is a topic of the installation as the broker has it.
type TopicState struct {
	topics.Spec
	Exists  bool  `json:"exists"`
	Records int64 `json:"records"` // offsets in use, markers and compacted ones included
}

// ListTopics says of every topic whether it exists and how many records it holds.
func ListTopics(addrs []string, cfg *sarama.Config, specs []topics.Spec) ([]TopicState, error) {
	client, err := sarama.NewClient(addrs, cfg)
	if err != nil {
		return nil, fmt.Errorf("no Kafka broker answers at %v: %w: check --brokers", addrs, err)
	}
	defer client.Close()
	names, err := client.Topics()
	if err != nil {
		return nil, err
	}
	var all []TopicState
	for _, s := range specs {
		st := TopicState{Spec: s, Exists: slices.Contains(names, s.Topic)}
		if st.Exists {
			partitions, err := client.Partitions(s.Topic)
			if err != nil {
				return nil, err
			}
			st.Partitions = len(partitions)
			for _, p := range partitions {
				newest, err := client.GetOffset(s.Topic, p, sarama.OffsetNewest)
				if err != nil {
					return nil, err
				}
				oldest, err := client.GetOffset(s.Topic, p, sarama.OffsetOldest)
				if err != nil {
					return nil, err
				}
				st.Records += newest - oldest
			}
		}
		all = append(all, st)
	}
	return all, nil
}

package stream

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
)

// faults are what starting a group again does not heal, and what does.
var faults = []struct {
	errs   []error
	remedy string
}{
	{[]error{sarama.ErrTopicAuthorizationFailed, kerr.TopicAuthorizationFailed}, "allow this client to read and write the topics of the group (kafka-acls.sh)"},
	{[]error{sarama.ErrGroupAuthorizationFailed, kerr.GroupAuthorizationFailed}, "allow this client to read as the group (kafka-acls.sh)"},
	{[]error{sarama.ErrClusterAuthorizationFailed, kerr.ClusterAuthorizationFailed}, "allow this client to write idempotently (kafka-acls.sh)"},
	{[]error{sarama.ErrTransactionalIDAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed}, "allow this client its transactional ids (kafka-acls.sh)"},
	{[]error{sarama.ErrFencedInstancedId, kerr.FencedInstanceID},
		"another process runs under this instance's id, as its data directory was copied or restored: stop one of both, and delete instance-id in the copy"},
	{[]error{sarama.ErrInconsistentGroupProtocol, kerr.InconsistentGroupProtocol, sarama.ErrGroupIDNotFound, kerr.GroupIDNotFound},
		"consumers of another kind use the group's name: stop them (kafka-consumer-groups.sh --describe --members --group NAME shows them), or take another --prefix"},
	{[]error{sarama.ErrInvalidGroupId, kerr.InvalidGroupID, sarama.ErrInvalidTopic, kerr.InvalidTopicException}, "take another --prefix: the brokers don't allow this name"},
	{[]error{sarama.ErrInvalidSessionTimeout, kerr.InvalidSessionTimeout},
		"choose a --session-timeout between group.min.session.timeout.ms and group.max.session.timeout.ms of the brokers"},
	{[]error{sarama.ErrInvalidTransactionTimeout, kerr.InvalidTransactionTimeout},
		"set transaction.max.timeout.ms of the brokers to 10000 or more, or start with --guarantee at-least-once"},
	{[]error{sarama.ErrUnsupportedVersion, kerr.UnsupportedVersion, sarama.ErrUnsupportedForMessageFormat, kerr.UnsupportedForMessageFormat},
		"upgrade the brokers to Kafka 2.8 or newer"},
	{[]error{sarama.ErrInvalidTimestamp, kerr.InvalidTimestamp}, "remove the topic's message.timestamp settings (kafka-configs.sh): records keep the time at which they were first written"},
	{[]error{sarama.ErrPolicyViolation, kerr.PolicyViolation, sarama.ErrInvalidConfig, kerr.InvalidConfig, kerr.InvalidRecord},
		"the brokers' settings or policies refuse what the group needs: change them"},
	{[]error{sarama.ErrUnsupportedSASLMechanism, kerr.UnsupportedSaslMechanism, sarama.ErrIllegalSASLState, kerr.IllegalSaslState,
		sarama.ErrSASLAuthenticationFailed, kerr.SaslAuthenticationFailed},
		"the brokers ask for a login, and Baedal has none: give --brokers a listener without SASL"},
	{[]error{syscall.ENOSPC, syscall.EDQUOT}, "make room on the disk of the data directory"},
	{[]error{syscall.EROFS}, "make the data directory writable"},
	{[]error{syscall.EIO}, "the disk of the data directory fails: choose another --data-dir, whose tables are read anew from the brokers"},
	{[]error{syscall.EMFILE}, "allow this process more open files (ulimit -n)"},
}

// refusals heal while the process goes on, when somebody does what the remedy
// says. Until then no new start of the group helps.
var refusals = []struct {
	err    error
	remedy string
}{
	{kerr.MessageTooLarge, "raise max.message.bytes of TOPIC to 1048588 (kafka-configs.sh --alter --entity-type topics --entity-name TOPIC --add-config max.message.bytes=1048588)"},
}

// refusalOf returns which topic refuses what the group sends, and what mends it,
// or nothing.
func refusalOf(err error) (topic, remedy string) {
	if err == nil {
		return "", ""
	}
	for _, r := range refusals {
		before, _, found := strings.Cut(err.Error(), ": "+r.err.Error())
		if found {
			topic = before[strings.LastIndexAny(before, " :\t\n\"(")+1:]
			return topic, strings.ReplaceAll(r.remedy, "TOPIC", topic)
		}
	}
	return "", ""
}

// Fault is an error that can't heal while the process goes on. Its text says
// what mends it.
type Fault struct {
	Group  string
	Err    error
	Remedy string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("group %s can't go on: %v: %s", f.Group, f.Err, f.Remedy)
}

func (f *Fault) Unwrap() error { return f.Err }

// faultOf returns the fault behind an error, or nil. Goka turns errors into
// text, so the text is looked at, too.
func faultOf(group string, err error) *Fault {
	if err == nil {
		return nil
	}
	for _, f := range faults {
		for _, known := range f.errs {
			if errors.Is(err, known) || strings.Contains(err.Error(), known.Error()) {
				return &Fault{group, err, strings.ReplaceAll(f.remedy, "NAME", group)}
			}
		}
	}
	return nil
}

package stream

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What no new start heals is told from what one does, also where goka has made text of it.
func TestFaultOf(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		remedy string // "": to be tried again
	}{
		"TopicDenied":       {fmt.Errorf("x: %w", sarama.ErrTopicAuthorizationFailed), "kafka-acls"},
		"TopicDeniedInText": {errors.New("kafka server said: " + sarama.ErrTopicAuthorizationFailed.Error()), "kafka-acls"},
		"ProduceDenied":     {fmt.Errorf("t: %w", kerr.TopicAuthorizationFailed), "kafka-acls"},
		"GroupDenied":       {sarama.ErrGroupAuthorizationFailed, "read as the group"},
		"TransactionDenied": {kerr.TransactionalIDAuthorizationFailed, "transactional ids"},
		"PartitionCounts":   {errors.New("Error balancing. Not all topics are copartitioned. For goka, all topics need to have the same number of partitions: map"), ""}, // the watch says what to do
		"OtherKindOfGroup":  {errors.New("joining: " + sarama.ErrInconsistentGroupProtocol.Error()), "--prefix"},
		"NotAClassicGroup":  {sarama.ErrGroupIDNotFound, "--prefix"},
		"NameNotAllowed":    {kerr.InvalidTopicException, "--prefix"},
		"SessionTimeout":    {sarama.ErrInvalidSessionTimeout, "--session-timeout"},
		"TransactionTime":   {kerr.InvalidTransactionTimeout, "transaction.max.timeout.ms"},
		"OldBrokers":        {kerr.UnsupportedVersion, "upgrade the brokers"},
		"Policy":            {kerr.PolicyViolation, "policies"},
		"Login":             {kerr.SaslAuthenticationFailed, "without SASL"},
		"Timestamps":        {kerr.InvalidTimestamp, "message.timestamp"},
		"Quota":             {fmt.Errorf("flushing: %w", syscall.EDQUOT), "make room"},
		"DiskFails":         {fmt.Errorf("reading: %w", syscall.EIO), "--data-dir"},
		"OpenFiles":         {fmt.Errorf("dialing: %w", syscall.EMFILE), "ulimit"},
		"Throttled":         {kerr.ThrottlingQuotaExceeded, ""},
		"SameInstance":      {sarama.ErrFencedInstancedId, "instance-id"},
		"DiskFull":          {fmt.Errorf("flushing: %w", syscall.ENOSPC), "make room"},
		"BrokerAway":        {syscall.ECONNREFUSED, ""},
		"SessionLost":       {sarama.ErrUnknownMemberId, ""},
		"Fenced":            {kerr.InvalidProducerEpoch, ""},
		"None":              {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := faultOf("orders", c.err)
			if c.remedy == "" {
				require.Nil(t, f)
				return
			}
			require.NotNil(t, f)
			require.ErrorIs(t, f, c.err)
			require.ErrorContains(t, f, c.remedy)
			require.ErrorContains(t, f, "orders")
			require.NotContains(t, f.Error(), "\n")
		})
	}
}

// What an admin has to change is told, with the topic, also where goka has made text of it.
func TestRefusalOf(t *testing.T) {
	for name, err := range map[string]error{
		"Wrapped": fmt.Errorf("a.orders-table: %w", kerr.MessageTooLarge),
		"InText":  errors.New("2 errors occurred:\n\t* could not commit message with key 'm: 1': 1 error occurred:\n\t* a.orders-table: " + kerr.MessageTooLarge.Error() + "\n\t* b: " + kerr.MessageTooLarge.Error()),
	} {
		topic, remedy := refusalOf(err)
		require.Equal(t, "a.orders-table", topic, name)
		require.Contains(t, remedy, "raise max.message.bytes of a.orders-table to", name)
	}
	for _, err := range []error{nil, kerr.NotLeaderForPartition, errors.New("x")} {
		_, remedy := refusalOf(err)
		require.Empty(t, remedy)
	}
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(10 * time.Second)
		for range 100 {
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, p.beat())
		}
		time.Sleep(10 * time.Second)
		require.NoError(t, p.beat(), "just within")
		time.Sleep(10*time.Second + 1)
		require.ErrorContains(t, p.beat(), "stood still for 10s")
		require.Error(t, p.beat(), "for ever: the session is not ours")
	})
}

// Thousands of alike dead letters are one line a minute, and that says how many there were.
func TestLetters(t *testing.T) {
	var l letters
	now := time.Unix(0, 0)
	tell := func(topic, why string) string {
		n, ok := l.tell(topic, errors.New(why), now)
		return fmt.Sprint(n, ok)
	}
	require.Equal(t, "0 true", tell("a", "not JSON: at 5"))
	require.Equal(t, "0 false", tell("a", "not JSON: at 7"))
	require.Equal(t, "0 true", tell("b", "not JSON: at 7"), "another topic")
	require.Equal(t, "0 true", tell("a", "no key"), "another kind")
	now = now.Add(59 * time.Second)
	require.Equal(t, "0 false", tell("a", "not JSON: at 9"))
	now = now.Add(time.Second)
	require.Equal(t, "2 true", tell("a", "not JSON: at 9"))
	now = now.Add(time.Minute)
	require.Equal(t, "0 true", tell("a", "not JSON"))
	for i := range 3 * mostKinds {
		tell("a", strings.Repeat("x", i%40)+fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(l.kinds), mostKinds)
}

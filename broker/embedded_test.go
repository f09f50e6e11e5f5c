package broker_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/broker"
	"baedal/internal/kafkatest"
)

func TestStart_ListensWhereToldAndAdvertisesThat(t *testing.T) {
	free := MustStart(t, broker.Options{Memory: true})
	addr := free.Addr()
	require.NoError(t, free.Close())

	e := MustStart(t, broker.Options{Memory: true, Listen: addr})
	assert.Equal(t, addr, e.Addr())
	client := kafkatest.Broker{Addr: addr}.Client(t)
	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(MustContext(t), client)
	require.NoError(t, err)
	require.Len(t, meta.Brokers, 1)
	assert.Equal(t, addr, net.JoinHostPort(meta.Brokers[0].Host, fmt.Sprint(meta.Brokers[0].Port)))
}

func TestStart_Refuses(t *testing.T) {
	taken := MustStart(t, broker.Options{Memory: true})
	dir := t.TempDir()
	MustStart(t, broker.Options{Dir: dir})
	for name, c := range map[string]struct {
		opts broker.Options
		says []string
	}{
		"PortInUse":        {broker.Options{Memory: true, Listen: taken.Addr()}, []string{taken.Addr(), "in use", "--kafka-listen"}},
		"DirInUse":         {broker.Options{Dir: dir}, []string{"data directory " + dir + " is in use by another baedal", "stop it or choose another --data-dir"}},
		"DirIsAFile":       {broker.Options{Dir: filepath.Join(dir, "LOCK")}, []string{"LOCK", "--data-dir"}},
		"NoDir":            {broker.Options{}, []string{"--data-dir"}},
		"DirAndMemory":     {broker.Options{Dir: dir, Memory: true}, []string{"Memory", "Dir"}},
		"EveryInterface":   {broker.Options{Memory: true, Listen: "0.0.0.0:9092"}, []string{"--kafka-listen", "127.0.0.1:9092"}},
		"NoHost":           {broker.Options{Memory: true, Listen: ":9092"}, []string{"--kafka-listen", "127.0.0.1:9092"}},
		"EveryInterfaceV6": {broker.Options{Memory: true, Listen: "[::]:9092"}, []string{"--kafka-listen"}},
		"NoPort":           {broker.Options{Memory: true, Listen: "localhost"}, []string{"--kafka-listen", "host:port"}},
		"WrongPort":        {broker.Options{Memory: true, Listen: "127.0.0.1:70000"}, []string{"--kafka-listen", "65535"}},
		"NotOurAddress":    {broker.Options{Memory: true, Listen: "203.0.113.1:9092"}, []string{"--kafka-listen"}},
		"Partitions":       {broker.Options{Memory: true, Partitions: -1}, []string{"-1 partitions"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := broker.Start(c.opts)
			require.Error(t, err)
			for _, s := range c.says {
				assert.ErrorContains(t, err, s)
			}
		})
	}
}

func TestClose_FreesDirectoryAndPort(t *testing.T) {
	dir := t.TempDir()
	first := MustStart(t, broker.Options{Dir: dir})
	require.NoError(t, first.Close())
	require.NoError(t, first.Close(), "closing again does nothing")
	MustStart(t, broker.Options{Dir: dir, Listen: first.Addr()})
}

// What this process produces through Dial waits for no sync, and another program that gets the same port later does.
func TestEmbedded_Dial(t *testing.T) {
	b, err := broker.Start(broker.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial))
	require.NoError(t, err)
	defer client.Close()
	MustCreateTopic(t, client, "t", 1, nil)
	require.NoError(t, client.ProduceSync(MustContext(t), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr())

	conn, err := b.Dial(MustContext(t), "tcp", b.Addr())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

func TestEmbedded_NoTopicByItself(t *testing.T) {
	b := kafkatest.Embedded(t)
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	topic := "not-there"
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	req.Topics = append(req.Topics, one)
	resp, err := req.RequestWith(MustContext(t), b.Client(t))
	require.NoError(t, err)
	require.Len(t, resp.Topics, 1)
	assert.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Topics[0].ErrorCode)
}

func TestEmbedded_DefaultPartitions(t *testing.T) {
	e := MustStart(t, broker.Options{Memory: true})
	client := kafkatest.Broker{Addr: e.Addr()}.Client(t)
	MustCreateTopic(t, client, "eight", -1, nil)
	assert.Len(t, MustTopic(t, client, "eight").Partitions, 8)
}

// A producer writes while the broker's process is killed again and again. Whatever was acknowledged must be there afterwards, at
// the offset that was told, once and in order, and so must the topic, its settings and the group's offsets.
func TestEmbedded_SurvivesKill(t *testing.T) {
	const (
		topic      = "t"
		partitions = 4
		rounds     = 5
		perRound   = 400 // acknowledged records before each kill, so that it falls into the middle of writing
	)
	b := kafkatest.Durable(t)
	compact := "compact"
	MustCreateTopic(t, b.Client(t), topic, partitions, &compact)

	type place struct {
		partition int32
		offset    int64
	}
	var (
		mu    sync.Mutex
		acked = map[place]string{}
		more  = make(chan struct{}, 1) // an acknowledgement came
	)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	producer := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(256))
	ctx, cancel := context.WithCancel(MustContext(t))
	defer cancel()
	var producing sync.WaitGroup
	producing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			record := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: fmt.Appendf(nil, "record %d", i)}
			producer.Produce(ctx, record, func(r *kgo.Record, err error) {
				if err != nil {
					return // not acknowledged: it may be there or not
				}
				mu.Lock()
				acked[place{r.Partition, r.Offset}] = string(r.Value)
				mu.Unlock()
				select {
				case more <- struct{}{}:
				default:
				}
			})
		}
	})
	for round := range rounds {
		for enough := count() + perRound; count() < enough; {
			select {
			case <-more:
			case <-ctx.Done():
				require.FailNow(t, "no acknowledgements", "round %d", round)
			}
		}
		b.Kill()
		b.Start()
		MustCommit(t, b.Client(t), "g", topic, int64(round+1))
	}
	cancel()
	producing.Wait()
	require.NoError(t, producer.Flush(MustContext(t)))
	b.Restart()

	client := b.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	found := map[place]string{}
	assert.GreaterOrEqual(t, len(acked), rounds*perRound)
	for missing := len(acked); missing > 0; {
		fetches := client.PollFetches(MustContext(t))
		require.NoError(t, fetches.Err(), "%d of %d acknowledged records are missing", missing, len(acked))
		fetches.EachRecord(func(r *kgo.Record) {
			at := place{r.Partition, r.Offset}
			found[at] = string(r.Value)
			if want, ok := acked[at]; ok {
				missing--
				assert.Equal(t, want, found[at], "partition %d offset %d", at.partition, at.offset)
			}
		})
	}
	last := map[int32]place{} // the record that each partition ended with so far
	for _, at := range slices.SortedFunc(maps.Keys(found), func(a, b place) int { return cmp.Compare(a.offset, b.offset) }) {
		if before, ok := last[at.partition]; ok {
			assert.Less(t, number(t, found[before]), number(t, found[at]), "doubled or out of order: partition %d, offsets %d and %d", at.partition, before.offset, at.offset)
		}
		last[at.partition] = at
	}
	t.Logf("%d records acknowledged over %d kills, all there; %d read", len(acked), rounds, len(found))

	assert.Len(t, MustTopic(t, client, topic).Partitions, partitions)
	assert.Equal(t, compact, MustTopicConfig(t, client, topic, "cleanup.policy"))
	assert.Equal(t, int64(rounds), MustCommitted(t, client, "g", topic))
}

// A record that the disk did not take is not acknowledged, and not refused either: its producer tries again with the next broker.
func TestEmbedded_DiskFails(t *testing.T) {
	dir, died := t.TempDir(), make(chan error, 1)
	e, err := broker.Start(broker.Options{Dir: dir, Die: func(err error) { died <- err }, Logger: kafkatest.Logger(t)})
	require.NoError(t, err)
	defer e.Close()
	client := kafkatest.Broker{Addr: e.Addr()}.Client(t)
	MustCreateTopic(t, client, "topic", 1, nil)
	partitions := filepath.Join(dir, "partitions")
	require.NoError(t, os.RemoveAll(partitions))
	require.NoError(t, os.WriteFile(partitions, nil, 0o600))

	produced := make(chan error, 1)
	go func() {
		produced <- client.ProduceSync(MustContext(t), &kgo.Record{Topic: "topic", Value: []byte("v")}).FirstErr()
	}()
	select {
	case err := <-died:
		require.ErrorContains(t, err, "the disk did not take what was written")
	case err := <-produced:
		require.FailNow(t, "the producer was told", "%v", err)
	}
	client.Close()
	require.ErrorIs(t, <-produced, kgo.ErrClientClosed)
	require.ErrorContains(t, e.Close(), "the disk did not take what was written")
}

// An entry that a full disk has torn hides nothing of what is written behind it.
func TestEmbedded_TornBookkeeping(t *testing.T) {
	dir, torn, killed := t.TempDir(), t.TempDir(), t.TempDir()
	commit := func(dir string, offset int64) *kgo.Client {
		client := kafkatest.Broker{Addr: MustStart(t, broker.Options{Dir: dir}).Addr()}.Client(t)
		if offset == 1 {
			MustCreateTopic(t, client, "topic", 1, nil)
		}
		MustCommit(t, client, "g", "topic", offset)
		return client
	}
	commit(dir, 1)
	require.NoError(t, os.CopyFS(torn, os.DirFS(dir)))
	for _, name := range []string{"groups.log", "pids.log"} {
		f, err := os.OpenFile(filepath.Join(torn, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		_, err = f.Write([]byte{100, 0, 0, 0, 1, 2, 3, 4, 1, 0, '{'})
		require.NoError(t, errors.Join(err, f.Close()))
	}
	client := commit(torn, 2)
	require.NoError(t, client.ProduceSync(MustContext(t), &kgo.Record{Topic: "topic", Value: []byte("v")}).FirstErr()) // a producer id, too
	require.NoError(t, os.CopyFS(killed, os.DirFS(torn)))
	client = kafkatest.Broker{Addr: MustStart(t, broker.Options{Dir: killed}).Addr()}.Client(t)
	require.EqualValues(t, 2, MustCommitted(t, client, "g", "topic"))
}

// What a broker has in mind of its producers when it is killed, the next one knows as well.
func TestEmbedded_ProducersAfterKill(t *testing.T) {
	dir, killed := t.TempDir(), t.TempDir()
	e := MustStart(t, broker.Options{Dir: dir})
	for n := range 3 { // producers
		client := kafkatest.Broker{Addr: e.Addr()}.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if n == 0 {
			MustCreateTopic(t, client, "topic", 2, nil)
		}
		for i := range 4 + 2*n { // batches
			for p := range int32(2) {
				results := client.ProduceSync(MustContext(t), &kgo.Record{Topic: "topic", Partition: p, Value: []byte("v")})
				require.NoError(t, results.FirstErr(), "batch %d", i)
			}
		}
	}
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	require.NoError(t, e.Close())
	MustStart(t, broker.Options{Dir: killed}).Close()

	type entry struct {
		First  int32 `json:"first_seq"`
		Next   int32 `json:"next_seq"`
		Offset int64
	}
	type window struct {
		PID          int64
		Partition    int32
		Entries      []entry
		Count, Epoch int
		Seen         bool
		Next         int32 `json:"next_seq"`
	}
	known := func(dir string) []window {
		data, err := os.ReadFile(filepath.Join(dir, "seq_windows.json"))
		require.NoError(t, err)
		var file struct{ Windows []window }
		require.NoError(t, json.Unmarshal(data, &file))
		for _, w := range file.Windows { // a ring, wherever it begins
			slices.SortFunc(w.Entries, func(a, b entry) int { return cmp.Compare(a.Offset, b.Offset) })
		}
		return file.Windows
	}
	require.Len(t, known(dir), 6)
	require.ElementsMatch(t, known(dir), known(killed))
}

func number(t *testing.T, record string) (n int) {
	_, err := fmt.Sscanf(record, "record %d", &n)
	require.NoError(t, err)
	return n
}

func MustStart(t *testing.T, opts broker.Options) *broker.Embedded {
	t.Helper()
	opts.Logger = kafkatest.Logger(t)
	e, err := broker.Start(opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

func MustContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func MustCreateTopic(t *testing.T, client *kgo.Client, name string, partitions int32, cleanup *string) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	if cleanup != nil {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = "cleanup.policy", cleanup
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(MustContext(t), client)
	require.NoError(t, err)
	require.Len(t, resp.Topics, 1)
	require.NoError(t, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
}

func MustTopic(t *testing.T, client *kgo.Client, name string) kmsg.MetadataResponseTopic {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &name
	req.Topics = append(req.Topics, one)
	resp, err := req.RequestWith(MustContext(t), client)
	require.NoError(t, err)
	require.Len(t, resp.Topics, 1)
	require.NoError(t, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
	return resp.Topics[0]
}

func MustTopicConfig(t *testing.T, client *kgo.Client, topic, name string) string {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName, one.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{name}
	req.Resources = append(req.Resources, one)
	resp, err := req.RequestWith(MustContext(t), client)
	require.NoError(t, err)
	require.Len(t, resp.Resources, 1)
	require.Len(t, resp.Resources[0].Configs, 1)
	require.NotNil(t, resp.Resources[0].Configs[0].Value)
	return *resp.Resources[0].Configs[0].Value
}

func MustCommit(t *testing.T, client *kgo.Client, group, topic string, offset int64) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Offset = offset
	one := kmsg.NewOffsetCommitRequestTopic()
	one.Topic, one.TopicID = topic, MustTopic(t, client, topic).TopicID
	one.Partitions = append(one.Partitions, part)
	req.Topics = append(req.Topics, one)
	resp, err := req.RequestWith(MustContext(t), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

func MustCommitted(t *testing.T, client *kgo.Client, group, topic string) int64 {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = group
	part := kmsg.NewOffsetFetchRequestGroupTopic()
	part.Topic, part.TopicID, part.Partitions = topic, MustTopic(t, client, topic).TopicID, []int32{0}
	one.Topics = append(one.Topics, part)
	req.Groups = append(req.Groups, one)
	resp, err := req.RequestWith(MustContext(t), client)
	require.NoError(t, err)
	require.Len(t, resp.Groups, 1)
	require.Len(t, resp.Groups[0].Topics, 1)
	return resp.Groups[0].Topics[0].Partitions[0].Offset
}

// --session-timeout may be a second: a group that asks for it must be let in.
func TestEmbedded_TakesShortSessions(t *testing.T) {
	e := MustStart(t, broker.Options{Memory: true})
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 1000, 1000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p"}}
	answer, err := join.RequestWith(MustContext(t), kafkatest.Broker{Addr: e.Addr()}.Client(t))
	require.NoError(t, err)
	assert.NotEqual(t, kerr.InvalidSessionTimeout.Code, answer.ErrorCode)
}

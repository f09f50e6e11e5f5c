package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/internal/kafkatest"
	"baedal/stream"
)

// letter is a line of `baedal dead-letters list --format json`.
type letter struct {
	ID, Group, Topic, Key, Error, ReplayedAt string
	Partition                                int32
	Offset                                   int64
	Value                                    *string
	ValueBase64                              string
	Headers                                  map[string]string
}

// letters lists the dead letters, or shows some.
func (w *world) letters(b kafkatest.Broker, args ...string) (all []letter) {
	w.t.Helper()
	out, err := exec.Command(program, append([]string{"dead-letters", "--brokers", b.Addr, "--prefix", w.cat.Prefix, "--format", "json"}, args...)...).Output()
	require.NoError(w.t, err)
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var l letter
		require.NoError(w.t, d.Decode(&l))
		all = append(all, l)
	}
	return all
}

func (w *world) replayLetters(b kafkatest.Broker, args ...string) string {
	w.t.Helper()
	out, err := exec.Command(program, append([]string{"dead-letters", "replay", "--brokers", b.Addr, "--prefix", w.cat.Prefix}, args...)...).CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	return string(out)
}

// Whatever can be wrong with a message, it is listed with its coordinates; put back, it is tried again once.
func TestDeadLetters_EveryKindOfPoison(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		w := newWorld(t, b)
		w.openStore("s-1", "a-1", "")
		topic := w.cat.OrderCommands.Name()
		stale := time.Now().Add(-100 * time.Hour)
		poison := []*kgo.Record{
			{Value: []byte("no JSON")},
			{Value: []byte{0xff, 0xfe, 0}},
			{Value: nil},
			{Value: []byte{}},
			{Value: []byte(`{"type":"confirm","orderId":"another"}`)},
			{Value: []byte(`{"type":"dance"}`)},
			{Value: []byte(`{"type":"place","userId":"u"}`)},
			{Value: []byte(`{"type":"accept","cookingTime":5}`)},
			{Value: []byte(`{"type":"place","verdict":true,"userId":"u","storeId":"s-1","lines":[{"product":"bibimbap","quantity":1}],"address":{"lat":37.5,"lon":127}}`), Timestamp: stale},
		}
		errors := []string{"JSON", "JSON", "null", "JSON", `names "another"`, `"dance" is not a command`, "storeId", "cookingTime", "stale"}
		for i, r := range poison {
			r.Topic, r.Key = topic, fmt.Append(nil, "o-", i)
			r.Headers = []kgo.RecordHeader{{Key: "traceparent", Value: fmt.Append(nil, "00-", i)}}
			require.NoError(t, w.cl.ProduceSync(t.Context(), r).FirstErr())
		}
		var listed []letter
		kafkatest.Eventually(t, func() bool {
			listed = w.letters(b, "list")
			return len(listed) == len(poison)
		}, patience, 100*time.Millisecond, "all are dead letters")
		byKey := map[string]letter{}
		var ids, only []string
		for _, l := range listed {
			byKey[l.Key] = l
			ids, only = append(ids, l.ID), append(only, "--only", "id="+l.ID)
		}
		shown := map[string]letter{}
		for _, l := range w.letters(b, append([]string{"show"}, ids...)...) {
			shown[l.Key] = l
		}
		for i, r := range poison {
			l, s := byKey[string(r.Key)], shown[string(r.Key)]
			assert.Equal(t, topic, l.Topic)
			assert.Equal(t, []int64{int64(r.Partition), r.Offset}, []int64{int64(l.Partition), l.Offset}, "%s is said to come from where it was written", r.Key)
			assert.Equal(t, w.cat.Group("orders"), l.Group)
			assert.Contains(t, l.Error, errors[i])
			switch {
			case r.Value == nil:
				assert.Nil(t, s.Value)
			case i == 1:
				assert.Equal(t, base64.StdEncoding.EncodeToString(r.Value), s.ValueBase64)
			default:
				require.NotNil(t, s.Value)
				assert.Equal(t, string(r.Value), *s.Value)
			}
			assert.Equal(t, map[string]string{"traceparent": fmt.Sprint("00-", i)}, s.Headers)
		}
		assert.Len(t, w.letters(b, "list", "--only", "error=not the JSON", "--only", "topic=order-commands"), 3)
		assert.Len(t, w.letters(b, "list", "--limit", "2"), 2)

		assert.Contains(t, w.replayLetters(b, append([]string{"--dry-run"}, only...)...), "9 would be replayed, 0 skipped, 0 refused")
		assert.Contains(t, w.replayLetters(b, only...), "9 replayed, 0 skipped, 0 refused")
		w.reaches("o-8", "paid")
		// It has no id: the coordinates that its sender was told are still its id.
		w.verdict(fmt.Sprintf("%s/%d/%d", topic, poison[8].Partition, poison[8].Offset))
		kafkatest.Eventually(t, func() bool {
			listed = w.letters(b, "list")
			return len(listed) == 9+8
		}, patience, 100*time.Millisecond, "what is still wrong is a dead letter again")

		assert.Contains(t, w.replayLetters(b, only...), "0 replayed, 9 skipped, 0 refused", "the second time there is nothing to do")
		at := map[string]int{}
		for _, l := range w.letters(b, "list") {
			at[l.Key]++
			if l.ReplayedAt != "" {
				at["replayed"]++
			}
		}
		assert.Equal(t, map[string]int{"o-0": 2, "o-1": 2, "o-2": 2, "o-3": 2, "o-4": 2, "o-5": 2, "o-6": 2, "o-7": 2, "o-8": 1, "replayed": 9}, at)
		w.sound()
	})
}

// However often the command is killed, each message goes back once.
func TestDeadLetters_ReplayIsKilled(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		const letters = 10_000
		prefix := b.Prefix(t)
		w := newListener(t, b.Addr, prefix)
		out, err := exec.Command(program, "topics", "create", "--brokers", b.Addr, "--prefix", prefix, "--partitions", "4").CombinedOutput()
		require.NoError(t, err, "%s", out)
		var all []*kgo.Record
		for i := range letters {
			key := fmt.Sprint("o-", i)
			all = append(all, &kgo.Record{Topic: w.cat.DeadLetters.Name(), Key: []byte(key), Value: fmt.Append(nil, "message ", i), Headers: []kgo.RecordHeader{
				{Key: stream.HeaderTopic, Value: []byte(w.cat.OrderCommands.Name())}, {Key: stream.HeaderPartition, Value: []byte("0")},
				{Key: stream.HeaderOffset, Value: strconv.AppendInt(nil, int64(i), 10)}}})
		}
		require.NoError(t, w.cl.ProduceSync(t.Context(), all...).FirstErr())

		summary := regexp.MustCompile(`^(\d+) replayed, (\d+) skipped`)
		told, kills := map[string]int{}, 0
		for lines := 40; ; lines += 30 { // after so many it is killed: somewhere in or after a batch
			cmd := exec.Command(program, "dead-letters", "replay", "--all", "--brokers", b.Addr, "--prefix", prefix)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			cmd.Stderr = t.Output()
			require.NoError(t, cmd.Start())
			finished, seen := false, 0
			for s := bufio.NewScanner(stdout); s.Scan(); {
				if f := strings.Fields(s.Text()); f[0] == "replayed" {
					told[f[1]]++
					if seen++; seen == lines && kills < 8 {
						time.Sleep(time.Duration(kills) * time.Millisecond) // into the next batch
						require.NoError(t, cmd.Process.Kill())
					}
				}
				finished = finished || summary.MatchString(s.Text())
			}
			err = cmd.Wait()
			if finished {
				require.NoError(t, err)
				break
			}
			kills++
		}
		require.GreaterOrEqual(t, kills, 4, "it was killed often enough to mean something")
		for id, n := range told {
			require.Equal(t, 1, n, "%s was told twice", id)
		}

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cl := b.Client(t, kgo.ConsumeTopics(w.cat.OrderCommands.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
		ends, err := kadm.NewClient(w.cl).ListEndOffsets(ctx, w.cat.OrderCommands.Name())
		require.NoError(t, err)
		back := map[string]int{}
		for left := ends.KOffsets()[w.cat.OrderCommands.Name()]; len(left) > 0; {
			fetches := cl.PollFetches(ctx)
			require.NoError(t, fetches.Err())
			fetches.EachRecord(func(r *kgo.Record) {
				if !r.Attrs.IsControl() {
					back[string(r.Key)+" "+string(r.Value)]++
				}
				if end := left[r.Partition]; r.Offset+1 >= end.EpochOffset().Offset {
					delete(left, r.Partition)
				}
			})
		}
		require.Len(t, back, letters)
		for what, n := range back {
			require.Equal(t, 1, n, what)
		}
	})
}

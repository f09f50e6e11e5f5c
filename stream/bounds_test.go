package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/tester"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/stream"
)

// headersOf returns the headers of a record by name.
func headersOf(r *kgo.Record) map[string]string {
	h := map[string]string{}
	for _, x := range r.Headers {
		h[x.Key] = string(x.Value)
	}
	return h
}

// Whatever somebody writes that a topic takes, each record ends as decided or as
// a dead letter, and its key goes on. What a letter can't hold lies where it came.
func TestEngine_TooLong(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
			e := w.start("", func(c *stream.Config) { c.Guarantee, c.InstanceID = guarantee, "one" })
			tooLong(t, w, string(guarantee))
			e.stop()
		}
	})
}

func tooLong(t *testing.T, w *world, run string) {
	// A client that packs, and one that fills a topic's batch to the last byte.
	packs := w.b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(64<<20), kgo.ProducerBatchCompression(kgo.GzipCompression()))
	fills := w.b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1_048_588), kgo.ProducerBatchCompression(kgo.NoCompression()))
	key := "k-" + run
	home := stream.Partition(key, partitions)
	junk := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	header := func(name string, n int) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: name, Value: junk(n)}}
	}
	many := make([]kgo.RecordHeader, 10_000)
	for i := range many {
		many[i] = kgo.RecordHeader{Key: fmt.Sprintf("h-%d", i), Value: []byte("v")}
	}
	valid := func(n int) []byte { return fmt.Appendf(nil, `{"seq":7,"for":%q,"pad":%q}`, key, junk(n)) }
	away := (home + 1) % partitions
	hugeKey := string(junk(1_000_000))

	for name, c := range map[string]struct {
		client  *kgo.Client
		r       *kgo.Record
		problem string
		whole   bool // the letter has the value
	}{
		"NoJSON":           {fills, &kgo.Record{Value: junk(1_010_000)}, "value is 1010000 bytes", false},
		"FullBatch":        {fills, &kgo.Record{Value: junk(1_048_400)}, "value is 1048400 bytes", false},
		"ValidButTooLong":  {fills, &kgo.Record{Value: valid(1_000_000)}, "bytes long", false},
		"Packed":           {packs, &kgo.Record{Value: junk(5_000_000)}, "value is 5000000 bytes", false},
		"JustTooLong":      {fills, &kgo.Record{Value: junk(stream.MaxRecord + 1)}, "value is 900001 bytes", false},
		"JustNot":          {fills, &kgo.Record{Value: junk(stream.MaxRecord)}, "not the JSON", true},
		"JustNotWithMore":  {fills, &kgo.Record{Value: junk(stream.MaxRecord), Headers: header("h", stream.MaxHeaders-11)}, "not the JSON", true},
		"WrongPartition":   {fills, &kgo.Record{Value: valid(1_000_000), Partition: away}, "bytes long", false},
		"HugeKey":          {fills, &kgo.Record{Key: []byte(hugeKey), Value: []byte("{}")}, "key is 1000000 bytes", false},
		"HugeHeader":       {fills, &kgo.Record{Value: []byte("{}"), Headers: header("h", 1_000_000)}, "headers are", false},
		"HugeHeaderName":   {fills, &kgo.Record{Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: hugeKey}}}, "headers are", false},
		"ManyHeaders":      {fills, &kgo.Record{Value: []byte("{}"), Headers: many}, "headers are", false},
		"OwnHeaderHuge":    {fills, &kgo.Record{Value: []byte("{}"), Headers: header(stream.HeaderError, 1_000_000)}, "headers are", false},
		"HugeOrigin":       {fills, &kgo.Record{Value: []byte("{}"), Headers: header(stream.HeaderOrigin, 1_000_000), Partition: away}, "headers are", false},
		"HugeError":        {fills, &kgo.Record{Value: fmt.Appendf(nil, `{"for":%q}`, junk(800_000))}, "the message names", true},
		"HugePanic":        {fills, &kgo.Record{Value: fmt.Appendf(nil, `{"do":"panic with this","for":%q,"say":%q}`, key, junk(800_000))}, "panic: ", true},
		"OutputTooLong":    {fills, &kgo.Record{Value: []byte(`{"do":"say much"}`)}, "a message for", true},
		"OutputKeyTooLong": {fills, &kgo.Record{Value: []byte(`{"do":"say under a long key"}`)}, "a message for", true},
		"RowTooLong":       {fills, &kgo.Record{Value: []byte(`{"do":"keep much"}`)}, "the row would be", true},
		"NullAndNull":      {fills, &kgo.Record{Key: []byte{}}, "no key", true},
		"CutByTheReader":   {fills, &kgo.Record{Value: junk(1000), Headers: []kgo.RecordHeader{{Key: stream.HeaderSize, Value: []byte("70000000")}}}, "value is 70000000 bytes", false},
		"SizeIsNoNumber":   {fills, &kgo.Record{Value: []byte("{}"), Headers: header(stream.HeaderSize, 20)}, "value is 2 bytes", false},
	} {
		r := c.r
		r.Topic = w.hits.Name()
		if r.Key == nil {
			r.Key = []byte(key)
		}
		if r.Partition == 0 {
			r.Partition = home
		}
		require.NoError(t, c.client.ProduceSync(t.Context(), r).FirstErr(), name)
		var letter map[string]string
		var value []byte
		w.eventually(run+" "+name+" has its letter", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, d := range w.dead {
				h := headersOf(d)
				if h[stream.HeaderTopic] == r.Topic && h[stream.HeaderPartition] == fmt.Sprint(r.Partition) && h[stream.HeaderOffset] == fmt.Sprint(r.Offset) {
					letter, value = h, d.Value
					require.True(t, bytes.HasPrefix(r.Key, d.Key), name)
					return true
				}
			}
			return false
		})
		require.Contains(t, letter[stream.HeaderError], c.problem, name)
		if c.whole {
			require.NotContains(t, letter, stream.HeaderSize, name)
			require.Equal(t, string(r.Value), string(value), name)
			continue
		}
		require.Nil(t, value, name)
		size := strconv.Itoa(len(r.Value))
		if name == "CutByTheReader" {
			size = "70000000"
		}
		require.Equal(t, size, letter[stream.HeaderSize], name)
		require.Equal(t, string(r.Value[:min(len(r.Value), 1000)]), letter[stream.HeaderHead], name)
	}
	w.right([]string{key}, 0, 3)
	w.counted([]string{key}, 3)
}

// The longest dead letter is the sum of all bounds, and fits.
func TestEngine_LongestLetter(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		e := w.start("", nil)
		defer e.stop()
		fills := w.b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1_048_588), kgo.ProducerBatchCompression(kgo.NoCompression()))
		key := strings.Repeat("k", stream.MaxKey)
		var headers []kgo.RecordHeader
		for i := range stream.MaxHeaders / 17 { // many short ones, and nothing left
			headers = append(headers, kgo.RecordHeader{Key: fmt.Sprintf("h%04d", i), Value: []byte("v-")})
		}
		do := `{"do":"panic with this","say":"`
		value := do + strings.Repeat("y", stream.MaxRecord-len(do)-2) + `"}`
		r := &kgo.Record{Topic: w.hits.Name(), Key: []byte(key), Partition: stream.Partition(key, partitions), Value: []byte(value), Headers: headers}
		require.NoError(t, fills.ProduceSync(t.Context(), r).FirstErr())
		w.eventually("its letter is there", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.dead) == 1 })
		h := headersOf(w.dead[0])
		require.NotContains(t, h, stream.HeaderSize)
		require.Equal(t, value, string(w.dead[0].Value))
		require.Len(t, h[stream.HeaderError], 4000)
		require.NotEmpty(t, h[stream.HeaderStack])
		require.Len(t, h, len(headers)+7)
	})
}

// What HTTP takes is refused before it is sent.
func TestEmit_TooLong(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		e, err := stream.NewEmitter(w.config())
		require.NoError(t, err)
		defer e.Close()
		emit := func(key string, n int) error {
			return stream.Emit(context.Background(), e, w.hits, key, &hit{Say: strings.Repeat("x", n)})
		}
		frame := len(`{"say":""}`)
		require.NoError(t, emit("k", stream.MaxRecord-frame))
		require.NoError(t, emit(strings.Repeat("k", stream.MaxKey), stream.MaxRecord-frame))
		require.True(t, errors.Is(emit("k", stream.MaxRecord-frame+1), stream.ErrTooLong))
		require.True(t, errors.Is(emit(strings.Repeat("k", stream.MaxKey+1), 1), stream.ErrTooLong))
	})
}

// An origin is a place on the topic: what else stands in that header names nothing.
func TestGroup_Origin(t *testing.T) {
	for origin, want := range map[string]string{
		"t.hits/3/99":   "t.hits/3/99",
		"t.totals/3/99": "t.hits/0/0",
		"o-1/reserve/1": "t.hits/0/0",
		"t.hits/3":      "t.hits/0/0",
		"t.hits/3/x":    "t.hits/0/0",
		"t.hits/-1/5":   "t.hits/0/0",
		"t.hits/1/5/6":  "t.hits/0/0",
		"":              "t.hits/0/0",
	} {
		f := newFixture(t)
		f.tester.Consume(f.hits.Name(), "k", &hit{}, tester.WithHeaders(goka.Headers{stream.HeaderOrigin: []byte(origin)}))
		require.Equal(t, []string{want}, f.row("k").From, origin)
	}
}

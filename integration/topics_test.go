package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"baedal/internal/kafkatest"
	"baedal/topics"
)

// status asks for a page, and returns its status and text.
func (w *world) status(method, path, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://"+w.p.http+path, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, string(text)
}

// A topic's partitions are raised while the engine runs: it says so at once and takes no commands, but reads what others put
// there, also when it is started again.
func TestTopics_Raised(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		dir := t.TempDir()
		w := newWorld(t, b, "--data-dir", dir)
		w.openStore("s-1", "a-1", "")
		w.place("o-before", "s-1", "bibimbap", 1)
		w.reaches("o-before", "paid")

		began := time.Now()
		admin := kadm.NewClient(w.cl)
		raised, err := admin.UpdatePartitions(t.Context(), 7, w.cat.OrderCommands.Name())
		require.NoError(t, err)
		require.NoError(t, raised.Error())
		kafkatest.Eventually(t, func() bool { code, _ := w.status("GET", "/readyz", ""); return code == http.StatusServiceUnavailable }, 10*time.Second, 50*time.Millisecond)
		code, text := w.status("POST", "/v1/orders", `{"id":"o-http","userId":"u","storeId":"s-1","lines":[{"product":"bibimbap","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`)
		assert.Equal(t, http.StatusServiceUnavailable, code, text)
		assert.Contains(t, text, "--prefix")
		assert.Contains(t, text, "o-http", "the id to repeat it with")
		require.Less(t, time.Since(began), 10*time.Second)

		place := func(from, to int) {
			for i := from; i < to; i++ {
				w.place(fmt.Sprintf("o-%d", i), "s-1", "bibimbap", 1)
			}
			for i := from; i < to; i++ {
				w.reaches(fmt.Sprintf("o-%d", i), "placed")
			}
		}
		strays := func() (n int64) {
			ends, err := admin.ListEndOffsets(t.Context(), w.cat.OrderCommands.Name())
			require.NoError(t, err)
			ends.Each(func(o kadm.ListedOffset) {
				if o.Partition >= 4 {
					n += o.Offset
				}
			})
			return n
		}
		w.until("the client knows the new partitions", func() bool {
			w.cl.ForceMetadataRefresh()
			d, err := admin.ListTopics(t.Context(), w.cat.OrderCommands.Name())
			return err == nil && len(d[w.cat.OrderCommands.Name()].Partitions) == 7
		})
		i := 0
		for ; strays() < 4; i += 4 { // the client's own view of the topic takes a moment
			require.Less(t, time.Since(began), 2*patience, "the client must use the new partitions")
			place(i, i+4)
		}
		w.p.stop()

		before := strays()
		for n := 1000; strays() < before+2; n++ {
			w.place(fmt.Sprintf("o-%d", n), "s-1", "bibimbap", 1)
			i = n
		}
		w.p = start(t, append(engineFlags(t, b.Addr, w.cat.Prefix), "--data-dir", dir)...)
		for n := 1000; n <= i; n++ {
			w.reaches(fmt.Sprintf("o-%d", n), "placed")
		}
		code, _ = w.status("GET", "/readyz", "")
		assert.Equal(t, http.StatusServiceUnavailable, code)
		code, _ = w.status("GET", "/v1/orders/o-before", "")
		assert.Equal(t, http.StatusOK, code, "what is there can be read")
		w.sound()
	})
}

// All topics are deleted and made anew, and an engine starts with the copies of the old ones: nothing of them is left.
func TestTopics_MadeAnew(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b kafkatest.Broker) {
		dir := t.TempDir()
		w := newWorld(t, b, "--data-dir", dir)
		w.openStore("s-1", "a-1", "")
		w.place("o-1", "s-1", "bibimbap", 1)
		w.reaches("o-1", "paid")
		kafkatest.Eventually(t, func() bool { code, _ := w.status("GET", "/v1/orders/o-1", ""); return code == http.StatusOK }, patience, 20*time.Millisecond)
		w.p.stop()

		var names []string
		for _, s := range topics.New(w.cat.Prefix, 4).All() {
			names = append(names, s.Topic)
		}
		deleted, err := kadm.NewClient(w.cl).DeleteTopics(t.Context(), names...)
		require.NoError(t, err)
		require.NoError(t, deleted.Error())
		kafkatest.Eventually(t, func() bool { return len(b.TopicIDs(t, names...)) == 0 }, patience, 50*time.Millisecond, "the topics are gone")

		w.p = start(t, append(engineFlags(t, b.Addr, w.cat.Prefix), "--data-dir", dir)...)
		for _, path := range []string{"/v1/stores/s-1", "/v1/orders/o-1"} {
			code, text := w.status("GET", path, "")
			assert.Equal(t, http.StatusNotFound, code, "%s: %s", path, text)
		}
		code, text := w.status("POST", "/v1/orders", `{"id":"o-2","userId":"u","storeId":"s-1","lines":[{"product":"bibimbap","quantity":1}],"address":{"text":"x","lat":37.5,"lon":127}}`)
		assert.Equal(t, http.StatusCreated, code, text)
		kafkatest.Eventually(t, func() bool {
			_, text := w.status("GET", "/v1/orders/o-2", "")
			return strings.Contains(text, `"status":"refused"`)
		}, patience, 50*time.Millisecond, "the store is unknown")
		code, _ = w.status("GET", "/readyz", "")
		assert.Equal(t, http.StatusOK, code)
	})
}

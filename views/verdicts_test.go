package views_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/stretchr/testify/require"

	"baedal/domain"
	"baedal/topics"
	"baedal/views"
)

func memoryVerdicts(t *testing.T) *views.MemoryVerdicts {
	m, err := views.NewMemoryVerdicts(topics.New("p-", 4))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func verdictOn(key, id, digest string, why domain.Refusal) *domain.Verdict {
	v := domain.NewVerdict("order-commands", key, domain.Name{ID: id, Own: true, Digest: digest, Mark: domain.Hash64(digest)}, why, 3, 1_700_000_000_000)
	return &v
}

func ids(all []views.Outcome) (out []string) {
	for _, o := range all {
		out = append(out, o.Key+"/"+o.CommandID+"/"+o.Digest)
	}
	return out
}

func TestVerdicts(t *testing.T) {
	m, now := memoryVerdicts(t), time.Now()
	woken, stop := m.Watch("c-1", "order-commands", "o-1")
	defer stop()
	require.NoError(t, m.Say(verdictOn("o-1", "c-1", "aa", domain.Refusal{}), now))
	select {
	case <-woken:
	default:
		t.Fatal("who waits for it is woken")
	}
	require.NoError(t, m.Say(verdictOn("o-2", "c-1", "aa", domain.Refuse(domain.CodeStatus, "too late")), now))
	require.NoError(t, m.Say(verdictOn("o-1", "c-10", "aa", domain.Refusal{}), now))
	select {
	case <-woken:
		t.Fatal("nothing of its own has come")
	default:
	}
	// Another command under the id of one does not stand in its place.
	require.NoError(t, m.Say(verdictOn("o-1", "c-1", "bb", domain.Refuse(domain.CodeReused, "it names another")), now))
	for range 2 {
		all, err := m.Get("c-1")
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"o-1/c-1/aa", "o-1/c-1/bb", "o-2/c-1/aa"}, ids(all))
		all, err = m.Find("c-1", "order-commands", "o-2")
		require.NoError(t, err)
		require.Equal(t, []string{"o-2/c-1/aa"}, ids(all))
		require.Equal(t, domain.CodeStatus, all[0].Code)
		require.Equal(t, 3, all[0].Version)
		all, err = m.Find("c-1", "store-commands", "o-2")
		require.NoError(t, err)
		require.Empty(t, all)
		require.NoError(t, m.Restart(), "what was heard is there after a restart")
	}
}

// What is older than an hour of record time is swept out, unless it came again since.
func TestVerdicts_Forgets(t *testing.T) {
	m, now := memoryVerdicts(t), time.Now()
	require.NoError(t, m.Say(verdictOn("o-1", "old", "aa", domain.Refusal{}), now.Add(-2*time.Hour)))
	require.NoError(t, m.Say(verdictOn("o-1", "again", "aa", domain.Refusal{}), now.Add(-2*time.Hour)))
	require.NoError(t, m.Say(verdictOn("o-1", "again", "aa", domain.Refusal{}), now))
	require.NoError(t, m.Say(verdictOn("o-1", "young", "aa", domain.Refusal{}), now.Add(-59*time.Minute)))
	for i := range 1000 {
		require.NoError(t, m.Say(verdictOn("o-1", fmt.Sprint("c-", i), "aa", domain.Refusal{}), now))
	}
	for id, want := range map[string]int{"old": 0, "again": 1, "young": 1, "c-0": 1} {
		all, err := m.Get(id)
		require.NoError(t, err)
		require.Len(t, all, want, id)
	}
}

func letterOf(topic string, offset int) goka.Headers {
	return goka.Headers{"baedal-topic": []byte(topic), "baedal-partition": []byte("2"), "baedal-offset": fmt.Append(nil, offset),
		"baedal-group": []byte("orders"), "baedal-error": []byte("lines: is missing"), "baedal-at": []byte("2026-01-02T03:04:05.000Z")}
}

func TestVerdicts_DeadLetters(t *testing.T) {
	m, now := memoryVerdicts(t), time.Now()
	require.NoError(t, m.Bury("o-1", []byte(`{"type":"place","id":"c-1","lines":7}`), letterOf("p-order-commands", 7), now))
	require.NoError(t, m.Bury("o-1", []byte(`{"type":`), letterOf("p-order-commands", 8), now))
	require.NoError(t, m.Bury("a-1", []byte(`{"id":"x/y","riderId":"r-1","commandId":"c-2","digest":"dd"}`), letterOf("p-dispatch-commands", 9), now))
	require.NoError(t, m.Bury("o-1", []byte(`{"id":"c-3"}`), letterOf("p-payment-replies", 9), now), "no command")
	long := letterOf("p-store-commands", 1)
	long["baedal-size"], long["baedal-head"] = []byte("9999999"), []byte(`{"id":"c-4","na`)
	require.NoError(t, m.Bury("s-1", nil, long, now))

	for id, want := range map[string]string{"c-1": "order-commands o-1", "p-order-commands/2/7": "order-commands o-1", "p-order-commands/2/8": "order-commands o-1",
		"c-2": "rider-commands r-1", "c-3": "", "p-store-commands/2/1": "store-commands s-1"} {
		all, err := m.Get(id)
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, all, id)
			continue
		}
		require.Len(t, all, 1, id)
		require.Equal(t, want, all[0].Stream+" "+all[0].Key, id)
		require.Equal(t, []string{id, "refused", "dead_letter", "dead_letter"}, []string{all[0].CommandID, all[0].Verdict.Verdict, all[0].Code, all[0].Reason})
		require.Equal(t, "lines: is missing", all[0].Letter.Error)
	}
	all, err := m.Find("c-1", "order-commands", "o-1")
	require.NoError(t, err)
	require.Equal(t, "p-order-commands/2/7", all[0].Letter.From)

	t.Run("VerdictFirst", func(t *testing.T) {
		require.NoError(t, m.Say(verdictOn("o-1", "c-1", "aa", domain.Refusal{}), now))
		all, err := m.Find("c-1", "order-commands", "o-1")
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Nil(t, all[0].Letter)
	})
	t.Run("PutBack", func(t *testing.T) {
		require.NoError(t, m.Bury("o-1", nil, goka.Headers{"baedal-replayed": []byte("0/0"), "baedal-source": []byte("p-order-commands/2/8")}, now))
		all, err := m.Get("p-order-commands/2/8")
		require.NoError(t, err)
		require.Empty(t, all, "it is no dead letter any more")
	})
	_, err = json.Marshal(all)
	require.NoError(t, err)
}

// Dead letters hold any bytes: in the key, the value and what somebody put into their headers. The view goes on.
func TestVerdicts_DeadLettersOfAnyBytes(t *testing.T) {
	m, now := memoryVerdicts(t), time.Now()
	for i, bad := range []string{"\xff\xfe", "a\x00b", "", "\xed\xa0\x80", "a/b", string(make([]byte, 300))} {
		h := letterOf("p-order-commands", i)
		h["baedal-error"], h["baedal-origin"] = []byte("key: "+bad), []byte(bad)
		require.NoError(t, m.Bury(bad, []byte(`{"id":"c-`+bad+`"}`), h, now), "%q", bad)
		require.NoError(t, m.Bury("o-1", []byte(bad), goka.Headers{"baedal-topic": []byte(bad), "baedal-partition": []byte(bad), "baedal-offset": []byte(bad)}, now), "%q", bad)
		require.NoError(t, m.Bury(bad, nil, goka.Headers{"baedal-replayed": []byte(bad), "baedal-source": []byte(bad)}, now), "%q", bad)
	}
	require.NoError(t, m.Bury("o-1", []byte(`{"id":"c-1"}`), letterOf("p-order-commands", 7), now))
	all, err := m.Find("c-1", "order-commands", "o-1")
	require.NoError(t, err)
	require.Len(t, all, 1)
}

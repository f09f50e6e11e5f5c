package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/deadletters"
	"baedal/views"
)

// fakeLetters has one page of letters for each place, and remembers what was asked.
type fakeLetters struct {
	only   []string
	before deadletters.Before
	err    error
}

func (f *fakeLetters) Page(_ context.Context, only []string, before deadletters.Before, limit int) ([]*deadletters.Letter, deadletters.Before, error) {
	f.only, f.before = only, before
	letters := []*deadletters.Letter{
		{ID: deadletters.ID{Partition: 1, Offset: 5}, From: deadletters.Source{Topic: "order-commands", Partition: 2, Offset: 7}, Group: "orders", Error: "no type", At: noon.Time(),
			Key: []byte("o-1"), Size: 3, Replayed: noon.Add(time.Hour).Time()},
		{ID: deadletters.ID{Partition: 0, Offset: 9}, At: noon.Time(), Key: []byte{0xff}, Broken: errors.New("it does not say where it came from")},
	}
	if before != nil || limit > 1 {
		return letters[min(1, len(before)):], nil, f.err
	}
	return letters[:1], deadletters.Before{0: 10, 1: 5}, f.err
}

func (f *fakeLetters) Replay(_ context.Context, id deadletters.ID) (out deadletters.Outcome, err error) {
	switch id {
	case deadletters.ID{Partition: 1, Offset: 5}:
		out.To = deadletters.Source{Topic: "order-commands", Partition: 2, Offset: 12}
	case deadletters.ID{Partition: 1, Offset: 6}:
		out.Skipped = "it was put back before"
	case deadletters.ID{Partition: 0, Offset: 9}:
		out.Refused = errors.New("it does not say where it came from")
	default:
		err = deadletters.ErrNoLetter
	}
	return out, errors.Join(err, f.err)
}

func operator(t *testing.T) (*fixture, *fakeLetters) {
	f, letters := newFixture(t), &fakeLetters{}
	f.progress = []views.Progress{{View: "orders", Table: "orders-table", Recovered: true, Applied: 5, Newest: 5, Staleness: time.Millisecond}}
	f.handler = api.New(api.Deps{
		Tables:      api.Tables{Progress: func() []views.Progress { return f.progress }},
		Ready:       func() error { return f.ready },
		Damaged:     func() error { return f.damaged },
		Engine:      api.Engine{Version: "v1", Prefix: "eu.", Partitions: 8, Guarantee: "exactly-once", Groups: []string{"orders"}, Started: noon.Time()},
		DeadLetters: letters,
	})
	return f, letters
}

func TestAPI_Engine(t *testing.T) {
	f, _ := operator(t)
	require.JSONEq(t, `{"version":"v1","prefix":"eu.","partitions":8,"guarantee":"exactly-once","groups":["orders"],"startedAt":"2026-01-01T00:00:00.000Z","ready":true,
		"views":[{"view":"orders","table":"orders-table","ready":true,"applied":5,"newest":5,"stalenessMs":1}]}`, f.get("/v1/engine").Body.String())
	f.ready, f.damaged = errors.New("stock has no partitions yet"), errors.New("a topic is gone")
	a := f.get("/v1/engine")
	require.Equal(t, http.StatusOK, a.Code)
	require.Equal(t, []any{false, "stock has no partitions yet", "a topic is gone"}, []any{a.json["ready"], a.json["processors"], a.json["problem"]})
}

func TestAPI_DeadLetters(t *testing.T) {
	f, letters := operator(t)
	first := `{"id":"1/5","at":"2026-01-01T00:00:00.000Z","group":"orders","source":{"topic":"order-commands","partition":2,"offset":7},"key":"o-1","size":3,"error":"no type","replayedAt":"2026-01-01T01:00:00.000Z"}`
	second := `{"id":"0/9","at":"2026-01-01T00:00:00.000Z","keyBase64":"/w==","size":0,"error":"it does not say where it came from"}`
	require.JSONEq(t, `{"deadLetters":[`+first+`,`+second+`]}`, f.get("/v1/dead-letters").Body.String())
	require.Empty(t, letters.only)

	a := f.get("/v1/dead-letters?limit=1&group=orders&since=2h")
	require.Equal(t, []string{"group=orders", "since=2h"}, letters.only)
	cursor := a.json["cursor"].(string)
	a = f.get("/v1/dead-letters?since=2h&group=orders&cursor=" + cursor)
	require.JSONEq(t, `{"deadLetters":[`+second+`]}`, a.Body.String())
	require.Equal(t, deadletters.Before{0: 10, 1: 5}, letters.before)

	for path, field := range map[string]string{
		"?cursor=" + cursor:                 "cursor", // of other filters
		"?group=orders&cursor=x":            "cursor",
		"?since=yesterday":                  "since",
		"?key=":                             "key",
		"?limit=0":                          "limit",
		"?id=1/5":                           "id",
		"?group=orders&since=2h&cursor=eyJ": "cursor",
	} {
		a := f.get("/v1/dead-letters" + path)
		a.problem(t, http.StatusBadRequest, field)
		require.Equal(t, field, a.wrong()[0], path)
	}
	letters.err = errors.New("topic secret can't be read")
	a = f.get("/v1/dead-letters")
	a.problem(t, http.StatusServiceUnavailable, "can't be read now")
	require.NotContains(t, a.Body.String(), "secret")
}

func TestAPI_ReplayDeadLetter(t *testing.T) {
	f, letters := operator(t)
	replay := func(id string) answer { return f.do(http.MethodPost, "/v1/dead-letters/"+id+"/replay", "") }
	require.JSONEq(t, `{"id":"1/5","to":{"topic":"order-commands","partition":2,"offset":12}}`, replay("1/5").Body.String())
	replay("1/6").problem(t, http.StatusConflict, "dead letter 1/6 is not put back again: it was put back before")
	replay("0/9").problem(t, http.StatusConflict, "can't be put back: it does not say where it came from")
	replay("0/1").problem(t, http.StatusNotFound, "there is no dead letter 0/1")
	replay("x/1").problem(t, http.StatusBadRequest, "partition: must be a whole number")
	replay("1/-1").problem(t, http.StatusBadRequest, "offset: must be a whole number")
	letters.err = errors.New("away")
	replay("1/5").problem(t, http.StatusServiceUnavailable, "ask again")
}

package api_test

import (
	"compress/gzip"
	"fmt"
	"html"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"baedal/api"
)

// The type of each problem is the address of a page that explains it.
func TestProblems(t *testing.T) {
	f := newFixture(t)
	a := f.get("/problems")
	require.Equal(t, http.StatusOK, a.Code)
	for _, c := range []struct {
		method, path, body string
		headers            []string
		name               string
	}{
		{"GET", "/v1/nothing", "", nil, "not-found"},
		{"DELETE", "/healthz", "", nil, "method-not-allowed"},
		{"POST", "/v1/orders", "[]", nil, "bad-request"},
		{"POST", "/v1/orders", `{"userId":5}`, nil, "wrong-fields"},
		{"POST", "/v1/orders", placeBody, []string{"Content-Type", "text/xml"}, "unsupported-media-type"},
		{"POST", "/v1/orders", placeBody, []string{"Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site"}, "other-site"},
		{"POST", "/v1/orders", `{"userId":"` + strings.Repeat("x", 2<<20) + `"}`, nil, "too-large"},
	} {
		p := f.do(c.method, c.path, c.body, c.headers...)
		require.Equal(t, "/problems/"+c.name, p.json["type"], "%s %s", c.method, c.path)
		page := f.get(p.json["type"].(string))
		require.Equal(t, http.StatusOK, page.Code, c.name)
		require.Contains(t, page.Body.String(), html.EscapeString(p.json["title"].(string)), c.name)
		require.Contains(t, a.Body.String(), "/problems/"+c.name)
	}
	f.get("/problems/none").problem(t, http.StatusNotFound, `no type of problem named "none"`)
}

// All that is wrong with a body is in one answer.
func TestProblems_AllFields(t *testing.T) {
	f := newFixture(t)
	a := f.do("POST", "/v1/orders", `{"userId":5,"lines":[{"product":"p","quantity":0},{"product":"p","quantity":1}],"address":{"lat":"x"}}`)
	a.problem(t, http.StatusBadRequest, "userId")
	require.Equal(t, []string{"/userId", "/address/lat", "/storeId", "/lines/0/quantity", "/lines/1/product", "/address/lon"}, a.wrong())
}

// So are parameters of the path, the query and the header, beside the fields: those
// by name, these by pointer.
func TestProblems_AllParameters(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		headers            []string
		wrong              []string
	}{
		{"GET", "/v1/orders?statu=paid&foo=1&limit=2&limit=3", ``, nil, []string{"foo", "limit", "statu"}},
		{"GET", "/v1/orders?status=eaten&userId=&since=x&until=y&limit=0", ``, nil, []string{"status", "userId", "since", "until", "limit"}},
		{"GET", "/v1/stores?area=&open=maybe&limit=0&cursor=x", ``, nil, []string{"area", "open", "limit", "cursor"}},
		{"GET", "/v1/riders?area=&state=lazy&sort=name&limit=x", ``, nil, []string{"area", "state", "sort", "limit"}},
		{"GET", "/v1/commands/c?stream=x&key=a%2Fb", ``, nil, []string{"stream", "key"}},
		{"GET", "/v1/dead-letters?limit=0&group=&since=x&cursor=x", ``, nil, []string{"limit", "group", "since", "cursor"}},
		{"POST", "/v1/dead-letters/x/y/replay", ``, nil, []string{"partition", "offset"}},
		{"POST", "/v1/stores/a%2Fb/products/c%2Fd/add", ``, nil, []string{"id", "product"}},
		{"POST", "/v1/stores/s-1/products/p-1/add", `{"type":"x","storeId":"s-2","product":"p-2","quantity":0}`, []string{"Idempotency-Key", "a/b"},
			[]string{"/type", "/storeId", "/product", "/quantity", "Idempotency-Key"}},
		{"POST", "/v1/orders/o-1/cancel", `{"type":"accept","by":"nobody","ifVersion":3}`, []string{"If-Match", `"4"`}, []string{"/type", "/by", "/ifVersion"}},
		{"POST", "/v1/orders/o-1/cancel", `{"by":"nobody"}`, []string{"If-Match", `4`}, []string{"/by"}},
		{"POST", "/v1/riders/r-1/online", `{"riderId":"r-2","lat":91,"lon":1}`, []string{"Idempotency-Key", "a/b"}, []string{"/riderId", "/lat", "/area", "Idempotency-Key"}},
		{"POST", "/v1/orders?wait=eaten", `{"id":"a/b","orderId":"o-2","userId":5}`, []string{"Idempotency-Key", "a/b"},
			[]string{"Idempotency-Key", "/id", "/userId", "/storeId", "/lines", "/address", "wait"}},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			f := newFixture(t)
			a := f.do(c.method, c.path, c.body, c.headers...)
			require.Equal(t, http.StatusBadRequest, a.Code, a.Body.String())
			require.Equal(t, c.wrong, a.wrong())
			require.Empty(t, f.commands.all())
		})
	}
}

func TestManners_Options(t *testing.T) {
	f := newFixture(t)
	a := f.do("OPTIONS", "/v1/orders", "")
	require.Equal(t, http.StatusNoContent, a.Code)
	require.Equal(t, "GET, HEAD, POST, OPTIONS", a.Header().Get("Allow"))
	f.do("OPTIONS", "/v1/nothing", "").problem(t, http.StatusNotFound, "nothing at")
}

// Pages of named origins may call, others may not.
func TestManners_Origins(t *testing.T) {
	const shop, other = "https://shop.example", "https://other.example"
	for _, c := range []struct {
		origins     []string
		origin      string
		reads, asks bool
	}{
		{nil, shop, false, false},
		{[]string{shop}, shop, true, true},
		{[]string{shop}, other, false, false},
		{[]string{"*"}, other, true, true},
	} {
		name := fmt.Sprint(c.origins, c.origin)
		f := newFixture(t)
		f.manners = api.Manners{Origins: c.origins}
		f.with(&f.commands)
		a := f.get("/v1/orders/o-1", "Origin", c.origin)
		require.Equal(t, http.StatusOK, a.Code)
		require.Equal(t, c.reads, a.Header().Get("Access-Control-Allow-Origin") != "", name)
		a = f.do("OPTIONS", "/v1/orders", "", "Origin", c.origin, "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "idempotency-key,content-type,prefer")
		require.Equal(t, c.reads, a.Header().Get("Access-Control-Allow-Methods") == "PUT", name)
		a = f.later("POST", "/v1/orders", placeBody, "Origin", c.origin, "Sec-Fetch-Site", "cross-site")
		require.Equal(t, c.asks, a.Code != http.StatusForbidden, "%s: %s", name, a.Body)
	}
}

func TestManners_Rate(t *testing.T) {
	f := newFixture(t)
	f.manners = api.Manners{Rate: 5}
	f.with(&f.commands)
	refused := 0
	for range 50 { // in any two seconds ten at most
		a := f.get("/v1/orders/o-1")
		if a.Code != http.StatusOK {
			a.problem(t, http.StatusTooManyRequests, "more than 5 requests")
			require.NotEmpty(t, a.Header().Get("Retry-After"))
			refused++
		}
	}
	require.Greater(t, refused, 30)
}

// What is long is packed for clients that ask for it, and known by a tag of its own.
func TestManners_Compressed(t *testing.T) {
	f := newFixture(t)
	plain := f.get("/openapi.yaml")
	require.Empty(t, plain.Header().Get("Content-Encoding"))
	for encoding, unpack := range map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		a := f.get("/openapi.yaml", "Accept-Encoding", encoding)
		require.Equal(t, encoding, a.Header().Get("Content-Encoding"))
		require.Contains(t, a.Header().Values("Vary"), "Accept-Encoding")
		require.Less(t, a.Body.Len(), plain.Body.Len()/2)
		r, err := unpack(a.Body)
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, plain.Body.String(), string(text))
	}

	require.Empty(t, f.get("/v1/orders/o-1", "Accept-Encoding", "gzip").Header().Get("Content-Encoding"), "it is short")
}

// The tag of a packed answer is as good as the plain one's: for asking again, and
// for saying which version a command is meant for.
func TestManners_TagOfCompressed(t *testing.T) {
	f := newFixture(t)
	long := *f.orders.rows["o-1"]
	long.Note = strings.Repeat("No onions. ", 200)
	f.orders.set("o-1", &long)
	plain := f.get("/v1/orders/o-1").Header().Get("ETag")
	for _, encoding := range []string{"gzip", "zstd"} {
		a := f.get("/v1/orders/o-1", "Accept-Encoding", encoding)
		require.Equal(t, encoding, a.Header().Get("Content-Encoding"))
		tag := a.Header().Get("ETag")
		require.NotEqual(t, plain, tag)
		require.Equal(t, http.StatusNotModified, f.get("/v1/orders/o-1", "If-None-Match", tag, "Accept-Encoding", encoding).Code, tag)
		require.Equal(t, http.StatusNotModified, f.get("/v1/orders/o-1", "If-None-Match", tag).Code, tag)
		for _, headers := range [][]string{{"If-Match", tag}, {"If-Match", tag, "Accept-Encoding", encoding}} {
			f.later("POST", "/v1/orders/o-1/accept", "", headers...)
			all := f.commands.all()
			require.NotEmpty(t, all, tag)
			require.EqualValues(t, long.Version, all[len(all)-1].command["ifVersion"], tag)
		}
	}
}

package api

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/httprate"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"
)

// Manners are how the API treats clients of any path.
type Manners struct {
	// Origins of web pages that may call the API, as browsers spell them
	// (https://shop.example); "*" is any. A page of elsewhere may read nothing and
	// must not send commands. None: only pages that this server serves.
	Origins []string
	// Rate bounds the requests of one client address in any second; 0 does not. A
	// stream of events is one request.
	Rate int
}

// exposed are the headers of answers that pages of other origins may read.
var exposed = []string{"Location", "ETag", "Retry-After", "Preference-Applied", "Allow", stalenessHeader}

// mannerly wraps all paths.
func (s *server) mannerly(next http.Handler) http.Handler {
	next = compressed(next)
	if s.Manners.Rate > 0 {
		next = s.limited(next)
	}
	next = s.ownPages(next)
	if len(s.Manners.Origins) > 0 {
		next = cors.New(cors.Options{
			AllowedOrigins: s.Manners.Origins,
			AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
			AllowedHeaders: []string{"*"},
			ExposedHeaders: exposed,
			MaxAge:         int((10 * time.Minute).Seconds()),
		}).Handler(next)
	}
	return next
}

// ownPages refuses commands that a web page of somewhere else makes a browser
// send. There are no logins, so it would use whatever its visitor can reach.
func (s *server) ownPages(next http.Handler) http.Handler {
	if slices.Contains(s.Manners.Origins, "*") {
		return next
	}
	origin := http.NewCrossOriginProtection()
	for _, o := range s.Manners.Origins {
		_ = origin.AddTrustedOrigin(o) // judged by CheckOrigin before
	}
	origin.SetDenyHandler(s.serve(func(_ http.ResponseWriter, r *http.Request) error {
		return problemf(http.StatusForbidden, "a page of another site (%s) must not send commands: send them from where this API is served, from an origin that --cors-origin names, or not from a browser", r.Header.Get("Origin"))
	}))
	return origin.Handler(next)
}

// CheckOrigin says what is wrong with an origin of Manners.
func CheckOrigin(o string) error {
	if o == "*" {
		return nil
	}
	return http.NewCrossOriginProtection().AddTrustedOrigin(o)
}

// limited answers 429 to an address that asks too often.
func (s *server) limited(next http.Handler) http.Handler {
	tooMany := s.serve(func(http.ResponseWriter, *http.Request) error {
		return problemf(http.StatusTooManyRequests, "this address has sent more than %d requests within a second: send fewer, and this one again", s.Manners.Rate)
	})
	address := func(r *http.Request) (string, error) { // the peer's: a header could name anybody's
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		return httprate.CanonicalizeIP(host), err
	}
	return httprate.LimitBy(s.Manners.Rate, time.Second, address, httprate.WithLimitHandler(tooMany.ServeHTTP))(next)
}

// packed ends the tag of an answer that is sent compressed: it is known by other
// bytes than the plain one (RFC 9110, 8.8.3.3).
const packed = "-packed"

// plainTags turns such tags back into those of the plain answers, which alone are
// compared. The encoding's name behind the end is gzhttp's.
var plainTags = strings.NewReplacer(packed+`-gzip"`, `"`, packed+`-zstd"`, `"`, packed+`"`, `"`)

// compressed sends answers as gzip or zstd to clients that ask for it. Streams of
// events go as they are: each event must leave at once.
func compressed(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.SuffixETag(packed), gzhttp.MinSize(1024))
	if err != nil {
		panic(err) // the settings are ours
	}
	packs := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"If-None-Match", "If-Match"} {
			for i, v := range r.Header[h] {
				r.Header[h][i] = plainTags.Replace(v)
			}
		}
		if r.Header.Get("Accept-Encoding") == "" && r.Header.Get("If-None-Match") == "" || strings.HasSuffix(r.URL.Path, "/events") {
			if h := w.Header(); h["Vary"] == nil {
				h["Vary"] = varyEncoding
			} else {
				h.Add("Vary", "Accept-Encoding")
			}
			next.ServeHTTP(w, r)
			return
		}
		packs.ServeHTTP(w, r)
	})
}

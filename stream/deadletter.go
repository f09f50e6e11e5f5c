package stream

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lovoo/goka"

	"baedal/internal/failpoint"
)

// Headers of records.
const (
	// HeaderOrigin holds topic/partition/offset where a forwarded record was
	// first written.
	HeaderOrigin = "baedal-origin"

	// HeaderHops holds how many messages led to this one without a row changing;
	// it is left out where there was none. See MaxHops.
	HeaderHops = "baedal-hops"

	// Of a record whose value is not here: how many bytes it has, and the first of
	// them. It lies where the coordinates say.
	HeaderSize = "baedal-size"
	HeaderHead = "baedal-head"

	// Of a dead letter: where it came from, who couldn't handle it, why, when,
	// and the stack if a rule panicked.
	HeaderTopic     = "baedal-topic"
	HeaderPartition = "baedal-partition"
	HeaderOffset    = "baedal-offset"
	HeaderGroup     = "baedal-group"
	HeaderError     = "baedal-error"
	HeaderAt        = "baedal-at"
	HeaderStack     = "baedal-stack"

	headerTrace = "traceparent"
)

// bury sends a message to the dead letters, key and value as they came; of one
// that is too long, no value, but where it lies. The message is finished when the
// dead letter is acknowledged, not before.
func (h *handler[R]) bury(g goka.Context, m any, why error) {
	var raw any
	if e, ok := m.(*envelope); ok && e != nil && e.raw != nil {
		raw = e.raw
	}
	key, headers := g.Key(), g.Headers()
	if errors.Is(why, ErrTooLong) {
		key, headers, raw = h.beginning(g, raw)
	}
	headers = headers.Merged(goka.Headers{
		HeaderTopic:     []byte(g.Topic()),
		HeaderPartition: strconv.AppendInt(nil, int64(g.Partition()), 10),
		HeaderOffset:    strconv.AppendInt(nil, g.Offset(), 10),
		HeaderGroup:     []byte(h.Name),
		HeaderError:     []byte(cut(why.Error(), maxReason)),
		HeaderAt:        []byte(h.cfg.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")),
	})
	var st stacked
	if errors.As(why, &st) {
		headers[HeaderStack] = st.stack[:min(len(st.stack), maxStack)]
	}
	h.meter.failed.WithLabelValues(h.Name, string(g.Topic())).Inc()
	if before, ok := h.letters.tell(string(g.Topic()), why, h.cfg.Now()); ok {
		h.cfg.Logger.Warn("a message can't be handled: it goes to the dead letters", "group", h.Name,
			"record", coordinates(g), "key", cut(key, maxLogged), "error", cut(why.Error(), maxLogged), "alike, not logged", before)
	}
	failpoint.Hit(failpoint.Burying, h.Name)
	g.Emit(goka.Stream(h.DeadLetters.Name()), key, raw, goka.WithCtxEmitHeaders(headers))
	failpoint.Hit(failpoint.Buried, h.Name)
}

// maxLogged is how much of a key or an error the log gets: all is in the letter.
const maxLogged = 500

// beginning returns what is kept of a record that is too long.
func (h *handler[R]) beginning(g goka.Context, raw any) (key string, headers goka.Headers, value any) {
	data, _ := raw.([]byte)
	size, _ := sizeOf(g.Headers(), data)
	if key = g.Key(); len(key) > MaxKey {
		key = key[:maxHead]
	}
	return key, goka.Headers{
		HeaderSize: strconv.AppendInt(nil, size, 10),
		HeaderHead: data[:min(len(data), maxHead)],
	}, nil
}

// letters decides which dead letters are logged: of a kind, that is of a topic
// and the beginning of the error, one a minute.
type letters struct {
	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	logged time.Time
	silent int
}

const mostKinds = 1000

// tell reports whether one is to be logged, and how many alike were not.
func (l *letters) tell(topic string, why error, now time.Time) (silent int, ok bool) {
	text, _, _ := strings.Cut(why.Error(), ":")
	name := topic + " " + text[:min(len(text), 40)]
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[name]
	if k != nil && now.Sub(k.logged) < time.Minute {
		k.silent++
		return 0, false
	}
	if k == nil {
		if len(l.kinds) >= mostKinds || l.kinds == nil {
			l.kinds = map[string]*kind{}
		}
		k = &kind{}
		l.kinds[name] = k
	}
	silent = k.silent
	k.logged, k.silent = now, 0
	return silent, true
}

package api

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"baedal/codecs"
	"baedal/views"
)

const (
	// keepAlive is how often a quiet stream says that it lives, so that proxies
	// do not cut it.
	keepAlive = 15 * time.Second
	// eventWrite is how long a client may take to read what was sent to it.
	eventWrite = 10 * time.Second
	// lookAgain is when what was told in part is looked at again.
	lookAgain = 100 * time.Millisecond
	// eventPace is the least time between two deliveries to one client. What
	// happens in between comes together, each thing once.
	eventPace = 20 * time.Millisecond
	// eventBuffer is how much is gathered before it is sent.
	eventBuffer = 16 << 10
)

// Names of events. Those of an order's timeline are its types.
const (
	readyEvent    = "ready" // what is has been told, what changes follows
	resetEvent    = "reset" // forget what you have, the whole follows
	goneEvent     = "gone"  // a thing is not in the list any more
	orderEvent    = "order"
	deliveryEvent = "delivery"
	riderEvent    = "rider"
	messageEvent  = "message"
)

var nothing = []byte("{}") // the data of an event that says all by its name

// source is one list, or one thing, that a stream tells of. A place in it is
// text that any instance understands.
type source interface {
	// watch registers for what wakes when there may be something new.
	watch(wake *wake)
	// whole tells what is, without places, and returns the place after it.
	whole(tell tell) (at string, err error)
	// since tells what has happened after a place, and returns the place after
	// that. The error is views.ErrGap when that is not known any more.
	since(at string, tell tell) (next string, err error)
}

// tell sends an event about a thing. at is the place after it, or "" when a
// client that leaves now has to hear it again.
type tell func(event string, data []byte, at string) error

// goneFrom is the data of gone: which thing, and the events that told of it.
type goneFrom struct {
	ID    string `json:"id"`
	Event string `json:"event"`
}

// live answers with a stream of the sources: what is, ready, what changes. With
// the last id of an earlier stream: what has changed since, ready, what changes.
//
// An id is where the client is in each source. It only comes with an event after
// which the client has all up to there, so that who leaves anywhere, and comes
// again to any instance, misses nothing.
func (s *server) live(w http.ResponseWriter, r *http.Request, kind, of string, sources ...source) error {
	at, err := resumed(r, kind, of, len(sources))
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		eventHeader(w)
		return nil
	}
	out := newEventWriter(w)
	// Watched before anything is read: no change in between is missed.
	var wake wake
	defer wake.stop()
	for _, src := range sources {
		src.watch(&wake)
	}
	st := &stream{out: out, tag: streamTag(kind, of), sources: sources}

	// An EventSource that meets a 503 never comes back, so a view that is about to
	// be ready is waited for. It wakes when it is.
	late := time.Now().Add(preferenceOf(r.Header).wait)
	for {
		st.at = slices.Clone(at)
		err = st.begin()
		if !errors.Is(err, views.ErrNotReady) || out.begun || wake.pause(r, time.Until(late)) != woken {
			break
		}
		out.free()
	}
	return s.pump(r, kind, out, &wake, err, func(idle bool) (bool, error) {
		if idle {
			return false, st.idle()
		}
		return false, st.more()
	})
}

// pump sends what was written, and then what more writes each time that it is
// woken or that nothing has come for a while, until the client leaves, the server
// stops, or it is over.
func (s *server) pump(r *http.Request, kind string, out *eventWriter, wake *wake, err error, more func(idle bool) (over bool, err error)) error {
	defer out.close()
	defer s.streams.enter(kind)()
	beat := time.NewTimer(keepAlive)
	defer beat.Stop()
	for over := false; err == nil; {
		if out.flush(); out.err != nil || over {
			break
		}
		told, early := time.Now(), wake.early
		if wake.early = false; early {
			beat.Reset(lookAgain)
		} else {
			beat.Reset(keepAlive)
		}
		why := wake.wait(r, beat.C)
		idle := why == timeUp && !early
		if why == woken { // what happens at nearly the same time goes out together
			why = nobody.pause(r, time.Until(told.Add(eventPace)))
		}
		switch why {
		case left:
			return nil
		case drained:
			out.comment("this server stops: come again")
			out.flush()
			return nil
		}
		// A view that is read anew wakes us again when it is ready.
		if over, err = more(idle); errors.Is(err, views.ErrNotReady) {
			err = nil
		}
	}
	return s.ended(r, kind, out, err)
}

// ended says why a stream ends, to whom it concerns.
func (s *server) ended(r *http.Request, kind string, out *eventWriter, err error) error {
	switch {
	case out.slow():
		s.streams.dropped.WithLabelValues(kind, "slow").Inc()
		s.Logger.Debug("a client was dropped: it did not read its events", "path", r.URL.Path, "within", eventWrite)
	case err == nil || out.err != nil || r.Context().Err() != nil: // over, or the client is gone
	case !out.begun:
		return err // the answer is a problem
	default:
		s.streams.dropped.WithLabelValues(kind, "failed").Inc()
		s.Logger.Error("a stream of events failed", "path", r.URL.Path, "error", err)
		out.comment("this server could not go on: come again")
		out.flush()
	}
	return nil
}

// stream is what one client gets.
type stream struct {
	out     *eventWriter
	tag     string // begins its ids
	sources []source
	at      []string // where the client is in each source; nil while that is not told
	idTold  string
}

// begin brings the client to where things are.
func (st *stream) begin() error {
	if st.at != nil {
		err := st.more()
		if !errors.Is(err, views.ErrGap) {
			if err == nil {
				st.event(readyEvent, nothing, true)
			}
			return err
		}
	}
	return st.anew()
}

// anew tells the whole. Where so much happens meanwhile that it is not known any
// more, it begins again.
func (st *stream) anew() (err error) {
	for range tries {
		if st.at != nil {
			st.event(resetEvent, nothing, false)
		}
		st.at = make([]string, len(st.sources))
		for i, src := range st.sources {
			if st.at[i], err = src.whole(func(event string, data []byte, _ string) error {
				st.event(event, data, false)
				return st.out.err
			}); err != nil {
				break
			}
		}
		if err == nil {
			st.event(readyEvent, nothing, true)
			return nil
		}
		if !errors.Is(err, views.ErrGap) {
			return err
		}
	}
	return err
}

// tries is how often the whole is told before a stream is given up.
const tries = 3

// more tells what has changed. Where that is not known it tells the whole.
func (st *stream) more() error {
	for i, src := range st.sources {
		next, err := src.since(st.at[i], func(event string, data []byte, at string) error {
			if at != "" {
				st.at[i] = at
			}
			st.event(event, data, at != "")
			return st.out.err
		})
		if errors.Is(err, views.ErrGap) {
			return st.anew()
		}
		if err != nil {
			return err
		}
		st.at[i] = next
	}
	return nil
}

// idle says that the stream lives. Where the client is moves on even while
// nothing happens to it, so that it can come again after a long silence.
func (st *stream) idle() error {
	if err := st.more(); err != nil && !errors.Is(err, views.ErrNotReady) {
		return err
	}
	st.out.comment("nothing new")
	if id := st.id(); id != st.idTold {
		st.idTold = id
		st.out.print("id: " + id + "\n\n")
	}
	return nil
}

func (st *stream) id() string { return st.tag + strings.Join(st.at, ".") }

func (st *stream) event(event string, data []byte, placed bool) {
	id := ""
	if placed {
		id = st.id()
		st.idTold = id
	}
	st.out.event(id, event, data)
}

// streamTag begins the ids of a stream, so that the id of one is not taken for
// that of another.
func streamTag(kind, of string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(of))
	return fmt.Sprintf("%s.%08x.", kind, h.Sum32())
}

// lastEventID returns where a client was when it left. EventSource sends the
// header by itself, but a page that is loaded again can't.
func lastEventID(r *http.Request) (id, field string) {
	if id = r.Header.Get("Last-Event-ID"); id != "" {
		return id, "Last-Event-ID"
	}
	return r.URL.Query().Get("lastEventId"), "lastEventId"
}

// resumed returns the places of the last id, or nil without one. One of another
// version of the program has places that no source knows, which is a gap.
func resumed(r *http.Request, kind, of string, sources int) ([]string, error) {
	id, field := lastEventID(r)
	if id == "" {
		return nil, nil
	}
	places, ok := strings.CutPrefix(id, streamTag(kind, of))
	if !ok {
		return nil, wrong(field, "is not an id of this stream: begin without one")
	}
	at := strings.Split(places, ".")
	if len(at) != sources {
		at = make([]string, sources)
	}
	return at, nil
}

// acceptsEvents refuses clients that want something else.
func acceptsEvents(r *http.Request) error {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return nil
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil || !slices.Contains([]string{"text/event-stream", "text/*", "*/*"}, kind) {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err != nil || q > 0 {
			return nil
		}
	}
	return problemf(http.StatusNotAcceptable, "this is a stream of events: accept text/event-stream")
}

// wake is what wakes a stream: one channel for each that it watches, so that it
// needs no goroutine but the request's.
type wake struct {
	woken [4]<-chan struct{} // nil: nothing is watched
	stops [4]func()
	early bool // look again soon
}

// soon asks for another look in a moment: something that nobody watches is to come.
func (w *wake) soon(ask bool) { w.early = w.early || ask }

// add watches something more. It returns where.
func (w *wake) add(woken <-chan struct{}, stop func()) (slot int) {
	for w.stops[slot] != nil {
		slot++
	}
	w.woken[slot], w.stops[slot] = woken, stop
	return slot
}

// remove ends what add began.
func (w *wake) remove(slot int) {
	w.stops[slot]()
	w.woken[slot], w.stops[slot] = nil, nil
}

func (w *wake) stop() {
	for slot, stop := range w.stops {
		if stop != nil {
			w.remove(slot)
		}
	}
}

// why says why a wait is over.
type why int

const (
	woken why = iota
	timeUp
	left    // the client is gone
	drained // the server stops
)

func (w *wake) wait(r *http.Request, until <-chan time.Time) why {
	select {
	case <-w.woken[0]:
	case <-w.woken[1]:
	case <-w.woken[2]:
	case <-w.woken[3]:
	case <-until:
		return timeUp
	case <-r.Context().Done():
		return left
	case <-draining(r):
		return drained
	}
	return woken
}

// nobody wakes who pauses with it.
var nobody = &wake{}

// pause waits for at most d.
func (w *wake) pause(r *http.Request, d time.Duration) why {
	if d <= 0 {
		return timeUp
	}
	t := time.NewTimer(d)
	defer t.Stop()
	return w.wait(r, t.C)
}

// draining is closed when the server begins to stop.
func draining(r *http.Request) <-chan struct{} {
	if drain, ok := r.Context().Value(drainKey{}).(context.Context); ok {
		return drain.Done()
	}
	return nil
}

// eventHeader begins the answer. Nothing between us and the client may hold
// events back: proxies are told not to buffer, and no-transform keeps everybody
// from compressing what must be flushed event by event.
func eventHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}

// eventWriter writes server-sent events until the first error. It has a buffer
// only while there is something to send, as most of many clients wait.
type eventWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	buf   *[]byte
	begun bool // something was sent, so that there is no other answer any more
	err   error
}

var eventBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 2*eventBuffer)) }}

func newEventWriter(w http.ResponseWriter) *eventWriter {
	return &eventWriter{w: w, rc: http.NewResponseController(w)}
}

// event writes an event; one without an id leaves the client's last as it is.
func (e *eventWriter) event(id, event string, data []byte) {
	if id != "" {
		e.print("id: ", id, "\n")
	}
	e.print("event: ", event, "\ndata: ")
	e.print(string(data), "\n\n")
	if e.buf != nil && len(*e.buf) >= eventBuffer {
		e.flush()
	}
}

// comment writes what shows that the stream lives, and is no event.
func (e *eventWriter) comment(text string) { e.print(": ", text, "\n\n") }

func (e *eventWriter) print(texts ...string) {
	if e.err != nil {
		return
	}
	if e.buf == nil {
		e.buf = eventBuffers.Get().(*[]byte)
	}
	for _, t := range texts {
		*e.buf = append(*e.buf, t...)
	}
}

func (e *eventWriter) flush() {
	if e.err != nil || e.buf == nil {
		return
	}
	if !e.begun {
		e.begun = true
		eventHeader(e.w)
		// Clients come again after times that differ, so that those of an instance
		// that stops do not come all at once.
		_, e.err = fmt.Fprintf(e.w, "retry: %d\n\n", 500+rand.IntN(1500))
	}
	_ = e.rc.SetWriteDeadline(time.Now().Add(eventWrite)) // not there in tests without a connection
	if _, e.err = e.w.Write(*e.buf); e.err == nil {
		e.err = e.rc.Flush()
	}
	e.free()
}

// close leaves the server time to end the answer.
func (e *eventWriter) close() {
	_ = e.rc.SetWriteDeadline(time.Now().Add(eventWrite))
	e.free()
}

func (e *eventWriter) free() {
	if e.buf == nil {
		return
	}
	if cap(*e.buf) <= 8*eventBuffer {
		*e.buf = (*e.buf)[:0]
		eventBuffers.Put(e.buf)
	}
	e.buf = nil
}

// slow reports whether the client did not read in time.
func (e *eventWriter) slow() bool { return errors.Is(e.err, os.ErrDeadlineExceeded) }

// streams counts the streams of events.
type streams struct {
	open    *prometheus.GaugeVec
	dropped *prometheus.CounterVec
}

func newStreams(r prometheus.Registerer) *streams {
	s := &streams{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "baedal_http_streams",
			Help: "Streams of events that clients have open."}, []string{"kind"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "baedal_http_streams_dropped_total",
			Help: "Streams of events that were ended because the client did not read, or for an error of ours."}, []string{"kind", "reason"}),
	}
	if r != nil {
		r.MustRegister(s.open, s.dropped)
	}
	return s
}

func (s *streams) enter(kind string) (leave func()) {
	g := s.open.WithLabelValues(kind)
	g.Inc()
	return g.Dec
}

// list is a group of an index of a view.
type list[R any] struct {
	view         Lists[R]
	index, group string
	event        string
	id           func(key string) string
	version      func(row *R) int
	answer       func(row *R) any
}

func (l *list[R]) watch(wake *wake) { wake.add(l.view.Watch(l.index, l.group)) }

// scanned is how many rows are read before they are sent: none is held in the
// view while a client takes its time.
const scanned = 256

func (l *list[R]) whole(tell tell) (string, error) {
	// The cursor comes first: what changes while the rows are read comes after
	// them, and what was read so already does not come again.
	from := l.view.Cursor()
	read := map[string]int{} // versions
	rows := make([]*R, 0, scanned)
	after, more := views.Entry{}, true
	for more {
		rows, more = rows[:0], false
		if err := l.view.Scan(l.index, l.group, after, func(at views.Entry, key string, row *R) bool {
			if len(rows) == scanned {
				more = true
				return false
			}
			after, read[key] = at, l.version(row)
			rows = append(rows, row)
			return true
		}); err != nil {
			return "", err
		}
		for _, row := range rows {
			if err := l.tell(tell, row, ""); err != nil {
				return "", err
			}
		}
	}
	// A row may show a moment before the cursor counts its record. Until it does, the
	// record is known already, and is not told again.
	visible := l.view.Visible()
	for range settles {
		next, err := l.changes(from, func(c views.Change[R]) bool {
			version, ok := read[c.Key]
			delete(read, c.Key)
			if c.In {
				read[c.Key] = l.version(c.Row)
				return ok && version == l.version(c.Row)
			}
			return !ok
		}, tell)
		if err != nil || next.Reaches(visible) {
			return next.String(), err
		}
		from = next
		time.Sleep(time.Millisecond)
	}
	return from.String(), nil
}

// settles is how many milliseconds a record may take to be counted.
const settles = 1000

func (l *list[R]) since(at string, tell tell) (string, error) {
	from, err := views.ParseCursor(at)
	if err != nil {
		return "", views.ErrGap
	}
	next, err := l.changes(from, func(views.Change[R]) bool { return false }, tell)
	return next.String(), err
}

func (l *list[R]) changes(from views.Cursor, known func(views.Change[R]) bool, tell tell) (views.Cursor, error) {
	changes, next, err := l.view.Changes(l.index, l.group, from)
	if err != nil {
		return next, err
	}
	for _, c := range changes {
		if known(c) {
			continue
		}
		if c.In {
			err = l.tell(tell, c.Row, c.At.String())
		} else {
			err = tellJSON(tell, goneEvent, goneFrom{l.id(c.Key), l.event}, c.At.String())
		}
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

func (l *list[R]) tell(tell tell, row *R, at string) error {
	return tellJSON(tell, l.event, l.answer(row), at)
}

func tellJSON(tell tell, event string, data any, at string) error {
	body, err := codecs.Marshal(data)
	if err != nil {
		return err
	}
	return tell(event, body, at)
}

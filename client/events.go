package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Event is one event of a stream.
type Event struct {
	ID   string // of the last event that has one: where the stream goes on
	Name string // order, delivery, rider, message, gone, reset, ready, or a type of a timeline
	Data []byte
}

// Into reads the data of an event.
func (e Event) Into(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("event %s: %w", e.Name, err)
	}
	return nil
}

// maxEvent bounds one line of a stream.
const maxEvent = 4 << 20

// Events calls handle with each event of a stream. A stream that is cut goes on
// behind the last event that was handled, through whichever instance answers.
// It returns nil when the stream is over for good, such as that of an order, the
// error of handle, and ctx's error when that ends it. open is one of the Follow
// methods:
//
//	err := client.Events(ctx, func(ctx context.Context, last *string) (*http.Response, error) {
//		return c.FollowStore(ctx, "s-1", &client.FollowStoreParams{LastEventId: last})
//	}, handle)
func Events(ctx context.Context, open func(ctx context.Context, last *string) (*http.Response, error), handle func(Event) error) error {
	s := &events{pause: time.Second, handle: handle}
	for {
		rsp, err := open(ctx, s.last())
		switch {
		case err != nil:
		case rsp.StatusCode == http.StatusNoContent:
			return rsp.Body.Close()
		case rsp.StatusCode != http.StatusOK:
			_, err := As[struct{}](rsp, nil)
			return err
		default:
			err = s.read(rsp.Body)
			_ = rsp.Body.Close()
		}
		if errors.Is(err, errHandled) {
			return s.failed
		}
		select {
		case <-time.After(s.pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errHandled = errors.New("the handler failed")

// events is where a reader of a stream is.
type events struct {
	id     string
	pause  time.Duration // before it comes again
	handle func(Event) error
	failed error
}

func (s *events) last() *string {
	if s.id == "" {
		return nil
	}
	id := s.id
	return &id
}

// read handles the events of one answer until it ends.
func (s *events) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	var e Event
	id := s.id
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if e.Data != nil {
				e.ID = id
				if s.failed = s.handle(e); s.failed != nil {
					return errHandled
				}
			}
			s.id, e = id, Event{}
		case field == "id":
			id = value
		case field == "event":
			e.Name = value
		case field == "data" && e.Data != nil:
			e.Data = append(append(e.Data, '\n'), value...)
		case field == "data":
			e.Data = append([]byte{}, value...)
		case field == "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				s.pause = time.Duration(ms) * time.Millisecond
			}
		}
	}
	return lines.Err()
}

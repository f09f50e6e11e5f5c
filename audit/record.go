package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// record is what is read from a topic.
type record struct {
	where
	at      int64 // milliseconds since 1970
	key     string
	value   []byte
	headers map[string]string // those that begin with baedal-
}

// where is the place of a record.
type where struct {
	stream    stream
	partition int32
	offset    int64
}

// Headers of the engine's records.
const (
	headerOrigin    = "baedal-origin"
	headerTopic     = "baedal-topic"
	headerPartition = "baedal-partition"
	headerOffset    = "baedal-offset"
	headerReplayed  = "baedal-replayed"
	headerHops      = "baedal-hops"
	headerPrefix    = "baedal-"
)

// maxHops is how many messages lead to one at which groups answer each other without end.
const maxHops = 16

var seed = maphash.MakeSeed()

// digest makes 64 bits of parts. It holds for this process.
func digest(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range parts {
		_, _ = h.WriteString(p)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func digestBytes(b []byte) uint64 { return maphash.Bytes(seed, b) }

// stamp is a time in JSON, in milliseconds since 1970; 0 is none.
type stamp int64

func (s *stamp) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(b))
	*s = stamp(t.UnixMilli())
	return err
}

// pastDelivery is a finished delivery, written as order/attempt and, for each of
// its steps, /length/step.
type pastDelivery areaDelivery

func (d *pastDelivery) UnmarshalText(b []byte) error {
	order, rest, _ := strings.Cut(string(b), "/")
	attempt, rest, _ := strings.Cut(rest, "/")
	d.Order, d.Attempt = order, int(number(attempt))
	for rest != "" {
		length, steps, _ := strings.Cut(rest, "/")
		n := int(number(length))
		if n <= 0 || n > len(steps) {
			return fmt.Errorf("a step of the finished delivery %q is not %q bytes long", b, length)
		}
		d.Steps = append(d.Steps, steps[:n])
		rest = strings.TrimPrefix(steps[n:], "/")
	}
	return nil
}

// byteOrderMark is what may stand before a text. It is no part of it.
var byteOrderMark = []byte("\xef\xbb\xbf")

func decode[M any](b []byte) (m M, err error) {
	b = bytes.TrimPrefix(b, byteOrderMark)
	err = json.Unmarshal(b, &m)
	if err == nil && string(bytes.TrimSpace(b)) == "null" {
		err = errors.New("null is no message")
	}
	return m, err
}

// decodeCommand is decode for what clients write: a field that differs in case
// alone is another one, which is ignored, as by the engine.
func decodeCommand[M any](b []byte) (m M, err error) {
	fields, err := decode[map[string]json.RawMessage](b)
	if err != nil {
		return m, err
	}
	strange := false
	for name := range fields {
		if !slices.Contains(commandFields, name) && slices.ContainsFunc(commandFields, func(f string) bool { return strings.EqualFold(f, name) }) {
			delete(fields, name)
			strange = true
		}
	}
	if strange {
		if b, err = json.Marshal(fields); err != nil {
			return m, err
		}
	}
	return decode[M](b)
}

var commandFields = []string{"type", "id", "verdict", "orderId", "attempt", "product", "quantity", "lines"}

// The JSON of the contract, as far as it is judged.
type (
	line struct {
		Product  string `json:"product"`
		Quantity int64  `json:"quantity"`
	}
	clientCommand struct { // order-commands, rider-commands: what they don't have is not looked at
		Type    string `json:"type"`
		ID      string `json:"id"`
		Verdict bool   `json:"verdict"`
		OrderID string `json:"orderId"`
	}
	storeCommand struct { // store-commands
		clientCommand
		Attempt  int    `json:"attempt"`
		Product  string `json:"product"`
		Quantity int64  `json:"quantity"`
		Lines    []line `json:"lines"`
	}
	verdictMessage struct {
		CommandID string `json:"commandId"`
		Stream    string `json:"stream"`
		Key       string `json:"key"`
		Digest    string `json:"digest"`
		Verdict   string `json:"verdict"`
		At        stamp  `json:"at"`
		Code      string `json:"code"`
		Reason    string `json:"reason"`
		Version   int    `json:"version"`
	}
	orderEvent struct {
		Type    string `json:"type"`
		ID      string `json:"id"`
		At      stamp  `json:"at"`
		Version int    `json:"version"`
		OrderID string `json:"orderId"`
		Status  string `json:"status"`
		Attempt int    `json:"attempt"`
		Total   int64  `json:"total"`
		RiderID string `json:"riderId"`
		CauseID string `json:"causeId"`
	}
	stockReply struct {
		Type    string `json:"type"`
		ID      string `json:"id"`
		StoreID string `json:"storeId"`
		Attempt int    `json:"attempt"`
		Lines   []line `json:"lines"`
	}
	paymentMessage struct { // payment-requests, payment-replies
		Type    string `json:"type"`
		ID      string `json:"id"`
		Attempt int    `json:"attempt"`
		Amount  int64  `json:"amount"`
	}
	dispatchCommand struct {
		Type      string `json:"type"`
		ID        string `json:"id"`
		OrderID   string `json:"orderId"`
		Attempt   int    `json:"attempt"`
		RiderID   string `json:"riderId"`
		Shift     int    `json:"shift"`
		CommandID string `json:"commandId"`
	}
	riderEvent struct {
		Type    string `json:"type"`
		ID      string `json:"id"`
		RiderID string `json:"riderId"`
		Shift   int    `json:"shift"`
		OrderID string `json:"orderId"`
	}
	deliveryEvent struct {
		Type    string `json:"type"`
		ID      string `json:"id"`
		Attempt int    `json:"attempt"`
		RiderID string `json:"riderId"`
	}
	notification struct {
		ID      string `json:"id"`
		OrderID string `json:"orderId"`
	}
	orderRow struct {
		Status   string `json:"status"`
		Version  int    `json:"version"`
		Deadline *struct {
			At   stamp  `json:"at"`
			Then string `json:"then"`
		} `json:"deadline"`
	}
	stockRow struct {
		Products []struct {
			Product  string `json:"product"`
			Gone     bool   `json:"gone"`
			OnHand   int64  `json:"onHand"`
			Reserved int64  `json:"reserved"`
			Added    int64  `json:"added"`
			Sold     int64  `json:"sold"`
			Removed  int64  `json:"removed"`
		} `json:"products"`
		Reservations []struct {
			OrderID string `json:"orderId"`
			Attempt int    `json:"attempt"`
			Lines   []line `json:"lines"`
		} `json:"reservations"`
		Decided []string `json:"decided"`
	}
	paymentRow struct {
		Attempts []struct {
			Amount int64  `json:"amount"`
			Status string `json:"status"`
			Due    stamp  `json:"due"`
		} `json:"attempts"`
	}
	riderRow struct {
		Wish *struct {
			CommandID string `json:"commandId"`
		} `json:"wish"`
		Recent []string `json:"recent"` // each begins with the mark of its command
		Moves  []string `json:"moves"`
	}
	areaRow struct {
		Riders     []string `json:"riders"`
		Deliveries []areaDelivery
		Done       []pastDelivery
		Recent     []string `json:"recent"` // each begins with the mark of its command
	}
	areaDelivery struct {
		Order   string   `json:"o"`
		Attempt int      `json:"n"`
		Steps   []string `json:"s"`
	}
)

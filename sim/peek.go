package sim

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// peeker reads a few fields of a message and leaves at the last of them: the driver sees every event and shares its cores with
// the engine that it measures. It is for one goroutine.
type peeker struct {
	buf bytes.Buffer
	dec *jsontext.Decoder
}

// head is what the simulated people look at. An empty field was not there, or was not asked for.
type head struct {
	Type, ID, OrderID, CommandID, Reason string
}

// Fields of a head.
const (
	wantType = 1 << iota
	wantID
	wantOrderID
	wantCommandID
	wantReason
)

var wanted = map[string]int{"type": wantType, "id": wantID, "orderId": wantOrderID, "commandId": wantCommandID, "reason": wantReason}

// peek returns the fields want of the JSON object value; false where it is none.
func (p *peeker) peek(value []byte, want int) (h head, ok bool) {
	if p.dec == nil {
		p.dec = jsontext.NewDecoder(&p.buf)
	}
	p.buf.Reset()
	p.buf.Write(value)
	p.dec.Reset(&p.buf)
	if t, err := p.dec.ReadToken(); err != nil || t.Kind() != '{' {
		return h, false
	}
	for want != 0 {
		name, err := p.dec.ReadToken()
		if err != nil {
			return h, false
		}
		if name.Kind() == '}' {
			return h, true
		}
		bit := wanted[name.String()] & want
		if bit == 0 {
			if p.dec.SkipValue() != nil {
				return h, false
			}
			continue
		}
		t, err := p.dec.ReadToken()
		if err != nil || t.Kind() != '"' {
			return h, false
		}
		want &^= bit
		switch bit {
		case wantType:
			h.Type = t.String()
		case wantID:
			h.ID = t.String()
		case wantOrderID:
			h.OrderID = t.String()
		case wantCommandID:
			h.CommandID = t.String()
		case wantReason:
			h.Reason = t.String()
		}
	}
	return h, true
}

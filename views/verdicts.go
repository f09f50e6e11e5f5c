package views

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

// KeepVerdicts is for how long it is known what became of a command, in record
// time. Streams keep verdicts for longer; a new copy reads what it keeps alone.
const KeepVerdicts = time.Hour

// DeadLetter is the reason and the code of a command that no rule could be
// applied to.
const DeadLetter = "dead_letter"

// Outcome is what became of a command.
type Outcome struct {
	domain.Verdict
	Letter *Letter `json:"letter,omitempty"` // of a dead letter
}

// Letter says where a command lies that became a dead letter, where it was read,
// and why.
type Letter struct {
	Partition int32  `json:"partition"` // of the dead letters
	Offset    int64  `json:"offset"`
	From      string `json:"from"` // TOPIC/PARTITION/OFFSET
	Error     string `json:"error"`
}

// Verdicts is what became of the commands of customers, stores and riders, by
// the ids of the commands: what the verdicts stream says, and which commands
// became dead letters. It is safe for concurrent use.
type Verdicts struct {
	said    *View[domain.Verdict]
	buried  *View[domain.Verdict]
	catalog *topics.Catalog
	applied atomic.Int64
}

// NewVerdicts returns the view of what became of commands, to be filled by Run.
func NewVerdicts(name string, c *topics.Catalog, opts Options) *Verdicts {
	v := &Verdicts{catalog: c}
	v.said = NewView(name, topics.Table[domain.Verdict]{Spec: c.Verdicts.Spec}, opts)
	v.said.apply = v.note
	v.buried = NewView("dead-letters", topics.Table[domain.Verdict]{Spec: c.DeadLetters.Spec}, opts)
	v.buried.apply = v.bury
	v.said.since, v.buried.since = KeepVerdicts, KeepVerdicts
	return v
}

// views are those that fill it.
func (v *Verdicts) views() []runner { return []runner{v.said, v.buried} }

// named is the beginning of the keys of what became of a command.
func named(id, stream, key string) string { return id + "\x00" + stream + "\x00" + key + "\x00" }

// A verdict is kept under ID NUL STREAM NUL KEY NUL DIGEST: a command that was
// refused because its id names another one does not stand in that one's place.
// Before its JSON stands when its record came, as 13 digits of milliseconds. The
// byte 1, the milliseconds, NUL and the key again lead from its time to it, to be
// swept out.
func (v *Verdicts) note(ctx goka.UpdateContext, s storage.Storage, _ string, value []byte) error {
	said, err := codecs.Decode[domain.Verdict](value)
	if value == nil || err != nil {
		return nil // not ours: the groups alone write verdicts
	}
	name := named(said.CommandID, said.Stream, said.Key)
	if err := v.keep(ctx, s, name+domain.Hash64(said.Digest), value); err != nil {
		return err
	}
	v.said.waiters.wake(name)
	return nil
}

func (v *Verdicts) keep(ctx goka.UpdateContext, s storage.Storage, key string, value []byte) error {
	at := stamp(ctx.Timestamp())
	if err := s.Set(key, append([]byte(at), value...)); err != nil {
		return err
	}
	if err := s.Set("\x01"+at+"\x00"+key, []byte{}); err != nil {
		return err
	}
	if v.applied.Add(1)%sweepVerdicts == 0 {
		return forget(s, stamp(ctx.Timestamp().Add(-KeepVerdicts)))
	}
	return nil
}

// sweepVerdicts is how many of them pass between two sweeps.
const sweepVerdicts = 1000

const stampLen = 13

func stamp(t time.Time) string { return fmt.Sprintf("%0*d", stampLen, max(0, t.UnixMilli())) }

// forget removes what came before a time, unless it came again since.
func forget(s storage.Storage, before string) error {
	it, err := s.IteratorWithRange([]byte("\x01"), []byte("\x01"+before))
	if err != nil {
		return err
	}
	defer it.Release()
	for it.Next() {
		entry := string(it.Key())
		key := entry[1+stampLen+1:]
		value, err := s.Get(key)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(value, []byte(entry[1:1+stampLen])) {
			if err := s.Delete(key); err != nil {
				return err
			}
		}
		if err := s.Delete(entry); err != nil {
			return err
		}
	}
	return it.Err()
}

// Headers of dead letters, as the contract has them.
const (
	headerTopic     = "baedal-topic"
	headerPartition = "baedal-partition"
	headerOffset    = "baedal-offset"
	headerError     = "baedal-error"
	headerAt        = "baedal-at"
	headerOrigin    = "baedal-origin"
	headerHead      = "baedal-head"
	headerReplayed  = "baedal-replayed"
	headerSource    = "baedal-source"
)

// A dead letter of a command is kept as a verdict is, under the id in its JSON
// and under its coordinates, which stand in for an id. "@" and where it was read
// lead to it: one that is put back is no dead letter any more.
func (v *Verdicts) bury(ctx goka.UpdateContext, s storage.Storage, key string, value []byte) error {
	h := ctx.Headers()
	if h[headerTopic] == nil && h[headerReplayed] != nil {
		return v.restore(s, text(string(h[headerSource])))
	}
	topic := string(h[headerTopic])
	from := topic + "/" + string(h[headerPartition]) + "/" + string(h[headerOffset])
	if value == nil {
		value = h[headerHead]
	}
	c := commandOf(value)
	stream := v.catalog.Short(topic)
	switch {
	case stream == order.Stream, stream == stock.Stream, stream == rider.Stream:
	case topic == v.catalog.DispatchCommands.Topic && c.RiderID != "" && c.CommandID != "": // a rider's, handed on
		stream, key, c.ID = rider.Stream, c.RiderID, c.CommandID
	default:
		return nil
	}
	coordinates := from
	if o := h[headerOrigin]; o != nil {
		coordinates = string(o)
	}
	// Letters hold any bytes, and what is kept is text. A key that is none can't be asked for.
	key, coordinates, from = text(key), text(coordinates), text(from)
	out := Outcome{Letter: &Letter{Partition: ctx.Partition(), Offset: ctx.Offset(), From: from, Error: text(string(h[headerError]))}}
	out.Verdict = domain.Verdict{Stream: stream, Key: key, Verdict: domain.Refused, Reason: DeadLetter}
	out.Code, out.Type, out.Digest = DeadLetter, domain.Refused, c.digest
	if out.At.UnmarshalText(h[headerAt]) != nil {
		out.At = domain.At(ctx.Timestamp())
	}
	ids := []string{coordinates}
	if c.ID != "" {
		ids = append(ids, c.ID)
	}
	for _, id := range ids {
		out.CommandID = id
		data, err := codecs.Marshal(&out)
		if err != nil {
			return err
		}
		name := named(id, stream, key)
		if err := v.keep(ctx, s, name+domain.Hash64(c.digest), data); err != nil {
			return err
		}
		if err := v.keep(ctx, s, "@"+from+"\x00"+id, []byte(name+domain.Hash64(c.digest))); err != nil {
			return err
		}
		v.said.waiters.wake(name)
	}
	return nil
}

func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// restore forgets the letters of a message that was put back.
func (v *Verdicts) restore(s storage.Storage, from string) error {
	it, err := s.IteratorWithRange([]byte("@"+from+"\x00"), []byte("@"+from+"\x01"))
	if err != nil {
		return err
	}
	defer it.Release()
	for it.Next() {
		value, err := it.Value()
		if err != nil {
			return err
		}
		if len(value) > stampLen {
			if err := s.Delete(string(value[stampLen:])); err != nil {
				return err
			}
		}
	}
	return it.Err()
}

// letterCommand is what is read of a dead letter. It need be no valid command.
type letterCommand struct {
	ID        string `json:"id"`
	RiderID   string `json:"riderId"`
	CommandID string `json:"commandId"`
	Digest    string `json:"digest"`
	digest    string
}

func commandOf(value []byte) letterCommand {
	var c letterCommand
	// Field by field, as one of the wrong kind must not hide the others.
	var id struct {
		ID string `json:"id"`
	}
	_ = codecs.Unmarshal(value, &id)
	_ = codecs.Unmarshal(value, &c)
	c.ID = id.ID
	if domain.CheckText("id", c.ID, domain.MaxMadeID) != nil || strings.ContainsRune(c.ID, 0) {
		c.ID = ""
	}
	c.digest, _ = codecs.Digest(codecs.WithoutMark(value))
	if c.CommandID != "" && c.Digest != "" { // of the command that was handed on
		c.digest = c.Digest
	}
	return c
}

// Get returns what became of the commands of that id, on any stream and under
// any key. It does not block. The error is ErrNotReady until the view has caught up.
func (v *Verdicts) Get(id string) ([]Outcome, error) { return v.find(id+"\x00", "") }

// Find returns what became of the command of that id on a stream and under a
// key; of several, when others came under its id. It does not block. The error is
// ErrNotReady until the view has caught up.
func (v *Verdicts) Find(id, stream, key string) ([]Outcome, error) {
	return v.find(named(id, stream, key), key)
}

// find looks in the partition of a key, or in all.
func (v *Verdicts) find(prefix, key string) ([]Outcome, error) {
	said, err := outcomes(v.said, prefix, key, func(data []byte) (Outcome, error) {
		verdict, err := codecs.Decode[domain.Verdict](data)
		if err != nil {
			return Outcome{}, err
		}
		return Outcome{Verdict: *verdict}, nil
	})
	if err != nil || len(said) > 0 {
		return said, err
	}
	return outcomes(v.buried, prefix, "", func(data []byte) (out Outcome, err error) {
		return out, codecs.Unmarshal(data, &out)
	})
}

func outcomes(v *View[domain.Verdict], prefix, key string, decode func([]byte) (Outcome, error)) (all []Outcome, err error) {
	parts, err := v.partitions()
	if err != nil {
		return nil, err
	}
	if key != "" {
		n := partitionOf(key, len(parts))
		parts = parts[n : n+1]
	}
	for _, p := range parts {
		err := func() error {
			if !p.enter() {
				return v.notReady()
			}
			defer p.leave()
			it, err := p.Storage.IteratorWithRange([]byte(prefix), []byte(prefix[:len(prefix)-1]+"\x01"))
			if err != nil {
				return err
			}
			defer it.Release()
			for it.Next() {
				value, err := it.Value()
				if err != nil {
					return err
				}
				if len(value) < stampLen {
					continue
				}
				out, err := decode(value[stampLen:])
				if err != nil {
					return err
				}
				all = append(all, out)
			}
			return it.Err()
		}()
		if err != nil && !errors.Is(err, ErrNotReady) {
			err = fmt.Errorf("view %s, command %s: %w", v.name, strconv.Quote(prefix), err)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Watch wakes when something becomes of the command of that id on a stream and
// under a key, and when the view has caught up. The channel holds one wake-up.
// To miss none, it is called before the command is sent.
func (v *Verdicts) Watch(id, stream, key string) (woken <-chan struct{}, stop func()) {
	calm := v.said.opts.Hurry()
	woken, remove := v.said.waiters.add(named(id, stream, key))
	return woken, func() {
		remove()
		calm()
	}
}

// Staleness returns how far it may lag behind its streams; see View.Staleness.
func (v *Verdicts) Staleness() time.Duration {
	return max(v.said.Staleness(), v.buried.Staleness())
}

package stream

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Recovery says how far a group has come with reading its tables.
type Recovery struct {
	Group string
	// Read and Newest are sums of offsets over the partitions that the group has
	// opened: where it is in the changelog, and where that ends.
	Read, Newest int64
}

// tellRecovery logs, until ctx is done, how far the groups have come that are
// still reading their tables.
func (e *Engine) tellRecovery(ctx context.Context, client *client) {
	const every = 3 * time.Second
	t := time.NewTicker(every)
	defer t.Stop()
	admin := kadm.NewClient(client.Client)
	before := map[string]int64{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, r := range e.groups {
			p := r.processor.Load()
			if p == nil || p.Recovered() || r.tableName() == "" {
				delete(before, r.group)
				continue
			}
			now, err := r.recovery(ctx, admin)
			if err != nil {
				continue // the group itself says what is wrong
			}
			was, known := before[r.group]
			before[r.group] = now.Read
			if !known || now.Newest == 0 {
				continue
			}
			rate := float64(now.Read-was) / every.Seconds()
			left := "unknown"
			if rate > 0 {
				left = (time.Duration(float64(now.Newest-now.Read) / rate * float64(time.Second))).Round(time.Second).String()
			}
			e.cfg.Logger.Info("reading tables from their changelog", "group", r.group, "read", now.Read, "of", now.Newest, "a second", int64(rate), "left", left)
		}
	}
}

func (r *run) recovery(ctx context.Context, admin *kadm.Client) (Recovery, error) {
	ends, err := admin.ListEndOffsets(ctx, r.tableName())
	if err != nil {
		return Recovery{}, err
	}
	now := Recovery{Group: r.group}
	for partition, t := range *r.tables.open.Load() {
		if t == nil {
			continue
		}
		end, ok := ends.Lookup(r.tableName(), int32(partition))
		if !ok || end.Err != nil {
			continue
		}
		offset, err := t.GetOffset(-1)
		if err != nil {
			return Recovery{}, err
		}
		now.Read += offset + 1
		now.Newest += end.Offset
	}
	return now, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"baedal/state"
)

// Whenever an instance dies, a table on its disk must be what the table's
// changelog says up to the offset that is stored with it: not a row more, or it
// ran ahead, and not a row less. So the disk is copied before the next start,
// and the copies are compared at the end of a round.

// keepTables copies what the last process of an instance left on its disk.
func (w *world) keepTables(in *instance) error {
	from := filepath.Join(in.dir, "state")
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	to := filepath.Join(w.dir, fmt.Sprintf("left-%d", len(w.left)))
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	w.left = append(w.left, to)
	return nil
}

// row is one record of a changelog.
type row struct {
	offset  int64
	key     string
	value   uint64 // a hash
	deleted bool
}

var hashSeed = maphash.MakeSeed()

// compareTables compares all copies with the changelogs, and removes those that
// are right. It returns how many tables it compared.
func (w *world) compareTables(ctx context.Context) (tables int, err error) {
	if len(w.left) == 0 {
		return 0, nil
	}
	logs, err := w.changelogs(ctx)
	if err != nil {
		return 0, err
	}
	for _, dir := range w.left {
		n, err := w.compareCopy(dir, logs)
		if err != nil {
			return tables, fmt.Errorf("%s: %w", filepath.Base(dir), err)
		}
		tables += n
		if err := os.RemoveAll(dir); err != nil {
			return tables, err
		}
	}
	w.left = nil
	return tables, nil
}

type changelog struct {
	topic     string
	partition int32
}

// changelogs reads all tables' topics, as a reader of committed records does.
func (w *world) changelogs(ctx context.Context) (map[changelog][]row, error) {
	var topics []string
	for _, s := range w.cat.All() {
		if strings.HasSuffix(s.Topic, "-table") {
			topics = append(topics, s.Topic)
		}
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	left, logs := map[changelog]int64{}, map[changelog][]row{}
	ends.Each(func(o kadm.ListedOffset) {
		logs[changelog{o.Topic, o.Partition}] = nil // nothing there, nothing on a disk
		if o.Offset > 0 {
			left[changelog{o.Topic, o.Partition}] = o.Offset
		}
	})
	if err := ends.Error(); err != nil {
		return nil, err
	}
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading the tables' topics: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := changelog{r.Topic, r.Partition}
			if !r.Attrs.IsControl() {
				logs[at] = append(logs[at], row{r.Offset, string(r.Key), maphash.Bytes(hashSeed, r.Value), r.Value == nil})
			}
			if r.Offset+1 >= left[at] {
				delete(left, at)
			}
		})
	}
	return logs, nil
}

func (w *world) compareCopy(dir string, logs map[changelog][]row) (tables int, err error) {
	db, err := state.Open(dir, nil)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if db.Rebuilt() != "" && w.damaged {
		return 0, nil
	}
	if why := db.Rebuilt(); why != "" {
		return 0, fmt.Errorf("damaged, and by no fault: %s", why)
	}
	for at, rows := range logs {
		err := compareTable(db, at, rows)
		if state.IsCorrupt(err) && w.damaged {
			continue
		}
		if err != nil {
			return tables, err
		}
		tables++
	}
	return tables, nil
}

func compareTable(db *state.DB, at changelog, rows []row) error {
	t, err := db.Table("group", at.topic, at.partition, state.Options{})
	if err != nil {
		return err
	}
	offset, err := t.GetOffset(-1)
	if err != nil {
		return err
	}
	want := map[string]uint64{}
	for _, r := range rows {
		switch {
		case r.offset > offset:
		case r.deleted:
			delete(want, r.key)
		default:
			want[r.key] = r.value
		}
	}
	it, err := t.Iterator()
	if err != nil {
		return err
	}
	defer it.Release()
	for it.Next() {
		value, err := it.Value()
		if err != nil {
			return err
		}
		key := string(it.Key())
		if hash, ok := want[key]; !ok || hash != maphash.Bytes(hashSeed, value) {
			return fmt.Errorf("%s/%d at offset %d: row %q is not what the changelog says up to there", at.topic, at.partition, offset, key)
		}
		delete(want, key)
	}
	if err := it.Err(); err != nil {
		return err
	}
	for key := range want {
		return fmt.Errorf("%s/%d at offset %d: row %q is missing", at.topic, at.partition, offset, key)
	}
	return nil
}

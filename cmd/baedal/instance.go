package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"baedal/processors"
	"baedal/stream"
)

// instance is what DATA/instance-id says: the name of the instance that the
// directory belongs to, and which directory it was written into.
type instance struct {
	id string
	// directory is the same for the same directory for as long as its file system
	// is there, kernel for as long as the machine runs. With both, the lock of the
	// directory keeps a second process out. Without, it may be a copy.
	directory, kernel string
}

func instancePath(dir string) string { return filepath.Join(dir, "instance-id") }

// readInstance returns what is written in a directory, which is nothing at the
// first start, and in older ones the id alone.
func readInstance(dir string) (i instance, err error) {
	data, err := os.ReadFile(instancePath(dir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return i, err
	}
	for n, line := range strings.Split(string(data), "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch {
		case n == 0:
			i.id = strings.TrimSpace(line)
		case name == "directory":
			i.directory = value
		case name == "kernel":
			i.kernel = value
		}
	}
	return i, nil
}

// write keeps what is there whole until the new one is.
func (i instance) write(dir string) error {
	text := fmt.Sprintf("%s\ndirectory %s\nkernel %s\n", i.id, i.directory, i.kernel)
	path := instancePath(dir)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// vanishing is how long a member may still be known when its session is over.
const vanishing = 2 * time.Second

// instanceID returns the name of the instance that the data directory belongs
// to. It is made at the first start. A directory that is not the one in which it
// was written may be a copy whose original still runs, which would be shut out
// as soon as anything here used the name: groups, transactions. So the groups are
// asked first. A member that was killed vanishes when its session times out; one
// that stays is alive.
func (p *process) instanceID(ctx context.Context, cfg stream.Config) (string, error) {
	dir := p.dataDir
	was, err := readInstance(dir)
	if err != nil {
		return "", err
	}
	now := instance{id: was.id}
	if now.directory, now.kernel, err = whichDirectory(dir); err != nil {
		return "", err
	}
	switch {
	case was.id == "":
		now.id = uuid.NewString()
		return now.id, now.write(dir)
	case was == now:
		return was.id, nil
	case len(p.runs) == 0: // it joins no group, and leaves the question to who does
		return was.id, nil
	case !p.embedded: // nobody else is in the groups of a broker that has just started
		if err := p.untilAlone(ctx, cfg, was.id); err != nil {
			return "", err
		}
	}
	if was.directory != "" && was.directory != now.directory {
		// Copies that start at the same moment are all alone. With names of their
		// own they do not meet.
		now.id = uuid.NewString()
		p.log.Info("the data directory was copied, moved or restored: from now on it is an instance of its own", "instance", now.id, "was", was.id)
	}
	return now.id, now.write(dir)
}

// untilAlone blocks until no member of the groups has a name.
func (p *process) untilAlone(ctx context.Context, cfg stream.Config, id string) error {
	var groups []string
	for _, name := range p.runs {
		groups = append(groups, p.catalog.Group(name))
	}
	limit := cfg.WithDefaults().SessionTimeout + vanishing
	deadline := time.Now().Add(limit)
	for told := false; ; {
		asking, cancel := context.WithTimeout(ctx, limit)
		all, err := stream.Members(asking, cfg, groups...)
		cancel()
		at := slices.IndexFunc(all, func(m stream.Member) bool { return m.InstanceID == id })
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && at < 0:
			return nil
		case time.Now().After(deadline) && err != nil:
			return fmt.Errorf("whether another process runs as this instance is not known: %w", err)
		case time.Now().After(deadline):
			return fmt.Errorf("another process runs as this instance: %s is a member of group %s at %s, and %s is a copy of its data directory: delete %s in the copy, or stop the other process",
				id, all[at].Group, all[at].Host, p.dataDir, instancePath(p.dataDir))
		case !told && err == nil:
			told = true
			p.log.Info("the data directory was copied, moved or restored: waiting until nobody runs as its instance", "instance", id, "at most", limit, "group", all[at].Group, "host", all[at].Host)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// agreed are the settings on which instances that share groups must agree, as
// each of them decides on orders of all.
func (s *settings) agreed(r processors.Settings) map[string]string {
	var deadlines []string
	for status, d := range r.Orders.Deadlines {
		deadlines = append(deadlines, fmt.Sprintf("%s=%s", status, d))
	}
	slices.Sort(deadlines)
	all := map[string]string{
		"deadline":      strings.Join(deadlines, ","),
		"refund-window": r.Orders.RefundWindow.String(),
		"keep-orders":   r.Orders.Keep.String(),
		"dispatch":      s.dispatch,
		"rider-speed":   strconv.FormatFloat(s.riderSpeed, 'g', -1, 64),
		"gateway":       s.gateway,
		"language":      s.language,
		"partitions":    strconv.Itoa(s.partitions),
	}
	if v := programVersion(); v != "" {
		all["version"] = v
	}
	return all
}

// programVersion names the rules that this program has, where it knows it.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return ""
}

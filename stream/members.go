package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// memberData is what a member of a group tells the others of itself, as the user
// data of its subscription.
type memberData struct {
	Who       string            `json:"who"`   // the process
	Since     int64             `json:"since"` // when it started, in nanoseconds
	Guarantee Guarantee         `json:"guarantee"`
	Settings  map[string]string `json:"settings,omitempty"`
}

// older reports whether a process gives way to another one.
func (d memberData) older(than memberData) bool {
	return cmp.Or(cmp.Compare(d.Since, than.Since), cmp.Compare(d.Who, than.Who)) < 0
}

func (c Config) memberData() memberData {
	return memberData{Who: c.who, Since: c.since, Guarantee: c.Guarantee, Settings: c.Agree}
}

func (c Config) userData() []byte {
	data, err := json.Marshal(c.memberData())
	if err != nil { // strings and numbers always can be
		panic(err)
	}
	return data
}

// Member is a member of a group, as the brokers know it. One that was killed is
// a member until its session times out.
type Member struct {
	Group      string
	InstanceID string // "" where it has none
	Host       string

	data *memberData // nil where it says nothing of itself
}

func (m Member) String() string {
	return fmt.Sprintf("instance %s at %s", cmp.Or(m.InstanceID, "without a name"), m.Host)
}

// Members returns the members of groups.
func Members(ctx context.Context, c Config, groups ...string) ([]Member, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.WithLogger(clientLogger{cmp.Or(c.Logger, slog.Default())}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	all, _, err := members(ctx, kadm.NewClient(client), groups...)
	return all, err
}

// members also reports whether all have said what they say of themselves: during
// a rebalance the brokers keep it back.
func members(ctx context.Context, admin *kadm.Client, groups ...string) (all []Member, told bool, err error) {
	described, err := admin.DescribeGroups(ctx, groups...)
	if err != nil {
		return nil, false, fmt.Errorf("asking who is in the groups: %w", err)
	}
	told = true
	for _, g := range described.Sorted() {
		if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
			return nil, false, fmt.Errorf("asking who is in group %s: %w", g.Group, g.Err)
		}
		told = told && (len(g.Members) == 0 || g.State == "Stable")
		for _, m := range g.Members {
			one := Member{Group: g.Group, Host: m.ClientHost}
			if m.InstanceID != nil {
				one.InstanceID = *m.InstanceID
			}
			if sub, ok := m.Join.AsConsumer(); ok {
				var d memberData
				if json.Unmarshal(sub.UserData, &d) == nil && d.Who != "" {
					one.data = &d
				}
			}
			all = append(all, one)
		}
	}
	return all, told, nil
}

// others returns the members that are other processes and say what they are.
func (e *Engine) others(all []Member) []Member {
	return slices.DeleteFunc(all, func(m Member) bool {
		return m.data == nil || m.data.Who == e.cfg.who || e.cfg.InstanceID != "" && m.InstanceID == e.cfg.InstanceID
	})
}

const (
	membersPatience = time.Second            // with a rebalance, before joining
	membersEvery    = 15 * time.Second       // as one may be started again without a rebalance
	membersSoon     = 500 * time.Millisecond // after a rebalance
)

// Check returns an error when a group has a member with another guarantee: both
// would read what the other one must not have written. It is asked before the
// groups are joined, also by Run.
func (e *Engine) Check(ctx context.Context) error {
	if len(e.groups) == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(e.cfg.Brokers...), kgo.ClientID(e.cfg.ClientID), kgo.WithLogger(clientLogger{e.cfg.Logger}))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, membersPatience)
	defer cancel()
	for {
		all, told, err := members(ctx, kadm.NewClient(client), e.names()...)
		for _, m := range e.others(all) {
			if m.data.Guarantee != e.cfg.Guarantee {
				return e.conflict(m)
			}
		}
		if told && err == nil || errors.Is(err, kerr.GroupAuthorizationFailed) { // which the preflight says
			e.checked = true
			return nil
		}
		select {
		case <-time.After(reachTick):
		case <-ctx.Done():
			return nil // it is looked at again once the groups are joined
		}
	}
}

func (e *Engine) names() (all []string) {
	for _, g := range e.groups {
		all = append(all, g.group)
	}
	return all
}

func (e *Engine) conflict(m Member) error {
	return &Fault{m.Group, fmt.Errorf("its member %s has the guarantee %s, and this one %s", m, m.data.Guarantee, e.cfg.Guarantee),
		fmt.Sprintf("give this one the guarantee %s, too, or stop all others first (one that was killed is a member until its session times out)", m.data.Guarantee)}
}

// joined tells that a group has got its partitions.
func (e *Engine) joined() {
	select {
	case e.rebalanced <- struct{}{}:
	default:
	}
}

// compareSettings looks, until ctx is done, whether the members of the groups
// agree. It warns once of each setting in which another one differs. Of two with
// different guarantees, that have joined at the same time, the younger one ends.
func (e *Engine) compareSettings(ctx context.Context, admin *kadm.Client) error {
	warned := map[[3]string]bool{}
	next := time.NewTimer(membersEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.rebalanced:
			next.Reset(membersSoon)
			continue
		case <-next.C:
		}
		next.Reset(membersEvery)
		if e.cfg.Reach.Err() != nil {
			continue
		}
		all, told, err := members(ctx, admin, e.names()...)
		if err != nil {
			e.cfg.Logger.Debug("comparing settings with the other instances", "error", err)
			continue
		}
		if !told {
			next.Reset(membersSoon)
		}
		if err := e.compare(e.others(all), warned, told); err != nil {
			return err
		}
	}
}

func (e *Engine) compare(others []Member, warned map[[3]string]bool, told bool) error {
	differ := map[[3]string]bool{}
	for _, m := range others {
		if m.data.Guarantee != e.cfg.Guarantee && m.data.older(e.cfg.memberData()) {
			return e.conflict(m)
		}
		for _, name := range slices.Sorted(maps.Keys(e.cfg.Agree)) {
			here := e.cfg.Agree[name]
			there, known := m.data.Settings[name]
			if !known || here == there {
				continue
			}
			what := [3]string{m.data.Who, name, there}
			if !warned[what] {
				e.cfg.Logger.Warn("instances that share groups differ in a setting: which one decides on an order is chance: give all the same",
					"setting", name, "here", here, "there", there, "instance", m.InstanceID, "host", m.Host, "group", m.Group)
			}
			warned[what], differ[what] = true, true
		}
	}
	if told { // what is mended is said again when it comes back
		maps.DeleteFunc(warned, func(what [3]string, _ bool) bool { return !differ[what] })
	}
	return nil
}

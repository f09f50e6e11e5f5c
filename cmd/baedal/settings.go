package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/processors"
	"baedal/topics"
)

// settings is what the flags say.
type settings struct {
	brokers    []string
	prefix     string
	partitions int

	dataDir     string
	http        string
	kafkaListen string
	groups      []string
	noSync      bool
	demo        bool

	guarantee       string
	commitInterval  time.Duration
	sessionTimeout  time.Duration
	shutdownTimeout time.Duration
	replication     int
	standby         int

	deadlines    []string
	refundWindow time.Duration
	keepOrders   time.Duration
	dispatch     string
	riderSpeed   float64
	gateway      string
	language     string

	logFormat string
	logLevel  string
	pprof     string
}

// clusterFlags say which installation is meant.
func (s *settings) clusterFlags(f *pflag.FlagSet, brokers string) {
	f.StringSliceVar(&s.brokers, "brokers", nil, brokers)
	f.StringVar(&s.prefix, "prefix", "", "what stands in front of every topic and group, where installations share a cluster")
	f.IntVar(&s.partitions, "partitions", 8, "partitions of every stream and table; can't be changed later")
}

func (s *settings) logFlags(f *pflag.FlagSet) {
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
}

// processFlags are of a process that goes on until it is told to stop.
func (s *settings) processFlags(f *pflag.FlagSet) {
	s.logFlags(f)
	f.StringVar(&s.dataDir, "data-dir", "./data", "where this process keeps what it must find again; one process at a time")
	f.DurationVar(&s.shutdownTimeout, "shutdown-timeout", 30*time.Second, "how long draining may take before the process quits; nothing is lost then either")
	f.StringVar(&s.pprof, "pprof", "", "host:port to serve Go's profiles on; none: not at all")
	f.IntVar(&s.replication, "replication", 0, "replicas of the topics that are created; 0 leaves it to the brokers")
}

func (s *settings) httpFlags(f *pflag.FlagSet) {
	f.StringVar(&s.http, "http", "127.0.0.1:8080", "host:port of the HTTP server; port 0 takes a free one")
}

// engineFlags shape the lives of orders.
func (s *settings) engineFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.deadlines, "deadline", nil, "STATUS=DURATION, repeatable: how long an order waits in a status (in BAEDAL_DEADLINE separated by commas)")
	f.DurationVar(&s.refundWindow, "refund-window", order.DefaultSettings().RefundWindow, "how long after the delivery a refund may be asked for")
	f.DurationVar(&s.keepOrders, "keep-orders", order.DefaultSettings().Keep, "how long final orders are kept")
	f.StringVar(&s.dispatch, "dispatch", string(dispatch.Assign), "assign: the engine chooses the rider; claim: riders claim; hybrid: both")
	f.Float64Var(&s.riderSpeed, "rider-speed", dispatch.CruiseSpeed, "metres per second that a rider makes, for arrival times")
	f.StringVar(&s.gateway, "gateway", "approve", "the simulated payment gateway: approve, or such as decline-over=50000,fail-rate=0.1,latency=50ms")
	f.StringVar(&s.language, "language", string(notification.English), "of the notifications: en or ko")
	f.StringVar(&s.guarantee, "guarantee", "", "at-least-once or exactly-once (default: exactly-once on Kafka, at-least-once on the embedded broker)")
	f.DurationVar(&s.commitInterval, "commit-interval", 100*time.Millisecond, "time between commits: shorter costs requests, longer costs repeats after a crash")
	f.IntVar(&s.standby, "standby", 0, "1: follow the tables of the groups, so that partitions of a lost instance are taken over without reading them from the start")
	f.DurationVar(&s.sessionTimeout, "session-timeout", 10*time.Second, "how long a silent instance keeps its partitions")
}

// catalog returns the topics of the installation.
func (s *settings) catalog() (*topics.Catalog, error) {
	if s.partitions < 1 || s.partitions > 10_000 {
		return nil, usage("--partitions must be from 1 to 10000")
	}
	if strings.ContainsFunc(s.prefix, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) || len(s.prefix) > 100 {
		return nil, usage("--prefix %q: at most 100 letters, digits, '.', '_' and '-'", s.prefix)
	}
	return topics.New(s.prefix, s.partitions), nil
}

// rules returns what the groups decide by.
func (s *settings) rules() (processors.Settings, error) {
	r := processors.Settings{Orders: order.DefaultSettings(), Payments: payment.DefaultSettings()}
	r.Orders.RefundWindow, r.Orders.Keep = s.refundWindow, s.keepOrders
	for _, d := range s.deadlines {
		for one := range strings.SplitSeq(d, ",") {
			if err := r.Orders.SetDeadline(one); err != nil {
				return r, usage("--deadline %v", err)
			}
		}
	}
	if s.keepOrders <= 0 || s.refundWindow < 0 {
		return r, usage("--keep-orders must be above 0 and --refund-window not below")
	}
	if s.commitInterval <= 0 || s.sessionTimeout < time.Second {
		return r, usage("--commit-interval must be above 0 and --session-timeout 1s or more")
	}
	if s.standby != 0 && s.standby != 1 {
		return r, usage("--standby must be 0 or 1")
	}
	if !(s.riderSpeed > 0) {
		return r, usage("--rider-speed must be above 0")
	}
	r.Payments.Keep = r.Orders.Longest()
	var err error
	if r.Language, err = notification.ParseLanguage(s.language); err != nil {
		return r, usage("--language: %v", err)
	}
	mode, err := dispatch.ParseMode(s.dispatch)
	if err != nil {
		return r, usage("--dispatch: %v", err)
	}
	r.Planner = dispatch.Planner{Policy: dispatch.Nearest{}, Travel: dispatch.Cruise(s.riderSpeed), Mode: mode}
	if r.Gateway, err = payment.ParseSimulated(s.gateway); err != nil {
		return r, usage("--gateway: %v", err)
	}
	return r, nil
}

// chosen returns the groups to run.
func (s *settings) chosen() ([]string, error) {
	if len(s.groups) == 0 {
		return topics.Groups, nil
	}
	for _, g := range s.groups {
		if !slices.Contains(topics.Groups, g) {
			return nil, usage("--groups: %q is no group: one of %s", g, strings.Join(topics.Groups, ", "))
		}
	}
	return s.groups, nil
}

// logger writes to w what the process has to say.
func (s *settings) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, usage("--log-level %q: debug, info, warn or error", s.logLevel)
	}
	switch s.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, usage("--log-format %q: text or json", s.logFormat)
}

// inForce lists the settings for the log at start.
func inForce(f *pflag.FlagSet) (all []any) {
	f.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			all = append(all, slog.String(f.Name, fmt.Sprint(f.Value)))
		}
	})
	return all
}

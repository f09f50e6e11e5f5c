package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"baedal/audit"
	"baedal/deadletters"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/processors"
	"baedal/sim"
	"baedal/stream"
	"baedal/topics"
)

// settings is what the flags of a command say. Nothing is done with them before
// settle has judged them.
type settings struct {
	role       role
	brokers    []string
	prefix     string
	partitions int

	dataDir     string
	http        string
	corsOrigins []string
	httpRate    int
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

	// Of those who visit an installation.
	format   string
	formats  []string // that there are
	load     sim.LoadOptions
	overHTTP string // load talks to the API there
	replay   sim.ReplayOptions
	audit    audit.Options
	only     []string
	limit    int
	letters  deadletters.ReplayOptions
	all      bool
}

// role is how a command needs brokers.
type role int

const (
	ownsBroker role = iota // unless it is given some
	needsBrokers
	visitsBrokers // by default on this machine
)

// clusterFlags say which installation is meant.
func (s *settings) clusterFlags(f *pflag.FlagSet, brokers string) {
	f.StringSliceVar(&s.brokers, "brokers", nil, brokers)
	s.prefixFlag(f)
	f.IntVar(&s.partitions, "partitions", 8, "partitions of every stream and table; can't be changed later")
}

func (s *settings) prefixFlag(f *pflag.FlagSet) {
	f.StringVar(&s.prefix, "prefix", "", "what stands in front of every topic and group, where installations share a cluster")
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
	f.StringSliceVar(&s.corsOrigins, "cors-origin", nil, "origins of web pages that may call the API, such as https://shop.example; * is any")
	f.IntVar(&s.httpRate, "http-rate", 0, "most requests of one client address within a second; 0: as many as they send")
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
func (s *settings) catalog() *topics.Catalog { return topics.New(s.prefix, s.partitions) }

// embeds reports whether the process has a broker of its own.
func (s *settings) embeds() bool { return s.role == ownsBroker && len(s.brokers) == 0 }

// rules returns what the groups decide by, and all that is wrong with it.
func (s *settings) rules() (processors.Settings, error) {
	var wrong []error
	note := func(flag string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	r := processors.Settings{Orders: order.DefaultSettings(), Payments: payment.DefaultSettings()}
	r.Orders.RefundWindow, r.Orders.Keep = s.refundWindow, s.keepOrders
	for _, d := range s.deadlines {
		note("deadline", r.Orders.SetDeadline(d))
	}
	r.Payments.Keep = r.Orders.Longest()
	var err error
	r.Language, err = notification.ParseLanguage(s.language)
	note("language", err)
	mode, err := dispatch.ParseMode(s.dispatch)
	note("dispatch", err)
	r.Planner = dispatch.Planner{Policy: dispatch.Nearest{}, Travel: dispatch.Cruise(s.riderSpeed), Mode: mode}
	gateway, err := payment.ParseSimulated(s.gateway)
	note("gateway", err)
	r.Gateway = gateway
	return r, errors.Join(wrong...)
}

// promise returns the guarantee: by default the one that holds. The embedded
// broker lives and dies with its one process, so there is no zombie there, and
// a kill may hit it in the middle of the end of a transaction.
func (s *settings) promise() (stream.Guarantee, error) {
	if s.guarantee == "" {
		if s.embeds() {
			return stream.AtLeastOnce, nil
		}
		return stream.ExactlyOnce, nil
	}
	g, err := stream.ParseGuarantee(s.guarantee)
	if err != nil {
		return "", fmt.Errorf("--guarantee: %w", err)
	}
	if g == stream.ExactlyOnce && s.embeds() {
		return "", errors.New("--guarantee exactly-once needs Kafka (--brokers): a kill of the embedded broker in the middle of a commit would leave a transaction that never ends")
	}
	return g, nil
}

// chosen returns the groups to run.
func (s *settings) chosen() []string {
	if len(s.groups) == 0 {
		return topics.Groups
	}
	return s.groups
}

// logger writes to w what the process has to say.
func (s *settings) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: debug, info, warn or error", s.logLevel)
	}
	switch s.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, fmt.Errorf("--log-format %q: text or json", s.logFormat)
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

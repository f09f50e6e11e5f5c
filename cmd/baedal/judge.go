package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"baedal/api"
	"baedal/broker"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/processors"
	"baedal/stream"
	"baedal/topics"
)

// judged makes a command judge its settings before it does anything.
func (s *settings) judged(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.settle(cmd.Flags()); err != nil {
			return usageError{err}
		}
		if s.role == visitsBrokers {
			words := time.Duration(0)
			if n := cmd.Name(); n == "load" || n == "replay" { // also of dead letters
				words = lastWords
			}
			return visit(cmd.Context(), words, func() error { return run(cmd, args) })
		}
		return run(cmd, args)
	}
	return cmd
}

// settle completes the settings of a command from the environment and judges them,
// all together: the error names every mistake.
func (s *settings) settle(f *pflag.FlagSet) error {
	named, unread := fromEnvironment(f)
	s.tidy()
	return errors.Join(unread, s.validate(f, named))
}

// fromEnvironment sets every flag that was not given from BAEDAL_FLAG. It returns
// the variables that were used, by flag.
func fromEnvironment(flags *pflag.FlagSet) (named map[string]string, err error) {
	named = map[string]string{}
	var wrong []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f.Name)
		v, ok := os.LookupEnv(name)
		if v == "" && f.Value.Type() == "stringArray" { // as it is with lists
			return
		}
		if ok && !f.Changed && f.Name != "help" {
			if err := flags.Set(f.Name, v); err != nil {
				wrong = append(wrong, fmt.Errorf("%s=%q: %w", name, v, err))
				_ = flags.Set(f.Name, f.DefValue) // said once is enough
			}
			named[f.Name] = name
		}
	})
	return named, errors.Join(wrong...)
}

// variable is the name of a flag in the environment.
func variable(flag string) string {
	return "BAEDAL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// tidy removes the blanks and the scheme that lists are often written with. What is
// empty then stays, to be named by validate.
func (s *settings) tidy() {
	s.brokers = trimmed(s.brokers)
	for i, b := range s.brokers {
		if scheme, rest, ok := strings.Cut(b, "://"); ok && strings.EqualFold(scheme, "plaintext") {
			s.brokers[i] = rest
		}
	}
	s.groups = trimmed(s.groups)
	var deadlines []string
	for _, d := range s.deadlines {
		for one := range strings.SplitSeq(d, ",") {
			deadlines = append(deadlines, strings.Join(trimmed(strings.SplitN(one, "=", 2)), "="))
		}
	}
	s.deadlines = deadlines
	if s.role == visitsBrokers && len(s.brokers) == 0 {
		s.brokers = []string{"127.0.0.1:9092"}
	}
}

func trimmed(list []string) []string {
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// longest is what a duration may be: sums of several stay far below what a
// time.Duration holds.
const longest = 10 * 365 * 24 * time.Hour

// Bounds of what a flag of a type may be, for every command that has it.
var (
	durations = []struct {
		flag        string
		least, most time.Duration
	}{
		{"shutdown-timeout", 100 * time.Millisecond, time.Hour},
		{"commit-interval", time.Millisecond, time.Minute},
		{"session-timeout", time.Second, 30 * time.Minute},
		{"refund-window", 0, longest},
		{"keep-orders", time.Second, longest},
		{"duration", 0, longest},
		{"cooking-time", 0, 24 * time.Hour},
		{"warm-up", 0, longest},
		{"timeout", 0, longest},
		{"settle", 0, longest},
		{"slack", 0, longest},
	}
	numbers = []struct {
		flag        string
		least, most int
	}{
		{"partitions", 1, 10_000},
		{"replication", 0, math.MaxInt16},
		{"standby", 0, 1},
		{"http-rate", 0, 1_000_000},
		{"limit", 0, math.MaxInt32},
		{"orders", 0, 1_000_000_000},
		{"in-flight", 0, 1_000_000},
		{"stores", 0, 100_000},
		{"areas", 0, 100_000},
		{"riders", 0, 1_000_000},
	}
	fractions = []struct {
		flag        string
		least, most float64
	}{
		{"rider-speed", 0.1, 1_000_000},
		{"rate", 0, 1_000_000},
		{"speed", 0.001, 1_000_000},
	}
)

// rules are what else holds of settings, alone and together. A rule is for the
// commands that have all of its flags.
var rules = []struct {
	flags string
	judge func(s *settings, f *pflag.FlagSet) error
}{
	{"brokers", func(s *settings, _ *pflag.FlagSet) error { return s.judgeBrokers() }},
	{"prefix", func(s *settings, _ *pflag.FlagSet) error {
		if strings.ContainsFunc(s.prefix, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
		}) || len(s.prefix) > 100 {
			return fmt.Errorf("--prefix %q: at most 100 letters, digits, '.', '_' and '-'", s.prefix)
		}
		return nil
	}},
	{"log-format log-level", func(s *settings, _ *pflag.FlagSet) error {
		_, err := s.logger(nil)
		return err
	}},
	{"format", func(s *settings, _ *pflag.FlagSet) error {
		if !slices.Contains(s.formats, s.format) {
			return fmt.Errorf("--format %q: %s", s.format, alternatives(s.formats))
		}
		return nil
	}},
	{"data-dir", func(s *settings, _ *pflag.FlagSet) error { return judgeDir(s.dataDir) }},
	{"http", func(s *settings, f *pflag.FlagSet) error {
		if s.http == "" && f.Lookup("http").DefValue == "" {
			return nil
		}
		return judgeAddress("http", s.http)
	}},
	{"cors-origin", func(s *settings, _ *pflag.FlagSet) error {
		for _, o := range s.corsOrigins {
			if err := api.CheckOrigin(o); err != nil {
				return fmt.Errorf("--cors-origin %q: must be as browsers spell an origin, such as https://shop.example or http://localhost:5173: %w", o, err)
			}
		}
		return nil
	}},
	{"pprof", func(s *settings, _ *pflag.FlagSet) error {
		if s.pprof == "" {
			return nil
		}
		return judgeAddress("pprof", s.pprof)
	}},
	{"kafka-listen", func(s *settings, f *pflag.FlagSet) error {
		if !s.embeds() {
			return nil
		}
		if err := judgeAddress("kafka-listen", s.kafkaListen); err != nil {
			return err
		}
		return broker.Options{Memory: true, Listen: s.kafkaListen}.Validate()
	}},
	{"kafka-listen brokers", ofTheEmbedded("kafka-listen")},
	{"no-sync brokers", ofTheEmbedded("no-sync")},
	{"http pprof", different("http", "pprof")},
	{"http kafka-listen", different("http", "kafka-listen")},
	{"pprof kafka-listen", different("pprof", "kafka-listen")},
	{"replication kafka-listen", func(s *settings, _ *pflag.FlagSet) error {
		if s.embeds() && s.replication > 1 {
			return fmt.Errorf("--replication %d needs Kafka (--brokers): the embedded broker is one", s.replication)
		}
		return nil
	}},
	{"groups", func(s *settings, _ *pflag.FlagSet) error { return s.judgeGroups() }},
	{"deadline dispatch gateway language", func(s *settings, _ *pflag.FlagSet) error {
		_, err := s.rules()
		return err
	}},
	{"deadline", func(s *settings, _ *pflag.FlagSet) error { return s.judgeDeadlines() }},
	{"gateway", func(s *settings, _ *pflag.FlagSet) error {
		if g, _ := payment.ParseSimulated(s.gateway); g != nil && g.Latency >= processors.GatewayPatience {
			return fmt.Errorf("--gateway latency=%s: no call could succeed, as one is given up after %s", g.Latency, processors.GatewayPatience)
		}
		return nil
	}},
	{"keep-orders refund-window", func(s *settings, _ *pflag.FlagSet) error {
		if s.keepOrders < s.refundWindow {
			return fmt.Errorf("--keep-orders %s is shorter than --refund-window %s: an order would be forgotten while its refund may still be asked for", s.keepOrders, s.refundWindow)
		}
		return nil
	}},
	{"keep-orders session-timeout commit-interval", func(s *settings, _ *pflag.FlagSet) error {
		if least := s.sessionTimeout + s.commitInterval; s.keepOrders <= least {
			return fmt.Errorf("--keep-orders %s must be longer than --session-timeout and --commit-interval together (%s): a command that waits while a lost instance is replaced would be too old", s.keepOrders, least)
		}
		return nil
	}},
	{"guarantee commit-interval", func(s *settings, _ *pflag.FlagSet) error {
		g, err := s.promise()
		if most := stream.TransactionTimeout / 2; err == nil && g == stream.ExactlyOnce && s.commitInterval > most {
			return fmt.Errorf("--commit-interval %s is too long for exactly-once, where each is a transaction of at most %s: take %s or less, or --guarantee at-least-once",
				s.commitInterval, stream.TransactionTimeout, most)
		}
		return err
	}},
	{"guarantee commit-interval deadline", func(s *settings, _ *pflag.FlagSet) error { return s.judgeHops() }},
	{"demo dispatch", func(s *settings, _ *pflag.FlagSet) error {
		if s.demo && s.dispatch == "claim" {
			return errors.New("--demo with --dispatch claim: the riders of the town claim nothing: take hybrid or assign")
		}
		return nil
	}},
	{"orders duration stores areas riders", func(s *settings, _ *pflag.FlagSet) error {
		if s.load.Stores > 100_000 || s.load.Areas > 100_000 { // said by its bounds; what is derived from it would be nonsense
			return nil
		}
		return s.load.Validate()
	}},
	{"cooking-time timeout", func(s *settings, _ *pflag.FlagSet) error {
		if most := cmp.Or(s.load.Timeout, 30*time.Second); s.load.CookingTime >= most {
			return fmt.Errorf("--cooking-time %s must be shorter than --timeout %s, after which the run is given up", s.load.CookingTime, most)
		}
		return nil
	}},
	{"over-http", func(s *settings, _ *pflag.FlagSet) error {
		if s.overHTTP == "" {
			return nil
		}
		if u, err := url.Parse(s.overHTTP); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("--over-http %q is no address of an API such as http://127.0.0.1:8080", s.overHTTP)
		}
		if s.load.Rate != 0 || s.load.ManualShare != 0 || s.load.CancelShare != 0 {
			return errors.New("--over-http knows no --rate, --manual-share and --cancel-rate: leave them out")
		}
		return nil
	}},
	{"warm-up duration", func(s *settings, _ *pflag.FlagSet) error {
		if s.load.Duration > 0 && s.load.WarmUp >= s.load.Duration {
			return fmt.Errorf("--warm-up %s must be shorter than --duration %s, or nothing is measured", s.load.WarmUp, s.load.Duration)
		}
		return nil
	}},
	{"guarantee settle slack", func(s *settings, _ *pflag.FlagSet) error {
		limited := s.audit
		limited.Settle, limited.Slack = 0, 0 // have their bounds above
		return limited.Validate()
	}},
	{"only", func(s *settings, _ *pflag.FlagSet) error {
		if _, err := s.wanted(); err != nil {
			return fmt.Errorf("--only: %w", err)
		}
		return nil
	}},
	{"all only", func(s *settings, _ *pflag.FlagSet) error {
		if s.all == (len(s.only) > 0) {
			return errors.New("replay which? Either --all, or --only KEY=VALUE")
		}
		return nil
	}},
}

// validate returns all that is wrong with the settings that a command has. A
// mistake names the variable where a value came from the environment.
func (s *settings) validate(f *pflag.FlagSet, named map[string]string) error {
	var wrong []error
	note := func(err error, flags ...string) {
		var from []string
		for _, name := range flags {
			if v := named[name]; v != "" && err != nil && strings.Contains(err.Error(), "--"+name) {
				from = append(from, v)
			}
		}
		if err != nil && len(from) > 0 {
			err = fmt.Errorf("%w (set by %s)", err, strings.Join(from, ", "))
		}
		wrong = append(wrong, err)
	}
	for _, b := range durations {
		if f.Lookup(b.flag) != nil {
			d, err := f.GetDuration(b.flag)
			if d < b.least || d > b.most {
				err = fmt.Errorf("--%s %s must be from %s to %s", b.flag, d, short(b.least), short(b.most))
			}
			note(err, b.flag)
		}
	}
	for _, b := range numbers {
		if f.Lookup(b.flag) != nil {
			n, err := f.GetInt(b.flag)
			if n < b.least || n > b.most {
				err = fmt.Errorf("--%s %d must be from %d to %d", b.flag, n, b.least, b.most)
			}
			note(err, b.flag)
		}
	}
	for _, b := range fractions {
		if f.Lookup(b.flag) != nil {
			x, err := f.GetFloat64(b.flag)
			if !(x >= b.least && x <= b.most) {
				err = fmt.Errorf("--%s %v must be from %v to %.0f", b.flag, x, b.least, b.most)
			}
			note(err, b.flag)
		}
	}
	for _, r := range rules {
		flags := strings.Fields(r.flags)
		if !slices.ContainsFunc(flags, func(name string) bool { return f.Lookup(name) == nil }) {
			note(r.judge(s, f), flags...)
		}
	}
	return errors.Join(wrong...)
}

// short is a duration without the zeros behind it.
func short(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "0s")
	if text = strings.TrimSuffix(text, "0m"); text == "" || text != d.String() && !strings.HasSuffix(text, "h") && !strings.HasSuffix(text, "m") {
		return d.String()
	}
	return text
}

func (s *settings) judgeBrokers() error {
	if s.role == needsBrokers && len(s.brokers) == 0 {
		return errors.New("--brokers is missing: host:port of Kafka brokers ('baedal up' has one of its own)")
	}
	var wrong []error
	for _, b := range s.brokers {
		scheme, _, has := strings.Cut(b, "://")
		switch {
		case b == "":
			wrong = append(wrong, errors.New("--brokers: an address is empty: host:port, separated by commas"))
		case has:
			wrong = append(wrong, fmt.Errorf("--brokers: %q: host:port without %s://, and only brokers that speak neither TLS nor SASL", b, scheme))
		default:
			wrong = append(wrong, judgeAddress("brokers", b))
			if host, port, err := net.SplitHostPort(b); err == nil && (host == "" || port == "0") {
				wrong = append(wrong, fmt.Errorf("--brokers: %q names no broker: host:port, like 127.0.0.1:9092", b))
			}
		}
	}
	return errors.Join(wrong...)
}

// judgeAddress says what is wrong with a host:port. The host may be empty.
func judgeAddress(flag, text string) error {
	host, port, err := net.SplitHostPort(text)
	n, e := strconv.Atoi(port)
	switch {
	case err != nil && strings.Count(text, ":") > 1 && !strings.Contains(text, "["):
		return fmt.Errorf("--%s: %q: an IPv6 address needs brackets, like [::1]:9092", flag, text)
	case err != nil:
		return fmt.Errorf("--%s: %q is not host:port, like 127.0.0.1:9092", flag, text)
	case strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' || r == ',' }):
		return fmt.Errorf("--%s: %q is not host:port: no host is named %q", flag, text, host)
	case e != nil || n < 0 || n > 65535:
		return fmt.Errorf("--%s: %q: the port must be from 0 to 65535", flag, text)
	}
	return nil
}

// different refuses two servers on one address.
func different(one, other string) func(*settings, *pflag.FlagSet) error {
	return func(s *settings, f *pflag.FlagSet) error {
		if !s.embeds() && (one == "kafka-listen" || other == "kafka-listen") {
			return nil
		}
		x, y := f.Lookup(one).Value.String(), f.Lookup(other).Value.String()
		h1, p1, err1 := net.SplitHostPort(x)
		h2, p2, err2 := net.SplitHostPort(y)
		if err1 != nil || err2 != nil || p1 != p2 || p1 == "0" {
			return nil
		}
		if h1, h2 = interfaceOf(h1), interfaceOf(h2); h1 == h2 || h1 == "" || h2 == "" {
			return fmt.Errorf("--%s %s and --%s %s are one address: give each its own port", one, x, other, y)
		}
		return nil
	}
}

// interfaceOf returns "" for a host that stands for all.
func interfaceOf(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return ""
	}
	if strings.EqualFold(host, "localhost") {
		return "127.0.0.1"
	}
	return strings.ToLower(host)
}

// ofTheEmbedded refuses a flag of the embedded broker where there is none.
func ofTheEmbedded(flag string) func(*settings, *pflag.FlagSet) error {
	return func(s *settings, f *pflag.FlagSet) error {
		if f.Lookup(flag).Changed && len(s.brokers) > 0 && f.Lookup(flag).Value.String() != f.Lookup(flag).DefValue {
			return fmt.Errorf("--%s is of the embedded broker, and with --brokers there is none: leave one of them out", flag)
		}
		return nil
	}
}

// judgeDir says why a directory can't be one: it, or one above it, is a file.
func judgeDir(dir string) error {
	if strings.TrimSpace(dir) == "" {
		return errors.New("--data-dir is empty: name a directory")
	}
	if strings.TrimSpace(dir) != dir {
		return fmt.Errorf("--data-dir %q begins or ends with a blank", dir)
	}
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("--data-dir %s: %s is a file, not a directory", dir, at)
		}
		if err == nil || at == filepath.Dir(at) {
			return nil
		}
	}
}

func (s *settings) judgeGroups() error {
	var wrong []error
	for i, g := range s.groups {
		switch {
		case !slices.Contains(topics.Groups, g):
			wrong = append(wrong, fmt.Errorf("--groups: %q is no group: one of %s", g, strings.Join(topics.Groups, ", ")))
		case slices.Contains(s.groups[:i], g):
			wrong = append(wrong, fmt.Errorf("--groups: %s is named twice", g))
		}
	}
	return errors.Join(wrong...)
}

// judgeDeadlines looks at those that were given; what they say is judged by rules.
func (s *settings) judgeDeadlines() error {
	var wrong []error
	seen := map[string]bool{}
	for _, d := range s.deadlines {
		status, text, _ := strings.Cut(d, "=")
		wait, err := time.ParseDuration(text)
		if seen[status] && status != "" {
			wrong = append(wrong, fmt.Errorf("--deadline: %s is given twice", status))
		}
		if err == nil && wait > 0 && (wait < time.Millisecond || wait > longest) {
			wrong = append(wrong, fmt.Errorf("--deadline %s must be from 1ms to %s", d, short(longest)))
		}
		seen[status] = true
	}
	return errors.Join(wrong...)
}

// judgeHops refuses deadlines that pass before an answer can come: exactly-once, a
// question and its answer each wait for a commit.
func (s *settings) judgeHops() error {
	g, err := s.promise()
	if err != nil || g != stream.ExactlyOnce || s.commitInterval > stream.TransactionTimeout/2 {
		return nil
	}
	r, _ := s.rules()
	var wrong []error
	for _, status := range []order.Status{order.Placed, order.Paying, order.Ready} {
		if wait, least := r.Orders.Deadlines[status], 2*s.commitInterval; wait <= least {
			wrong = append(wrong, fmt.Errorf("--deadline %s=%s must be longer than two times --commit-interval (%s): exactly-once, no answer comes sooner", status, wait, least))
		}
	}
	return errors.Join(wrong...)
}

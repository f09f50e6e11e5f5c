// Command chaos is the fault suite. It runs baedal as child processes under
// load, and in every round something breaks, by a plan that follows from a seed.
// After each round everything is healed, all orders must have ended, and `baedal
// audit` must find every promise kept.
//
// It needs a baedal built with the tag chaos: make chaos.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rcrowley/go-metrics"

	"baedal/stream"
)

type options struct {
	bin       string
	broker    string // embedded or kafka
	guarantee stream.Guarantee
	seed      uint64
	from      int // the first round
	rounds    int
	duration  time.Duration
	era       int // rounds that one installation lives
	faults    []string
	orders    int
	rate      float64
	dir       string
	keep      bool
	verbose   bool
	noAudit   bool
	patience  time.Duration
	out       io.Writer
}

func main() {
	metrics.UseNilMetrics = true
	o := options{out: os.Stdout}
	var faults, guarantee, bug, toPlant, toRefresh string
	var bugs bool
	flag.StringVar(&o.bin, "bin", "bin/baedal-chaos", "a baedal built with -tags chaos")
	flag.StringVar(&o.broker, "broker", "embedded", "embedded, or kafka: one is started by deploy/kafka.sh")
	flag.StringVar(&guarantee, "guarantee", "", "at-least-once or exactly-once (default: at-least-once embedded, exactly-once on kafka)")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()%1e6), "of the plan")
	flag.IntVar(&o.from, "from", 1, "the first round of the plan, to replay from there")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds to run (default: all faults once, or as many as fit into -duration)")
	flag.DurationVar(&o.duration, "duration", 0, "begin rounds for so long")
	flag.IntVar(&o.era, "era", 5, "rounds that one installation lives before a new one begins")
	flag.StringVar(&faults, "faults", "", "only these, separated by commas (default all): "+strings.Join(faultNames(), ", "))
	flag.IntVar(&o.orders, "orders", 300, "orders of the load in each round")
	flag.Float64Var(&o.rate, "rate", 60, "of them a second")
	flag.StringVar(&o.dir, "dir", "", "where everything lies (default: a new directory under the system's for temporary files)")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory also when all went well")
	flag.BoolVar(&o.verbose, "v", false, "print every step")
	flag.BoolVar(&o.noAudit, "no-audit", false, "leave the audit out, to look at something else")
	flag.DurationVar(&o.patience, "patience", 90*time.Second, "how long nothing may happen before orders count as lost")
	flag.BoolVar(&bugs, "planted", false, "check the suite: find every bug of chaos/planted, each built into a baedal of its own")
	flag.StringVar(&bug, "bug", "", "with -planted: only these, separated by commas: "+bugNames())
	flag.StringVar(&toPlant, "plant", "", "put a bug of chaos/planted into the working tree as far as its patch applies, and end")
	flag.StringVar(&toRefresh, "refresh", "", "make the working tree's changes the patch of this bug, take them out of the tree, and end")
	flag.Parse()

	for name, do := range map[string]func(root, name string) error{toPlant: plant, toRefresh: refresh} {
		if name == "" {
			continue
		}
		if err := do(".", name); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			os.Exit(1)
		}
		return
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, o, faults, guarantee, bug, bugs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(ctx context.Context, o options, faults, guarantee, bug string, bugs bool) (code int, err error) {
	if o.broker != "embedded" && o.broker != "kafka" || flag.NArg() > 0 {
		return 2, fmt.Errorf("-broker %q: embedded or kafka", o.broker)
	}
	o.guarantee = stream.AtLeastOnce
	if o.broker == "kafka" {
		o.guarantee = stream.ExactlyOnce
	}
	if guarantee != "" {
		if o.guarantee, err = stream.ParseGuarantee(guarantee); err != nil {
			return 2, err
		}
	}
	if o.broker == "embedded" && o.guarantee == stream.ExactlyOnce {
		return 2, fmt.Errorf("exactly-once is not promised on the embedded broker: a kill may hit it in the middle of the end of a transaction")
	}
	if faults != "" {
		o.faults = strings.Split(faults, ",")
		for _, f := range o.faults {
			if !slices.Contains(faultNames(), f) {
				return 2, fmt.Errorf("-faults: no fault is called %q", f)
			}
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "baedal-chaos."); err != nil {
			return 1, err
		}
	}
	if !o.noAudit && !auditThere(o.bin) {
		return 1, fmt.Errorf("%s has no audit: build it with make chaos-build", o.bin)
	}
	s := &suite{options: o}
	defer func() {
		s.close()
		if code == 0 && err == nil && !o.keep {
			_ = os.RemoveAll(o.dir)
		} else {
			fmt.Fprintf(o.out, "everything is kept in %s\n", o.dir)
		}
	}()
	if bugs {
		return s.findBugs(ctx, bug)
	}
	return s.survive(ctx)
}

// suite runs rounds one after another.
type suite struct {
	options
	kafka *kafka // shared by all installations; nil on the embedded broker
	world *world

	tally map[string]*tally // by fault
	total tally
}

// tally is what was survived.
type tally struct {
	rounds, met, unmet int
	orders             int
}

func (s *suite) close() {
	if s.world != nil {
		s.world.close()
	}
	if s.kafka != nil {
		s.kafka.stop()
	}
}

// survive runs the plan. The code is 1 when a round failed.
func (s *suite) survive(ctx context.Context) (int, error) {
	s.tally = map[string]*tally{}
	began := time.Now()
	faults := s.possible()
	if s.rounds == 0 && s.duration == 0 {
		s.rounds = len(faults)
	}
	fmt.Fprintf(s.out, "seed %d, %s, %s, faults: %s\n", s.seed, s.broker, s.guarantee, strings.Join(faults, " "))
	for n := s.from; ; n++ {
		if s.rounds > 0 && n >= s.from+s.rounds || s.duration > 0 && time.Since(began) >= s.duration || ctx.Err() != nil {
			break
		}
		r := makeRound(s.seed, n, s.guarantee, faults)
		fmt.Fprintf(s.out, "round %d seed %d: %s\n", n, s.seed, r)
		if err := s.round(ctx, r); err != nil {
			if ctx.Err() != nil {
				break
			}
			s.keep = true
			first := n
			if s.world != nil {
				first = s.world.first
			}
			fmt.Fprintf(s.out, "round %d FAILED: %v\n\nreplay: make chaos CHAOS='-broker %s -guarantee %s -seed %d -from %d -rounds %d%s'\n",
				n, err, s.broker, s.guarantee, s.seed, first, n-first+1, s.onlyFaults())
			s.table()
			return 1, nil
		}
	}
	s.table()
	return 0, ctx.Err()
}

func (s *suite) onlyFaults() string {
	if len(s.faults) == 0 {
		return ""
	}
	return " -faults " + strings.Join(s.faults, ",")
}

// possible lists the faults that can be had here, and says of the others why not.
func (s *suite) possible() (names []string) {
	for _, f := range faults {
		if len(s.faults) > 0 && !slices.Contains(s.faults, f.name) {
			continue
		}
		if why := f.not(s.broker, s.guarantee); why != "" {
			if len(s.faults) > 0 {
				fmt.Fprintf(s.out, "SKIPPED %s: %s\n", f.name, why)
			}
			continue
		}
		names = append(names, f.name)
	}
	return names
}

// round runs one round in the installation of its era.
func (s *suite) round(ctx context.Context, r round) error {
	began := time.Now()
	if s.world != nil && s.world.lived >= s.era {
		s.world.close()
		s.world = nil
	}
	if s.world == nil {
		w, err := s.newWorld(ctx, fmt.Sprintf("era-%d", r.n))
		if err != nil {
			return err
		}
		s.world, w.first = w, r.n
	}
	s.world.lived++
	res, err := s.world.live(ctx, r)
	if err == nil && faultByName(r.fault).spoils() { // nobody could go on with what is left
		s.world.close()
		s.world = nil
	}
	t := s.tally[r.fault]
	if t == nil {
		t = &tally{}
		s.tally[r.fault] = t
	}
	for _, t := range []*tally{t, &s.total} {
		t.met += res.met
		t.unmet += res.unmet
		t.orders += res.orders
		if err == nil {
			t.rounds++
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "round %d ok: %s, %.1f s\n", r.n, res, time.Since(began).Seconds())
	return nil
}

func (s *suite) table() {
	fmt.Fprintf(s.out, "\n%-16s %7s %7s %8s %8s\n", "survived", "rounds", "faults", "not met", "orders")
	for _, f := range faults {
		if t := s.tally[f.name]; t != nil {
			fmt.Fprintf(s.out, "%-16s %7d %7d %8d %8d\n", f.name, t.rounds, t.met, t.unmet, t.orders)
		}
	}
	fmt.Fprintf(s.out, "%-16s %7d %7d %8d %8d\n", "all", s.total.rounds, s.total.met, s.total.unmet, s.total.orders)
}

// chance is the randomness of one round.
func chance(seed uint64, n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }

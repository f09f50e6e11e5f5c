package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"baedal/sim"
	"baedal/topics"
)

func upCommand() *cobra.Command {
	s := &settings{}
	cmd := s.judged(&cobra.Command{
		Use:   "up",
		Short: "Run everything in one process; with a broker of its own unless --brokers",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.demo && !cmd.Flags().Changed("gateway") {
				s.gateway = fmt.Sprintf("decline-over=%d", sim.CardLimit)
			}
			p := newProcess(cmd, s)
			p.embedded, p.runs, p.serves = s.embeds(), topics.Groups, true
			p.ready = func(ctx context.Context, http string) error {
				p.welcome(p.out, http)
				if !s.demo {
					return nil
				}
				return sim.Town(ctx, p.catalog, p.brokers, sim.TownOptions{}, p.out)
			}
			return p.run(cmd.Context())
		},
	})
	f := cmd.Flags()
	s.clusterFlags(f, "host:port of Kafka brokers; none: a broker of its own, for trying out, developing and testing")
	s.processFlags(f)
	s.httpFlags(f)
	s.engineFlags(f)
	f.StringVar(&s.kafkaListen, "kafka-listen", "127.0.0.1:9092", "host:port of the embedded broker, for other clients")
	f.BoolVar(&s.noSync, "no-sync", false, "let the embedded broker answer before the disk has it: faster, safe under kill -9, not under a power cut")
	f.BoolVar(&s.demo, "demo", false, "let a small simulated town order food")
	return cmd
}

func runCommand() *cobra.Command {
	s := &settings{role: needsBrokers}
	cmd := s.judged(&cobra.Command{
		Use:   "run",
		Short: "Run chosen groups, so that more machines share the work",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := newProcess(cmd, s)
			p.runs = s.chosen()
			return p.run(cmd.Context())
		},
	})
	f := cmd.Flags()
	s.clusterFlags(f, "host:port of Kafka brokers; required")
	s.processFlags(f)
	s.engineFlags(f)
	f.StringVar(&s.http, "http", "", "host:port for /healthz, /readyz and /metrics; none: no HTTP")
	f.StringSliceVar(&s.groups, "groups", nil, "the groups to run; all of them if none is named")
	return cmd
}

func apiCommand() *cobra.Command {
	s := &settings{role: needsBrokers}
	cmd := s.judged(&cobra.Command{
		Use:   "api",
		Short: "Serve HTTP alone",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := newProcess(cmd, s)
			p.serves = true
			return p.run(cmd.Context())
		},
	})
	f := cmd.Flags()
	s.clusterFlags(f, "host:port of Kafka brokers; required")
	s.processFlags(f)
	s.httpFlags(f)
	return cmd
}

// newProcess begins with settings that are judged already.
func newProcess(cmd *cobra.Command, s *settings) *process {
	log, _ := s.logger(cmd.ErrOrStderr())
	slog.SetDefault(log) // who is given none keeps to --log-format, too
	log.Info("settings", inForce(cmd.Flags())...)
	return &process{settings: s, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), log: log, catalog: s.catalog()}
}

// welcome prints what can be done now, to be pasted.
func (p *process) welcome(w io.Writer, http string) {
	kafka := strings.Join(p.brokers, ",")
	fmt.Fprintf(w, "\nBaedal is up.   HTTP http://%s   Kafka %s   data %s\n", http, kafka, p.dataDir)
	if p.embedded {
		fmt.Fprintln(w, "The broker is embedded: for trying out, developing and testing. Real deployments use Kafka (--brokers).")
	}
	store, product := "hongs-kitchen", "bulgogi"
	if !p.demo {
		store, product = "mine", "bibimbap"
		fmt.Fprintf(w, `
Make a store, stock it, and send a rider:
  curl -X PUT http://%[1]s/v1/stores/mine --json '{"name":"Mine","area":"here","lat":37.50,"lon":127.03,"autoAccept":true,"cookingTime":"5s"}'
  curl -X PUT http://%[1]s/v1/stores/mine/products/bibimbap --json '{"name":"Bibimbap","price":9000}'
  curl http://%[1]s/v1/stores/mine/products/bibimbap/add --json '{"quantity":50}'
  curl http://%[1]s/v1/riders/me/online --json '{"area":"here","lat":37.50,"lon":127.03}'
`, http)
	}
	order := fmt.Sprintf(`"userId":"me","storeId":"%s","lines":[{"product":"%s","quantity":1}],"address":{"text":"Wausan-ro 1","lat":37.55,"lon":126.92}`, store, product)
	fmt.Fprintf(w, `
Order by curl, or by kcat:
  curl http://%[1]s/v1/orders --json '{"id":"my-1",%[2]s}'
  echo 'my-2:{"type":"place",%[2]s}' | kcat -P -b %[3]s -t %[4]s -K:
See what becomes of it:
  curl http://%[1]s/v1/orders/my-1
  curl -N http://%[1]s/v1/orders/my-2/events
  kcat -C -b %[3]s -t %[5]s -o end

`, http, order, kafka, p.catalog.OrderCommands.Name(), p.catalog.OrderEvents.Name())
}

package main

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"baedal/sim"
)

func loadCommand() *cobra.Command {
	s := &settings{role: visitsBrokers}
	cmd := s.judged(&cobra.Command{
		Use:   "load",
		Short: "Simulated customers, stores and riders; a report of how they fared",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r *sim.LoadReport
			var err error
			if s.overHTTP != "" {
				r, err = sim.LoadOverHTTP(cmd.Context(), s.overHTTP, s.load, cmd.ErrOrStderr())
			} else {
				r, err = sim.Load(cmd.Context(), s.catalog(), s.brokers, s.load, cmd.ErrOrStderr())
			}
			if r == nil {
				return err
			}
			return errors.Join(report(cmd.OutOrStdout(), s.format, r), err, finished(r.OK(), "some orders did not reach a final status"))
		},
	})
	f := cmd.Flags()
	s.clusterFlags(f, "host:port of Kafka brokers (default 127.0.0.1:9092)")
	s.formatFlag(f)
	f.IntVar(&s.load.Orders, "orders", 0, "orders to place (default 10000, or no bound with --duration)")
	f.DurationVar(&s.load.Duration, "duration", 0, "place orders for so long")
	f.Float64Var(&s.load.Rate, "rate", 0, "orders a second; 0 is as fast as --in-flight lets")
	f.IntVar(&s.load.InFlight, "in-flight", 0, "orders under way at once (default 2000, or no bound with --rate)")
	f.StringVar(&s.overHTTP, "over-http", "", "address of an API: everybody talks to it over HTTP, and nobody to the brokers")
	f.IntVar(&s.load.Stores, "stores", 0, "stores (default 100)")
	f.IntVar(&s.load.Areas, "areas", 0, "areas (default one for two stores)")
	f.IntVar(&s.load.Riders, "riders", 0, "riders (default three for each area)")
	f.IntVar(&s.load.Capacity, "capacity", 0, "deliveries that a rider carries at once (default 20)")
	f.DurationVar(&s.load.CookingTime, "cooking-time", 0, "how long stores cook")
	f.Float64Var(&s.load.ManualShare, "manual-share", 0, "share of stores that accept, start and finish by commands, 0 to 1")
	f.Float64Var(&s.load.CancelShare, "cancel-rate", 0, "share of orders that are cancelled, 0 to 1")
	f.DurationVar(&s.load.WarmUp, "warm-up", 0, "leave the latencies of orders out that are placed in this time at first")
	f.DurationVar(&s.load.Timeout, "timeout", 0, "give up when nothing happens for so long (default 30s)")
	return cmd
}

func replayCommand() *cobra.Command {
	s := &settings{role: visitsBrokers}
	cmd := s.judged(&cobra.Command{
		Use:   "replay DIR",
		Short: "A recorded day in the format of the Meal Delivery Routing Problem's instances",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("replay: one directory with orders.txt, couriers.txt, restaurants.txt and instance_parameters.txt")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := sim.Replay(cmd.Context(), s.catalog(), s.brokers, args[0], s.replay, cmd.ErrOrStderr())
			if r == nil {
				return err
			}
			return errors.Join(report(cmd.OutOrStdout(), s.format, r), err)
		},
	})
	f := cmd.Flags()
	s.clusterFlags(f, "host:port of Kafka brokers (default 127.0.0.1:9092)")
	s.formatFlag(f)
	f.Float64Var(&s.replay.Speed, "speed", 1000, "how many simulated seconds pass in a second")
	return cmd
}

// textReport is a report of sim.
type textReport interface{ WriteText(io.Writer) error }

func report(w io.Writer, format string, r textReport) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.WriteText(w)
}

func finished(ok bool, otherwise string) error {
	if ok {
		return nil
	}
	return errors.New(otherwise)
}

// formatFlag lets people choose among text, json, and what a command has besides.
func (s *settings) formatFlag(f *pflag.FlagSet, besides ...string) {
	s.formats = slices.Concat([]string{"text"}, besides, []string{"json"})
	f.StringVar(&s.format, "format", "text", alternatives(s.formats))
}

func alternatives(all []string) string {
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

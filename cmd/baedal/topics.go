package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"baedal/broker"
	"baedal/stream"
	"baedal/topics"
)

func topicsCommand() *cobra.Command {
	s := &settings{role: visitsBrokers}
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Create or list the topics of the installation",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return usage("topics: create or list?") },
	}
	create := s.judged(&cobra.Command{
		Use:   "create",
		Short: "Create what is missing, and check what exists",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			catalog, cfg := s.catalog(), stream.Config{Brokers: s.brokers}.WithDefaults()
			demand := broker.Demand{Addrs: s.brokers, Prefix: s.prefix, Specs: catalog.All(), Replication: s.replication, CommittedWith: stream.CommittedPartitions}
			for _, name := range topics.Groups {
				demand.Installation = append(demand.Installation, catalog.Group(name))
			}
			warnings, err := broker.Preflight(cmd.Context(), demand)
			raised := false
			for _, w := range warnings {
				raised = raised || w.Check == broker.RaisedPartitions
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if err != nil {
				return err
			}
			created, err := broker.CreateTopics(s.brokers, cfg.Client(), catalog.All(), s.replication)
			for _, name := range created {
				fmt.Fprintln(cmd.OutOrStdout(), "created", name)
			}
			if err == nil && !raised {
				fmt.Fprintf(cmd.OutOrStdout(), "%d topics are as they should be\n", len(catalog.All()))
			}
			return err
		},
	})
	create.Flags().IntVar(&s.replication, "replication", 0, "replicas of the topics that are created; 0 leaves it to the brokers")

	list := s.judged(&cobra.Command{
		Use:   "list",
		Short: "List streams and tables with their key, message and clean-up",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			catalog, cfg := s.catalog(), stream.Config{Brokers: s.brokers}.WithDefaults()
			all, err := broker.ListTopics(s.brokers, cfg.Client(), catalog.All())
			if err != nil {
				return err
			}
			if s.format == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(all)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TOPIC\tKEY\tMESSAGE\tPARTITIONS\tCLEAN-UP\tRECORDS")
			for _, t := range all {
				records := fmt.Sprint(t.Records)
				if !t.Exists {
					records = "missing"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", t.Topic, t.Key, t.Message, t.Partitions, t.Cleanup, records)
			}
			return w.Flush()
		},
	})
	s.formatFlag(list.Flags())
	s.clusterFlags(cmd.PersistentFlags(), "host:port of Kafka brokers (default 127.0.0.1:9092)")
	cmd.AddCommand(create, list)
	return cmd
}

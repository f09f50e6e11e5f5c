package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"baedal/audit"
	"baedal/internal/unpack"
)

func auditCommand() *cobra.Command {
	s := &settings{role: visitsBrokers}
	cmd := s.judged(&cobra.Command{
		Use:   "audit",
		Short: "Prove the promises from the raw topics, or name the keys that break them",
		Long: `Reads all topics from their oldest record and checks every order, command, payment, delivery and row of stock,
sharing no rule with the engine. Runs beside a live system: what is owed where the topics ended at the start is waited for.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.audit.Decompressor = unpack.Bounded()
			r, err := audit.Run(cmd.Context(), s.catalog(), s.brokers, s.audit, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return errors.Join(report(cmd.OutOrStdout(), s.format, r), kept(r))
		},
	})
	f := cmd.Flags()
	s.clusterFlags(f, "host:port of Kafka brokers (default 127.0.0.1:9092)")
	s.formatFlag(f)
	f.StringVar(&s.audit.Guarantee, "guarantee", audit.AtLeastOnce, "what the engine runs with: at-least-once lets it say the same again, exactly-once does not")
	f.DurationVar(&s.audit.Settle, "settle", 30*time.Second, "how long to wait on a live system for what is owed")
	f.DurationVar(&s.audit.Slack, "slack", 30*time.Second, "how much later than its deadline an order may act")
	return cmd
}

func kept(r *audit.Report) error {
	if r.OK() {
		return nil
	}
	return fmt.Errorf("broken: %s: look at the records named above (kcat -C -t TOPIC -p PARTITION -o OFFSET -c 1), and at the keys' whole history", strings.Join(r.Broken(), ", "))
}

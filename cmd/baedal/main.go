// Command baedal is the order-fulfilment engine, its HTTP server, and the
// people who try it out, in one program.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rcrowley/go-metrics"
	"github.com/spf13/cobra"

	"baedal/internal/machine"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	metrics.UseNilMetrics = true // sarama's own, which nobody reads, cost some percent

	// What writes to a closed pipe, or beyond the limit on a file's size, gets an error: its default is death.
	signal.Ignore(survived...)
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		stops = append(stops, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), stops...)
	defer stop()
	if os.Getenv("GOGC") == "" {
		go collectSeldom(ctx)
	}
	go func() { // a second signal quits at once
		<-ctx.Done()
		again := make(chan os.Signal, 1)
		signal.Notify(again, stops...)
		<-again
		os.Exit(exitFailed)
	}()
	os.Exit(Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Main runs the program and returns its exit code. It returns when ctx is done
// and everything in flight is finished.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	stdout, stderr = pipe{stdout}, pipe{stderr}
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "baedal: %v\nTry 'baedal --help'.\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "baedal: %v\n", machine.Explain(err))
		return exitFailed
	}
}

// usageError is wrong usage: the person at the keyboard can mend it.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "baedal",
		Short: "Baedal: an order-fulfilment engine for food delivery",
		Long: `Baedal keeps orders, stock, payments and riders in partitioned tables over Kafka
and moves every order from placed to delivered, or to a refusal with its reason.

Every flag can also be set by the environment: --data-dir is BAEDAL_DATA_DIR.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       thisBuild().String(),
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return usage("a command is missing")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(upCommand(), runCommand(), apiCommand(), topicsCommand(), topologyCommand(), loadCommand(), replayCommand(), auditCommand(), deadLettersCommand(), versionCommand())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command or argument %q for %q", args[0], cmd.CommandPath())
	}
	return nil
}

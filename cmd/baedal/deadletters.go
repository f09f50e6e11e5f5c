package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"baedal/deadletters"
	"baedal/domain"
)

func deadLettersCommand() *cobra.Command {
	s := &settings{role: visitsBrokers}
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "List the messages that could not be handled, show them, put them back",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return usage("dead-letters: list, show or replay?") },
	}
	s.clusterFlags(cmd.PersistentFlags(), "host:port of Kafka brokers (default 127.0.0.1:9092)")
	cmd.AddCommand(listLetters(s), showLetters(s), replayLetters(s))
	return cmd
}

const onlyUsage = "KEY=VALUE, repeatable: group, topic, error (a part of it), key, since (2h, or a time), id (PARTITION/OFFSET). Of one KEY any value will do, of several all must fit"

func listLetters(s *settings) *cobra.Command {
	cmd := s.judged(&cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest last",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			want, _ := s.wanted()
			box, err := deadletters.Open(cmd.Context(), s.catalog(), s.brokers)
			if err != nil {
				return err
			}
			all, err := box.Newest(cmd.Context(), want, s.limit)
			if err != nil {
				return err
			}
			if s.format == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				for _, l := range all {
					if err := e.Encode(letterJSON(l)); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tAT\tGROUP\tFROM\tKEY\tREPLAYED\tERROR")
			for _, l := range all {
				replayed := "-"
				if !l.Replayed.IsZero() {
					replayed = stamp(l.Replayed)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, stamp(l.At), oneLine(l.Group), from(l), oneLine(string(l.Key)), replayed, problem(l))
			}
			return w.Flush()
		},
	})
	cmd.Flags().StringArrayVar(&s.only, "only", nil, onlyUsage)
	cmd.Flags().IntVar(&s.limit, "limit", 100, "the newest so many; 0: all")
	s.formatFlag(cmd.Flags())
	return cmd
}

func showLetters(s *settings) *cobra.Command {
	cmd := s.judged(&cobra.Command{
		Use:   "show ID...",
		Short: "Show all of a dead letter: headers, stack, value as it came",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("show which? PARTITION/OFFSET, as 'baedal dead-letters list' shows it")
			}
			missing := map[deadletters.ID]bool{}
			var ids []deadletters.ID
			for _, a := range args {
				id, err := deadletters.ParseID(a)
				if err != nil {
					return usageError{err}
				}
				ids, missing[id] = append(ids, id), true
			}
			box, err := deadletters.Open(cmd.Context(), s.catalog(), s.brokers)
			if err != nil {
				return err
			}
			err = box.Each(cmd.Context(), deadletters.Only(ids...), func(l *deadletters.Letter) error {
				delete(missing, l.ID)
				if s.format == "json" {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(wholeLetterJSON(l))
				}
				return writeLetter(cmd.OutOrStdout(), l)
			})
			for _, id := range ids {
				if missing[id] && err == nil {
					err = fmt.Errorf("there is no dead letter %s (any more): see 'baedal dead-letters list'", id)
				}
			}
			return err
		},
	})
	s.formatFlag(cmd.Flags())
	return cmd
}

func replayLetters(s *settings) *cobra.Command {
	cmd := s.judged(&cobra.Command{
		Use:   "replay",
		Short: "Put the messages of dead letters back to where they came from, each once",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt := s.letters
			opt.Only, _ = s.wanted()
			replayed, skipped, refused := 0, 0, 0
			would := ""
			if opt.DryRun {
				would = "would be "
			}
			out := cmd.OutOrStdout()
			err := deadletters.Replay(cmd.Context(), s.catalog(), s.brokers, opt, func(o deadletters.Outcome) {
				about := fmt.Sprintf("%s  %s  key %s", o.ID, from(o.Letter), oneLine(string(o.Key)))
				switch {
				case o.Refused != nil:
					refused++
					fmt.Fprintf(out, "refused   %s: %v\n", about, o.Refused)
				case o.Skipped != "":
					skipped++
					fmt.Fprintf(out, "skipped   %s: %s\n", about, o.Skipped)
				case opt.DryRun:
					replayed++
					fmt.Fprintf(out, "would go  %s -> %s/%d\n", about, o.To.Topic, o.To.Partition)
				default:
					replayed++
					fmt.Fprintf(out, "replayed  %s -> %s\n", about, o.To)
				}
			})
			fmt.Fprintf(out, "%d %sreplayed, %d skipped, %d refused\n", replayed, would, skipped, refused)
			if err != nil && cmd.Context().Err() != nil {
				return interrupted{"what is told above is put back; run it again for the rest"}
			}
			return err
		},
	})
	f := cmd.Flags()
	f.StringArrayVar(&s.only, "only", nil, onlyUsage)
	f.BoolVar(&s.all, "all", false, "all dead letters")
	f.BoolVar(&s.letters.Again, "again", false, "also those that were put back before")
	f.BoolVar(&s.letters.DryRun, "dry-run", false, "only say what would be done")
	return cmd
}

// wanted returns the letters that are meant.
func (s *settings) wanted() (deadletters.Filter, error) {
	return deadletters.ParseFilter(s.only, s.prefix, time.Now())
}

// letterJSON is what a line of a list says of a letter.
func letterJSON(l *deadletters.Letter) map[string]any {
	m := map[string]any{"id": l.ID.String(), "at": domain.At(l.At), "error": problem(l)}
	if l.Broken == nil {
		m["group"], m["topic"], m["partition"], m["offset"] = l.Group, l.From.Topic, l.From.Partition, l.From.Offset
	}
	if !l.Replayed.IsZero() {
		m["replayedAt"] = domain.At(l.Replayed)
	}
	putBytes(m, "key", l.Key)
	if l.Away {
		m["size"] = l.Size
	}
	return m
}

func wholeLetterJSON(l *deadletters.Letter) map[string]any {
	m := letterJSON(l)
	if l.Stack != "" {
		m["stack"] = l.Stack
	}
	headers := map[string]any{}
	for _, h := range l.Headers {
		putBytes(headers, h.Key, h.Value)
	}
	m["headers"] = headers
	if l.Away {
		putBytes(m, "head", l.Head)
	}
	putBytes(m, "value", l.Value)
	return m
}

// putBytes sets name to a string, to null, or nameBase64 where the bytes are no UTF-8.
func putBytes(m map[string]any, name string, b []byte) {
	switch {
	case b == nil:
		m[name] = nil
	case utf8.Valid(b):
		m[name] = string(b)
	default:
		m[name+"Base64"] = b
	}
}

func writeLetter(w io.Writer, l *deadletters.Letter) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "dead letter\t%s\n", l.ID)
	fmt.Fprintf(t, "at\t%s\n", stamp(l.At))
	fmt.Fprintf(t, "group\t%s\n", oneLine(l.Group))
	fmt.Fprintf(t, "from\t%s\n", from(l))
	fmt.Fprintf(t, "error\t%s\n", problem(l))
	if !l.Replayed.IsZero() {
		fmt.Fprintf(t, "replayed\t%s\n", stamp(l.Replayed))
	}
	fmt.Fprintf(t, "key\t%s\n", asText(l.Key))
	for _, h := range l.Headers {
		fmt.Fprintf(t, "header %s\t%s\n", oneLine(h.Key), asText(h.Value))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if l.Stack != "" {
		fmt.Fprintf(w, "stack:\n%s\n", strings.TrimRight(l.Stack, "\n"))
	}
	if l.Away {
		_, err := fmt.Fprintf(w, "value, %d bytes, lies at %s while retention keeps it; it begins with: %s\n\n", l.Size, from(l), asText(whole(l.Head)))
		return err
	}
	_, err := fmt.Fprintf(w, "value, %d bytes: %s\n\n", len(l.Value), asText(l.Value))
	return err
}

// asText shows bytes that may be anything: a terminal obeys control characters.
// whole returns b without a character that was cut at its end.
func whole(b []byte) []byte {
	for i := range min(utf8.UTFMax, len(b)) {
		if utf8.Valid(b[:len(b)-i]) {
			return b[:len(b)-i]
		}
	}
	return b
}

func asText(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) == 0:
		return "(empty)"
	case !utf8.Valid(b):
		return "(no UTF-8, in base64) " + base64.StdEncoding.EncodeToString(b)
	case strings.ContainsFunc(string(b), func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return fmt.Sprintf("(with control characters, quoted) %+q", b)
	}
	return string(b)
}

// oneLine makes a text fit into a table.
func oneLine(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

func from(l *deadletters.Letter) string {
	if l.Broken != nil {
		return "-"
	}
	return oneLine(l.From.String())
}

func problem(l *deadletters.Letter) string {
	if l.Broken != nil {
		return l.Broken.Error()
	}
	return oneLine(l.Error)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"baedal/internal/machine"
)

const (
	waitAttempt  = 3 * time.Second // for one try; a broker that has just started may take a while to elect its controller
	waitShortest = 50 * time.Millisecond
	waitLongest  = time.Second
	waitProgress = 5 * time.Second
)

// Wait blocks until one of the brokers answers a metadata request and has a controller, so that topics can be created. It tries
// again until ctx is done, says every few seconds that it still waits, and returns an error that names the addresses.
func Wait(ctx context.Context, addrs []string) error {
	if len(addrs) == 0 {
		return errors.New("no Kafka address: set --brokers, like --brokers 127.0.0.1:9092")
	}
	for _, addr := range addrs {
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
			return fmt.Errorf("--brokers: %q is not host:port, like 127.0.0.1:9092", addr)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.RequestRetries(0), kgo.DialTimeout(waitAttempt))
	if err != nil {
		return fmt.Errorf("--brokers %s: %w", strings.Join(addrs, ","), err)
	}
	defer client.Close()

	start, said := time.Now(), time.Now()
	var last error
	for pause := waitShortest; ; pause = min(2*pause, waitLongest) {
		if err := answers(ctx, client); err == nil {
			return nil
		} else if last == nil || ctx.Err() == nil { // what broke when time ran out says less than what broke before
			last = err
		}
		if machine.Remedy(last) != "" {
			return fmt.Errorf("--brokers %s: %w", strings.Join(addrs, ","), last)
		}
		if time.Since(said) >= waitProgress {
			said = time.Now()
			slog.Info("waiting for Kafka", "brokers", addrs, "since", time.Since(start).Round(time.Second).String(), "error", last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no Kafka broker answered at %s within %s: start it, or correct --brokers (last error: %w)",
				strings.Join(addrs, ","), time.Since(start).Round(100*time.Millisecond), last)
		case <-time.After(pause):
		}
	}
}

func answers(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, waitAttempt)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, client)
	var closed *kgo.ErrFirstReadEOF
	if errors.As(err, &closed) {
		return fmt.Errorf("it takes the connection and closes it, as one does that wants TLS or SASL, which Baedal has not: give a listener without: %w", err)
	}
	if err != nil {
		return err
	}
	if len(resp.Brokers) == 0 || resp.ControllerID < 0 {
		return errors.New("the cluster has no controller yet")
	}
	return nil
}

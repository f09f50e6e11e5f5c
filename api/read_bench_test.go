package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"baedal/api"
	"baedal/domain/order"
)

// GET of one order against a plain handler that returns the same bytes from a map,
// each by wrk in a process of its own, 64 connections for 10 s, alternately three
// times. It reports the medians of both, and their ratio.
func BenchmarkGetOrder(b *testing.B) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		fmt.Println("SKIPPED: BenchmarkGetOrder, as there is no wrk (apt install wrk)")
		b.Skip("there is no wrk")
	}
	f := newFixture(b)
	f.orders.set("o-7", lifeOf("o-7", order.Placed, order.Paying, order.Paid, order.AcceptedStatus, order.Cooking, order.Ready, order.Assigned, order.PickedUp, order.Delivered, order.Completed))
	// The views as they are, and answers that no test looks at.
	served := api.New(api.Deps{Tables: api.Tables{Orders: f.orders.Memory, Riders: f.riders.Memory}, Metrics: prometheus.NewRegistry(), Registerer: prometheus.NewRegistry()})
	bytes := f.get("/v1/orders/o-7").Body.Bytes()
	require.NotEmpty(b, bytes)
	answers := map[string][]byte{"/v1/orders/o-7": bytes}
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	addrs := [2]string{serveHere(b, served), serveHere(b, plain)}
	for _, addr := range addrs {
		got, err := http.Get("http://" + addr + "/v1/orders/o-7")
		require.NoError(b, err)
		body, err := io.ReadAll(got.Body)
		require.NoError(b, err)
		require.NoError(b, got.Body.Close())
		require.Equal(b, bytes, body)
	}
	var rates [2][]float64
	for range 3 {
		for i, addr := range addrs {
			out, err := exec.Command(wrk, "-t1", "-c64", "-d10s", "http://"+addr+"/v1/orders/o-7").CombinedOutput()
			require.NoError(b, err, string(out))
			require.NotContains(b, string(out), "Non-2xx")
			rates[i] = append(rates[i], perSecond(b, out))
		}
	}
	for i := range rates {
		slices.Sort(rates[i])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rates[0][1], "orders/s")
	b.ReportMetric(rates[1][1], "plain/s")
	b.ReportMetric(rates[0][1]/rates[1][1], "of-plain")
}

var requestsPerSecond = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

func perSecond(b *testing.B, out []byte) float64 {
	found := requestsPerSecond.FindSubmatch(out)
	require.NotNil(b, found, string(out))
	n, err := strconv.ParseFloat(string(found[1]), 64)
	require.NoError(b, err)
	return n
}

// serveHere serves on a free port of this machine.
func serveHere(b *testing.B, handler http.Handler) (addr string) {
	server, err := api.Listen("127.0.0.1:0")
	require.NoError(b, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, handler) }()
	b.Cleanup(func() {
		stop()
		require.NoError(b, <-done)
	})
	return server.Addr()
}

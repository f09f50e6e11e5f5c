package stream

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// Groups of one process share the metrics, told apart by a label; a process that makes its engine anew does too.
func TestMetrics_RegisteredOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	a, b := newMeter("a", reg), newMeter("b", reg)
	require.Same(t, a.in, b.in)
	require.Same(t, a.restarts, b.restarts)
	require.Same(t, a.commits, b.commits)
	a.in.WithLabelValues("a", "t").Add(2)
	newMeter("a", reg).in.WithLabelValues("a", "t").Inc()
	b.in.WithLabelValues("b", "t").Inc()

	got := map[string]float64{}
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			got[f.GetName()+"/"+m.Label[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	require.Equal(t, 3.0, got["baedal_messages_in_total/a"])
	require.Equal(t, 1.0, got["baedal_messages_in_total/b"])
	require.Contains(t, got, "baedal_group_restarts_total/a", "present before the first restart")
	require.Contains(t, got, "baedal_group_restarts_total/b")
}

func TestMetrics_Unregistered(t *testing.T) {
	a, b := newMeter("a", nil), newMeter("a", nil)
	require.NotSame(t, a.in, b.in)
	a.in.WithLabelValues("a", "t").Inc()
}

// Another collector under one of our names is a mistake of the program.
func TestMetrics_NameTaken(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "baedal_messages_in_total", Help: "x"}))
	require.Panics(t, func() { newMeter("a", reg) })
}

package stream

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// meter counts what a process handles. The counters are shared by all groups of
// a registry; the label tells them apart.
type meter struct {
	in, out, failed, forwarded, restarts *prometheus.CounterVec
	commits                              *prometheus.HistogramVec
}

func newMeter(group string, r prometheus.Registerer) *meter {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	m := &meter{
		in:        counter("baedal_messages_in_total", "Messages handed to a group.", "group", "topic"),
		out:       counter("baedal_messages_out_total", "Messages sent by a group.", "group", "topic"),
		failed:    counter("baedal_messages_failed_total", "Messages that became dead letters.", "group", "topic"),
		forwarded: counter("baedal_messages_forwarded_total", "Records found in the wrong partition and sent to the right one.", "group", "topic"),
		restarts:  counter("baedal_group_restarts_total", "Times that a group was built anew after a failure.", "group"),
		commits: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "baedal_commit_seconds",
			Help: "Time of one commit of offsets and local tables.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 12)}, []string{"group"})),
	}
	m.restarts.WithLabelValues(group) // present from the start
	return m
}

// register returns what is registered already under the same name.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	if err := r.Register(c); err != nil {
		if already, ok := err.(prometheus.AlreadyRegisteredError); ok {
			return already.ExistingCollector.(C)
		}
		panic(err)
	}
	return c
}

// lagCollector tells the consumer lag of a group when it is asked.
type lagCollector struct {
	group   string
	session *atomic.Pointer[session]
}

var lagDesc = prometheus.NewDesc("baedal_lag_records", "Records that a group still has to handle.", []string{"group", "topic", "partition"}, nil)

func (l lagCollector) Describe(chan<- *prometheus.Desc) {} // unchecked: one collector for each group

func (l lagCollector) Collect(ch chan<- prometheus.Metric) {
	s := l.session.Load()
	if s == nil {
		return
	}
	s.lag(func(topic string, partition int32, records int64) {
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(records), l.group, topic, strconv.Itoa(int(partition)))
	})
}

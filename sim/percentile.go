package sim

import (
	"math"
	"slices"
	"time"
)

// Percentiles of a set of durations, in the unit that the field holding them names.
type Percentiles struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// percentiles sorts values. A percentile is the nearest rank: the smallest value that so many percent do not exceed.
func percentiles(values []float64) Percentiles {
	n := len(values)
	if n == 0 {
		return Percentiles{}
	}
	slices.Sort(values)
	rank := func(p float64) float64 {
		return values[max(int(math.Ceil(p/100*float64(n)))-1, 0)]
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return Percentiles{Count: n, Mean: sum / float64(n), P50: rank(50), P90: rank(90), P99: rank(99), Max: values[n-1]}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

package stream

import "github.com/lovoo/goka"

// NewTestProcessor makes a processor of a group that runs on goka's tester, so
// that its story can be told without a broker: one partition, rows read anew
// for each message, no timers (what they would send is fed by hand). Decisions,
// dead letters and outputs are what they are under Run.
//
// Partitions of c must be 0 or 1. All processors of one tester must be made
// before the first runs.
func NewTestProcessor(tester goka.Tester, c Config, def Definition) (*goka.Processor, error) {
	c = c.WithDefaults()
	return goka.NewProcessor(nil, def.instance(c).graph,
		goka.WithTester(tester),
		goka.WithLogger(c.Log()),
		goka.WithNilHandling(goka.NilProcess),
	)
}

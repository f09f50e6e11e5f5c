package main

import (
	"context"
	"fmt"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy stands between the instances and Kafka, which is told its address
// before the proxy is told Kafka's.
type proxy struct {
	addr  string
	inner *toxiproxy.Proxy
}

func (p *proxy) to(upstream string) error {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p.inner = toxiproxy.NewProxy(server, "kafka", p.addr, upstream)
	return p.inner.Start()
}

func (p *proxy) cut() { p.inner.Stop() }

func (p *proxy) mend() error { return p.inner.Start() }

func (p *proxy) slow(ms, jitter int) error {
	return p.toxic(fmt.Sprintf(`{"type":"latency","stream":"downstream","attributes":{"latency":%d,"jitter":%d}}`, ms, jitter))
}

func (p *proxy) reset(ms int) error {
	return p.toxic(fmt.Sprintf(`{"type":"reset_peer","stream":"downstream","attributes":{"timeout":%d}}`, ms))
}

func (p *proxy) toxic(json string) error {
	_, err := p.inner.Toxics.AddToxicJson(strings.NewReader(json))
	return err
}

// whole takes all toxics away.
func (p *proxy) whole() error {
	p.inner.Toxics.ResetToxics(context.Background())
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"

	"baedal/api"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/stream"
	"baedal/topics"
)

// commands hands what came over HTTP to the command streams.
type commands struct {
	*stream.Emitter
	t *topics.Catalog
}

func newCommands(t *topics.Catalog, cfg stream.Config) (*commands, error) {
	e, err := stream.NewEmitter(cfg)
	return &commands{e, t}, err
}

func (c *commands) SendOrder(ctx context.Context, id string, m *order.Command) error {
	return sent(stream.Emit(ctx, c.Emitter, c.t.OrderCommands, id, m))
}

func (c *commands) SendStore(ctx context.Context, id string, m *stock.Command) error {
	return sent(stream.Emit(ctx, c.Emitter, c.t.StoreCommands, id, m))
}

func (c *commands) SendRider(ctx context.Context, id string, m *rider.Command) error {
	return sent(stream.Emit(ctx, c.Emitter, c.t.RiderCommands, id, m))
}

// sent says in the API's words why a command was not sent.
func sent(err error) error {
	if errors.Is(err, stream.ErrTooLong) {
		return fmt.Errorf("%w: %w", api.ErrTooLong, err)
	}
	return err
}

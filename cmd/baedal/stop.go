package main

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"
)

// orStopped returns what f returns, or ctx's error as soon as ctx is done. Some of
// what a start waits for listens to no context: then f goes on alone, and what it
// returns is dropped. Nothing may be in flight yet.
func orStopped[T any](ctx context.Context, f func() (T, error), drop func(T) error) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		if drop != nil {
			go func() {
				if r := <-done; r.err == nil {
					_ = drop(r.value)
				}
			}()
		}
		return *new(T), context.Cause(ctx)
	}
}

// interrupted is what is said of work that a signal ended before it was done. The
// errors that came of it would blame others.
type interrupted struct{ remains string }

func (e interrupted) Error() string { return "interrupted: " + e.remains }

// lastWords is how long interrupted work may take to report what was done.
const lastWords = 3 * time.Second

// visit runs work that has an end. Where ctx is done before, it says that it was
// interrupted, whatever the work is held up by; words is how long its report of
// what was done is waited for.
func visit(ctx context.Context, words time.Duration, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(words):
			err = context.Cause(ctx)
		}
	}
	if err != nil && ctx.Err() != nil && !errors.As(err, new(interrupted)) {
		return interrupted{"it is not done: run it again"}
	}
	return err
}

// pipe is an output whose reader may leave, as head does. What nobody reads is
// dropped, and the work goes on: a running engine must not die of it, nor must an
// audit's exit code.
type pipe struct{ io.Writer }

// Unwrap returns what is written to, which may be a terminal.
func (p pipe) Unwrap() io.Writer { return p.Writer }

func (p pipe) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		return len(b), nil
	}
	return n, err
}

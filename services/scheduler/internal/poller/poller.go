// Package poller keeps workers of the scheduler's own polling Temporal, whether it is
// there or not. What they work on is others' business.
package poller

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
)

// Again after a worker has ended: the pause doubles up to the longest while none lasts.
const (
	firstPause   = time.Second
	longestPause = 4 * time.Second
)

// A Job is one worker.
type Job struct {
	// Name is what people read when it starts again.
	Name string
	// Client reaches the namespace that is polled.
	Client func(ctx context.Context) (client.Client, error)
	Queue  string
	// Options are asked for at each start. OnFatalError is the poller's own.
	Options func(ctx context.Context) (worker.Options, error)
	// Register says what the worker can do.
	Register func(worker.Registry)
	// Broke is told of a worker that Temporal ended; nil: nobody is.
	Broke func()
	Log   *slog.Logger
}

// Run keeps the worker up until ctx ends.
func (j Job) Run(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		begun := time.Now()
		if err := j.once(ctx); err != nil && ctx.Err() == nil {
			j.Log.WarnContext(ctx, "a worker starts again", "worker", j.Name, "error", err)
		}
		if time.Since(begun) > longestPause {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (j Job) once(ctx context.Context) error {
	c, err := j.Client(ctx)
	if err != nil {
		return err
	}
	options, err := j.Options(ctx)
	if err != nil {
		return err
	}
	fatal := make(chan error, 1)
	options.OnFatalError = func(err error) { fatal <- err }
	w := worker.New(c, j.Queue, options)
	j.Register(w)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		if j.Broke != nil {
			j.Broke()
		}
		return err
	}
}

// Package allinone brings the whole cloud up on one machine: the bus in this process,
// Temporal as a supervised child, and the six rooms, each on a socket of its own.
//
// It knows nothing of what the rooms do. The rooms do not know of it: only their
// service.Env differs from that of a cluster.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// Config says where the cloud lives and how it is reached.
type Config struct {
	// Data is the folder of everything durable.
	Data string
	// HTTP is host:port of the API; port 0 takes a free one.
	HTTP string
	// TemporalUI is host:port of Temporal's Web UI; empty: none; port 0 takes a free one.
	TemporalUI string
	// Processes runs each room as a process of its own, from binaries beside this one.
	Processes bool
	// Set are settings of rooms, "room.key=value".
	Set []string
	// LogLevel of the rooms: debug, info, warn or error.
	LogLevel string
	// Progress gets lines for people.
	Progress io.Writer
	// Ready is called once with where the cloud is.
	Ready func(localcloud.Cloud)
}

const (
	startLimit = 2 * time.Minute
	// drainLimit is how long one stage of the stop may take.
	drainLimit = 40 * time.Second
)

// cloud is one running cloud.
type cloud struct {
	cfg    Config
	folder *folder
	log    *slog.Logger
	ports  ports
	bus    *natsServer
	say    *progress
	// process is the rooms that run here.
	process *mesh.Process
}

// Up runs the cloud until ctx ends, then drains it. It fails when the folder is in
// use, when something does not start, and when a part breaks.
func Up(ctx context.Context, cfg Config) (err error) {
	c := &cloud{cfg: cfg, say: newProgress(cfg.Progress), process: mesh.NewProcess()}
	if c.folder, err = openFolder(cfg.Data); err != nil {
		return err
	}
	defer c.folder.close()
	if c.log, err = c.folder.logger("agentcloud", cfg.LogLevel); err != nil {
		return err
	}
	if c.ports, err = choosePorts(c.folder, cfg); err != nil {
		return err
	}
	if err := c.say.step("bus", c.startBus); err != nil {
		return err
	}
	defer c.bus.stop()
	return c.run(ctx)
}

// run starts the stages and stops them in reverse: each may use those before it until
// its own end.
func (c *cloud) run(ctx context.Context) error {
	rooms, err := c.rooms()
	if err != nil {
		return err
	}
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stages := []*stage{newStage(ctx, fail, c.temporal())}
	for _, names := range [][]string{{"telemetry"}, {"secretsbroker", "builder", "scheduler", "registry"}, {"gateway"}} {
		var parts []part
		for _, name := range names {
			parts = append(parts, rooms[name])
		}
		stages = append(stages, newStage(ctx, fail, parts...))
	}
	err = c.awaitReady(failed)
	if err == nil {
		c.announce()
		<-failed.Done()
	}
	c.say.line("stopping")
	for i := len(stages) - 1; i >= 0; i-- {
		err = errors.Join(err, stages[i].end())
	}
	return c.outcome(ctx, failed, err)
}

// outcome is nil for a stop that was asked for, however far the start had come.
func (c *cloud) outcome(ctx, failed context.Context, err error) error {
	if cause := context.Cause(failed); ctx.Err() == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%w\nthe logs are in %s", cause, c.folder.logs())
	}
	if ctx.Err() != nil {
		if err != nil && !errors.Is(err, context.Canceled) {
			c.log.Warn("the stop was not clean", "error", err)
		}
		return nil
	}
	return err
}

// A part is something that runs until its context ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// A stage is a group of parts that end together.
type stage struct {
	stop  context.CancelFunc
	group *errgroup.Group
}

// newStage runs parts; one that breaks ends the whole cloud.
func newStage(ctx context.Context, fail context.CancelCauseFunc, parts ...part) *stage {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &stage{stop: stop, group: new(errgroup.Group)}
	for _, p := range parts {
		s.group.Go(func() error {
			err := p.run(ctx)
			if err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", p.name, err))
			}
			return err
		})
	}
	return s
}

func (s *stage) end() error {
	s.stop()
	done := make(chan error, 1)
	go func() { done <- s.group.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(drainLimit):
		return errors.New("a part did not end in time")
	}
}

package allinone

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

const (
	askEvery = 20 * time.Millisecond
	askLimit = 2 * time.Second
)

// awaitReady waits until every part says that it can do its work.
func (c *cloud) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.await(ctx, "temporal", c.checkTemporal) })
	for _, name := range roomNames {
		group.Go(func() error {
			return c.await(ctx, name, func(ctx context.Context) error {
				return checkHealth(ctx, "unix:"+filepath.Join(c.folder.run, name+".sock"), "")
			})
		})
	}
	return group.Wait()
}

func (c *cloud) await(ctx context.Context, name string, check func(context.Context) error) error {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	var last error
	for {
		ask, cancel := context.WithTimeout(ctx, askLimit)
		err := check(ask)
		cancel()
		if err == nil {
			c.say.done(name, c.say.sinceStart())
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready (%w); its log is %s", name, last, filepath.Join(c.folder.logs(), name+".log"))
		case <-ticker.C:
		}
	}
}

// announce writes down where the cloud is, for `agentcloud env` and its like.
func (c *cloud) announce() {
	here := localcloud.Cloud{
		URL: "http://" + c.ports.HTTP, KeyFile: c.folder.path("admin-key.json"), Temporal: c.ports.Temporal,
		Data: c.folder.root, Logs: c.folder.logs(), Took: c.say.sinceStart(),
	}
	if c.ports.TemporalUI != "" {
		here.TemporalUI = "http://" + c.ports.TemporalUI
	}
	if err := here.Write(); err != nil {
		c.log.Error("write where the cloud is", "error", err)
	}
	if c.cfg.Ready != nil {
		c.cfg.Ready(here)
	}
}

package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// CollectGarbage deletes what is not in use and older than the grace time.
func (s *Service) CollectGarbage(ctx context.Context, req *builderv1.CollectGarbageRequest) (*builderv1.CollectGarbageResponse, error) {
	before := s.deps.Now().Add(-s.deps.Options.Grace)
	if at := req.GetNotAfter(); at.IsValid() && at.AsTime().Before(before) {
		before = at.AsTime()
	}
	c := collection{Service: s, before: before, res: &builderv1.CollectGarbageResponse{}}
	for _, step := range []func(context.Context, *builderv1.CollectGarbageRequest) error{c.bundles, c.environments, c.orphans, c.caches} {
		if err := step(ctx, req); err != nil {
			return nil, err
		}
	}
	return c.res, nil
}

// collection is one run of the collector.
type collection struct {
	*Service
	before time.Time
	res    *builderv1.CollectGarbageResponse
}

// bundles removes those that no version needs, by itself or through an artifact.
func (c *collection) bundles(ctx context.Context, req *builderv1.CollectGarbageRequest) error {
	needed := set(req.GetBundleIds())
	artifacts := set(req.GetArtifactIds())
	builds, err := c.deps.Store.Builds(ctx)
	if err != nil {
		return err
	}
	for _, b := range builds {
		if artifacts[b.ArtifactID] {
			needed[b.BundleID] = true
		}
	}
	old, err := c.deps.Store.Bundles(ctx, c.before)
	if err != nil {
		return err
	}
	for _, b := range old {
		if needed[b.ID] || c.running(b.ID) {
			continue
		}
		if err := c.bundle(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) bundle(ctx context.Context, b store.Bundle) error {
	grave, gone, err := func() (string, bool, error) {
		defer c.deps.Disk.Lock()()
		gone, last, err := c.deps.Store.RemoveBundle(ctx, b, c.before)
		if err != nil || !last {
			return "", gone, err
		}
		grave, err := c.deps.Disk.Bury(c.deps.Disk.Bundle(b.OrgID, b.Digest))
		return grave, gone, err
	}()
	if err != nil || !gone {
		return err
	}
	c.res.Bundles++
	if err := os.Remove(c.deps.Disk.Log(b.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return c.empty(grave)
}

func (c *collection) empty(grave string) error {
	size, err := disk.Empty(grave)
	c.res.Bytes += size
	return err
}

// environments removes those that no remaining bundle was built into.
func (c *collection) environments(ctx context.Context, _ *builderv1.CollectGarbageRequest) error {
	builds, err := c.deps.Store.Builds(ctx)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, b := range builds {
		for _, digest := range b.Environments {
			needed[digest] = true
		}
	}
	old, err := c.deps.Store.Environments(ctx, c.before)
	if err != nil {
		return err
	}
	for _, e := range old {
		if needed[e.Digest] {
			continue
		}
		if err := c.environment(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) environment(ctx context.Context, e store.Environment) error {
	home := c.deps.Disk.Environment(e.Digest)
	if e.Kind == store.KindTool {
		home = c.deps.Disk.Tool(e.Digest)
	}
	grave, gone, err := func() (string, bool, error) {
		defer c.deps.Disk.Lock()()
		gone, err := c.deps.Store.RemoveEnvironment(ctx, e.Digest, c.before)
		if err != nil || !gone {
			return "", gone, err
		}
		grave, err := c.deps.Disk.Bury(home)
		return grave, gone, err
	}()
	if err != nil || !gone {
		return err
	}
	c.res.Environments++
	return c.empty(grave)
}

// orphans removes folders that no row names: a crash came between the two.
func (c *collection) orphans(ctx context.Context, _ *builderv1.CollectGarbageRequest) error {
	known, err := c.deps.Store.Environments(ctx, c.deps.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	rows := map[string]bool{}
	for _, e := range known {
		rows[e.Digest] = true
	}
	for _, kind := range []string{"environments", "tools"} {
		if err := c.orphansIn(func(name string) (bool, error) { return rows[name], nil }, kind); err != nil {
			return err
		}
	}
	orgs, err := c.deps.Disk.Names("bundles")
	if err != nil {
		return err
	}
	for _, org := range orgs {
		has := func(name string) (bool, error) { return c.deps.Store.HasContent(ctx, org.Name(), name) }
		if err := c.orphansIn(has, "bundles", org.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) orphansIn(has func(name string) (bool, error), folder ...string) error {
	entries, err := c.deps.Disk.Names(folder...)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.ModTime().After(c.before) {
			continue // gone, or too young to judge
		}
		known, err := has(entry.Name())
		if err != nil {
			return err
		}
		if known {
			continue
		}
		grave, err := c.deps.Disk.Bury(filepath.Join(append([]string{c.deps.Disk.Root()}, append(folder, entry.Name())...)...))
		if err != nil {
			return err
		}
		if err := c.empty(grave); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) caches(ctx context.Context, _ *builderv1.CollectGarbageRequest) error {
	if err := c.deps.Store.PruneResolutions(ctx, c.deps.Now().Add(-c.deps.Options.ResolutionAge)); err != nil {
		return err
	}
	freed, err := c.deps.Engine.PruneCaches(ctx)
	c.res.Bytes += freed
	return err
}

func set(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		out[name] = true
	}
	return out
}

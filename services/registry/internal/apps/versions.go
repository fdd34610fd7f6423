package apps

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

const (
	// factsWait bounds the question what runs, without which a list is shown, too.
	factsWait = 2 * time.Second
	// detailsWait bounds the question what a version is made of.
	detailsWait = 30 * time.Second
)

// version finds a version of an app by its number ("3" or "v3") or its id.
func (s *Service) version(ctx context.Context, app store.App, name string) (store.Version, error) {
	var v store.Version
	number, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 64)
	switch {
	case err == nil:
		v, err = s.deps.Store.VersionNumbered(ctx, app.ID, number)
	case id.Version.Valid(name):
		v, err = s.deps.Store.FindVersion(ctx, name)
	default:
		return v, fault.Invalid.Errorf("name the version by its number, for example 3, or by its id")
	}
	if err == nil && v.AppID != app.ID || fault.NotFound.Is(err) {
		return v, fault.NotFound.Errorf("%s has no version %s; see `agentcloud versions list %s`", app.Name, name, app.Name)
	}
	return v, err
}

// kept is version, of those that are not deleted.
func (s *Service) kept(ctx context.Context, app store.App, name string) (store.Version, error) {
	v, err := s.version(ctx, app, name)
	if err == nil && v.State == store.Deleted {
		err = fault.Conflict.Errorf("version %d of %s was deleted", v.Number, app.Name)
	}
	return v, err
}

// facts asks the scheduler what it knows of versions.
func (s *Service) facts(ctx context.Context, app store.App, details bool, versionIDs ...string) (map[string]*schedulerv1.VersionFacts, error) {
	res, err := s.deps.Versions.DescribeVersions(ctx, &schedulerv1.DescribeVersionsRequest{
		TargetId: app.ID, OrgId: app.OrgID, VersionIds: versionIDs, Details: details,
	})
	if err != nil {
		return nil, err
	}
	found := map[string]*schedulerv1.VersionFacts{}
	for _, f := range res.GetVersions() {
		found[f.GetVersionId()] = f
	}
	return found, nil
}

// addFacts says of a list what runs. A scheduler that is away leaves that out.
func (s *Service) addFacts(ctx context.Context, app store.App, versions []*registryv1.Version) {
	limited, cancel := context.WithTimeout(ctx, factsWait)
	defer cancel()
	var ids []string
	for _, v := range versions {
		ids = append(ids, v.GetVersionId())
	}
	if len(ids) == 0 {
		return
	}
	facts, err := s.facts(limited, app, false, ids...)
	if err != nil {
		s.deps.Log.InfoContext(ctx, "a list of versions does not say what runs", "app", app.ID, "error", err)
		return
	}
	for _, v := range versions {
		addFacts(v, facts[v.GetVersionId()])
	}
}

func addFacts(v *registryv1.Version, f *schedulerv1.VersionFacts) {
	v.Up, v.WarmUntil, v.Previous, v.Held, v.EnvironmentDigest = f.GetUp(), f.GetWarmUntil(), f.GetPrevious(), f.GetHeld(), f.GetEnvironmentDigest()
}

// GetVersion tells all that is known of a version.
func (s *Service) GetVersion(ctx context.Context, req *registryv1.GetVersionRequest) (*registryv1.GetVersionResponse, error) {
	app, err := s.find(ctx, req.GetAppId(), "")
	if err != nil {
		return nil, err
	}
	v, err := s.version(ctx, app, req.GetVersion())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, detailsWait)
	defer cancel()
	facts, err := s.facts(ctx, app, true, v.ID)
	if err != nil {
		return nil, err
	}
	f := facts[v.ID]
	answer := &registryv1.GetVersionResponse{
		Version: versionProto(v), OpenRuns: f.GetOpenRuns(),
		Files: int32(len(f.GetFiles())), Dependencies: int32(len(f.GetDependencies())), //nolint:gosec // bounded by the builder
	}
	addFacts(answer.GetVersion(), f)
	for _, tool := range f.GetTools() {
		answer.Tools = append(answer.Tools, &registryv1.VersionTool{Name: tool.GetName(), Hash: tool.GetHash()})
	}
	if c := f.GetToolChanges(); c != nil {
		answer.ToolChanges = &registryv1.VersionToolChanges{
			ThanNumber: c.GetThanNumber(), Added: c.GetAdded(), Removed: c.GetRemoved(), Changed: c.GetChanged(), Policy: c.GetPolicy(),
		}
	}
	return answer, nil
}

// PromoteVersion makes a version the live one.
func (s *Service) PromoteVersion(ctx context.Context, req *registryv1.PromoteVersionRequest) (*registryv1.PromoteVersionResponse, error) {
	if req.GetVersion() == "" {
		return nil, fault.Invalid.Errorf("say which version")
	}
	v, err := s.moveTo(ctx, req.GetAppId(), req.GetVersion())
	return &registryv1.PromoteVersionResponse{Version: v}, err
}

// RollbackApp makes the version live that was so before, or any earlier one.
func (s *Service) RollbackApp(ctx context.Context, req *registryv1.RollbackAppRequest) (*registryv1.RollbackAppResponse, error) {
	v, err := s.moveTo(ctx, req.GetAppId(), req.GetVersion())
	return &registryv1.RollbackAppResponse{Version: v}, err
}

// moveTo makes a version live; without a name the one that was so before.
func (s *Service) moveTo(ctx context.Context, appID, name string) (*registryv1.Version, error) {
	app, _, err := s.managed(ctx, appID)
	if err != nil {
		return nil, err
	}
	var v store.Version
	if name != "" {
		if v, err = s.kept(ctx, app, name); err != nil {
			return nil, err
		}
	}
	limited, cancel := context.WithTimeout(ctx, deployWait)
	defer cancel()
	res, err := s.deps.Versions.PromoteVersion(limited, &schedulerv1.PromoteVersionRequest{TargetId: app.ID, OrgId: app.OrgID, VersionId: v.ID})
	if err != nil {
		return nil, err
	}
	if v, err = s.deps.Store.FindVersion(ctx, res.GetVersionId()); err != nil {
		return nil, err
	}
	if res.GetOutcome() != schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE {
		return nil, fault.Conflict.Errorf("version %d was not made live, and what was live still is: %s", v.Number, res.GetError())
	}
	defer s.deps.Changed.Notify()
	if err := s.recordLive(ctx, v, store.Switch{Number: res.GetSwitchNumber(), By: principal.From(ctx).UserID, UserParams: res.GetUserParams()}); err != nil {
		return nil, err
	}
	v, err = s.deps.Store.FindVersion(ctx, v.ID)
	return versionProto(v), err
}

// DeleteVersion ends a version and deletes its files.
func (s *Service) DeleteVersion(ctx context.Context, req *registryv1.DeleteVersionRequest) (*registryv1.DeleteVersionResponse, error) {
	app, _, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	v, err := s.version(ctx, app, req.GetVersion())
	if err != nil {
		return nil, err
	}
	if v.State == store.Pending {
		return nil, fault.Conflict.Errorf("version %d is being deployed; delete it when that has ended", v.Number)
	}
	limited, cancel := context.WithTimeout(ctx, detailsWait)
	defer cancel()
	if _, err := s.deps.Versions.DeleteVersion(limited, &schedulerv1.DeleteVersionRequest{TargetId: app.ID, OrgId: app.OrgID, VersionId: v.ID}); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.deps.Store.MarkDeleted(ctx, tx, v.ID) })
	if err != nil {
		return nil, err
	}
	v, err = s.deps.Store.FindVersion(ctx, v.ID)
	return &registryv1.DeleteVersionResponse{Version: versionProto(v)}, err
}

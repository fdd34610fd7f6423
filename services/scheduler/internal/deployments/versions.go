package deployments

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// mostDescribed bounds one question.
const mostDescribed = 1000

// DescribeVersions tells what is known of a target's versions.
func (s *Service) DescribeVersions(ctx context.Context, req *schedulerv1.DescribeVersionsRequest) (*schedulerv1.DescribeVersionsResponse, error) {
	if len(req.GetVersionIds()) > mostDescribed {
		return nil, fault.TooLarge.Errorf("at most %d versions can be described at once", mostDescribed)
	}
	previous, err := s.deps.Store.Previous(ctx, req.GetTargetId())
	if err != nil && !fault.NotFound.Is(err) {
		return nil, err
	}
	answer := &schedulerv1.DescribeVersionsResponse{}
	for _, versionID := range req.GetVersionIds() {
		v, err := s.versionOf(ctx, req.GetTargetId(), req.GetOrgId(), versionID)
		if fault.NotFound.Is(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		facts := s.facts(v)
		facts.Previous = v.ID == previous
		if req.GetDetails() {
			if err := s.detail(ctx, v, facts); err != nil {
				return nil, err
			}
		}
		answer.Versions = append(answer.Versions, facts)
	}
	return answer, nil
}

func (s *Service) facts(v store.Version) *schedulerv1.VersionFacts {
	look, known := s.deps.Runtime.Look(v.TargetID, v.ID)
	remote := v.Capture.MCPURL != "" && v.State != store.Failed
	facts := &schedulerv1.VersionFacts{
		VersionId: v.ID, Up: known && ready(look) || remote, Held: v.Held, EnvironmentDigest: v.Artifact.GetEnvironmentDigest(),
	}
	if v.WarmUntil.After(s.deps.Now()) {
		facts.WarmUntil = timestamppb.New(v.WarmUntil)
	}
	if c := v.ToolChanges; c != nil {
		facts.ToolChanges = &schedulerv1.ToolChanges{ThanNumber: c.Than, Added: c.Added, Removed: c.Removed, Changed: c.Changed, Policy: c.Policy}
	}
	return facts
}

// detail adds what has to be asked of others.
func (s *Service) detail(ctx context.Context, v store.Version, facts *schedulerv1.VersionFacts) error {
	tools, err := toolHashes(v.Capture.ToolsJSON)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(tools)) {
		facts.Tools = append(facts.Tools, &schedulerv1.ToolDefinition{Name: name, Hash: tools[name]})
	}
	open, err := s.steps.countOpen(ctx, flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID})
	if err != nil {
		return err
	}
	facts.OpenRuns = open.Classes + open.Tools
	if v.BundleID == "" {
		return nil // it runs elsewhere
	}
	made, err := s.deps.Builds.DescribeArtifact(asRoom(ctx, v.OrgID), &builderv1.DescribeArtifactRequest{
		BundleId: v.BundleID, OrgId: v.OrgID, EnvironmentDigest: v.Artifact.GetEnvironmentDigest(),
	})
	if err != nil {
		return err
	}
	facts.FilesKept, facts.EnvironmentKept = made.GetFilesKept(), made.GetEnvironmentKept()
	for _, f := range made.GetFiles() {
		facts.Files = append(facts.Files, &schedulerv1.BundleFile{Path: f.GetPath(), Digest: f.GetDigest(), Bytes: f.GetBytes()})
	}
	for _, p := range made.GetPackages() {
		facts.Dependencies = append(facts.Dependencies, &schedulerv1.Dependency{Name: p.GetName(), Version: p.GetVersion()})
	}
	return nil
}

// DeleteVersion ends a version and forgets it; the collector deletes its files.
func (s *Service) DeleteVersion(ctx context.Context, req *schedulerv1.DeleteVersionRequest) (*schedulerv1.DeleteVersionResponse, error) {
	v, err := s.versionOf(ctx, req.GetTargetId(), req.GetOrgId(), req.GetVersionId())
	if fault.NotFound.Is(err) {
		return &schedulerv1.DeleteVersionResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer s.holding.Take(v.ID)()
	if err := s.deletable(ctx, v); err != nil {
		return nil, err
	}
	if err := s.deps.Store.EndVersion(ctx, v); err != nil {
		return nil, err
	}
	if err := s.steps.stopRetire(ctx, v, "the version was deleted"); err != nil {
		return nil, err
	}
	if err := s.steps.end(ctx, v); err != nil {
		return nil, err
	}
	return &schedulerv1.DeleteVersionResponse{}, s.forget(ctx, v)
}

// deletable fails with fault.Conflict while somebody needs the version.
func (s *Service) deletable(ctx context.Context, v store.Version) error {
	switch v.State {
	case store.Live:
		return fault.Conflict.Errorf("version %d is live; make another one live first", v.Number)
	case store.Pending:
		return fault.Conflict.Errorf("version %d is being deployed; delete it when that has ended", v.Number)
	case store.Failed, store.Gone, store.Ready, store.Draining:
	}
	if err := s.untried(ctx, v); err != nil {
		return err
	}
	known, err := s.deps.Store.HasOpenRuns(ctx, v.ID)
	if err != nil {
		return err
	}
	open, err := s.steps.countOpen(ctx, flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID})
	if err != nil {
		return err
	}
	if n := open.Classes + open.Tools; n > 0 || known {
		return fault.Conflict.Errorf("version %d has open runs (%d) that began on it and need it; delete it when they have ended", v.Number, max(n, 1))
	}
	return nil
}

// forget deletes what is on record of a version that is over.
func (s *Service) forget(ctx context.Context, v store.Version) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		gone, err := s.deps.Store.DeleteVersion(ctx, tx, v.ID)
		if err != nil || !gone {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.VersionDeleted{TargetId: v.TargetID, AppId: v.AppID, VersionId: v.ID, Time: timestamppb.New(s.deps.Now())})
	})
}

// prune forgets versions that are older than those to keep and that nothing needs.
func (s *Service) prune(ctx context.Context) error {
	old, err := s.deps.Store.Superfluous(ctx, s.deps.Garbage.Keep, mostDescribed)
	if err != nil {
		return err
	}
	for _, v := range old {
		if err := s.forget(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

package apps

import (
	"context"
	"errors"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/text"
)

// deployWait is a little less than the 300 s after which the public command line
// hangs up, so that it gets our sentence.
const deployWait = 290 * time.Second

// AuthorizeUpload fails unless the caller may upload code for the app.
func (s *Service) AuthorizeUpload(ctx context.Context, req *registryv1.AuthorizeUploadRequest) (*registryv1.AuthorizeUploadResponse, error) {
	app, _, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	return &registryv1.AuthorizeUploadResponse{OrgId: app.OrgID}, nil
}

// RecordUpload says which bundle the next deploy of an app takes, or why there is none.
func (s *Service) RecordUpload(ctx context.Context, req *registryv1.RecordUploadRequest) (*registryv1.RecordUploadResponse, error) {
	app, caller, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	if req.GetRefused() == "" && !id.Bundle.Valid(req.GetBundleId()) {
		return nil, fault.Invalid.Errorf("%q is no bundle", req.GetBundleId())
	}
	if err := text.Line("a digest", req.GetDigest(), maxName); err != nil {
		return nil, err
	}
	err = s.deps.Store.InsertUpload(ctx, store.Upload{
		ID: id.Bundle.New(), AppID: app.ID, BundleID: req.GetBundleId(), Digest: req.GetDigest(), Refused: text.Kept(req.GetRefused(), maxReason),
		CreatorID: caller.UserID, CreatedAt: s.deps.Now(),
	})
	return &registryv1.RecordUploadResponse{}, err
}

// DeployApp makes the newest upload the live version. The command line repeats it
// up to six times on any error, so a version that has failed says why again and
// builds nothing.
func (s *Service) DeployApp(ctx context.Context, req *registryv1.DeployAppRequest) (*registryv1.DeployAppResponse, error) {
	app, caller, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	metadata, err := metadataText(req.GetDeploymentMetadata())
	if err != nil {
		return nil, err
	}
	upload, err := s.deps.Store.LatestUpload(ctx, app.ID)
	if fault.NotFound.Is(err) {
		return nil, fault.Invalid.Errorf("nothing was uploaded for this app: run `mcp-agent deploy %s` in the folder of its main.py", app.Name)
	}
	if err != nil {
		return nil, err
	}
	if upload.Refused != "" {
		return nil, fault.Invalid.Errorf("the upload was refused: %s", upload.Refused)
	}
	version, err := s.versionFor(ctx, app, upload, metadata, caller.UserID)
	if err != nil {
		return nil, err
	}
	notices, err := s.bringLive(ctx, app, version)
	if err != nil {
		return nil, err
	}
	app, err = s.deps.Store.FindApp(ctx, app.OrgID, app.ID)
	if err != nil {
		return nil, err
	}
	return &registryv1.DeployAppResponse{App: s.appProto(app), Notices: notices}, nil
}

// versionFor finds or makes the version of an upload.
func (s *Service) versionFor(ctx context.Context, app store.App, upload store.Upload, metadata, userID string) (store.Version, error) {
	var version store.Version
	findOrMake := func(tx *sqldb.Tx) error {
		var err error
		version, err = s.deps.Store.VersionOfUpload(ctx, tx, app.ID, upload.ID)
		if err == nil {
			return s.refreshMetadata(ctx, tx, app.ID, metadata)
		}
		if !fault.NotFound.Is(err) {
			return err
		}
		version = store.Version{
			ID: id.Version.New(), AppID: app.ID, UploadID: upload.ID, BundleID: upload.BundleID, State: store.Pending,
			Metadata: metadata, CreatorID: userID, CreatedAt: s.deps.Now(),
		}
		if version.Number, err = s.deps.Store.InsertVersion(ctx, tx, version); err != nil {
			return err
		}
		return s.refreshMetadata(ctx, tx, app.ID, metadata)
	}
	err := s.deps.Store.Tx(ctx, findOrMake)
	if sqldb.IsUnique(err) { // another call was first, so that the version is there now
		err = s.deps.Store.Tx(ctx, findOrMake)
	}
	return version, err
}

// refreshMetadata keeps what is known when a repeated call comes without metadata,
// as the command line's do.
func (s *Service) refreshMetadata(ctx context.Context, tx *sqldb.Tx, appID, metadata string) error {
	if metadata == "" {
		return nil
	}
	return s.deps.Store.SetMetadata(ctx, tx, appID, metadata, s.deps.Now())
}

// bringLive answers for a version that has ended, and deploys or joins any other. It
// returns what the one who deploys should know.
func (s *Service) bringLive(ctx context.Context, app store.App, version store.Version) (notices []string, _ error) {
	switch version.State {
	case store.Live, store.Ready:
		return nil, nil
	case store.Failed:
		return nil, fault.Invalid.Errorf("%s", version.Error)
	case store.Retired:
		return nil, fault.Conflict.Errorf("version %d is not the live one any more; make it so with `agentcloud versions promote %s %d`, or upload the code again", version.Number, app.Name, version.Number)
	case store.Deleted:
		return nil, fault.Conflict.Errorf("version %d was deleted; upload the code again to deploy it", version.Number)
	case store.Pending:
	}
	variables, err := s.variables(ctx, app.ID)
	if err != nil {
		return nil, err
	}
	res, err := s.deploy(ctx, &schedulerv1.DeployRequest{
		TargetId: app.ID, AppId: app.ID, OrgId: app.OrgID, VersionId: version.ID, Number: version.Number,
		BundleId: version.BundleID, AppName: app.Name, Variables: variables,
	})
	if fault.Conflict.Is(err) {
		// The upload stays, so the same command works when the other deploy has ended.
		return nil, errors.Join(err, s.deps.Store.DeletePending(ctx, version.ID))
	}
	if err != nil {
		return nil, err
	}
	return res.GetNotices(), s.settle(ctx, version, res)
}

func (s *Service) deploy(ctx context.Context, req *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	limited, cancel := context.WithTimeout(ctx, deployWait)
	defer cancel()
	res, err := s.deps.Scheduler.Deploy(limited, req)
	if fault.Deadline.Is(err) && ctx.Err() == nil {
		return nil, fault.Deadline.Wrap(err, "version %d is still being deployed; run the same command again to wait for it", req.GetNumber())
	}
	return res, err
}

// settle records how a deploy ended; the scheduler's events do the same when this
// process was not there to hear it.
func (s *Service) settle(ctx context.Context, version store.Version, res *schedulerv1.DeployResponse) error {
	defer s.deps.Changed.Notify()
	switch res.GetOutcome() {
	case schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE:
		return s.recordLive(ctx, version, store.Switch{Number: res.GetSwitchNumber(), By: version.CreatorID, UserParams: res.GetUserParams()})
	case schedulerv1.DeployOutcome_DEPLOY_OUTCOME_READY:
		return s.recordReady(ctx, version)
	case schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, schedulerv1.DeployOutcome_DEPLOY_OUTCOME_UNSPECIFIED:
	}
	if err := s.recordFailed(ctx, version.ID, res.GetError()); err != nil {
		return err
	}
	return fault.Invalid.Errorf("%s", res.GetError())
}

// recordLive makes a version the live one of its app, unless a later switch has made
// another one so. Told again, it changes nothing.
func (s *Service) recordLive(ctx context.Context, version store.Version, by store.Switch) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		live, err := s.deps.Store.LiveVersion(ctx, tx, version.AppID)
		if err != nil && !fault.NotFound.Is(err) {
			return err
		}
		known, err := s.deps.Store.Switches(ctx, tx, version.AppID)
		if err != nil {
			return err
		}
		// An older scheduler counts no switches, and never goes back to an older version.
		late := by.Number <= known
		if by.Number == 0 {
			late, by.Number = live.Number >= version.Number, known
		}
		switch {
		case late && live.ID == version.ID:
			return nil
		case late:
			return s.deps.Store.MarkRetired(ctx, tx, version.ID, s.deps.Now())
		}
		return s.deps.Store.MarkLive(ctx, tx, version, by, s.deps.Now())
	})
}

// recordReady records that a version waits to be promoted. Told late, it changes nothing.
func (s *Service) recordReady(ctx context.Context, version store.Version) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.deps.Store.MarkReady(ctx, tx, version) })
}

func (s *Service) recordFailed(ctx context.Context, versionID, why string) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		return s.deps.Store.MarkFailed(ctx, tx, versionID, text.Kept(why, maxReason))
	})
}

// ListVersions lists the versions of an app.
func (s *Service) ListVersions(ctx context.Context, req *registryv1.ListVersionsRequest) (*registryv1.ListVersionsResponse, error) {
	app, err := s.find(ctx, req.GetAppId(), "")
	if err != nil {
		return nil, err
	}
	below, err := versionToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := page.Size(int(req.GetPageSize()), usualPage, maxPage)
	versions, err := s.deps.Store.ListVersions(ctx, app.ID, below, size+1)
	if err != nil {
		return nil, err
	}
	res := &registryv1.ListVersionsResponse{}
	if len(versions) > size {
		versions = versions[:size]
		res.NextPageToken = versionPage(versions[size-1].Number)
	}
	for _, version := range versions {
		res.Versions = append(res.Versions, versionProto(version))
	}
	s.addFacts(ctx, app, res.GetVersions())
	return res, nil
}

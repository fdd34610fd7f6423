package apps

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/access"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// maxURL bounds the address of a server.
const maxURL = 2000

// ConnectApp puts an app's address in front of a server that runs elsewhere. When the
// server cannot be spoken to, what served before still does, and no new app stays.
func (s *Service) ConnectApp(ctx context.Context, req *registryv1.ConnectAppRequest) (*registryv1.ConnectAppResponse, error) {
	if url := req.GetUrl(); url == "" || len(url) > maxURL {
		return nil, fault.Invalid.Errorf("give the URL of the server's MCP endpoint, for example https://mcp.example.com/mcp")
	}
	app, made, err := s.appNamed(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx, app, req.GetUrl()); err != nil {
		if made {
			_, _ = s.DeleteApp(context.WithoutCancel(ctx), &registryv1.DeleteAppRequest{AppId: app.ID}) // it can be deleted by hand as well
		}
		return nil, err
	}
	if app, err = s.deps.Store.FindApp(ctx, app.OrgID, app.ID); err != nil {
		return nil, err
	}
	return &registryv1.ConnectAppResponse{App: s.appProto(app)}, nil
}

// appNamed makes the app, or finds it and changes what the request says.
func (s *Service) appNamed(ctx context.Context, req *registryv1.ConnectAppRequest) (app store.App, made bool, err error) {
	created, err := s.CreateApp(ctx, &registryv1.CreateAppRequest{
		Name: req.GetName(), Description: req.Description, UnauthenticatedAccess: req.UnauthenticatedAccess,
	})
	if err == nil {
		app, err = s.find(ctx, created.GetApp().GetAppId(), "")
		return app, true, err
	}
	if !fault.Exists.Is(err) && !fault.Conflict.Is(err) {
		return app, false, err
	}
	caller, err := user(ctx)
	if err != nil {
		return app, false, err
	}
	found, _, err := s.deps.Store.ListApps(ctx, store.Filter{OrgID: caller.OrgID, Contains: req.GetName(), Limit: 1})
	if err != nil || len(found) == 0 {
		return app, false, fault.NotFound.Wrap(err, "the app was deleted just now; try again")
	}
	app = found[0]
	if err := access.Manager(caller, app.CreatorID); err != nil {
		return app, false, err
	}
	if req.Description != nil || req.UnauthenticatedAccess != nil {
		_, err = s.UpdateApp(ctx, &registryv1.UpdateAppRequest{AppId: app.ID, Description: req.Description, UnauthenticatedAccess: req.UnauthenticatedAccess})
	}
	return app, false, err
}

// connect makes a version of the server and brings it live.
func (s *Service) connect(ctx context.Context, app store.App, url string) error {
	caller, err := user(ctx)
	if err != nil {
		return err
	}
	version := store.Version{ID: id.Version.New(), AppID: app.ID, State: store.Pending, CreatorID: caller.UserID, CreatedAt: s.deps.Now()}
	version.UploadID = version.ID // nothing was uploaded, and no two versions are of one upload
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		version.Number, err = s.deps.Store.InsertVersion(ctx, tx, version)
		return err
	})
	if err != nil {
		return err
	}
	res, err := s.deps.Scheduler.Connect(ctx, &schedulerv1.ConnectRequest{
		TargetId: app.ID, OrgId: app.OrgID, VersionId: version.ID, Number: version.Number, AppName: app.Name, Url: url,
	})
	if err != nil {
		_ = s.deps.Store.DeletePending(context.WithoutCancel(ctx), version.ID) // a version that never was
		return err
	}
	return s.settle(ctx, version, &schedulerv1.DeployResponse{Outcome: res.GetOutcome(), Error: res.GetError(), SwitchNumber: res.GetSwitchNumber()})
}

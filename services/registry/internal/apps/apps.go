// Package apps keeps the record of MCP apps: who owns them, where they answer,
// which version of each is the live one.
//
// It never starts anything. Running is the scheduler's business.
package apps

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/access"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/text"
)

const (
	usualPage = 100
	maxPage   = 1000
)

// A Scheduler makes versions run; schedulerv1.DeploymentsServiceClient is one.
type Scheduler = schedulerv1.DeploymentsServiceClient

// Versions moves apps between versions; schedulerv1.VersionsServiceClient is one.
type Versions = schedulerv1.VersionsServiceClient

// Rollouts tries versions; schedulerv1.RolloutsServiceClient is one.
type Rollouts = schedulerv1.RolloutsServiceClient

// Secrets knows which handles exist; secretsv1.SecretsServiceClient is one.
type Secrets interface {
	CheckHandles(ctx context.Context, req *secretsv1.CheckHandlesRequest, opts ...grpc.CallOption) (*secretsv1.CheckHandlesResponse, error)
	// ListSecrets lists those that the caller may manage.
	ListSecrets(ctx context.Context, req *secretsv1.ListSecretsRequest, opts ...grpc.CallOption) (*secretsv1.ListSecretsResponse, error)
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store     *store.Store
	Scheduler Scheduler
	Versions  Versions
	Rollouts  Rollouts
	Secrets   Secrets
	Places    Places
	Log       *slog.Logger
	Now       func() time.Time
	// Changed wakes those who watch the table of addresses.
	Changed *Broadcast
}

// Service implements registryv1.AppsServiceServer, VersionsServiceServer and
// RolloutsServiceServer.
type Service struct {
	registryv1.UnimplementedAppsServiceServer
	registryv1.UnimplementedVersionsServiceServer
	registryv1.UnimplementedRolloutsServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// CreateApp records a new app for the caller and gives it its address.
func (s *Service) CreateApp(ctx context.Context, req *registryv1.CreateAppRequest) (*registryv1.CreateAppResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	name, err := text.Name("an app's name", req.GetName(), maxName)
	if err != nil {
		return nil, err
	}
	if err := description(req.Description); err != nil {
		return nil, err
	}
	now := s.deps.Now().UTC()
	app := store.App{
		ID: id.App.New(), OrgID: caller.OrgID, CreatorID: caller.UserID, Name: name, Description: req.Description,
		Unauthenticated: req.GetUnauthenticatedAccess(), CreatedAt: now, UpdatedAt: now,
	}
	app.Address, err = s.place(ctx, app.ID, app.Name, func(tx *sqldb.Tx) error {
		return nameTaken(s.deps.Store.InsertApp(ctx, tx, app), name)
	})
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	return &registryv1.CreateAppResponse{App: s.appProto(app)}, nil
}

// GetApp finds an app by id or URL.
func (s *Service) GetApp(ctx context.Context, req *registryv1.GetAppRequest) (*registryv1.GetAppResponse, error) {
	app, err := s.find(ctx, req.GetAppId(), req.GetAppServerUrl())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetAppResponse{App: s.appProto(app)}, nil
}

func (s *Service) find(ctx context.Context, appID, url string) (store.App, error) {
	caller, err := user(ctx)
	if err != nil {
		return store.App{}, err
	}
	switch {
	case id.App.Valid(appID):
		return s.deps.Store.FindApp(ctx, caller.OrgID, appID)
	case appID != "":
		return store.App{}, fault.NotFound.Errorf("no such app")
	case url == "":
		return store.App{}, fault.Invalid.Errorf("say which app: give its id or the URL of its server")
	}
	at, err := s.deps.Places.Parse(url)
	if err != nil {
		return store.App{}, err
	}
	return s.deps.Store.FindAppAt(ctx, caller.OrgID, at)
}

// managed finds an app that the caller may manage.
func (s *Service) managed(ctx context.Context, appID string) (store.App, principal.Principal, error) {
	caller := principal.From(ctx)
	app, err := s.find(ctx, appID, "")
	if err != nil {
		return app, caller, err
	}
	return app, caller, access.Manager(caller, app.CreatorID)
}

// ListApps lists apps of the caller's organisation.
func (s *Service) ListApps(ctx context.Context, req *registryv1.ListAppsRequest) (*registryv1.ListAppsResponse, error) {
	filter, err := filter(ctx, req.GetMaxResults(), req.GetIsCreator(), req.GetNameFilter(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	apps, total, err := s.deps.Store.ListApps(ctx, filter)
	if err != nil {
		return nil, err
	}
	res := &registryv1.ListAppsResponse{TotalCount: int32(total), NextPageToken: next(filter, len(apps), total)} //nolint:gosec // a count of rows
	for _, app := range apps {
		res.Apps = append(res.Apps, s.appProto(app))
	}
	return res, nil
}

func filter(ctx context.Context, size int32, own bool, name, token string) (store.Filter, error) {
	caller, err := user(ctx)
	if err != nil {
		return store.Filter{}, err
	}
	if err := text.Line("a name filter", name, maxName); err != nil {
		return store.Filter{}, err
	}
	f := store.Filter{OrgID: caller.OrgID, Contains: name, Limit: page.Size(int(size), usualPage, maxPage)}
	if own {
		f.CreatorID = caller.UserID
	}
	if token == "" {
		return f, nil
	}
	position, err := page.Decode(token)
	if err != nil {
		return f, err
	}
	f.Offset, err = strconv.Atoi(position)
	if err != nil || f.Offset < 0 {
		return f, fault.Invalid.Errorf("the page token is damaged; start again without it")
	}
	return f, nil
}

func next(f store.Filter, got, total int) string {
	if got == 0 || f.Offset+got >= total {
		return ""
	}
	return page.Encode(strconv.Itoa(f.Offset + got))
}

// UpdateApp changes name, description or access.
func (s *Service) UpdateApp(ctx context.Context, req *registryv1.UpdateAppRequest) (*registryv1.UpdateAppResponse, error) {
	app, _, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	if req.Name != nil {
		if app.Name, err = text.Name("an app's name", req.GetName(), maxName); err != nil {
			return nil, err
		}
	}
	if req.Description != nil {
		if err := description(req.Description); err != nil {
			return nil, err
		}
		app.Description = req.Description
	}
	if req.UnauthenticatedAccess != nil {
		app.Unauthenticated = req.GetUnauthenticatedAccess()
	}
	app.UpdatedAt = s.deps.Now().UTC()
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		return nameTaken(s.deps.Store.UpdateApp(ctx, tx, app), app.Name)
	})
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	return &registryv1.UpdateAppResponse{App: s.appProto(app)}, nil
}

// DeleteApp removes an app; what runs for it ends by the event, and at once when
// the scheduler is there.
func (s *Service) DeleteApp(ctx context.Context, req *registryv1.DeleteAppRequest) (*registryv1.DeleteAppResponse, error) {
	app, _, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		configurations, err := s.deps.Store.ConfigurationsOf(ctx, tx, app.ID)
		if err != nil {
			return err
		}
		for _, c := range configurations {
			if err := bus.Put(ctx, tx, &registryv1.ConfigurationDeleted{AppConfigurationId: c.ID, OrgId: c.OrgID}); err != nil {
				return err
			}
		}
		if err := s.deps.Store.DeleteApp(ctx, tx, app.ID); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &registryv1.AppDeleted{AppId: app.ID, OrgId: app.OrgID})
	})
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	s.removeSoon(ctx, app.ID)
	return &registryv1.DeleteAppResponse{AppId: app.ID}, nil
}

// removeSoon tries what the event will do anyway, so that a person who deletes an
// app usually finds it stopped when the command ends.
func (s *Service) removeSoon(ctx context.Context, targetID string) {
	ctx, cancel := context.WithTimeout(ctx, removeTry)
	defer cancel()
	if _, err := s.deps.Scheduler.Remove(ctx, &schedulerv1.RemoveRequest{TargetId: targetID}); err != nil {
		s.deps.Log.InfoContext(ctx, "the target will be removed by its event", "target", targetID, "error", err)
	}
}

const removeTry = 10 * time.Second

func user(ctx context.Context) (principal.Principal, error) {
	caller := principal.From(ctx)
	if caller.Kind != principal.User {
		return caller, fault.Unauthenticated.Errorf("an API key is needed")
	}
	return caller, nil
}

package apps

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/access"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// handlesWait bounds the question whether secrets exist.
const handlesWait = 10 * time.Second

// ListConfigParams lists what each user of the app brings.
func (s *Service) ListConfigParams(ctx context.Context, req *registryv1.ListConfigParamsRequest) (*registryv1.ListConfigParamsResponse, error) {
	app, err := s.find(ctx, "", req.GetAppServerUrl())
	if err != nil {
		return nil, err
	}
	return &registryv1.ListConfigParamsResponse{ParamKeys: app.UserParams}, nil
}

// ConfigureApp gives the caller an instance of the app with secrets of their own.
func (s *Service) ConfigureApp(ctx context.Context, req *registryv1.ConfigureAppRequest) (*registryv1.ConfigureAppResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	app, err := s.find(ctx, "", req.GetAppServerUrl())
	if err != nil {
		return nil, err
	}
	if app.LiveVersionID == "" {
		return nil, fault.Conflict.Errorf("the app has no live version yet: deploy it first")
	}
	if err := checkParams(app.UserParams, req.GetParams()); err != nil {
		return nil, err
	}
	if err := s.checkHandles(ctx, caller.OrgID, req.GetParams()); err != nil {
		return nil, err
	}
	configuration, err := s.configurationFor(ctx, app, caller.UserID, req.GetParams())
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	if err := s.configure(ctx, configuration); err != nil {
		return nil, err
	}
	configuration, err = s.deps.Store.FindConfiguration(ctx, caller.OrgID, configuration.ID)
	if err != nil {
		return nil, err
	}
	return &registryv1.ConfigureAppResponse{AppConfiguration: s.configurationProto(configuration)}, nil
}

// checkParams demands exactly the parameters of the app, each with a secret's handle.
func checkParams(wanted []string, given map[string]string) error {
	for _, key := range wanted {
		if given[key] == "" {
			return fault.Invalid.Errorf("the app needs a value for %s", key)
		}
	}
	for key, handle := range given {
		if !slices.Contains(wanted, key) {
			return fault.Invalid.Errorf("the app takes no %q; it takes %s", key, cmp.Or(strings.Join(wanted, ", "), "nothing"))
		}
		if !id.Secret.Valid(handle) {
			return fault.Invalid.Errorf("the value of %s is no secret handle", key)
		}
	}
	return nil
}

// checkHandles fails unless the organisation has all the secrets. It reads no value.
func (s *Service) checkHandles(ctx context.Context, org string, params map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, handlesWait)
	defer cancel()
	handles := slices.Sorted(maps.Values(params))
	if len(handles) == 0 {
		return nil
	}
	res, err := s.deps.Secrets.CheckHandles(ctx, &secretsv1.CheckHandlesRequest{OrgId: org, Handles: handles})
	if err != nil {
		return err
	}
	if unknown := res.GetUnknown(); len(unknown) > 0 {
		return fault.Invalid.Errorf("there is no secret %s here; run `mcp-agent cloud configure` again to make new ones", strings.Join(unknown, ", "))
	}
	return nil
}

// configurationFor finds or makes the user's configuration of the app.
func (s *Service) configurationFor(ctx context.Context, app store.App, userID string, params map[string]string) (store.Configuration, error) {
	existing, err := s.deps.Store.FindConfigurationOf(ctx, app.ID, userID)
	if err == nil {
		if maps.Equal(existing.Params, params) && existing.VersionID != existing.FailedVersionID {
			return existing, nil
		}
		return s.renew(ctx, existing, params)
	}
	if !fault.NotFound.Is(err) {
		return existing, err
	}
	fresh := store.Configuration{
		ID: id.AppConfiguration.New(), OrgID: app.OrgID, CreatorID: userID, Params: params, CreatedAt: s.deps.Now().UTC(), App: app,
		OfVersionID: app.LiveVersionID, VersionID: id.Version.New(),
	}
	fresh.Address, err = s.place(ctx, fresh.ID, app.Name, func(tx *sqldb.Tx) error {
		return s.deps.Store.InsertConfiguration(ctx, tx, fresh)
	})
	if sqldb.IsUnique(err) {
		return fresh, errBeingConfigured(err)
	}
	return fresh, err
}

func errBeingConfigured(cause error) error {
	return fault.Conflict.Wrap(cause, "another call is configuring this app for you; try again")
}

// renew lets a configuration wish for its app's live version with params. The wish
// has an id of its own, since the same version with other parameters is another thing
// to run.
func (s *Service) renew(ctx context.Context, c store.Configuration, params map[string]string) (store.Configuration, error) {
	previous := c.VersionID
	c.Params, c.OfVersionID, c.VersionID = params, c.App.LiveVersionID, id.Version.New()
	renewed := false
	err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) (err error) {
		renewed, err = s.deps.Store.SetWish(ctx, tx, c, previous)
		return err
	})
	if err == nil && !renewed {
		err = errBeingConfigured(nil)
	}
	return c, err
}

// configure brings a configuration to its app's live version.
func (s *Service) configure(ctx context.Context, c store.Configuration) error {
	var err error
	if c.OfVersionID != c.App.LiveVersionID {
		if c, err = s.renew(ctx, c, c.Params); err != nil {
			return err
		}
	}
	if c.LiveVersionID == c.VersionID {
		return nil
	}
	version, err := s.deps.Store.FindVersion(ctx, c.OfVersionID)
	if err != nil {
		return err
	}
	res, err := s.deploy(ctx, &schedulerv1.DeployRequest{
		TargetId: c.ID, AppId: c.App.ID, OrgId: c.OrgID, VersionId: c.VersionID, Number: version.Number,
		BundleId: version.BundleID, AppName: c.App.Name, Params: c.Params,
	})
	if err != nil {
		return err
	}
	return s.settleConfiguration(ctx, c.ID, c.VersionID, res)
}

func (s *Service) settleConfiguration(ctx context.Context, configurationID, versionID string, res *schedulerv1.DeployResponse) error {
	live := res.GetOutcome() == schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE
	err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if live {
			if err := s.deps.Store.SetReady(ctx, tx, configurationID, true); err != nil {
				return err
			}
		}
		return s.deps.Store.SetConfigurationVersion(ctx, tx, configurationID, versionID, live)
	})
	if err != nil {
		return err
	}
	s.deps.Changed.Notify()
	if !live {
		return fault.Invalid.Errorf("%s", res.GetError())
	}
	return nil
}

// GetAppConfiguration finds a configuration by id or URL.
func (s *Service) GetAppConfiguration(ctx context.Context, req *registryv1.GetAppConfigurationRequest) (*registryv1.GetAppConfigurationResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	configuration, err := s.findConfiguration(ctx, caller.OrgID, req)
	if err != nil {
		return nil, err
	}
	return &registryv1.GetAppConfigurationResponse{AppConfiguration: s.configurationProto(configuration)}, nil
}

func (s *Service) findConfiguration(ctx context.Context, org string, req *registryv1.GetAppConfigurationRequest) (store.Configuration, error) {
	if req.GetAppConfigurationId() != "" {
		return s.configuration(ctx, org, req.GetAppConfigurationId())
	}
	if req.GetAppConfigServerUrl() == "" {
		return store.Configuration{}, fault.Invalid.Errorf("say which configuration: appConfigurationId or appConfigServerUrl")
	}
	at, err := s.deps.Places.Parse(req.GetAppConfigServerUrl())
	if err != nil {
		return store.Configuration{}, err
	}
	return s.deps.Store.FindConfigurationAt(ctx, org, at)
}

func (s *Service) configuration(ctx context.Context, org, configurationID string) (store.Configuration, error) {
	if !id.AppConfiguration.Valid(configurationID) {
		return store.Configuration{}, fault.NotFound.Errorf("no such configuration")
	}
	return s.deps.Store.FindConfiguration(ctx, org, configurationID)
}

// ListAppConfigurations lists configurations of the caller's organisation.
func (s *Service) ListAppConfigurations(ctx context.Context, req *registryv1.ListAppConfigurationsRequest) (*registryv1.ListAppConfigurationsResponse, error) {
	f, err := filter(ctx, req.GetMaxResults(), req.GetIsCreator(), req.GetNameFilter(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	all, total, err := s.deps.Store.ListConfigurations(ctx, f)
	if err != nil {
		return nil, err
	}
	res := &registryv1.ListAppConfigurationsResponse{TotalCount: int32(total), NextPageToken: next(f, len(all), total)} //nolint:gosec // a count of rows
	for _, c := range all {
		res.AppConfigurations = append(res.AppConfigurations, s.configurationProto(c))
	}
	return res, nil
}

// DeleteAppConfiguration removes a configuration and what runs for it.
func (s *Service) DeleteAppConfiguration(ctx context.Context, req *registryv1.DeleteAppConfigurationRequest) (*registryv1.DeleteAppConfigurationResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.configuration(ctx, caller.OrgID, req.GetAppConfigId())
	if err != nil {
		return nil, err
	}
	if err := access.Manager(caller, c.CreatorID); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.DeleteConfiguration(ctx, tx, c.ID); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &registryv1.ConfigurationDeleted{AppConfigurationId: c.ID, OrgId: c.OrgID})
	})
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	s.removeSoon(ctx, c.ID)
	return &registryv1.DeleteAppConfigurationResponse{AppConfigId: c.ID}, nil
}

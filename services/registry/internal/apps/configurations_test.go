package apps_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/apps"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

// param is what each user brings to the apps of these tests.
const param = "openai.api_key"

// wanting makes an app that is live and wants param of each user.
func wanting(t *testing.T, w *registrytest.World, name string) *registryv1.App {
	t.Helper()
	w.Scheduler.Answer(always(registrytest.Live(param), nil))
	return online(t, w, w.Admin, name)
}

func configure(t *testing.T, w *registrytest.World, who principal.Principal, app *registryv1.App, handle string) (*registryv1.AppConfiguration, error) {
	t.Helper()
	res, err := w.Apps.ConfigureApp(registrytest.As(t, who), &registryv1.ConfigureAppRequest{
		AppServerUrl: app.GetAppServerInfo().GetServerUrl() + "/sse", Params: map[string]string{param: handle},
	})
	return res.GetAppConfiguration(), err
}

func lastDeploy(w *registrytest.World) *schedulerv1.DeployRequest {
	all := w.Scheduler.Deployed()
	return all[len(all)-1]
}

func configurationHasParams(t *testing.T, w *registrytest.World) {
	app := wanting(t, w, "finder")
	version := lastDeploy(w)
	ann, handle := w.User(t, "ann"), id.Secret.New()
	mine, err := configure(t, w, ann, app, handle)
	if err != nil {
		t.Fatal(err)
	}
	info := mine.GetAppServerInfo()
	if !id.AppConfiguration.Valid(mine.GetAppConfigurationId()) || mine.GetCreatorId() != ann.UserID || mine.GetApp().GetAppId() != app.GetAppId() ||
		info.GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE || info.GetServerUrl() == app.GetAppServerInfo().GetServerUrl() {
		t.Errorf("ConfigureApp() = %v, want an instance online at its own address", mine)
	}
	asked := lastDeploy(w)
	if asked.GetTargetId() != mine.GetAppConfigurationId() || asked.GetAppId() != app.GetAppId() || asked.GetBundleId() != version.GetBundleId() ||
		asked.GetParams()[param] != handle || asked.GetVersionId() == version.GetVersionId() || !id.Version.Valid(asked.GetVersionId()) {
		t.Errorf("asked of the scheduler = %v, want the app's bundle as a version of its own", asked)
	}
	for _, req := range []*registryv1.GetAppConfigurationRequest{{AppConfigurationId: mine.GetAppConfigurationId()}, {AppConfigServerUrl: info.GetServerUrl() + "/mcp"}} {
		found, err := w.Apps.GetAppConfiguration(registrytest.As(t, ann), req)
		if err != nil || !proto.Equal(found.GetAppConfiguration(), mine) {
			t.Errorf("GetAppConfiguration(%v) = %v, %v, want %v", req, found, err, mine)
		}
	}
	res, err := w.Apps.ResolveTarget(registrytest.As(t, ann), &registryv1.ResolveTargetRequest{TargetId: mine.GetAppConfigurationId()})
	if err != nil || res.GetAppId() != app.GetAppId() {
		t.Errorf("ResolveTarget() = %v, %v, want its app", res, err)
	}
}

func configurationIsRenewed(t *testing.T, w *registrytest.World) {
	app, first := wanting(t, w, "finder"), id.Secret.New()
	before, err := configure(t, w, w.Admin, app, first)
	if err != nil {
		t.Fatal(err)
	}
	deploys := len(w.Scheduler.Deployed())
	if _, err := configure(t, w, w.Admin, app, first); err != nil || len(w.Scheduler.Deployed()) != deploys {
		t.Errorf("ConfigureApp(unchanged) = %v, %d deploys, want none", err, len(w.Scheduler.Deployed())-deploys)
	}
	old, second := lastDeploy(w).GetVersionId(), id.Secret.New()
	after, err := configure(t, w, w.Admin, app, second)
	if err != nil || after.GetAppConfigurationId() != before.GetAppConfigurationId() || after.GetAppServerInfo().GetServerUrl() != before.GetAppServerInfo().GetServerUrl() {
		t.Errorf("ConfigureApp(other secret) = %v, %v, want the same instance", after, err)
	}
	if asked := lastDeploy(w); asked.GetParams()[param] != second || asked.GetVersionId() == old {
		t.Errorf("asked of the scheduler = %v, want a new version with the new secret", asked)
	}
	learn(t, w, &schedulerv1.VersionFailed{TargetId: after.GetAppConfigurationId(), AppId: app.GetAppId(), VersionId: old, Error: "late"})
	w.Scheduler.Answer(always(registrytest.Failed("that key is refused"), nil))
	_, err = configure(t, w, w.Admin, app, id.Secret.New())
	wantKind(t, "ConfigureApp(refused)", err, fault.Invalid)
	got, err := w.Apps.GetAppConfiguration(registrytest.As(t, w.Admin), &registryv1.GetAppConfigurationRequest{AppConfigurationId: after.GetAppConfigurationId()})
	if err != nil || got.GetAppConfiguration().GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE {
		t.Errorf("GetAppConfiguration() = %v, %v, want what served before still online", got, err)
	}
}

func configurationIsRetried(t *testing.T, w *registrytest.World) {
	app, handle := wanting(t, w, "finder"), id.Secret.New()
	w.Scheduler.Answer(always(registrytest.Failed("the key is refused by the model"), nil))
	_, err := configure(t, w, w.Admin, app, handle)
	wantKind(t, "ConfigureApp(refused)", err, fault.Invalid)
	if !strings.Contains(fault.Message(err), "refused by the model") {
		t.Errorf("ConfigureApp(refused) says %q, want why", fault.Message(err))
	}
	deploys := len(w.Scheduler.Deployed())
	apps.Follow(w.Service, t.Context())
	if n := len(w.Scheduler.Deployed()); n != deploys {
		t.Errorf("a refused configuration was deployed %d more times by itself", n-deploys)
	}
	w.Scheduler.Answer(nil)
	if got, err := configure(t, w, w.Admin, app, handle); err != nil || got.GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE {
		t.Errorf("ConfigureApp(again) = %v, %v, want it online", got, err)
	}
}

func configurationsFollow(t *testing.T, w *registrytest.World) {
	app := wanting(t, w, "finder")
	mine, err := configure(t, w, w.Admin, app, id.Secret.New())
	if err != nil {
		t.Fatal(err)
	}
	upload(t, w, w.Admin, app.GetAppId())
	if _, err := deploy(t, w, w.Admin, app.GetAppId()); err != nil {
		t.Fatal(err)
	}
	newest := lastDeploy(w)
	w.Scheduler.Answer(always(nil, fault.Unavailable.Errorf("away")))
	apps.Follow(w.Service, t.Context())
	wish := lastDeploy(w)
	w.Scheduler.Answer(nil)
	apps.Follow(w.Service, t.Context())
	asked := lastDeploy(w)
	if asked.GetTargetId() != mine.GetAppConfigurationId() || asked.GetBundleId() != newest.GetBundleId() || asked.GetVersionId() != wish.GetVersionId() {
		t.Errorf("asked of the scheduler = %v, want the configuration on the app's new bundle, and the deploy joined after an outage", asked)
	}
	deploys := len(w.Scheduler.Deployed())
	apps.Follow(w.Service, t.Context())
	if n := len(w.Scheduler.Deployed()); n != deploys {
		t.Errorf("a configuration that has followed was deployed %d more times", n-deploys)
	}
}

func configurationsAreListed(t *testing.T, w *registrytest.World) {
	ann, finder, other := w.User(t, "ann"), wanting(t, w, "finder"), wanting(t, w, "other")
	mine, err := configure(t, w, ann, finder, id.Secret.New())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := configure(t, w, w.Admin, other, id.Secret.New()); err != nil {
		t.Fatal(err)
	}
	for want, req := range map[int]*registryv1.ListAppConfigurationsRequest{2: {}, 1: {IsCreator: true}, 0: {NameFilter: "none"}} {
		res, err := w.Apps.ListAppConfigurations(registrytest.As(t, ann), req)
		if err != nil || len(res.GetAppConfigurations()) != want || int(res.GetTotalCount()) != want {
			t.Errorf("ListAppConfigurations(%v) = %v, %v, want %d", req, res, err, want)
		}
	}
	page, err := w.Apps.ListAppConfigurations(registrytest.As(t, ann), &registryv1.ListAppConfigurationsRequest{MaxResults: 1})
	if err != nil || len(page.GetAppConfigurations()) != 1 || page.GetNextPageToken() == "" {
		t.Errorf("ListAppConfigurations(1) = %v, %v, want a page and a token", page, err)
	}
	target := &registryv1.DeleteAppConfigurationRequest{AppConfigId: mine.GetAppConfigurationId()}
	_, err = w.Apps.DeleteAppConfiguration(registrytest.As(t, w.User(t, "peer")), target)
	wantKind(t, "DeleteAppConfiguration of a peer", err, fault.Denied)
	if res, err := w.Apps.DeleteAppConfiguration(registrytest.As(t, ann), target); err != nil || res.GetAppConfigId() != mine.GetAppConfigurationId() {
		t.Errorf("DeleteAppConfiguration() = %v, %v, want its id", res, err)
	}
	_, err = w.Apps.DeleteAppConfiguration(registrytest.As(t, ann), target)
	wantKind(t, "DeleteAppConfiguration(deleted)", err, fault.NotFound)
	if events := w.Events(t, &registryv1.ConfigurationDeleted{}); len(events) != 1 {
		t.Errorf("events = %v, want that the configuration is gone", events)
	}
}

func paramsAreChecked(t *testing.T, w *registrytest.World) {
	app, free := wanting(t, w, "finder"), id.Secret.New()
	w.Secrets.Unknown = []string{free}
	bare := create(t, w, w.Admin, "bare")
	tests := map[string]struct {
		app    *registryv1.App
		params map[string]string
		want   string
	}{
		"one missing":         {app, nil, "needs a value for openai.api_key"},
		"one too many":        {app, map[string]string{param: id.Secret.New(), "x": "y"}, `takes no "x"; it takes openai.api_key`},
		"a value in place":    {app, map[string]string{param: "sk-1"}, "no secret handle"},
		"a handle of others'": {app, map[string]string{param: free}, "there is no secret " + free},
		"not deployed yet":    {bare, nil, "deploy it first"},
	}
	for name, tt := range tests {
		_, err := w.Apps.ConfigureApp(registrytest.As(t, w.Admin), &registryv1.ConfigureAppRequest{AppServerUrl: tt.app.GetAppServerInfo().GetServerUrl(), Params: tt.params})
		if !strings.Contains(fault.Message(err), tt.want) {
			t.Errorf("%s: ConfigureApp(%v) = %v, want %q", name, tt.params, err, tt.want)
		}
	}
	if n := w.Count(t, "configurations"); n != 0 {
		t.Errorf("refused calls left %d configurations", n)
	}
	res, err := w.Apps.ListConfigParams(registrytest.As(t, w.Admin), &registryv1.ListConfigParamsRequest{AppServerUrl: app.GetAppServerInfo().GetServerUrl()})
	if err != nil || len(res.GetParamKeys()) != 1 || res.GetParamKeys()[0] != param {
		t.Errorf("ListConfigParams() = %v, %v, want %s", res, err, param)
	}
}

package apps_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/apps"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

// learn tells the registry news twice, since news can come again.
func learn(t *testing.T, w *registrytest.World, news ...proto.Message) {
	t.Helper()
	for _, event := range append(news, news...) {
		if err := apps.Learn(w.Service, t.Context(), event); err != nil {
			t.Errorf("learn(%v) = %v", event, err)
		}
	}
}

// unanswered leaves a version pending, as a registry does that died while it waited.
func unanswered(t *testing.T, w *registrytest.World, app string) (versionID string) {
	t.Helper()
	w.Scheduler.Answer(always(nil, fault.Unavailable.Errorf("away")))
	defer w.Scheduler.Answer(nil)
	upload(t, w, w.Admin, app)
	_, err := deploy(t, w, w.Admin, app)
	wantKind(t, "DeployApp(outage)", err, fault.Unavailable)
	asked := w.Scheduler.Deployed()
	return asked[len(asked)-1].GetVersionId()
}

func newsFinishDeploys(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	first := unanswered(t, w, app)
	learn(t, w, &schedulerv1.VersionLive{TargetId: app, AppId: app, VersionId: first, UserParams: []string{"openai.api_key"}})
	second := unanswered(t, w, app)
	learn(t, w, &schedulerv1.VersionFailed{TargetId: app, AppId: app, VersionId: second, Error: "it does not start"})
	wantStates(t, w, app, "2 failed, 1 live")
	if got := versions(t, w, w.Admin, app)[0].GetError(); got != "it does not start" {
		t.Errorf("error of the failed version = %q, want the scheduler's", got)
	}
	got := get(t, w, w.Admin, app)
	if got.GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE {
		t.Errorf("GetApp() = %v, want it online", got)
	}
	params, err := w.Apps.ListConfigParams(registrytest.As(t, w.Admin), &registryv1.ListConfigParamsRequest{AppServerUrl: got.GetAppServerInfo().GetServerUrl()})
	if err != nil || len(params.GetParamKeys()) != 1 {
		t.Errorf("ListConfigParams() = %v, %v, want the one of the news", params, err)
	}
	learn(t, w, &schedulerv1.EndpointChanged{TargetId: app, Ready: false})
	if got := get(t, w, w.Admin, app); got.GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_OFFLINE {
		t.Errorf("GetApp(server down) = %v, want it offline", got)
	}
}

func lateNewsChangeNothing(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	first := unanswered(t, w, app)
	upload(t, w, w.Admin, app)
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Fatal(err)
	}
	wantStates(t, w, app, "2 live, 1 failed") // nobody ever heard of the first
	learn(t, w, &schedulerv1.VersionLive{TargetId: app, AppId: app, VersionId: first})
	wantStates(t, w, app, "2 live, 1 retired")
	learn(t, w, &schedulerv1.VersionFailed{TargetId: app, AppId: app, VersionId: versions(t, w, w.Admin, app)[0].GetVersionId(), Error: "x"})
	wantStates(t, w, app, "2 live, 1 retired")
	if _, err := w.Apps.DeleteApp(registrytest.As(t, w.Admin), &registryv1.DeleteAppRequest{AppId: app}); err != nil {
		t.Fatal(err)
	}
	learn(t, w, &schedulerv1.VersionLive{TargetId: app, AppId: app, VersionId: first},
		&schedulerv1.VersionFailed{TargetId: app, AppId: app, VersionId: first},
		&schedulerv1.EndpointChanged{TargetId: app, Ready: true},
		&schedulerv1.VersionLive{TargetId: id.AppConfiguration.New(), AppId: app, VersionId: id.Version.New()})
}

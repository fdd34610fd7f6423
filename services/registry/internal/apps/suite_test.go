package apps_test

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

func TestOnBothDatabases(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T, *registrytest.World){
		"an app is made, found and changed":               appIsKept,
		"an app's name is unique in its organisation":     nameIsUnique,
		"apps are filtered, ranked and paged":             appsAreListed,
		"organisations do not see each other":             organisationsAreApart,
		"only managers change an app":                     onlyManagersChange,
		"an app goes with all that hangs on it":           deletionIsWhole,
		"bad input is told":                               badInputIsTold,
		"addresses are watched":                           addressesAreWatched,
		"each upload makes one version":                   uploadsMakeVersions,
		"variables set for the app are deployed":          variablesAreDeployed,
		"a failed version says why again":                 failuresAreRepeated,
		"a deploy beside another takes its version back":  conflictTakesBack,
		"a refused upload is told by the deploy":          refusalsAreTold,
		"a deploy after an outage joins":                  outageIsJoined,
		"two deploys of one upload share a version":       deploysShareVersion,
		"a server that runs elsewhere is connected":       serverIsConnected,
		"versions are paged":                              versionsArePaged,
		"an app goes back to a version and forward again": appGoesBack,
		"versions are tried":                              versionsAreTried,
		"rollouts are of those who may deploy":            rolloutsAreOfThoseWhoMayDeploy,
		"a version that does not come up changes nothing": promoteFails,
		"a version waits to be promoted":                  versionWaits,
		"versions are told apart":                         versionsDiffer,
		"a version is deleted":                            versionIsDeleted,
		"a list of versions needs no scheduler":           listNeedsNoScheduler,
		"news finish a deploy that nobody waits for":      newsFinishDeploys,
		"late news change nothing":                        lateNewsChangeNothing,
		"a configuration has parameters of its own":       configurationHasParams,
		"a configuration can be configured again":         configurationIsRenewed,
		"a refused configuration can be tried again":      configurationIsRetried,
		"configurations follow their app":                 configurationsFollow,
		"configurations are listed and deleted":           configurationsAreListed,
		"parameters are checked":                          paramsAreChecked,
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { body(t, registrytest.New(t, db)) })
		})
	}
}

// create makes an app.
func create(t *testing.T, w *registrytest.World, who principal.Principal, name string) *registryv1.App {
	t.Helper()
	res, err := w.Apps.CreateApp(registrytest.As(t, who), &registryv1.CreateAppRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetApp()
}

// upload records a bundle for an app.
func upload(t *testing.T, w *registrytest.World, who principal.Principal, app string) {
	t.Helper()
	req := &registryv1.RecordUploadRequest{AppId: app, BundleId: id.Bundle.New(), Digest: "d"}
	if _, err := w.Apps.RecordUpload(registrytest.As(t, who), req); err != nil {
		t.Fatal(err)
	}
}

func deploy(t *testing.T, w *registrytest.World, who principal.Principal, app string) (*registryv1.App, error) {
	t.Helper()
	metadata, err := structpb.NewStruct(map[string]any{"source": "workspace"})
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.Apps.DeployApp(registrytest.As(t, who), &registryv1.DeployAppRequest{AppId: app, DeploymentMetadata: metadata})
	return res.GetApp(), err
}

// online makes an app with a live version.
func online(t *testing.T, w *registrytest.World, who principal.Principal, name string) *registryv1.App {
	t.Helper()
	app := create(t, w, who, name)
	upload(t, w, who, app.GetAppId())
	app, err := deploy(t, w, who, app.GetAppId())
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func get(t *testing.T, w *registrytest.World, who principal.Principal, app string) *registryv1.App {
	t.Helper()
	res, err := w.Apps.GetApp(registrytest.As(t, who), &registryv1.GetAppRequest{AppId: app})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetApp()
}

func versions(t *testing.T, w *registrytest.World, who principal.Principal, app string) []*registryv1.Version {
	t.Helper()
	res, err := w.Apps.ListVersions(registrytest.As(t, who), &registryv1.ListVersionsRequest{AppId: app})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetVersions()
}

func wantKind(t *testing.T, call string, err error, want fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != want {
		t.Errorf("%s = %v (kind %v), want kind %v", call, err, fault.KindOf(err), want)
	}
}

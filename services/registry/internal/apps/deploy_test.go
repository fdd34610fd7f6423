package apps_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

// states writes versions as "2 live, 1 retired".
func states(all []*registryv1.Version) string {
	var parts []string
	for _, v := range all {
		name := strings.ToLower(strings.TrimPrefix(v.GetState().String(), "VERSION_STATE_"))
		parts = append(parts, fmt.Sprintf("%d %s", v.GetNumber(), name))
	}
	return strings.Join(parts, ", ")
}

func wantStates(t *testing.T, w *registrytest.World, app, want string) {
	t.Helper()
	if got := states(versions(t, w, w.Admin, app)); got != want {
		t.Errorf("versions = %s, want %s", got, want)
	}
}

// always answers every deploy so.
func always(res *schedulerv1.DeployResponse, err error) func(context.Context, *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	return func(context.Context, *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
		return res, err
	}
}

// What was set for the app beside its files goes with its deploys; what is only named
// alike does not.
func variablesAreDeployed(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	upload(t, w, w.Admin, app)
	for id, secret := range map[string]struct{ name, kind string }{
		"handle-a": {"apps/" + app + "/env/TOKEN", "dev"}, "handle-b": {"apps/" + app + "/env/MORE", "dev"}, "handle-c": {"apps/" + app + "/env/OWN", "usr"},
		"handle-d": {"x/apps/" + app + "/env/OTHER", "dev"}, "handle-e": {"apps/" + app + "/env/no name", "dev"},
	} {
		w.Secrets.Listed = append(w.Secrets.Listed, &secretsv1.Secret{SecretId: id, Name: secret.name, Type: secret.kind})
	}
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Fatal(err)
	}
	got := w.Scheduler.Deployed()
	if diff := cmp.Diff(map[string]string{"TOKEN": "handle-a", "MORE": "handle-b"}, got[len(got)-1].GetVariables()); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func uploadsMakeVersions(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	_, err := deploy(t, w, w.Admin, app)
	wantKind(t, "DeployApp(nothing uploaded)", err, fault.Invalid)
	if !strings.Contains(fault.Message(err), "mcp-agent deploy finder") {
		t.Errorf("DeployApp(nothing uploaded) says %q, want what to do", fault.Message(err))
	}
	for range 2 {
		upload(t, w, w.Admin, app)
		for range 3 { // the command line repeats itself
			got, err := deploy(t, w, w.Admin, app)
			if err != nil || got.GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE ||
				got.GetDeploymentMetadata().GetFields()["source"].GetStringValue() != "workspace" {
				t.Fatalf("DeployApp() = %v, %v, want it online with its metadata", got, err)
			}
		}
	}
	wantStates(t, w, app, "2 live, 1 retired")
	if got := w.Scheduler.Deployed(); len(got) != 2 || got[1].GetNumber() != 2 || got[1].GetTargetId() != app || got[1].GetOrgId() != w.Admin.OrgID ||
		got[1].GetAppName() != "finder" || !id.Version.Valid(got[1].GetVersionId()) || got[0].GetBundleId() == got[1].GetBundleId() {
		t.Errorf("asked of the scheduler = %v, want one deploy per upload", got)
	}
	if res, err := w.Apps.DeployApp(registrytest.As(t, w.Admin), &registryv1.DeployAppRequest{AppId: app}); err != nil || res.GetApp().GetDeploymentMetadata() == nil {
		t.Errorf("DeployApp(no metadata) = %v, %v, want what is known kept", res, err)
	}
}

func failuresAreRepeated(t *testing.T, w *registrytest.World) {
	app := online(t, w, w.Admin, "finder").GetAppId()
	upload(t, w, w.Admin, app)
	w.Scheduler.Answer(always(registrytest.Failed("main.py does not import:\x00 no module named x"), nil))
	for range 6 {
		_, err := deploy(t, w, w.Admin, app)
		wantKind(t, "DeployApp(broken)", err, fault.Invalid)
		if !strings.Contains(fault.Message(err), "no module named x") {
			t.Fatalf("DeployApp(broken) says %q, want the scheduler's reason", fault.Message(err))
		}
	}
	if n := len(w.Scheduler.Deployed()); n != 2 {
		t.Errorf("asked of the scheduler %d times, want 2: the repeats build nothing", n)
	}
	wantStates(t, w, app, "2 failed, 1 live")
	if got := get(t, w, w.Admin, app); got.GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_ONLINE {
		t.Errorf("GetApp() = %v, want the earlier version online", got)
	}
	w.Scheduler.Answer(nil)
	upload(t, w, w.Admin, app)
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Errorf("DeployApp(mended) = %v", err)
	}
	wantStates(t, w, app, "3 live, 2 failed, 1 retired")
}

func conflictTakesBack(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	upload(t, w, w.Admin, app)
	w.Scheduler.Answer(always(nil, fault.Conflict.Errorf("a deploy of this app (version 7) is under way; try again when it has ended")))
	_, err := deploy(t, w, w.Admin, app)
	wantKind(t, "DeployApp(beside another)", err, fault.Conflict)
	if !strings.Contains(fault.Message(err), "version 7") {
		t.Errorf("DeployApp(beside another) says %q, want the scheduler's sentence", fault.Message(err))
	}
	wantStates(t, w, app, "")
	w.Scheduler.Answer(nil)
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Errorf("DeployApp(later) = %v", err)
	}
	wantStates(t, w, app, "1 live")
}

func refusalsAreTold(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	ctx := registrytest.As(t, w.Admin)
	if _, err := w.Apps.RecordUpload(ctx, &registryv1.RecordUploadRequest{AppId: app, Refused: "too many files\x00"}); err != nil {
		t.Fatal(err)
	}
	_, err := deploy(t, w, w.Admin, app)
	wantKind(t, "DeployApp(refused upload)", err, fault.Invalid)
	if !strings.Contains(fault.Message(err), "the upload was refused: too many files") {
		t.Errorf("DeployApp(refused upload) says %q, want why", fault.Message(err))
	}
	wantStates(t, w, app, "")
	_, err = w.Apps.RecordUpload(ctx, &registryv1.RecordUploadRequest{AppId: app, BundleId: "elsewhere"})
	wantKind(t, "RecordUpload(no bundle)", err, fault.Invalid)
}

func outageIsJoined(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	upload(t, w, w.Admin, app)
	w.Scheduler.Answer(always(nil, fault.Unavailable.Errorf("Temporal is away")))
	_, err := deploy(t, w, w.Admin, app)
	wantKind(t, "DeployApp(outage)", err, fault.Unavailable)
	wantStates(t, w, app, "1 pending")
	w.Scheduler.Answer(nil)
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Errorf("DeployApp(after the outage) = %v", err)
	}
	asked := w.Scheduler.Deployed()
	if len(asked) != 2 || asked[0].GetVersionId() != asked[1].GetVersionId() {
		t.Errorf("asked of the scheduler = %v, want the same version twice", asked)
	}
	wantStates(t, w, app, "1 live")
}

func deploysShareVersion(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	upload(t, w, w.Admin, app)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := deploy(t, w, w.Admin, app); err != nil {
				t.Errorf("DeployApp(at once) = %v", err)
			}
		})
	}
	all.Wait()
	wantStates(t, w, app, "1 live")
}

func versionsArePaged(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder").GetAppId()
	for range 5 {
		upload(t, w, w.Admin, app)
		if _, err := deploy(t, w, w.Admin, app); err != nil {
			t.Fatal(err)
		}
	}
	var numbers []int64
	for req := (&registryv1.ListVersionsRequest{AppId: app, PageSize: 2}); ; {
		res, err := w.Apps.ListVersions(registrytest.As(t, w.Admin), req)
		if err != nil || len(res.GetVersions()) > 2 {
			t.Fatalf("ListVersions(%v) = %v, %v, want a page of 2", req, res, err)
		}
		for _, v := range res.GetVersions() {
			numbers = append(numbers, v.GetNumber())
		}
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if got := fmt.Sprint(numbers); got != "[5 4 3 2 1]" {
		t.Errorf("all pages = %s, want newest first", got)
	}
}

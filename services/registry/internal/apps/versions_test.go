package apps_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

// deployed makes an app with so many versions, and returns their ids, the first one first.
func deployed(t *testing.T, w *registrytest.World, n int) (app string, ids []string) {
	t.Helper()
	app = create(t, w, w.Admin, "finder").GetAppId()
	for range n {
		upload(t, w, w.Admin, app)
		if _, err := deploy(t, w, w.Admin, app); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range versions(t, w, w.Admin, app) {
		ids = append([]string{v.GetVersionId()}, ids...)
	}
	return app, ids
}

func appGoesBack(t *testing.T, w *registrytest.World) {
	app, ids := deployed(t, w, 3)
	w.Moves.Previous = ids[1]
	ctx := registrytest.As(t, w.Admin)
	back, err := w.Versions.RollbackApp(ctx, &registryv1.RollbackAppRequest{AppId: app})
	if err != nil || back.GetVersion().GetNumber() != 2 || back.GetVersion().GetState() != registryv1.VersionState_VERSION_STATE_LIVE {
		t.Fatalf("RollbackApp() = %v, %v, want version 2 live", back, err)
	}
	wantStates(t, w, app, "3 retired, 2 live, 1 retired")
	if by := back.GetVersion().GetLiveBy(); by == "" || by != back.GetVersion().GetCreatorId() {
		t.Errorf("version 2 was made live by %q, want who asked for it", by)
	}
	// The switch before is told late, and changes nothing.
	learn(t, w, &schedulerv1.VersionLive{TargetId: app, AppId: app, VersionId: ids[2], SwitchNumber: 3})
	wantStates(t, w, app, "3 retired, 2 live, 1 retired")
	if _, err := w.Versions.RollbackApp(ctx, &registryv1.RollbackAppRequest{AppId: app, Version: "v1"}); err != nil {
		t.Errorf("RollbackApp(v1) = %v", err)
	}
	wantStates(t, w, app, "3 retired, 2 retired, 1 live")
	// What nobody waited for comes as news.
	learn(t, w, &schedulerv1.VersionLive{TargetId: app, AppId: app, VersionId: ids[1], SwitchNumber: w.Scheduler.Switched(), By: "usr_of_the_news"})
	wantStates(t, w, app, "3 retired, 2 live, 1 retired")
	if by := versions(t, w, w.Admin, app)[1].GetLiveBy(); by != "usr_of_the_news" {
		t.Errorf("version 2 was made live by %q", by)
	}
	upload(t, w, w.Admin, app)
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Errorf("DeployApp() after a rollback = %v", err)
	}
	wantStates(t, w, app, "4 live, 3 retired, 2 retired, 1 retired")
	if _, err := w.Versions.PromoteVersion(ctx, &registryv1.PromoteVersionRequest{AppId: app, Version: ids[2]}); err != nil {
		t.Errorf("PromoteVersion(by id) = %v", err)
	}
	wantStates(t, w, app, "4 retired, 3 live, 2 retired, 1 retired")
	_, err = deploy(t, w, w.Admin, app) // the upload of version 4 again
	wantKind(t, "DeployApp(the upload of a version that is not live)", err, fault.Conflict)
	if !strings.Contains(fault.Message(err), "agentcloud versions promote finder 4") {
		t.Errorf("DeployApp() says %q, want what to do", fault.Message(err))
	}
}

func promoteFails(t *testing.T, w *registrytest.World) {
	app, ids := deployed(t, w, 2)
	ctx := registrytest.As(t, w.Admin)
	w.Moves.Fails = "the app's server was not ready"
	_, err := w.Versions.PromoteVersion(ctx, &registryv1.PromoteVersionRequest{AppId: app, Version: "1"})
	wantKind(t, "PromoteVersion(does not start)", err, fault.Conflict)
	if !strings.Contains(fault.Message(err), "version 1 was not made live, and what was live still is: the app's server") {
		t.Errorf("PromoteVersion() says %q, want why", fault.Message(err))
	}
	wantStates(t, w, app, "2 live, 1 retired")
	for _, name := range []string{"7", "ver_x", "", ids[0] + "0"} {
		if _, err := w.Versions.PromoteVersion(ctx, &registryv1.PromoteVersionRequest{AppId: app, Version: name}); err == nil {
			t.Errorf("PromoteVersion(%q) = nil, want that there is none", name)
		}
	}
	_, err = w.Versions.PromoteVersion(registrytest.As(t, w.User(t, "eve")), &registryv1.PromoteVersionRequest{AppId: app, Version: "1"})
	wantKind(t, "PromoteVersion(of another's app)", err, fault.Denied)
	_, err = w.Versions.RollbackApp(registrytest.As(t, w.Stranger(t, "mallory")), &registryv1.RollbackAppRequest{AppId: app})
	wantKind(t, "RollbackApp(of a stranger)", err, fault.NotFound)
	_, err = w.Versions.GetVersion(registrytest.As(t, w.Stranger(t, "trudy")), &registryv1.GetVersionRequest{AppId: app, Version: "1"})
	wantKind(t, "GetVersion(of a stranger)", err, fault.NotFound)
}

func versionWaits(t *testing.T, w *registrytest.World) {
	app, _ := deployed(t, w, 1)
	ready := &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_READY, Notices: []string{"it waits"}}
	w.Scheduler.Answer(always(ready, nil))
	for n := 2; n <= 3; n++ {
		upload(t, w, w.Admin, app)
		res, err := w.Apps.DeployApp(registrytest.As(t, w.Admin), &registryv1.DeployAppRequest{AppId: app})
		if err != nil || !cmp.Equal(res.GetNotices(), []string{"it waits"}) {
			t.Fatalf("DeployApp() = %v, %v, want a notice", res, err)
		}
		if _, err := deploy(t, w, w.Admin, app); err != nil { // the command line repeats itself
			t.Errorf("DeployApp(again) = %v", err)
		}
	}
	wantStates(t, w, app, "3 ready, 2 retired, 1 live")
	fourth := unanswered(t, w, app)
	learn(t, w, &schedulerv1.VersionReady{TargetId: app, AppId: app, VersionId: fourth, Reason: "by hand"})
	wantStates(t, w, app, "4 ready, 3 retired, 2 retired, 1 live")
	if _, err := w.Versions.PromoteVersion(registrytest.As(t, w.Admin), &registryv1.PromoteVersionRequest{AppId: app, Version: "4"}); err != nil {
		t.Errorf("PromoteVersion() = %v", err)
	}
	learn(t, w, &schedulerv1.VersionReady{TargetId: app, AppId: app, VersionId: fourth}) // late
	wantStates(t, w, app, "4 live, 3 retired, 2 retired, 1 retired")
}

func versionsDiffer(t *testing.T, w *registrytest.World) {
	app, ids := deployed(t, w, 2)
	file := func(path, digest string) *schedulerv1.BundleFile {
		return &schedulerv1.BundleFile{Path: path, Digest: digest, Bytes: 3}
	}
	w.Moves.Facts[ids[0]] = &schedulerv1.VersionFacts{
		FilesKept: true, EnvironmentKept: true, Files: []*schedulerv1.BundleFile{file("a", "1"), file("b", "1"), file("same", "1")},
		Dependencies: []*schedulerv1.Dependency{{Name: "mcp", Version: "1.0"}, {Name: "old", Version: "2"}},
		Tools:        []*schedulerv1.ToolDefinition{{Name: "add", Hash: "1"}, {Name: "gone", Hash: "1"}},
	}
	w.Moves.Facts[ids[1]] = &schedulerv1.VersionFacts{
		FilesKept: true, EnvironmentKept: true, Files: []*schedulerv1.BundleFile{file("b", "2"), file("c", "1"), file("same", "1")},
		Dependencies: []*schedulerv1.Dependency{{Name: "mcp", Version: "1.1"}},
		Tools:        []*schedulerv1.ToolDefinition{{Name: "add", Hash: "2"}, {Name: "new", Hash: "1"}},
		ToolChanges:  &schedulerv1.ToolChanges{ThanNumber: 1, Changed: []string{"add"}, Policy: "warn"}, Up: true, OpenRuns: 2,
	}
	ctx := registrytest.As(t, w.Admin)
	got, err := w.Versions.DiffVersions(ctx, &registryv1.DiffVersionsRequest{AppId: app, Version: "1", Other: "2"})
	if err != nil {
		t.Fatal(err)
	}
	const added, removed, changed = registryv1.Change_CHANGE_ADDED, registryv1.Change_CHANGE_REMOVED, registryv1.Change_CHANGE_CHANGED
	want := &registryv1.DiffVersionsResponse{
		Version: got.GetVersion(), Other: got.GetOther(),
		Files: []*registryv1.FileChange{
			{Path: "a", Change: removed, BytesBefore: 3}, {Path: "b", Change: changed, BytesBefore: 3, BytesAfter: 3}, {Path: "c", Change: added, BytesAfter: 3},
		},
		Dependencies: []*registryv1.DependencyChange{{Name: "mcp", Change: changed, Before: "1.0", After: "1.1"}, {Name: "old", Change: removed, Before: "2"}},
		Tools:        []*registryv1.ToolChange{{Name: "add", Change: changed}, {Name: "gone", Change: removed}, {Name: "new", Change: added}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || got.GetOther().GetNumber() != 2 {
		t.Errorf("DiffVersions() (-want +got):\n%s", diff)
	}
	one, err := w.Versions.GetVersion(ctx, &registryv1.GetVersionRequest{AppId: app, Version: "2"})
	if err != nil || !one.GetVersion().GetUp() || one.GetVersion().GetBundleDigest() != "d" || one.GetFiles() != 3 || one.GetOpenRuns() != 2 ||
		one.GetToolChanges().GetThanNumber() != 1 || len(one.GetTools()) != 2 || one.GetVersion().GetDeploymentMetadata() == nil {
		t.Errorf("GetVersion() = %v, %v", one, err)
	}
	w.Moves.Facts[ids[0]].FilesKept = false
	got, err = w.Versions.DiffVersions(ctx, &registryv1.DiffVersionsRequest{AppId: app, Version: "1", Other: "2"})
	if err != nil || len(got.GetFiles()) != 0 || !cmp.Equal(got.GetNotes(), []string{"the files of version 1 are not kept here"}) {
		t.Errorf("DiffVersions(files that are gone) = %v, %v, want a note", got, err)
	}
}

func versionIsDeleted(t *testing.T, w *registrytest.World) {
	app, ids := deployed(t, w, 3)
	ctx := registrytest.As(t, w.Admin)
	w.Moves.Pinned = ids[1]
	_, err := w.Versions.DeleteVersion(ctx, &registryv1.DeleteVersionRequest{AppId: app, Version: "2"})
	wantKind(t, "DeleteVersion(pinned)", err, fault.Conflict)
	for range 2 {
		if _, err := w.Versions.DeleteVersion(ctx, &registryv1.DeleteVersionRequest{AppId: app, Version: "1"}); err != nil {
			t.Errorf("DeleteVersion() = %v", err)
		}
	}
	wantStates(t, w, app, "3 live, 2 retired")
	_, err = w.Versions.PromoteVersion(ctx, &registryv1.PromoteVersionRequest{AppId: app, Version: "1"})
	wantKind(t, "PromoteVersion(deleted)", err, fault.Conflict)
	one, err := w.Versions.GetVersion(ctx, &registryv1.GetVersionRequest{AppId: app, Version: "1"})
	if err != nil || one.GetVersion().GetState() != registryv1.VersionState_VERSION_STATE_DELETED {
		t.Errorf("GetVersion(deleted) = %v, %v, want it on record", one, err)
	}
	learn(t, w, &schedulerv1.VersionDeleted{TargetId: app, AppId: app, VersionId: ids[1]}) // retention
	wantStates(t, w, app, "3 live")
	learn(t, w, &schedulerv1.VersionDeleted{TargetId: app, AppId: app, VersionId: ids[2]}) // never of the live one
	wantStates(t, w, app, "3 live")
	upload(t, w, w.Admin, app)
	if _, err := deploy(t, w, w.Admin, app); err != nil {
		t.Fatal(err)
	}
	wantStates(t, w, app, "4 live, 3 retired")
}

func listNeedsNoScheduler(t *testing.T, w *registrytest.World) {
	app, ids := deployed(t, w, 1)
	w.Moves.Facts[ids[0]] = &schedulerv1.VersionFacts{Up: true}
	if got := versions(t, w, w.Admin, app); !got[0].GetUp() {
		t.Errorf("ListVersions() = %v, want that it is up", got)
	}
	w.Moves.Away = true
	if got := versions(t, w, w.Admin, app); len(got) != 1 || got[0].GetUp() {
		t.Errorf("ListVersions(no scheduler) = %v, want it without what runs", got)
	}
}

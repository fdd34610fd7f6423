package apps_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

func appIsKept(t *testing.T, w *registrytest.World) {
	ann := w.User(t, "ann")
	ctx := registrytest.As(t, ann)
	made, err := w.Apps.CreateApp(ctx, &registryv1.CreateAppRequest{Name: " Ünder  Finder ", Description: proto.String("finds"), UnauthenticatedAccess: proto.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	app := made.GetApp()
	url := app.GetAppServerInfo().GetServerUrl()
	if !id.App.Valid(app.GetAppId()) || app.GetName() != "Ünder  Finder" || app.GetCreatorId() != ann.UserID || !app.GetUnauthenticatedAccess() ||
		!strings.HasPrefix(url, "https://nder-finder-") || !strings.HasSuffix(url, "."+registrytest.Domain) ||
		app.GetAppServerInfo().GetStatus() != registryv1.AppServerStatus_APP_SERVER_STATUS_OFFLINE {
		t.Errorf("CreateApp() = %v", app)
	}
	for _, req := range []*registryv1.GetAppRequest{{AppId: app.GetAppId()}, {AppServerUrl: url}, {AppServerUrl: url + "/sse"}, {AppServerUrl: strings.ToUpper(url) + "/mcp"}} {
		found, err := w.Apps.GetApp(ctx, req)
		if err != nil || !proto.Equal(found.GetApp(), app) {
			t.Errorf("GetApp(%v) = %v, %v, want %v", req, found, err, app)
		}
	}
	changed, err := w.Apps.UpdateApp(ctx, &registryv1.UpdateAppRequest{AppId: app.GetAppId(), Name: proto.String("finder"), UnauthenticatedAccess: proto.Bool(false)})
	if err != nil || changed.GetApp().GetName() != "finder" || changed.GetApp().GetDescription() != "finds" || changed.GetApp().GetUnauthenticatedAccess() {
		t.Errorf("UpdateApp() = %v, %v, want name and access changed and the description kept", changed, err)
	}
	if got := get(t, w, ann, app.GetAppId()); !proto.Equal(got, changed.GetApp()) || got.GetAppServerInfo().GetServerUrl() != url {
		t.Errorf("GetApp() = %v, want %v at the same address", got, changed.GetApp())
	}
}

func nameIsUnique(t *testing.T, w *registrytest.World) {
	create(t, w, w.Admin, "finder")
	other := create(t, w, w.Admin, "other")
	_, err := w.Apps.CreateApp(registrytest.As(t, w.Admin), &registryv1.CreateAppRequest{Name: "finder"})
	wantKind(t, "CreateApp(taken name)", err, fault.Exists)
	if !strings.Contains(fault.Message(err), `"finder" exists`) {
		t.Errorf("CreateApp(taken name) says %q", fault.Message(err))
	}
	_, err = w.Apps.UpdateApp(registrytest.As(t, w.Admin), &registryv1.UpdateAppRequest{AppId: other.GetAppId(), Name: proto.String("finder")})
	wantKind(t, "UpdateApp(taken name)", err, fault.Exists)
	create(t, w, w.Stranger(t, "sue"), "finder") // free elsewhere
}

func names(apps []*registryv1.App) []string {
	var all []string
	for _, app := range apps {
		all = append(all, app.GetName())
	}
	return all
}

func appsAreListed(t *testing.T, w *registrytest.World) {
	ann := w.User(t, "ann")
	for _, name := range []string{"demo", "Demo 2", "my_demo", "100%"} {
		create(t, w, w.Admin, name)
	}
	create(t, w, ann, "anns demo")
	tests := map[string]struct {
		req  *registryv1.ListAppsRequest
		want []string
	}{
		"all, newest first":     {&registryv1.ListAppsRequest{}, []string{"anns demo", "100%", "my_demo", "Demo 2", "demo"}},
		"exact match first":     {&registryv1.ListAppsRequest{NameFilter: "demo"}, []string{"demo", "anns demo", "my_demo", "Demo 2"}},
		"case does not matter":  {&registryv1.ListAppsRequest{NameFilter: "DEMO 2"}, []string{"Demo 2"}},
		"percent is a letter":   {&registryv1.ListAppsRequest{NameFilter: "%"}, []string{"100%"}},
		"underline is a letter": {&registryv1.ListAppsRequest{NameFilter: "_"}, []string{"my_demo"}},
		"the caller's own":      {&registryv1.ListAppsRequest{IsCreator: true}, []string{"anns demo"}},
		"none":                  {&registryv1.ListAppsRequest{NameFilter: "zzz"}, nil},
	}
	for name, tt := range tests {
		res, err := w.Apps.ListApps(registrytest.As(t, ann), tt.req)
		if err != nil || !cmp.Equal(names(res.GetApps()), tt.want) || int(res.GetTotalCount()) != len(tt.want) || res.GetNextPageToken() != "" {
			t.Errorf("%s: ListApps(%v) = %v, %v, want %v", name, tt.req, res, err, tt.want)
		}
	}
	var paged []string
	for req := (&registryv1.ListAppsRequest{MaxResults: 2}); ; {
		res, err := w.Apps.ListApps(registrytest.As(t, ann), req)
		if err != nil || len(res.GetApps()) > 2 || res.GetTotalCount() != 5 {
			t.Fatalf("ListApps(%v) = %v, %v, want a page of 2 of 5", req, res, err)
		}
		paged = append(paged, names(res.GetApps())...)
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if diff := cmp.Diff(tests["all, newest first"].want, paged); diff != "" {
		t.Errorf("all pages (-want +got):\n%s", diff)
	}
}

func organisationsAreApart(t *testing.T, w *registrytest.World) {
	app := online(t, w, w.Admin, "finder")
	ctx := registrytest.As(t, w.Stranger(t, "sue"))
	calls := map[string]func() error{
		"GetApp": func() error {
			_, err := w.Apps.GetApp(ctx, &registryv1.GetAppRequest{AppId: app.GetAppId()})
			return err
		},
		"GetApp by URL": func() error {
			_, err := w.Apps.GetApp(ctx, &registryv1.GetAppRequest{AppServerUrl: app.GetAppServerInfo().GetServerUrl()})
			return err
		},
		"UpdateApp": func() error {
			_, err := w.Apps.UpdateApp(ctx, &registryv1.UpdateAppRequest{AppId: app.GetAppId()})
			return err
		},
		"DeleteApp": func() error {
			_, err := w.Apps.DeleteApp(ctx, &registryv1.DeleteAppRequest{AppId: app.GetAppId()})
			return err
		},
		"DeployApp": func() error {
			_, err := w.Apps.DeployApp(ctx, &registryv1.DeployAppRequest{AppId: app.GetAppId()})
			return err
		},
		"ListVersions": func() error {
			_, err := w.Apps.ListVersions(ctx, &registryv1.ListVersionsRequest{AppId: app.GetAppId()})
			return err
		},
		"AuthorizeUpload": func() error {
			_, err := w.Apps.AuthorizeUpload(ctx, &registryv1.AuthorizeUploadRequest{AppId: app.GetAppId()})
			return err
		},
		"ResolveTarget": func() error {
			_, err := w.Apps.ResolveTarget(ctx, &registryv1.ResolveTargetRequest{TargetId: app.GetAppId()})
			return err
		},
		"ConfigureApp": func() error {
			_, err := w.Apps.ConfigureApp(ctx, &registryv1.ConfigureAppRequest{AppServerUrl: app.GetAppServerInfo().GetServerUrl()})
			return err
		},
	}
	for name, call := range calls {
		wantKind(t, name+" of a stranger", call(), fault.NotFound)
	}
	if res, err := w.Apps.ListApps(ctx, &registryv1.ListAppsRequest{}); err != nil || res.GetTotalCount() != 0 {
		t.Errorf("ListApps of a stranger = %v, %v, want none", res, err)
	}
	if res, err := w.Apps.ResolveTarget(registrytest.As(t, w.User(t, "peer")), &registryv1.ResolveTargetRequest{TargetId: app.GetAppId()}); err != nil || res.GetOrgId() != w.Admin.OrgID {
		t.Errorf("ResolveTarget of a peer = %v, %v, want the organisation", res, err)
	}
}

func onlyManagersChange(t *testing.T, w *registrytest.World) {
	ann, peer := w.User(t, "ann"), w.User(t, "peer")
	app := create(t, w, ann, "finder").GetAppId()
	ctx := registrytest.As(t, peer)
	_, err := w.Apps.UpdateApp(ctx, &registryv1.UpdateAppRequest{AppId: app, Name: proto.String("mine")})
	wantKind(t, "UpdateApp of a peer", err, fault.Denied)
	_, err = w.Apps.DeleteApp(ctx, &registryv1.DeleteAppRequest{AppId: app})
	wantKind(t, "DeleteApp of a peer", err, fault.Denied)
	_, err = w.Apps.DeployApp(ctx, &registryv1.DeployAppRequest{AppId: app})
	wantKind(t, "DeployApp of a peer", err, fault.Denied)
	_, err = w.Apps.AuthorizeUpload(ctx, &registryv1.AuthorizeUploadRequest{AppId: app})
	wantKind(t, "AuthorizeUpload of a peer", err, fault.Denied)
	_, err = w.Apps.RecordUpload(ctx, &registryv1.RecordUploadRequest{AppId: app, BundleId: id.Bundle.New()})
	wantKind(t, "RecordUpload of a peer", err, fault.Denied)
	if got := get(t, w, peer, app); got.GetName() != "finder" {
		t.Errorf("GetApp of a peer = %v, want to see it unchanged", got)
	}
	if res, err := w.Apps.AuthorizeUpload(registrytest.As(t, w.Admin), &registryv1.AuthorizeUploadRequest{AppId: app}); err != nil || res.GetOrgId() != ann.OrgID {
		t.Errorf("AuthorizeUpload of an administrator = %v, %v, want the organisation", res, err)
	}
}

func deletionIsWhole(t *testing.T, w *registrytest.World) {
	app := online(t, w, w.Admin, "finder")
	configuration, err := w.Apps.ConfigureApp(registrytest.As(t, w.User(t, "ann")), &registryv1.ConfigureAppRequest{AppServerUrl: app.GetAppServerInfo().GetServerUrl()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := registrytest.As(t, w.Admin)
	if res, err := w.Apps.DeleteApp(ctx, &registryv1.DeleteAppRequest{AppId: app.GetAppId()}); err != nil || res.GetAppId() != app.GetAppId() {
		t.Fatalf("DeleteApp() = %v, %v, want its id", res, err)
	}
	_, err = w.Apps.GetApp(ctx, &registryv1.GetAppRequest{AppId: app.GetAppId()})
	wantKind(t, "GetApp(deleted)", err, fault.NotFound)
	_, err = w.Apps.DeleteApp(ctx, &registryv1.DeleteAppRequest{AppId: app.GetAppId()})
	wantKind(t, "DeleteApp(deleted)", err, fault.NotFound)
	for _, table := range []string{"apps", "addresses", "uploads", "versions", "configurations"} {
		if n := w.Count(t, table); n != 0 {
			t.Errorf("table %s has %d rows after the deletion, want none", table, n)
		}
	}
	events := w.Events(t, &registryv1.AppDeleted{}, &registryv1.ConfigurationDeleted{})
	want := []proto.Message{
		&registryv1.ConfigurationDeleted{AppConfigurationId: configuration.GetAppConfiguration().GetAppConfigurationId(), OrgId: w.Admin.OrgID},
		&registryv1.AppDeleted{AppId: app.GetAppId(), OrgId: w.Admin.OrgID},
	}
	if !equal(events, want) {
		t.Errorf("events of a deletion = %v, want %v", events, want)
	}
	if got := w.Scheduler.Removed(); !cmp.Equal(got, []string{app.GetAppId()}) {
		t.Errorf("removed at once = %v, want the app", got)
	}
}

func equal(a, b []proto.Message) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !proto.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

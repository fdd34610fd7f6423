package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

func TestCanViewerDo(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) {
		w := registrytest.New(t, db)
		ann, peer, sue := w.User(t, "ann"), w.User(t, "peer"), w.Stranger(t, "sue")
		app, configuration := made(t, w, ann, peer)
		tests := map[string]struct {
			who      principal.Principal
			resource string
			action   string
			want     bool
		}{
			"the creator manages":               {ann, "MCP_APP:" + app, "MANAGE:MCP_APP", true},
			"an administrator manages":          {w.Admin, "MCP_APP:" + app, "MANAGE:MCP_APP", true},
			"a peer does not manage":            {peer, "MCP_APP:" + app, "MANAGE:MCP_APP", false},
			"a peer sees":                       {peer, "MCP_APP:" + app, "VIEW:MCP_APP", true},
			"a stranger does not see":           {sue, "MCP_APP:" + app, "VIEW:MCP_APP", false},
			"nobody does not see":               {principal.Principal{}, "MCP_APP:" + app, "VIEW:MCP_APP", false},
			"its user manages a configuration":  {peer, "MCP_APP_CONFIG:" + configuration, "MANAGE:MCP_APP_CONFIG", true},
			"the app's creator does not":        {ann, "MCP_APP_CONFIG:" + configuration, "MANAGE:MCP_APP_CONFIG", false},
			"an action on another kind":         {ann, "MCP_APP:" + app, "MANAGE:MCP_APP_CONFIG", false},
			"an app that is not there":          {ann, "MCP_APP:" + id.App.New(), "MANAGE:MCP_APP", false},
			"an id of another kind":             {ann, "MCP_APP:" + configuration, "MANAGE:MCP_APP", false},
			"a resource that nobody knows":      {ann, "BOOK:1", "READ:BOOK", false},
			"a NUL in an id":                    {ann, "MCP_APP:\x00", "MANAGE:MCP_APP", false},
			"an action that has only half name": {ann, "MCP_APP:" + app, "MANAGE", false},
		}
		for name, tt := range tests {
			req := &registryv1.CanViewerDoRequest{ResourceName: tt.resource, Actions: []string{tt.action, "x"}}
			res, err := w.Access.CanViewerDo(registrytest.As(t, tt.who), req)
			var got []any
			for _, check := range res.GetCanDoActions() {
				got = append(got, check.GetAction(), check.GetCanDoAction())
			}
			if diff := cmp.Diff([]any{tt.action, tt.want, "x", false}, got); err != nil || diff != "" {
				t.Errorf("%s: CanViewerDo(%v) = %v (-want +got):\n%s", name, req, err, diff)
			}
		}
		for name, req := range map[string]*registryv1.CanViewerDoRequest{
			"no resource":  {Actions: []string{"MANAGE:MCP_APP"}},
			"many actions": {ResourceName: "MCP_APP:" + app, Actions: make([]string, 101)},
		} {
			_, err := w.Access.CanViewerDo(registrytest.As(t, ann), req)
			if !fault.Invalid.Is(err) && !fault.TooLarge.Is(err) {
				t.Errorf("%s: CanViewerDo() = %v, want it refused", name, err)
			}
		}
	})
}

// made is an app of ann's and a configuration of it that peer has.
func made(t *testing.T, w *registrytest.World, ann, peer principal.Principal) (app, configuration string) {
	t.Helper()
	ctx := registrytest.As(t, ann)
	created, err := w.Apps.CreateApp(ctx, &registryv1.CreateAppRequest{Name: "finder"})
	if err != nil {
		t.Fatal(err)
	}
	app = created.GetApp().GetAppId()
	if _, err := w.Apps.RecordUpload(ctx, &registryv1.RecordUploadRequest{AppId: app, BundleId: id.Bundle.New()}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Apps.DeployApp(ctx, &registryv1.DeployAppRequest{AppId: app}); err != nil {
		t.Fatal(err)
	}
	configured, err := w.Apps.ConfigureApp(registrytest.As(t, peer), &registryv1.ConfigureAppRequest{AppServerUrl: created.GetApp().GetAppServerInfo().GetServerUrl()})
	if err != nil {
		t.Fatal(err)
	}
	return app, configured.GetAppConfiguration().GetAppConfigurationId()
}

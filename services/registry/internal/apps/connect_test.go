package apps_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

func connect(t *testing.T, w *registrytest.World, who principal.Principal, req *registryv1.ConnectAppRequest) (*registryv1.App, error) {
	t.Helper()
	res, err := w.Apps.ConnectApp(registrytest.As(t, who), req)
	return res.GetApp(), err
}

func serverIsConnected(t *testing.T, w *registrytest.World) {
	if _, err := connect(t, w, w.Admin, &registryv1.ConnectAppRequest{Name: "search"}); !fault.Invalid.Is(err) {
		t.Errorf("without a URL: %v", err)
	}
	if _, err := connect(t, w, w.Admin, &registryv1.ConnectAppRequest{Name: "search", Url: "http://bad/mcp"}); err == nil || !strings.Contains(err.Error(), "no MCP server answers") {
		t.Errorf("a server that does not answer: %v", err)
	}
	res, err := w.Apps.ListApps(registrytest.As(t, w.Admin), &registryv1.ListAppsRequest{NameFilter: "search"})
	if err != nil || len(res.GetApps()) != 0 {
		t.Errorf("an app stayed that stands before nothing: %v, %v", res, err)
	}
	app, err := connect(t, w, w.Admin, &registryv1.ConnectAppRequest{Name: "search", Url: "http://one/mcp", UnauthenticatedAccess: proto.Bool(true)})
	if err != nil || !app.GetUnauthenticatedAccess() || app.GetAppServerInfo().GetServerUrl() == "" {
		t.Fatalf("connected as %v, %v", app, err)
	}
	again, err := connect(t, w, w.Admin, &registryv1.ConnectAppRequest{Name: "search", Url: "http://two/mcp", UnauthenticatedAccess: proto.Bool(false)})
	if err != nil || again.GetAppId() != app.GetAppId() || again.GetUnauthenticatedAccess() {
		t.Errorf("a second time: %v, %v", again, err)
	}
	if _, err := connect(t, w, w.Admin, &registryv1.ConnectAppRequest{Name: "search", Url: "http://bad/mcp"}); err == nil {
		t.Error("a bad server was taken")
	}
	wantStates(t, w, app.GetAppId(), "3 failed, 2 live, 1 retired")
}

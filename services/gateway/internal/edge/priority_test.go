package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

const urgent = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"workflows-Refund-run","arguments":{},"_meta":{"io.agentcloud/priority":%}}}`

func TestPrioritiesReachRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open("alice")
	res := w.do(http.MethodPost, "/mcp", "alice", session, []byte(strings.Replace(urgent, "%", "2", 1)))
	started, _ := edgetest.Requests[*schedulerv1.StartRunRequest](w.Runs)
	if len(started) != 1 || started[0].GetPriority() != 2 {
		t.Fatalf("started %v; %+v", started, res)
	}
	for _, wrong := range []string{`"high"`, "0", "1.5", "{}"} {
		res := w.do(http.MethodPost, "/mcp", "alice", session, []byte(strings.Replace(urgent, "%", wrong, 1)))
		if !strings.Contains(res.body, "is a number from 1 (served first) to 5 (last)") {
			t.Errorf("priority %s: %+v", wrong, res)
		}
	}
	if started, _ := edgetest.Requests[*schedulerv1.StartRunRequest](w.Runs); len(started) != 1 {
		t.Errorf("%d runs were started", len(started))
	}
}

func TestGuestsOfAnOpenAppAreToldApartByOrganisation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.address(func(a *registryv1.Address) { a.UnauthenticatedAccess = true })
	edgetest.Until(t, "the app is open", func() bool { return w.do(http.MethodPost, "/mcp", "", "", []byte(hello)).status == http.StatusOK })
	for _, key := range []string{"alice", "stranger", ""} {
		w.do(http.MethodPost, "/mcp", key, w.open(key), call("workflows-Refund-run", `{}`))
	}
	_, callers := edgetest.Requests[*schedulerv1.StartRunRequest](w.Runs)
	want := []principal.Principal{
		{Kind: principal.User, UserID: "u_alice", OrgID: "org_1"},
		{Kind: principal.Anonymous, OrgID: "org_1", GuestOrg: "org_2"},
		{Kind: principal.Anonymous, OrgID: "org_1"},
	}
	if len(callers) != len(want) {
		t.Fatalf("callers = %+v", callers)
	}
	for i, caller := range callers {
		if caller != want[i] {
			t.Errorf("caller %d = %+v, want %+v", i, caller, want[i])
		}
	}
}

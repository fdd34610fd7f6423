package edge_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

const mirrored = `{"tools":[{"name":"query","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}`

// query is a call of a tool whose argument a header mirrors.
func (w *world) query(region string, headers ...string) answer {
	w.t.Helper()
	req := w.modernRequest("alice", "tools/call", "query", `{"name":"query","arguments":{"region":"`+region+`"}}`, nothing)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return w.send(req)
}

func TestHeadersThatMirrorArguments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Deployments.Set(&schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", ServerUrl: w.agent.URL(), Ready: true, Kind: "mcp-agent", ToolsJson: mirrored, InitializeJson: `{}`,
	})
	edgetest.Until(t, "the new version serves", func() bool { return strings.Contains(w.modern("alice", "tools/list", "", `{}`, nothing).body, "query") })
	if res := w.query("us-west1", "Mcp-Param-Region", "us-west1"); res.status != http.StatusOK {
		t.Errorf("an equal header = %+v", res)
	}
	for name, res := range map[string]answer{
		"no header": w.query("us-west1"), "another": w.query("us-west1", "Mcp-Param-Region", "us-west2"), "bad base64": w.query("us-west1", "Mcp-Param-Region", "=?base64?!?="),
	} {
		if res.status != http.StatusBadRequest || !strings.Contains(res.body, "-32020") {
			t.Errorf("%s = %+v", name, res)
		}
	}
	for _, seen := range w.agent.Seen() {
		if seen.Header.Get("Mcp-Param-Region") != "" {
			t.Errorf("an agent of the session era gets %v", seen.Header)
		}
	}
}

// An agent of the stateless era gets headers of ours, from clients of both eras.
func TestHeadersThatMirrorArgumentsAreWrittenAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := make(chan string, 8)
	agent := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Method") == "tools/call" { // the gateway may ask for other things
			got <- r.Header.Get("Mcp-Param-Region")
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"jsonrpc":"2.0","id":"c1","result":{"resultType":"complete","content":[]}}`))
	}))
	t.Cleanup(agent.Close)
	w.Deployments.Set(&schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", McpUrl: agent.URL, Ready: true, Kind: "remote", Modern: true, ModernOnly: true,
		ToolsJson: mirrored, InitializeJson: `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}`, DiscoverJson: `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`,
	})
	edgetest.Until(t, "the new version serves", func() bool {
		return strings.Contains(w.do(http.MethodPost, "/mcp", "alice", "", []byte(hello)).body, `"2025-06-18"`)
	})
	w.query("eu", "Mcp-Param-Region", "=?base64?ZXU=?=")
	if header := <-got; header != "eu" {
		t.Errorf("from a client of its own era it gets %q", header)
	}
	w.do(http.MethodPost, "/mcp", "alice", w.open("alice"), call("query", `{"region":"größe"}`))
	if header := <-got; header != "=?base64?Z3LDtsOfZQ==?=" {
		t.Errorf("from a client with a session it gets %q", header)
	}
}

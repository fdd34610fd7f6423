package agentclient_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// stateless is a server that keeps no sessions and knows no other era.
func stateless(w http.ResponseWriter, r *http.Request) {
	var req struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Meta map[string]any `json:"_meta"`
		}
	}
	err := json.NewDecoder(r.Body).Decode(&req)
	version := r.Header.Get("Mcp-Protocol-Version")
	w.Header().Set("Content-Type", "application/json")
	answers := map[string]string{
		"server/discover": `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"new","version":"2"}}}`,
		"tools/list":      `{"tools":[{"name":"add"}],"ttlMs":0,"cacheScope":"private"}`,
	}
	result, ok := answers[req.Method]
	if err != nil || !ok || version != "2026-07-28" || r.Header.Get("Mcp-Method") != req.Method || req.Params.Meta["io.modelcontextprotocol/protocolVersion"] != version {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, req.ID, result)
}

func TestCaptureRemoteSpeaksBothEras(t *testing.T) {
	t.Parallel()
	sessions := &agent{answers: map[string]string{"initialize": offers(`"tools":{}`), "tools/list": `"result":{"tools":[{"name":"add"}]}`}}
	tests := map[string]struct {
		server http.Handler
		want   store.Capture
	}{
		"a server with sessions": {sessions, store.Capture{AppName: "finder", ToolsJSON: `{"tools":[{"name":"add"}]}`}},
		"a stateless server":     {http.HandlerFunc(stateless), store.Capture{AppName: "new", ToolsJSON: `{"tools":[{"name":"add"}]}`, Modern: true, ModernOnly: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, tt.server) + "/mcp"
			got, err := agentclient.Remote{Addresses: agentclient.AnyAddress}.CaptureRemote(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			if got.InitializeJSON == "" || got.Modern != (got.DiscoverJSON != "") {
				t.Errorf("captured %+v", got)
			}
			tt.want.Kind, tt.want.MCPURL, got.InitializeJSON, got.DiscoverJSON = "remote", url, "", ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("CaptureRemote() differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForbiddenAddressesAreNotConnected(t *testing.T) {
	t.Parallel()
	here := serve(t, http.HandlerFunc(stateless))
	tests := map[string]struct{ policy, url string }{
		"loopback, where only public ones may": {agentclient.PublicAddress, here},
		"loopback as IPv4 in IPv6":             {agentclient.PublicAddress, strings.Replace(here, "127.0.0.1", "[::ffff:127.0.0.1]", 1)},
		"loopback by name":                     {agentclient.PublicAddress, strings.Replace(here, "127.0.0.1", "localhost", 1)},
		"a private network":                    {agentclient.PublicAddress, "http://10.0.0.1:9/mcp"},
		"the machine's metadata":               {agentclient.AnyAddress, "http://169.254.169.254/mcp"},
		"link-local IPv6":                      {agentclient.AnyAddress, "http://[fe80::1]/mcp"},
		"no address":                           {agentclient.AnyAddress, "http://0.0.0.0:9/mcp"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := agentclient.Remote{Addresses: tt.policy}.CaptureRemote(t.Context(), tt.url)
			if err == nil || !strings.Contains(err.Error(), "may not be connected") {
				t.Errorf("CaptureRemote(%s) = %v", tt.url, err)
			}
		})
	}
}

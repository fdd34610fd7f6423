package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	app   = "app_a"
	hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}},"clientInfo":{"name":"the client's own words","version":"1"}}}`
)

var alice = principal.Principal{Kind: principal.User, UserID: "u_alice", OrgID: "org_1"}

type world struct {
	*edgetest.Rooms
	agent *edgetest.Agent
	table *routes.Table
	store *sessions.Store
}

func newWorld(t *testing.T, limits sessions.Limits) *world {
	t.Helper()
	w := &world{Rooms: edgetest.NewRooms(t), agent: edgetest.NewAgent(t), table: routes.New(slog.New(slog.DiscardHandler))}
	w.Apps.Set(&registryv1.Address{TargetId: app, AppName: "finder"})
	w.live(w.agent, true)
	edgetest.Background(t, func(ctx context.Context) error {
		return w.table.Run(ctx, registryv1.NewAppsServiceClient(w.Conn), schedulerv1.NewDeploymentsServiceClient(w.Conn))
	})
	edgetest.Until(t, "the app is live", func() bool { return w.table.Target(app) != nil && w.table.Target(app).Endpoint.Up() })
	w.store = sessions.NewStore(w.table, sessions.NewClient(plain), limits)
	edgetest.Background(t, w.store.Run)
	return w
}

func usual() sessions.Limits {
	return sessions.Limits{Total: 100, PerCaller: 50, Idle: time.Minute, Wait: 20 * time.Second}
}

// live says which agent serves.
func (w *world) live(agent *edgetest.Agent, ready bool) {
	w.Deployments.Set(&schedulerv1.Endpoint{TargetId: app, ServerUrl: agent.URL(), Ready: ready})
}

// replace makes another agent the live one and waits until the table knows.
func (w *world) replace(t *testing.T) *edgetest.Agent {
	t.Helper()
	next := edgetest.NewAgent(t)
	w.live(next, true)
	edgetest.Until(t, "the new agent serves", func() bool { return w.table.Target(app).Endpoint.GetServerUrl() == next.URL() })
	return next
}

// open begins a session with the agent.
func (w *world) open(t *testing.T) *sessions.Session {
	t.Helper()
	s, err := w.store.Open(app, alice, "")
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Upstream.Begin(t.Context(), []byte(hello))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // a test
	if _, err := sessions.ReadReply(res); err != nil {
		t.Fatal(err)
	}
	s.Upstream.Agreed("2025-06-18")
	return s
}

// call calls a tool and returns what the echo says.
func call(ctx context.Context, s *sessions.Session, name string) (string, error) {
	params := json.RawMessage(fmt.Sprintf(`{"name":%q}`, name))
	res, err := s.Upstream.Send(ctx, jsonrpc.NewRequest(json.RawMessage("7"), "tools/call", params), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // a test
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", res.Status)
	}
	reply, err := sessions.ReadReply(res)
	if err != nil {
		return "", err
	}
	var m struct {
		Result struct {
			StructuredContent struct{ Name string }
		}
	}
	err = json.Unmarshal(reply, &m)
	return m.Result.StructuredContent.Name, err
}

// plain puts nothing before the wire.
func plain(next http.RoundTripper) http.RoundTripper { return next }

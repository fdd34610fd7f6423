package edge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// roster is an agent that knows its sessions and nothing else.
type roster struct {
	mu   sync.Mutex
	ever int
	open map[string]bool
}

// ServeHTTP serves a session's beginning, its stream and its end.
func (a *roster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.NewDecoder(r.Body).Decode(&m)
	switch id := r.Header.Get("Mcp-Session-Id"); {
	case r.Method == http.MethodDelete:
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.open, id)
	case r.Method == http.MethodGet:
		edgetest.Stream(w)
		<-r.Context().Done()
	case m.Method == "initialize":
		a.mu.Lock()
		a.ever++
		id = "s" + strconv.Itoa(a.ever)
		a.open[id] = true
		a.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}`))
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
	}
}

func (a *roster) sessions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open)
}

// footprint is what a process has open.
type footprint struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) (f footprint) {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell what is open")
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// Sessions come and go: a third is ended, a third listens and drops, a third is never seen
// again. Nothing of them stays. (Not beside other tests, which would be counted.)
func TestNothingStaysOfSessions(t *testing.T) { //nolint:paralleltest // see above
	const crowd = 600
	agent := &roster{open: map[string]bool{}}
	server := httptest.NewServer(agent)
	t.Cleanup(server.CloseClientConnections)
	w := newWorld(t, func(c *edge.Config) { c.SessionIdle, c.Sessions, c.SessionsPerCaller = 2*time.Second, 2*crowd, 2*crowd })
	w.Deployments.Set(&schedulerv1.Endpoint{TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", McpUrl: server.URL, Ready: true, Kind: "remote", InitializeJson: `{}`})
	edgetest.Until(t, "the new version serves", func() bool { w.do(http.MethodPost, "/mcp", "alice", "", []byte(hello)); return agent.sessions() > 0 })
	visit := func(many int) footprint {
		var group errgroup.Group
		group.SetLimit(16) //nolint:mnd // as many clients
		for i := range many {
			group.Go(func() error { return w.comeAndGo(i) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		edgetest.Until(t, "the agent has no sessions", func() bool { return agent.sessions() == 0 })
		http.DefaultClient.CloseIdleConnections()
		server.CloseClientConnections() // those that the gateway keeps for others
		return measure(t)
	}
	before := visit(crowd / 10)
	after := visit(crowd)
	t.Logf("before %+v, after %d sessions %+v", before, crowd, after)
	edgetest.Until(t, "as little is open as before", func() bool {
		after = measure(t)
		return after.goroutines <= before.goroutines+32 && after.files <= before.files+32 && after.heap <= before.heap+4<<20
	})
	t.Logf("before %+v, after %d sessions %+v", before, crowd, after)
}

// comeAndGo is one client's life.
func (w *world) comeAndGo(i int) error {
	do := func(method, session, body string) (*http.Response, error) {
		res, err := http.DefaultClient.Do(w.request(method, "/mcp", "alice", session, []byte(body)))
		if err == nil && res.StatusCode >= http.StatusBadRequest {
			err = fmt.Errorf("%s is answered with %s", method, res.Status)
		}
		return res, err
	}
	end := func(res *http.Response, err error) error {
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return err
	}
	first, err := do(http.MethodPost, "", hello)
	if err := end(first, err); err != nil {
		return err
	}
	id := first.Header.Get("Mcp-Session-Id")
	for _, body := range []string{ready, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`} {
		if err := end(do(http.MethodPost, id, body)); err != nil { //nolint:bodyclose // end closes it
			return err
		}
	}
	switch i % 3 {
	case 0:
		return end(do(http.MethodDelete, id, "")) //nolint:bodyclose // end closes it
	case 1:
		res, err := do(http.MethodGet, id, "")
		if err != nil {
			return err
		}
		_ = res.Body.Close()
	}
	return nil
}

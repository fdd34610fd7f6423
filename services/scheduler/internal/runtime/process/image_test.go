package process_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/runtimetest"
)

// rootfs is an image that was laid out, with one static program.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"proc", "dev", "sys", "tmp", "etc", "app"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"etc/resolv.conf", "etc/hosts"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "server"), "./testdata/imageserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// post sends one message and returns the result and the session.
func post(t *testing.T, url, session, body string) (result map[string]any, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runtimetest.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, data, _ := strings.Cut(string(raw), "data: ")
	var answer struct{ Result map[string]any }
	if err := json.Unmarshal([]byte(data), &answer); err != nil {
		t.Fatalf("it answers %s: %s", res.Status, raw)
	}
	return answer.Result, res.Header.Get("Mcp-Session-Id")
}

func TestAnImage(t *testing.T) {
	t.Parallel()
	runc, err := exec.LookPath("runc")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("images need runc, and root")
	}
	lines := &published{}
	r := newRuntime(t, lines, alone, t.Output())
	l := launchProgram(t, "/server")
	files := rootfs(t)
	l.Document.Program.Kind = agentenv.KindImage
	l.Document.Program.Image = &agentenv.Image{Runc: runc, Rootfs: files, Folder: "/app", UID: 1234, GID: 5}
	l.Document.Env = map[string]string{"TOKEN": "very-secret-value"}
	if err := r.Apply(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	look := lookUntil(t, r, l, func(look deployments.Look) bool {
		return look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY || look.Server.Failed
	})
	if look.Server.Failed {
		t.Fatalf("it does not start: %s\n%s", look.Server.Reason, look.Server.Detail)
	}
	_, session := post(t, look.ServerURL, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
	got, _ := post(t, look.ServerURL, session, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	want := map[string]any{"pid": 1.0, "uid": 1234.0, "token": "very-secret-value", "folder": "/app", "host": false, "writes": false, "temporary": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("where it runs (-want +got):\n%s", diff)
	}
	// One that is killed with all that it has started begins anew.
	kill(t, r, l)
	lookUntil(t, r, l, func(look deployments.Look) bool {
		return look.Server.State == schedulerv1.AgentState_AGENT_STATE_BACKOFF
	})
	lookUntil(t, r, l, func(look deployments.Look) bool { return look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY })
	_, session = post(t, look.ServerURL, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
	if again, _ := post(t, look.ServerURL, session, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`); again["pid"] != 1.0 {
		t.Errorf("after a kill it says %v", again)
	}
	if agents := r.Agents(l.TargetID); len(agents) != 2 {
		t.Errorf("%d agents", len(agents))
	}
	// What runc is told lies in no file that others see.
	_ = filepath.WalkDir(filepath.Dir(files), func(name string, _ fs.DirEntry, _ error) error {
		if strings.HasSuffix(name, "config.json") {
			t.Errorf("the container's configuration lies at %s", name)
		}
		return nil
	})
	if err := r.Remove(t.Context(), l.TargetID, l.VersionID); err != nil {
		t.Fatal(err)
	}
	if still := left(files); len(still) > 0 {
		t.Errorf("processes stay behind: %v", still)
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/agentcloud/*/" + l.Document.InstanceID + "-server")
	if len(groups) > 0 {
		t.Errorf("groups stay behind: %v", groups)
	}
}

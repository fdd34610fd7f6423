package wrangler_test

import (
	"bytes"
	"flag"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/wrangler"
)

var update = flag.Bool("update", false, "write testdata/upload.multipart anew from the real uploader")

// recording is the body of a real upload of project, after a line with its boundary.
const recording = "testdata/upload.multipart"

// project is a source folder with every kind of file that the contract tells of.
var project = map[string]string{
	"main.py":                  "from mcp_agent.app import MCPApp\n\napp = MCPApp(name=\"odd\")\n",
	"requirements.txt":         "mcp-agent\n",
	"mcp_agent.config.yaml":    "name: odd\n",
	"LICENSE":                  "no suffix\n",
	"empty.txt":                "",
	"empty.py":                 "",
	"latin1.py":                "# caf\xe9\n",
	"binary.bin":               "\x00\x01\x02\xff\xfe\r\n--\r\n",
	"nested/deep/notes.txt":    "notes\n",
	"nested/deep/tool.py":      "X = 1\n",
	"with space (1).txt":       "y\n",
	"ünï/cödé.md":              "z\n",
	`quo"te.txt`:               "q\n",
	"100%22.txt":               "upstream's own ambiguity\n",
	"data.mcpac.py.txt":        "inner suffix\n",
	"mcp_agent.secrets.yaml":   "openai: {api_key: raw}\n",
	".env":                     "SECRET=1\n",
	".hidden/x.txt":            "h\n",
	"logs/agent.log":           "l\n",
	"node_modules/m/index.js":  "m\n",
	"__pycache__/main.cpython": "c\n",
	"scratch.tmp":              "t\n",
}

// restored is what arrives of project.
func restored() map[string]string {
	want := map[string]string{}
	for path, content := range project {
		first, _, _ := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(first, "."), first == "logs", first == "node_modules", first == "__pycache__",
			path == "mcp_agent.secrets.yaml", strings.HasSuffix(path, ".tmp"):
		case path == "100%22.txt":
			want[`100".txt`] = content // a quote is sent the same way
		default:
			want[path] = content
		}
	}
	return want
}

func wantProject(t *testing.T, got map[string]string) {
	t.Helper()
	if !strings.Contains(got["mcp_deploy_breadcrumb.py"], "BREADCRUMB = ") {
		t.Errorf("the breadcrumb is %q", got["mcp_deploy_breadcrumb.py"])
	}
	delete(got, "mcp_deploy_breadcrumb.py")
	if diff := cmp.Diff(restored(), got); diff != "" {
		t.Errorf("the builder got (-want +got):\n%s", diff)
	}
}

// A recorded upload of the real uploader is understood.
func TestRecordedUpload(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	kind, body, _ := bytes.Cut(raw, []byte("\n"))
	w := newWorld(t, wrangler.Defaults())
	got := w.call(t, http.MethodPut, w.scripts()+"?excludeScript=true", goodKey, string(kind), bytes.NewReader(body))
	if records := w.registry.recorded(); !got.Success || len(records) != 1 || records[0].GetRefused() != "" {
		t.Fatalf("PUT = %+v, recorded %v, want it kept", got, records)
	}
	wantProject(t, w.builder.committed()[0])
}

// The real uploader, run as the public command line runs it, is content with every answer.
func TestRealUploader(t *testing.T) {
	t.Parallel()
	python, cache := uploader(t)
	w := newWorld(t, wrangler.Defaults())
	requests, address := w.watched(t)
	dir := filepath.Join(t.TempDir(), "project")
	write(t, dir, project)
	const script = `import pathlib, sys
from mcp_agent.cli.cloud.commands.deploy.wrangler_wrapper import wrangler_deploy
wrangler_deploy(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))`
	cmd := exec.CommandContext(t.Context(), python, "-c", script, w.app, goodKey, dir) //nolint:gosec // the test's own
	cmd.Env = append(os.Environ(), "MCP_DEPLOYMENTS_UPLOAD_API_BASE_URL="+address, "MCP_DEPLOYMENT_CACHE_DIR="+cache, "NO_COLOR=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wrangler_deploy() = %v:\n%s", err, out)
	}
	want := []string{
		"GET " + account + "/services/" + w.app + " 404", "GET " + w.scripts() + "/deployments 200", "PUT " + w.scripts() + "?excludeScript=true 200",
		"GET " + w.scripts() + "/subdomain 200", "GET " + account + "/subdomain 200",
	}
	if diff := cmp.Diff(want, requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if len(w.builder.committed()) != 1 {
		t.Fatalf("the builder kept %d bundles, want one", len(w.builder.committed()))
	}
	wantProject(t, w.builder.committed()[0])
}

// uploader finds the command line's interpreter and the cache with the uploader. What
// is missing fails the test where AGENTCLOUD_E2E is set, and skips it otherwise.
func uploader(t *testing.T) (python, cache string) {
	t.Helper()
	program, err := filepath.EvalSymlinks("../../../../.bin/mcp-agent")
	home, errHome := os.UserCacheDir()
	cache = filepath.Join(home, "agentcloud", "wrangler")
	_, errCache := os.Stat(cache)
	for _, err := range []error{err, errHome, errCache} {
		if err != nil && os.Getenv("AGENTCLOUD_E2E") != "" {
			t.Fatalf("%v: `make setup` makes it", err)
		}
		if err != nil {
			t.Skipf("%v: `make setup` makes it", err)
		}
	}
	return filepath.Join(filepath.Dir(program), "python"), cache
}

// watched puts a proxy before the service that lists requests with their status, and
// with -update keeps the upload.
func (w *world) watched(t *testing.T) (requests func() []string, address string) {
	t.Helper()
	target, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(res *http.Response) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, res.Request.Method+" "+res.Request.URL.RequestURI()+" "+res.Status[:3])
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if *update && r.Method == http.MethodPut {
			keep(t, r)
		}
		_ = http.NewResponseController(rw).EnableFullDuplex() // as httputil's proxy needs it for quick answers
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}, server.URL
}

func keep(t *testing.T, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	write(t, ".", map[string]string{recording: r.Header.Get("Content-Type") + "\n" + string(body)})
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(path, []byte(content), fs.FileMode(0o644)); err != nil {
			t.Error(err)
		}
	}
}

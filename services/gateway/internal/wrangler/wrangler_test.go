package wrangler_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/wrangler"
)

func TestConstantAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	tests := map[string]struct {
		path   string
		status int
		code   int
		result map[string]any
	}{
		"there is never such a worker": {account + "/services/" + w.app, http.StatusNotFound, 10090, nil},
		"nor a deployment":             {w.scripts() + "/deployments", http.StatusOK, 0, map[string]any{"deployments": []any{}}},
		"its subdomain is on":          {w.scripts() + "/subdomain", http.StatusOK, 0, map[string]any{"enabled": true, "previews_enabled": true}},
		"the account has one":          {account + "/subdomain", http.StatusOK, 0, map[string]any{"subdomain": "mcp"}},
		"any other path":               {account + "/else", http.StatusNotFound, 10001, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := w.call(t, http.MethodGet, tt.path, goodKey, "", nil)
			code := 0
			if len(got.Errors) > 0 {
				code = got.Errors[0].Code
			}
			if got.Status != tt.status || code != tt.code || got.Success != (code == 0) || got.Messages == nil || got.Errors == nil || !cmp.Equal(got.Result, tt.result) {
				t.Errorf("GET %s = %+v, want %d, code %d, %v", tt.path, got, tt.status, tt.code, tt.result)
			}
		})
	}
}

func TestBadKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	for _, path := range []string{account + "/services/" + w.app, w.scripts() + "/deployments", w.scripts() + "/subdomain", account + "/subdomain"} {
		got := w.call(t, http.MethodGet, path, "lm_mcp_api_bad", "", nil)
		if got.Status != http.StatusUnauthorized || got.Success || got.Errors[0].Code != 10000 || got.Errors[0].Message == "" {
			t.Errorf("GET %s with a bad key = %+v, want 401 and code 10000", path, got)
		}
	}
}

var deploymentID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func TestUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	want := map[string]string{
		"main.py": "app = 1\n", "requirements.txt": "mcp-agent\n", "nested/deep/notes.txt": "", "LICENSE": "x",
		"data/ünï (1) code.bin": "\x00\xff\r\n--" + boundary[:8] + "\x1a", `say "hi".md`: "quote", "a.mcpac.py.txt": "y", "b.py.mcpac.py": "z",
		"big.dat": strings.Repeat("0123456789abcdef", 40_000),
	}
	var files []string
	for path, content := range want {
		sent := path
		if !strings.HasSuffix(path, ".py") || path == "b.py.mcpac.py" {
			sent += ".mcpac.py"
		}
		files = append(files, sent, content)
	}
	for range 2 {
		got := w.put(t, form(files...))
		if id, _ := got.Result["deployment_id"].(string); got.Status != http.StatusOK || !got.Success || !deploymentID.MatchString(id) {
			t.Fatalf("PUT = %+v, want success and a deployment id", got)
		}
	}
	for _, got := range w.builder.committed() {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the builder got (-want +got):\n%s", diff)
		}
	}
	records := w.registry.recorded()
	if len(records) != 2 || records[0].GetAppId() != w.app || records[0].GetBundleId() == "" || records[0].GetRefused() != "" ||
		records[0].GetBundleId() != records[1].GetBundleId() || records[0].GetDigest() != records[1].GetDigest() {
		t.Errorf("recorded = %v, want the same bundle twice", records)
	}
}

// small are limits that a test can pass.
var small = wrangler.Limits{Bytes: 1000, Files: 3, NameBytes: 40, Depth: 3}

func TestRefusals(t *testing.T) {
	t.Parallel()
	end := "--" + boundary + "--\r\n"
	tests := map[string]struct {
		body string
		want string // part of the sentence
	}{
		"an absolute path":          {form("/etc/passwd", "x"), "not a plain path"},
		"a way out":                 {form("../x.py", "x"), "not a plain path"},
		"a way out further down":    {form("a/../../x.py", "x"), "not a plain path"},
		"the parent itself":         {form("..", "x"), "not a plain path"},
		"the folder itself":         {form(".", "x"), "not a plain path"},
		"an empty part":             {form("a//b.py", "x"), "not a plain path"},
		"a path of Windows":         {form(`a\b.py`, "x"), "not allowed"},
		"a path of Windows, masked": {form(`a\(b.py`, "x"), "not allowed"},
		"a NUL":                     {form("a\x00.py", "x"), "damaged"},
		"a line break":              {form("a\nb.py", "x"), "not allowed"},
		"no UTF-8":                  {form("\xff.py", "x"), "UTF-8"},
		"no name":                   {form("", "x"), "no name"},
		"no name but the suffix":    {form(".mcpac.py", "x"), "no name"},
		"a folder for a name":       {form("a/.mcpac.py", "x"), "not a plain path"},
		"the same path twice":       {form("a.py", "x", "a.py", "y"), "overwrite each other"},
		"the same after the suffix": {form("a.txt", "x", "a.txt.mcpac.py", "y"), "overwrite each other"},
		"the same but for its case": {form("a.py", "x", "A.py", "y"), "overwrite each other"},
		"the same but for its form": {form("é.py", "x", "e\u0301.py", "y"), "overwrite each other"},
		"too many files":            {form("a", "", "b", "", "c", "", "d", ""), "at most 3 files"},
		"too many bytes":            {form("a", strings.Repeat("x", 600), "b", strings.Repeat("x", 600)), "at most 0 MiB"},
		"a long path":               {form(strings.Repeat("x", 41), ""), "more than 40 bytes"},
		"a deep path":               {form("a/b/c/d.py", ""), "folders deep"},
		"big metadata":              {part(`name="metadata"`, strings.Repeat("x", 1<<20+1)) + end, "at most 1024 KiB"},
		"metadata twice":            {part(`name="metadata"`, "{}") + form(), "no file"},
		"a part that is no file":    {part(`name="other"`, "x") + form(), "no file"},
		"two names for a file":      {part(`name="a"; filename="a"; filename="b"`, "x") + form(), "two file names"},
		"a part with an odd header": {part(`name="a"; filename*=UTF-8''a`, "x") + form(), "cannot be read"},
		"a part without a header":   {"--" + boundary + "\r\n\r\nx\r\n" + end, "cannot be read"},
		"a header without its end":  {"--" + boundary + "\r\nContent-Disposition: form-data", "damaged"},
		"no end":                    {strings.TrimSuffix(form("a.py", "x"), end), "damaged"},
		"an end inside a file":      {form("a.py", "x")[:len(form("a.py", "x"))-len(end)-3], "damaged"},
		"nothing":                   {"", "damaged"},
		"no multipart":              {"hello", "damaged"},
		"another boundary":          {strings.ReplaceAll(form("a.py", "x"), boundary, "other"), "damaged"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			got := w.put(t, tt.body)
			if got.Status != http.StatusOK || !got.Success {
				t.Errorf("PUT = %+v, want success: the command line hides what an error says", got)
			}
			records := w.registry.recorded()
			if len(records) != 1 || !strings.Contains(records[0].GetRefused(), tt.want) || records[0].GetBundleId() != "" {
				t.Errorf("recorded = %v, want it refused with %q", records, tt.want)
			}
			if kept := w.builder.committed(); len(kept) != 0 {
				t.Errorf("the builder kept %v, want nothing", kept)
			}
		})
	}
}

func TestNotMultipart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	for _, kind := range []string{"", "application/json", "multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary="} {
		w.call(t, http.MethodPut, w.scripts(), goodKey, kind, strings.NewReader("{}"))
		if records := w.registry.recorded(); !strings.Contains(records[len(records)-1].GetRefused(), "multipart/form-data") {
			t.Errorf("Content-Type %q: recorded = %v, want it refused", kind, records)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wrangler.Defaults())
	w.builder.refuse = fault.TooLarge.Errorf("the bundle has more than 5 files")
	files := make([]string, 0, 400)
	for i := range 200 {
		files = append(files, fmt.Sprintf("f%d.py", i), strings.Repeat("x", 10_000))
	}
	got := w.put(t, form(files...))
	if records := w.registry.recorded(); !got.Success || len(records) != 1 || records[0].GetRefused() != "the bundle has more than 5 files" {
		t.Errorf("PUT = %+v, recorded = %v, want the builder's sentence", got, records)
	}
}

func TestOutagesAndRights(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*world)
		status int
	}{
		"the builder is away": {func(w *world) { w.builder.refuse = fault.Unavailable.Errorf("the disk is full") }, http.StatusServiceUnavailable},
		"the caller may not":  {func(w *world) { w.registry.refuse = fault.Denied.Errorf("only its creator") }, http.StatusForbidden},
		"no such app":         {func(w *world) { w.registry.refuse = fault.NotFound.Errorf("no such app") }, http.StatusNotFound},
		"no app's id":         {func(w *world) { w.app = "finder" }, http.StatusNotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, wrangler.Defaults())
			tt.change(w)
			got := w.put(t, form("main.py", "x"))
			if got.Status != tt.status || got.Success || len(got.Errors) != 1 {
				t.Errorf("PUT = %+v, want %d", got, tt.status)
			}
			if records := w.registry.recorded(); len(records) != 0 {
				t.Errorf("recorded = %v, want nothing", records)
			}
		})
	}
}

package sources_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/cli/sources"
)

// folder makes a project; a text that begins with "-> " is a link.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		full := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		if to, link := strings.CutPrefix(text, "-> "); link {
			err = errors.Join(err, os.Symlink(to, full))
		} else {
			err = errors.Join(err, os.WriteFile(full, []byte(text), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"what is always left out": {
			files: map[string]string{
				"package.json": "{}", "src/a.ts": "", ".env": "A=1", ".git/config": "", "node_modules/x/index.js": "", "sub/node_modules/y.js": "",
				"a.tmp": "", "sub/b.bak": "", "__pycache__/a.pyc": "", "logs/a": "", "venv/a": "", "wrangler.toml": "",
			},
			want: []string{"package.json", "src/a.ts"},
		},
		"an ignore file": {
			files: map[string]string{
				".mcpacignore": "# mine\n*.md\n!README.md\n/data\nbuild/\ndocs/**/*.png\nsecret?.txt\nx[0-9].js\n",
				"README.md":    "", "a.md": "", "sub/b.md": "", "data/x": "", "sub/data": "", "build/out": "", "sub/build": "", "docs/a/b/c.png": "",
				"docs/c.png": "", "docs/c.svg": "", "secret1.txt": "", "secret12.txt": "", "x1.js": "", "xa.js": "",
			},
			want: []string{"README.md", "docs/c.svg", "secret12.txt", "sub/build", "sub/data", "xa.js"},
		},
		"a link within": {files: map[string]string{"a/x.js": "", "b.js": "-> a/x.js"}, want: []string{"a/x.js", "b.js"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := sources.Find(folder(t, tt.files))
			if diff := cmp.Diff(tt.want, got.Names); diff != "" || err != nil {
				t.Errorf("Find() = %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestFoldersThatAreNotSent(t *testing.T) {
	t.Parallel()
	for want, files := range map[string]map[string]string{
		"nothing to deploy":   {".env": ""},
		"mcp-agent deploy":    {"mcp_agent.secrets.yaml": "a: b", "x": ""},
		"leads out of":        {"x": "-> /etc/passwd"},
		"is a link to":        {"d/x": "", "e": "-> d"},
		"follow the link y: ": {"y": "-> nowhere"},
	} {
		if _, err := sources.Find(folder(t, files)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Find() = %v, want %q", err, want)
		}
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	answer := `{"success":true}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts, err := r.MultipartReader()
		if err != nil || r.Method != http.MethodPut || r.URL.Path != "/accounts/agentcloud/workers/scripts/app_1" || r.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
			return
		}
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			text, err := io.ReadAll(part)
			if err != nil {
				t.Error(err)
			}
			got[part.Header.Get("Content-Disposition")] = string(text)
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	files, err := sources.Find(folder(t, map[string]string{`a "b".txt`: "x", "sub/c.mcpac.py": "y"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Send(t.Context(), server.Client(), server.URL, "k", "app_1"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		`form-data; name="metadata"`: "{}",
		`form-data; name="a %22b%22.txt.mcpac.py"; filename="a %22b%22.txt.mcpac.py"`:   "x",
		`form-data; name="sub/c.mcpac.py.mcpac.py"; filename="sub/c.mcpac.py.mcpac.py"`: "y",
	}
	if diff := cmp.Diff(want, got); diff != "" || files.Bytes != 2 {
		t.Errorf("%d bytes; parts (-want +got):\n%s", files.Bytes, diff)
	}
	answer = `{"success":false,"errors":[{"code":1,"message":"no right to deploy"}]}`
	if err := files.Send(t.Context(), server.Client(), server.URL, "k", "app_1"); err == nil || err.Error() != "no right to deploy" {
		t.Errorf("Send() = %v", err)
	}
}

package lawtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLaw(t *testing.T) {
	t.Parallel()
	own := func(to string) string { return `import _ "` + Module + to + `"` }
	event := `import r "` + Module + `proto/agentcloud/registry/v1"` + "\nvar _ r."
	tests := map[string]struct {
		file, body string
		want       string // part of the breach; empty: none
	}{
		"a room uses the chassis":              {"services/builder/a.go", own("pkg/fault"), ""},
		"a room uses its own code":             {"services/builder/a.go", own("services/builder/internal/x"), ""},
		"a room uses another room":             {"services/gateway/a.go", own("services/registry"), "no other room's code"},
		"a test starts another room":           {"services/gateway/a_test.go", own("services/registry"), ""},
		"a room calls one below":               {"services/gateway/a.go", event + "Client", ""},
		"a room calls one above":               {"services/scheduler/a.go", event + "Client", "not Client"},
		"a room calls one beside":              {"services/telemetry/a.go", event + "Client", "not Client"},
		"a room hears one above":               {"services/scheduler/a.go", event + "AppDeleted", ""},
		"a test plays the room above":          {"services/scheduler/a_test.go", event + "Client", ""},
		"the all-in-one uses rooms":            {"services/allinone/a.go", own("services/registry"), ""},
		"the command line uses a room":         {"services/cli/a.go", own("services/registry"), "a client like any other"},
		"the command line uses a contract":     {"services/cli/a.go", event + "Client", ""},
		"the chassis uses a service":           {"pkg/bus/a.go", own("services/registry"), "knows no service"},
		"the chassis uses a contract":          {"pkg/bus/a.go", event + "AppDeleted", "the bus alone"},
		"the chassis uses the bus contract":    {"pkg/bus/a.go", own("proto/agentcloud/bus/v1"), ""},
		"a contract uses the chassis":          {"proto/agentcloud/bus/v1/a.go", own("pkg/fault"), "nothing but contracts"},
		"Temporal in the scheduler":            {"services/scheduler/internal/flow/a.go", `import _ "go.temporal.io/sdk/client"`, ""},
		"Temporal in the gateway":              {"services/gateway/a.go", `import _ "go.temporal.io/sdk/client"`, "only the scheduler"},
		"Vault in its driver":                  {"services/secretsbroker/internal/vault/hashicorp/a.go", `import _ "github.com/hashicorp/vault/api"`, ""},
		"Vault elsewhere in the broker":        {"services/secretsbroker/a.go", `import _ "github.com/hashicorp/vault/api"`, "speaks Vault"},
		"a driver chosen by its room":          {"services/scheduler/a.go", own("services/scheduler/internal/runtime/process"), ""},
		"a driver used inside":                 {"services/scheduler/internal/deployments/a.go", own("services/scheduler/internal/runtime/process"), "chooses"},
		"HTTP served by the gateway":           {"services/gateway/internal/edge/a.go", "import \"net/http\"\nvar _ http.Server", ""},
		"HTTP served by another room":          {"services/registry/a.go", "import \"net/http\"\nvar _ http.Server", "serve HTTP"},
		"HTTP asked by another room":           {"services/registry/a.go", "import \"net/http\"\nvar _ http.Client", ""},
		"HTTP served by a test":                {"services/registry/a_test.go", "import \"net/http\"\nvar _ http.Server", ""},
		"a module of its own has its own laws": {"services/temporald/a.go", own("services/registry"), ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, root, "proto/agentcloud/registry/v1/events.pb.go", "type AppDeleted struct{}")
			write(t, root, tt.file, tt.body)
			files, err := read(root)
			if err != nil {
				t.Fatal(err)
			}
			got := breaches(files)
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("breaches = %q, want %q", got, tt.want)
			}
		})
	}
}

func write(t *testing.T, root, name, body string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("package p\n"+body+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnexplained(t *testing.T) {
	t.Parallel()
	const document = "# All\n\n## pkg\n\n| `a.b/c` | speaks C |\n| `a.b/old` | was needed |\n\n## services\n\n| `a.b/d` | speaks D |\n"
	tests := map[string]struct {
		module string
		direct []string
		want   string
	}{
		"all is said":      {"services", []string{"a.b/d"}, ""},
		"one is missing":   {"services", []string{"a.b/d", "a.b/e"}, "services needs a.b/e"},
		"one is too many":  {"pkg", []string{"a.b/c"}, "does not need a.b/old"},
		"another's line":   {"services", []string{"a.b/d", "a.b/c"}, "services needs a.b/c"},
		"an unknown place": {"proto", nil, "no heading for proto"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(unexplained(document, tt.module, tt.direct), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("unexplained = %q, want %q", got, tt.want)
			}
		})
	}
}

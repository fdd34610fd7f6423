package deployments

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

func TestSidecarsAreTakenOutOfTheSettings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		raw, settings string // the settings as the files have them, and with secrets
		project       string
		resolved      map[string]agentenv.Command
		left          string
		want          map[string]Sidecar
	}{
		"none": {raw: `{}`, settings: `{}`, left: `{}`},
		"by HTTP": {
			raw: `{}`, settings: `{"mcp":{"servers":{"a":{"transport":"sse","url":"u","command":"x"},"b":{"url":"u"}}}}`,
			left: `{"mcp":{"servers":{"a":{"transport":"sse","url":"u","command":"x"},"b":{"url":"u"}}}}`,
		},
		"secrets and folder go with it": {
			raw:      `{"mcp":{"servers":{"a":{"command":"python","args":["s.py"],"env":{"A":"1"},"cwd":"sub"}}}}`,
			settings: `{"mcp":{"servers":{"a":{"command":"python","args":["s.py","key"],"env":{"A":"1","KEY":"value"},"cwd":"sub","roots":[1]}}}}`,
			left:     `{"mcp":{"servers":{"a":{"command":"agentcloud-sidecar","args":["a"],"roots":[1]}}}}`,
			want: map[string]Sidecar{"a": {
				Command: agentenv.Command{Command: "python", Args: []string{"s.py", "key"}, Env: map[string]string{"A": "1", "KEY": "value"}},
				Dir:     "sub", Shared: true, Written: agentenv.Command{Command: "python", Args: []string{"s.py"}},
			}},
		},
		"what the build installed, and wishes": {
			raw:      `{"mcp":{"servers":{"a":{"command":"uvx","args":["pkg","--x"]}}}}`,
			settings: `{"mcp":{"servers":{"a":{"command":"uvx","args":["pkg","--x"],"transport":"stdio","env":{"A":"2"}}}}}`,
			resolved: map[string]agentenv.Command{"a": {Command: "/env/bin/python", Args: []string{"/env/bin/pkg", "--x"}, Env: map[string]string{"A": "1", "B": "1"}}},
			project:  `{"sidecars":{"a":{"shared":false,"memory_mb":3,"cpus":0.5,"processes":7}}}`,
			left:     `{"mcp":{"servers":{"a":{"command":"agentcloud-sidecar","args":["a"],"transport":"stdio"}}}}`,
			want: map[string]Sidecar{"a": {
				Command:     agentenv.Command{Command: "/env/bin/python", Args: []string{"/env/bin/pkg", "--x"}, Env: map[string]string{"A": "2", "B": "1"}},
				MemoryBytes: 3 << 20, CPUs: 0.5, Processes: 7, Written: agentenv.Command{Command: "uvx", Args: []string{"pkg", "--x"}},
			}},
		},
		"what is no proper server is the agent's to refuse": {
			raw: `{}`, settings: `{"mcp":{"servers":{"a":{"command":"x","args":[1]},"b":{"command":"x","env":{"A":1}},"c":{"command":["x"]},"d":null,"e":{"command":"x","cwd":1}}}}`,
			left: `{"mcp":{"servers":{"a":{"command":"x","args":[1]},"b":{"command":"x","env":{"A":1}},"c":{"command":["x"]},"d":null,"e":{"command":"x","cwd":1}}}}`,
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			merged, err := object(tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			want, err := object(tt.left)
			if err != nil {
				t.Fatal(err)
			}
			a := &builderv1.Artifact{Manifest: &builderv1.Manifest{SettingsJson: tt.raw, ProjectJson: tt.project}}
			got, err := sidecars(a, agentenv.Launch{Settings: merged, StdioCommands: tt.resolved})
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				tt.want = map[string]Sidecar{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sidecars() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, merged); diff != "" {
				t.Errorf("the settings that are left (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWishesAboutASidecarThatIsNotThere(t *testing.T) {
	t.Parallel()
	a := &builderv1.Artifact{Manifest: &builderv1.Manifest{
		ProjectJson: `{"sidecars":{"other":{"shared":false}}}`, ProjectLines: map[string]int32{"sidecars": 1, "sidecars.other": 2},
	}}
	_, err := sidecars(a, agentenv.Launch{})
	if !fault.Invalid.Is(err) || !strings.Contains(fault.Message(err), `agentcloud.yaml line 2: sidecars.other: the settings have no MCP server "other"`) {
		t.Errorf("sidecars() = %v", err)
	}
}

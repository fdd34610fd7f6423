package projectfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		said projectfile.Kind
		want projectfile.File
	}{
		"the kind alone": {"kind: fastmcp", projectfile.FastMCP, projectfile.File{Kind: projectfile.FastMCP}},
		"a section alone": {
			"node: {build: true, transport: http, path: /x}", projectfile.NodeKind,
			projectfile.File{Node: &projectfile.Node{Build: "build", Serving: projectfile.Serving{Transport: "http", Path: "/x"}}},
		},
		"a script by its name, and none": {
			"node: {build: compile, scripts: false}", projectfile.NodeKind, projectfile.File{Node: &projectfile.Node{Build: "compile"}},
		},
		"both": {
			"kind: command\ncommand: {run: [a, b], sessions: 2, env: {A: x}}", projectfile.CommandKind,
			projectfile.File{Kind: "command", Command: &projectfile.Command{
				Run: []string{"a", "b"}, Serving: projectfile.Serving{Sessions: 2, Env: map[string]string{"A": "x"}},
			}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := projectfile.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, d.File); diff != "" || d.File.Said() != tt.said {
				t.Errorf("kind %q; the file differs (-want +got):\n%s", d.File.Said(), diff)
			}
		})
	}
}

func TestKindsThatAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"kind: perl":                              "agentcloud.yaml line 1: kind: value must be one of",
		"kind: node\ncommand: {run: [a]}":         "agentcloud.yaml line 2: command: this section is for `kind: command`, and the project is `kind: node`; remove one",
		"node: {}\ncommand: {run: [a]}":           "there are sections for several kinds; keep one, or say `kind`",
		"kind: command":                           "agentcloud.yaml line 1: kind: say what to run in a section `command:`",
		"command: {}":                             "command: these fields are missing: run",
		"command: {run: []}":                      "command.run",
		"command: {run: [a], env: {A-B: x}}":      "command.env.A-B: this is no variable's name",
		"command: {run: [a], path: x}":            "command.path: a path begins with /",
		"node: {transport: stdio, path: /x}":      "node.path: only a server that speaks http has a path",
		"node: {transport: sse}":                  "node.transport",
		"node: {sessions: 0}":                     "node.sessions",
		"node: {start: x}":                        "node.start: this field is not known",
		"image: {run: [a]}":                       "image: these fields are missing: ref",
		"command: {run: [a], env: {A: \"x\\0\"}}": "a variable cannot hold a zero byte",
	} {
		if _, err := projectfile.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want %q", text, err, want)
		}
	}
}

package recipe_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

const (
	emptyLock = `{"name":"x","version":"9","lockfileVersion":3,"packages":{"":{"name":"x","version":"9","dependencies":{"ms":"2"}},"node_modules/ms":{"version":"2.1.3"}}}`
	needsMS   = `{"name":"x","version":"9","main":"./server.js","dependencies":{"ms":"2"}}`
)

// plan makes the plan of files that are no Python app; said is agentcloud.yaml.
func plan(t *testing.T, said string, files map[string]string, change ...func(*recipe.Options)) (recipe.Plan, error) {
	t.Helper()
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	d, err := projectfile.Parse([]byte(said))
	if err != nil {
		t.Fatal(err)
	}
	options := machine
	options.Project, options.Node = d.File, "20.11.1"
	for _, c := range change {
		c(&options)
	}
	return recipe.Make(tree, options)
}

func TestServers(t *testing.T) {
	t.Parallel()
	const lock = `{"lockfileVersion":3,"name":"app","packages":{"":{"dependencies":{"ms":"2"}},"node_modules/ms":{"version":"2.1.3"}},"version":"0.0.0"}`
	const asked = `{"dependencies":{"ms":"2"},"name":"app","private":true,"version":"0.0.0"}`
	node := func(server recipe.Server, n recipe.Node) recipe.Server {
		server.Kind, n.Version = projectfile.NodeKind, "20.11.1"
		server.Node = &n
		if server.Serving.Transport == "" {
			server.Serving.Transport = projectfile.Stdio
		}
		return server
	}
	tests := map[string]struct {
		said  string
		files map[string]string
		want  recipe.Server
	}{
		"a package.json and no main.py": {
			files: map[string]string{"package.json": needsMS, "package-lock.json": emptyLock, "server.js": "new StdioServerTransport()"},
			want:  node(recipe.Server{Run: []string{"server.js"}}, recipe.Node{Package: asked, Lock: lock}),
		},
		"what is said, beside a main.py": {
			said: "kind: node\nnode: {entry: dist/a.js, args: [-v], build: true, sessions: 3, env: {A: b}}",
			files: map[string]string{
				"main.py": agentMain, "package.json": `{"scripts":{"build":"tsc"}}`, "src/a.ts": "new StreamableHTTPServerTransport()",
			},
			want: node(recipe.Server{
				Run: []string{"dist/a.js", "-v"}, Serving: projectfile.Serving{Transport: projectfile.HTTP, Sessions: 3, Env: map[string]string{"A": "b"}},
			}, recipe.Node{Build: "build"}),
		},
		"the only bin": {
			files: map[string]string{"package.json": `{"bin":{"x":"./bin/x.js"},"main":"lib.js"}`, "bin/x.js": ""},
			want:  node(recipe.Server{Run: []string{"bin/x.js"}}, recipe.Node{}),
		},
		"a usual name": {
			files: map[string]string{"package.json": `{}`, "index.mjs": ""},
			want:  node(recipe.Server{Run: []string{"index.mjs"}}, recipe.Node{}),
		},
		"a file of the project": {
			said: "command: {run: [./server, a], transport: http, path: /x}", files: map[string]string{"server": "#!/bin/sh"},
			want: recipe.Server{
				Kind: projectfile.CommandKind, Run: []string{"./server", "a"}, Own: true, Serving: projectfile.Serving{Transport: projectfile.HTTP, Path: "/x"},
			},
		},
		"a program of the machine": {
			said: "command: {run: [python3, server.py]}", files: map[string]string{"server.py": ""},
			want: recipe.Server{Kind: projectfile.CommandKind, Run: []string{"python3", "server.py"}, Serving: projectfile.Serving{Transport: projectfile.Stdio}},
		},
		"an image of a registry": {
			said: "image: {ref: 'a/b:1', run: [serve]}", files: map[string]string{"README.md": ""},
			want: recipe.Server{
				Kind: projectfile.ImageKind, Run: []string{"serve"}, Image: &recipe.Image{Ref: "a/b:1"}, Serving: projectfile.Serving{Transport: projectfile.Stdio},
			},
		},
		"an image in the project": {
			said: "image: {ref: ./oci}", files: map[string]string{"oci/index.json": "{}"},
			want: recipe.Server{
				Kind: projectfile.ImageKind, Image: &recipe.Image{Layout: "oci"}, Serving: projectfile.Serving{Transport: projectfile.Stdio},
			},
		},
		"what npx would fetch": {
			said: "command: {run: [npx, -y, '@scope/server@1', --flag]}", files: map[string]string{"README.md": ""},
			want: recipe.Server{
				Kind: projectfile.CommandKind, Run: []string{"npx", "-y", "@scope/server@1", "--flag"},
				Tool:    &recipe.Tool{Kind: recipe.NodeTool, Packages: []string{"@scope/server@1"}, Args: []string{"--flag"}},
				Serving: projectfile.Serving{Transport: projectfile.Stdio},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := plan(t, tt.said, tt.files)
			if err != nil {
				t.Fatalf("Make() = %v", err)
			}
			if diff := cmp.Diff(&tt.want, got.Server); diff != "" {
				t.Errorf("the server differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestACommandWithPackagesOfPython(t *testing.T) {
	t.Parallel()
	got, err := plan(t, "command: {run: [server]}", map[string]string{"requirements.txt": "mcp==2.1\n"})
	if err != nil || got.Python.Path != "/py311" || len(got.Constraints) != 0 {
		t.Errorf("Make() = %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"mcp==2.1"}, got.Requirements); diff != "" {
		t.Errorf("requirements (-want +got):\n%s", diff)
	}
}

func TestServersThatAreRefused(t *testing.T) {
	t.Parallel()
	with := func(name, text string, more ...string) map[string]string {
		files := map[string]string{name: text}
		for i := 0; i+1 < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	tests := map[string]struct {
		said   string
		files  map[string]string
		reason string
	}{
		"no lock":                {files: with("package.json", needsMS, "server.js", ""), reason: "npm install --package-lock-only"},
		"another lock":           {files: with("package.json", needsMS, "server.js", "", "pnpm-lock.yaml", ""), reason: "pnpm-lock.yaml is not read"},
		"an old lock":            {files: with("package.json", needsMS, "server.js", "", "package-lock.json", `{"dependencies":{}}`), reason: "npm 6 or older"},
		"a broken lock":          {files: with("package.json", needsMS, "server.js", "", "package-lock.json", `{`), reason: "package-lock.json cannot be read"},
		"a local package":        {files: with("package.json", needsMS, "server.js", "", "package-lock.json", `{"packages":{"node_modules/a":{"resolved":"../a","link":true}}}`), reason: "the local package a"},
		"workspaces":             {files: with("package.json", `{"workspaces":["a"]}`), reason: "workspaces"},
		"no JSON":                {files: with("package.json", `{`), reason: "package.json cannot be read"},
		"no package.json":        {said: "kind: node", files: with("a.js", ""), reason: "has a package.json"},
		"another Node":           {files: with("package.json", `{"engines":{"node":">=22"}}`, "index.js", ""), reason: "wants Node >=22 (engines in package.json), and this machine has 20.11.1"},
		"no range":               {files: with("package.json", `{"engines":{"node":"new"}}`, "index.js", ""), reason: "no range of versions"},
		"no entry":               {files: with("package.json", `{}`), reason: "names no file to start"},
		"an entry to be built":   {files: with("package.json", `{"main":"dist/a.js","scripts":{"build":"tsc"}}`), reason: "node: {build: true}"},
		"an entry that is away":  {files: with("package.json", `{"main":"dist/a.js"}`), reason: "package.json names dist/a.js, which is not in the project"},
		"an entry outside":       {files: with("package.json", `{"main":"../a.js"}`), reason: "no file of the project"},
		"types that stay":        {files: with("package.json", `{"main":"a.ts"}`, "a.ts", ""), reason: "does not run TypeScript"},
		"no such script":         {said: "node: {build: compile}", files: with("package.json", `{"scripts":{"build":"tsc"}}`), reason: `no script "compile"`},
		"scripts":                {said: "node: {scripts: true}", files: with("package.json", `{}`, "index.js", ""), reason: "builder.engine.node_scripts"},
		"a command that is away": {said: "command: {run: [./server]}", files: with("a", ""), reason: "names ./server, which is not in the project"},
		"no layout of an image":  {said: "image: {ref: ./b}", files: with("a", ""), reason: "is no OCI layout"},
		"a layout outside":       {said: "image: {ref: ../b}", files: with("a", ""), reason: "is no OCI layout"},
		"another kind":           {said: "kind: fastmcp", files: with("main.py", agentMain), reason: "kind: fastmcp"},
		"secrets":                {said: "kind: node", files: with("mcp_agent.secrets.yaml", ""), reason: "must not be uploaded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := plan(t, tt.said, tt.files)
			var problem *recipe.Problem
			if !errors.As(err, &problem) || !strings.Contains(problem.Reason, tt.reason) {
				t.Errorf("Make() = %v, want %q", err, tt.reason)
			}
		})
	}
}

func TestNodeRanges(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, out []string }{
		"":                   {in: []string{"8.0.0", "22.1.0"}},
		"*":                  {in: []string{"20.11.1"}},
		">=18":               {in: []string{"18.0.0", "22.1.0"}, out: []string{"17.9.9"}},
		">= 18.2 < 21":       {in: []string{"18.2.0", "20.11.1"}, out: []string{"18.1.9", "21.0.0"}},
		"^20.5.1":            {in: []string{"20.5.1", "20.99.0"}, out: []string{"20.5.0", "21.0.0"}},
		"~20.5":              {in: []string{"20.5.9"}, out: []string{"20.6.0"}},
		"^18 || ^20 || >=22": {in: []string{"18.1.0", "20.11.1", "24.0.0"}, out: []string{"19.0.0", "21.7.0"}},
		"18 - 20":            {in: []string{"18.0.0", "20.11.1"}, out: []string{"21.0.0"}},
		"20.x":               {in: []string{"20.0.0"}, out: []string{"21.0.0", "19.9.9"}},
		"v20.11.1":           {in: []string{"20.11.1"}, out: []string{"20.11.2"}},
		">20":                {in: []string{"21.0.0"}, out: []string{"20.11.1"}},
		"<=20.11":            {in: []string{"20.11.1"}, out: []string{"20.12.0"}},
	}
	for spec, tt := range tests {
		for want, versions := range map[bool][]string{true: tt.in, false: tt.out} {
			for _, version := range versions {
				_, err := plan(t, "", map[string]string{"package.json": `{"engines":{"node":"` + spec + `"}}`, "index.js": ""}, func(o *recipe.Options) { o.Node = version })
				if (err == nil) != want {
					t.Errorf("%s in %q: %v, want %v", version, spec, err, want)
				}
			}
		}
	}
}

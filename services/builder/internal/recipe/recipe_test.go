package recipe_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

const (
	agentMain = "from mcp_agent.app import MCPApp\napp = MCPApp(name=\"demo\")\n"
	plainMain = "from mcp.server.fastmcp import FastMCP\nmcp = FastMCP('plain')\n"
)

var machine = recipe.Options{
	Interpreters: []recipe.Interpreter{
		{Version: "3.9.18", Path: "/py39"},
		{Version: "3.11.4", Path: "/py311-old"},
		{Version: "3.11.9", Path: "/py311"},
		{Version: "3.13.1", Path: "/py313"},
	},
	Prefer: []string{"3.11", "3.12", "3.13", "3.10"},
}

func project(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	if _, ok := files["main.py"]; !ok {
		tree["main.py"] = &fstest.MapFile{Data: []byte(agentMain)}
	}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func TestPlan(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files        map[string]string
		requirements []string
		constraints  []string
		python       string
		options      []string
	}{
		"nothing but main.py": {
			requirements: []string{"mcp-agent[temporal]"}, constraints: []string{"mcp<2"}, python: "/py311",
		},
		"requirements.txt, with comments, continuations and includes": {
			files: map[string]string{
				"requirements.txt":  "# mine\nMCP_Agent>=0.1 # the framework\nhttpx[http2] \\\n  >=0.27 ; python_version < '4'\n-r more/extra.txt\n-c bounds.txt\n--no-binary lxml\n",
				"more/extra.txt":    "rich==13.7.1 --hash=sha256:00\n",
				"bounds.txt":        "anyio<5\n",
				"more/unrelated.md": "x",
			},
			requirements: []string{"mcp-agent>=0.1", "httpx[http2]>=0.27 ; python_version < '4'", "rich==13.7.1", "mcp-agent[temporal]"},
			constraints:  []string{"anyio<5", "mcp<2"}, python: "/py311", options: []string{"--no-binary lxml"},
		},
		"pyproject without a lock": {
			files: map[string]string{
				"pyproject.toml": "[project]\nname='x'\nversion='1'\nrequires-python='>=3.12'\ndependencies=['mcp-agent[openai]','rich>=13']\n[tool.uv]\nconstraint-dependencies=['anyio<5']\n",
			},
			requirements: []string{"mcp-agent[openai]", "rich>=13", "mcp-agent[temporal]"},
			constraints:  []string{"anyio<5", "mcp<2"}, python: "/py313",
		},
		"uv.lock pins, and does not ask for more": {
			files: map[string]string{
				"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=['mcp-agent']\n",
				"uv.lock":        "version=1\nrequires-python='==3.13.*'\n[[package]]\nname='x'\nversion='1'\nsource={virtual='.'}\n[[package]]\nname='mcp-agent'\nversion='0.2.6'\nsource={registry='https://pypi.org/simple'}\n[[package]]\nname='never-asked'\nversion='1.0'\nsource={registry='https://pypi.org/simple'}\n",
			},
			requirements: []string{"mcp-agent", "mcp-agent[temporal]"},
			constraints:  []string{"mcp-agent==0.2.6", "never-asked==1.0", "mcp<2"}, python: "/py313",
		},
		"poetry's ranges": {
			files: map[string]string{
				"pyproject.toml": "[tool.poetry.dependencies]\npython='^3.11'\nmcp-agent='^0.2'\nrich={version='~13.7', optional=true}\nhttpx={version='^1.2.3', extras=['http2']}\n",
				"poetry.lock":    "[[package]]\nname='mcp-agent'\nversion='0.2.6'\n",
			},
			requirements: []string{"httpx[http2]>=1.2.3,<2", "mcp-agent>=0.2,<0.3", "mcp-agent[temporal]"},
			constraints:  []string{"mcp-agent==0.2.6", "mcp<2"}, python: "/py311",
		},
		"the version file counts its minor": {
			files:        map[string]string{".python-version": "3.13.7\n"},
			requirements: []string{"mcp-agent[temporal]"}, constraints: []string{"mcp<2"}, python: "/py313",
		},
		"a plain server of the SDK": {
			files:        map[string]string{"main.py": plainMain},
			requirements: []string{"mcp"}, constraints: []string{"mcp<2"}, python: "/py311",
		},
		"a server of the fastmcp package": {
			files:        map[string]string{"main.py": "from fastmcp import FastMCP\nmcp = FastMCP('x')\n"},
			requirements: []string{"fastmcp"}, constraints: []string{}, python: "/py311",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan, err := recipe.Make(project(test.files), machine)
			if err != nil {
				t.Fatalf("Make() = %v", err)
			}
			if diff := cmp.Diff(test.requirements, plan.Requirements); diff != "" {
				t.Errorf("requirements (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.constraints, plan.Constraints); diff != "" {
				t.Errorf("constraints (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.options, plan.Options); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
			if plan.Python.Path != test.python {
				t.Errorf("python = %+v, want %s", plan.Python, test.python)
			}
		})
	}
}

// Each refusal is for a person: it names the place and the fix.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		says  []string
	}{
		"two apps":            {map[string]string{"main.py": agentMain + "other = MCPApp(name='b')\n"}, []string{"two MCPApps", "`app` (line 2)", "`other` (line 3)"}},
		"an app in a comment": {map[string]string{"main.py": "# app = MCPApp(\nx = 'MCPApp('\n"}, []string{"app = MCPApp"}},
		"an app in a function": {
			map[string]string{"main.py": "def f():\n    app = MCPApp(name='x')\n"}, []string{"top level"},
		},
		"a file of the developer's machine": {map[string]string{"requirements.txt": "rich\nmine @ file:///home/me/mine\n"}, []string{"requirements.txt line 2", "file://"}},
		"an editable one":                   {map[string]string{"requirements.txt": "-e ../mine\n"}, []string{"requirements.txt line 1", "../mine"}},
		"an index of the project's own":     {map[string]string{"requirements.txt": "--index-url https://x.example/simple\n"}, []string{"--index-url", "remove the line"}},
		"a file that is not there":          {map[string]string{"requirements.txt": "-r other.txt\n"}, []string{"other.txt", "not in the project"}},
		"a file above the project":          {map[string]string{"requirements.txt": "-r ../../etc/passwd\n"}, []string{"not in the project"}},
		"two locks":                         {map[string]string{"requirements.txt": "", "uv.lock": "", "pyproject.toml": ""}, []string{"requirements.txt and uv.lock", "keep the one"}},
		"a lock alone":                      {map[string]string{"uv.lock": "version=1\n"}, []string{"pyproject.toml"}},
		"an SDK that lost its servers":      {map[string]string{"requirements.txt": "mcp>=2\n"}, []string{"requirements.txt line 1", "mcp<2"}},
		"a Python that is not there":        {map[string]string{".python-version": "3.12"}, []string{"3.12", ".python-version", "3.9.18, 3.11.4, 3.11.9, 3.13.1"}},
		"a range that is none":              {map[string]string{"pyproject.toml": "[project]\nname='x'\nversion='1'\nrequires-python='recent'\ndependencies=[]\n"}, []string{"requires-python in pyproject.toml", "recent"}},
		"clear secrets":                     {map[string]string{"mcp_agent.secrets.yaml": "a: b"}, []string{"must not be uploaded"}},
		"UTF-16":                            {map[string]string{"requirements.txt": "\xff\xfer\x00i\x00"}, []string{"UTF-16"}},
		"TOML that is none":                 {map[string]string{"pyproject.toml": "[project\n"}, []string{"pyproject.toml"}},
		"a workspace":                       {map[string]string{"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=['mine']\n[tool.uv.sources]\nmine={workspace=true}\n"}, []string{"mine"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := recipe.Make(project(test.files), machine)
			var problem *recipe.Problem
			if !errors.As(err, &problem) {
				t.Fatalf("Make() = %v, want a Problem", err)
			}
			for _, part := range test.says {
				if !strings.Contains(problem.Reason, part) {
					t.Errorf("reason = %q, want %q in it", problem.Reason, part)
				}
			}
		})
	}
	t.Run("no main.py", func(t *testing.T) {
		t.Parallel()
		_, err := recipe.Make(fstest.MapFS{"app.py": {Data: []byte(agentMain)}}, machine)
		if err == nil || !strings.Contains(err.Error(), "no main.py") {
			t.Errorf("Make() = %v", err)
		}
	})
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files map[string]string
		says  string
	}{
		"no lock":            {map[string]string{"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=['mcp-agent']\n"}, "uv lock"},
		"open versions":      {map[string]string{"requirements.txt": "mcp-agent\nrich\n"}, "mcp-agent, rich"},
		"no dependencies":    {nil, "no requirements.txt or pyproject.toml"},
		"another tool's":     {map[string]string{"Pipfile": ""}, "Pipfile is not read"},
		"unnamed framework":  {map[string]string{"requirements.txt": "rich==1\n"}, "uses mcp-agent"},
		"an unused source":   {map[string]string{"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=['rich']\n[tool.uv.sources]\nrich={index='mine'}\n"}, "source of rich"},
		"overrides are read": {map[string]string{"pyproject.toml": "[project]\nname='x'\nversion='1'\ndependencies=['rich']\n[tool.uv]\noverride-dependencies=['anyio<5']\n"}, "override-dependencies"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan, err := recipe.Make(project(test.files), machine)
			if err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(plan.Warnings, "\n"); !strings.Contains(all, test.says) {
				t.Errorf("warnings = %q, want %q", all, test.says)
			}
		})
	}
}

func TestProgram(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		main string
		more map[string]string
		want recipe.Program
	}{
		"an app": {main: agentMain, want: recipe.Program{Kind: recipe.MCPAgent, Variable: "app", Name: "demo"}},
		"a name given late, with brackets before": {
			main: "import mcp_agent.app as m\nthing: object = m.MCPApp(settings=f(1, [2]), name='late')\nother = dict(name='no')\n",
			want: recipe.Program{Kind: recipe.MCPAgent, Variable: "thing", Name: "late"},
		},
		"a name that is computed": {main: "app = MCPApp(name=NAME)\n", want: recipe.Program{Kind: recipe.MCPAgent, Variable: "app"}},
		"workflows in another file": {
			main: agentMain, more: map[string]string{"flows/a.py": "from main import app\n@app.workflow\nclass A: pass\n"},
			want: recipe.Program{Kind: recipe.MCPAgent, Variable: "app", Name: "demo", Workflows: true},
		},
		"a workflow in a string": {
			main: agentMain + "text = '''\n@app.workflow\n'''\n", want: recipe.Program{Kind: recipe.MCPAgent, Variable: "app", Name: "demo"},
		},
		"an app beside a server": {main: plainMain + agentMain, want: recipe.Program{Kind: recipe.MCPAgent, Variable: "app", Name: "demo", SDKServer: true}},
		"the SDK's server":       {main: plainMain, want: recipe.Program{Kind: recipe.FastMCP, Variable: "mcp", Name: "plain", SDKServer: true}},
		"the package's server":   {main: "from fastmcp import FastMCP\nm = FastMCP()\n", want: recipe.Program{Kind: recipe.FastMCP, Variable: "m", Standalone: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := project(test.more)
			files["main.py"] = &fstest.MapFile{Data: []byte(test.main)}
			plan, err := recipe.Make(files, machine)
			if err != nil {
				t.Fatal(err)
			}
			test.want.Entry = "main.py"
			if diff := cmp.Diff(test.want, plan.Program); diff != "" {
				t.Errorf("program (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadStdio(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		command string
		want    recipe.Tool
		no      bool
	}{
		"uvx":                 {command: "uvx mcp-server-time --tz UTC", want: recipe.Tool{Kind: recipe.PythonTool, Packages: []string{"mcp-server-time"}, Program: "mcp-server-time", Args: []string{"--tz", "UTC"}}},
		"uvx of a version":    {command: "uvx mcp-server-time@1.2", want: recipe.Tool{Kind: recipe.PythonTool, Packages: []string{"mcp-server-time==1.2"}, Program: "mcp-server-time", Args: []string{}}},
		"uvx of the latest":   {command: "uvx a@latest", want: recipe.Tool{Kind: recipe.PythonTool, Packages: []string{"a"}, Program: "a", Args: []string{}}},
		"uvx from a package":  {command: "/usr/bin/uvx --from pkg[cli]>=2 --with b -p 3.12 prog x", want: recipe.Tool{Kind: recipe.PythonTool, Packages: []string{"pkg[cli]>=2", "b"}, Program: "prog", Python: "3.12", Args: []string{"x"}}},
		"uv tool run":         {command: "uv tool run --quiet a", want: recipe.Tool{Kind: recipe.PythonTool, Packages: []string{"a"}, Program: "a", Args: []string{}}},
		"npx":                 {command: "npx -y @scope/server@1.0 /data", want: recipe.Tool{Kind: recipe.NodeTool, Packages: []string{"@scope/server@1.0"}, Args: []string{"/data"}}},
		"npx of a package":    {command: "npx --package=@s/p -- prog -v", want: recipe.Tool{Kind: recipe.NodeTool, Packages: []string{"@s/p"}, Program: "prog", Args: []string{"-v"}}},
		"npm exec":            {command: "npm exec -y s", want: recipe.Tool{Kind: recipe.NodeTool, Packages: []string{"s"}, Args: []string{}}},
		"an unknown option":   {command: "npx --call x", no: true},
		"a folder":            {command: "uvx --from ./mine prog", no: true},
		"a shell in the name": {command: "npx a;rm", no: true},
		"uv run":              {command: "uv run server.py", no: true},
		"python":              {command: "python server.py", no: true},
		"nothing":             {command: "uvx", no: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			words := strings.Fields(test.command)
			got, ok := recipe.ReadStdio(words[0], words[1:])
			if ok == test.no {
				t.Fatalf("ReadStdio() = %+v, %v", got, ok)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingProviders(t *testing.T) {
	t.Parallel()
	plan, err := recipe.Make(project(map[string]string{"requirements.txt": "mcp-agent[openai]==0.2\n"}), machine)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"anthropic"}, recipe.MissingProviders(plan, []string{"openai", "anthropic"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever people upload is planned or refused with a Problem, never a crash.
func FuzzMake(f *testing.F) {
	f.Add(agentMain, "mcp-agent\n-r requirements.txt\n", "[project]\nname='x'\n")
	f.Add(plainMain, "a @ git+https://x\\\n", "[tool.poetry.dependencies]\na='^1'\n")
	f.Add("app = MCPApp(name='''x", "--hash=\n-\n\\", "[tool.uv.sources]\na=[{}]\n")
	f.Fuzz(func(t *testing.T, source, requirements, pyproject string) {
		for _, files := range []map[string]string{
			{"main.py": source, "requirements.txt": requirements},
			{"main.py": source, "pyproject.toml": pyproject},
			{"main.py": source, "pyproject.toml": pyproject, "uv.lock": requirements},
			{"main.py": source, "pyproject.toml": pyproject, "poetry.lock": pyproject},
		} {
			_, err := recipe.Make(project(files), machine)
			var problem *recipe.Problem
			if err != nil && !errors.As(err, &problem) {
				t.Errorf("Make() = %v, which is no Problem", err)
			}
		}
	})
}

func BenchmarkMake(b *testing.B) {
	files := project(map[string]string{"requirements.txt": "mcp-agent[openai]==0.2.6\nrich==13\n", "lib/a.py": strings.Repeat("x = 'workflow'\n", 2000)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := recipe.Make(files, machine); err != nil {
			b.Fatal(err)
		}
	}
}

package recipe

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// ToolKind is what installs a stdio MCP server.
type ToolKind string

// The kinds of tools.
const (
	// PythonTool is what uvx would fetch at each start.
	PythonTool ToolKind = "python"
	// NodeTool is what npx would fetch at each start.
	NodeTool ToolKind = "node"
)

// Tool is a stdio MCP server that a start would fetch from the network.
type Tool struct {
	Kind ToolKind
	// Packages to install; the first is the one that has the program.
	Packages []string
	// Program to run; empty for the one program that the package has.
	Program string
	// Python is the wanted version, "3.12"; empty for the app's own.
	Python string
	// Args are the program's own.
	Args []string
}

// ReadStdio says what a command would fetch. It returns false for a command that
// fetches nothing, or in a way that is not understood; such a command stays as it is.
func ReadStdio(command string, args []string) (Tool, bool) {
	switch path.Base(command) {
	case "uvx":
		return readUVX(args)
	case "uv":
		if len(args) > 2 && args[0] == "tool" && args[1] == "run" {
			return readUVX(args[2:])
		}
	case "npx":
		return readNPX(args)
	case "npm":
		if len(args) > 1 && (args[0] == "exec" || args[0] == "x") {
			return readNPX(args[1:])
		}
	}
	return Tool{}, false
}

// flags parts leading options from the rest. values are the options that take one;
// ignored are those that change nothing here. Any other ends the understanding.
func flags(args, values, ignored []string) (got map[string][]string, rest []string, ok bool) {
	got = map[string][]string{}
	for i := 0; i < len(args); i++ {
		option, value, attached := strings.Cut(args[i], "=")
		switch {
		case args[i] == "--":
			return got, args[i+1:], true
		case !strings.HasPrefix(args[i], "-"):
			return got, args[i:], true
		case slices.Contains(values, option) && attached:
			got[option] = append(got[option], value)
		case slices.Contains(values, option) && i+1 < len(args):
			i++
			got[option] = append(got[option], args[i])
		case slices.Contains(ignored, option):
		default:
			return nil, nil, false
		}
	}
	return got, nil, true
}

func readUVX(args []string) (Tool, bool) {
	got, rest, ok := flags(args,
		[]string{"--from", "--with", "--python", "-p"},
		[]string{"-q", "--quiet", "-v", "--verbose", "--no-progress", "--offline", "--refresh", "--isolated", "-n", "--no-cache", "--native-tls", "-U", "--upgrade"})
	if !ok || len(rest) == 0 {
		return Tool{}, false
	}
	tool := Tool{Kind: PythonTool, Program: rest[0], Args: rest[1:], Python: strings.Join(append(got["--python"], got["-p"]...), "")}
	from := strings.Join(got["--from"], "")
	if from == "" {
		// "name@1.2" is a version; "name@latest" is none.
		name, version, _ := strings.Cut(rest[0], "@")
		from, tool.Program = name, normalProgram(name)
		if version != "" && version != "latest" {
			from += "==" + version
		}
	}
	if looksLocal(from) {
		return Tool{}, false // in the project, or a mistake that the start will show
	}
	tool.Packages = append([]string{from}, got["--with"]...)
	return tool, true
}

// normalProgram drops extras and a range: "pkg[cli]>=2" runs "pkg".
func normalProgram(name string) string {
	if end := strings.IndexAny(name, "[<>=!~ "); end >= 0 {
		return name[:end]
	}
	return name
}

var npmName = regexp.MustCompile(`^(@[a-z0-9~][a-z0-9._~-]*/)?[a-zA-Z0-9~][a-zA-Z0-9._~-]*(@[^@/\s]+)?$`)

func readNPX(args []string) (Tool, bool) {
	got, rest, ok := flags(args,
		[]string{"-p", "--package"},
		[]string{"-y", "--yes", "-q", "--quiet", "--prefer-offline", "--prefer-online", "--offline", "--ignore-existing"})
	if !ok || len(rest) == 0 {
		return Tool{}, false
	}
	tool := Tool{Kind: NodeTool, Args: rest[1:], Packages: append(got["-p"], got["--package"]...)}
	if len(tool.Packages) == 0 {
		tool.Packages = rest[:1]
	} else {
		tool.Program = rest[0]
	}
	for _, name := range tool.Packages {
		if !npmName.MatchString(name) {
			return Tool{}, false
		}
	}
	return tool, true
}

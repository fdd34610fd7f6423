package recipe

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// entry is the file that an agent is started from.
const entry = "main.py"

// Kind is what sort of program it is.
type Kind string

// The kinds of programs.
const (
	// MCPAgent builds an MCPApp.
	MCPAgent Kind = "mcp-agent"
	// FastMCP is a plain server of the Python SDK or of the fastmcp package.
	FastMCP Kind = "fastmcp"
)

// Program is what the source says of itself.
type Program struct {
	Kind  Kind
	Entry string
	// Variable holds the app in main.py.
	Variable string
	// Name is the app's own, when it is written as a plain string.
	Name string
	// Workflows says whether any file declares a workflow class.
	Workflows bool
	// SDKServer says whether any file uses mcp.server.fastmcp, which mcp 2 no longer has.
	SDKServer bool
	// Standalone says that FastMCP comes from the fastmcp package.
	Standalone bool
}

var (
	appLine    = regexp.MustCompile(`(?m)^([A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?=[ \t]*(?:[A-Za-z_]\w*\.)*(MCPApp|FastMCP)[ \t]*\(`)
	workflow   = regexp.MustCompile(`(?m)^[ \t]*@[A-Za-z_]\w*(?:\.\w+)*\.workflow\b`)
	sdkServer  = regexp.MustCompile(`(?m)^[ \t]*(?:from[ \t]+mcp\.server\.fastmcp\b|import[ \t]+mcp\.server\.fastmcp\b|from[ \t]+mcp\.server[ \t]+import\b.*\bFastMCP\b)`)
	standalone = regexp.MustCompile(`(?m)^[ \t]*(?:from|import)[ \t]+fastmcp\b`)
	nameArg    = regexp.MustCompile(`^\s*(?:name\s*=\s*)?(?:"([^"\\\n]*)"|'([^'\\\n]*)')\s*[,)]`)
	nameLater  = regexp.MustCompile(`[,(]\s*name\s*=\s*(?:"([^"\\\n]*)"|'([^'\\\n]*)')`)
)

// readProgram finds the app in main.py, and what the other files add.
func readProgram(files fs.FS) (Program, error) {
	text, err := readText(files, entry)
	if err != nil {
		return Program{}, err
	}
	code := maskPython(text)
	program, err := findApp(text, code)
	if err != nil {
		return Program{}, err
	}
	program.Standalone = program.Kind == FastMCP && standalone.MatchString(code) && !sdkServer.MatchString(code)
	return program, scanSources(files, &program)
}

func findApp(text, code string) (Program, error) {
	found := map[string][][]int{}
	for _, match := range appLine.FindAllStringSubmatchIndex(code, -1) {
		class := code[match[4]:match[5]]
		found[class] = append(found[class], match)
	}
	class, kind := "MCPApp", MCPAgent
	if len(found[class]) == 0 {
		class, kind = "FastMCP", FastMCP
	}
	matches := found[class]
	switch {
	case len(matches) == 0 && strings.Contains(code, "MCPApp"):
		return Program{}, problemf("main.py makes no MCPApp at its top level; write a line `app = MCPApp(name=\"…\")` that is not inside a function or a condition")
	case len(matches) == 0:
		return Program{}, problemf("main.py has no line `app = MCPApp(…)`, nor `mcp = FastMCP(…)`; add one at the top level")
	case len(matches) > 1 && kind == MCPAgent:
		return Program{}, problemf("main.py makes two MCPApps, %s and %s; keep one and put the other in a project of its own",
			where(code, matches[0]), where(code, matches[1]))
	}
	last := matches[len(matches)-1]
	return Program{Kind: kind, Entry: entry, Variable: code[last[2]:last[3]], Name: appName(text[last[1]:], code[last[1]:])}, nil
}

func where(code string, match []int) string {
	return fmt.Sprintf("`%s` (line %d)", code[match[2]:match[3]], 1+strings.Count(code[:match[0]], "\n"))
}

// appName reads the name from the call's arguments, which begin text; code is the
// same with strings blanked, so that its first unbalanced bracket ends the call.
func appName(text, code string) string {
	if m := nameArg.FindStringSubmatch(text); m != nil {
		return m[1] + m[2]
	}
	depth, end := 0, len(code)
	for i, r := range code {
		if strings.ContainsRune("([{", r) {
			depth++
		} else if strings.ContainsRune(")]}", r) {
			if depth--; depth < 0 {
				end = i
				break
			}
		}
	}
	if m := nameLater.FindStringSubmatch("(" + text[:end]); m != nil {
		return m[1] + m[2]
	}
	return ""
}

// maxSources bounds how much source is looked through for what main.py does not say.
const maxSources = 32 << 20

func scanSources(files fs.FS, program *Program) error {
	budget := maxSources
	return fs.WalkDir(files, ".", func(name string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() || !strings.HasSuffix(name, ".py") || budget <= 0 {
			return err
		}
		text, err := readText(files, name)
		if err != nil {
			return nil //nolint:nilerr // only main.py must be readable; data may be called .py
		}
		budget -= len(text)
		if !strings.Contains(text, "workflow") && !strings.Contains(text, "fastmcp") && !strings.Contains(text, "FastMCP") {
			return nil
		}
		code := maskPython(text)
		program.Workflows = program.Workflows || workflow.MatchString(code)
		program.SDKServer = program.SDKServer || sdkServer.MatchString(code)
		return nil
	})
}

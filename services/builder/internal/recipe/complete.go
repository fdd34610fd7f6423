package recipe

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sdkConstraint keeps the Python SDK below the version that dropped
// mcp.server.fastmcp, which mcp-agent and servers written against it import.
var sdkConstraint = Requirement{Name: "mcp", Spec: "<2"}

// durable is what every mcp-agent environment needs to run on Temporal, whatever
// engine the project's settings name.
var durable = Requirement{Name: "mcp-agent", Extras: "temporal"}

// complete adds what the program needs and the project leaves unsaid.
func complete(deps *dependencies, program Program) error {
	switch {
	case program.Kind == MCPAgent:
		if !asksFor(*deps, "mcp-agent") {
			deps.warnings = append(deps.warnings, "main.py uses mcp-agent, which the project's dependencies do not name; the newest is installed")
		}
		deps.requirements = append(deps.requirements, durable)
	case program.Standalone && !asksFor(*deps, "fastmcp"):
		deps.requirements = append(deps.requirements, Requirement{Name: "fastmcp"})
	case !program.Standalone && !asksFor(*deps, "mcp"):
		deps.requirements = append(deps.requirements, Requirement{Name: "mcp"})
	}
	if program.Kind == MCPAgent || program.SDKServer || asksFor(*deps, "mcp-agent") {
		if err := checkSDK(*deps); err != nil {
			return err
		}
		deps.constraints = append(deps.constraints, sdkConstraint)
	}
	return nil
}

func asksFor(deps dependencies, name string) bool {
	return slices.ContainsFunc(deps.requirements, func(r Requirement) bool { return r.Name == name })
}

var tooNew = regexp.MustCompile(`(?:===|==|~=|>=|>)(\d+)`)

// checkSDK refuses a project that asks for an mcp which its own imports cannot use.
func checkSDK(deps dependencies) error {
	for _, r := range append(slices.Clone(deps.requirements), deps.constraints...) {
		m := tooNew.FindStringSubmatch(r.Spec)
		if r.Name != "mcp" || m == nil {
			continue
		}
		if major, err := strconv.Atoi(m[1]); err != nil || major < 2 {
			continue
		}
		fix := "write `mcp<2`"
		if strings.HasSuffix(deps.source, ".lock") {
			fix = "add `mcp<2` to pyproject.toml and lock again"
		}
		err := problemf("mcp%s has no mcp.server.fastmcp, which mcp-agent and the project import; %s", r.Spec, fix)
		if r.Line > 0 {
			return at(deps.source, r.Line, err)
		}
		return at(deps.source, 0, err)
	}
	return nil
}

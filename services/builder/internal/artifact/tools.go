package artifact

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/manifest"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

// maxTools bounds the stdio servers that one app may have.
const maxTools = 64

// serverPrefix is before a stdio server's name among the places of a build.
const serverPrefix = "mcp.servers."

// readTools finds the stdio servers that a start would fetch from the network.
func readTools(m manifest.Manifest) (map[string]recipe.Tool, error) {
	tools := map[string]recipe.Tool{}
	for name, c := range m.Stdio() {
		tool, ok := recipe.ReadStdio(c.Command, c.Args)
		if !ok {
			continue
		}
		for _, p := range tool.Packages {
			if strings.HasPrefix(p, "-") || strings.ContainsAny(p, "\n\r") {
				return nil, &recipe.Problem{Reason: fmt.Sprintf("mcp.servers.%s names the package %.80q, which is no package's name", name, p)}
			}
		}
		tools[name] = tool
	}
	if len(tools) > maxTools {
		return nil, &recipe.Problem{Reason: fmt.Sprintf("the settings have %d stdio servers to install; at most %d are", len(tools), maxTools)}
	}
	return tools, nil
}

func (s *Service) installTools(ctx context.Context, p project, environments map[string]string, sink engine.Sink) error {
	for _, name := range slices.Sorted(maps.Keys(p.tools)) {
		digest, err := s.installTool(ctx, p, p.tools[name], "mcp.servers."+name+" of the settings", sink)
		if err != nil {
			return inServer(name, err)
		}
		environments[serverPrefix+name] = digest
	}
	return nil
}

// inServer says which stdio server a problem is about.
func inServer(name string, err error) error {
	var problem *recipe.Problem
	if !errors.As(err, &problem) {
		return err
	}
	return &recipe.Problem{Reason: fmt.Sprintf("the stdio server %s cannot be installed: %s", name, problem.Reason), Detail: problem.Detail}
}

// toolAt is the stdio server of a place.
func (p project) toolAt(place string) recipe.Tool {
	name, ok := strings.CutPrefix(place, serverPrefix)
	if !ok {
		return recipe.Tool{}
	}
	return p.tools[name]
}

func (s *Service) installTool(ctx context.Context, p project, tool recipe.Tool, source string, sink engine.Sink) (string, error) {
	if tool.Kind == recipe.NodeTool {
		digest, err := s.deps.Engine.NodeTool(ctx, tool.Packages, sink)
		if err != nil {
			return "", err
		}
		_, _, err = s.deps.Engine.NodeCommand(digest, tool.Packages, tool.Program)
		return digest, err
	}
	python, err := s.toolPython(ctx, p, tool)
	if err != nil {
		return "", err
	}
	wishes := engine.Wishes{Python: python, Requirements: tool.Packages, Constraints: recipe.ToolConstraints(), Source: source}
	digest, err := s.deps.Engine.Environment(ctx, wishes, sink)
	var problem *recipe.Problem
	if errors.As(err, &problem) && ctx.Err() == nil {
		// The tool may ask for just what the constraint forbids; then it knows better.
		sink(fmt.Sprintf("%s cannot be had with %s (%s); trying without that bound",
			source, strings.Join(wishes.Constraints, ", "), problem.Reason))
		wishes.Constraints = nil
		digest, err = s.deps.Engine.Environment(ctx, wishes, sink)
	}
	if err != nil {
		return "", err
	}
	_, _, err = s.deps.Engine.PythonCommand(digest, tool.Program)
	return digest, err
}

func (s *Service) toolPython(ctx context.Context, p project, tool recipe.Tool) (recipe.Interpreter, error) {
	if tool.Python == "" {
		return p.plan.Python, nil
	}
	interpreters, err := s.deps.Engine.Interpreters(ctx)
	if err != nil {
		return recipe.Interpreter{}, err
	}
	return recipe.ChoosePython("=="+tool.Python+".*", "--python of uvx", recipe.Options{Interpreters: interpreters})
}

// commands are the stdio servers as a start needs them.
func (s *Service) commands(p project, environments map[string]string) (map[string]*builderv1.StdioCommand, error) {
	out := map[string]*builderv1.StdioCommand{}
	for name, tool := range p.tools {
		program, args, err := s.command(tool, environments[serverPrefix+name])
		if err != nil {
			return nil, inServer(name, err)
		}
		out[name] = &builderv1.StdioCommand{Command: program, Args: append(args, tool.Args...)}
	}
	return out, nil
}

func (s *Service) command(tool recipe.Tool, digest string) (string, []string, error) {
	if tool.Kind == recipe.NodeTool {
		return s.deps.Engine.NodeCommand(digest, tool.Packages, tool.Program)
	}
	return s.deps.Engine.PythonCommand(digest, tool.Program)
}

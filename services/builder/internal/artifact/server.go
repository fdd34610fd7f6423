package artifact

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// Places of a build beside the app's own.
const (
	// modules are the packages of a Node server.
	modules = "node_modules"
	// fetched is what npx or uvx would fetch for a command.
	fetched = "command"
)

// kindOf says in which sort of folder a place of a build is.
func kindOf(p project, place string) string {
	server := p.plan.Server
	switch {
	case place == app && server != nil && (server.Node != nil || server.Image != nil), place == modules,
		place == fetched && server != nil && server.Tool != nil && server.Tool.Kind == recipe.NodeTool,
		p.toolAt(place).Kind == recipe.NodeTool:
		return store.KindTool
	}
	return store.KindEnvironment
}

// installServer makes what a project needs that is no Python app.
func (s *Service) installServer(ctx context.Context, p project, sink engine.Sink) (map[string]string, error) {
	environments := map[string]string{}
	server := p.plan.Server
	switch {
	case server.Node != nil:
		made, packages, err := s.deps.Engine.NodeApp(ctx, engine.NodeApp{
			Node: *server.Node, Files: s.deps.Disk.Bundle(p.bundle.OrgID, p.bundle.Digest), Owner: p.bundle.OrgID, Digest: p.bundle.Digest,
			Entry: server.Entry(),
		}, sink)
		if err != nil {
			return nil, err
		}
		environments[app] = made
		if packages != "" {
			environments[modules] = packages
		}
	case server.Image != nil:
		image := engine.Image{Ref: server.Image.Ref}
		if server.Image.Layout != "" {
			image.Layout = filepath.Join(s.deps.Disk.Bundle(p.bundle.OrgID, p.bundle.Digest), filepath.FromSlash(server.Image.Layout))
		}
		digest, err := s.deps.Engine.Image(ctx, image, sink)
		if err != nil {
			return nil, err
		}
		environments[app] = digest
	case server.Tool != nil:
		digest, err := s.installTool(ctx, p, *server.Tool, "command.run in agentcloud.yaml", sink)
		if err != nil {
			return nil, err
		}
		environments[fetched] = digest
	}
	if len(p.plan.Requirements) > 0 {
		digest, err := s.deps.Engine.Environment(ctx, p.wishes(), sink)
		if err != nil {
			return nil, err
		}
		environments[app] = digest
	}
	return environments, nil
}

// program is how a server is started; nil for a Python app.
func (s *Service) program(p project, a *builderv1.Artifact, environments map[string]string) (*builderv1.Program, error) {
	server := p.plan.Server
	if server == nil {
		return nil, nil
	}
	out := &builderv1.Program{
		Kind: string(server.Kind), Args: server.Run, Env: maps.Clone(server.Serving.Env), Transport: builderv1.Transport_TRANSPORT_STDIO,
		HttpPath: server.Serving.Path, Sessions: int32(server.Serving.Sessions), //nolint:gosec // at most 256
	}
	if server.Serving.Transport == projectfile.HTTP {
		out.Transport = builderv1.Transport_TRANSPORT_HTTP
	}
	switch {
	case server.Node != nil:
		if err := s.nodeProgram(*server, a, out); err != nil {
			return nil, err
		}
	case server.Image != nil:
		says, err := s.deps.Engine.ImageSays(environments[app])
		if err != nil {
			return nil, err
		}
		says.Fill(out)
	case server.Own:
		name := filepath.Join(a.GetAppPath(), filepath.FromSlash(server.Run[0]))
		if err := s.deps.Engine.Executable(name); err != nil {
			return nil, err
		}
		out.Args = append([]string{name}, server.Run[1:]...)
	case server.Tool != nil:
		program, args, err := s.command(*server.Tool, environments[fetched])
		if err != nil {
			return nil, err
		}
		out.Args = append(append([]string{program}, args...), server.Tool.Args...)
	}
	if environment := a.GetEnvironmentPath(); environment != "" {
		out.Path = append(out.Path, filepath.Join(environment, "bin"))
	}
	return out, nil
}

// nodeProgram says how a Node server and its workflows are started.
func (s *Service) nodeProgram(server recipe.Server, a *builderv1.Artifact, out *builderv1.Program) (err error) {
	node, err := s.deps.Engine.NodeProgram()
	if err != nil {
		return err
	}
	out.Path = []string{filepath.Join(a.GetAppPath(), modules, ".bin"), filepath.Dir(node)}
	if entry := server.Entry(); entry != "" {
		out.Args = append([]string{node, filepath.Join(a.GetAppPath(), filepath.FromSlash(entry))}, server.Run[1:]...)
	}
	out.Worker, err = s.deps.Engine.NodeWorker(a.GetAppPath(), *server.Node)
	return err
}

// describe says what was found, in a few words.
func describe(p project) string {
	source := p.plan.Source
	if source == "" {
		source = "no file of dependencies"
	}
	server := p.plan.Server
	switch {
	case server == nil:
		return fmt.Sprintf("%s program, Python %s, %s", p.plan.Program.Kind, p.plan.Python.Version, source)
	case server.Node != nil:
		return describeNode(*server)
	}
	if server.Image != nil {
		return fmt.Sprintf("image %s%s, speaks %s", server.Image.Ref, server.Image.Layout, server.Serving.Transport)
	}
	return fmt.Sprintf("command %s, speaks %s", server.Run[0], server.Serving.Transport)
}

func describeNode(server recipe.Server) string {
	text := "node program, Node " + server.Node.Version
	if entry := server.Entry(); entry != "" {
		text += fmt.Sprintf(", starts %s, speaks %s", entry, server.Serving.Transport)
	}
	if server.Node.Workflows != "" {
		text += ", workflows of " + server.Node.Workflows
	}
	return text
}

package deployments

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// sidecars takes the stdio servers out of a document's settings. It fails with
// fault.Invalid for wishes about servers that are not there.
func sidecars(a *builderv1.Artifact, document agentenv.Launch) (map[string]Sidecar, error) {
	m := a.GetManifest()
	project, err := projectfile.Decode(m.GetProjectJson())
	if err != nil {
		return nil, fault.Invalid.Wrap(err, "%s cannot be read", projectfile.Name)
	}
	raw, err := object(m.GetSettingsJson())
	if err != nil {
		return nil, err // not as it could be read a moment ago
	}
	taken := takeSidecars(document.Settings, written(raw), document.StdioCommands, project.Sidecars)
	for _, name := range slices.Sorted(maps.Keys(project.Sidecars)) {
		if _, ok := taken[name]; !ok {
			field := "sidecars." + name
			mistake := projectfile.Mistake{
				Line: int(projectfile.LineOf(m.GetProjectLines(), field)), Field: field,
				Reason: fmt.Sprintf("the settings have no MCP server %q with a command; see mcp.servers in mcp_agent.config.yaml", name),
			}
			return nil, fault.Invalid.Errorf("%s", mistake)
		}
	}
	return taken, nil
}

// written are the commands of the stdio servers in settings whose secrets are handles
// still.
func written(settings map[string]any) map[string]agentenv.Command {
	found := map[string]agentenv.Command{}
	for name, server := range stdioServers(settings) {
		if args, ok := texts(server["args"]); ok {
			command, _ := server["command"].(string)
			found[name] = agentenv.Command{Command: command, Args: args}
		}
	}
	return found
}

// takeSidecars takes the stdio servers out of settings: their commands, and their
// environment with the secrets in it, which the agent has no use for. What is no proper
// server stays, for the agent's own check to find.
func takeSidecars(settings map[string]any, written, resolved map[string]agentenv.Command, wishes map[string]projectfile.Sidecar) map[string]Sidecar {
	taken := map[string]Sidecar{}
	for name, server := range stdioServers(settings) {
		args, goodArgs := texts(server["args"])
		env, goodEnv := variables(server["env"])
		dir, goodDir := optional(server["cwd"])
		if !goodArgs || !goodEnv || !goodDir {
			continue
		}
		command, _ := server["command"].(string)
		s := Sidecar{Command: agentenv.Command{Command: command, Args: args, Env: env}, Dir: dir, Shared: true, Written: written[name]}
		if r, ok := resolved[name]; ok {
			s.Command.Command, s.Args = r.Command, r.Args
			s.Env = maps.Clone(r.Env)
			if s.Env == nil {
				s.Env = map[string]string{}
			}
			maps.Copy(s.Env, env)
		}
		wish(&s, wishes[name])
		taken[name] = s
		server["command"], server["args"] = agentenv.SidecarCommand, []any{name}
		delete(server, "env")
		delete(server, "cwd")
	}
	return taken
}

// wish puts in what the project says of a sidecar.
func wish(s *Sidecar, w projectfile.Sidecar) {
	const mib = 20
	if w.Shared != nil {
		s.Shared = *w.Shared
	}
	s.MemoryBytes, s.CPUs, s.Processes = w.MemoryMB<<mib, w.CPUs, w.Processes
}

// stdioServers are the servers of settings that are started by a command.
func stdioServers(settings map[string]any) map[string]map[string]any {
	found := map[string]map[string]any{}
	mcp, _ := settings["mcp"].(map[string]any)
	servers, _ := mcp["servers"].(map[string]any)
	for name, one := range servers {
		server, _ := one.(map[string]any)
		command, _ := server["command"].(string)
		transport, said := server["transport"].(string)
		if command != "" && (!said || transport == "stdio") {
			found[name] = server
		}
	}
	return found
}

// texts reads a list of texts, which may be missing.
func texts(v any) ([]string, bool) {
	if v == nil {
		return nil, true
	}
	list, ok := v.([]any)
	all := make([]string, 0, len(list))
	for _, one := range list {
		text, isText := one.(string)
		ok = ok && isText
		all = append(all, text)
	}
	return all, ok
}

// variables reads an environment, which may be missing.
func variables(v any) (map[string]string, bool) {
	if v == nil {
		return nil, true
	}
	fields, ok := v.(map[string]any)
	env := make(map[string]string, len(fields))
	for name, one := range fields {
		text, isText := one.(string)
		ok = ok && isText
		env[name] = text
	}
	return env, ok
}

func optional(v any) (string, bool) {
	if v == nil {
		return "", true
	}
	text, ok := v.(string)
	return text, ok
}

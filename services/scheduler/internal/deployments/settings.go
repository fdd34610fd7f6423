package deployments

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// ingredients are what the settings of an agent are made of.
type ingredients struct {
	manifest *builderv1.Manifest
	// params is dotted name to handle, for a user's own configuration of an app.
	params map[string]string
	// values is handle to value.
	values   map[string]string
	temporal agentenv.Temporal
}

// handles lists every handle that a launch needs, each once.
func handles(m *builderv1.Manifest, more ...map[string]string) []string {
	all := slices.Clone(m.GetSecretHandles())
	all = slices.AppendSeq(all, maps.Values(m.GetEnvHandles()))
	for _, named := range more {
		all = slices.AppendSeq(all, maps.Values(named))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// settings merges the manifest's settings, the overlay of secrets with values in
// place of handles, what the user brings, and what the platform decides.
func settings(in ingredients) (map[string]any, error) {
	merged, err := object(in.manifest.GetSettingsJson())
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	overlay, err := object(in.manifest.GetSecretsJson())
	if err != nil {
		return nil, fmt.Errorf("read overlay of secrets: %w", err)
	}
	merge(merged, overlay)
	resolved, _ := resolve(merged, in.values)
	merged, _ = resolved.(map[string]any)
	// A place for each user's own value holds a mark, which is no value.
	for _, name := range in.manifest.GetUserParams() {
		remove(merged, strings.Split(name, "."))
	}
	for name, handle := range in.params {
		if value, ok := in.values[handle]; ok {
			put(merged, strings.Split(name, "."), value)
		}
	}
	force(merged, in.temporal)
	return merged, nil
}

// environment is what the agent finds in its environment: the variables that were set
// for the app, and those that its files name, which win.
func environment(m *builderv1.Manifest, variables, values map[string]string) map[string]string {
	env := map[string]string{}
	for _, named := range []map[string]string{variables, m.GetEnvHandles()} {
		for name, handle := range named {
			if value, ok := values[handle]; ok {
				env[name] = value
			}
		}
	}
	return env
}

// force sets what an author cannot choose for a deployed agent. The engine is the
// host's to set, since it differs by role.
func force(s map[string]any, t agentenv.Temporal) {
	delete(s, "env") // it says what the deployer's shell had, and is exported instead
	temporal := child(s, "temporal")
	for _, name := range []string{"api_key", "tls", "rpc_metadata"} {
		delete(temporal, name)
	}
	temporal["host"], temporal["namespace"], temporal["task_queue"] = t.Address, t.Namespace, t.TaskQueue
	logger := child(s, "logger")
	for _, name := range []string{"path", "path_settings", "http_endpoint", "http_headers"} {
		delete(logger, name)
	}
	logger["type"], logger["transports"], logger["progress_display"] = "console", []any{"console"}, false
}

// child returns the object at a key, which it makes when there is none.
func child(s map[string]any, key string) map[string]any {
	if c, ok := s[key].(map[string]any); ok {
		return c
	}
	c := map[string]any{}
	s[key] = c
	return c
}

// merge lays overlay over base, object by object; anything else is replaced.
func merge(base, overlay map[string]any) {
	for key, value := range overlay {
		below, isObject := base[key].(map[string]any)
		above, both := value.(map[string]any)
		if isObject && both {
			merge(below, above)
			continue
		}
		base[key] = value
	}
}

// resolve puts values in place of handles. A handle without a value is left out, for
// it would be taken for the secret itself.
func resolve(v any, values map[string]string) (resolved any, keep bool) {
	switch v := v.(type) {
	case string:
		if !id.Secret.Valid(v) {
			return v, true
		}
		value, ok := values[v]
		return value, ok
	case map[string]any:
		for key, one := range v {
			if one, keep := resolve(one, values); keep {
				v[key] = one
				continue
			}
			delete(v, key)
		}
	case []any:
		kept := []any{}
		for _, one := range v {
			if one, keep := resolve(one, values); keep {
				kept = append(kept, one)
			}
		}
		return kept, true
	}
	return v, true
}

// remove deletes what a path leads to.
func remove(s map[string]any, path []string) {
	for len(path) > 1 {
		next, ok := s[path[0]].(map[string]any)
		if !ok {
			return
		}
		s, path = next, path[1:]
	}
	delete(s, path[0])
}

// put sets what a path leads to, and makes the objects on the way.
func put(s map[string]any, path []string, value string) {
	for len(path) > 1 {
		s, path = child(s, path[0]), path[1:]
	}
	s[path[0]] = value
}

// object reads a JSON object and keeps its numbers as they are written.
func object(text string) (map[string]any, error) {
	o := map[string]any{}
	if text == "" {
		return o, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		o = map[string]any{} // the file was empty
	}
	return o, nil
}

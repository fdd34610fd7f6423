package modern

import (
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Catalogue is what the health gate recorded of an app, in the dress of the stateless
// era. It never changes.
type Catalogue struct {
	discover json.RawMessage
	lists    map[string]json.RawMessage
}

// Recorded is what an agent said of itself: results of the session era's methods.
type Recorded struct {
	Initialize, Tools, Prompts, Resources, Templates string
	// Tasks says whether some of its tools are served as tasks.
	Tasks bool
	// Subscribe says whether its resources can be subscribed to through here.
	Subscribe bool
	// Versions are all that are spoken here.
	Versions []string
}

// NewCatalogue dresses what was recorded.
func NewCatalogue(rec Recorded) *Catalogue {
	c := &Catalogue{discover: rec.discovery(), lists: map[string]json.RawMessage{}}
	for method, text := range map[string]string{
		"tools/list": plainTools(rec.Tools), "prompts/list": rec.Prompts, "resources/list": rec.Resources, "resources/templates/list": rec.Templates,
	} {
		if text != "" && jsonrpc.IsObject(json.RawMessage(text)) {
			c.lists[method] = json.RawMessage(text)
		}
	}
	return c
}

// Answer is the result of server/discover or of a list, to be kept by whom scope says;
// ok is false for other methods and for what the app does not have.
func (c *Catalogue) Answer(method string, scope Scope) (result json.RawMessage, ok bool) {
	if method == Discover {
		return Cached(c.discover, ListTTL, scope), true
	}
	if result, ok = c.lists[method]; !ok {
		return nil, false
	}
	return Cached(result, ListTTL, scope), true
}

// discovery is the result of server/discover.
func (rec Recorded) discovery() json.RawMessage {
	var hello struct {
		Capabilities map[string]map[string]any `json:"capabilities"`
		Instructions string                    `json:"instructions,omitempty"`
		ServerInfo   json.RawMessage           `json:"serverInfo"`
	}
	_ = json.Unmarshal([]byte(rec.Initialize), &hello) // what cannot be read is not advertised
	if hello.Capabilities == nil {
		hello.Capabilities = map[string]map[string]any{}
	}
	delete(hello.Capabilities, "tasks") // the session era's own tasks
	for _, name := range []string{"tools", "prompts", "resources"} {
		if list := hello.Capabilities[name]; list != nil {
			list["listChanged"] = true
		}
	}
	if resources := hello.Capabilities["resources"]; resources != nil && !rec.Subscribe {
		delete(resources, "subscribe")
	}
	if rec.Tasks {
		extensions := hello.Capabilities["extensions"]
		if extensions == nil {
			extensions = map[string]any{}
		}
		extensions[Extension] = map[string]any{}
		hello.Capabilities["extensions"] = extensions
	}
	about := map[string]any{"supportedVersions": rec.Versions, "capabilities": hello.Capabilities}
	if hello.Instructions != "" {
		about["instructions"] = hello.Instructions
	}
	if hello.ServerInfo != nil {
		about["_meta"] = map[string]any{metaServer: hello.ServerInfo}
	}
	return jsonrpc.Encode(about)
}

// plainTools leaves out what a tool says about the session era's tasks.
func plainTools(list string) string {
	var all map[string]json.RawMessage
	var tools []json.RawMessage
	if json.Unmarshal([]byte(list), &all) != nil || json.Unmarshal(all["tools"], &tools) != nil {
		return list
	}
	changed := false
	for i, tool := range tools {
		if member(tool, "execution") != nil {
			tools[i], changed = without(tool, "execution"), true
		}
	}
	if !changed {
		return list
	}
	all["tools"] = jsonrpc.Encode(tools)
	return string(jsonrpc.Encode(all))
}

// without is an object without one member; the rest keeps its bytes and order.
func without(object json.RawMessage, gone string) json.RawMessage {
	b := []byte{'{'}
	_ = jsonrpc.Members(object, func(name string, value json.RawMessage) error { // nothing below fails
		if name == gone {
			return nil
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, jsonrpc.Encode(name)...), ':'), value...)
		return nil
	})
	return append(b, '}')
}

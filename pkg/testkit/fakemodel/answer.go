package fakemodel

import (
	"encoding/json"
	"regexp"
	"strings"
)

// humanTool is a tool that the public SDK offers always; it would ask a person.
const humanTool = "__human_input__"

// marker lets a message choose the tool and its arguments.
var marker = regexp.MustCompile(`(?s)USE_TOOL\s+(\S+)\s*(\{.*\})?`)

// answer decides what to say; see the package comment for the rules.
func answer(r request) said {
	last := r.last()
	if last.Role == "tool" {
		return said{text: "The tool says: " + last.text()}
	}
	if found := marker.FindStringSubmatch(last.text()); found != nil && r.offers(found[1]) {
		return said{tool: found[1], arguments: firstOf(found[2], "{}")}
	}
	if call, ok := r.firstTool(); ok {
		return call
	}
	if schema := r.ResponseFormat.JSONSchema.Schema; len(schema) > 0 {
		return said{text: instance(schema)}
	}
	return said{text: "You said: " + last.text()}
}

func (r request) offers(name string) bool {
	for _, tool := range r.Tools {
		if tool.Function.Name == name {
			return true
		}
	}
	return false
}

func (r request) firstTool() (said, bool) {
	if r.ToolChoice == "none" {
		return said{}, false
	}
	for _, tool := range r.Tools {
		if tool.Function.Name != humanTool {
			return said{tool: tool.Function.Name, arguments: instance(tool.Function.Parameters)}, true
		}
	}
	return said{}, false
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// schema is what this server reads of a JSON schema. References are not followed.
type schema struct {
	Type        any                        `json:"type"`
	Properties  map[string]json.RawMessage `json:"properties"`
	Required    []string                   `json:"required"`
	Enum        []any                      `json:"enum"`
	AnyOf       []json.RawMessage          `json:"anyOf"`
	Default     any                        `json:"default"`
	Description string                     `json:"description"`
}

// instance is the smallest JSON that a schema takes.
func instance(raw json.RawMessage) string {
	text, err := json.Marshal(smallest(raw, maxDepth))
	if err != nil {
		return "{}"
	}
	return string(text)
}

const maxDepth = 20

func smallest(raw json.RawMessage, depth int) any {
	var s schema
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil || depth == 0 {
		return map[string]any{}
	}
	switch {
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case len(s.AnyOf) > 0:
		return smallest(s.AnyOf[0], depth-1)
	}
	switch s.Type {
	case "string":
		return example(s.Description)
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "array":
		return []any{}
	case "null":
		return nil
	}
	return s.object(depth)
}

func (s schema) object(depth int) map[string]any {
	whole := map[string]any{}
	for _, name := range s.Required {
		whole[name] = smallest(s.Properties[name], depth-1)
	}
	return whole
}

var quoted = regexp.MustCompile(`['"\x60]([^'"\x60]+)['"\x60]`)

// example is the first quoted text of a description: authors write there what a
// value looks like.
func example(description string) string {
	if found := quoted.FindStringSubmatch(description); found != nil {
		return strings.TrimSpace(found[1])
	}
	return "text"
}

package modern

import (
	"encoding/json"
	"math"
	"net/http"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const (
	annotation = "x-mcp-header"
	// schemaDepth bounds how deep in a schema annotations are looked for, and schemaHeaders
	// how many of a tool count.
	schemaDepth   = 16
	schemaHeaders = 64
	// maxExact is the largest whole number that every reader reads alike (RFC 8259, section 6).
	maxExact = 1<<53 - 1
)

// token is what a header's name is made of (RFC 9110, section 5.6.2).
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// ParamHeaders are the arguments of one tool that headers mirror (MCP 2026-07-28,
// "Tools", SEP-2243).
type ParamHeaders []paramHeader

// paramHeader is one of them: where in the arguments it is, and what its header is called.
type paramHeader struct {
	path []string
	name string
	kind string
}

// ReadParamHeaders reads a recorded tools/list: tools without such arguments, and those
// whose annotations break the rules, are not in it.
func ReadParamHeaders(toolsJSON string) map[string]ParamHeaders {
	if !strings.Contains(toolsJSON, annotation) {
		return nil
	}
	var list struct {
		Tools []struct {
			Name        string          `json:"name"`
			InputSchema json.RawMessage `json:"inputSchema"`
		} `json:"tools"`
	}
	if json.Unmarshal([]byte(toolsJSON), &list) != nil {
		return nil
	}
	all := map[string]ParamHeaders{}
	for _, tool := range list.Tools {
		if found, ok := annotated(nil, tool.InputSchema, nil); ok && len(found) > 0 && len(found) <= schemaHeaders && unique(found) {
			all[tool.Name] = found
		}
	}
	return all
}

// annotated adds the annotations of an object's schema; ok is false when one is not in
// order.
func annotated(found ParamHeaders, schema json.RawMessage, path []string) (_ ParamHeaders, ok bool) {
	var object struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(schema, &object) != nil || len(path) > schemaDepth {
		return found, true // nothing that could be reached
	}
	for name, inner := range object.Properties {
		var property struct {
			Header *json.RawMessage `json:"x-mcp-header"`
			Type   json.RawMessage  `json:"type"`
		}
		at := append(path[:len(path):len(path)], name)
		if json.Unmarshal(inner, &property) == nil && property.Header != nil {
			h := paramHeader{path: at}
			var label string
			if json.Unmarshal(*property.Header, &label) != nil || json.Unmarshal(property.Type, &h.kind) != nil || !token.MatchString(label) {
				return nil, false
			}
			if h.kind != "string" && h.kind != "integer" && h.kind != "boolean" {
				return nil, false
			}
			h.name = textproto.CanonicalMIMEHeaderKey(paramPrefix + label)
			found = append(found, h)
		}
		if found, ok = annotated(found, inner, at); !ok {
			return nil, false
		}
	}
	return found, true
}

func unique(all ParamHeaders) bool {
	seen := map[string]bool{}
	for _, h := range all {
		if seen[h.name] {
			return false
		}
		seen[h.name] = true
	}
	return true
}

// Check compares a call's headers with its arguments: what is there, and is not null, has
// a header that says the same; what is not has none.
func (all ParamHeaders) Check(r Request) *Refusal {
	for _, h := range all {
		given := r.ParamHeaders.Values(h.name)
		want, ok := h.text(r.Arguments)
		switch {
		case !ok && len(given) > 0:
			return Mismatch("the header %s is there, and arguments.%s is not", h.name, strings.Join(h.path, "."))
		case ok && len(given) != 1:
			return Mismatch("the header %s, which says what arguments.%s is, is missing or there more than once", h.name, strings.Join(h.path, "."))
		case ok && !h.same(given[0], want):
			return Mismatch("the header %s does not say what arguments.%s is", h.name, strings.Join(h.path, "."))
		}
	}
	return nil
}

// Mirrored is the call with the headers that its arguments ask for, and no other word
// about them.
func (all ParamHeaders) Mirrored(r Request) Request {
	if len(all) == 0 {
		return r
	}
	headers := r.ParamHeaders.Clone()
	if headers == nil {
		headers = http.Header{}
	}
	for _, h := range all {
		headers.Del(h.name)
		if text, ok := h.text(r.Arguments); ok {
			headers.Set(h.name, EncodeHeader(text))
		}
	}
	r.ParamHeaders = headers
	return r
}

// text is what the header has to say; ok is false when there is nothing to be said.
func (h paramHeader) text(arguments json.RawMessage) (_ string, ok bool) {
	value := arguments
	for _, name := range h.path {
		if !jsonrpc.IsObject(value) {
			return "", false
		}
		value = member(value, name)
	}
	var found any
	if len(value) == 0 || json.Unmarshal(value, &found) != nil {
		return "", false
	}
	switch found := found.(type) {
	case nil:
		return "", false
	case string:
		return found, true
	case float64:
		if found == math.Trunc(found) && math.Abs(found) <= maxExact {
			return strconv.FormatInt(int64(found), 10), true
		}
	}
	return string(value), true
}

// same compares a header with what it has to say: whole numbers by value.
func (h paramHeader) same(header, want string) bool {
	text, ok := DecodeHeader(header)
	if !ok || text == want || h.kind != "integer" {
		return ok && text == want
	}
	var given, wanted float64
	return json.Unmarshal([]byte(text), &given) == nil && json.Unmarshal([]byte(want), &wanted) == nil && given == wanted
}

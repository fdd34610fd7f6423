// Package modern reads and writes the stateless era of MCP (2026-07-28): requests that
// say everything about themselves, checked in the order that the specification and its
// conformance suite ask for, and results with their type.
//
// It knows no agents and no runs.
package modern

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Version is the version of the stateless era that is spoken here.
const Version = "2026-07-28"

// Headers of a stateless request (MCP 2026-07-28, "Streamable HTTP").
const (
	HeaderVersion = "Mcp-Protocol-Version"
	HeaderMethod  = "Mcp-Method"
	HeaderName    = "Mcp-Name"
	headerSession = "Mcp-Session-Id"
	paramPrefix   = "Mcp-Param-"
)

// Keys of a request's _meta that are for the next hop alone.
const (
	metaPrefix       = "io.modelcontextprotocol/"
	metaVersion      = metaPrefix + "protocolVersion"
	metaCapabilities = metaPrefix + "clientCapabilities"
	metaClient       = metaPrefix + "clientInfo"
	metaLogLevel     = metaPrefix + "logLevel"
	metaServer       = metaPrefix + "serverInfo"
	// MetaSubscription tags what is said on a subscription's stream.
	MetaSubscription = metaPrefix + "subscriptionId"
)

// Extension is the name of the tasks extension (SEP-2663).
const Extension = "io.modelcontextprotocol/tasks"

// Methods of the stateless era.
const (
	Discover  = "server/discover"
	ToolsCall = "tools/call"
	Listen    = "subscriptions/listen"
	TasksGet  = "tasks/get"
	TasksPut  = "tasks/update"
	TasksStop = "tasks/cancel"
)

// named are the methods with a header that names what is asked for, and where in the
// params the name stands.
var named = map[string]string{
	ToolsCall: "name", "prompts/get": "name", "resources/read": "uri",
	TasksGet: "taskId", TasksPut: "taskId", TasksStop: "taskId",
}

// methods are all that there are.
var methods = []string{
	Discover, "tools/list", ToolsCall, "prompts/list", "prompts/get", "resources/list", "resources/templates/list",
	"resources/read", "completion/complete", Listen, TasksGet, TasksPut, TasksStop,
}

// Request is a request of the stateless era that passed every check of the envelope.
type Request struct {
	jsonrpc.Message
	// Name of the tool or prompt, URI of the resource, or id of the task.
	Name string
	// Capabilities of the client, for this request alone.
	Capabilities Capabilities
	// LogLevel that the client wants to hear; empty: none.
	LogLevel string
	// Client is its clientInfo; nil when it did not say.
	Client json.RawMessage
	// RequestState and InputResponses come with the retry of a call that asked back.
	RequestState   string
	InputResponses json.RawMessage
	// Arguments of tools/call.
	Arguments json.RawMessage
	// Cursor of a list.
	Cursor string
	// ParamHeaders are the headers that mirror arguments (SEP-2243).
	ParamHeaders http.Header

	meta json.RawMessage
}

// Capabilities are what a client can be asked, by kind.
type Capabilities struct {
	Raw         json.RawMessage
	Sampling    json.RawMessage            `json:"sampling"`
	Elicitation *elicitation               `json:"elicitation"`
	Roots       json.RawMessage            `json:"roots"`
	Extensions  map[string]json.RawMessage `json:"extensions"`
}

type elicitation struct {
	Form json.RawMessage `json:"form"`
	URL  json.RawMessage `json:"url"`
}

// Tasks says whether the client takes tasks for answers.
func (c Capabilities) Tasks() bool { _, ok := c.Extensions[Extension]; return ok }

// Asks says whether the client can be asked anything.
func (c Capabilities) Asks() bool {
	return c.Elicitation != nil || c.Sampling != nil || c.Roots != nil
}

// CanAnswer says whether the client can be asked that; params are those of the question.
func (c Capabilities) CanAnswer(method string, params json.RawMessage) bool {
	switch method {
	case "elicitation/create":
		return c.Elicitation != nil && c.Elicitation.takes(params)
	case "sampling/createMessage":
		return c.Sampling != nil
	case "roots/list":
		return c.Roots != nil
	}
	return false
}

// takes says whether a form or a link can be shown; a client that names neither takes forms.
func (e elicitation) takes(params json.RawMessage) bool {
	var asked struct {
		Mode string `json:"mode"`
	}
	_ = json.Unmarshal(params, &asked) // the agent's own; a form when it cannot be read
	if asked.Mode == "url" {
		return e.URL != nil
	}
	return e.Form != nil || e.URL == nil
}

// Required is the capability that a question needs, in the shape of an error's data.
func Required(method string, params json.RawMessage) map[string]any {
	var asked struct {
		Mode string `json:"mode"`
	}
	_ = json.Unmarshal(params, &asked) // as above
	switch {
	case method == "elicitation/create" && asked.Mode == "url":
		return map[string]any{"elicitation": map[string]any{"url": map[string]any{}}}
	case method == "elicitation/create":
		return map[string]any{"elicitation": map[string]any{}}
	case method == "sampling/createMessage":
		return map[string]any{"sampling": map[string]any{}}
	}
	return map[string]any{"roots": map[string]any{}}
}

var dated = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)

// Is says whether a message at /mcp is of the stateless era, by its headers and how it
// opens (MCP 2026-07-28, "Versioning"). Real clients of the session era set modern
// _meta keys too, so a session decides before they do.
func Is(header http.Header, m jsonrpc.Message) bool {
	version := header.Get(HeaderVersion)
	switch {
	case dated.MatchString(version) && version >= Version:
		return true
	case header.Get(headerSession) != "" || m.Method == "initialize":
		return false
	case version != "" && !dated.MatchString(version):
		return true // no era knows it: the answer names those that are spoken
	}
	return hasModernMeta(m)
}

func hasModernMeta(m jsonrpc.Message) (found bool) {
	_ = jsonrpc.Members(member(m.Params, "_meta"), func(name string, _ json.RawMessage) error { // nothing below fails
		found = found || name == metaVersion || name == metaCapabilities
		return nil
	})
	return found
}

// member is one member of an object; nil when it is not there.
func member(object json.RawMessage, wanted string) (found json.RawMessage) {
	_ = jsonrpc.Members(object, func(name string, value json.RawMessage) error { // nothing below fails
		if name == wanted {
			found = value
		}
		return nil
	})
	return found
}

// Read checks the envelope of a request: first failure first (MCP 2026-07-28; the
// order is the conformance suite's).
func Read(header http.Header, m jsonrpc.Message, supported []string) (Request, *Refusal) {
	r := Request{Message: m, ParamHeaders: http.Header{}}
	for name, values := range header {
		if strings.HasPrefix(name, paramPrefix) {
			r.ParamHeaders[name] = values
		}
	}
	r.meta = member(m.Params, "_meta")
	if refusal := r.readVersion(header, supported); refusal != nil {
		return r, refusal
	}
	if refusal := r.readMeta(); refusal != nil {
		return r, refusal
	}
	if method := header.Get(HeaderMethod); method != m.Method {
		return r, Mismatch("the header Mcp-Method is %q and the method %q", method, m.Method)
	}
	if !slices.Contains(methods, m.Method) {
		return r, &Refusal{Status: http.StatusNotFound, Code: jsonrpc.CodeMethodNotFound, Message: "there is no method " + quoted(m.Method) + " in " + Version}
	}
	return r, r.readParams(header)
}

// readVersion compares what the header and the body say, and with what is spoken.
func (r *Request) readVersion(header http.Header, supported []string) *Refusal {
	inHeader := header.Get(HeaderVersion)
	if inHeader == "" {
		return Mismatch("the header MCP-Protocol-Version is missing")
	}
	var inBody string
	raw := member(r.meta, metaVersion)
	if raw == nil || json.Unmarshal(raw, &inBody) != nil || inBody == "" {
		if !slices.Contains(supported, inHeader) {
			return unsupported(inHeader, supported)
		}
		return invalid("params._meta needs %s, a string", metaVersion)
	}
	if inBody != inHeader {
		return Mismatch("the header MCP-Protocol-Version is %q and %s %q", inHeader, metaVersion, inBody)
	}
	if inBody != Version {
		return unsupported(inBody, supported)
	}
	return nil
}

// readMeta reads what a client says about itself.
func (r *Request) readMeta() *Refusal {
	raw := member(r.meta, metaCapabilities)
	if raw == nil || !jsonrpc.IsObject(raw) {
		return invalid("params._meta needs %s, an object", metaCapabilities)
	}
	if json.Unmarshal(raw, &r.Capabilities) != nil {
		return invalid("%s does not have the shape of client capabilities", metaCapabilities)
	}
	r.Capabilities.Raw = raw
	if r.Client = member(r.meta, metaClient); r.Client != nil && !jsonrpc.IsObject(r.Client) {
		return invalid("%s must be an object", metaClient)
	}
	if level := member(r.meta, metaLogLevel); level != nil {
		if json.Unmarshal(level, &r.LogLevel) != nil || Severity(r.LogLevel) < 0 {
			return invalid("%s is not one of debug … emergency", metaLogLevel)
		}
	}
	return nil
}

// readParams reads what every method shares, and compares the name with its header.
func (r *Request) readParams(header http.Header) *Refusal {
	key, hasName := named[r.Method]
	seen := map[string]bool{}
	err := jsonrpc.Members(r.Params, func(name string, value json.RawMessage) error {
		if seen[name] {
			return errTwice // two readers could read it in two ways
		}
		seen[name] = true
		switch name {
		case "requestState":
			return json.Unmarshal(value, &r.RequestState)
		case "inputResponses":
			r.InputResponses = value
		case "arguments":
			r.Arguments = value
		case "cursor":
			return json.Unmarshal(value, &r.Cursor)
		}
		if hasName && name == key {
			return json.Unmarshal(value, &r.Name)
		}
		return nil
	})
	if err != nil {
		return invalid("the params do not have the shape of %s", r.Method)
	}
	if hasName {
		given := header.Values(HeaderName)
		if len(given) != 1 {
			return Mismatch("the header Mcp-Name is missing or there more than once")
		}
		if text, ok := DecodeHeader(given[0]); !ok || text != r.Name {
			return Mismatch("the header Mcp-Name is not what params.%s says", key)
		}
		if r.Name == "" {
			return invalid("params.%s is missing", key)
		}
	}
	if r.InputResponses != nil && !jsonrpc.IsObject(r.InputResponses) {
		return invalid("inputResponses must be an object")
	}
	return nil
}

var errTwice = errors.New("a member is there twice")

var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// Severity orders the levels of log messages (RFC 5424); -1 is none of them.
func Severity(level string) int { return slices.Index(levels, level) }

// Headers are those of a request, for another that must say the same.
func (r Request) Headers() http.Header {
	h := r.ParamHeaders.Clone()
	h.Set(HeaderVersion, Version)
	h.Set(HeaderMethod, r.Method)
	if r.Name != "" {
		h.Set(HeaderName, EncodeHeader(r.Name))
	}
	return h
}

package edge

import (
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// recorded answers what does not need the agent awake, from what it said at its
// health check.
func (v visit) recorded(m jsonrpc.Message) (reply []byte, ok bool) {
	e := v.route.Endpoint
	if e == nil {
		return nil, false
	}
	var result string
	switch m.Method {
	case "ping":
		result = "{}"
	case "tools/list":
		result = e.GetToolsJson()
	case "prompts/list":
		result = e.GetPromptsJson()
	case "resources/list":
		result = e.GetResourcesJson()
	case "resources/templates/list":
		result = e.GetResourceTemplatesJson()
	}
	if result == "" {
		return nil, false
	}
	return jsonrpc.NewResult(m.ID, json.RawMessage(result)), true
}

// recordedHello answers initialize in the client's version, as the agent would.
func (v visit) recordedHello(m jsonrpc.Message) (reply []byte, version string, ok bool) {
	e := v.route.Endpoint
	if e == nil {
		return nil, "", false
	}
	said := []byte(e.GetInitializeJson())
	var hello map[string]json.RawMessage
	var theirs, ours struct {
		ProtocolVersion string `json:"protocolVersion"`
	}
	if json.Unmarshal(said, &hello) != nil || json.Unmarshal(said, &ours) != nil {
		return nil, "", false
	}
	if json.Unmarshal(m.Params, &theirs) == nil && sessions.Speaks(theirs.ProtocolVersion) {
		ours = theirs
	}
	hello["protocolVersion"] = jsonrpc.Encode(ours.ProtocolVersion)
	return jsonrpc.NewResult(m.ID, jsonrpc.Encode(hello)), ours.ProtocolVersion, true
}

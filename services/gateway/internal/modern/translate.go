package modern

import (
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Codes that only the session era has.
const (
	codeNoResource = -32002
	codeURLNeeded  = -32042
	reservedFrom   = -32099
	reservedTo     = -32000
)

// Translate makes an agent's error of the session era one of the stateless era.
func Translate(r Request, agentError json.RawMessage) *Refusal {
	var e struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data"`
	}
	if json.Unmarshal(agentError, &e) != nil {
		e.Code, e.Message = jsonrpc.CodeInternal, "the agent's error cannot be read"
	}
	switch {
	case e.Code == codeNoResource || e.Code == jsonrpc.CodeInvalidParams && r.Method == "resources/read":
		return &Refusal{Status: http.StatusBadRequest, Code: jsonrpc.CodeInvalidParams, Message: e.Message, Data: map[string]any{"uri": r.Name}}
	case e.Code == jsonrpc.CodeMethodNotFound:
		return &Refusal{Status: http.StatusNotFound, Code: e.Code, Message: e.Message, Data: e.Data}
	case e.Code == jsonrpc.CodeInvalidParams || e.Code == jsonrpc.CodeInvalidRequest:
		return &Refusal{Status: http.StatusBadRequest, Code: e.Code, Message: e.Message, Data: e.Data}
	case e.Code == codeURLNeeded:
		return Missing(map[string]any{"elicitation": map[string]any{"url": map[string]any{}}})
	case e.Code >= reservedFrom && e.Code <= reservedTo:
		return &Refusal{Status: http.StatusOK, Code: jsonrpc.CodeInternal, Message: e.Message, Data: map[string]any{"agentCode": e.Code, "data": e.Data}}
	}
	return &Refusal{Status: http.StatusOK, Code: e.Code, Message: e.Message, Data: e.Data}
}

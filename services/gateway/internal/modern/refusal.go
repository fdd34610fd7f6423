package modern

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Error codes of the stateless era (MCP 2026-07-28, schema).
const (
	CodeHeaderMismatch    = -32020
	CodeMissingCapability = -32021
)

// Refusal is a JSON-RPC error with its HTTP status.
type Refusal struct {
	Status  int    `json:"status"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
	// NotStarted says that nothing was begun: the request may be sent again.
	NotStarted bool `json:"notStarted,omitempty"`
}

// Repeat is an error that was given before, as a refusal.
func Repeat(given json.RawMessage) *Refusal {
	var r Refusal
	_ = json.Unmarshal(given, &r) // our own
	r.Status = http.StatusOK
	return &r
}

// Error makes it an error.
func (r *Refusal) Error() string { return r.Message }

// Body is the response to the request with that id.
func (r *Refusal) Body(id json.RawMessage) []byte {
	return jsonrpc.NewErrorData(id, r.Code, r.Message, r.Data)
}

// Mismatch refuses headers that do not say what the body says.
func Mismatch(format string, a ...any) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Code: CodeHeaderMismatch, Message: fmt.Sprintf(format, a...)}
}

func invalid(format string, a ...any) *Refusal { return Invalid(fmt.Sprintf(format, a...), nil) }

// Invalid refuses params.
func Invalid(message string, data any) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Code: jsonrpc.CodeInvalidParams, Message: message, Data: data}
}

// Missing refuses a request without a capability that it needs.
func Missing(required map[string]any) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Code: CodeMissingCapability, Message: "the client did not declare a capability that this request needs",
		Data: map[string]any{"requiredCapabilities": required},
	}
}

// NeedsTasks refuses a request about tasks from a client that did not declare them.
func NeedsTasks() *Refusal {
	return Missing(map[string]any{"extensions": map[string]any{Extension: map[string]any{}}})
}

func unsupported(version string, supported []string) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Code: jsonrpc.CodeUnsupportedVersion, Message: "this version of the protocol is not spoken here",
		Data: map[string]any{"supported": supported, "requested": version},
	}
}

func quoted(text string) string {
	const most = 100
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strconv.Quote(text)
}

// Package jsonrpc reads the envelope of a JSON-RPC 2.0 message as MCP uses it, and
// nothing below it: what passes through the gateway stays the bytes it was.
package jsonrpc

import (
	"bytes"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Error codes (JSON-RPC 2.0, section 5.1), and the one MCP servers use for "later".
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
	CodeUnavailable    = -32000
)

// Message is an envelope. A request has ID and Method, a notification only Method,
// a response ID and one of Result and Error.
type Message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// Parse reads one message. Batches are refused: MCP took them back (2025-06-18).
func Parse(body []byte) (Message, error) {
	var m Message
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return m, fault.Invalid.Errorf("the body must be one JSON-RPC message, an object")
	}
	if err := json.Unmarshal(trimmed, &m); err != nil {
		return m, fault.Invalid.Wrap(err, "the body is no valid JSON")
	}
	if m.Version != "2.0" || m.Method == "" && (len(m.ID) == 0 || len(m.Result)+len(m.Error) == 0) {
		return m, fault.Invalid.Errorf("the body is no JSON-RPC 2.0 request, notification or response")
	}
	if string(m.ID) == "null" {
		m.ID = nil
	}
	return m, nil
}

// IsRequest says whether an answer is due.
func (m Message) IsRequest() bool { return m.Method != "" && len(m.ID) > 0 }

// IsResponse says whether it is an answer.
func (m Message) IsResponse() bool { return m.Method == "" }

// Call is the part of tools/call that decides where it goes.
type Call struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Meta      struct {
		ProgressToken json.RawMessage `json:"progressToken"`
	} `json:"_meta"`
}

// ParseCall reads the params of tools/call.
func ParseCall(params json.RawMessage) (Call, error) {
	var c Call
	if err := json.Unmarshal(params, &c); err != nil {
		return c, fault.Invalid.Wrap(err, "tools/call needs a name and arguments")
	}
	return c, nil
}

// NewResult is the response to a request.
func NewResult(id, result json.RawMessage) []byte {
	b := make([]byte, 0, len(result)+len(id)+40)
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = append(b, id...)
	b = append(b, `,"result":`...)
	b = append(b, result...)
	return append(b, '}')
}

// NewError is the refusal of a request; a missing id becomes null.
func NewError(id json.RawMessage, code int, message string) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	return Encode(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   any             `json:"error"`
	}{"2.0", id, map[string]any{"code": code, "message": message}})
}

// NewRequest is a request or, without an id, a notification.
func NewRequest(id json.RawMessage, method string, params json.RawMessage) []byte {
	return Encode(Message{Version: "2.0", ID: id, Method: method, Params: params})
}

// Encode marshals as other languages do: without escaping <, > and &.
func Encode(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return []byte(`null`) // only values of this program's own types come here
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// Package jsonrpc reads the envelope of a JSON-RPC 2.0 message as MCP uses it, and
// nothing below it: what is passed on stays the bytes it was.
package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

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
	// CodeUnsupportedVersion is MCP's own (2026-07-28).
	CodeUnsupportedVersion = -32022
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

// ErrSyntax is the cause when a body is no JSON at all.
var ErrSyntax = errors.New("no valid JSON")

// Parse reads one message; the parts of it are the body's own bytes. Batches are
// refused: MCP took them back (2025-06-18). So is what two readers could read in two
// ways: a member twice, and text that is not UTF-8.
func Parse(body []byte) (Message, error) {
	var m Message
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if !utf8.Valid(trimmed) || !json.Valid(trimmed) {
		return m, fault.Invalid.Wrap(ErrSyntax, "the body is no valid JSON")
	}
	if trimmed[0] != '{' {
		return m, fault.Invalid.Errorf("the body must be one JSON-RPC message, an object")
	}
	if err := m.read(trimmed); err != nil {
		return Message{}, err
	}
	if m.Version != "2.0" || m.Method == "" && (len(m.Result)+len(m.Error) == 0) {
		return Message{}, fault.Invalid.Errorf("the body is no JSON-RPC 2.0 request, notification or response")
	}
	return m, nil
}

// read takes the members of the envelope; null is as good as absent, but for a result.
func (m *Message) read(object []byte) error {
	return members(object, func(name string, value []byte) error {
		null := string(value) == "null"
		switch {
		case name == "result":
			return once(&m.Result, name, value)
		case null:
			return nil
		case name == "jsonrpc":
			return text(&m.Version, name, value)
		case name == "method":
			return text(&m.Method, name, value)
		case name == "params":
			return once(&m.Params, name, value)
		case name == "error":
			return once(&m.Error, name, value)
		case name == "id":
			if !textOrNumber(value) {
				return fault.Invalid.Errorf("the id of a message must be a string or a number")
			}
			return once(&m.ID, name, value)
		}
		return nil
	})
}

// IsRequest says whether an answer is due.
func (m Message) IsRequest() bool { return m.Method != "" && len(m.ID) > 0 }

// IsResponse says whether it is an answer.
func (m Message) IsResponse() bool { return m.Method == "" }

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
	return NewErrorData(id, code, message, nil)
}

// NewErrorData is a refusal with data for programs.
func NewErrorData(id json.RawMessage, code int, message string, data any) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	about := map[string]any{"code": code, "message": message}
	if data != nil {
		about["data"] = data
	}
	return Encode(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   any             `json:"error"`
	}{"2.0", id, about})
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

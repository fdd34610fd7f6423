package stdiomux

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Codes of JSON-RPC errors; codeGone is what MCP's own SDKs say of a closed connection.
const (
	codeParse    = -32700
	codeInvalid  = -32600
	codeUnknown  = -32601
	codeInternal = -32603
	codeGone     = -32000
)

// maxID bounds an id or progress token, which is kept as long as its call.
const maxID = 256

// message is a JSON-RPC message. Its parts are passed on as they came.
type message struct {
	id, params, result, failure json.RawMessage
	method                      string
}

var errNoMessage = errors.New("this is not a JSON-RPC 2.0 message")

// parse reads one message. Names are matched exactly, unlike encoding/json does it for
// structs: what we read and what the other side reads must be the same.
func parse(raw []byte) (message, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return message{}, errNoMessage
	}
	var version string
	if json.Unmarshal(fields["jsonrpc"], &version) != nil || version != "2.0" {
		return message{}, errNoMessage
	}
	m := message{id: fields["id"], params: fields["params"], result: fields["result"], failure: fields["error"]}
	if method, ok := fields["method"]; ok && (json.Unmarshal(method, &m.method) != nil || m.method == "") {
		return message{}, errNoMessage
	}
	answer := m.result != nil || m.failure != nil
	if m.id != nil && !validID(m.id) || answer == (m.method != "") || answer && m.id == nil || m.result != nil && m.failure != nil {
		return message{}, errNoMessage
	}
	return m, nil
}

// validID is for ids and progress tokens: a string or a number.
func validID(raw json.RawMessage) bool {
	return len(raw) > 0 && len(raw) <= maxID && (raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

func (m message) request() bool { return m.method != "" && m.id != nil }

// encode writes a message as one line.
func (m message) encode() []byte {
	var b bytes.Buffer
	b.Grow(len(m.params) + len(m.result) + len(m.failure) + maxID)
	b.WriteString(`{"jsonrpc":"2.0"`)
	part := func(name string, raw []byte) {
		if raw != nil {
			b.WriteString(`,"` + name + `":`)
			b.Write(raw)
		}
	}
	part("id", m.id)
	if m.method != "" {
		part("method", text(m.method))
	}
	part("params", m.params)
	part("result", m.result)
	part("error", m.failure)
	b.WriteString("}\n")
	return b.Bytes()
}

// text is a string as JSON.
func text(s string) json.RawMessage {
	raw, _ := json.Marshal(s) //nolint:errchkjson // a string
	return raw
}

// failure is an error as the answer to id.
func failure(id json.RawMessage, code int, why string) message {
	raw, _ := json.Marshal(map[string]any{"code": code, "message": why}) //nolint:errchkjson // a number and a string
	if id == nil {
		id = json.RawMessage("null")
	}
	return message{id: id, failure: raw}
}

// split parts a batch into its messages; anything else is one.
func split(line []byte) []json.RawMessage {
	var batch []json.RawMessage
	if line[0] == '[' && json.Unmarshal(line, &batch) == nil && len(batch) > 0 {
		return batch
	}
	return []json.RawMessage{line}
}

// clean makes a line of what was read: valid UTF-8 without blanks around it.
func clean(line []byte) []byte {
	line = bytes.TrimSpace(line)
	if !utf8.Valid(line) {
		line = bytes.ToValidUTF8(line, []byte("\uFFFD"))
	}
	return line
}

// object reads params; nil when they are none.
func object(raw json.RawMessage) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	return fields
}

// with returns an object with one field replaced.
func with(raw json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	fields := object(raw)
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields[name] = value
	return encodeObject(fields)
}

func encodeObject(fields map[string]json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(fields) //nolint:errchkjson // parts that were read as JSON
	return bytes.TrimSpace(b.Bytes())
}

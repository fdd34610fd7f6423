package jsonrpc

import (
	"bytes"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// The standard library matches names of members in any case and takes the last of
// two; agents' libraries do not all agree. Here a name is what it is, and the members
// of an envelope are found without copying what they hold.

// members gives each member of a valid JSON object to visit.
func members(object []byte, visit func(name string, value []byte) error) error {
	w := walker{data: object}
	w.space()
	w.at++ // the opening brace
	for {
		w.space()
		if w.data[w.at] == '}' {
			return nil
		}
		name := w.value()
		w.space()
		w.at++ // the colon
		w.space()
		value := w.value()
		if err := visit(unquote(name), value); err != nil {
			return err
		}
		w.space()
		if w.data[w.at] == ',' {
			w.at++
		}
	}
}

// walker goes over JSON that is known to be valid.
type walker struct {
	data []byte
	at   int
}

func (w *walker) space() {
	for isSpace(w.data[w.at]) {
		w.at++
	}
}

// value goes behind the value that begins here and returns it.
func (w *walker) value() []byte {
	begin, depth := w.at, 0
	for {
		switch c := w.data[w.at]; {
		case c == '"':
			w.text()
		case c == '{' || c == '[':
			depth++
			w.at++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
			w.at++
		default: // a part of a number or word, or what is between values
			w.at++
		}
		if depth == 0 && (w.at == len(w.data) || endsValue(w.data[w.at])) {
			return w.data[begin:w.at]
		}
	}
}

// text goes behind a string.
func (w *walker) text() {
	for w.at++; w.data[w.at] != '"'; w.at++ {
		if w.data[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
}

func endsValue(c byte) bool { return c == ',' || c == '}' || c == ']' || c == ':' || isSpace(c) }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isObject(value []byte) bool {
	trimmed := bytes.TrimLeft(value, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

func textOrNumber(value []byte) bool {
	return value[0] == '"' || value[0] == '-' || value[0] >= '0' && value[0] <= '9'
}

func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // known to be valid
	return s
}

// once takes a member's bytes.
func once(into *json.RawMessage, name string, value []byte) error {
	if *into != nil {
		return fault.Invalid.Errorf("%q is there twice", name)
	}
	*into = value
	return nil
}

// text takes a member that is a string.
func text(into *string, name string, value []byte) error {
	if value[0] != '"' {
		return fault.Invalid.Errorf("%q must be a string", name)
	}
	if *into != "" {
		return fault.Invalid.Errorf("%q is there twice", name)
	}
	*into = unquote(value)
	return nil
}

// Members gives each member of an object to visit; what is no object has none. The
// text must be valid JSON, as every part of a parsed Message is.
func Members(object json.RawMessage, visit func(name string, value json.RawMessage) error) error {
	if !isObject(object) {
		return nil
	}
	return members(object, func(name string, value []byte) error { return visit(name, value) })
}

// IsObject says whether a valid JSON text is an object.
func IsObject(value json.RawMessage) bool { return isObject(value) }

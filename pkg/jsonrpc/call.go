package jsonrpc

import (
	"encoding/json"
	"errors"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Call is the part of tools/call that decides where it goes.
type Call struct {
	Name      string
	Arguments json.RawMessage
	// ProgressToken is by which the caller knows progress again; nil: none is wanted.
	ProgressToken json.RawMessage
	// Labels are what a run that the call starts is to be found by: an object of texts;
	// nil: none.
	Labels json.RawMessage
	// Priority of the run that the call starts, as the caller wrote it; nil: none was said.
	Priority json.RawMessage
}

// PriorityKey is the _meta key by which a caller says how early its run is served.
const PriorityKey = "io.agentcloud/priority"

// ParseCall reads the params of tools/call.
func ParseCall(params json.RawMessage) (Call, error) {
	var c Call
	if !json.Valid(params) || !isObject(params) {
		return c, fault.Invalid.Errorf("tools/call needs a name and arguments")
	}
	var meta json.RawMessage
	err := members(params, func(name string, value []byte) error {
		switch name {
		case "name":
			return text(&c.Name, name, value)
		case "arguments":
			return once(&c.Arguments, name, value)
		case "_meta":
			return once(&meta, name, value)
		}
		return nil
	})
	if err != nil {
		return Call{}, err
	}
	c.ProgressToken = ProgressToken(meta)
	c.Labels = member(meta, labelsKey)
	c.Priority = member(meta, PriorityKey)
	return c, nil
}

// NameOf is the name in the params of tools/call, as far as the first one is: for records,
// not for decisions. The params are valid JSON.
func NameOf(params json.RawMessage) (tool string) {
	if !isObject(params) {
		return ""
	}
	_ = members(params, func(name string, value []byte) error { // the error is that it was found
		if name != "name" {
			return nil
		}
		_ = json.Unmarshal(value, &tool) // what is no text is no name
		return errFound
	})
	return tool
}

var errFound = errors.New("found")

// Meta is a member of the _meta of params, which are valid JSON; nil when there is none.
func Meta(params json.RawMessage, key string) (value json.RawMessage) {
	for _, name := range []string{"_meta", key} {
		value = member(params, name)
		params = value
	}
	return value
}

// member is the last member of that name of valid JSON; nil when there is none.
func member(object json.RawMessage, name string) (value json.RawMessage) {
	if !isObject(object) {
		return nil
	}
	_ = members(object, func(found string, text []byte) error { // nothing below fails
		if found == name {
			value = text
		}
		return nil
	})
	return value
}

// ProgressToken is the token in an object that has one ("_meta" of a request, the
// params of a progress notification); nil when there is none.
func ProgressToken(object json.RawMessage) (token json.RawMessage) {
	if !isObject(object) {
		return nil
	}
	_ = members(object, func(name string, value []byte) error { // nothing below fails
		if name == progressToken && textOrNumber(value) {
			token = value
		}
		return nil
	})
	return token
}

const progressToken = "progressToken"

// labelsKey is the member of _meta with the labels of a run.
const labelsKey = "io.agentcloud/labels"

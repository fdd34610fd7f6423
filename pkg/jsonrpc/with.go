package jsonrpc

import "encoding/json"

// With is an object whose member at the end of a path of names has another value; the
// other members keep theirs. What is no object stays what it is.
func With(object, value json.RawMessage, path ...string) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil || members == nil {
		return object
	}
	if len(path) > 1 {
		value = With(members[path[0]], value, path[1:]...)
	}
	members[path[0]] = value
	return Encode(members)
}

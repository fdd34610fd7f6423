package modern

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Types of results.
const (
	Complete      = "complete"
	InputRequired = "input_required"
	Task          = "task"
)

// Scope says who may keep a result (SEP-2549).
type Scope string

// The scopes.
const (
	Public  Scope = "public"
	Private Scope = "private"
)

// ListTTL is how long a client may keep a list, in milliseconds.
const ListTTL = 60_000

// cached are the methods whose results say how long they hold.
var cached = map[string]bool{
	Discover: true, "tools/list": true, "prompts/list": true, "resources/list": true, "resources/templates/list": true, "resources/read": true,
}

// Cached gives a list its type and how long it holds.
func Cached(result json.RawMessage, ttl int, scope Scope) json.RawMessage {
	return splice(result, `"resultType":"complete","ttlMs":`+strconv.Itoa(ttl)+`,"cacheScope":"`+string(scope)+`"`)
}

// Typed gives a result of an agent of the session era what a client of the stateless
// one expects; what an agent says itself stands.
func Typed(method string, result json.RawMessage) json.RawMessage {
	if !jsonrpc.IsObject(result) || member(result, "resultType") != nil {
		return result
	}
	if cached[method] && member(result, "ttlMs") == nil {
		return Cached(result, 0, Private)
	}
	return splice(result, `"resultType":"complete"`)
}

// splice puts members before the first of an object.
func splice(object json.RawMessage, members string) json.RawMessage {
	at := 0
	for object[at] != '{' {
		at++
	}
	rest := object[at+1:]
	b := make([]byte, 0, len(object)+len(members)+2)
	b = append(append(b, '{'), members...)
	if !emptyObject(rest) {
		b = append(b, ',')
	}
	return append(b, rest...)
}

func emptyObject(afterBrace []byte) bool {
	for _, c := range afterBrace {
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		return c == '}'
	}
	return true
}

// Down is a request as an agent of the session era takes it: under an id of ours, and
// without what was said for this hop alone.
func (r Request) Down(id json.RawMessage) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	b = append(b, `,"method":`...)
	b = append(b, jsonrpc.Encode(r.Method)...)
	b = append(b, `,"params":`...)
	b = append(b, r.hop(nil)...)
	return append(b, '}')
}

// Across is a request as an agent of the stateless era takes it: with what we say about
// this hop, and the agent's own state in place of ours.
func (r Request) Across(id json.RawMessage, state string) []byte {
	meta := map[string]json.RawMessage{metaVersion: jsonrpc.Encode(Version), metaCapabilities: r.Capabilities.Raw}
	if r.Client != nil {
		meta[metaClient] = r.Client
	}
	if r.LogLevel != "" {
		meta[metaLogLevel] = jsonrpc.Encode(r.LogLevel)
	}
	params := r.hop(meta)
	if r.InputResponses != nil {
		params = splice(params, `"inputResponses":`+string(r.InputResponses))
	}
	if state != "" {
		params = splice(params, `"requestState":`+string(jsonrpc.Encode(state)))
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	b = append(b, `,"method":`...)
	b = append(b, jsonrpc.Encode(r.Method)...)
	b = append(b, `,"params":`...)
	b = append(b, params...)
	return append(b, '}')
}

// hop are the params with the _meta of the next hop, in the client's order.
func (r Request) hop(meta map[string]json.RawMessage) json.RawMessage {
	b := []byte{'{'}
	put := func(name string, value []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, jsonrpc.Encode(name)...), ':'), value...)
	}
	_ = jsonrpc.Members(r.Params, func(name string, value json.RawMessage) error { // nothing below fails
		switch name {
		case "_meta", "requestState", "inputResponses":
		default:
			put(name, value)
		}
		return nil
	})
	kept := map[string]json.RawMessage{}
	_ = jsonrpc.Members(r.meta, func(name string, value json.RawMessage) error { // nothing below fails
		switch name {
		case metaVersion, metaCapabilities, metaClient, metaLogLevel, metaServer, MetaSubscription:
		default:
			kept[name] = value
		}
		return nil
	})
	for name, value := range meta {
		kept[name] = value
	}
	if len(kept) > 0 {
		put("_meta", jsonrpc.Encode(kept))
	}
	return append(b, '}')
}

// Meta is a member of the request's _meta that is not of the protocol.
func (r Request) Meta(name string) json.RawMessage { return member(r.meta, name) }

// Digest says which call a request is: what a retry must repeat.
func (r Request) Digest() [sha256.Size]byte {
	var arguments any // without layout and order: the same arguments may be written in another way
	if len(r.Arguments) > 0 {
		_ = json.Unmarshal(r.Arguments, &arguments) // it was parsed before
	}
	return sha256.Sum256(jsonrpc.Encode([]any{r.Method, r.Name, arguments}))
}

// Asks says whether a result asks the client back.
func Asks(result json.RawMessage) bool {
	var kind string
	_ = json.Unmarshal(member(result, "resultType"), &kind) // what is no text is no kind
	return kind == InputRequired
}

package modern

import (
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Hello is what a client with a session has said about itself.
type Hello struct {
	Capabilities json.RawMessage `json:"capabilities"`
	Client       json.RawMessage `json:"clientInfo"`
	LogLevel     string          `json:"-"`
}

// Lift makes a request of a client with a session one of the stateless era, which says
// all about itself. It is refused when that era does not know the method.
func Lift(m jsonrpc.Message, hello Hello) (Request, *Refusal) {
	meta := map[string]json.RawMessage{}
	_ = json.Unmarshal(member(m.Params, "_meta"), &meta) // without one it is empty
	if hello.Capabilities == nil {
		hello.Capabilities = json.RawMessage("{}")
	}
	meta[metaVersion], meta[metaCapabilities] = jsonrpc.Encode(Version), hello.Capabilities
	if hello.Client != nil {
		meta[metaClient] = hello.Client
	}
	if hello.LogLevel != "" {
		meta[metaLogLevel] = jsonrpc.Encode(hello.LogLevel)
	}
	params := map[string]json.RawMessage{}
	_ = json.Unmarshal(m.Params, &params) // without them they are empty
	params["_meta"] = jsonrpc.Encode(meta)
	delete(params, "requestState") // not of its era
	delete(params, "inputResponses")
	header := http.Header{HeaderVersion: {Version}, HeaderMethod: {m.Method}}
	var name string
	if json.Unmarshal(params[named[m.Method]], &name) == nil {
		header.Set(HeaderName, EncodeHeader(name))
	}
	m.Params = jsonrpc.Encode(params)
	return Read(header, m, []string{Version})
}

// Asked is what a result asks the client back, by key.
type Asked struct {
	State    string `json:"requestState"`
	Requests map[string]struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	} `json:"inputRequests"`
}

// Again is the request with the client's answers.
func (r Request) Again(state string, responses map[string]json.RawMessage) Request {
	r.RequestState, r.InputResponses = state, nil
	if len(responses) > 0 {
		r.InputResponses = jsonrpc.Encode(responses)
	}
	return r
}

// Plain is a result without what the session era does not know.
func Plain(result json.RawMessage) json.RawMessage { return without(result, "resultType") }

package modern_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// FuzzRead holds the reader of the stateless era to three things: a refusal is an HTTP
// answer that can be read, what is accepted says the same in headers and body, and what
// goes on to an agent is accepted by the same rules.
func FuzzRead(f *testing.F) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"v/x":1}`
	add := func(version, method, name, param, body string) { f.Add(version, method, name, param, []byte(body)) }
	add(modern.Version, "tools/list", "", "", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{`+meta+`}}`)
	add(modern.Version, "tools/call", "=?base64?YWRk?=", "7", `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"add","arguments":{"é":[1,{"b":null}]},"requestState":"s","inputResponses":{"q1":{}},`+meta+`}}`)
	add(modern.Version, "resources/read", "file:///x", "", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///x",`+meta+`}}`)
	add(modern.Version, "tasks/get", "t1.a.b", "", `{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t1.a.b","cursor":"c",`+meta+`}}`)
	add("2025-11-25", "x", "y", "", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`)
	add("9999-99-99", "", "", "", `{"jsonrpc":"2.0","method":"m","params":[]}`)
	f.Fuzz(func(t *testing.T, version, method, name, param string, body []byte) {
		m, err := jsonrpc.Parse(body)
		if err != nil || !m.IsRequest() {
			return
		}
		header := http.Header{}
		for key, value := range map[string]string{modern.HeaderVersion: version, modern.HeaderMethod: method, modern.HeaderName: name, "Mcp-Param-Region": param} {
			if value != "" {
				header.Set(key, value)
			}
		}
		modern.Is(header, m)
		r, refusal := modern.Read(header, m, []string{"2025-11-25", modern.Version})
		if refusal != nil {
			readable(t, m, refusal)
			return
		}
		same(t, header, body, r)
		across(t, r)
	})
}

func readable(t *testing.T, m jsonrpc.Message, refusal *modern.Refusal) {
	t.Helper()
	if refusal.Status < 400 || refusal.Status > 499 || http.StatusText(refusal.Status) == "" {
		t.Errorf("refused with status %d", refusal.Status)
	}
	var said struct {
		ID    json.RawMessage
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(refusal.Body(m.ID), &said); err != nil || string(said.ID) != string(m.ID) || said.Error.Code == 0 || said.Error.Message == "" {
		t.Errorf("refused with %s: %v", refusal.Body(m.ID), err)
	}
}

// same holds what was accepted against what the standard library reads in the body.
func same(t *testing.T, header http.Header, body []byte, r modern.Request) {
	t.Helper()
	var said struct {
		Method string                     `json:"method"`
		Params map[string]json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		t.Fatalf("accepted what cannot be read: %v", err)
	}
	var meta map[string]any
	_ = json.Unmarshal(said.Params["_meta"], &meta)
	if v := header.Get(modern.HeaderVersion); v != modern.Version || meta["io.modelcontextprotocol/protocolVersion"] != v {
		t.Errorf("version %q in the header, %v in the body", v, meta)
	}
	if got := header.Get(modern.HeaderMethod); got != said.Method || r.Method != said.Method {
		t.Errorf("method %q in the header, %q in the body, %q read", got, said.Method, r.Method)
	}
	key := map[string]string{
		"tools/call": "name", "prompts/get": "name", "resources/read": "uri", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
	}[r.Method]
	if key == "" {
		return
	}
	var name string
	_ = json.Unmarshal(said.Params[key], &name)
	if text, ok := modern.DecodeHeader(header.Get(modern.HeaderName)); !ok || text != name || r.Name != name {
		t.Errorf("name %q in the header, %q in the body, %q read", text, name, r.Name)
	}
}

// across holds what the next hop gets to the same rules.
func across(t *testing.T, r modern.Request) {
	t.Helper()
	if down := r.Down(json.RawMessage("1")); !json.Valid(down) {
		t.Errorf("an agent of the session era gets %s", down)
	}
	sent := r.Across(r.ID, "state")
	m, err := jsonrpc.Parse(sent)
	if err != nil {
		t.Fatalf("an agent gets %s: %v", sent, err)
	}
	again, refusal := modern.Read(r.Headers(), m, []string{modern.Version})
	if refusal != nil || again.Name != r.Name || again.Digest() != r.Digest() || again.RequestState != "state" || string(again.ID) != string(r.ID) {
		t.Errorf("the next hop reads %s with %v: %+v", sent, r.Headers(), refusal)
	}
}

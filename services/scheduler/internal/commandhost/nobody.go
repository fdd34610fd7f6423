package commandhost

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// protocolVersion is spoken for a project without a server.
const protocolVersion = "2025-06-18"

// nobody answers for a project that has workflows and no server: the tools of workflows
// are the gateway's, and there are no others.
type nobody struct {
	name string
	over chan struct{} // never closed
}

func newNobody(name string) *nobody { return &nobody{name: name, over: make(chan struct{})} }

func (n *nobody) introduce(context.Context) (hello, error) { return hello{Name: n.name}, nil }
func (n *nobody) ended() <-chan struct{}                   { return n.over }
func (n *nobody) close() int                               { return agentenv.ExitDone }
func (n *nobody) words() string                            { return "" }

// ServeHTTP answers without sessions.
func (n *nobody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "", jsonrpc.CodeInvalidRequest, "there is nothing to listen to")
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessageBytes))
	m, wrong := parse(raw)
	if err := errors.Join(err, wrong); err != nil {
		refuse(w, http.StatusBadRequest, "", jsonrpc.CodeParse, err.Error())
		return
	}
	if !m.isRequest() {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	result, ok := n.answer(m.method)
	if !ok {
		refuse(w, http.StatusOK, m.id, jsonrpc.CodeMethodNotFound, "this app has workflows only; there is no "+m.method)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(m.id), "result": result})
}

func (n *nobody) answer(method string) (result any, ok bool) {
	switch method {
	case "initialize":
		return map[string]any{
			"protocolVersion": protocolVersion, "capabilities": map[string]any{"tools": map[string]any{}},
			"serverInfo": map[string]any{"name": n.name, "version": "1"},
		}, true
	case "ping":
		return map[string]any{}, true
	case "tools/list":
		return map[string]any{"tools": []any{}}, true
	}
	return nil, false
}

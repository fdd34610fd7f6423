package edge

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/bridge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/workflowtools"
)

// modernPost takes a message of the stateless era (MCP 2026-07-28, "Streamable HTTP").
func (v visit) modernPost(w http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
	if m.IsResponse() {
		refuseModern(w, m.ID, &modern.Refusal{Status: http.StatusBadRequest, Code: jsonrpc.CodeInvalidRequest, Message: "this era has no responses of clients: repeat the request with inputResponses"})
		return
	}
	if !m.IsRequest() {
		w.WriteHeader(http.StatusAccepted) // the era defines no notifications of clients
		return
	}
	req, refusal := modern.Read(r.Header, m, routes.Versions())
	if refusal == nil && !acceptsBoth(r) {
		refusal = &modern.Refusal{Status: http.StatusNotAcceptable, Code: jsonrpc.CodeInvalidRequest, Message: "send Accept: application/json, text/event-stream"}
	}
	if refusal != nil {
		refuseModern(w, m.ID, refusal)
		return
	}
	over, ok := v.countModern(w, r, req)
	if !ok {
		return
	}
	defer over()
	if req.Method == modern.Listen {
		v.listen(w, r, req)
		return
	}
	answer := &modernAnswer{w: w, id: m.ID}
	defer answer.keepAlive(v.deps.Config.KeepAlive)()
	result, refusal := v.modernWork(r, req, answer)
	answer.finish(result, refusal)
}

// acceptsBoth says whether the client takes both forms of an answer; one that does not
// say takes all.
func acceptsBoth(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" || strings.Contains(accept, "*/*") {
		return true
	}
	return strings.Contains(accept, "application/json") && strings.Contains(accept, "text/event-stream")
}

// modernWork answers a request from what was recorded, from runs, or with what the
// agent says.
func (v visit) modernWork(r *http.Request, req modern.Request, to bridge.Client) (json.RawMessage, *modern.Refusal) {
	e := v.route.Endpoint
	if e == nil {
		return nil, refusalOf(fault.Unavailable.Errorf("this app has no live version yet: deploy it with `mcp-agent deploy %s`", v.route.Address.GetAppName()))
	}
	switch req.Method {
	case modern.Discover, "tools/list", "prompts/list", "resources/list", "resources/templates/list":
		if !e.GetModern() || !v.up() {
			return v.modernList(e, req)
		}
	case modern.TasksGet, modern.TasksPut, modern.TasksStop:
		if !e.GetModern() {
			return v.modernTask(r, req)
		}
	case modern.ToolsCall:
		if refusal := e.Headers[req.Name].Check(req); refusal != nil {
			return nil, refusal
		}
		req = e.Headers[req.Name].Mirrored(req)
		if e.Native[req.Name] != routes.Passed {
			return v.modernNative(r, req)
		}
	}
	return v.onceModern(r, req, func() (json.RawMessage, *modern.Refusal) {
		return v.countedModern(r.Context(), req.Method, func() (json.RawMessage, *modern.Refusal) {
			return v.bridge.Call(r.Context(), v.route, v.caller.UserID, req, to)
		})
	})
}

// modernList answers what does not need the agent awake.
func (v visit) modernList(e *routes.Endpoint, req modern.Request) (json.RawMessage, *modern.Refusal) {
	scope := modern.Private
	if v.route.Address.GetUnauthenticatedAccess() {
		scope = modern.Public
	}
	result, ok := e.Catalogue().Answer(req.Method, scope)
	switch {
	case !ok:
		return nil, &modern.Refusal{Status: http.StatusNotFound, Code: jsonrpc.CodeMethodNotFound, Message: "this app does not have " + req.Method}
	case req.Cursor != "":
		return nil, modern.Invalid("invalid cursor: lists come whole", nil)
	}
	return result, nil
}

// modernNative answers a workflow tool: with a task where the client takes one.
func (v visit) modernNative(r *http.Request, req modern.Request) (json.RawMessage, *modern.Refusal) {
	call, err := jsonrpc.ParseCall(req.Params)
	if err != nil {
		return nil, modern.Invalid(fault.Message(err), nil)
	}
	native, key := v.route.Endpoint.Native[call.Name], v.runKey(keyOf(r.Header, req.Params))
	switch native {
	case routes.WorkflowsGetStatus:
		if asked, refusal := v.tasks.Poll(r.Context(), v.route, call, req); asked != nil || refusal != nil {
			return asked, refusal
		}
	case routes.RunWorkflow, routes.RunTool:
		policy := v.route.Endpoint.Tasks[call.Name]
		switch takes := req.Capabilities.Tasks(); {
		case takes:
			return v.modernCreate(r, req, call, key, policy)
		case policy.Required():
			return nil, modern.NeedsTasks()
		}
	}
	result, err := v.tools.Call(r.Context(), v.route, call, workflowtools.Origin{IdempotencyKey: key})
	if err != nil {
		return nil, refusalOf(err)
	}
	return modern.Typed(req.Method, result), nil
}

// modernCreate makes a call a task. What the caller did wrong is a result that says so.
func (v visit) modernCreate(r *http.Request, req modern.Request, call jsonrpc.Call, key string, policy routes.TaskPolicy) (result json.RawMessage, refusal *modern.Refusal) {
	var err error
	if policy.AskBefore() {
		result, refusal, err = v.tasks.CreateAsking(r.Context(), v.route, call, key, req)
	} else {
		result, err = v.tasks.Create(r.Context(), v.route, call, key)
	}
	switch {
	case err != nil && workflowtools.Blame(err):
		return modern.Typed(req.Method, routes.ToolError("Error executing tool "+call.Name+": "+fault.Message(err))), nil
	case err != nil:
		return nil, refusalOf(err)
	}
	return result, refusal
}

// modernTask serves the tasks extension.
func (v visit) modernTask(r *http.Request, req modern.Request) (json.RawMessage, *modern.Refusal) {
	if len(v.route.Endpoint.Native) == 0 {
		return nil, &modern.Refusal{Status: http.StatusNotFound, Code: jsonrpc.CodeMethodNotFound, Message: "this app has no tasks"}
	}
	if !req.Capabilities.Tasks() {
		return nil, modern.NeedsTasks()
	}
	switch req.Method {
	case modern.TasksPut:
		return v.tasks.Update(r.Context(), v.route, req.Name, req.InputResponses)
	case modern.TasksStop:
		return v.tasks.Cancel(r.Context(), v.route, req.Name)
	}
	return v.tasks.Get(r.Context(), v.route, req.Name, req.Capabilities)
}

// refusalOf is a fault as an error of the stateless era; nil for nil.
func refusalOf(err error) *modern.Refusal {
	if err == nil {
		return nil
	}
	return &modern.Refusal{Status: fault.KindOf(err).HTTPStatus(), Code: jsonrpc.CodeInternal, Message: fault.Message(err)}
}

// stateless refuses what the stateless era has no use for: streams and sessions by
// GET and DELETE.
func stateless(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get(modern.HeaderVersion) < modern.Version || !modern.Is(r.Header, jsonrpc.Message{}) {
		return false
	}
	w.Header().Set("Allow", http.MethodPost)
	refuseModern(w, nil, &modern.Refusal{Status: http.StatusMethodNotAllowed, Code: jsonrpc.CodeInvalidRequest, Message: "this version of the protocol takes POST only"})
	return true
}

func refuseModern(w http.ResponseWriter, id json.RawMessage, refusal *modern.Refusal) {
	if refusal.Status == http.StatusServiceUnavailable || refusal.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", retryAfter)
	}
	respond(w, refusal.Status, refusal.Body(id))
}

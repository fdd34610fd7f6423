package edge

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// codeLimited is the JSON-RPC error code of a request that a limit refuses. What the
// protocol keeps for itself ends at -32000, and it looks like the HTTP status.
const codeLimited = 42900

// uncounted are requests that no limit counts: without them there is no session, and
// who is refused could not see that the app is alive. Notifications and responses are
// not counted either: a refusal of those reaches nobody.
var uncounted = map[string]bool{"initialize": true, "ping": true, modern.Discover: true}

// limited answers a request by next, unless a limit refuses it.
func (v visit) limited(w http.ResponseWriter, r *http.Request, m jsonrpc.Message, next func()) {
	over, err := v.count(r.Context(), m)
	if err != nil {
		refuse(w, m, err)
		return
	}
	defer over()
	next()
}

// count holds a request of a session against the limits; over says that it is done.
func (v visit) count(ctx context.Context, m jsonrpc.Message) (over func(), err error) {
	switch {
	case m.Method != modern.ToolsCall:
		return v.countMethod(ctx, m.Method, "", "")
	case !v.limits.ByTool():
		return v.countMethod(ctx, m.Method, jsonrpc.NameOf(m.Params), "")
	}
	call, _ := jsonrpc.ParseCall(m.Params) // one that cannot be read is refused later
	return v.countMethod(ctx, m.Method, call.Name, v.standsFor(call))
}

// standsFor is the tool that a call of workflows-run starts by its other name: a limit of
// the tool holds for both. Empty for every other call.
func (v visit) standsFor(call jsonrpc.Call) string {
	e := v.route.Endpoint
	if e == nil || e.Native[call.Name] != routes.WorkflowsRun {
		return ""
	}
	var args struct {
		Workflow string `json:"workflow_name"`
	}
	_ = json.Unmarshal(call.Arguments, &args) // what cannot be read is refused later
	if tool := routes.ToolName(args.Workflow); e.Native[tool] == routes.RunWorkflow {
		return tool
	}
	return args.Workflow // a tool's name is its workflow's
}

// countModern holds a request of the stateless era against the limits. A subscription
// counts when it begins; open, it is no call at work.
func (v visit) countModern(w http.ResponseWriter, r *http.Request, req modern.Request) (over func(), ok bool) {
	tool, as := "", ""
	if req.Method == modern.ToolsCall {
		tool = req.Name
		if v.limits.ByTool() {
			call, _ := jsonrpc.ParseCall(req.Params) // as above
			as = v.standsFor(call)
		}
	}
	over, err := v.countMethod(r.Context(), req.Method, tool, as)
	if err != nil {
		refuse(w, jsonrpc.Message{ID: req.ID}, err)
		return nil, false
	}
	if req.Method == modern.Listen {
		over()
	}
	return over, true
}

// countMethod counts a request for the app, of which a configuration is a part, and
// writes it down. A call may stand for one of another tool.
func (v visit) countMethod(ctx context.Context, method, tool, as string) (over func(), err error) {
	if uncounted[method] {
		return func() {}, nil
	}
	address := v.route.Address
	over, err = v.limits.Admit(limits.Call{OrgID: address.GetOrgId(), TargetID: address.GetAppId(), CallerID: v.caller.UserID, Tool: tool, As: as})
	v.audit(ctx, method, tool, limits.Which(err))
	return over, err
}

// refusePlain refuses a call by plain HTTP.
func refusePlain(w http.ResponseWriter, err error) {
	setRetryAfter(w, err)
	about := limitData(err)
	about["error"] = fault.Message(err)
	respond(w, http.StatusTooManyRequests, jsonrpc.Encode(about))
}

// failure is the JSON-RPC error that a request is answered with.
func failure(id json.RawMessage, err error) []byte {
	if limits.Which(err) == "" {
		return jsonrpc.NewError(id, code(err), fault.Message(err))
	}
	return jsonrpc.NewErrorData(id, codeLimited, fault.Message(err), limitData(err))
}

func limitData(err error) map[string]any {
	return map[string]any{"limit": limits.Which(err), "retryAfterMs": limits.RetryAfter(err).Milliseconds() + 1}
}

// setRetryAfter says when to come back, in whole seconds: early would be too early.
func setRetryAfter(w http.ResponseWriter, err error) {
	seconds := float64(retrySeconds)
	if wait := limits.RetryAfter(err); wait > 0 {
		seconds = math.Ceil(wait.Seconds())
	}
	w.Header().Set("Retry-After", strconv.FormatFloat(seconds, 'f', 0, 64))
}

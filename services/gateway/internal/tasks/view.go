package tasks

import (
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// States of a task.
const (
	working   = "working"
	asking    = "input_required"
	completed = "completed"
	failed    = "failed"
	cancelled = "cancelled"
)

// protocolError is the type of an error that a tool means for the protocol, not for the
// model (class McpError of the Python SDK).
const protocolError = "McpError"

// How often a client should ask, in milliseconds: often at first, then seldom.
const (
	pollFirst  = 500
	pollLater  = 2_000
	pollSeldom = 10_000
	soon       = 10 * time.Second
	later      = 10 * time.Minute
)

// view is a task as a client reads it.
type view struct {
	ResultType string `json:"resultType,omitempty"`
	TaskID     string `json:"taskId"`
	Status     string `json:"status"`
	Message    string `json:"statusMessage,omitempty"`
	Created    string `json:"createdAt"`
	Updated    string `json:"lastUpdatedAt"`
	// TTL is in milliseconds from Created; null while the run is open, for it is kept for
	// a time after its end.
	TTL      *int64                     `json:"ttlMs"`
	Poll     int                        `json:"pollIntervalMs"`
	Requests map[string]json.RawMessage `json:"inputRequests,omitempty"`
	Result   json.RawMessage            `json:"result,omitempty"`
	Error    any                        `json:"error,omitempty"`
}

// describe is a run as a task (section "Mapping" of docs/tasks.md).
func describe(id string, r ref, run *schedulerv1.Run, open []*schedulerv1.Question, client modern.Capabilities, e *routes.Endpoint, now time.Time) view {
	created := time.UnixMilli(r.Created)
	v := view{ResultType: modern.Complete, TaskID: id, Created: stamp(created), Updated: stamp(created), Poll: poll(now.Sub(created))}
	v.update(run.GetQuestionChangedAt())
	if at := run.GetCloseTime(); at != nil {
		v.update(at)
		ttl := (at.AsTime().Sub(created) + run.GetRetention().AsDuration()).Milliseconds()
		v.TTL = &ttl
	}
	switch run.GetStatus() {
	case schedulerv1.RunStatus_RUN_STATUS_COMPLETED:
		v.Status, v.Result = completed, result(run, e)
	case schedulerv1.RunStatus_RUN_STATUS_FAILED:
		if run.GetErrorType() == protocolError {
			v.failFor(run)
			return v
		}
		v.Status, v.Result = completed, routes.ToolError("Error executing tool "+toolOf(run, e)+": "+run.GetErrorMessage())
	case schedulerv1.RunStatus_RUN_STATUS_CANCELED:
		v.Status, v.Message = cancelled, "cancelled"
	case schedulerv1.RunStatus_RUN_STATUS_TERMINATED:
		v.fail("terminated", "The run was terminated")
	case schedulerv1.RunStatus_RUN_STATUS_TIMED_OUT:
		v.fail("timeout", "The run timed out")
	default:
		v.Status, v.Message = working, run.GetErrorMessage()
		if run.GetCancelRequested() {
			v.Message = "cancellation requested"
		}
		v.ask(open, client)
	}
	return v
}

// update says that something of the task changed then; what changed later stays.
func (v *view) update(at *timestamppb.Timestamp) {
	if at == nil {
		return
	}
	if text := stamp(at.AsTime()); text > v.Updated {
		v.Updated = text
	}
}

// failFor fails with the JSON-RPC error that the run means.
func (v *view) failFor(run *schedulerv1.Run) {
	e := run.GetProtocolError()
	if e == nil {
		v.fail("protocol_error", run.GetErrorMessage())
		return
	}
	v.Status, v.Message = failed, run.GetErrorMessage()
	about := map[string]any{"code": e.GetCode(), "message": run.GetErrorMessage()}
	if data := e.GetDataJson(); data != "" {
		about["data"] = json.RawMessage(data)
	}
	v.Error = about
}

func (v *view) fail(reason, message string) {
	v.Status, v.Message = failed, message
	v.Error = map[string]any{"code": jsonrpc.CodeInternal, "message": message, "data": map[string]string{"reason": reason}}
}

// ask shows the open questions that the client can answer.
func (v *view) ask(open []*schedulerv1.Question, client modern.Capabilities) {
	for _, q := range open {
		params := json.RawMessage(q.GetParamsJson())
		v.update(q.GetAskedAt())
		if !client.CanAnswer(q.GetMethod(), params) {
			v.Message = "waits for an answer to " + q.GetMethod() + ", which this client cannot give"
			continue
		}
		request := map[string]any{"method": q.GetMethod()}
		if len(params) > 0 {
			request["params"] = params
		}
		if v.Requests == nil {
			v.Requests = map[string]json.RawMessage{}
		}
		v.Requests[q.GetQuestionId()] = jsonrpc.Encode(request)
	}
	if v.Requests != nil {
		v.Status, v.Message, v.Poll = asking, "waits for an answer", pollLater
	}
}

// result is what the tool would have returned, had its caller waited.
func result(run *schedulerv1.Run, e *routes.Endpoint) json.RawMessage {
	value := json.RawMessage(run.GetResultJson())
	if len(value) == 0 {
		value = json.RawMessage("null")
	}
	var wrapped struct {
		Kind  string          `json:"kind"`
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(value, &wrapped) == nil && wrapped.Kind == "workflow_result" {
		if value = wrapped.Value; len(value) == 0 {
			value = json.RawMessage("null")
		}
	}
	var content struct {
		Content []json.RawMessage `json:"content"`
	}
	if jsonrpc.IsObject(value) && json.Unmarshal(value, &content) == nil && content.Content != nil {
		return value // it has the shape of a tool's result already
	}
	shape := routes.Unstructured
	if e != nil && e.Wrapped[toolOf(run, e)] != routes.Unstructured {
		shape = routes.InResult
	}
	return routes.ToolResult(value, shape)
}

// toolOf is the tool whose call started a run.
func toolOf(run *schedulerv1.Run, e *routes.Endpoint) string {
	name := run.GetName()
	if e != nil && e.Native[routes.ToolName(name)] == routes.RunWorkflow && e.Native[name] != routes.RunTool {
		return routes.ToolName(name)
	}
	return name
}

func poll(age time.Duration) int {
	switch {
	case age < soon:
		return pollFirst
	case age < later:
		return pollLater
	}
	return pollSeldom
}

// stamp is a time in UTC with milliseconds, which sorts as text.
func stamp(t time.Time) string {
	return strings.Replace(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"), "+00:00", "Z", 1)
}

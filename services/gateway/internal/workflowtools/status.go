package workflowtools

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// approvals is where questions are by REST.
const approvals = "/api/v1/approvals/"

// status is the framework's answer to workflows-get_status. A running run has no
// result, completed and error; an ended one always has them.
type status struct {
	ID         string `json:"id"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	Running    bool   `json:"running"`
	State      state  `json:"state"`
	*ended
	Temporal temporal `json:"temporal"`
}

type ended struct {
	Result        json.RawMessage `json:"result"`
	Completed     bool            `json:"completed"`
	Error         *string         `json:"error"`
	ExceptionType string          `json:"exception_type,omitempty"`
}

type state struct {
	Status    string         `json:"status"`
	Metadata  map[string]any `json:"metadata"`
	UpdatedAt *float64       `json:"updated_at"`
	Error     *stateError    `json:"error"`
}

type stateError struct {
	Type      string   `json:"type"`
	Message   string   `json:"message"`
	Timestamp *float64 `json:"timestamp"`
}

// temporal is what the public command line reads for its columns.
type temporal struct {
	ID               string   `json:"id"`
	WorkflowID       string   `json:"workflow_id"`
	RunID            string   `json:"run_id"`
	Name             string   `json:"name"`
	Type             string   `json:"type"`
	Status           string   `json:"status"`
	StartTime        *float64 `json:"start_time"`
	ExecutionTime    *float64 `json:"execution_time"`
	CloseTime        *float64 `json:"close_time"`
	HistoryLength    int64    `json:"history_length"`
	ParentWorkflowID *string  `json:"parent_workflow_id"`
	ParentRunID      *string  `json:"parent_run_id"`
}

// words are a run's status in the framework's terms and in Temporal's.
var words = map[schedulerv1.RunStatus]struct{ framework, temporal string }{
	schedulerv1.RunStatus_RUN_STATUS_RUNNING:    {"running", "RUNNING"},
	schedulerv1.RunStatus_RUN_STATUS_PAUSED:     {"paused", "PAUSED"},
	schedulerv1.RunStatus_RUN_STATUS_COMPLETED:  {"completed", "COMPLETED"},
	schedulerv1.RunStatus_RUN_STATUS_FAILED:     {"error", "FAILED"},
	schedulerv1.RunStatus_RUN_STATUS_CANCELED:   {"cancelled", "CANCELED"},
	schedulerv1.RunStatus_RUN_STATUS_TERMINATED: {"error", "TERMINATED"},
	schedulerv1.RunStatus_RUN_STATUS_TIMED_OUT:  {"error", "TIMED_OUT"},
}

// question is what a waiting run asks, with what a client needs to answer it by
// workflows-resume (signal_name, the MCP result as payload) or by REST (href).
type question struct {
	ID         string          `json:"question_id"`
	SignalName string          `json:"signal_name,omitempty"`
	Method     string          `json:"method"`
	Params     json.RawMessage `json:"params,omitempty"`
	AskedAt    *float64        `json:"asked_at"`
	Deadline   *float64        `json:"deadline"`
	Href       string          `json:"href"`
}

// metadata is empty, as in the framework, unless the run waits for an answer.
func metadata(open []*schedulerv1.Question) map[string]any {
	var all []question
	for _, q := range open {
		all = append(all, question{
			ID: q.GetQuestionId(), SignalName: q.GetSignalName(), Method: q.GetMethod(), Params: json.RawMessage(q.GetParamsJson()),
			AskedAt: seconds(q.GetAskedAt()), Deadline: seconds(q.GetDeadline()), Href: approvals + q.GetQuestionId(),
		})
	}
	if len(all) == 0 {
		return map[string]any{}
	}
	return map[string]any{"questions": all}
}

func render(run *schedulerv1.Run, open []*schedulerv1.Question) json.RawMessage {
	word := words[run.GetStatus()]
	s := status{
		ID: run.GetRunId(), WorkflowID: run.GetWorkflowId(), RunID: run.GetRunId(), Name: run.GetName(),
		Status: word.framework, Running: run.GetCloseTime() == nil,
		State:    state{Status: word.framework, Metadata: metadata(open), UpdatedAt: seconds(latest(run))},
		Temporal: temporalOf(run, word.temporal),
	}
	// The framework does not call a cancellation an error of the state.
	failed := run.GetErrorType() != "" || run.GetErrorMessage() != ""
	if failed && run.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_CANCELED {
		s.State.Error = &stateError{run.GetErrorType(), run.GetErrorMessage(), seconds(latest(run))}
	}
	if !s.Running {
		s.ended = endOf(run)
	}
	return jsonrpc.Encode(s)
}

func endOf(run *schedulerv1.Run) *ended {
	switch run.GetStatus() {
	case schedulerv1.RunStatus_RUN_STATUS_COMPLETED:
		e := &ended{Result: json.RawMessage(run.GetResultJson()), Completed: true}
		if len(e.Result) == 0 {
			e.Result = json.RawMessage("null")
		}
		return e
	case schedulerv1.RunStatus_RUN_STATUS_CANCELED:
		text := "Workflow was cancelled"
		return &ended{Error: &text, ExceptionType: "CancelledError"}
	}
	text := run.GetErrorMessage()
	if text == "" {
		text = "the run " + strings.ToLower(strings.TrimPrefix(run.GetStatus().String(), "RUN_STATUS_"))
	}
	return &ended{Error: &text, ExceptionType: run.GetErrorType()}
}

func temporalOf(run *schedulerv1.Run, word string) temporal {
	return temporal{
		ID: run.GetWorkflowId(), WorkflowID: run.GetWorkflowId(), RunID: run.GetRunId(), Name: run.GetWorkflowId(), Type: run.GetType(),
		Status: word, StartTime: seconds(run.GetStartTime()), ExecutionTime: seconds(run.GetExecutionTime()), CloseTime: seconds(run.GetCloseTime()),
		HistoryLength: run.GetHistoryLength(), ParentWorkflowID: orNull(run.GetParentWorkflowId()), ParentRunID: orNull(run.GetParentRunId()),
	}
}

func latest(run *schedulerv1.Run) *timestamppb.Timestamp {
	if run.GetCloseTime() != nil {
		return run.GetCloseTime()
	}
	return run.GetStartTime()
}

// seconds is a Unix time as Python gives it; null when unknown.
func seconds(t *timestamppb.Timestamp) *float64 {
	if t == nil {
		return nil
	}
	s := float64(t.AsTime().UnixMicro()) / 1e6
	return &s
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

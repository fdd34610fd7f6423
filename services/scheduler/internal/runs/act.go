package runs

import (
	"context"
	"encoding/json"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
)

const (
	defaultSignal = "resume"
	maxSignalName = 1000
	// maxInline bounds what is given to Temporal as it is, which refuses 2 MB.
	maxInline  = 1 << 20
	maxHistory = 16 << 20
)

// SignalRun sends a signal with one JSON payload.
func (s *Service) SignalRun(ctx context.Context, req *schedulerv1.SignalRunRequest) (*schedulerv1.SignalRunResponse, error) {
	name, payload, err := signalOf(req)
	if err != nil {
		return nil, err
	}
	f, err := s.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if missing(err) {
		return &schedulerv1.SignalRunResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	var carried any
	if payload != nil {
		if carried, err = s.payload(ctx, payloads.Scope{OrgID: f.target.OrgID, WorkflowID: f.workflowID}, payload); err != nil {
			return nil, err
		}
	}
	defer s.deps.Bell.Hold(ctx, f.target.ID)()
	err = f.client.SignalWorkflow(ctx, f.workflowID, f.runID, name, carried)
	s.deps.Bell.Stirred(f.target.ID)
	if missing(err) {
		return &schedulerv1.SignalRunResponse{}, nil
	}
	return &schedulerv1.SignalRunResponse{Found: true}, away(err)
}

func signalOf(req *schedulerv1.SignalRunRequest) (name string, payload json.RawMessage, err error) {
	name = req.GetSignalName()
	if name == "" {
		name = defaultSignal
	}
	text := req.GetPayloadJson()
	switch {
	case len(name) > maxSignalName:
		return "", nil, fault.Invalid.Errorf("the signal's name has %d bytes; at most %d are taken", len(name), maxSignalName)
	case len(text) > maxArguments:
		return "", nil, fault.TooLarge.Errorf("the payload has %d bytes; at most %d are taken", len(text), maxArguments)
	case text == "":
		return name, nil, nil
	case !json.Valid([]byte(text)):
		return "", nil, fault.Invalid.Errorf("the payload must be JSON")
	}
	return name, json.RawMessage(text), nil
}

// GetRunHistory gives the complete event history as Temporal's JSON.
func (s *Service) GetRunHistory(ctx context.Context, req *schedulerv1.GetRunHistoryRequest) (*schedulerv1.GetRunHistoryResponse, error) {
	f, err := s.find(ctx, req.GetTargetId(), "", req.GetRunId())
	if err != nil {
		return nil, err
	}
	history, size := &historypb.History{}, 0
	events := f.client.GetWorkflowHistory(ctx, f.workflowID, f.runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, noRunOr(err)
		}
		if size += proto.Size(event); size > maxHistory {
			return nil, fault.TooLarge.Errorf("the history of this run is over %d MiB; read it with Temporal's own tools", maxHistory>>20)
		}
		history.Events = append(history.Events, event)
	}
	text, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(history)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetRunHistoryResponse{HistoryJson: string(text)}, nil
}

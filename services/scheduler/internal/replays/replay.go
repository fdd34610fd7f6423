package replays

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	historypb "go.temporal.io/api/history/v1"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// ReplayRun runs a run's history against a version's code.
func (s *Service) ReplayRun(ctx context.Context, req *schedulerv1.ReplayRunRequest) (*schedulerv1.ReplayRunResponse, error) {
	run, err := s.find(ctx, req.GetTargetId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	v, err := s.version(ctx, run, req.GetVersion())
	if err != nil {
		return nil, err
	}
	events, err := s.history(ctx, run)
	if err != nil {
		return nil, err
	}
	r, err := s.replay(ctx, run, v, events)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.ReplayRunResponse{
		Replay: toProto(r, v.ID, nameOf(run.Type)), VersionNumber: v.Number, Events: int64(len(events)),
	}, nil
}

// replay runs a history, or the beginning of one, against a version's code.
func (s *Service) replay(ctx context.Context, run store.Run, v store.Version, events []*historypb.HistoryEvent) (agentenv.Replay, error) {
	if _, tool := agentenv.ToolOfWorkflow(run.Type); tool {
		return replayTool(run, events), nil
	}
	raw, err := proto.Marshal(&historypb.History{Events: events})
	if err != nil {
		return agentenv.Replay{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	answers, err := s.deps.Versions.Replay(ctx, v, []agentenv.History{{WorkflowID: run.WorkflowID, RunID: run.RunID, Type: run.Type, Events: raw}})
	switch {
	case len(answers) > 0:
		return answers[0], nil
	case err != nil:
		return agentenv.Replay{}, late(ctx, err, "the replay")
	}
	// An app without workflow classes has nothing to answer with.
	return agentenv.Replay{
		WorkflowID: run.WorkflowID, RunID: run.RunID, Verdict: agentenv.VerdictMissing,
		Message: fmt.Sprintf("this version has no workflow %s", run.Type),
	}, nil
}

// quiet keeps the SDK from writing what the answer says.
var quiet = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))

// replayTool replays a run of a tool, whose workflow is this program's own: the same
// for every version.
func replayTool(run store.Run, events []*historypb.HistoryEvent) agentenv.Replay {
	began := time.Now()
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterDynamicWorkflow(flow.RunTool, workflow.DynamicRegisterOptions{})
	answer := agentenv.Replay{WorkflowID: run.WorkflowID, RunID: run.RunID, Verdict: agentenv.VerdictOK}
	if err := replayer.ReplayWorkflowHistory(quiet, &historypb.History{Events: events}); err != nil {
		answer.Verdict, answer.Message = agentenv.VerdictFailed, err.Error()
		if isDifferent(err) {
			answer.Verdict = agentenv.VerdictDifferent
		}
	}
	answer.MS = time.Since(began).Milliseconds()
	return answer
}

// isDifferent reads the SDK's error, which has no type for it: rule TMPRL1100.
func isDifferent(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "TMPRL1100") || strings.Contains(err.Error(), "nondeterministic"))
}

func nameOf(workflowType string) string {
	if tool, ok := agentenv.ToolOfWorkflow(workflowType); ok {
		return tool
	}
	return workflowType
}

// summary says in a sentence what a deploy found.
func summary(kept store.Replays) string {
	switch broken := kept.Broken(); {
	case kept.At.IsZero():
		return "no past run was replayed: there was none, or the app has no workflows, or deploy.replay is off"
	case broken > 0:
		return fmt.Sprintf("%d of %d past runs would go another way on this version; runs that were open stay with the version they began on, "+
			"but none of these can be reset or forked to this one", broken, len(kept.Runs))
	case kept.Unanswered > 0:
		return fmt.Sprintf("%d past runs replay well on this version; %d more were not done in time (deploy.replay_within)", len(kept.Runs), kept.Unanswered)
	}
	return fmt.Sprintf("%d past runs replay well on this version", len(kept.Runs))
}

var errDifferent = errors.New("the code asks for other steps than the history has")

// agree fails with fault.Conflict when a version's code does not ask for what it is to
// take over.
func (s *Service) agree(ctx context.Context, run store.Run, v store.Version, kept []*historypb.HistoryEvent) error {
	r, err := s.replay(ctx, run, v, kept)
	if err != nil {
		return err
	}
	switch r.Verdict {
	case agentenv.VerdictDifferent:
		why := r.Message
		if r.Expected != "" {
			why = fmt.Sprintf("event %d is %q, the code asks for %q", r.EventID, r.Expected, r.Got)
		}
		return fault.Conflict.Wrap(errDifferent, "version %d asks for other steps than this run took up to there (%s): fork from an earlier step, or to another version", v.Number, why)
	case agentenv.VerdictFailed:
		return fault.Conflict.Errorf("the steps up to there could not be replayed on version %d, and a fork would hang: %s", v.Number, r.Message)
	case agentenv.VerdictMissing:
		return fault.Invalid.Errorf("version %d has no workflow %s", v.Number, run.Type)
	case agentenv.VerdictOK:
	}
	return nil
}

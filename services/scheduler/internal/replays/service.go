// Package replays looks at runs of the past: whether a version's code would do the same
// again, how two runs differ, and it starts runs that go on from the middle of another.
//
// It runs no code of agents itself, and what it starts is a run like any other.
package replays

import (
	"context"
	"errors"
	"log/slog"
	"time"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/histories"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// longest bounds a call; the command line waits for a minute.
const longest = 50 * time.Second

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	// Runs finds where a run belongs, without a target in the caller's organisation. It
	// fails with fault.NotFound.
	Runs interface {
		Locate(ctx context.Context, targetID, workflowID, runID string) (store.Run, error)
	}
	// Versions runs the code of versions.
	Versions interface {
		// Replay runs histories against a version's code.
		Replay(ctx context.Context, v store.Version, histories []agentenv.History) ([]agentenv.Replay, error)
		// Hold calls use while a role of the version runs.
		Hold(ctx context.Context, v store.Version, role agentenv.Role, use func(context.Context) error) error
	}
	// Namespaces gives Temporal clients.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
	}
	// Payloads puts back what is kept outside of histories.
	Payloads histories.Passage
	// Record writes down that runs began and ended.
	Record interface {
		Started(ctx context.Context, run store.Run) error
		Closed(ctx context.Context, run store.Run, outcome string, at time.Time) error
	}
	// Tools polls for runs of tools in an organisation's namespace from now on.
	Tools   interface{ Ensure(orgID string) }
	Log     *slog.Logger
	Now     func() time.Time
	NewUUID func() string
}

// Service answers for replays.
type Service struct {
	schedulerv1.UnimplementedReplaysServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// find looks for a run that the caller may see, of a target or of whichever it belongs to.
func (s *Service) find(ctx context.Context, targetID, runID string) (store.Run, error) {
	if runID == "" {
		return store.Run{}, fault.Invalid.Errorf("name the run by run_id")
	}
	if targetID == "" {
		known, err := s.deps.Store.Run(ctx, runID)
		if fault.NotFound.Is(err) {
			return s.deps.Runs.Locate(ctx, "", "", runID)
		}
		if err != nil {
			return store.Run{}, err
		}
		targetID = known.TargetID
	}
	t, err := s.deps.Store.VisibleTarget(ctx, targetID)
	if err != nil {
		return store.Run{}, noRunOr(err)
	}
	return s.deps.Runs.Locate(ctx, t.ID, "", runID)
}

func noRunOr(err error) error {
	if fault.NotFound.Is(err) {
		return fault.NotFound.Wrap(err, "no such run")
	}
	return err
}

// version finds the version that was asked for, or the one that the run is on.
func (s *Service) version(ctx context.Context, run store.Run, name string) (store.Version, error) {
	if name == "" {
		name = run.VersionID
	}
	if name == "" {
		return store.Version{}, fault.Invalid.Errorf("it is not known on which version this run is; say a version")
	}
	v, err := s.deps.Store.VersionNamed(ctx, run.TargetID, name)
	if fault.NotFound.Is(err) && name == run.VersionID {
		return v, fault.NotFound.Wrap(err, "the version of this run is not known any more; say another version")
	}
	return v, err
}

// history reads the whole history of a run.
func (s *Service) history(ctx context.Context, run store.Run) ([]*historypb.HistoryEvent, error) {
	c, err := s.deps.Namespaces.Client(ctx, run.OrgID)
	if err != nil {
		return nil, away(err)
	}
	h, err := histories.Read(ctx, c, s.deps.Payloads, histories.Of{OrgID: run.OrgID, WorkflowID: run.WorkflowID, RunID: run.RunID})
	return h.GetEvents(), err
}

func away(err error) error { return namespaces.Fault(err, "Temporal does not answer") }

// DiffRuns lays the steps of two runs side by side.
func (s *Service) DiffRuns(ctx context.Context, req *schedulerv1.DiffRunsRequest) (*schedulerv1.DiffRunsResponse, error) {
	left, err := s.find(ctx, req.GetTargetId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	right, err := s.find(ctx, "", req.GetOtherRunId())
	if err != nil {
		return nil, err
	}
	one, err := s.history(ctx, left)
	if err != nil {
		return nil, err
	}
	other, err := s.history(ctx, right)
	if err != nil {
		return nil, err
	}
	answer := compare(stepsOf(one), stepsOf(other))
	answer.LeftVersionId, answer.RightVersionId = left.VersionID, right.VersionID
	return answer, nil
}

// late says in words that patience is over.
func late(ctx context.Context, err error, what string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Deadline.Wrap(err, "%s did not end within %s", what, longest)
	}
	return err
}

var verdicts = map[agentenv.Verdict]schedulerv1.ReplayVerdict{
	agentenv.VerdictOK:        schedulerv1.ReplayVerdict_REPLAY_VERDICT_DETERMINISTIC,
	agentenv.VerdictDifferent: schedulerv1.ReplayVerdict_REPLAY_VERDICT_NON_DETERMINISTIC,
	agentenv.VerdictFailed:    schedulerv1.ReplayVerdict_REPLAY_VERDICT_FAILED,
	agentenv.VerdictMissing:   schedulerv1.ReplayVerdict_REPLAY_VERDICT_MISSING,
}

func toProto(r agentenv.Replay, versionID, name string) *schedulerv1.Replay {
	return &schedulerv1.Replay{
		RunId: r.RunID, WorkflowId: r.WorkflowID, Name: name, VersionId: versionID, Verdict: verdicts[r.Verdict],
		EventId: r.EventID, Expected: r.Expected, Got: r.Got, Message: r.Message, Detail: r.Detail,
		Took: durationpb.New(time.Duration(r.MS) * time.Millisecond),
	}
}

// GetDeployReplays tells what a deploy found when it replayed past runs on its version.
func (s *Service) GetDeployReplays(ctx context.Context, req *schedulerv1.GetDeployReplaysRequest) (*schedulerv1.GetDeployReplaysResponse, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	name := req.GetVersion()
	if name == "" {
		name = t.Live
	}
	if name == "" {
		return nil, fault.NotFound.Errorf("this app has no live version; name a version")
	}
	v, err := s.deps.Store.VersionNamed(ctx, t.ID, name)
	if err != nil {
		return nil, err
	}
	kept, err := s.deps.Store.Replays(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	answer := &schedulerv1.GetDeployReplaysResponse{VersionId: v.ID, VersionNumber: v.Number, Policy: kept.Policy, Summary: summary(kept)}
	if !kept.At.IsZero() {
		answer.Time = timestamppb.New(kept.At)
	}
	for _, r := range kept.Runs {
		answer.Replays = append(answer.Replays, toProto(r, v.ID, ""))
	}
	return answer, nil
}

package deployments

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// AwaitReplays waits for the worker to replay what it was given, and records what it
// found.
func (s *steps) AwaitReplays(ctx context.Context, in flow.Version) (*flow.Failure, error) {
	defer s.begin(ctx, in, "replay past runs")()
	if failure, err := s.stillUp(ctx, in); failure != nil || err != nil {
		return failure, err
	}
	worker := s.replays(ctx, in)
	v, err := s.wanted(ctx, in.VersionID)
	found := store.Replays{At: s.now(), Policy: s.replayPolicy(v), Runs: brief(worker.Replays), Unanswered: worker.Replaying}
	if err == nil {
		err = s.store.Tx(ctx, func(tx *sqldb.Tx) error { return s.recordReplays(ctx, tx, v, found) })
	}
	if err != nil {
		return s.verdict(ctx, in, "replay past runs", err)
	}
	if found.Policy == ReplayRefuse && found.Broken() > 0 {
		return refusal(found), nil
	}
	return nil, nil
}

// replays returns the worker when it has answered all, or when patience is over.
func (s *steps) replays(ctx context.Context, in flow.Version) Process {
	ctx, cancel := context.WithTimeout(ctx, s.options.Replays.Within)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		look, known := s.runtime.Look(in.TargetID, in.VersionID)
		if !known || look.Worker.Replaying == 0 {
			return look.Worker
		}
		select {
		case <-ctx.Done():
			return look.Worker
		case <-ticker.C:
		}
	}
}

func (s *steps) recordReplays(ctx context.Context, tx *sqldb.Tx, v store.Version, found store.Replays) error {
	if err := s.store.SetReplays(ctx, tx, v.ID, found); err != nil {
		return err
	}
	return bus.Put(ctx, tx, &schedulerv1.VersionReplayed{
		TargetId: v.TargetID, AppId: v.AppID, VersionId: v.ID, Time: timestamppb.New(found.At),
		Runs: int64(len(found.Runs)), Broken: int64(found.Broken()), Policy: found.Policy,
	})
}

// brief leaves tracebacks out, which the app's log has.
func brief(all []agentenv.Replay) []agentenv.Replay {
	for i := range all {
		all[i].Detail = ""
	}
	return all
}

// refusal says which runs would go another way, a line each.
func refusal(found store.Replays) *flow.Failure {
	var lines []string
	for _, r := range found.Runs {
		if r.Verdict == agentenv.VerdictDifferent {
			lines = append(lines, fmt.Sprintf("%s (%s): %s", r.WorkflowID, r.RunID, Difference(r)))
		}
	}
	return &flow.Failure{
		Reason: fmt.Sprintf("the new code asks for other steps than %d of %d past runs have in their histories, and that is refused here (deploy.replay of agentcloud.yaml, else of the scheduler). "+
			"Keep the order of steps, or guard the change with workflow.patched().", found.Broken(), len(found.Runs)),
		Detail: strings.Join(lines, "\n"),
	}
}

// Difference is what a replay found, in words.
func Difference(r agentenv.Replay) string {
	if r.Expected == "" {
		return r.Message
	}
	return fmt.Sprintf("event %d of the history is %q, the code asks for %q", r.EventID, r.Expected, r.Got)
}

// mostReplays is how many processes replay at once; each takes a processor for seconds.
const mostReplays = 2

// Replay runs histories against a version's code in a process of its own, whatever the
// state of the version. It fails with fault.Conflict when the code is not there any
// more or does not load.
func (s *Service) Replay(ctx context.Context, v store.Version, histories []agentenv.History) ([]agentenv.Replay, error) {
	if v.Capture.MCPURL != "" {
		return nil, fault.Conflict.Errorf("version %d runs elsewhere; its code is not here to be replayed", v.Number)
	}
	select {
	case s.replaying <- struct{}{}:
		defer func() { <-s.replaying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	launch, err := s.steps.load(ctx, v)
	var build failedBuild
	switch {
	case errors.As(err, &build):
		return nil, fault.Conflict.Errorf("version %d cannot be built any more: %s", v.Number, build.failure.GetReason())
	case fault.NotFound.Is(err):
		return nil, fault.Conflict.Wrap(err, "the files of version %d are not kept any more (scheduler: deploy.keep_versions)", v.Number)
	case err != nil:
		return nil, err
	}
	launch.Document.Histories = histories
	return s.deps.Runtime.Replay(ctx, launch)
}

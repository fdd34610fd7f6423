package deployments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// endPage and endPages bound how many runs one try of a removal ends.
	endPage  = 200
	endPages = 100
	removed  = "the app was deleted"
)

// recorder writes down that runs ended.
type recorder interface {
	Ended(ctx context.Context, run store.Run, outcome string) error
}

// CountOpen counts the open runs that need the version. Such a count costs one query
// however many there are.
func (s *steps) CountOpen(ctx context.Context, in flow.Version) (flow.OpenRuns, error) {
	defer beat(ctx)()
	return s.countOpen(ctx, in)
}

func (s *steps) countOpen(ctx context.Context, in flow.Version) (flow.OpenRuns, error) {
	var open flow.OpenRuns
	c, err := s.clients.Client(ctx, in.OrgID)
	if err != nil {
		return open, errors.New(fault.Message(err))
	}
	const isOpen = ` AND ExecutionStatus IN ('Running', 'Paused')`
	if open.Classes, err = count(ctx, c, fmt.Sprintf(`TemporalWorkerDeploymentVersion = '%s:%s'`, in.TargetID, in.VersionID)+isOpen); err != nil {
		return open, err
	}
	open.Tools, err = count(ctx, c, fmt.Sprintf(`%s = '%s'`, flow.VersionAttribute, in.VersionID)+isOpen)
	return open, err
}

func count(ctx context.Context, c client.Client, query string) (int64, error) {
	answer, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	if err != nil {
		return 0, fmt.Errorf("count open runs: %w", err)
	}
	return answer.GetCount(), nil
}

// StopRole drains and ends the version's processes of one role.
func (s *steps) StopRole(ctx context.Context, in flow.Version, role agentenv.Role) error {
	defer beat(ctx)()
	defer s.starting.Take(in.VersionID)()
	if unwanted, err := s.store.Unwanted(ctx, in.VersionID); err != nil || !unwanted {
		return err // it was promoted meanwhile
	}
	if err := s.runtime.Stop(ctx, in.TargetID, in.VersionID, role); err != nil {
		s.log.WarnContext(ctx, "an old version was not drained", "target", in.TargetID, "version", in.VersionID, "role", role, "error", err)
		return errors.New("the old version was not drained")
	}
	return nil
}

// FinishRetire removes what is left of the version.
func (s *steps) FinishRetire(ctx context.Context, in flow.Version) error {
	defer beat(ctx)()
	// Recorded first: whoever starts versions looks there.
	if err := s.store.Retire(ctx, in.VersionID, s.now()); err != nil {
		return errors.New("the end of the old version was not recorded")
	}
	v, err := s.store.Version(ctx, in.VersionID)
	if err == nil && v.State != store.Gone {
		return nil // it was promoted meanwhile
	}
	if err := s.end(ctx, store.Version{ID: in.VersionID, TargetID: in.TargetID}); err != nil {
		return errors.New("the old version was not stopped")
	}
	s.failpoints.Hit(failpoint.OldDrained)
	return nil
}

// WarmFor says how long the version stays up although nobody needs it.
func (s *steps) WarmFor(ctx context.Context, in flow.Version) (time.Duration, error) {
	defer beat(ctx)()
	left, err := s.store.Warm(ctx, in.VersionID, s.now())
	if err != nil {
		return 0, errors.New("the version was not found in the store")
	}
	return left, nil
}

// EndDeploys terminates the workflows that could start something for the target.
func (s *steps) EndDeploys(ctx context.Context, in flow.Target) error {
	defer beat(ctx)()
	c, err := s.clients.System(ctx)
	if err != nil {
		return errors.New(fault.Message(err))
	}
	ids := []string{flow.DeployID(in.TargetID)}
	versions, err := s.store.VersionsOf(ctx, in.TargetID)
	if err != nil {
		return errors.New("the versions of the app were not found in the store")
	}
	for _, v := range versions {
		ids = append(ids, flow.RetireID(in.TargetID, v.ID))
	}
	for _, id := range ids {
		if err := c.TerminateWorkflow(ctx, id, "", removed); err != nil && !notFound(err) {
			return err
		}
	}
	return nil
}

// EndRuns ends the target's open runs. They are terminated, since the workers that
// could answer a cancellation go, too.
func (s *steps) EndRuns(ctx context.Context, in flow.Target) error {
	defer beat(ctx)()
	c, err := s.clients.Client(ctx, in.OrgID)
	if err != nil {
		return errors.New(fault.Message(err))
	}
	query := fmt.Sprintf(`%s = '%s' AND ExecutionStatus IN ('Running', 'Paused')`, flow.TargetAttribute, in.TargetID)
	var token []byte
	for range endPages {
		page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: endPage, Query: query, NextPageToken: token})
		if err != nil {
			return fmt.Errorf("list open runs: %w", err)
		}
		for _, run := range page.GetExecutions() {
			e := run.GetExecution()
			if err := c.TerminateWorkflow(ctx, e.GetWorkflowId(), e.GetRunId(), removed); err != nil && !notFound(err) {
				return err
			}
			ended := store.Run{RunID: e.GetRunId(), WorkflowID: e.GetWorkflowId(), TargetID: in.TargetID, OrgID: in.OrgID}
			if err := s.record.Ended(ctx, ended, runs.Terminated); err != nil {
				return errors.New("the end of a run was not recorded")
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return nil
		}
	}
	return errors.New("the app has very many open runs; ending more of them")
}

// StopAgents ends every process of the target.
func (s *steps) StopAgents(ctx context.Context, in flow.Target) error {
	defer beat(ctx)()
	versions, err := s.store.VersionsOf(ctx, in.TargetID)
	if err != nil {
		return errors.New("the versions of the app were not found in the store")
	}
	for _, v := range versions {
		if err := s.end(ctx, v); err != nil {
			s.log.WarnContext(ctx, "a removed version was not stopped", "target", in.TargetID, "version", v.ID, "error", err)
			return errors.New("a version was not stopped")
		}
	}
	return nil
}

// Forget deletes the target's rows and its endpoint.
func (s *steps) Forget(ctx context.Context, in flow.Target) error {
	defer beat(ctx)()
	if err := s.store.DeleteTarget(ctx, in.TargetID); err != nil {
		return errors.New("the app was not forgotten")
	}
	s.table.Delete(in.TargetID)
	return nil
}

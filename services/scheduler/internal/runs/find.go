package runs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// found is a run that belongs to the target it was asked for.
type found struct {
	client      client.Client
	target      store.Target
	workflowID  string
	runID       string
	description *workflowservice.DescribeWorkflowExecutionResponse
}

var errNoRun = fault.NotFound.Errorf("no such run")

// find looks for a run by run id, workflow id (its latest run) or both, of a target or,
// without one, of the caller's organisation. It fails with fault.NotFound, also for a
// run of another target.
func (s *Service) find(ctx context.Context, targetID, workflowID, runID string) (found, error) {
	t, err := s.owner(ctx, targetID, workflowID, runID)
	if err != nil {
		return found{}, err
	}
	c, err := s.client(ctx, t)
	if err != nil {
		return found{}, err
	}
	if workflowID == "" {
		if workflowID, err = s.workflowOf(ctx, c, t, runID); err != nil {
			return found{}, err
		}
	}
	description, err := c.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return found{}, noRunOr(err)
	}
	if targetOf(description) != t.ID {
		return found{}, errNoRun
	}
	runID = description.GetWorkflowExecutionInfo().GetExecution().GetRunId()
	return found{client: c, target: t, workflowID: workflowID, runID: runID, description: description}, nil
}

// workflowOf finds the workflow id of a run, in the index or by visibility.
func (s *Service) workflowOf(ctx context.Context, c client.Client, t store.Target, runID string) (string, error) {
	known, err := s.deps.Store.Run(ctx, runID)
	if err == nil && known.TargetID == t.ID {
		return known.WorkflowID, nil
	}
	if err != nil && !fault.NotFound.Is(err) {
		return "", err
	}
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: 1, Query: fmt.Sprintf("%s AND RunId = %s", ofTarget(t.ID), quote(runID)),
	})
	if err != nil {
		return "", away(err)
	}
	if len(page.GetExecutions()) == 0 {
		return "", errNoRun
	}
	return page.GetExecutions()[0].GetExecution().GetWorkflowId(), nil
}

// ofTarget is the visibility query for the runs of a target.
func ofTarget(targetID string) string { return flow.TargetAttribute + " = " + quote(targetID) }

// quote makes a string of Temporal's query language.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func noRunOr(err error) error {
	if namespaces.IsNotFound(err) {
		return errNoRun
	}
	return away(err)
}

// missing says whether a run is not there or not open any more.
func missing(err error) bool {
	return namespaces.IsNotFound(err) || errors.Is(err, errNoRun)
}

// Locate says where a run belongs and who started it, for others that know it by its
// run id, its workflow id or both. It fails with fault.NotFound.
func (s *Service) Locate(ctx context.Context, targetID, workflowID, runID string) (store.Run, error) {
	known, err := s.deps.Store.Run(ctx, runID)
	if err == nil && known.TargetID == targetID {
		return known, nil
	}
	if err != nil && !fault.NotFound.Is(err) {
		return store.Run{}, err
	}
	f, err := s.find(ctx, targetID, workflowID, runID)
	if err != nil {
		return store.Run{}, err
	}
	info := f.description.GetWorkflowExecutionInfo()
	return store.Run{
		RunID: f.runID, WorkflowID: f.workflowID, TargetID: f.target.ID, OrgID: f.target.OrgID,
		VersionID: versionOf(info), Type: info.GetType().GetName(), UserID: startedBy(info),
		StartedAt: info.GetStartTime().AsTime(),
	}, nil
}

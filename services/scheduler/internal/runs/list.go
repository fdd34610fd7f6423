package runs

import (
	"context"
	"fmt"
	"strings"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	usualPage = 100
	mostRuns  = 1000
	// atOnce bounds the histories that are read for one list at the same time.
	atOnce = 8
	// maxResults bounds the results in one answer, bytes; runs beyond it are listed
	// without, and GetRun tells them.
	maxResults = 2 << 20
)

var queryStatus = map[schedulerv1.RunStatus]string{
	schedulerv1.RunStatus_RUN_STATUS_RUNNING:    "Running",
	schedulerv1.RunStatus_RUN_STATUS_COMPLETED:  "Completed",
	schedulerv1.RunStatus_RUN_STATUS_FAILED:     "Failed",
	schedulerv1.RunStatus_RUN_STATUS_CANCELED:   "Canceled",
	schedulerv1.RunStatus_RUN_STATUS_TERMINATED: "Terminated",
	schedulerv1.RunStatus_RUN_STATUS_TIMED_OUT:  "TimedOut",
	schedulerv1.RunStatus_RUN_STATUS_PAUSED:     "Paused",
}

// ListRuns lists the runs of a target, newest first.
func (s *Service) ListRuns(ctx context.Context, req *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	token, err := page.Decode(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	query, err := listQuery(req)
	if err != nil {
		return nil, err
	}
	c, err := s.client(ctx, t)
	if err != nil {
		return nil, err
	}
	listed, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(page.Size(int(req.GetPageSize()), usualPage, mostRuns)), NextPageToken: []byte(token), Query: query,
	})
	if err != nil {
		return nil, away(err)
	}
	answer := &schedulerv1.ListRunsResponse{NextPageToken: page.Encode(string(listed.GetNextPageToken()))}
	for _, info := range listed.GetExecutions() {
		answer.Runs = append(answer.Runs, fromInfo(info))
	}
	if err := addEnds(ctx, c, answer.GetRuns()); err != nil {
		return nil, err
	}
	trim(answer.GetRuns())
	return answer, nil
}

func listQuery(req *schedulerv1.ListRunsRequest) (string, error) {
	query := []string{ofTarget(req.GetTargetId())}
	if req.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_UNSPECIFIED {
		status, ok := queryStatus[req.GetStatus()]
		if !ok {
			return "", fault.Invalid.Errorf("there is no run status %d", req.GetStatus())
		}
		query = append(query, "ExecutionStatus = "+quote(status))
	}
	if name := req.GetName(); name != "" {
		query = append(query, fmt.Sprintf("WorkflowType IN (%s, %s)", quote(name), quote(agentenv.ToolWorkflow(name))))
	}
	return strings.Join(query, " AND "), nil
}

// addEnds adds the results of the closed runs.
func addEnds(ctx context.Context, c client.Client, runs []*schedulerv1.Run) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, run := range runs {
		if run.GetCloseTime() == nil {
			continue
		}
		group.Go(func() error {
			if err := addEnd(ctx, c, run); err != nil && !missing(err) && !fault.NotFound.Is(err) {
				return err
			}
			return nil // a run that retention took in between has no result any more
		})
	}
	return group.Wait()
}

// trim takes away the results that would make the answer too big.
func trim(runs []*schedulerv1.Run) {
	size := 0
	for _, run := range runs {
		if size += len(run.GetResultJson()) + len(run.GetErrorDetail()); size > maxResults {
			run.ResultJson, run.ErrorDetail = "", ""
		}
	}
}

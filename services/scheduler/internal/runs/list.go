package runs

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

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

// ListRuns lists the runs of a target or of the organisation, newest first.
func (s *Service) ListRuns(ctx context.Context, req *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
	token, err := page.Decode(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	sc, query, err := s.search(ctx, filterOf(req))
	if err != nil || sc.client == nil {
		return &schedulerv1.ListRunsResponse{}, err
	}
	listed, err := sc.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(page.Size(int(req.GetPageSize()), usualPage, mostRuns)), NextPageToken: []byte(token), Query: query,
	})
	if err != nil {
		return nil, away(err)
	}
	answer := &schedulerv1.ListRunsResponse{NextPageToken: page.Encode(string(listed.GetNextPageToken()))}
	for _, info := range listed.GetExecutions() {
		answer.Runs = append(answer.Runs, fromInfo(info))
	}
	if req.GetWithoutResults() {
		return answer, nil
	}
	if err := addEnds(ctx, sc.client, answer.GetRuns()); err != nil {
		return nil, err
	}
	trim(answer.GetRuns())
	return answer, nil
}

func filterOf(req *schedulerv1.ListRunsRequest) *schedulerv1.RunFilter {
	return &schedulerv1.RunFilter{
		TargetId: req.GetTargetId(), Name: req.GetName(), VersionId: req.GetVersionId(), Status: req.GetStatus(), StartedBy: req.GetStartedBy(),
		Labels: req.GetLabels(), StartedAfter: req.GetStartedAfter(), StartedBefore: req.GetStartedBefore(),
		ClosedAfter: req.GetClosedAfter(), ClosedBefore: req.GetClosedBefore(), Query: req.GetQuery(),
	}
}

// search says where to look for the runs of a filter, and with which query.
func (s *Service) search(ctx context.Context, f *schedulerv1.RunFilter) (scope, string, error) {
	sc, err := s.scope(ctx, f.GetTargetId())
	if err != nil {
		return sc, "", err
	}
	conditions, err := s.conditions(ctx, f)
	return sc, queryOf(sc, conditions), err
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

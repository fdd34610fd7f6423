package runs

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// CountRuns counts runs, altogether and by status.
func (o *Operations) CountRuns(ctx context.Context, req *schedulerv1.CountRunsRequest) (*schedulerv1.CountRunsResponse, error) {
	sc, query, err := o.search(ctx, req.GetFilter())
	if err != nil || sc.client == nil {
		return &schedulerv1.CountRunsResponse{}, err
	}
	counted, err := sc.client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query + " GROUP BY ExecutionStatus"})
	if err != nil {
		return nil, away(err)
	}
	answer := &schedulerv1.CountRunsResponse{Count: counted.GetCount()}
	sums := map[schedulerv1.RunStatus]int64{}
	for _, group := range counted.GetGroups() {
		if len(group.GetGroupValues()) == 1 {
			sums[statusOfWord(text(group.GetGroupValues()[0]))] += group.GetCount()
		}
	}
	for status := schedulerv1.RunStatus_RUN_STATUS_RUNNING; status <= schedulerv1.RunStatus_RUN_STATUS_PAUSED; status++ {
		if sums[status] > 0 {
			answer.Statuses = append(answer.Statuses, &schedulerv1.StatusCount{Status: status, Count: sums[status]})
		}
	}
	return answer, nil
}

// statusOfWord reads a status as visibility writes it. What was continued under another
// run id counts as running, as everywhere.
func statusOfWord(word string) schedulerv1.RunStatus {
	for status, name := range queryStatus {
		if name == word {
			return status
		}
	}
	return schedulerv1.RunStatus_RUN_STATUS_RUNNING
}

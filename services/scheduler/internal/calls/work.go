package calls

import (
	"context"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/poller"
)

// Run polls for calls that wait, whenever Temporal is there, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	poller.Job{
		Name: "calls that wait", Client: s.deps.Namespaces.System, Queue: flow.CallsQueue, Log: s.deps.Log,
		Options: func(context.Context) (worker.Options, error) {
			return worker.Options{LocalActivityWorkerOnly: true, MaxConcurrentWorkflowTaskPollers: 2}, nil
		},
		Register: func(w worker.Registry) {
			w.RegisterWorkflowWithOptions(flow.BridgeCall, workflow.RegisterOptions{Name: flow.CallWorkflow})
		},
	}.Run(ctx)
	return nil
}

package deployments

import (
	"context"
	"errors"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Remove ends everything of a target and answers when that is done.
func (s *Service) Remove(ctx context.Context, req *schedulerv1.RemoveRequest) (*schedulerv1.RemoveResponse, error) {
	t, err := s.deps.Store.Target(ctx, req.GetTargetId())
	if fault.NotFound.Is(err) {
		return &schedulerv1.RemoveResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.remove(ctx, t); err != nil {
		return nil, err
	}
	return &schedulerv1.RemoveResponse{}, nil
}

// remove is durable from the first mark on: reconcile takes up what ends here.
func (s *Service) remove(ctx context.Context, t store.Target) error {
	if _, err := s.deps.Store.MarkRemoving(ctx, t.ID); err != nil {
		return err
	}
	s.deps.Table.Delete(t.ID) // nobody should be led there while it goes
	run, err := s.startRemove(ctx, t)
	if err != nil {
		return err
	}
	if err := run.Get(ctx, nil); err != nil {
		return namespaces.Fault(err, "the app is being removed, which takes longer than usual")
	}
	return nil
}

func (s *Service) startRemove(ctx context.Context, t store.Target) (client.WorkflowRun, error) {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return nil, err
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: flow.RemoveID(t.ID), TaskQueue: flow.SystemQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}, flow.RemoveWorkflow, flow.Target{TargetID: t.ID, OrgID: t.OrgID})
	return run, namespaces.Fault(err, "Temporal does not answer")
}

// Handle takes the registry's news of what is gone: the second way to Remove, for when
// the call was lost.
func (s *Service) Handle(ctx context.Context, event proto.Message) error {
	switch e := event.(type) {
	case *registryv1.AppDeleted:
		targets, err := s.deps.Store.TargetsOfApp(ctx, e.GetAppId())
		for _, t := range targets {
			err = errors.Join(err, s.remove(ctx, t))
		}
		return err
	case *registryv1.ConfigurationDeleted:
		_, err := s.Remove(ctx, &schedulerv1.RemoveRequest{TargetId: e.GetAppConfigurationId()})
		return err
	}
	return nil
}

func isTerminated(err error) bool {
	var terminated *temporal.TerminatedError
	return errors.As(err, &terminated)
}

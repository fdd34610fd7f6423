package deployments

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

// unregistered is how long after a look Temporal is asked again that does not know the
// version yet: it learns of it some tenths of a second after the worker's first poll.
const unregistered = 30 * time.Millisecond

// roundTrip has the version's worker take a run of the cloud's own, which ends with what a
// signal brings it. Nothing of it is on record, and only this version's worker gets it.
func (s *steps) roundTrip(ctx context.Context, in flow.Version, w Process) (*flow.Failure, error) {
	if !w.Report.RoundTrip {
		return nil, nil
	}
	defer func(began time.Time) { s.took(ctx, in, "round trip", began) }(time.Now())
	up, stop := s.whileUp(ctx, in, agentenv.RoleWorker)
	defer stop()
	said := s.newID()
	answer, err := s.roundTripOf(up, in, said)
	if err == nil && answer == said {
		return nil, nil
	}
	s.log.WarnContext(ctx, "the round trip by a worker did not work", "target", in.TargetID, "version", in.VersionID, "error", err)
	why := fmt.Sprintf("did not end within %s", s.health)
	var broken *temporal.WorkflowExecutionError
	switch {
	case errors.As(err, &broken):
		why = "failed: " + errors.Unwrap(broken).Error()
	case err != nil && up.Err() == nil: // Temporal's own affair, which may pass
		return nil, errors.New(fault.Message(namespaces.Fault(err, "Temporal does not answer")))
	case err == nil:
		why = "ended with something that the signal did not say"
	}
	return s.failed(in, agentenv.RoleWorker, flow.Failure{Reason: "the app's worker polls, but a run that waits for a signal " + why, Step: stepRoundTrip}), nil
}

// roundTripOf starts the run, sends it what is to be said, and waits for its end.
func (s *steps) roundTripOf(ctx context.Context, in flow.Version, say string) (answer string, err error) {
	c, err := s.clients.Client(ctx, in.OrgID)
	if err != nil {
		return "", err
	}
	run, err := s.startRoundTrip(ctx, c, in)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil { // else it would count as a run that the version must stay up for
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
			defer cancel()
			_ = c.TerminateWorkflow(late, run.GetID(), run.GetRunID(), "it did not end in time") // it ends by itself, but later
		}
	}()
	if err := c.SignalWorkflow(ctx, run.GetID(), run.GetRunID(), agentenv.RoundTripSignal, say); err != nil {
		return "", err
	}
	return answer, run.Get(ctx, &answer)
}

// startRoundTrip starts the run as soon as Temporal knows the version.
func (s *steps) startRoundTrip(ctx context.Context, c client.Client, in flow.Version) (client.WorkflowRun, error) {
	options := client.StartWorkflowOptions{
		ID: flow.RoundTripID(in.VersionID), TaskQueue: agentenv.TaskQueue(in.TargetID),
		WorkflowExecutionTimeout: s.health, WorkflowTaskTimeout: beatEvery,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING,
		VersioningOverride:       &client.PinnedVersioningOverride{Version: worker.WorkerDeploymentVersion{DeploymentName: in.TargetID, BuildID: in.VersionID}},
	}
	for {
		run, err := c.ExecuteWorkflow(ctx, options, agentenv.RoundTripWorkflow)
		var unknown *serviceerror.FailedPrecondition
		if !errors.As(err, &unknown) {
			return run, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(unregistered):
		}
	}
}

package deployments

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// longestDeploy bounds one call; the deploy itself goes on.
	longestDeploy = 10 * time.Minute
	// longestQueue is how long a deploy waits for an earlier one of the same app. It ends
	// before the public command line hangs up after 300 s, so that its user is told why.
	longestQueue = 4 * time.Minute
	// longestStart is how long a deploy that was written down may take to start: one that
	// has not by then never will, since its starter died.
	longestStart = 15 * time.Second
	retryAfter   = 500 * time.Millisecond
)

// errUnderWay is that another version of the app is being deployed.
var errUnderWay = errors.New("another deploy is under way")

// Deploy starts the durable deploy of a version, or joins it, and answers at its end.
// It waits for another deploy of the app to end first.
func (s *Service) Deploy(ctx context.Context, req *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	if err := checkDeploy(req); err != nil {
		return nil, err
	}
	return patient(ctx, s, longestQueue, func(ctx context.Context) (*schedulerv1.DeployResponse, error) { return s.attempt(ctx, req) })
}

// patient tries again while Temporal is away: what was begun goes on, or begins when it is
// back. It waits for another deploy of the app for as long as queue.
func patient[A any](ctx context.Context, s *Service, queue time.Duration, try func(context.Context) (*A, error)) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, longestDeploy)
	defer cancel()
	defer s.untilDraining(cancel)()
	queued := time.Now().Add(queue)
	for {
		answer, err := try(ctx)
		again := fault.Unavailable.Is(err) || errors.Is(err, errUnderWay) && time.Now().Before(queued)
		if answer != nil || !again || s.draining() {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, s.late(ctx, err)
		case <-time.After(retryAfter):
		}
	}
}

// untilDraining cancels a call that waits when the process wants to end: whoever made
// it asks again and joins.
func (s *Service) untilDraining(cancel func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-s.deps.Draining:
			cancel()
		case <-done:
		}
	}()
	return func() { close(done) }
}

func (s *Service) draining() bool {
	select {
	case <-s.deps.Draining:
		return true
	default:
		return false
	}
}

// late is what a caller hears whose patience ended before the deploy did.
func (s *Service) late(ctx context.Context, cause error) error {
	if s.draining() {
		return fault.Unavailable.Wrap(cause, "the scheduler is stopping; the deploy goes on, and deploying again joins it")
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fault.Deadline.Wrap(cause, "the deploy has not ended yet; it goes on, and deploying again joins it")
}

// attempt answers for a version that is over, else starts or joins its deploy and
// waits for the end of it.
func (s *Service) attempt(ctx context.Context, req *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	if answer, err := s.outcome(ctx, req); answer != nil || err != nil {
		return answer, err
	}
	run, err := s.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	var result flow.DeployResult
	if err := run.Get(ctx, &result); err != nil {
		return nil, s.broken(ctx, err)
	}
	if answer, err := s.outcome(ctx, req); answer != nil || err != nil {
		return answer, err
	}
	if result.Failure != nil {
		return &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, Error: result.Failure.String()}, nil
	}
	return nil, fault.Conflict.Errorf("the deploy ended without a result; try again")
}

// outcome answers for a version whose deploy is over; nil while it is not.
func (s *Service) outcome(ctx context.Context, req *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	v, err := s.deps.Store.Version(ctx, req.GetVersionId())
	switch {
	case fault.NotFound.Is(err):
		return nil, nil
	case err != nil:
		return nil, err
	case v.TargetID != req.GetTargetId() || v.OrgID != req.GetOrgId():
		return nil, fault.Invalid.Errorf("this version belongs to another app")
	}
	switch v.State {
	case store.Live, store.Draining, store.Gone, store.Ready:
		return deployed(v), nil
	case store.Failed:
		return &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, Error: v.Error, UserParams: v.UserParams}, nil
	}
	return nil, nil
}

// deployed is the answer for a version that came up.
func deployed(v store.Version) *schedulerv1.DeployResponse {
	answer := &schedulerv1.DeployResponse{
		Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE, UserParams: v.UserParams, SwitchNumber: v.Switched, Notices: notices(v),
	}
	if v.Switched == 0 { // it waits, or has waited and was never promoted
		answer.Outcome = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_READY
	}
	return answer
}

// variables are those of the request, or of the app that a configuration is one of.
func (s *Service) variables(ctx context.Context, req *schedulerv1.DeployRequest) (map[string]string, error) {
	if req.GetTargetId() == req.GetAppId() {
		return req.GetVariables(), nil
	}
	app, err := s.deps.Store.Target(ctx, req.GetAppId())
	if fault.NotFound.Is(err) || err == nil && app.Live == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	live, err := s.deps.Store.Version(ctx, app.Live)
	return live.Variables, err
}

// begin makes the version the pending one and starts its deploy, or joins it.
func (s *Service) begin(ctx context.Context, req *schedulerv1.DeployRequest) (client.WorkflowRun, error) {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return nil, err
	}
	v := store.Version{
		ID: req.GetVersionId(), TargetID: req.GetTargetId(), AppID: req.GetAppId(), OrgID: req.GetOrgId(), AppName: req.GetAppName(),
		Number: req.GetNumber(), BundleID: req.GetBundleId(), Params: req.GetParams(),
	}
	if v.Variables, err = s.variables(ctx, req); err != nil {
		return nil, err
	}
	pending, err := s.deps.Store.BeginDeploy(ctx, v, "", s.deps.Now())
	if err != nil && pending != "" {
		if err := s.underWay(ctx, c, v.TargetID, pending); err != nil {
			return nil, err
		}
		pending, err = s.deps.Store.BeginDeploy(ctx, v, pending, s.deps.Now())
		if err != nil && pending != "" { // another one that waited was first
			return nil, s.busy(ctx, pending)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.start(ctx, c, v, flow.DeployWorkflow)
}

// underWay fails with errUnderWay while the deploy of the pending version runs, or may
// be about to.
func (s *Service) underWay(ctx context.Context, c client.Client, targetID, pending string) error {
	d, err := c.DescribeWorkflowExecution(ctx, flow.DeployID(targetID), "")
	if err != nil && !namespaces.IsNotFound(err) {
		return namespaces.Fault(err, "Temporal does not answer")
	}
	if err == nil && d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return s.busy(ctx, pending)
	}
	v, err := s.deps.Store.Version(ctx, pending)
	if err == nil && s.deps.Now().Sub(v.CreatedAt) < longestStart {
		return s.busy(ctx, pending)
	}
	return nil
}

func (s *Service) busy(ctx context.Context, versionID string) error {
	v, err := s.deps.Store.Version(ctx, versionID)
	if err != nil {
		return fault.Conflict.Wrap(errors.Join(errUnderWay, err), "a deploy of this app is under way; try again when it has ended")
	}
	return fault.Conflict.Wrap(errUnderWay, "a deploy of this app (version %d) is under way; try again when it has ended", v.Number)
}

// start starts the deploy or promotion, or joins the one that runs when it is of this
// version.
func (s *Service) start(ctx context.Context, c client.Client, v store.Version, name string) (client.WorkflowRun, error) {
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: flow.DeployID(v.TargetID), TaskQueue: flow.SystemQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		Memo:                     map[string]any{flow.MemoVersion: v.ID},
	}, name, flow.DeployInput{
		Version:  flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID, By: principal.From(ctx).UserID},
		Patience: s.deps.Patience,
	})
	if err != nil {
		return nil, namespaces.Fault(err, "Temporal does not answer")
	}
	d, err := c.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
	if err != nil {
		return nil, namespaces.Fault(err, "Temporal does not answer")
	}
	var started string
	memo := d.GetWorkflowExecutionInfo().GetMemo().GetFields()[flow.MemoVersion]
	if err := converter.GetDefaultDataConverter().FromPayload(memo, &started); err != nil {
		return nil, err
	}
	if started != v.ID {
		return nil, s.busy(ctx, started)
	}
	return run, nil
}

// broken tells why a deploy has no result.
func (s *Service) broken(ctx context.Context, err error) error {
	var gone *serviceerror.NotFound
	switch {
	case ctx.Err() != nil:
		return s.late(ctx, err)
	case isTerminated(err) || errors.As(err, &gone):
		return fault.Conflict.Wrap(err, "the app was deleted while it was being deployed")
	}
	return namespaces.Fault(err, "Temporal does not answer")
}

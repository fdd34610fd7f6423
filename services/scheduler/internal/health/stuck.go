package health

import (
	"context"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	describeWithin = 10 * time.Second
	describeAtOnce = 8
)

// stuck looks at the runs that are suspects, and at those known to be stuck.
func (s *Service) stuck(ctx context.Context, f *findings, kept []store.Condition) error {
	suspects := s.deps.Watch.take(s.deps.Now().Add(-s.deps.Limits.Silence), suspectsPerLook)
	known := map[string]bool{}
	for _, one := range suspects {
		known[one.runID] = true
	}
	for _, c := range kept {
		for _, runID := range c.RunIDs {
			if c.Type != WorkflowStuck || known[runID] {
				continue
			}
			known[runID] = true
			run, err := s.deps.Store.Run(ctx, runID)
			switch {
			case fault.NotFound.Is(err):
				f.runs[runID] = true
			case err != nil:
				return err
			default:
				suspects = append(suspects, suspect{runRef: runRef{run.TargetID, run.OrgID, run.WorkflowID, run.RunID}})
			}
		}
	}
	return s.examineAll(ctx, f, suspects)
}

// examineAll asks Temporal about suspects, a few at once. Those that it cannot tell of
// stay suspects.
func (s *Service) examineAll(ctx context.Context, f *findings, suspects []suspect) error {
	told := make([]*workflowservice.DescribeWorkflowExecutionResponse, len(suspects))
	errs := make([]error, len(suspects))
	var group errgroup.Group
	group.SetLimit(describeAtOnce)
	for i, one := range suspects {
		group.Go(func() error { told[i], errs[i] = s.describe(ctx, one); return nil })
	}
	_ = group.Wait() // the errors are each one's own
	var failed error
	for i, one := range suspects {
		if err := s.conclude(ctx, f, one, told[i], errs[i]); err != nil {
			failed = err
			s.deps.Watch.again(one)
		}
	}
	return failed
}

func (s *Service) describe(ctx context.Context, one suspect) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, describeWithin)
	defer cancel()
	c, err := s.deps.Namespaces.Client(ctx, one.orgID)
	if err != nil {
		return nil, err
	}
	return c.DescribeWorkflowExecution(ctx, one.workflowID, one.runID)
}

// conclude judges one suspect by what Temporal says of it.
func (s *Service) conclude(ctx context.Context, f *findings, one suspect, d *workflowservice.DescribeWorkflowExecutionResponse, err error) error {
	if namespaces.IsNotFound(err) {
		f.runs[one.runID] = true
		s.deps.Watch.forget(one.runID)
		return nil
	}
	if err != nil {
		return err
	}
	status := d.GetWorkflowExecutionInfo().GetStatus()
	if !begun(d) {
		s.deps.Watch.forget(one.runID)
	}
	if status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		f.runs[one.runID] = status != enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
		return nil
	}
	asks, err := s.asks(ctx, one.runID)
	if err != nil {
		return err
	}
	f.runs[one.runID] = false
	now := s.deps.Now()
	found := s.deps.Limits.examine(d, one, asks, now)
	for _, symptom := range found {
		f.add(store.ConditionKey{
			TargetID: one.targetID, Type: WorkflowStuck, Reason: symptom.reason, Subject: d.GetWorkflowExecutionInfo().GetType().GetName(),
		}, one.orgID, symptom.message, one.runID)
	}
	if len(found) > 0 || asks || tried(d) {
		s.deps.Watch.again(one)
	}
	return nil
}

// asks says whether a run waits for a person.
func (s *Service) asks(ctx context.Context, runID string) (bool, error) {
	waits, err := s.deps.Store.Waits(ctx, []string{runID})
	for _, w := range waits {
		if w.Until.IsZero() {
			return true, err
		}
	}
	return false, err
}

type symptom struct{ reason, message string }

// examine says what keeps an open run from getting on. One that asks a person may be
// silent for as long as it takes.
func (l Limits) examine(d *workflowservice.DescribeWorkflowExecutionResponse, one suspect, asks bool, now time.Time) []symptom {
	var found []symptom
	attempt := d.GetPendingWorkflowTask().GetAttempt()
	if attempt > int32(l.Tries) || attempt > 1 && !one.since.IsZero() && now.Sub(one.since) >= l.Patience { //nolint:gosec // a small number
		reason := one.reason
		if reason == "" {
			reason = StepFails
		}
		found = append(found, symptom{reason, stepWords(one, attempt)})
	}
	for _, a := range d.GetPendingActivities() {
		if reason := l.activity(a, asks, now); reason != "" {
			message := activityWords(a.GetActivityType().GetName(), reason, firstLine(a.GetLastFailure().GetMessage()), a.GetAttempt(), now.Sub(alive(a)))
			found = append(found, symptom{reason, message})
		}
	}
	return found
}

// activity is what is wrong with one; empty: nothing.
func (l Limits) activity(a *workflowpb.PendingActivityInfo, asks bool, now time.Time) string {
	switch {
	case a.GetPaused():
		return ""
	case a.GetAttempt() > int32(l.Tries) && a.GetLastFailure().GetTimeoutFailureInfo() != nil: //nolint:gosec // a small number
		return ActivityTimesOut
	case a.GetAttempt() > int32(l.Tries): //nolint:gosec // a small number
		return ActivityFails
	case !asks && a.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED && now.Sub(alive(a)) >= l.Silence:
		return ActivitySilent
	}
	return ""
}

// alive is the last sign of life of an activity.
func alive(a *workflowpb.PendingActivityInfo) time.Time {
	started, beat := a.GetLastStartedTime().AsTime(), a.GetLastHeartbeatTime().AsTime()
	if beat.After(started) {
		return beat
	}
	return started
}

// begun says whether a worker has an activity of the run.
func begun(d *workflowservice.DescribeWorkflowExecutionResponse) bool {
	return slices.ContainsFunc(d.GetPendingActivities(), func(a *workflowpb.PendingActivityInfo) bool {
		return a.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED
	})
}

// tried says whether something of a run is being tried again, so that it stays a suspect.
func tried(d *workflowservice.DescribeWorkflowExecutionResponse) bool {
	return d.GetPendingWorkflowTask().GetAttempt() > 1 ||
		slices.ContainsFunc(d.GetPendingActivities(), func(a *workflowpb.PendingActivityInfo) bool { return a.GetAttempt() > 1 })
}

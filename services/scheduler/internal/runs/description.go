package runs

import (
	"context"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// DescribeRun tells what a run is doing.
func (o *Operations) DescribeRun(ctx context.Context, req *schedulerv1.DescribeRunRequest) (*schedulerv1.DescribeRunResponse, error) {
	f, err := o.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	run, err := o.tell(ctx, f)
	if err != nil {
		return nil, err
	}
	asked, err := o.questions.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: f.target.ID, RunId: f.runID})
	if err != nil {
		return nil, err
	}
	answer := describe(f)
	answer.Run, answer.Questions = run, asked.GetQuestions()
	return answer, nil
}

// describe is what Temporal's own record of a run says beside the run itself.
func describe(f found) *schedulerv1.DescribeRunResponse {
	info, more := f.description.GetWorkflowExecutionInfo(), f.description.GetWorkflowExtendedInfo()
	answer := &schedulerv1.DescribeRunResponse{
		PendingStep: pendingStep(f.description.GetPendingWorkflowTask()), Pause: pauseOf(more.GetPauseInfo()),
		Versioning: versioningOf(info), SearchAttributes: attributesOf(info.GetSearchAttributes()),
		HistorySizeBytes: info.GetHistorySizeBytes(), TaskQueue: info.GetTaskQueue(),
		RootWorkflowId: info.GetRootExecution().GetWorkflowId(), RootRunId: info.GetRootExecution().GetRunId(), FirstRunId: info.GetFirstRunId(),
		ResetRunId: more.GetResetRunId(), CancelRequested: more.GetCancelRequested(), ExpiresAt: more.GetRunExpirationTime(),
	}
	if at := answer.GetExpiresAt(); at != nil && at.AsTime().Unix() <= 0 {
		answer.ExpiresAt = nil // Temporal's way to say never
	}
	for _, p := range f.description.GetPendingActivities() {
		answer.PendingActivities = append(answer.PendingActivities, pendingActivity(p))
	}
	for _, c := range f.description.GetPendingChildren() {
		answer.PendingChildren = append(answer.PendingChildren, &schedulerv1.ChildRun{
			WorkflowId: c.GetWorkflowId(), RunId: c.GetRunId(), Type: c.GetWorkflowTypeName(),
		})
	}
	return answer
}

func pendingActivity(p *workflowpb.PendingActivityInfo) *schedulerv1.PendingActivity {
	activity := &schedulerv1.PendingActivity{
		ActivityId: p.GetActivityId(), Name: p.GetActivityType().GetName(), State: stateOf(p),
		Attempt: p.GetAttempt(), MaximumAttempts: p.GetMaximumAttempts(),
		ScheduledTime: p.GetScheduledTime(), LastStartedTime: p.GetLastStartedTime(), LastHeartbeatTime: p.GetLastHeartbeatTime(),
		ExpiresAt: p.GetExpirationTime(),
	}
	if p.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED {
		activity.NextAttemptTime = p.GetNextAttemptScheduleTime()
	}
	activity.HeartbeatDetails, _ = digest(p.GetHeartbeatDetails())
	if p.GetLastFailure() != nil {
		run := &schedulerv1.Run{}
		explain(run, p.GetLastFailure())
		activity.LastErrorType, activity.LastErrorMessage = run.GetErrorType(), run.GetErrorMessage()
	}
	return activity
}

// stateOf is Temporal's name of a state in lower case.
func stateOf(p *workflowpb.PendingActivityInfo) string {
	return strings.ToLower(strings.TrimPrefix(enumspb.PendingActivityState_name[int32(p.GetState())], "PENDING_ACTIVITY_STATE_"))
}

func pendingStep(p *workflowpb.PendingWorkflowTaskInfo) *schedulerv1.PendingStep {
	if p == nil {
		return nil
	}
	step := &schedulerv1.PendingStep{
		State: "scheduled", Attempt: p.GetAttempt(),
		ScheduledTime: p.GetScheduledTime(), FirstScheduledTime: p.GetOriginalScheduledTime(), StartedTime: p.GetStartedTime(),
	}
	if p.GetState() == enumspb.PENDING_WORKFLOW_TASK_STATE_STARTED {
		step.State = "started"
	}
	return step
}

func pauseOf(p *workflowpb.WorkflowExecutionPauseInfo) *schedulerv1.Pause {
	if p == nil {
		return nil
	}
	return &schedulerv1.Pause{By: p.GetIdentity(), Reason: p.GetReason(), Time: p.GetPausedTime()}
}

func versioningOf(info *workflowpb.WorkflowExecutionInfo) *schedulerv1.Versioning {
	v := &schedulerv1.Versioning{
		VersionId:         versionOf(info),
		OverrideVersionId: info.GetVersioningInfo().GetVersioningOverride().GetPinned().GetVersion().GetBuildId(),
	}
	switch info.GetVersioningInfo().GetBehavior() {
	case enumspb.VERSIONING_BEHAVIOR_PINNED:
		v.Behavior = "pinned"
	case enumspb.VERSIONING_BEHAVIOR_AUTO_UPGRADE:
		v.Behavior = "auto_upgrade"
	}
	return v
}

func attributesOf(attributes *commonpb.SearchAttributes) map[string]string {
	all := map[string]string{}
	for name, payload := range attributes.GetIndexedFields() {
		all[name] = string(payload.GetData())
	}
	return all
}

package apps_test

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

func versionsAreTried(t *testing.T, w *registrytest.World) {
	app, ids := deployed(t, w, 2)
	ctx := registrytest.As(t, w.Admin)
	plan := &schedulerv1.RolloutPlan{Steps: []*schedulerv1.RolloutStep{{Weight: 50}}}
	res, err := w.Rollouts.StartRollout(ctx, &registryv1.StartRolloutRequest{AppId: app, Version: "v1", Plan: plan})
	if err != nil || res.GetRollout().GetVersionId() != ids[0] || res.GetRollout().GetStartedBy() != w.Admin.UserID || len(w.Trials.Started[0].GetPlan().GetSteps()) != 1 {
		t.Fatalf("StartRollout() = %v, %v", res, err)
	}
	wantStates(t, w, app, "2 live, 1 ready")
	learn(t, w, &schedulerv1.RolloutAborted{TargetId: app, VersionId: ids[0]})
	wantStates(t, w, app, "2 live, 1 retired")
	learn(t, w, &schedulerv1.RolloutStarted{TargetId: app, VersionId: ids[0]})
	wantStates(t, w, app, "2 live, 1 ready")
	if _, err := w.Rollouts.PauseRollout(ctx, &registryv1.PauseRolloutRequest{AppId: app, RolloutId: "rol_1"}); err != nil {
		t.Errorf("PauseRollout() = %v", err)
	}
	if _, err := w.Rollouts.ResumeRollout(ctx, &registryv1.ResumeRolloutRequest{AppId: app, RolloutId: "rol_1"}); err != nil {
		t.Errorf("ResumeRollout() = %v", err)
	}
	if _, err := w.Rollouts.PromoteRollout(ctx, &registryv1.PromoteRolloutRequest{AppId: app, RolloutId: "rol_1"}); err != nil {
		t.Errorf("PromoteRollout() = %v", err)
	}
	if _, err := w.Rollouts.AbortRollout(ctx, &registryv1.AbortRolloutRequest{AppId: app, RolloutId: "rol_1", Reason: "because"}); err != nil {
		t.Errorf("AbortRollout() = %v", err)
	}
	wantStates(t, w, app, "2 live, 1 retired")
	for i, want := range []schedulerv1.RolloutAction{
		schedulerv1.RolloutAction_ROLLOUT_ACTION_PAUSE, schedulerv1.RolloutAction_ROLLOUT_ACTION_RESUME,
		schedulerv1.RolloutAction_ROLLOUT_ACTION_PROMOTE, schedulerv1.RolloutAction_ROLLOUT_ACTION_ABORT,
	} {
		if got := w.Trials.Steered[i]; got.GetAction() != want || got.GetBy() != w.Admin.UserID || got.GetTargetId() != app {
			t.Errorf("the scheduler was asked to %v, want %s", got, want)
		}
	}
}

func rolloutsAreOfThoseWhoMayDeploy(t *testing.T, w *registrytest.World) {
	app, _ := deployed(t, w, 1)
	w.Trials.Rollout = &schedulerv1.Rollout{RolloutId: "rol_1", TargetId: app}
	colleague, stranger := registrytest.As(t, w.User(t, "carol")), registrytest.As(t, w.Stranger(t, "mallory"))
	_, err := w.Rollouts.StartRollout(colleague, &registryv1.StartRolloutRequest{AppId: app, Version: "1"})
	wantKind(t, "StartRollout(colleague)", err, fault.Denied)
	_, err = w.Rollouts.AbortRollout(colleague, &registryv1.AbortRolloutRequest{AppId: app, RolloutId: "latest"})
	wantKind(t, "AbortRollout(colleague)", err, fault.Denied)
	all, err := w.Rollouts.ListRollouts(colleague, &registryv1.ListRolloutsRequest{AppId: app})
	if err != nil || len(all.GetRollouts()) != 1 {
		t.Errorf("ListRollouts(colleague) = %v, %v", all, err)
	}
	one, err := w.Rollouts.GetRollout(colleague, &registryv1.GetRolloutRequest{AppId: app, RolloutId: "latest"})
	if err != nil || one.GetRollout().GetRolloutId() != "rol_1" {
		t.Errorf("GetRollout(colleague) = %v, %v", one, err)
	}
	_, err = w.Rollouts.ListRollouts(stranger, &registryv1.ListRolloutsRequest{AppId: app})
	wantKind(t, "ListRollouts(stranger)", err, fault.NotFound)
	_, err = w.Rollouts.PauseRollout(stranger, &registryv1.PauseRolloutRequest{AppId: app, RolloutId: "rol_1"})
	wantKind(t, "PauseRollout(stranger)", err, fault.NotFound)
	if len(w.Trials.Steered)+len(w.Trials.Started) != 0 {
		t.Errorf("the scheduler was asked for %v, %v", w.Trials.Started, w.Trials.Steered)
	}
}

package runs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// bulk starts an operation once count runs are found, and waits for its end.
func (f *fixture) bulk(t *testing.T, req *schedulerv1.StartBulkOperationRequest, count int64) *schedulerv1.BulkOperation {
	t.Helper()
	req.DryRun = true
	eventually(t, "the runs are found", func() error {
		res, err := f.ops.StartBulkOperation(f.ctx, req)
		if err == nil && (res.GetFound() != count || res.GetBulkId() != "") {
			err = fmt.Errorf("found = %v, want %d", res, count)
		}
		return err
	})
	req.DryRun = false
	var res *schedulerv1.StartBulkOperationResponse
	eventually(t, "there is room for a bulk operation", func() (err error) {
		res, err = f.ops.StartBulkOperation(f.ctx, req)
		if err != nil && !fault.Conflict.Is(err) {
			t.Fatalf("StartBulkOperation() = %v", err)
		}
		return err
	})
	var operation *schedulerv1.BulkOperation
	eventually(t, "the bulk operation ends", func() error {
		got, err := f.ops.GetBulkOperation(f.ctx, &schedulerv1.GetBulkOperationRequest{BulkId: res.GetBulkId()})
		operation = got.GetOperation()
		if err == nil && operation.GetState() == "running" {
			err = fmt.Errorf("operation = %v", operation)
		}
		return err
	})
	return operation
}

func TestBulkOperations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	begin := func(team string) string {
		req := &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Wait", Labels: map[string]string{"team": team}}
		if team == "cancel" { // which its code must hear
			req.Name, req.ArgumentsJson = "Tidy", `{"steps":0}`
		}
		res, err := f.client.StartRun(f.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRunId()
	}
	teams := map[string][]string{}
	for range 3 {
		for _, team := range []string{"cancel", "terminate", "signal", "left"} {
			teams[team] = append(teams[team], begin(team))
		}
	}
	if _, err := f.ops.PauseRun(f.ctx, &schedulerv1.PauseRunRequest{RunId: teams["terminate"][0]}); err != nil {
		t.Fatal(err)
	}
	for team, req := range map[string]*schedulerv1.StartBulkOperationRequest{
		"cancel":    {Operation: &schedulerv1.StartBulkOperationRequest_Cancel{Cancel: &schedulerv1.BulkCancel{}}},
		"terminate": {Operation: &schedulerv1.StartBulkOperationRequest_Terminate{Terminate: &schedulerv1.BulkTerminate{}}, Reason: "clean up"},
		"signal":    {Operation: &schedulerv1.StartBulkOperationRequest_Signal{Signal: &schedulerv1.BulkSignal{PayloadJson: `{"go":true}`}}},
	} {
		req.Filter = &schedulerv1.RunFilter{TargetId: f.app, Labels: []string{"team=" + team}}
		got := f.bulk(t, req, 3)
		if got.GetKind() != team || got.GetState() != "completed" || got.GetTotal() != 3 || got.GetDone() != 3 || got.GetFailed() != 0 || got.GetBy() != "u_1" {
			t.Errorf("%s: operation = %v", team, got)
		}
	}
	for team, want := range map[string]schedulerv1.RunStatus{
		"cancel":    schedulerv1.RunStatus_RUN_STATUS_CANCELED,
		"terminate": schedulerv1.RunStatus_RUN_STATUS_TERMINATED,
		"signal":    schedulerv1.RunStatus_RUN_STATUS_COMPLETED,
	} {
		for _, run := range teams[team] {
			if got := f.finished(t, run); got.GetStatus() != want {
				t.Errorf("%s: run = %v", team, got)
			}
		}
	}
	for _, run := range teams["left"] {
		if got := f.get(t, &schedulerv1.GetRunRequest{RunId: run}); got.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_RUNNING {
			t.Errorf("a run of nobody's concern = %v", got)
		}
	}
	listed, err := f.ops.ListBulkOperations(f.ctx, &schedulerv1.ListBulkOperationsRequest{})
	if err != nil || len(listed.GetOperations()) != 3 {
		t.Errorf("ListBulkOperations() = %v, %v", listed, err)
	}
}

func TestBulkReset(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "Fail", "").GetRunId()
	f.finished(t, run)
	got := f.bulk(t, &schedulerv1.StartBulkOperationRequest{
		Filter:    &schedulerv1.RunFilter{TargetId: f.app, Status: schedulerv1.RunStatus_RUN_STATUS_FAILED},
		Operation: &schedulerv1.StartBulkOperationRequest_Reset_{Reset_: &schedulerv1.BulkReset{FirstStep: true}},
	}, 1)
	if got.GetState() != "completed" || got.GetDone() != 1 {
		t.Errorf("operation = %v", got)
	}
	eventually(t, "a second run failed", func() error {
		counted, err := f.ops.CountRuns(f.ctx, &schedulerv1.CountRunsRequest{Filter: &schedulerv1.RunFilter{Status: schedulerv1.RunStatus_RUN_STATUS_FAILED}})
		if err == nil && counted.GetCount() != 2 {
			err = fmt.Errorf("counted = %v", counted)
		}
		return err
	})
}

func TestBulkOperationsRefuse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cancel := &schedulerv1.StartBulkOperationRequest_Cancel{Cancel: &schedulerv1.BulkCancel{}}
	app := &schedulerv1.RunFilter{TargetId: f.app}
	for desc, tt := range map[string]struct {
		req  *schedulerv1.StartBulkOperationRequest
		want fault.Kind
		says string
	}{
		"all by mistake": {&schedulerv1.StartBulkOperationRequest{Operation: cancel}, fault.Invalid, "set all"},
		"nothing to do":  {&schedulerv1.StartBulkOperationRequest{Filter: app}, fault.Invalid, "say what to do"},
		"too fast":       {&schedulerv1.StartBulkOperationRequest{Filter: app, Operation: cancel, RunsPerSecond: 51}, fault.Invalid, "at most 50"},
		"no runs":        {&schedulerv1.StartBulkOperationRequest{Filter: app, Operation: cancel}, fault.NotFound, "no run fits"},
		"no payload": {&schedulerv1.StartBulkOperationRequest{Filter: app, Operation: &schedulerv1.StartBulkOperationRequest_Signal{
			Signal: &schedulerv1.BulkSignal{PayloadJson: "{"},
		}}, fault.Invalid, "must be JSON"},
	} {
		if _, err := f.ops.StartBulkOperation(f.ctx, tt.req); !tt.want.Is(err) || !strings.Contains(fault.Message(err), tt.says) {
			t.Errorf("%s: StartBulkOperation() = %v, want %q", desc, err, tt.says)
		}
	}
	started := f.start(t, "Wait", "")
	for _, id := range []string{started.GetWorkflowId(), "bulk-" + uuid.NewString()} {
		if res, err := f.ops.GetBulkOperation(f.ctx, &schedulerv1.GetBulkOperationRequest{BulkId: id}); !fault.NotFound.Is(err) {
			t.Errorf("GetBulkOperation(%s) = %v, %v; want not found", id, res, err)
		}
		if _, err := f.ops.StopBulkOperation(f.ctx, &schedulerv1.StopBulkOperationRequest{BulkId: id}); !fault.NotFound.Is(err) {
			t.Errorf("StopBulkOperation(%s) = %v, want not found", id, err)
		}
	}
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: "org_other"})
	if _, err := f.ops.StartBulkOperation(stranger, &schedulerv1.StartBulkOperationRequest{Filter: app, Operation: cancel}); !fault.NotFound.Is(err) {
		t.Errorf("StartBulkOperation() by a stranger = %v, want not found", err)
	}
}

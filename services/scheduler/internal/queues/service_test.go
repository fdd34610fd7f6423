package queues_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/queues"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// fixture is the service on a real socket, and an organisation with apps.
type fixture struct {
	queues   schedulerv1.QueuesServiceClient
	temporal client.Client
	store    *store.Store
	org      string
	admin    context.Context
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	directory := temporaltest.Directory(t)
	f := &fixture{store: store.New(dbtest.SQLite(t, store.Migrations())), org: temporaltest.Org()}
	service := queues.NewService(queues.Deps{Store: f.store, Namespaces: directory, Now: time.Now})
	f.queues = schedulerv1.NewQueuesServiceClient(grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterQueuesServiceServer(r, service)
	}))
	f.admin = principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: "u_1", Admin: true})
	var err error
	if f.temporal, err = directory.Client(t.Context(), f.org); err != nil {
		t.Fatal(err)
	}
	return f
}

// app is a new app with a version that is being deployed.
func (f *fixture) app(t *testing.T, name string) store.Version {
	t.Helper()
	v := store.Version{ID: id.Version.New(), TargetID: id.App.New(), OrgID: f.org, AppName: name, Number: 1}
	v.AppID = v.TargetID
	if _, err := f.store.BeginDeploy(t.Context(), v, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	return v
}

func (f *fixture) set(t *testing.T, target string, limits *schedulerv1.QueueLimits) {
	t.Helper()
	res, err := f.queues.SetQueueLimits(f.admin, &schedulerv1.SetQueueLimitsRequest{TargetId: target, Limits: limits})
	if diff := cmp.Diff(limits, res.GetLimits(), protocmp.Transform()); diff != "" || err != nil {
		t.Fatalf("SetQueueLimits() = %v (-want +got):\n%s", err, diff)
	}
}

// tasks queues n activities.
func (f *fixture) tasks(t *testing.T, queue string, priority, n int) {
	t.Helper()
	for i := range n {
		_, err := f.temporal.ExecuteActivity(t.Context(), client.StartActivityOptions{
			ID: fmt.Sprintf("%s-%d-%d", queue, priority, i), TaskQueue: queue, StartToCloseTimeout: time.Minute,
			Priority: temporal.Priority{PriorityKey: priority},
		}, "tick")
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fixture) get(t *testing.T, target string) *schedulerv1.TargetQueues {
	t.Helper()
	res, err := f.queues.GetQueues(f.admin, &schedulerv1.GetQueuesRequest{TargetId: target})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetTarget()
}

func TestARateHoldsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	v := f.app(t, "search")
	queue := agentenv.ToolsQueue(v.TargetID, v.ID)
	ticks := make(chan time.Time, 100)
	w := worker.New(f.temporal, queue, worker.Options{DisableWorkflowWorker: true})
	w.RegisterActivityWithOptions(func(context.Context) error { ticks <- time.Now(); return nil }, activity.RegisterOptions{Name: "tick"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)

	f.set(t, v.TargetID, &schedulerv1.QueueLimits{Rate: 5})
	f.tasks(t, queue, 3, 15)
	took := span(t, ticks, 15)
	if took < time.Second { // 15 at 5 a second, less what may come at once
		t.Errorf("15 tasks at 5 a second took %s", took)
	}
	for _, q := range f.get(t, v.TargetID).GetQueues() {
		if want := q.GetKind() != schedulerv1.QueueKind_QUEUE_KIND_WORKFLOWS; (q.GetRate() == 5) != want {
			t.Errorf("rate of %v = %v", q.GetKind(), q.GetRate())
		}
		if q.GetKind() == schedulerv1.QueueKind_QUEUE_KIND_TOOLS && (len(q.GetPollers()) != 1 || q.GetName() != queue) {
			t.Errorf("queue of tools = %v", q)
		}
	}

	f.set(t, v.TargetID, &schedulerv1.QueueLimits{Tools: 3})
	f.tasks(t, queue, 4, 15)
	if freed := span(t, ticks, 15); freed > took/2 {
		t.Errorf("15 tasks without a rate took %s, with one %s", freed, took)
	}
	if got := f.get(t, v.TargetID); got.GetQueues()[2].GetRate() != 0 || got.GetLimits().GetTools() != 3 {
		t.Errorf("GetQueues() = %v", got)
	}
}

// span is the time from the first of n ticks to the last.
func span(t *testing.T, ticks <-chan time.Time, n int) time.Duration {
	t.Helper()
	var first, last time.Time
	for i := range n {
		select {
		case last = <-ticks:
		case <-time.After(30 * time.Second):
			t.Fatalf("%d of %d tasks ran", i, n)
		}
		if i == 0 {
			first = last
		}
	}
	return last.Sub(first)
}

func TestABacklogIsShownByPriority(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	v := f.app(t, "search")
	queue := agentenv.TaskQueue(v.TargetID)
	f.tasks(t, queue, 1, 2)
	f.tasks(t, queue, 5, 3)
	deadline := time.Now().Add(20 * time.Second)
	want := map[int32]int64{1: 2, 5: 3}
	for {
		steps := f.get(t, v.TargetID).GetQueues()[1]
		diff := cmp.Diff(want, steps.GetBacklogByPriority())
		if diff == "" && steps.GetBacklog() == 5 && steps.GetKind() == schedulerv1.QueueKind_QUEUE_KIND_STEPS {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("GetQueues() = %v; backlog (-want +got):\n%s", steps, diff)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestQueuesAreListedByPage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, name := range []string{"c", "a", "b", "b"} {
		f.app(t, name)
	}
	var names []string
	req := &schedulerv1.ListQueuesRequest{PageSize: 2}
	for {
		res, err := f.queues.ListQueues(f.admin, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range res.GetTargets() {
			names = append(names, target.GetAppName())
			if len(target.GetQueues()) != 3 {
				t.Errorf("queues of %s: %v", target.GetAppName(), target.GetQueues())
			}
		}
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "a b b c" {
		t.Errorf("apps = %s", got)
	}
}

func TestWhoMaySetWhat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	v := f.app(t, "search")
	member := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: "u_2"})
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: temporaltest.Org(), UserID: "u_3", Admin: true})
	tests := map[string]struct {
		who    context.Context //nolint:containedctx // a caller
		limits *schedulerv1.QueueLimits
		want   fault.Kind
	}{
		"a member":          {who: member, limits: &schedulerv1.QueueLimits{Rate: 1}, want: fault.Denied},
		"a stranger":        {who: stranger, limits: &schedulerv1.QueueLimits{Rate: 1}, want: fault.NotFound},
		"a negative rate":   {who: f.admin, limits: &schedulerv1.QueueLimits{Rate: -1}, want: fault.Invalid},
		"too many at once":  {who: f.admin, limits: &schedulerv1.QueueLimits{Steps: 1 << 20}, want: fault.Invalid},
		"one workflow slot": {who: f.admin, limits: &schedulerv1.QueueLimits{Workflows: 1}, want: fault.Invalid},
	}
	for name, test := range tests {
		_, err := f.queues.SetQueueLimits(test.who, &schedulerv1.SetQueueLimitsRequest{TargetId: v.TargetID, Limits: test.limits})
		if !test.want.Is(err) {
			t.Errorf("%s: SetQueueLimits() = %v, want kind %v", name, err, test.want)
		}
	}
	if _, err := f.queues.GetQueues(stranger, &schedulerv1.GetQueuesRequest{TargetId: v.TargetID}); !fault.NotFound.Is(err) {
		t.Errorf("GetQueues() by a stranger = %v", err)
	}
	if _, err := f.queues.GetQueues(member, &schedulerv1.GetQueuesRequest{TargetId: v.TargetID}); err != nil {
		t.Errorf("GetQueues() by a member = %v", err)
	}
}

package runs

import (
	"context"
	"log/slog"
	"sync"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/poller"
)

const workerQueue = 64

// ToolWorkers polls, in each organisation's namespace, for runs of tools, and for the
// ends of runs that were asked to end.
type ToolWorkers struct {
	namespaces Namespaces
	begin      BeginScheduled
	log        *slog.Logger
	wanted     chan string
	slots      *slots
}

// NewToolWorkers returns workers that poll once Run is called. They make at most so many
// moves at once, which organisations share by weight; one without a weight has 1.
func NewToolWorkers(namespaces Namespaces, begin BeginScheduled, atOnce int, weights map[string]float64, log *slog.Logger) *ToolWorkers {
	return &ToolWorkers{namespaces: namespaces, begin: begin, log: log, wanted: make(chan string, workerQueue), slots: newSlots(atOnce, weights)}
}

// Ensure has an organisation's tools polled for from now on. It does not wait: a run
// that starts before waits in its queue.
func (w *ToolWorkers) Ensure(orgID string) {
	select {
	case w.wanted <- orgID:
	default: // Run is far behind; the next start of a run asks again
	}
}

// Run polls for the organisations it is told of until ctx ends.
func (w *ToolWorkers) Run(ctx context.Context, orgs []string) error {
	var all sync.WaitGroup
	defer all.Wait()
	polled := map[string]bool{}
	begin := func(orgID string) {
		if polled[orgID] {
			return
		}
		polled[orgID] = true
		all.Go(func() { w.poll(ctx, orgID) })
	}
	for _, orgID := range orgs {
		begin(orgID)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case orgID := <-w.wanted:
			begin(orgID)
		}
	}
}

// poll keeps one worker up until ctx ends.
func (w *ToolWorkers) poll(ctx context.Context, orgID string) {
	poller.Job{
		Name: "tools of " + orgID, Queue: flow.ToolsQueue, Log: w.log,
		Client: func(ctx context.Context) (client.Client, error) { return w.namespaces.Client(ctx, orgID) },
		Options: func(context.Context) (worker.Options, error) {
			tuner, err := w.slots.tuner(orgID)
			return worker.Options{LocalActivityWorkerOnly: true, MaxConcurrentWorkflowTaskPollers: 2, Tuner: tuner}, err
		},
		Register: func(r worker.Registry) {
			r.RegisterDynamicWorkflow(flow.RunTool, workflow.DynamicRegisterOptions{})
			r.RegisterActivityWithOptions(w.begin.Begin, activity.RegisterOptions{Name: flow.BeginScheduled})
			stopping{namespaces: w.namespaces, record: w.begin.Record}.register(r)
		},
		Broke: func() { w.namespaces.Forget(orgID) },
	}.Run(ctx)
}

package runs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

const (
	workerRetry = time.Second
	workerQueue = 64
)

// ToolWorkers polls, in each organisation's namespace, for runs of tools.
type ToolWorkers struct {
	namespaces Namespaces
	log        *slog.Logger
	wanted     chan string
}

// NewToolWorkers returns workers that poll once Run is called.
func NewToolWorkers(namespaces Namespaces, log *slog.Logger) *ToolWorkers {
	return &ToolWorkers{namespaces: namespaces, log: log, wanted: make(chan string, workerQueue)}
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
	for ctx.Err() == nil {
		if err := w.once(ctx, orgID); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "worker for tools starts again", "org", orgID, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(workerRetry):
		}
	}
}

func (w *ToolWorkers) once(ctx context.Context, orgID string) error {
	c, err := w.namespaces.Client(ctx, orgID)
	if err != nil {
		return err
	}
	fatal := make(chan error, 1)
	poller := worker.New(c, flow.ToolsQueue, worker.Options{
		LocalActivityWorkerOnly: true, MaxConcurrentWorkflowTaskPollers: 2,
		OnFatalError: func(err error) { fatal <- err },
	})
	poller.RegisterDynamicWorkflow(flow.RunTool, workflow.DynamicRegisterOptions{})
	if err := poller.Start(); err != nil {
		return err
	}
	defer poller.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		w.namespaces.Forget(orgID)
		return err
	}
}

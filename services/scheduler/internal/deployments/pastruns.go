package deployments

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/histories"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// What becomes of a deploy on whose code past runs would go another way.
const (
	ReplayOff    = "off"    // nothing is replayed
	ReplayWarn   = "warn"   // it goes live, and its log says so
	ReplayPin    = "pin"    // it goes live, for open runs stay with the version they are on
	ReplayRefuse = "refuse" // it does not go live
)

// ReplayOptions is what is done with past runs before a version goes live.
type ReplayOptions struct {
	// Policy is one of ReplayOff and its neighbours.
	Policy string
	// Runs is how many are replayed, at most.
	Runs int
	// Within is how long a deploy waits for them.
	Within time.Duration
}

const (
	// pastRunsWithin bounds what the search for past runs adds to a deploy.
	pastRunsWithin = 5 * time.Second
	// maxPastRun and maxPastRuns bound histories in bytes: one, and all together. They
	// stay in memory until the worker has them.
	maxPastRun  = 1 << 20
	maxPastRuns = 16 << 20
	// mostClasses is how many workflow classes are looked at.
	mostClasses = 20
	atOnce      = 4
)

// pastRuns are the last closed runs of the workflow classes that are live, for the
// worker of a version that is about to replace them. Without them the deploy goes on.
func (l *launcher) pastRuns(ctx context.Context, v store.Version) []agentenv.History {
	if l.replayPolicy(v) == ReplayOff || l.options.Replays.Runs == 0 || v.State != store.Pending {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pastRunsWithin)
	defer cancel()
	all, err := l.findPastRuns(ctx, v)
	if err != nil {
		l.log.WarnContext(ctx, "past runs were not all found, so fewer are replayed on a new version", "target", v.TargetID, "version", v.ID, "error", err)
	}
	return all
}

// replayPolicy is that of the project, which wins, or of the cloud.
func (l *launcher) replayPolicy(v store.Version) string {
	file, err := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	if err != nil {
		return l.options.Replays.Policy // the builder has checked it; a newer one knows more
	}
	return cmp.Or(file.Deploy.Replay, l.options.Replays.Policy)
}

func (l *launcher) findPastRuns(ctx context.Context, v store.Version) ([]agentenv.History, error) {
	t, err := l.store.Target(ctx, v.TargetID)
	if err != nil || t.Live == "" || t.Live == v.ID {
		return nil, err
	}
	live, err := l.store.Version(ctx, t.Live)
	if err != nil || len(live.Capture.Workflows) == 0 {
		return nil, err
	}
	c, err := l.clients.Client(ctx, v.OrgID)
	if err != nil {
		return nil, err
	}
	classes := live.Capture.Workflows[:min(len(live.Capture.Workflows), mostClasses)]
	each := max(1, l.options.Replays.Runs/len(classes))
	var mu sync.Mutex
	var found []agentenv.History
	room := maxPastRuns
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, class := range classes {
		group.Go(func() error {
			return l.lastOf(ctx, c, v, class, each, func(h agentenv.History) {
				mu.Lock()
				defer mu.Unlock()
				if room -= len(h.Events); room >= 0 && len(found) < l.options.Replays.Runs {
					found = append(found, h)
				}
			})
		})
	}
	err = group.Wait()
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(found), err
}

// closedRuns are the statuses of runs that are over, in Temporal's query language.
const closedRuns = `ExecutionStatus IN ('Completed', 'Failed', 'Canceled', 'TimedOut', 'Terminated', 'ContinuedAsNew')`

// lastOf takes the last closed runs of one class, those that are not too large.
func (l *launcher) lastOf(ctx context.Context, c client.Client, v store.Version, class string, n int, take func(agentenv.History)) error {
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(n), //nolint:gosec // a setting below a hundred
		Query:    fmt.Sprintf(`%s = '%s' AND WorkflowType = '%s' AND %s`, flow.TargetAttribute, v.TargetID, strings.ReplaceAll(class, "'", `\'`), closedRuns),
	})
	if err != nil {
		return fmt.Errorf("list past runs: %w", err)
	}
	for _, info := range page.GetExecutions() {
		if info.GetHistorySizeBytes() > maxPastRun {
			continue
		}
		h, err := l.readPastRun(ctx, c, v.OrgID, info)
		if fault.NotFound.Is(err) || fault.TooLarge.Is(err) {
			continue // retention has just taken it, or it has large values
		}
		if err != nil {
			return err
		}
		take(h)
	}
	return nil
}

func (l *launcher) readPastRun(ctx context.Context, c client.Client, orgID string, info *workflowpb.WorkflowExecutionInfo) (agentenv.History, error) {
	e := info.GetExecution()
	history, err := histories.Read(ctx, c, l.passage, histories.Of{OrgID: orgID, WorkflowID: e.GetWorkflowId(), RunID: e.GetRunId()})
	if err != nil {
		return agentenv.History{}, err
	}
	raw, err := proto.Marshal(history)
	if len(raw) > maxPastRun {
		return agentenv.History{}, fault.TooLarge.Errorf("the history of this run is too large to be replayed by a deploy")
	}
	return agentenv.History{WorkflowID: e.GetWorkflowId(), RunID: e.GetRunId(), Type: info.GetType().GetName(), Events: raw}, err
}

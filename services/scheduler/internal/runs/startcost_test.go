package runs_test

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// TestStartCost starts runs that nobody polls for, by turns through the service and by
// Temporal's SDK alone.
func TestStartCost(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("AGENTCLOUD_BENCH=1 runs this")
	}
	f := newFixture(t)
	idle := &fixture{store: f.store, org: f.org, app: id.App.New(), ver: id.Version.New()}
	idle.live(t)
	c, err := temporaltest.Directory(t).Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func() error{
		"the service": func() error {
			_, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: idle.app, Name: "Echo", ArgumentsJson: `{"text":"a"}`})
			return err
		},
		"the SDK": func() error {
			_, err := c.ExecuteWorkflow(f.ctx, client.StartWorkflowOptions{ID: uuid.NewString(), TaskQueue: agentenv.TaskQueue(idle.app)}, "Echo", "a", 2)
			return err
		},
	}
	took, rates := map[string][]time.Duration{}, map[string][]float64{}
	for range 5 {
		for way, start := range ways {
			for range 100 {
				began := time.Now()
				if err := start(); err != nil {
					t.Fatal(err)
				}
				took[way] = append(took[way], time.Since(began))
			}
			began := time.Now()
			var group sync.WaitGroup
			for range 16 {
				group.Go(func() {
					for range 15 {
						if err := start(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()
			rates[way] = append(rates[way], 240/time.Since(began).Seconds())
		}
	}
	for way, all := range took {
		slices.Sort(all)
		slices.Sort(rates[way])
		t.Logf("%-12s p50 %s, p99 %s, 16 at once %.0f/s", way, all[len(all)/2], all[len(all)*99/100], rates[way][2])
	}
}

package headroom_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
)

// TestNoTaskIsLost has urgent runs begin while a worker's polls come, end and are given
// up: what a poll has taken it must bring, or a run waits for the timeout of its task.
func TestNoTaskIsLost(t *testing.T) {
	t.Parallel()
	const enough = 1000
	h, until := headroom.New(), time.Now().Add(30*time.Second)
	var given, brought atomic.Int64
	over := make(chan struct{})
	var polls, starts sync.WaitGroup
	for range 2 {
		polls.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(200))*time.Microsecond)
				if h.Poll(ctx, worker) != nil {
					brought.Add(1)
				} else if rand.IntN(2) == 0 {
					h.Took(worker, "r", 5)
				}
				cancel()
				h.Over(worker, "r")
			}
		})
	}
	for range 4 {
		starts.Go(func() {
			for given.Load() < enough && time.Now().Before(until) {
				seat := h.Reserve(context.Background(), "app", "v1", 1)
				if seat == nil {
					continue
				}
				if rand.IntN(4) == 0 {
					seat.Release()
				} else if seat.Give(&workflowservice.PollWorkflowTaskQueueResponse{}) {
					given.Add(1)
				}
			}
		})
	}
	starts.Wait()
	close(over)
	polls.Wait()
	if given.Load() != brought.Load() || given.Load() < enough {
		t.Errorf("%d tasks were given, of at least %d, and %d brought", given.Load(), enough, brought.Load())
	}
}

package headroom_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
)

var worker = headroom.Worker{TargetID: "app", VersionID: "v1", ID: "one"}

// held is how long a poll of the worker is held, and what it brings.
func held(ctx context.Context, h *headroom.Headroom) (time.Duration, *workflowservice.PollWorkflowTaskQueueResponse) {
	began := time.Now()
	task := h.Poll(ctx, worker)
	return time.Since(began), task
}

// moves has the worker make the first move of a run.
func moves(h *headroom.Headroom, run string, priority int32, took time.Duration) {
	h.Took(worker, run, priority)
	time.Sleep(took)
	h.Over(worker, run)
}

func TestPollsAreHeld(t *testing.T) {
	t.Parallel()
	other := headroom.Worker{TargetID: "app", VersionID: "v1", ID: "two"}
	tests := map[string]struct {
		before func(h *headroom.Headroom)
		want   time.Duration
	}{
		"a worker that does nothing": {func(*headroom.Headroom) {}, 0},
		"no urgent runs":             {func(h *headroom.Headroom) { moves(h, "r", 5, 10*time.Millisecond) }, 0},
		"until its move is over": {func(h *headroom.Headroom) {
			h.Took(worker, "r", 5)
			time.AfterFunc(30*time.Millisecond, func() { h.Over(worker, "another") })
			time.AfterFunc(50*time.Millisecond, func() { h.Over(worker, "r") })
		}, 50 * time.Millisecond},
		"a move that blocks": {func(h *headroom.Headroom) { h.Took(worker, "r", 5) }, time.Second},
		"urgent runs come": {func(h *headroom.Headroom) {
			h.Took(other, "urgent", 1)
			moves(h, "r", 5, 10*time.Millisecond)
		}, 40 * time.Millisecond},
		"a long move while urgent runs come": {func(h *headroom.Headroom) {
			h.Took(other, "urgent", 1)
			moves(h, "r", 5, 300*time.Millisecond)
		}, 200 * time.Millisecond},
		"runs without a priority are more urgent than the last": {func(h *headroom.Headroom) {
			h.Took(other, "usual", 0)
			moves(h, "r", 4, 10*time.Millisecond)
		}, 40 * time.Millisecond},
		"only less urgent runs come": {func(h *headroom.Headroom) {
			h.Took(other, "later", 5)
			moves(h, "r", 0, 10*time.Millisecond)
		}, 0},
		"urgent runs came a while ago": {func(h *headroom.Headroom) {
			h.Took(other, "urgent", 1)
			time.Sleep(time.Second)
			moves(h, "r", 5, 10*time.Millisecond)
		}, 0},
		"urgent runs of another app": {func(h *headroom.Headroom) {
			h.Took(headroom.Worker{TargetID: "another", VersionID: "v1", ID: "two"}, "urgent", 1)
			moves(h, "r", 5, 10*time.Millisecond)
		}, 0},
		"an urgent run found no poll": {func(h *headroom.Headroom) {
			h.Took(worker, "r", 5)
			h.Reserve(context.Background(), "app", "v1", 1)
			h.Over(worker, "r")
		}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := headroom.New()
				test.before(h)
				if got, task := held(t.Context(), h); got != test.want || task != nil {
					t.Errorf("the poll was held for %s and brought %v, want %s and nothing", got, task, test.want)
				}
			})
		})
	}
}

func TestAnUrgentRunIsHandedOver(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		priority  int32
		version   string
		after     time.Duration // of the move that the worker has begun
		pollAfter time.Duration // the poll comes
		want      bool
	}{
		"more urgent":                {1, "v1", 0, 0, true},
		"a little more urgent":       {3, "v1", 0, 0, true},
		"without a priority":         {0, "v1", 0, 0, true},
		"as urgent":                  {4, "v1", 0, 0, false},
		"less urgent":                {5, "v1", 0, 0, false},
		"another version":            {1, "v2", 0, 0, false},
		"before the poll":            {1, "v1", 0, 10 * time.Millisecond, true},
		"long before the poll":       {1, "v1", 0, 30 * time.Millisecond, false},
		"a worker with nothing else": {1, "v1", 6 * time.Second, 0, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, urgent := headroom.New(), &workflowservice.PollWorkflowTaskQueueResponse{}
				h.Took(worker, "r", 4)
				time.Sleep(test.after)
				brought := make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)
				time.AfterFunc(test.pollAfter, func() { brought <- h.Poll(t.Context(), worker) })
				if test.pollAfter == 0 {
					time.Sleep(time.Nanosecond)
					synctest.Wait()
				}
				seat := h.Reserve(t.Context(), "app", test.version, test.priority)
				if (seat != nil) != test.want {
					t.Fatalf("a poll was found: %t, want %t", seat != nil, test.want)
				}
				var want *workflowservice.PollWorkflowTaskQueueResponse
				if test.want {
					if want = urgent; !seat.Open() || !seat.Give(urgent) || seat.Give(urgent) || seat.Open() {
						t.Error("the seat took the task not at all, or twice")
					}
				}
				if got := <-brought; got != want {
					t.Errorf("the poll brought %v, want %v", got, want)
				}
			})
		})
	}
}

func TestASeatThatIsReleasedIsHeldAsBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := headroom.New()
		h.Took(worker, "r", 5)
		brought := make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)
		go func() { brought <- h.Poll(t.Context(), worker) }()
		synctest.Wait()
		h.Reserve(t.Context(), "app", "v1", 1).Release()
		synctest.Wait()
		again := h.Reserve(t.Context(), "app", "v1", 1)
		if again == nil {
			t.Fatal("the poll is not held any more")
		}
		h.Over(worker, "r")
		synctest.Wait()
		again.Release()
		if got := <-brought; got != nil {
			t.Errorf("the poll brought %v", got)
		}
	})
}

func TestAWorkerThatHasGoneGetsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := headroom.New()
		h.Took(worker, "r", 5)
		ctx, cancel := context.WithCancel(t.Context())
		go h.Poll(ctx, worker)
		synctest.Wait()
		seat := h.Reserve(t.Context(), "app", "v1", 1)
		cancel()
		synctest.Wait()
		if seat.Open() || seat.Give(&workflowservice.PollWorkflowTaskQueueResponse{}) {
			t.Error("a poll that is over took a task")
		}
		if other := h.Reserve(t.Context(), "app", "v1", 1); other != nil {
			t.Error("a poll that is over is still there")
		}
	})
}

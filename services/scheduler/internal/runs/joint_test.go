package runs

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestJointWritesEachOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen, commits := map[string]int{}, 0
	atWork := make(chan struct{})
	j := &joint{commit: func(_ context.Context, runs []store.Run) error {
		mu.Lock()
		defer mu.Unlock()
		if commits++; commits == 1 {
			<-atWork // the others come meanwhile
		}
		for _, run := range runs {
			seen[run.RunID]++
		}
		if len(runs) > mostTogether {
			t.Errorf("%d at once", len(runs))
		}
		return nil
	}}
	var group sync.WaitGroup
	const callers = 3 * mostTogether
	for i := range callers {
		group.Go(func() {
			if err := j.add(t.Context(), store.Run{RunID: strconv.Itoa(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	close(atWork)
	group.Wait()
	for id, times := range seen {
		if times != 1 {
			t.Errorf("run %s was written %d times", id, times)
		}
	}
	if len(seen) != callers || j.busy || len(j.waiting) != 0 {
		t.Errorf("%d of %d written, %d wait, busy %t", len(seen), callers, len(j.waiting), j.busy)
	}
}

func TestJointTellsEachOfAFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk full")
	j := &joint{commit: func(context.Context, []store.Run) error { return broken }}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if err := j.add(t.Context(), store.Run{}); !errors.Is(err, broken) {
				t.Errorf("add() = %v, want %v", err, broken)
			}
		})
	}
	group.Wait()
}

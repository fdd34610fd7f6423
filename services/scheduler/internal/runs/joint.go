package runs

import (
	"context"
	"sync"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// mostTogether bounds what one transaction takes.
const mostTogether = 256

// joint writes down what many callers have to write at the same moment in one
// transaction, since the commit costs more than the rows: whoever comes first commits
// for all who came meanwhile.
type joint struct {
	commit func(context.Context, []store.Run) error

	mu      sync.Mutex
	busy    bool
	waiting []*turn
}

// turn is one caller's place. Its answer is the result, or the word to commit next.
type turn struct {
	run    store.Run
	answer chan result
}

type result struct {
	lead bool
	err  error
}

// add returns when run has been written down. It does not end with ctx: what it tells of
// has happened.
func (j *joint) add(ctx context.Context, run store.Run) error {
	mine := &turn{run: run, answer: make(chan result, 1)}
	j.mu.Lock()
	j.waiting = append(j.waiting, mine)
	lead := !j.busy
	j.busy = true
	j.mu.Unlock()
	if !lead {
		if told := <-mine.answer; !told.lead {
			return told.err
		}
	}
	return j.lead(ctx, mine)
}

// lead commits for all who wait, and has the next of them do so who comes too late.
func (j *joint) lead(ctx context.Context, mine *turn) error {
	j.mu.Lock()
	batch := j.waiting[:min(len(j.waiting), mostTogether)]
	j.waiting = j.waiting[len(batch):]
	j.mu.Unlock()
	runs := make([]store.Run, 0, len(batch))
	for _, t := range batch {
		runs = append(runs, t.run)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), factWithin)
	defer cancel()
	err := j.commit(ctx, runs)
	for _, t := range batch {
		if t != mine {
			t.answer <- result{err: err}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.busy = len(j.waiting) > 0; j.busy {
		j.waiting[0].answer <- result{lead: true}
	}
	return err
}

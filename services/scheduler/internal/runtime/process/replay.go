package process

import (
	"cmp"
	"context"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// replayDrain is how many seconds a replay that is told to end may take; there is
// nothing to finish.
const replayDrain = 1

// Replay starts a process that answers the launch's Histories, in the same box as any
// other, and waits for its end.
func (r *Runtime) Replay(ctx context.Context, l deployments.Launch) ([]agentenv.Replay, error) {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return nil, fault.Unavailable.Errorf("the scheduler is stopping; try again in a moment")
	}
	l.Document.DrainSeconds = replayDrain
	v := &version{key: key{l.TargetID, l.VersionID}, launch: l, logs: newLogs(r.options, l)}
	defer v.logs.close()
	a := newAgent(r, v, agentenv.RoleReplay, seat{}, 0)
	v.launch.Document.Histories = nil // the process is told once
	stop := context.AfterFunc(ctx, func() { a.stopOnce.Do(func() { close(a.stop) }) })
	end := a.once()
	stop()
	return a.look().Replays, ended(ctx, end, len(l.Document.Histories)-len(a.look().Replays))
}

// ended tells why answers are missing; nil when none are.
func ended(ctx context.Context, end ending, missing int) error {
	switch {
	case missing <= 0 || end.report.State == agentenv.StateNotNeeded:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case end.report.State == agentenv.StateFailed:
		return fault.Conflict.Errorf("this version's code does not load: %s", strings.TrimSpace(end.report.Reason+"\n"+cmp.Or(end.report.Detail, end.output)))
	}
	return fault.Conflict.Errorf("%s", strings.TrimSpace("the process that replays ended early: "+end.reason+"\n"+end.output))
}

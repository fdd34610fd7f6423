package flow

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// OpenRuns counts runs that still need a version.
type OpenRuns struct {
	// Classes are pinned to the version's worker.
	Classes int64 `json:"classes"`
	// Tools run their bodies in the version's server.
	Tools int64 `json:"tools"`
}

// RetireSteps are the activities of a retirement.
type RetireSteps interface {
	// CountOpen counts the open runs that need the version.
	CountOpen(ctx context.Context, v Version) (OpenRuns, error)
	// StopRole drains and ends the version's processes of one role.
	StopRole(ctx context.Context, v Version, role agentenv.Role) error
	// FinishRetire removes what is left of the version.
	FinishRetire(ctx context.Context, v Version) error
	// WarmFor says how long the version stays up although nobody needs it.
	WarmFor(ctx context.Context, v Version) (time.Duration, error)
}

// RetireProgress is what a retirement carries over when its history is cut.
type RetireProgress struct {
	ServerStopped bool `json:"server_stopped"`
	WorkerStopped bool `json:"worker_stopped"`
	// ServerIdle and WorkerIdle count the last looks that found no run.
	ServerIdle int `json:"server_idle"`
	WorkerIdle int `json:"worker_idle"`
	Looks      int `json:"looks"`
	// Warm says that the version may have to stay up for a while, so that a rollback to
	// it is at once.
	Warm bool `json:"warm,omitempty"`
}

// see adds one look.
func (p *RetireProgress) see(open OpenRuns) {
	p.Looks++
	p.ServerIdle++
	p.WorkerIdle++
	if open.Tools > 0 {
		p.ServerIdle = 0
	}
	if open.Classes > 0 {
		p.WorkerIdle = 0
	}
}

const (
	// inFlight is how long calls that began on the old server may still take
	// before it is drained, which gives them its own drain time on top.
	inFlight   = 5 * time.Second
	firstLook  = 2 * time.Second
	rarestLook = time.Minute
	// idleLooks in a row must find no run, since visibility lags behind a start.
	idleLooks = 2
	// looksPerHistory bounds a history; a run may wait for a person for weeks.
	looksPerHistory = 200
)

// Retire ends a version that does not serve any more, but not before the runs that
// are pinned to it have ended, however long they take.
func Retire(ctx workflow.Context, v Version, p RetireProgress) error {
	forever := step(ctx, oneTry, 0)
	if p.Looks == 0 {
		if err := workflow.Sleep(ctx, inFlight); err != nil {
			return err
		}
	}
	if p.Warm {
		if err := stayWarm(ctx, v); err != nil {
			return err
		}
		p.Warm = false
	}
	for range looksPerHistory {
		var open OpenRuns
		if err := act(forever, "CountOpen", &open, v); err != nil {
			return err
		}
		p.see(open)
		if err := stopIdle(forever, v, &p); err != nil {
			return err
		}
		if p.ServerStopped && p.WorkerStopped {
			return act(forever, "FinishRetire", nil, v)
		}
		if err := workflow.Sleep(ctx, pause(p.Looks)); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, RetireWorkflow, v, p)
}

// stayWarm returns when the version need not be up any more. It looks anew at each
// CoolSignal.
func stayWarm(ctx workflow.Context, v Version) error {
	cool := workflow.GetSignalChannel(ctx, CoolSignal)
	for {
		var left time.Duration
		if err := act(step(ctx, oneTry, 0), "WarmFor", &left, v); err != nil {
			return err
		}
		if left <= 0 {
			return nil
		}
		waiting, stop := workflow.WithCancel(ctx)
		over := workflow.NewTimer(waiting, left)
		workflow.NewSelector(ctx).
			AddFuture(over, func(workflow.Future) {}).
			AddReceive(cool, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, nil) }).
			Select(ctx)
		stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// stopIdle ends the roles that nobody needs.
func stopIdle(ctx workflow.Context, v Version, p *RetireProgress) error {
	if p.ServerIdle >= idleLooks && !p.ServerStopped {
		if err := act(ctx, "StopRole", nil, v, agentenv.RoleServer); err != nil {
			return err
		}
		p.ServerStopped = true
	}
	if p.WorkerIdle >= idleLooks && !p.WorkerStopped {
		if err := act(ctx, "StopRole", nil, v, agentenv.RoleWorker); err != nil {
			return err
		}
		p.WorkerStopped = true
	}
	return nil
}

// pause grows from firstLook to rarestLook.
func pause(looks int) time.Duration {
	if looks > 10 {
		return rarestLook
	}
	return min(firstLook<<(looks/2), rarestLook)
}

func asApplication(err error, target **temporal.ApplicationError) bool { return errors.As(err, target) }

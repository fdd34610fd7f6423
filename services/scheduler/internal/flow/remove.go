package flow

import (
	"context"

	"go.temporal.io/sdk/workflow"
)

// Target names what is removed.
type Target struct {
	TargetID string `json:"target_id"`
	OrgID    string `json:"org_id"`
}

// RemoveSteps are the activities of a removal.
type RemoveSteps interface {
	// EndDeploys terminates the workflows that could start something for the target.
	EndDeploys(ctx context.Context, t Target) error
	// EndSchedules ends the target's schedules.
	EndSchedules(ctx context.Context, t Target) error
	// EndRuns ends the target's open runs.
	EndRuns(ctx context.Context, t Target) error
	// StopAgents ends every process of the target.
	StopAgents(ctx context.Context, t Target) error
	// Forget deletes the target's rows and its endpoint.
	Forget(ctx context.Context, t Target) error
}

// Remove ends everything of a target.
func Remove(ctx workflow.Context, t Target) error {
	forever := step(ctx, oneTry, 0)
	names := []string{"EndDeploys", "EndSchedules", "EndRuns", "StopAgents", "Forget"}
	if !withSchedules(ctx) {
		names = []string{"EndDeploys", "EndRuns", "StopAgents", "Forget"}
	}
	for _, name := range names {
		if err := act(forever, name, nil, t); err != nil {
			return err
		}
	}
	return nil
}

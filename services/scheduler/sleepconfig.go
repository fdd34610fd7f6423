package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/sleep"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// sleepEvery is the time between two looks at what may sleep or wake.
const sleepEvery = time.Second

// SleepConfig is when agents sleep.
type SleepConfig struct {
	After time.Duration `koanf:"after" help:"how long nobody must have needed an agent until its processes end, to start again when somebody does; agentcloud.yaml of an app (scale.idle) wins; 0: never"`
	Lead  time.Duration `koanf:"lead" help:"how long before a schedule is due its app does not fall asleep any more"`
}

func (c SleepConfig) validate() error {
	var errs []error
	if c.After != 0 && c.After < time.Second {
		errs = append(errs, fmt.Errorf("sleep.after is %s; use at least a second, or 0 for never", c.After))
	}
	if c.Lead < 0 || c.Lead > time.Hour {
		errs = append(errs, fmt.Errorf("sleep.lead is %s; use 0 to an hour", c.Lead))
	}
	return errors.Join(errs...)
}

func (r *room) answerSleep(cfg Config) {
	r.sleep = sleep.NewService(sleep.Deps{
		Store: r.store, Agents: r.deployments, Namespaces: r.namespaces, Bell: r.bell,
		Limits: sleep.Limits{
			After: cfg.Sleep.After, Lead: cfg.Sleep.Lead, Start: cfg.Deploy.Health, Every: sleepEvery,
			Processes: cfg.Scale.Max, Down: cfg.Scale.Down,
		},
		Draining: r.draining, Log: r.env.Log, Now: r.env.Now,
	})
}

// watch tells health what passes the edge, and the bell of it that workers work.
type watch struct {
	*health.Watch
	bell *bell.Bell
}

// StepTaken implements temporaledge.Watch.
func (w watch) StepTaken(who *store.Instance, workflowID, runID string, attempt int32) {
	w.bell.Busy(bell.Key{VersionID: who.VersionID, Role: agentenv.RoleWorker})
	w.Watch.StepTaken(who, workflowID, runID, attempt)
}

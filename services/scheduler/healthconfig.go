package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
)

// HealthConfig is when workflows count as unwell.
type HealthConfig struct {
	Every       time.Duration `koanf:"every" help:"how often the health of workflows is looked at"`
	Tries       int           `koanf:"tries" help:"how often a step or an activity of a run may fail until the run counts as stuck"`
	Patience    time.Duration `koanf:"patience" help:"how long a step may fail until its run counts as stuck, however often it was tried"`
	Silence     time.Duration `koanf:"silence" help:"how long an activity may give no sign of life until its run counts as stuck; the time for which a person is asked does not count"`
	NoWorker    time.Duration `koanf:"no_worker" help:"how long the live version's workers may be away while tasks wait"`
	Sample      time.Duration `koanf:"sample" help:"how often the length of a queue is read"`
	Growing     int           `koanf:"growing" help:"over how many readings in a row a queue may grow"`
	SlowFactor  float64       `koanf:"slow_factor" help:"how many times the usual (95 % of the last runs) an open run may take"`
	SlowLeast   time.Duration `koanf:"slow_least" help:"how long it may take in any case"`
	Failures    int           `koanf:"failures" help:"how many runs of a workflow must fail in a row until it counts as failing"`
	FailureRate float64       `koanf:"failure_rate" help:"part of a workflow's runs that may fail within the window, when at least ten ended"`
	Window      time.Duration `koanf:"window" help:"what failure_rate looks at"`
	Settle      time.Duration `koanf:"settle" help:"how long something must be away until it is over"`
}

func healthDefaults() HealthConfig { return HealthConfig(health.Defaults()) }

func (c HealthConfig) limits() health.Limits { return health.Limits(c) }

func (c HealthConfig) validate() error {
	var errs []error
	for name, d := range map[string]time.Duration{
		"every": c.Every, "patience": c.Patience, "silence": c.Silence, "no_worker": c.NoWorker, "sample": c.Sample,
		"slow_least": c.SlowLeast, "window": c.Window, "settle": c.Settle,
	} {
		if d < time.Second {
			errs = append(errs, fmt.Errorf("health.%s is %s; at least a second is needed", name, d))
		}
	}
	const most = 100
	for name, n := range map[string]int{"tries": c.Tries, "growing": c.Growing - 1, "failures": c.Failures} {
		if n < 1 || n > most {
			errs = append(errs, fmt.Errorf("health.%s is out of bounds; use 1 to %d (growing: 2 to %d)", name, most, most+1))
		}
	}
	if c.SlowFactor < 1 {
		errs = append(errs, fmt.Errorf("health.slow_factor is %v; use at least 1", c.SlowFactor))
	}
	if c.FailureRate <= 0 || c.FailureRate > 1 {
		errs = append(errs, fmt.Errorf("health.failure_rate is %v; use more than 0, at most 1", c.FailureRate))
	}
	return errors.Join(errs...)
}

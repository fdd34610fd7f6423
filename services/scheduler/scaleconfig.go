package scheduler

import (
	"errors"
	"fmt"
	"time"
)

// ScaleConfig is how many processes agents have.
type ScaleConfig struct {
	Max  int           `koanf:"max" help:"processes of one role of a version, at most, whatever agentcloud.yaml of an app says (scale.max)"`
	Down time.Duration `koanf:"down" help:"how long one process of several must have been too many until it ends; those of a version that drains end without waiting"`
}

func (c ScaleConfig) validate() error {
	var errs []error
	if c.Max < 1 {
		errs = append(errs, fmt.Errorf("scale.max is %d; at least 1 is needed", c.Max))
	}
	if c.Down < time.Second {
		errs = append(errs, fmt.Errorf("scale.down is %s; at least a second is needed", c.Down))
	}
	return errors.Join(errs...)
}

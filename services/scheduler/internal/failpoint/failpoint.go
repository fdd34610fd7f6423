// Package failpoint lets chaos tests kill the process at a named step, once.
//
// It does nothing unless AGENTCLOUD_FAILPOINT names the step, which nobody sets
// outside of tests.
package failpoint

import (
	"os"
	"path/filepath"
)

// Variable is the environment variable that names the step to die at.
const Variable = "AGENTCLOUD_FAILPOINT"

// ExitCode is that of a process killed by SIGKILL.
const ExitCode = 137

// The steps of a deploy, each just after the thing has happened.
const (
	BuildDone  = "build-done"
	Launched   = "launched"
	Healthy    = "healthy"
	Switched   = "switched"
	OldDrained = "old-drained"
)

// Points kills at the step that the environment names.
type Points struct {
	wanted, marker string
	exit           func(code int)
}

// New returns the process's failpoints; dir remembers which have been hit.
func New(dir string) *Points {
	wanted := os.Getenv(Variable)
	return &Points{wanted: wanted, marker: filepath.Join(dir, "failpoint-"+wanted), exit: os.Exit}
}

// Hit ends the process when step is the wanted one and was not hit before.
func (p *Points) Hit(step string) {
	if p == nil || p.wanted == "" || p.wanted != step {
		return
	}
	f, err := os.OpenFile(p.marker, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return // it was hit in an earlier life
	}
	_ = f.Close()
	p.exit(ExitCode)
}

// Package retries reads how a project wants its activities tried, and finds the rule for
// one of them. Nothing is tried here: Temporal and the agent's host do.
package retries

import (
	"cmp"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// all fits every name.
const all = "*"

// fit is how well a pattern fits a name: the better, the greater, as the agents' SDK
// ranks them. What does not fit is nofit.
type fit struct{ kind, length int }

var nofit = fit{kind: -1}

const (
	fitsAll = iota
	fitsBeginning
	fitsEnd
	fitsWhole
)

func rank(pattern, name string) fit {
	beginning, open := strings.CutSuffix(pattern, all)
	switch {
	case pattern == name:
		return fit{fitsWhole, len(pattern)}
	case pattern == all:
		return fit{fitsAll, 0}
	case open && strings.HasPrefix(name, beginning):
		return fit{fitsBeginning, len(beginning)}
	case !open && strings.HasSuffix(name, "."+pattern):
		return fit{fitsEnd, len(pattern)}
	}
	return nofit
}

// best is the rule that fits one of the names best; the first of equals. Without one it
// says nothing.
func best(rules []agentenv.Retry, names ...string) (found agentenv.Retry) {
	at := nofit
	for _, r := range rules {
		for _, name := range names {
			if f := rank(r.Pattern, name); f.kind > at.kind || f.kind == at.kind && f.length > at.length {
				found, at = r, f
			}
		}
	}
	return found
}

// forTool is how a tool's body is tried: as agentcloud.yaml says, and where that says
// nothing, as the settings do. Their "*" was written for steps alone: by itself the
// agents' SDK never runs a tool's body twice.
func forTool(rules []agentenv.Retry, tool string) agentenv.Retry {
	var project, settings []agentenv.Retry
	for _, r := range rules {
		switch {
		case !r.FromSettings:
			project = append(project, r)
		case r.Pattern != all:
			settings = append(settings, r)
		}
	}
	names := []string{tool, agentenv.ToolActivity(tool)}
	return over(best(project, names...), best(settings, names...))
}

// over is a with what b says where a says nothing.
func over(a, b agentenv.Retry) agentenv.Retry {
	if len(a.NonRetryable) == 0 {
		a.NonRetryable = b.NonRetryable
	}
	a.StartToCloseSeconds = cmp.Or(a.StartToCloseSeconds, b.StartToCloseSeconds)
	a.ScheduleToCloseSeconds = cmp.Or(a.ScheduleToCloseSeconds, b.ScheduleToCloseSeconds)
	a.HeartbeatSeconds = cmp.Or(a.HeartbeatSeconds, b.HeartbeatSeconds)
	a.MaxAttempts = cmp.Or(a.MaxAttempts, b.MaxAttempts)
	a.InitialIntervalSeconds = cmp.Or(a.InitialIntervalSeconds, b.InitialIntervalSeconds)
	a.MaxIntervalSeconds = cmp.Or(a.MaxIntervalSeconds, b.MaxIntervalSeconds)
	a.Backoff = cmp.Or(a.Backoff, b.Backoff)
	return a
}

// Policy is the usual policy with what the rules say of a tool. How long one try may take
// is the agent's host's to watch.
func Policy(usual flow.ActivityPolicy, rules []agentenv.Retry, tool string) flow.ActivityPolicy {
	r := forTool(rules, tool)
	usual.Heartbeat = cmp.Or(seconds(r.HeartbeatSeconds), usual.Heartbeat)
	usual.ScheduleToClose = seconds(r.ScheduleToCloseSeconds)
	usual.InitialInterval, usual.MaxInterval = seconds(r.InitialIntervalSeconds), seconds(r.MaxIntervalSeconds)
	usual.Backoff, usual.NonRetryable = r.Backoff, r.NonRetryable
	switch {
	case r.MaxAttempts == 1:
		usual.MaxTries = 1 // "never twice", whoever wrote it says
	case r.MaxAttempts > 1:
		// Errors come beside the ends of the process that were allowed before.
		usual.MaxTries += int32(r.MaxAttempts) - 1 //nolint:gosec // bounded where it was read
	}
	return usual
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

package projectfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
)

// Rollout is how a version is tried. Shares are texts such as 5%, times are spans; what is
// empty or nil is not said.
type Rollout struct {
	Steps           []RolloutStep `json:"steps"`
	Match           []Match       `json:"match,omitempty"`
	MaxErrorRate    string        `json:"max_error_rate,omitempty"`
	MaxLatencyRatio *float64      `json:"max_latency_ratio,omitempty"`
	MaxFailedUsers  string        `json:"max_failed_users,omitempty"`
	MinCalls        *int64        `json:"min_calls,omitempty"`
	Patience        string        `json:"patience,omitempty"`
	// FewCalls is "abort" or "promote".
	FewCalls string `json:"few_calls,omitempty"`
}

// RolloutStep is one share of the traffic, for a time.
type RolloutStep struct {
	Weight string `json:"weight"`
	Wait   string `json:"wait"`
}

// Match picks callers; all that is said must fit.
type Match struct {
	Header string `json:"header,omitempty"`
	Value  string `json:"value,omitempty"`
	Caller string `json:"caller,omitempty"`
}

// Share reads a share such as 5%, as a fraction.
func Share(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("%q is no share; write for example 5%%", text)
	}
	return percent / 100, nil
}

// checkRollout finds times that are none, and shares that fall.
func (d Document) checkRollout() Mistakes {
	r := d.File.Deploy.Rollout
	if r == nil {
		return nil
	}
	var all Mistakes
	at := func(field string, err error) {
		if err != nil {
			all = append(all, d.At("deploy.rollout."+field, err.Error()))
		}
	}
	before := 0.0
	for i, step := range r.Steps {
		weight, err := Share(step.Weight)
		if err == nil && weight < before {
			err = fmt.Errorf("%s is less than the step before has; who has seen the new version stays with it", step.Weight)
		}
		at(item("steps", i)+".weight", err)
		_, err = timetable.Span(step.Wait)
		at(item("steps", i)+".wait", err)
		before = max(before, weight)
	}
	if r.Patience != "" {
		_, err := timetable.Span(r.Patience)
		at("patience", err)
	}
	return all
}

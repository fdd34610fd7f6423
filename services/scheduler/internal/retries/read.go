package retries

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

const (
	// mostAttempts bounds what one rule may repeat.
	mostAttempts = 1000
	// mostSeconds is a year.
	mostSeconds = 365 * 24 * 3600
)

// Of reads the rules of a project's files. It fails with fault.Invalid.
func Of(m *builderv1.Manifest) ([]agentenv.Retry, error) {
	project, err := projectfile.Decode(m.GetProjectJson())
	if err != nil {
		return nil, fault.Invalid.Wrap(err, "%s cannot be read", projectfile.Name)
	}
	settings, err := fromSettings(m.GetSettingsJson())
	return append(fromProject(project.Retries), settings...), err
}

// fromProject reads what was checked as the project was built.
func fromProject(said map[string]projectfile.Retry) []agentenv.Retry {
	var rules []agentenv.Retry
	for _, pattern := range slices.Sorted(maps.Keys(said)) {
		r := said[pattern]
		rules = append(rules, agentenv.Retry{
			Pattern: pattern, MaxAttempts: r.MaxAttempts, Backoff: r.Backoff, NonRetryable: r.NonRetryable,
			StartToCloseSeconds: span(r.StartToClose), ScheduleToCloseSeconds: span(r.ScheduleToClose), HeartbeatSeconds: span(r.Heartbeat),
			InitialIntervalSeconds: span(r.InitialInterval), MaxIntervalSeconds: span(r.MaxInterval),
		})
	}
	return rules
}

func span(text string) float64 {
	d, _ := timetable.Span(text) // checked; an empty one is 0
	return d.Seconds()
}

// setting is a policy as the agents' SDK has it under workflow_task_retry_policies.
type setting struct {
	MaximumAttempts    int      `json:"maximum_attempts"`
	InitialInterval    number   `json:"initial_interval"`
	BackoffCoefficient float64  `json:"backoff_coefficient"`
	MaximumInterval    number   `json:"maximum_interval"`
	NonRetryable       []string `json:"non_retryable_error_types"`
}

// number is seconds, as a number or as the text of one.
type number float64

// UnmarshalJSON reads either.
func (n *number) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		unquoted, err := strconv.Unquote(string(text))
		if err != nil {
			return err
		}
		text = []byte(unquoted)
	}
	if string(text) == "null" {
		return nil
	}
	parsed, err := strconv.ParseFloat(string(text), 64)
	*n = number(parsed)
	return err
}

func fromSettings(text string) ([]agentenv.Retry, error) {
	var settings struct {
		Policies map[string]*setting `json:"workflow_task_retry_policies"`
	}
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		return nil, fault.Invalid.Wrap(err, "workflow_task_retry_policies of the settings cannot be read; write names of tasks, each with maximum_attempts, "+
			"initial_interval and maximum_interval in seconds, backoff_coefficient, non_retryable_error_types")
	}
	var rules []agentenv.Retry
	for _, pattern := range slices.Sorted(maps.Keys(settings.Policies)) {
		s := settings.Policies[pattern]
		if s == nil {
			continue
		}
		rule := agentenv.Retry{
			Pattern: pattern, FromSettings: true, MaxAttempts: s.MaximumAttempts, InitialIntervalSeconds: float64(s.InitialInterval),
			MaxIntervalSeconds: float64(s.MaximumInterval), Backoff: s.BackoffCoefficient, NonRetryable: s.NonRetryable,
		}
		if err := check(rule); err != nil {
			return nil, fault.Invalid.Wrap(err, "workflow_task_retry_policies of the settings: %s: %s", pattern, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// check says what is wrong with a rule.
func check(r agentenv.Retry) error {
	for _, s := range []float64{r.StartToCloseSeconds, r.ScheduleToCloseSeconds, r.HeartbeatSeconds, r.InitialIntervalSeconds, r.MaxIntervalSeconds} {
		if math.IsNaN(s) || s < 0 || s > mostSeconds {
			return fmt.Errorf("times are at most a year, and not negative")
		}
	}
	switch {
	case r.MaxAttempts < 0 || r.MaxAttempts > mostAttempts:
		return fmt.Errorf("attempts are at most %d", mostAttempts)
	case math.IsNaN(r.Backoff) || r.Backoff != 0 && (r.Backoff < 1 || r.Backoff > 100): //nolint:mnd // more makes no sense
		return fmt.Errorf("the backoff is between 1 and 100")
	}
	return nil
}

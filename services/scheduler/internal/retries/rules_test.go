package retries

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// The agent's host finds rules in Python; both must find the same in this file.
const shared = "../../../../pkg/agentenv/testdata/retries.json"

func TestTheBestRuleIsFound(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(shared)
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Rules []agentenv.Retry
		Steps map[string]int
		Tools map[string]agentenv.Retry
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	var project []agentenv.Retry
	for _, r := range table.Rules {
		if !r.FromSettings {
			project = append(project, r)
		}
	}
	for name, want := range table.Steps {
		if got := best(project, name).MaxAttempts; got != want {
			t.Errorf("best(%s) = %d, want %d", name, got, want)
		}
	}
	for tool, want := range table.Tools {
		got := forTool(table.Rules, tool)
		got.Pattern = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("forTool(%s) (-want +got):\n%s", tool, diff)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	usual := flow.ActivityPolicy{Heartbeat: time.Second, MaxTries: 30}
	tests := map[string]struct {
		rule agentenv.Retry
		want flow.ActivityPolicy
	}{
		"nothing said": {want: usual},
		"never twice":  {rule: agentenv.Retry{MaxAttempts: 1}, want: flow.ActivityPolicy{Heartbeat: time.Second, MaxTries: 1}},
		"everything": {
			rule: agentenv.Retry{
				StartToCloseSeconds: 5, ScheduleToCloseSeconds: 60, HeartbeatSeconds: 0.5, MaxAttempts: 4, InitialIntervalSeconds: 2,
				MaxIntervalSeconds: 3, Backoff: 1.5, NonRetryable: []string{"ValueError"},
			},
			want: flow.ActivityPolicy{
				ScheduleToClose: time.Minute, Heartbeat: 500 * time.Millisecond, MaxTries: 33,
				InitialInterval: 2 * time.Second, MaxInterval: 3 * time.Second, Backoff: 1.5, NonRetryable: []string{"ValueError"},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.rule.Pattern = "fetch"
			if diff := cmp.Diff(test.want, Policy(usual, []agentenv.Retry{test.rule}, "fetch")); diff != "" {
				t.Errorf("Policy() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesOfTheProjectComeFirst(t *testing.T) {
	t.Parallel()
	got, err := Of(&builderv1.Manifest{
		ProjectJson:  `{"retries":{"*":{"max_attempts":5},"fetch":{"start_to_close":"2m","schedule_to_close":"1h30m","heartbeat":"20s","initial_interval":"500ms","max_interval":"10s","backoff":1.5,"non_retryable":["ValueError"]}}}`,
		SettingsJson: `{"workflow_task_retry_policies":{"*":{"maximum_attempts":2}}}`,
	})
	want := []agentenv.Retry{
		{Pattern: "*", MaxAttempts: 5},
		{
			Pattern: "fetch", StartToCloseSeconds: 120, ScheduleToCloseSeconds: 5400, HeartbeatSeconds: 20, InitialIntervalSeconds: 0.5,
			MaxIntervalSeconds: 10, Backoff: 1.5, NonRetryable: []string{"ValueError"},
		},
		{Pattern: "*", FromSettings: true, MaxAttempts: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Of() = %v (-want +got):\n%s", err, diff)
	}
}

func TestRulesOfTheSettings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		settings string
		want     []agentenv.Retry
		says     string // of an error
	}{
		"none":        {settings: `{"openai":{}}`},
		"no settings": {},
		"numbers and texts": {settings: `{"workflow_task_retry_policies":{"b":{"maximum_attempts":2,"initial_interval":"1.5","maximum_interval":9},"a*":{"backoff_coefficient":3,"non_retryable_error_types":["KeyError"]},"c":null}}`, want: []agentenv.Retry{
			{Pattern: "a*", FromSettings: true, Backoff: 3, NonRetryable: []string{"KeyError"}},
			{Pattern: "b", FromSettings: true, MaxAttempts: 2, InitialIntervalSeconds: 1.5, MaxIntervalSeconds: 9},
		}},
		"no seconds":        {settings: `{"workflow_task_retry_policies":{"b":{"initial_interval":"soon"}}}`, says: "in seconds"},
		"too many attempts": {settings: `{"workflow_task_retry_policies":{"b":{"maximum_attempts":100000}}}`, says: "b: attempts are at most 1000"},
		"a negative time":   {settings: `{"workflow_task_retry_policies":{"b":{"maximum_interval":-1}}}`, says: "not negative"},
		"a small backoff":   {settings: `{"workflow_task_retry_policies":{"b":{"backoff_coefficient":0.5}}}`, says: "between 1 and 100"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Of(&builderv1.Manifest{SettingsJson: test.settings})
			if test.says != "" {
				if !fault.Invalid.Is(err) || !strings.Contains(fault.Message(err), test.says) {
					t.Errorf("Of() = %v, want %q", err, test.says)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("Of() = %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

package sleep

import (
	"testing"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

func TestPace(t *testing.T) {
	t.Parallel()
	const down = 10 * time.Second
	type moment struct{ after, needed, want int } // seconds, processes
	tests := map[string]struct {
		there   int
		moments []moment
	}{
		"enough":                        {2, []moment{{0, 2, 2}, {100, 2, 2}}},
		"too few for a moment":          {1, []moment{{0, 3, 1}, {1, 3, 1}, {1, 1, 1}, {1, 3, 1}}},
		"too few for longer":            {1, []moment{{0, 3, 1}, {1, 3, 1}, {1, 3, 3}}},
		"as many as were lacked always": {1, []moment{{0, 5, 1}, {1, 2, 1}, {1, 5, 2}}},
		"too many, not for long":        {3, []moment{{0, 3, 3}, {5, 1, 3}, {4, 1, 3}, {1, 2, 3}}},
		"too many for long":             {3, []moment{{0, 1, 3}, {5, 1, 3}, {5, 1, 2}, {1, 1, 1}, {30, 1, 1}}},
		"many were needed since":        {3, []moment{{0, 1, 3}, {8, 3, 3}, {5, 1, 3}, {4, 1, 3}, {2, 1, 2}}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			var p pace
			now, there := time.Unix(1000, 0), tt.there
			for i, m := range tt.moments {
				now = now.Add(time.Duration(m.after) * time.Second)
				if got := p.decide(now, there, m.needed, down); got != m.want {
					t.Fatalf("moment %d: of %d there, %d needed: decide() = %d, want %d", i, there, m.needed, got, m.want)
				}
				there = m.want
			}
		})
	}
}

// What a promotion has added stays for as long as what was added here.
func TestPaceOfMoreThanItAskedFor(t *testing.T) {
	t.Parallel()
	const down = 10 * time.Second
	var p pace
	now := time.Unix(1000, 0)
	for i, m := range []struct{ after, there, want int }{{0, 1, 1}, {60, 3, 3}, {9, 3, 3}, {1, 3, 2}} {
		now = now.Add(time.Duration(m.after) * time.Second)
		if got := p.decide(now, m.there, 1, down); got != m.want {
			t.Errorf("moment %d: of %d there, one needed: decide() = %d, want %d", i, m.there, got, m.want)
		}
	}
}

func TestPaceKeepsLittle(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1000, 0)
	for i := range 10_000 {
		now = now.Add(time.Second)
		p.decide(now, 8, i*7919%8, time.Hour)
	}
	if len(p.peaks) > 8 {
		t.Errorf("%d numbers are kept of eight that there can be", len(p.peaks))
	}
}

func TestTheLastOneThatIsUpStays(t *testing.T) {
	t.Parallel()
	up, down := deployments.Process{State: schedulerv1.AgentState_AGENT_STATE_READY}, deployments.Process{State: schedulerv1.AgentState_AGENT_STATE_BACKOFF}
	tests := map[string]struct {
		all  []deployments.Instance
		want string
	}{
		"all are up":   {[]deployments.Instance{{ID: "a", Process: up}, {ID: "b", Process: up}}, "ba"},
		"one is":       {[]deployments.Instance{{ID: "a", Process: up}, {ID: "b", Process: down}}, "b"},
		"one is not":   {[]deployments.Instance{{ID: "a", Process: down}, {ID: "b", Process: up}, {ID: "c", Process: up}}, "acb"},
		"there is one": {[]deployments.Instance{{ID: "a", Process: up}}, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got := ""
			for _, one := range endable(tt.all) {
				got += one.ID
			}
			if got != tt.want {
				t.Errorf("endable() = %q, want %q", got, tt.want)
			}
		})
	}
}

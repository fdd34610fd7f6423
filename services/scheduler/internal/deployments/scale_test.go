package deployments

import (
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestScaleOf(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		project string
		want    Scale
		idle    time.Duration
	}{
		"nothing said":       {"", Scale{Least: 1, Most: 1, Sleeps: true}, time.Hour},
		"always one":         {`{"scale":{"min":1}}`, Scale{Least: 1, Most: 1}, 0},
		"always two":         {`{"scale":{"min":2}}`, Scale{Least: 2, Most: 2}, 0},
		"with calls":         {`{"scale":{"max":4,"concurrency":10,"idle":"5m"}}`, Scale{Least: 1, Most: 4, Sleeps: true, Concurrency: 10}, 5 * time.Minute},
		"more than there is": {`{"scale":{"min":2,"max":40,"concurrency":10}}`, Scale{Least: 2, Most: 8, Concurrency: 10}, 0},
		"more at least":      {`{"scale":{"min":20,"max":40,"concurrency":10}}`, Scale{Least: 8, Most: 8}, 0},
		"not to be read":     {`[`, Scale{Least: 1, Most: 1, Sleeps: true}, time.Hour},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			v := store.Version{Artifact: &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: tt.project}}}
			idle, _ := IdleOf(v, time.Hour)
			if got := ScaleOf(v, 8); got != tt.want || idle != tt.idle {
				t.Errorf("ScaleOf() = %+v, idle %s; want %+v, %s", got, idle, tt.want, tt.idle)
			}
		})
	}
}

func TestLookSumsUp(t *testing.T) {
	t.Parallel()
	up, down := Process{State: readyState}, Process{State: 0}
	broken := Process{Failed: true, Reason: "no"}
	two := []Instance{{ID: "a", URL: "http://a", Process: down}, {ID: "b", URL: "http://b", Process: up}}
	look := NewLook("http://home", two, nil)
	if look.ServerURL != "http://b" || look.Server.State != readyState || ready(look) || len(look.callable()) != 1 {
		t.Errorf("look = %+v", look)
	}
	if look := look.without(func(url string) bool { return url == "http://b" }); look.ServerURL != "http://a" || len(look.callable()) != 0 {
		t.Errorf("look without the other = %+v", look)
	}
	if look := NewLook("http://home", nil, nil); look.ServerURL != "http://home" || ready(look) {
		t.Errorf("look at none = %+v", look)
	}
	if role, why, failed := NewLook("", two, []Instance{{Process: up}, {Process: broken}}).failed(); !failed || role != agentenv.RoleWorker || why.Reason != "no" {
		t.Errorf("failed() = %s, %v, %v", role, why, failed)
	}
}

package deployments

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
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

// crowd is a runtime whose processes are up at once: so many servers, by version.
type crowd struct {
	Runtime
	servers map[string]int
}

func (c crowd) Look(_, versionID string) (Look, bool) {
	var all []Instance
	for i := range c.servers[versionID] {
		all = append(all, Instance{ID: fmt.Sprint(i), URL: fmt.Sprint("http://", versionID, i), Process: Process{State: readyState}})
	}
	return NewLook("", all, nil), len(all) > 0
}

func (c crowd) Start(_ context.Context, _, versionID string, _ agentenv.Role, count int) error {
	c.servers[versionID] = max(c.servers[versionID], count)
	return nil
}

func TestWhatTakesOverHasAsManyAsTheLiveOne(t *testing.T) {
	t.Parallel()
	s, in := twoVersions(t)
	project := &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: `{"scale":{"min":2,"max":4,"concurrency":2}}`}}
	if err := s.SetArtifact(t.Context(), in.VersionID, project, nil); err != nil {
		t.Fatal(err)
	}
	target, err := s.Target(t.Context(), in.TargetID)
	if err != nil {
		t.Fatal(err)
	}
	run := crowd{servers: map[string]int{target.Live: 3, in.VersionID: 1}}
	steps := &steps{launcher: &launcher{store: s, runtime: run, options: Options{MostProcesses: 8}, log: slog.New(slog.DiscardHandler)}}
	keepsUp := func(when string, want int) {
		t.Helper()
		v, err := s.Version(t.Context(), in.VersionID)
		if err != nil {
			t.Fatal(err)
		}
		failure, err := steps.keepUp(t.Context(), in, v)
		if got := run.servers[in.VersionID]; failure != nil || err != nil || got != want {
			t.Errorf("%s it has %d servers (%v, %v), want %d", when, got, failure, err, want)
		}
		run.servers[in.VersionID] = 1
	}
	keepsUp("before it is live", 3)
	run.servers[target.Live] = 9
	keepsUp("beside more than it may have", 4)
	err = s.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := s.Park(t.Context(), tx, in.TargetID, in.VersionID, "by hand", time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	keepsUp("while it waits or is tried", 2)
	_, _, err = s.BeginPromote(t.Context(), in.TargetID, in.VersionID, "", time.Now())
	if err == nil {
		keepsUp("before it is promoted", 4)
		_, err = s.EndPromote(t.Context(), in.TargetID, in.VersionID, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	newer := store.Version{ID: id.Version.New(), TargetID: in.TargetID, AppID: in.TargetID, OrgID: in.OrgID, Number: 3}
	_, err = s.BeginDeploy(t.Context(), newer, "", time.Now())
	if err == nil {
		err = s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Park(t.Context(), tx, in.TargetID, newer.ID, "by hand", time.Now())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	keepsUp("when it drains", 1)
}

package endpoints

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// watch reads the stream in a goroutine that ends with the test.
func watch(t *testing.T, table *Table) <-chan *schedulerv1.WatchEndpointsResponse {
	t.Helper()
	messages := make(chan *schedulerv1.WatchEndpointsResponse)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- table.Watch(ctx, func(m *schedulerv1.WatchEndpointsResponse) error {
			select {
			case messages <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch() = %v, want canceled", err)
		}
	})
	return messages
}

func TestWatchSendsTheTableThenChanges(t *testing.T) {
	t.Parallel()
	table := NewTable()
	table.Put(&schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_1"})
	messages := watch(t, table)

	want := &schedulerv1.WatchEndpointsResponse{Complete: true, Upserts: []*schedulerv1.Endpoint{{TargetId: "app_1", VersionId: "ver_1"}}}
	if diff := cmp.Diff(want, <-messages, protocmp.Transform()); diff != "" {
		t.Fatalf("first message (-want +got):\n%s", diff)
	}
	if !table.SetServer("app_1", "ver_1", "http://127.0.0.1:1", true) {
		t.Error("SetServer(ready) did not flip")
	}
	want = &schedulerv1.WatchEndpointsResponse{Upserts: []*schedulerv1.Endpoint{
		{TargetId: "app_1", VersionId: "ver_1", ServerUrl: "http://127.0.0.1:1", Ready: true},
	}}
	if diff := cmp.Diff(want, <-messages, protocmp.Transform()); diff != "" {
		t.Fatalf("second message (-want +got):\n%s", diff)
	}
	table.Delete("app_1")
	want = &schedulerv1.WatchEndpointsResponse{DeletedTargetIds: []string{"app_1"}}
	if diff := cmp.Diff(want, <-messages, protocmp.Transform()); diff != "" {
		t.Fatalf("third message (-want +got):\n%s", diff)
	}
}

func TestAnEmptyTableIsCompleteAtOnce(t *testing.T) {
	t.Parallel()
	if m := <-watch(t, NewTable()); !m.GetComplete() || len(m.GetUpserts()) != 0 {
		t.Errorf("first message = %v, want an empty complete one", m)
	}
}

func TestABigTableTravelsInPieces(t *testing.T) {
	t.Parallel()
	table := NewTable()
	for i := range 5 {
		table.Put(&schedulerv1.Endpoint{TargetId: fmt.Sprintf("app_%d", i), ToolsJson: strings.Repeat("x", messageBytes/2)})
	}
	messages := watch(t, table)
	got := 0
	for {
		m := <-messages
		got += len(m.GetUpserts())
		if m.GetComplete() {
			break
		}
	}
	if got != 5 {
		t.Errorf("%d endpoints until complete, want 5", got)
	}
}

func TestAVersionIsTriedBesideTheLiveOne(t *testing.T) {
	t.Parallel()
	table := NewTable()
	table.Put(&schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_1", Ready: true})
	messages := watch(t, table)
	<-messages
	tried := func(weight int32, url string) *schedulerv1.Canary {
		return &schedulerv1.Canary{Weight: weight, Endpoint: &schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_2", ServerUrl: url, Ready: url != ""}}
	}
	table.SetCanary("app_2", tried(50, "")) // nobody knows it
	for i, step := range []struct {
		does func()
		want *schedulerv1.Canary
	}{
		{func() { table.SetCanary("app_1", tried(50, "")) }, tried(50, "")},
		{func() { table.SetServer("app_1", "ver_2", "http://127.0.0.1:2", true) }, tried(50, "http://127.0.0.1:2")},
		{func() { table.SetCanary("app_1", tried(100, "http://127.0.0.1:2")) }, tried(100, "http://127.0.0.1:2")},
		{func() { table.SetCanary("app_1", nil) }, nil},
	} {
		step.does()
		step.does() // a second time nothing changes
		want := &schedulerv1.WatchEndpointsResponse{Upserts: []*schedulerv1.Endpoint{{TargetId: "app_1", VersionId: "ver_1", Ready: true, Canary: step.want}}}
		if diff := cmp.Diff(want, <-messages, protocmp.Transform()); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestSetServerOfAnotherVersionChangesNothing(t *testing.T) {
	t.Parallel()
	table := NewTable()
	table.Put(&schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_2"})
	if table.SetServer("app_1", "ver_1", "http://127.0.0.1:1", true) || table.Get("app_1").GetReady() {
		t.Error("the old version's server made the new version ready")
	}
}

func TestASleeperIsToldWhole(t *testing.T) {
	t.Parallel()
	table := NewTable()
	want := &schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_1", ToolsJson: strings.Repeat(`{"name":"a"}`, 1000), Ready: true}
	table.Put(want)
	if !table.SetAsleep("app_1", "ver_1", true) {
		t.Fatal("the live version did not fall asleep")
	}
	if kept := table.rows["app_1"]; kept.plain != nil || len(kept.packed)*10 > len(want.GetToolsJson()) {
		t.Errorf("a sleeper takes %d bytes", len(kept.packed))
	}
	want.Asleep, want.Ready = true, false
	if diff := cmp.Diff(want, (<-watch(t, table)).GetUpserts()[0], protocmp.Transform()); diff != "" {
		t.Errorf("asleep (-want +got):\n%s", diff)
	}
	table.SetAsleep("app_1", "ver_1", false)
	table.SetServer("app_1", "ver_1", "http://127.0.0.1:1", true)
	want.Asleep, want.Ready, want.ServerUrl = false, true, "http://127.0.0.1:1"
	if diff := cmp.Diff(want, table.Get("app_1"), protocmp.Transform()); diff != "" {
		t.Errorf("awake (-want +got):\n%s", diff)
	}
}

func TestSeveralServers(t *testing.T) {
	t.Parallel()
	table := NewTable()
	table.Put(&schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_1"})
	const one, other = "http://127.0.0.1:1", "http://127.0.0.1:2"
	two := []*schedulerv1.Server{{Url: one, InstanceId: "i_1"}, {Url: other, InstanceId: "i_1-2"}}
	if !table.SetServer("app_1", "ver_1", one, true, two...) {
		t.Error("SetServer(ready) did not flip")
	}
	if table.SetServer("app_1", "ver_1", one, true, two[0]) || len(table.Get("app_1").GetServers()) != 1 {
		t.Errorf("one server less: %v", table.Get("app_1"))
	}
	table.SetAsleep("app_1", "ver_1", true)
	if e := table.Get("app_1"); len(e.GetServers()) != 0 || e.GetReady() {
		t.Errorf("servers of one that sleeps: %v", e)
	}
	table.SetAsleep("app_1", "ver_1", false)
	if table.SetServer("app_1", "ver_1", other, false, two...) || len(table.Get("app_1").GetServers()) != 0 {
		t.Errorf("servers of one that is not ready: %v", table.Get("app_1"))
	}
}

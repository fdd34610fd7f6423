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

func TestSetServerOfAnotherVersionChangesNothing(t *testing.T) {
	t.Parallel()
	table := NewTable()
	table.Put(&schedulerv1.Endpoint{TargetId: "app_1", VersionId: "ver_2"})
	if table.SetServer("app_1", "ver_1", "http://127.0.0.1:1", true) || table.Get("app_1").GetReady() {
		t.Error("the old version's server made the new version ready")
	}
}

package apps_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

func addressesAreWatched(t *testing.T, w *registrytest.World) {
	first := create(t, w, w.Admin, "first")
	stream, err := w.Apps.WatchAddresses(t.Context(), &registryv1.WatchAddressesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	step := func() *registryv1.WatchAddressesResponse {
		t.Helper()
		timer := time.AfterFunc(time.Minute, func() { panic("no step of the table came") })
		defer timer.Stop()
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if got := step(); !got.GetComplete() || len(got.GetUpserts()) != 1 || got.GetUpserts()[0].GetTargetId() != first.GetAppId() {
		t.Errorf("first step = %v, want the whole table", got)
	}
	second := create(t, w, w.Admin, "second")
	if got := step(); got.GetComplete() || len(got.GetUpserts()) != 1 || got.GetUpserts()[0].GetServerUrl() != second.GetAppServerInfo().GetServerUrl() {
		t.Errorf("step = %v, want the new app", got)
	}
	ctx := registrytest.As(t, w.Admin)
	if _, err := w.Apps.UpdateApp(ctx, &registryv1.UpdateAppRequest{AppId: first.GetAppId(), UnauthenticatedAccess: proto.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if got := step(); len(got.GetUpserts()) != 1 || !got.GetUpserts()[0].GetUnauthenticatedAccess() || got.GetUpserts()[0].GetOrgId() != w.Admin.OrgID {
		t.Errorf("step = %v, want the open app", got)
	}
	if _, err := w.Apps.DeleteApp(ctx, &registryv1.DeleteAppRequest{AppId: second.GetAppId()}); err != nil {
		t.Fatal(err)
	}
	if got := step(); len(got.GetDeletedTargetIds()) != 1 || got.GetDeletedTargetIds()[0] != second.GetAppId() || len(got.GetUpserts()) != 0 {
		t.Errorf("step = %v, want the app gone", got)
	}
}

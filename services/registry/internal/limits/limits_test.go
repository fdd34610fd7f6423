package limits_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

func TestOnBothDatabases(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T, *registrytest.World){
		"a limit is set, found, changed and deleted": limitIsKept,
		"only administrators change limits":          onlyAdministrators,
		"organisations do not see each other":        organisationsAreApart,
		"bad input is told":                          badInputIsTold,
		"an organisation has so many limits at most": limitsAreBounded,
		"limits go with their app":                   limitsGoWithTheirApp,
		"limits are watched":                         limitsAreWatched,
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { body(t, registrytest.New(t, db)) })
		})
	}
}

func put(t *testing.T, w *registrytest.World, who principal.Principal, req *registryv1.PutLimitRequest) *registryv1.Limit {
	t.Helper()
	res, err := w.Limits.PutLimit(registrytest.As(t, who), req)
	if err != nil {
		t.Fatal(err)
	}
	return res.GetLimit()
}

func list(t *testing.T, w *registrytest.World, who principal.Principal, app string) []*registryv1.Limit {
	t.Helper()
	res, err := w.Limits.ListLimits(registrytest.As(t, who), &registryv1.ListLimitsRequest{AppId: app})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetLimits()
}

func create(t *testing.T, w *registrytest.World, who principal.Principal, name string) string {
	t.Helper()
	res, err := w.Apps.CreateApp(registrytest.As(t, who), &registryv1.CreateAppRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetApp().GetAppId()
}

func wantKind(t *testing.T, call string, err error, want fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != want {
		t.Errorf("%s = %v (kind %v), want kind %v", call, err, fault.KindOf(err), want)
	}
}

func limitIsKept(t *testing.T, w *registrytest.World) {
	ctx, app := registrytest.As(t, w.Admin), create(t, w, w.Admin, "finder")
	first := put(t, w, w.Admin, &registryv1.PutLimitRequest{AppId: app, Tool: "dig", CallsPerSecond: 2.5, Burst: 10})
	if !id.Limit.Valid(first.GetLimitId()) || first.GetOrgId() != w.Admin.OrgID || first.GetCallsPerSecond() != 2.5 || first.GetBurst() != 10 {
		t.Errorf("PutLimit() = %v", first)
	}
	second := put(t, w, w.Admin, &registryv1.PutLimitRequest{Caller: w.Admin.UserID, Concurrent: 3})
	again := put(t, w, w.Admin, &registryv1.PutLimitRequest{AppId: app, Tool: "dig", Concurrent: 1})
	if again.GetLimitId() != first.GetLimitId() || !proto.Equal(again.GetCreatedAt(), first.GetCreatedAt()) || proto.Equal(again.GetUpdatedAt(), first.GetUpdatedAt()) {
		t.Errorf("PutLimit(again) = %v, want the limit %s, changed", again, first.GetLimitId())
	}
	got, err := w.Limits.GetLimit(ctx, &registryv1.GetLimitRequest{LimitId: first.GetLimitId()})
	if diff := cmp.Diff(again, got.GetLimit(), protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("GetLimit() = %v, -want +got:\n%s", err, diff)
	}
	if diff := cmp.Diff([]*registryv1.Limit{again, second}, list(t, w, w.Admin, ""), protocmp.Transform()); diff != "" {
		t.Errorf("ListLimits(), -want +got:\n%s", diff)
	}
	if got := list(t, w, w.Admin, app); len(got) != 1 {
		t.Errorf("ListLimits(%s) = %v, want one", app, got)
	}
	if res, err := w.Limits.DeleteLimit(ctx, &registryv1.DeleteLimitRequest{LimitId: second.GetLimitId()}); err != nil || res.GetLimitId() != second.GetLimitId() {
		t.Errorf("DeleteLimit() = %v, %v", res, err)
	}
	_, err = w.Limits.GetLimit(ctx, &registryv1.GetLimitRequest{LimitId: second.GetLimitId()})
	wantKind(t, "GetLimit(deleted)", err, fault.NotFound)
	_, err = w.Limits.DeleteLimit(ctx, &registryv1.DeleteLimitRequest{LimitId: second.GetLimitId()})
	wantKind(t, "DeleteLimit(deleted)", err, fault.NotFound)
	changed := func(l *registryv1.Limit, gone bool) proto.Message {
		return &registryv1.LimitChanged{LimitId: l.GetLimitId(), OrgId: w.Admin.OrgID, Deleted: gone}
	}
	want := []proto.Message{changed(first, false), changed(second, false), changed(first, false), changed(second, true)}
	if diff := cmp.Diff(want, w.Events(t, &registryv1.LimitChanged{}), protocmp.Transform()); diff != "" {
		t.Errorf("events, -want +got:\n%s", diff)
	}
}

func onlyAdministrators(t *testing.T, w *registrytest.World) {
	limit := put(t, w, w.Admin, &registryv1.PutLimitRequest{Concurrent: 1})
	ann := w.User(t, "ann")
	_, err := w.Limits.PutLimit(registrytest.As(t, ann), &registryv1.PutLimitRequest{Concurrent: 9})
	wantKind(t, "PutLimit(ann)", err, fault.Denied)
	_, err = w.Limits.DeleteLimit(registrytest.As(t, ann), &registryv1.DeleteLimitRequest{LimitId: limit.GetLimitId()})
	wantKind(t, "DeleteLimit(ann)", err, fault.Denied)
	if got := list(t, w, ann, ""); len(got) != 1 || got[0].GetConcurrent() != 1 {
		t.Errorf("ann sees %v, want the one limit as it was", got)
	}
	_, err = w.Limits.ListLimits(t.Context(), &registryv1.ListLimitsRequest{})
	wantKind(t, "ListLimits(nobody)", err, fault.Unauthenticated)
	_, err = w.Limits.PutLimit(t.Context(), &registryv1.PutLimitRequest{Concurrent: 1})
	wantKind(t, "PutLimit(nobody)", err, fault.Unauthenticated)
}

func organisationsAreApart(t *testing.T, w *registrytest.World) {
	limit, eve := put(t, w, w.Admin, &registryv1.PutLimitRequest{Concurrent: 1}), w.Stranger(t, "eve")
	if got := list(t, w, eve, ""); len(got) != 0 {
		t.Errorf("eve sees %v", got)
	}
	ctx := registrytest.As(t, eve)
	_, err := w.Limits.GetLimit(ctx, &registryv1.GetLimitRequest{LimitId: limit.GetLimitId()})
	wantKind(t, "GetLimit(eve)", err, fault.NotFound)
	_, err = w.Limits.DeleteLimit(ctx, &registryv1.DeleteLimitRequest{LimitId: limit.GetLimitId()})
	wantKind(t, "DeleteLimit(eve)", err, fault.NotFound)
	_, err = w.Limits.PutLimit(ctx, &registryv1.PutLimitRequest{AppId: create(t, w, w.Admin, "finder"), Concurrent: 1})
	wantKind(t, "PutLimit(an app of others)", err, fault.NotFound)
	_, err = w.Limits.PutLimit(ctx, &registryv1.PutLimitRequest{Caller: w.Admin.UserID, Concurrent: 1})
	wantKind(t, "PutLimit(a user of others)", err, fault.NotFound)
	if own := put(t, w, eve, &registryv1.PutLimitRequest{Concurrent: 5}); own.GetLimitId() == limit.GetLimitId() {
		t.Errorf("eve's limit is that of another organisation: %v", own)
	}
}

func badInputIsTold(t *testing.T, w *registrytest.World) {
	tests := map[string]struct {
		req  *registryv1.PutLimitRequest
		kind fault.Kind
		want string // part of the sentence
	}{
		"nothing":             {&registryv1.PutLimitRequest{}, fault.Invalid, "callsPerSecond, concurrent, or both"},
		"a burst alone":       {&registryv1.PutLimitRequest{Burst: 3}, fault.Invalid, "needs callsPerSecond"},
		"a burst, no rate":    {&registryv1.PutLimitRequest{Burst: 3, Concurrent: 1}, fault.Invalid, "needs callsPerSecond"},
		"a negative rate":     {&registryv1.PutLimitRequest{CallsPerSecond: -1}, fault.Invalid, "negative"},
		"no number":           {&registryv1.PutLimitRequest{CallsPerSecond: math.NaN()}, fault.Invalid, "negative"},
		"without end":         {&registryv1.PutLimitRequest{CallsPerSecond: math.Inf(1)}, fault.Invalid, "between"},
		"next to nothing":     {&registryv1.PutLimitRequest{CallsPerSecond: 1e-300}, fault.Invalid, "between"},
		"negative at once":    {&registryv1.PutLimitRequest{Concurrent: -1}, fault.Invalid, "negative"},
		"too many at once":    {&registryv1.PutLimitRequest{Concurrent: 1_000_001}, fault.Invalid, "at most"},
		"no such app":         {&registryv1.PutLimitRequest{AppId: id.App.New(), Concurrent: 1}, fault.NotFound, "no such app"},
		"a name for an app":   {&registryv1.PutLimitRequest{AppId: "finder", Concurrent: 1}, fault.NotFound, "appId is app_"},
		"no such user":        {&registryv1.PutLimitRequest{Caller: "u_1", Concurrent: 1}, fault.NotFound, "no such user"},
		"a tool on two lines": {&registryv1.PutLimitRequest{Tool: "a\nb", Concurrent: 1}, fault.Invalid, "control characters"},
		"a long tool":         {&registryv1.PutLimitRequest{Tool: strings.Repeat("a", 201), Concurrent: 1}, fault.Invalid, "at most 200"},
	}
	for name, tt := range tests {
		_, err := w.Limits.PutLimit(registrytest.As(t, w.Admin), tt.req)
		if !tt.kind.Is(err) || !strings.Contains(fault.Message(err), tt.want) {
			t.Errorf("%s: PutLimit(%v) = %v, want kind %v and %q", name, tt.req, err, tt.kind, tt.want)
		}
	}
}

func limitsAreBounded(t *testing.T, w *registrytest.World) {
	ctx := registrytest.As(t, w.Admin)
	for i := range 1000 {
		put(t, w, w.Admin, &registryv1.PutLimitRequest{Tool: fmt.Sprint(i), Concurrent: 1})
	}
	_, err := w.Limits.PutLimit(ctx, &registryv1.PutLimitRequest{Tool: "one more", Concurrent: 1})
	wantKind(t, "PutLimit(one more)", err, fault.Exhausted)
	put(t, w, w.Admin, &registryv1.PutLimitRequest{Tool: "7", Concurrent: 2})
	if got := list(t, w, w.Admin, ""); len(got) != 1000 {
		t.Errorf("there are %d limits, want 1000", len(got))
	}
}

func limitsGoWithTheirApp(t *testing.T, w *registrytest.World) {
	app := create(t, w, w.Admin, "finder")
	put(t, w, w.Admin, &registryv1.PutLimitRequest{AppId: app, Concurrent: 1})
	kept := put(t, w, w.Admin, &registryv1.PutLimitRequest{Concurrent: 1})
	if _, err := w.Apps.DeleteApp(registrytest.As(t, w.Admin), &registryv1.DeleteAppRequest{AppId: app}); err != nil {
		t.Fatal(err)
	}
	if got := list(t, w, w.Admin, ""); len(got) != 1 || got[0].GetLimitId() != kept.GetLimitId() {
		t.Errorf("limits after the deletion = %v, want the one of all apps", got)
	}
}

func limitsAreWatched(t *testing.T, w *registrytest.World) {
	first := put(t, w, w.Admin, &registryv1.PutLimitRequest{Concurrent: 1})
	stream, err := w.Limits.WatchLimits(t.Context(), &registryv1.WatchLimitsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	step := func() *registryv1.WatchLimitsResponse {
		t.Helper()
		timer := time.AfterFunc(time.Minute, func() { panic("no step of the limits came") })
		defer timer.Stop()
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	want := func(want *registryv1.WatchLimitsResponse) {
		t.Helper()
		if diff := cmp.Diff(want, step(), protocmp.Transform()); diff != "" {
			t.Errorf("step, -want +got:\n%s", diff)
		}
	}
	want(&registryv1.WatchLimitsResponse{Upserts: []*registryv1.Limit{first}, Complete: true})
	changed := put(t, w, w.Admin, &registryv1.PutLimitRequest{Concurrent: 2})
	want(&registryv1.WatchLimitsResponse{Upserts: []*registryv1.Limit{changed}})
	others := put(t, w, w.Stranger(t, "eve"), &registryv1.PutLimitRequest{CallsPerSecond: 1})
	want(&registryv1.WatchLimitsResponse{Upserts: []*registryv1.Limit{others}})
	if _, err := w.Limits.DeleteLimit(registrytest.As(t, w.Admin), &registryv1.DeleteLimitRequest{LimitId: first.GetLimitId()}); err != nil {
		t.Fatal(err)
	}
	want(&registryv1.WatchLimitsResponse{DeletedLimitIds: []string{first.GetLimitId()}})
}

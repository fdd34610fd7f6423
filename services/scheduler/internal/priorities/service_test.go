package priorities

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestRulesAreTheAdministratorsBusiness(t *testing.T) {
	t.Parallel()
	org, app := id.Org.New(), id.App.New()
	s := store.New(dbtest.SQLite(t, store.Migrations()))
	if _, err := s.BeginDeploy(t.Context(), store.Version{ID: "ver_1", TargetID: app, AppID: app, OrgID: org, Number: 1}, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	now := time.Now() // nothing that is remembered grows old
	service := NewService(Deps{Store: s, Now: func() time.Time { return now }, NewID: id.PriorityRule.New})
	client := schedulerv1.NewPrioritiesServiceClient(grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterPrioritiesServiceServer(r, service)
	}))
	as := func(p principal.Principal) context.Context { return principal.With(t.Context(), p) }
	admin := as(principal.Principal{Kind: principal.User, OrgID: org, UserID: "u_1", Admin: true})
	member := as(principal.Principal{Kind: principal.User, OrgID: org, UserID: "u_2"})
	stranger := as(principal.Principal{Kind: principal.User, OrgID: id.Org.New(), UserID: "u_3", Admin: true})

	rule := &schedulerv1.PutPriorityRuleRequest{AppId: app, Highest: 1, Weight: 2}
	for name, refused := range map[string]struct {
		who  context.Context //nolint:containedctx // a caller
		req  *schedulerv1.PutPriorityRuleRequest
		want fault.Kind
	}{
		"nobody":               {t.Context(), rule, fault.Unauthenticated},
		"a member":             {member, rule, fault.Denied},
		"a stranger's app":     {stranger, rule, fault.NotFound},
		"an app that is not":   {admin, &schedulerv1.PutPriorityRuleRequest{AppId: id.App.New(), Highest: 1}, fault.NotFound},
		"a rule without words": {admin, &schedulerv1.PutPriorityRuleRequest{}, fault.Invalid},
	} {
		if _, err := client.PutPriorityRule(refused.who, refused.req); !refused.want.Is(err) {
			t.Errorf("%s: PutPriorityRule() = %v, want kind %v", name, err, refused.want)
		}
	}
	gets := func(want Share) {
		t.Helper()
		got, err := service.Of(t.Context(), principal.From(member), store.Target{ID: app, AppID: app, OrgID: org})
		if err != nil || got != want {
			t.Errorf("Of(member) = %+v, %v; want %+v", got, err, want)
		}
	}
	usual := share(principal.From(member), nil)
	gets(usual)
	put, err := client.PutPriorityRule(admin, rule)
	if err != nil {
		t.Fatal(err)
	}
	gets(Share{Key: "u_2", Weight: 2, Highest: 1}) // at once, though what was before is remembered
	for name, who := range map[string]context.Context{"member": member, "stranger": stranger} {
		listed, err := client.ListPriorityRules(who, &schedulerv1.ListPriorityRulesRequest{})
		if want := name == "member"; err != nil || (len(listed.GetRules()) == 1) != want {
			t.Errorf("%s: ListPriorityRules() = %v, %v", name, listed, err)
		}
	}
	gone := &schedulerv1.DeletePriorityRuleRequest{RuleId: put.GetRule().GetRuleId()}
	for want, who := range map[fault.Kind]context.Context{fault.Denied: member, fault.NotFound: stranger} {
		if _, err := client.DeletePriorityRule(who, gone); !want.Is(err) {
			t.Errorf("DeletePriorityRule() = %v, want kind %v", err, want)
		}
	}
	if _, err := client.DeletePriorityRule(admin, gone); err != nil {
		t.Error(err)
	}
	gets(usual)
}

package priorities

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestShare(t *testing.T) {
	t.Parallel()
	user := principal.Principal{Kind: principal.User, UserID: "u_1"}
	admin := principal.Principal{Kind: principal.User, UserID: "u_1", Admin: true}
	tests := map[string]struct {
		who   principal.Principal
		rules []store.PriorityRule
		want  Share
	}{
		"a member":                    {who: user, want: Share{Key: "u_1", Highest: 2}},
		"an administrator":            {who: admin, want: Share{Key: "u_1", Highest: 1}},
		"nobody known":                {who: principal.Principal{Kind: principal.Anonymous}, want: Share{Key: Anonymous, Highest: 3}},
		"another organisation":        {who: principal.Principal{Kind: principal.Anonymous, GuestOrg: "org_2"}, want: Share{Key: "org_2", Highest: 3}},
		"a room":                      {who: principal.Principal{Kind: principal.Service}, want: Share{Key: own, Highest: 1}},
		"the first rule that says it": {who: user, rules: []store.PriorityRule{{Highest: 4}, {Highest: 1, Weight: 2}, {Weight: 7}}, want: Share{Key: "u_1", Highest: 4, Weight: 2}},
		"a rule for an administrator": {who: admin, rules: []store.PriorityRule{{Highest: 4, Weight: 2}}, want: Share{Key: "u_1", Highest: 1, Weight: 2}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, share(test.who, test.rules)); diff != "" {
				t.Errorf("share (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPriority(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		highest, asked, usual int32
		want                  int
		err                   fault.Kind
	}{
		"nothing said":                       {highest: 2, want: 3},
		"nothing said, and little allowed":   {highest: 4, want: 4},
		"as the app's files say":             {highest: 2, usual: 1, want: 1},
		"asked for, whatever the files say":  {highest: 2, asked: 5, usual: 1, want: 5},
		"the highest that is allowed":        {highest: 2, asked: 2, want: 2},
		"higher than allowed":                {highest: 2, asked: 1, err: fault.Denied},
		"no priority: above":                 {highest: 1, asked: 6, err: fault.Invalid},
		"no priority: below":                 {highest: 1, asked: -1, err: fault.Invalid},
		"administrators may ask for the top": {highest: 1, asked: 1, want: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Share{Key: "k", Weight: 2, Highest: test.highest}.Priority(test.asked, test.usual)
			if test.err != 0 {
				if !test.err.Is(err) {
					t.Errorf("Priority() = %v, want kind %v", err, test.err)
				}
				return
			}
			if want := (temporal.Priority{PriorityKey: test.want, FairnessKey: "k", FairnessWeight: 2}); err != nil || got != want {
				t.Errorf("Priority() = %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		req  *schedulerv1.PutPriorityRuleRequest
		want fault.Kind
	}{
		"a user's":               {req: &schedulerv1.PutPriorityRuleRequest{Caller: id.User.New(), Highest: 1}},
		"another organisation's": {req: &schedulerv1.PutPriorityRuleRequest{AppId: id.App.New(), Caller: id.Org.New(), Weight: 0.001}},
		"all without a key":      {req: &schedulerv1.PutPriorityRuleRequest{Caller: Anonymous, Highest: 5}},
		"nothing said":           {req: &schedulerv1.PutPriorityRuleRequest{}, want: fault.Invalid},
		"no such priority":       {req: &schedulerv1.PutPriorityRuleRequest{Highest: 6}, want: fault.Invalid},
		"too light":              {req: &schedulerv1.PutPriorityRuleRequest{Weight: 0.0001}, want: fault.Invalid},
		"too heavy":              {req: &schedulerv1.PutPriorityRuleRequest{Weight: 1001}, want: fault.Invalid},
		"no caller":              {req: &schedulerv1.PutPriorityRuleRequest{Caller: "ada", Weight: 1}, want: fault.Invalid},
		"no app":                 {req: &schedulerv1.PutPriorityRuleRequest{AppId: "search", Weight: 1}, want: fault.NotFound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := check(test.req); test.want == 0 && err != nil || test.want != 0 && !test.want.Is(err) {
				t.Errorf("check() = %v, want kind %v", err, test.want)
			}
		})
	}
}

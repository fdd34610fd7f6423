package runs

import (
	"context"

	"github.com/google/uuid"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// scope is whose runs a call is about.
type scope struct {
	orgID string
	// client is nil when the organisation has nothing that could run.
	client client.Client
	// query is true of the runs of the scope, and of no other's.
	query string
}

// scope is one target, or with an empty targetID the caller's whole organisation. It
// fails with fault.NotFound for a target that the caller does not see.
func (s *Service) scope(ctx context.Context, targetID string) (scope, error) {
	if targetID != "" {
		t, err := s.deps.Store.VisibleTarget(ctx, targetID)
		if err != nil {
			return scope{}, err
		}
		c, err := s.client(ctx, t)
		return scope{orgID: t.OrgID, client: c, query: ofTarget(t.ID)}, err
	}
	org, err := callersOrg(ctx)
	if err != nil {
		return scope{}, err
	}
	c, err := s.orgClient(ctx, org)
	return scope{orgID: org, client: c, query: flow.TargetAttribute + " IS NOT NULL"}, err
}

// callersOrg is the organisation of a member. Anonymous callers of an open app act for
// that app's organisation, but must not see its others.
func callersOrg(ctx context.Context) (string, error) {
	p := principal.From(ctx)
	if p.OrgID == "" || p.Kind != principal.User && p.Kind != principal.Service {
		return "", fault.Denied.Errorf("say which app: the caller is no member of an organisation")
	}
	return p.OrgID, nil
}

// orgClient is nil when the organisation has no targets: it then may have no namespace,
// and needs none.
func (s *Service) orgClient(ctx context.Context, orgID string) (client.Client, error) {
	has, err := s.deps.Store.HasTargets(ctx, orgID)
	if err != nil || !has {
		return nil, err
	}
	c, err := s.deps.Namespaces.Client(ctx, orgID)
	return c, away(err)
}

// owner finds the target of a run: the one that is named, or that of the caller's
// organisation which has the run. It fails with fault.NotFound.
func (s *Service) owner(ctx context.Context, targetID, workflowID, runID string) (store.Target, error) {
	if workflowID == "" && runID == "" {
		return store.Target{}, fault.Invalid.Errorf("name the run by run_id or workflow_id")
	}
	if _, err := uuid.Parse(runID); runID != "" && err != nil {
		return store.Target{}, errNoRun
	}
	if targetID != "" {
		return s.deps.Store.VisibleTarget(ctx, targetID)
	}
	known, err := s.deps.Store.Run(ctx, runID)
	if err != nil && !fault.NotFound.Is(err) {
		return store.Target{}, err
	}
	if p := principal.From(ctx); p.Kind != principal.User && p.Kind != principal.Service {
		return store.Target{}, errNoRun
	}
	id := known.TargetID
	if id == "" {
		if id, err = s.ownerByTemporal(ctx, workflowID, runID); err != nil {
			return store.Target{}, err
		}
	}
	t, err := s.deps.Store.VisibleTarget(ctx, id)
	if fault.NotFound.Is(err) {
		return store.Target{}, errNoRun
	}
	return t, err
}

// ownerByTemporal is owner for a run that was not written down here.
func (s *Service) ownerByTemporal(ctx context.Context, workflowID, runID string) (string, error) {
	org, err := callersOrg(ctx)
	if err != nil {
		return "", err
	}
	c, err := s.orgClient(ctx, org)
	if err != nil {
		return "", err
	}
	if c == nil {
		return "", errNoRun
	}
	if workflowID != "" {
		d, err := c.DescribeWorkflowExecution(ctx, workflowID, runID)
		if err != nil {
			return "", noRunOr(err)
		}
		return targetOf(d), nil
	}
	listed, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1, Query: "RunId = " + quote(runID)})
	if err != nil {
		return "", away(err)
	}
	if len(listed.GetExecutions()) == 0 {
		return "", errNoRun
	}
	return keyword(listed.GetExecutions()[0].GetSearchAttributes(), flow.TargetAttribute), nil
}

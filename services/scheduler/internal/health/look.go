package health

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// freshEvery is how often it is written down that a condition is still there.
	freshEvery = 15 * time.Second
	// problemsEvery is how often Temporal is asked which runs have problems: what passes
	// the edge shows them sooner, but not those from before this process.
	problemsEvery  = time.Minute
	orgsPerAsk     = 20
	problemsPerOrg = 50
	// problems finds open runs whose steps fail; Temporal marks them after five times.
	problems = `TemporalReportedProblems IS NOT NULL AND ExecutionStatus = 'Running'`
)

// Run looks again and again until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	stop, err := s.measureConditions()
	if err != nil {
		return err
	}
	defer stop()
	if kept, err := s.deps.Store.Conditions(ctx); err == nil {
		s.told.Store(&kept) // those from before this process
	}
	ticker := time.NewTicker(s.deps.Limits.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := s.Look(ctx); err != nil && ctx.Err() == nil {
				s.deps.Log.WarnContext(ctx, "the health of workflows was not looked at in full", "error", err)
			}
		}
	}
}

// Look looks at everything once. What it could not look at stays as it was.
func (s *Service) Look(ctx context.Context) error {
	kept, err := s.deps.Store.Conditions(ctx)
	if err != nil {
		return err
	}
	f := newFindings()
	failed := errors.Join(s.reported(ctx), s.stuck(ctx, f, kept), s.queues(ctx, f, kept), s.pace(ctx, f, kept))
	put, gone := f.reconcile(kept, s.deps.Limits.Settle, freshEvery, s.deps.Now())
	return errors.Join(failed, s.write(ctx, kept, put, gone))
}

// reported makes suspects of the runs that Temporal knows to have problems.
func (s *Service) reported(ctx context.Context) error {
	now := s.deps.Now()
	if now.Sub(s.asked) < problemsEvery {
		return nil
	}
	s.asked = now
	orgs, err := s.deps.Store.Orgs(ctx)
	if err != nil {
		return err
	}
	var failed error
	for range min(len(orgs), orgsPerAsk) {
		s.nextOrg = (s.nextOrg + 1) % len(orgs)
		failed = errors.Join(failed, s.reportedOf(ctx, orgs[s.nextOrg]))
	}
	return failed
}

func (s *Service) reportedOf(ctx context.Context, org string) error {
	ctx, cancel := context.WithTimeout(ctx, describeWithin)
	defer cancel()
	c, err := s.deps.Namespaces.Client(ctx, org)
	if err != nil {
		return err
	}
	res, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: org, Query: problems, PageSize: problemsPerOrg})
	if err != nil {
		return err
	}
	for _, e := range res.GetExecutions() {
		run, err := s.deps.Store.Run(ctx, e.GetExecution().GetRunId())
		switch {
		case fault.NotFound.Is(err): // none of an agent's
		case err != nil:
			return err
		default:
			s.deps.Watch.suspect(suspect{runRef: runRef{run.TargetID, run.OrgID, run.WorkflowID, run.RunID}, since: s.deps.Now()})
		}
	}
	return nil
}

// write keeps what a look has found, each change with its event.
func (s *Service) write(ctx context.Context, kept, put, gone []store.Condition) error {
	known := map[store.ConditionKey]bool{}
	for _, c := range kept {
		known[c.ConditionKey] = true
	}
	if len(put)+len(gone) > 0 {
		if err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.writeAll(ctx, tx, known, put, gone) }); err != nil {
			return err
		}
		var err error
		if kept, err = s.deps.Store.Conditions(ctx); err != nil {
			return err
		}
	}
	s.told.Store(&kept)
	return nil
}

func (s *Service) writeAll(ctx context.Context, tx *sqldb.Tx, known map[store.ConditionKey]bool, put, gone []store.Condition) error {
	for _, c := range put {
		written, err := s.deps.Store.PutCondition(ctx, tx, c)
		if err != nil {
			return err
		}
		if written && !known[c.ConditionKey] {
			if err := s.tell(ctx, tx, c, "healthy", "active"); err != nil {
				return err
			}
		}
	}
	for _, c := range gone {
		deleted, err := s.deps.Store.DeleteCondition(ctx, tx, c.ConditionKey)
		if err != nil {
			return err
		}
		if deleted {
			if err := s.tell(ctx, tx, c, "active", "healthy"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) tell(ctx context.Context, tx *sqldb.Tx, c store.Condition, from, to string) error {
	return bus.Put(ctx, tx, &schedulerv1.HealthChanged{
		TargetId: c.TargetID, OrgId: c.OrgID, Type: c.Type, Reason: c.Reason, Subject: subject(c), From: from, To: to,
		Message: c.Message, RunIds: c.RunIDs, Since: timestamppb.New(c.Since), Time: timestamppb.New(s.deps.Now()),
	})
}

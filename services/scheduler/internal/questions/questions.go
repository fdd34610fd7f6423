// Package questions keeps what runs wait to be told (elicitation, sampling, human
// input) and brings the answers to them.
//
// Whom a question is shown to is the gateway's business.
package questions

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	maxText = 1 << 20 // bytes of params or of an answer
	maxName = 1000
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	// Runs finds where a run belongs: the organisation's target, and the workflow id of
	// a run known by its run id alone. It fails with fault.NotFound.
	Runs interface {
		Locate(ctx context.Context, targetID, workflowID, runID string) (store.Run, error)
		// Changed makes the next look at the run a new one.
		Changed(runID string)
	}
	// Namespaces gives Temporal clients for the signals that carry answers.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
	}
	// Bell is rung for the agents whose runs get answers.
	Bell *bell.Bell
	// Draining is closed when calls that wait should end, for the process does.
	Draining <-chan struct{}
	// Deadline is how long a question may stay open that says nothing of it; 0: for ever.
	Deadline time.Duration
	Log      *slog.Logger
	Now      func() time.Time
	NewID    func() string
}

// Service answers for questions.
type Service struct {
	deps Deps
	// wake tells the courier that an answer waits.
	wake    chan struct{}
	waiting waiting
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	return &Service{deps: deps, wake: make(chan struct{}, 1), waiting: waiting{askers: map[string][]chan struct{}{}}}
}

// AskQuestion records a question of a run.
func (s *Service) AskQuestion(ctx context.Context, req *schedulerv1.AskQuestionRequest) (*schedulerv1.AskQuestionResponse, error) {
	if err := checkQuestion(req); err != nil {
		return nil, err
	}
	patience, err := deadlineOf(req.GetParamsJson(), s.deps.Deadline)
	if err != nil {
		return nil, err
	}
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	run, err := s.deps.Runs.Locate(ctx, t.ID, req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	now := s.deps.Now()
	asked := store.Question{
		ID: s.deps.NewID(), TargetID: t.ID, OrgID: t.OrgID, WorkflowID: run.WorkflowID, RunID: run.RunID,
		Method: req.GetMethod(), ParamsJSON: req.GetParamsJson(), SignalName: req.GetSignalName(), AskKey: req.GetAskKey(),
		SessionID: run.SessionID, UserID: run.UserID, AskedAt: now,
	}
	if patience > 0 {
		asked.Deadline = now.Add(patience)
	}
	q, err := s.record(ctx, asked)
	if err != nil {
		return nil, err
	}
	if q.AnswerJSON == "" && q.SignalName == "" {
		if q, err = s.await(ctx, q, req.GetWait().AsDuration()); err != nil {
			return nil, err
		}
	}
	if q.State == store.Done && q.AnswerJSON == "" {
		return nil, fault.Conflict.Errorf("the run ended, or was asked to, before anybody answered")
	}
	return &schedulerv1.AskQuestionResponse{Question: toProto(q), Answered: q.AnswerJSON != "", AnswerJson: q.AnswerJSON}, nil
}

func checkQuestion(req *schedulerv1.AskQuestionRequest) error {
	switch {
	case req.GetMethod() == "" || len(req.GetMethod()) > maxName:
		return fault.Invalid.Errorf("a question needs an MCP method of at most %d bytes", maxName)
	case len(req.GetSignalName()) > maxName || len(req.GetAskKey()) > maxName:
		return fault.Invalid.Errorf("the name of a question's signal has at most %d bytes", maxName)
	case len(req.GetParamsJson()) > maxText:
		return fault.TooLarge.Errorf("a question has at most %d bytes", maxText)
	case req.GetParamsJson() != "" && !json.Valid([]byte(req.GetParamsJson())):
		return fault.Invalid.Errorf("the params of a question must be JSON")
	}
	return nil
}

// record writes a question down with its event, or finds it written.
func (s *Service) record(ctx context.Context, q store.Question) (kept store.Question, err error) {
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		var inserted bool
		kept, inserted, err = s.deps.Store.InsertQuestion(ctx, tx, q)
		if err != nil || !inserted || kept.State != store.Open {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.QuestionAsked{
			QuestionId: q.ID, TargetId: q.TargetID, OrgId: q.OrgID, RunId: q.RunID, SessionId: q.SessionID,
		})
	})
	if err == nil {
		s.deps.Runs.Changed(kept.RunID)
	}
	return kept, err
}

// AnswerQuestion gives the answer to the run. The courier carries it; what is
// accepted here will arrive, also when Temporal is away just now.
func (s *Service) AnswerQuestion(ctx context.Context, req *schedulerv1.AnswerQuestionRequest) (*schedulerv1.AnswerQuestionResponse, error) {
	q, err := s.visible(ctx, req.GetQuestionId())
	if err != nil {
		return nil, err
	}
	answer, err := answerOf(q, req)
	if err != nil {
		return nil, err
	}
	accepted, err := s.answer(ctx, q, answer, principal.From(ctx).UserID)
	return &schedulerv1.AnswerQuestionResponse{Accepted: accepted}, err
}

// answer records an answer, unless there is one or the time for it is over. The answer
// that stands already is accepted.
func (s *Service) answer(ctx context.Context, q store.Question, answer, by string) (accepted bool, err error) {
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		accepted, err = s.deps.Store.Answer(ctx, tx, q.ID, answer, by, s.deps.Now())
		if err != nil || !accepted {
			return err
		}
		if by == store.System {
			return bus.Put(ctx, tx, &schedulerv1.QuestionExpired{QuestionId: q.ID, TargetId: q.TargetID, OrgId: q.OrgID, RunId: q.RunID})
		}
		return bus.Put(ctx, tx, &schedulerv1.QuestionAnswered{QuestionId: q.ID, TargetId: q.TargetID, RunId: q.RunID, AnsweredBy: by})
	})
	if err != nil {
		return false, err
	}
	if !accepted {
		now, err := s.deps.Store.Question(ctx, q.ID)
		return now.AnswerJSON == answer && now.AnsweredBy != store.System, err
	}
	s.deps.Runs.Changed(q.RunID)
	s.poke()
	s.waiting.tell(q.ID)
	return true, nil
}

// GetQuestion finds a question, also one that has been answered.
func (s *Service) GetQuestion(ctx context.Context, req *schedulerv1.GetQuestionRequest) (*schedulerv1.GetQuestionResponse, error) {
	q, err := s.visible(ctx, req.GetQuestionId())
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetQuestionResponse{Question: toProto(q)}, nil
}

func (s *Service) visible(ctx context.Context, questionID string) (store.Question, error) {
	q, err := s.deps.Store.Question(ctx, questionID)
	if err == nil && !store.Sees(principal.From(ctx), q.OrgID) {
		err = fault.NotFound.Errorf("no such question: %s", questionID)
	}
	return q, err
}

func toProto(q store.Question) *schedulerv1.Question {
	p := &schedulerv1.Question{
		QuestionId: q.ID, TargetId: q.TargetID, WorkflowId: q.WorkflowID, RunId: q.RunID, Method: q.Method,
		ParamsJson: q.ParamsJSON, SessionId: q.SessionID, UserId: q.UserID, AskedAt: timestamppb.New(q.AskedAt), OrgId: q.OrgID,
		State: string(q.Shown()), AnsweredBy: q.AnsweredBy, SignalName: q.SignalName,
	}
	if q.AnswerJSON != "" {
		p.AnsweredAt = timestamppb.New(q.AnsweredAt)
	}
	if !q.Deadline.IsZero() {
		p.Deadline = timestamppb.New(q.Deadline)
	}
	return p
}

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
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	maxText   = 1 << 20 // bytes of params or of an answer
	maxName   = 1000
	usualPage = 100
	mostRows  = 1000
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	// Runs finds where a run belongs: the organisation's target, and the workflow id of
	// a run known by its run id alone. It fails with fault.NotFound.
	Runs interface {
		Locate(ctx context.Context, targetID, workflowID, runID string) (store.Run, error)
	}
	// Namespaces gives Temporal clients for the signals that carry answers.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
	}
	// Draining is closed when calls that wait should end, for the process does.
	Draining <-chan struct{}
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
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	run, err := s.deps.Runs.Locate(ctx, t.ID, req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	q, err := s.record(ctx, store.Question{
		ID: s.deps.NewID(), TargetID: t.ID, OrgID: t.OrgID, WorkflowID: run.WorkflowID, RunID: run.RunID,
		Method: req.GetMethod(), ParamsJSON: req.GetParamsJson(), SignalName: req.GetSignalName(), AskKey: req.GetAskKey(),
		SessionID: run.SessionID, UserID: run.UserID, AskedAt: s.deps.Now(),
	})
	if err != nil {
		return nil, err
	}
	if q.AnswerJSON == "" && q.SignalName == "" {
		if q, err = s.await(ctx, q, req.GetWait().AsDuration()); err != nil {
			return nil, err
		}
	}
	if q.State == store.Done && q.AnswerJSON == "" {
		return nil, fault.Conflict.Errorf("the run ended before anybody answered")
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
	accepted, by := false, principal.From(ctx).UserID
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		accepted, err = s.deps.Store.Answer(ctx, tx, q.ID, answer, by, s.deps.Now())
		if err != nil || !accepted {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.QuestionAnswered{QuestionId: q.ID, TargetId: q.TargetID, RunId: q.RunID, AnsweredBy: by})
	})
	if err != nil {
		return nil, err
	}
	if !accepted {
		return s.answeredBefore(ctx, q.ID, answer)
	}
	s.poke()
	s.waiting.tell(q.ID)
	return &schedulerv1.AnswerQuestionResponse{Accepted: true}, nil
}

// GetQuestion finds a question, also one that has been answered.
func (s *Service) GetQuestion(ctx context.Context, req *schedulerv1.GetQuestionRequest) (*schedulerv1.GetQuestionResponse, error) {
	q, err := s.visible(ctx, req.GetQuestionId())
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetQuestionResponse{Question: toProto(q)}, nil
}

// answeredBefore accepts the answer that stands already.
func (s *Service) answeredBefore(ctx context.Context, questionID, answer string) (*schedulerv1.AnswerQuestionResponse, error) {
	q, err := s.deps.Store.Question(ctx, questionID)
	return &schedulerv1.AnswerQuestionResponse{Accepted: q.AnswerJSON == answer}, err
}

func (s *Service) visible(ctx context.Context, questionID string) (store.Question, error) {
	q, err := s.deps.Store.Question(ctx, questionID)
	if err == nil && !store.Sees(principal.From(ctx), q.OrgID) {
		err = fault.NotFound.Errorf("no such question: %s", questionID)
	}
	return q, err
}

// ListQuestions lists open questions, oldest first.
func (s *Service) ListQuestions(ctx context.Context, req *schedulerv1.ListQuestionsRequest) (*schedulerv1.ListQuestionsResponse, error) {
	filter := store.QuestionFilter{
		OrgID: principal.From(ctx).OrgID, TargetID: req.GetTargetId(), SessionID: req.GetSessionId(), RunID: req.GetRunId(),
		Limit: page.Size(int(req.GetPageSize()), usualPage, mostRows),
	}
	if filter.TargetID != "" {
		t, err := s.deps.Store.VisibleTarget(ctx, filter.TargetID)
		if err != nil {
			return nil, err
		}
		filter.OrgID = t.OrgID
	}
	if filter.OrgID == "" && principal.From(ctx).Kind != principal.Service {
		return nil, fault.Denied.Errorf("say whose questions: the caller has no organisation")
	}
	questions, err := s.deps.Store.OpenQuestions(ctx, filter)
	if err != nil {
		return nil, err
	}
	answer := &schedulerv1.ListQuestionsResponse{}
	for _, q := range questions {
		answer.Questions = append(answer.Questions, toProto(q))
	}
	return answer, nil
}

func toProto(q store.Question) *schedulerv1.Question {
	p := &schedulerv1.Question{
		QuestionId: q.ID, TargetId: q.TargetID, WorkflowId: q.WorkflowID, RunId: q.RunID, Method: q.Method,
		ParamsJson: q.ParamsJSON, SessionId: q.SessionID, UserId: q.UserID, AskedAt: timestamppb.New(q.AskedAt), OrgId: q.OrgID,
		State: stateOf(q), AnsweredBy: q.AnsweredBy,
	}
	if q.AnswerJSON != "" {
		p.AnsweredAt = timestamppb.New(q.AnsweredAt)
	}
	return p
}

// stateOf is a question's state as people see it: whether the run has the answer yet
// is nobody's business.
func stateOf(q store.Question) string {
	switch {
	case q.AnswerJSON != "":
		return store.Answered
	case q.State == store.Open:
		return store.Open
	}
	return "withdrawn"
}

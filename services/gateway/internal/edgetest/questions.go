package edgetest

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

type question struct {
	*schedulerv1.Question
	key, answer string
}

// Limit gives a question a deadline, and says that it is over.
func (r *Runs) Limit(questionID string, deadline time.Time, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.questions {
		if q.GetQuestionId() != questionID {
			continue
		}
		if q.Deadline = timestamppb.New(deadline); over {
			q.answer, q.State = `{"action":"cancel"}`, "expired"
		}
	}
}

// Answers are the answers so far, by question.
func (r *Runs) Answers() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	answers := map[string]string{}
	for _, q := range r.questions {
		if q.answer != "" {
			answers[q.GetQuestionId()] = q.answer
		}
	}
	return answers
}

// AskQuestion records a question of a run, once, and waits for its answer.
func (r *Runs) AskQuestion(ctx context.Context, req *schedulerv1.AskQuestionRequest) (*schedulerv1.AskQuestionResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	run := r.find(req.GetTargetId(), req.GetRunId(), req.GetWorkflowId())
	if run == nil {
		return nil, fault.NotFound.Errorf("no such run")
	}
	q := r.record(run, req)
	over := time.After(req.GetWait().AsDuration())
	for {
		r.mu.Lock()
		answer, changed := q.answer, r.changed
		r.mu.Unlock()
		if answer != "" {
			return &schedulerv1.AskQuestionResponse{Question: q.Question, Answered: true, AnswerJson: answer}, nil
		}
		select {
		case <-changed:
		case <-over:
			return &schedulerv1.AskQuestionResponse{Question: q.Question}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *Runs) record(run *schedulerv1.Run, req *schedulerv1.AskQuestionRequest) *question {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := req.GetRunId() + "/" + req.GetSignalName() + "/" + req.GetAskKey()
	for _, q := range r.questions {
		if q.key == key {
			return q
		}
	}
	q := &question{key: key, Question: &schedulerv1.Question{
		QuestionId: "qst_" + strconv.Itoa(len(r.questions)+1), TargetId: req.GetTargetId(), WorkflowId: run.GetWorkflowId(), RunId: run.GetRunId(),
		Method: req.GetMethod(), ParamsJson: req.GetParamsJson(), SessionId: run.GetSessionId(), UserId: run.GetStartedBy(), SignalName: req.GetSignalName(),
	}}
	r.questions = append(r.questions, q)
	return q
}

// AnswerQuestion takes the first answer.
func (r *Runs) AnswerQuestion(ctx context.Context, req *schedulerv1.AnswerQuestionRequest) (*schedulerv1.AnswerQuestionResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.questions {
		if q.GetQuestionId() == req.GetQuestionId() && q.answer == "" {
			q.answer = req.GetAnswerJson()
			close(r.changed)
			r.changed = make(chan struct{})
			return &schedulerv1.AnswerQuestionResponse{Accepted: true}, nil
		}
	}
	return &schedulerv1.AnswerQuestionResponse{}, nil
}

// GetQuestion finds one, also when it has been answered.
func (r *Runs) GetQuestion(ctx context.Context, req *schedulerv1.GetQuestionRequest) (*schedulerv1.GetQuestionResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.questions {
		if q.GetQuestionId() != req.GetQuestionId() {
			continue
		}
		found := proto.CloneOf(q.Question)
		switch {
		case found.GetState() != "":
		case q.answer != "":
			found.State = "answered"
		default:
			found.State = "open"
		}
		return &schedulerv1.GetQuestionResponse{Question: found}, nil
	}
	return nil, fault.NotFound.Errorf("no such question")
}

// ListQuestions lists the open ones.
func (r *Runs) ListQuestions(ctx context.Context, req *schedulerv1.ListQuestionsRequest) (*schedulerv1.ListQuestionsResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := &schedulerv1.ListQuestionsResponse{}
	for _, q := range r.questions {
		if q.answer == "" && q.GetTargetId() == req.GetTargetId() && (req.GetRunId() == "" || req.GetRunId() == q.GetRunId()) {
			answer.Questions = append(answer.Questions, q.Question)
		}
	}
	return answer, nil
}

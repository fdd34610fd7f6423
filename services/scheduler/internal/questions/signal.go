package questions

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// AnswerBySignal takes a signal for the answer to the question that waits for it; ok is
// false when no question of the run does. It fails with fault.Conflict when the question
// has another answer, or needs none.
func (s *Service) AnswerBySignal(ctx context.Context, req *schedulerv1.SignalRunRequest) (ok bool, err error) {
	if req.GetSignalName() == "" {
		return false, nil
	}
	if req.GetTargetId() != "" {
		if _, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId()); err != nil {
			return false, err
		}
	}
	run, err := s.deps.Runs.Locate(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if err == nil {
		q, findErr := s.deps.Store.QuestionBySignal(ctx, run.RunID, req.GetSignalName())
		if err = findErr; err == nil {
			return true, s.answerSignal(ctx, q.ID, req.GetPayloadJson())
		}
	}
	if fault.NotFound.Is(err) {
		return false, nil
	}
	return false, err
}

func (s *Service) answerSignal(ctx context.Context, questionID, payload string) error {
	if payload == "" {
		payload = "null"
	}
	answer, err := s.AnswerQuestion(ctx, &schedulerv1.AnswerQuestionRequest{QuestionId: questionID, AnswerJson: payload})
	if err != nil || answer.GetAccepted() {
		return err
	}
	q, err := s.deps.Store.Question(ctx, questionID)
	if err != nil {
		return err
	}
	return fault.Conflict.Errorf("this question is %s already", q.Shown())
}

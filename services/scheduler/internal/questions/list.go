package questions

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualPage = 100
	mostRows  = 1000
)

// ListQuestions lists questions, oldest first.
func (s *Service) ListQuestions(ctx context.Context, req *schedulerv1.ListQuestionsRequest) (*schedulerv1.ListQuestionsResponse, error) {
	filter, err := s.filterOf(ctx, req)
	if err != nil {
		return nil, err
	}
	size := filter.Limit
	filter.Limit++ // whether there is more
	questions, err := s.deps.Store.Questions(ctx, filter)
	if err != nil {
		return nil, err
	}
	answer := &schedulerv1.ListQuestionsResponse{}
	if len(questions) > size {
		questions = questions[:size]
		answer.NextPageToken = placeOf(questions[size-1])
	}
	for _, q := range questions {
		answer.Questions = append(answer.Questions, toProto(q))
	}
	return answer, nil
}

// filterOf is what a caller may see of what it asks for.
func (s *Service) filterOf(ctx context.Context, req *schedulerv1.ListQuestionsRequest) (store.QuestionFilter, error) {
	filter := store.QuestionFilter{
		OrgID: principal.From(ctx).OrgID, TargetID: req.GetTargetId(), SessionID: req.GetSessionId(), RunID: req.GetRunId(),
		State: store.StateOpen, Limit: page.Size(int(req.GetPageSize()), usualPage, mostRows),
	}
	if req.GetState() != "" {
		filter.State = store.QuestionState(req.GetState())
	}
	if !filter.State.Valid() {
		return filter, fault.Invalid.Errorf("state is %q; use open, answered, expired, withdrawn or any", req.GetState())
	}
	if err := goOn(&filter, req.GetPageToken()); err != nil {
		return filter, err
	}
	if filter.TargetID != "" {
		t, err := s.deps.Store.VisibleTarget(ctx, filter.TargetID)
		filter.OrgID = t.OrgID
		return filter, err
	}
	if filter.OrgID == "" && principal.From(ctx).Kind != principal.Service {
		return filter, fault.Denied.Errorf("say whose questions: the caller has no organisation")
	}
	return filter, nil
}

// placeOf is the page token of what comes after a question.
func placeOf(q store.Question) string {
	return page.Encode(strconv.FormatInt(q.AskedAt.UnixMilli(), 10) + " " + q.ID)
}

// goOn reads a page token into a filter. It fails with fault.Invalid.
func goOn(filter *store.QuestionFilter, token string) error {
	place, err := page.Decode(token)
	if err != nil || place == "" {
		return err
	}
	at, id, ok := strings.Cut(place, " ")
	millis, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok {
		return fault.Invalid.Errorf("the page token is damaged; start again without it")
	}
	filter.AfterTime, filter.AfterID = time.UnixMilli(millis), id
	return nil
}

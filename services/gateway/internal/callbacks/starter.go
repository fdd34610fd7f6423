package callbacks

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// starterSubject asks all replicas whether the session that started a run listens to
	// one of them.
	starterSubject = "gateway.runs.starter"
	// starterWait is how long one who has it may take to say so.
	starterWait = time.Second
)

// sought is the session that a question is for before anybody else.
type sought struct {
	From    string `json:"from"`
	Target  string `json:"target"`
	Session string `json:"session"`
	User    string `json:"user,omitempty"`
	Method  string `json:"method"`
}

// starterHasIt says whether a question needs nobody here: the session that started its
// run listens to another replica, which asks it; or it was answered while that was sought.
func (q *Questions) starterHasIt(question *schedulerv1.Question) bool {
	if question.GetSessionId() == "" {
		return false
	}
	_, err := q.deps.Conn.Request(starterSubject, jsonrpc.Encode(sought{
		q.name, question.GetTargetId(), question.GetSessionId(), question.GetUserId(), question.GetMethod(),
	}), starterWait)
	return err == nil || !q.stillOpen(question)
}

// stillOpen is true, too, when the scheduler cannot tell: one who is asked in vain is
// told so by the answer.
func (q *Questions) stillOpen(question *schedulerv1.Question) bool {
	ctx, cancel := context.WithTimeout(context.Background(), offerLimit)
	defer cancel()
	ctx = principal.With(ctx, principal.Principal{Kind: principal.Service, OrgID: question.GetOrgId()})
	now, err := q.deps.Runs.GetQuestion(ctx, &schedulerv1.GetQuestionRequest{QuestionId: question.GetQuestionId()})
	return err != nil || now.GetQuestion().GetState() == stateOpen
}

// answerSeekers tells other replicas of the sessions that listen here.
func (q *Questions) answerSeekers() (*nats.Subscription, error) {
	sub, err := q.deps.Conn.Subscribe(starterSubject, func(m *nats.Msg) {
		var s sought
		if json.Unmarshal(m.Data, &s) != nil || s.From == q.name {
			return
		}
		if own, ok := q.starter(s.Target, owner{session: s.Session, user: s.User}); ok && own.Streaming() && own.CanAnswer(s.Method) {
			_ = m.Respond(nil) // who asks goes on without
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to replicas that seek a session: %w", err)
	}
	return sub, nil
}

// Package callbacks is what agents' workers phone home: log lines, progress and
// questions of runs, which go to the client session that started the run, or to
// another of the same user's.
//
// A question is a durable record of the scheduler's before anybody is asked; what is
// kept here can be lost.
package callbacks

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	knownAgents = 4096
	knownFor    = time.Minute
	openPage    = 100
)

// Deps is everything Questions need from outside.
type Deps struct {
	Log      *slog.Logger
	Runs     schedulerv1.RunsServiceClient
	Agents   schedulerv1.DeploymentsServiceClient
	Sessions *sessions.Store
	// Conn reaches the other replicas.
	Conn *nats.Conn
}

// Questions brings questions to clients and answers to runs.
type Questions struct {
	deps   Deps
	agents *expirable.LRU[string, *schedulerv1.IdentifyAgentResponse]
	owners *expirable.LRU[string, owner]
	name   string // of this process, among the replicas
	// offers go on beside the events that they come from: one may wait for other replicas.
	offers errgroup.Group
}

// NewQuestions returns Questions on deps, which must be complete.
func NewQuestions(deps Deps) *Questions {
	q := &Questions{
		deps: deps, name: rand.Text(),
		agents: expirable.NewLRU[string, *schedulerv1.IdentifyAgentResponse](knownAgents, nil, knownFor),
		owners: expirable.NewLRU[string, owner](ownersKept, nil, ownersFor),
	}
	q.offers.SetLimit(offersAtOnce)
	return q
}

const (
	// stateOpen is the state of a question without an answer.
	stateOpen  = "open"
	offerLimit = 10 * time.Second
	ownersKept = 100_000
	ownersFor  = 24 * time.Hour
	// offersAtOnce is how many questions look for their session at the same time.
	offersAtOnce = 64
	seeksAtOnce  = 16
)

// identify finds the agent behind a token.
func (q *Questions) identify(ctx context.Context, token string) (*schedulerv1.IdentifyAgentResponse, error) {
	if token == "" {
		return nil, fault.Unauthenticated.Errorf("a gateway token is needed")
	}
	if known, ok := q.agents.Get(token); ok {
		return known, nil
	}
	agent, err := q.deps.Agents.IdentifyAgent(ctx, &schedulerv1.IdentifyAgentRequest{Token: token})
	if err != nil {
		return nil, err
	}
	q.agents.Add(token, agent)
	return agent, nil
}

// as is the context of a call for an agent, fenced to its organisation.
func as(ctx context.Context, agent *schedulerv1.IdentifyAgentResponse) context.Context {
	return principal.With(ctx, principal.Principal{Kind: principal.Agent, OrgID: agent.GetOrgId(), AppID: agent.GetAppId()})
}

// recipients are the sessions here that a run's messages may go to: the one that
// started it first, then the user's others, newest first.
func (q *Questions) recipients(target string, o owner) []*sessions.Session {
	others := q.deps.Sessions.Of(target, o.user)
	own, ok := q.starter(target, o)
	if !ok {
		return others
	}
	all := []*sessions.Session{own}
	for _, s := range others {
		if s != own {
			all = append(all, s)
		}
	}
	return all
}

// starter is the session that started a run, if it is here and its user's: a run's
// session is what its starter said, and may be anything.
func (q *Questions) starter(target string, o owner) (*sessions.Session, bool) {
	own, ok := q.deps.Sessions.ByID(o.session)
	return own, ok && own.TargetID == target && own.Caller.UserID == o.user
}

// Asked offers a question that this or another process has recorded, and returns before
// it has, unless very many are being offered.
func (q *Questions) Asked(ctx context.Context, event *schedulerv1.QuestionAsked) {
	q.offers.Go(func() error {
		q.asked(ctx, event)
		return nil
	})
}

func (q *Questions) asked(ctx context.Context, event *schedulerv1.QuestionAsked) {
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	ctx = principal.With(ctx, principal.Principal{Kind: principal.Service, OrgID: event.GetOrgId()})
	open, err := q.deps.Runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: event.GetTargetId(), RunId: event.GetRunId(), PageSize: openPage})
	if err != nil {
		q.deps.Log.InfoContext(ctx, "a question waits for the next session", "run", event.GetRunId(), "error", err)
		return
	}
	for _, question := range open.GetQuestions() {
		q.offer(question)
	}
}

// offer asks the first session that listens and can answer: the one that started the
// run, at whichever replica, before the user's others. Nobody there: the question waits.
func (q *Questions) offer(question *schedulerv1.Question) {
	o := owner{session: question.GetSessionId(), user: question.GetUserId()}
	sought := false
	for _, s := range q.recipients(question.GetTargetId(), o) {
		if !s.Streaming() || !s.CanAnswer(question.GetMethod()) {
			continue
		}
		if s.ID != o.session && !sought {
			if sought = true; q.starterHasIt(question) {
				return
			}
		}
		if s.Offer(question.GetQuestionId(), question.GetMethod(), json.RawMessage(question.GetParamsJson())) {
			return
		}
	}
}

// OfferOpen asks a session that has just come, and listens, what is still open for it:
// what its user was asked, unless somebody who listens has the question before them.
func (q *Questions) OfferOpen(ctx context.Context, s *sessions.Session) {
	if !s.Streaming() || !s.Ready() {
		return // whichever of the two comes last will do it
	}
	open := q.open(ctx, s)
	wanted := make([]bool, len(open))
	var seeks errgroup.Group
	seeks.SetLimit(seeksAtOnce)
	for i, question := range open {
		seeks.Go(func() error {
			wanted[i] = q.wants(s, question)
			return nil
		})
	}
	_ = seeks.Wait() // none fails
	for i, question := range open {
		if wanted[i] {
			s.Offer(question.GetQuestionId(), question.GetMethod(), json.RawMessage(question.GetParamsJson()))
		}
	}
}

// wants says whether an open question is for a session: its own, or its user's whose
// starter listens nowhere.
func (q *Questions) wants(s *sessions.Session, question *schedulerv1.Question) bool {
	o := owner{session: question.GetSessionId(), user: question.GetUserId()}
	asker, there := q.starter(s.TargetID, o)
	mine := there && asker == s || s.Caller.UserID != "" && o.user == s.Caller.UserID
	taken := there && asker != s && asker.Streaming() && asker.CanAnswer(question.GetMethod())
	if !mine || taken || !s.CanAnswer(question.GetMethod()) {
		return false
	}
	return asker == s || !q.starterHasIt(question)
}

// Ended offers what a session has left unanswered to the user's others.
func (q *Questions) Ended(s *sessions.Session) {
	if s.Caller.UserID == "" || len(q.deps.Sessions.Of(s.TargetID, s.Caller.UserID)) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), offerLimit)
	defer cancel()
	for _, question := range q.open(ctx, s) {
		if question.GetUserId() == s.Caller.UserID {
			q.offer(question)
		}
	}
}

// open lists the open questions of a session's app, as far as its caller may see them.
func (q *Questions) open(ctx context.Context, s *sessions.Session) []*schedulerv1.Question {
	ctx = principal.With(ctx, s.Caller)
	open, err := q.deps.Runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: s.TargetID, PageSize: openPage})
	if err != nil {
		q.deps.Log.InfoContext(ctx, "open questions are not known at the moment", "target", s.TargetID, "error", err)
		return nil
	}
	return open.GetQuestions()
}

// Answer gives a client's response to the run that asked. A refusal is an answer too.
func (q *Questions) Answer(ctx context.Context, question sessions.Question, m jsonrpc.Message) error {
	answer := m.Result
	if len(m.Error) > 0 {
		answer = refusal(question.Method, m.Error)
	}
	_, err := q.deps.Runs.AnswerQuestion(ctx, &schedulerv1.AnswerQuestionRequest{QuestionId: question.ID, AnswerJson: string(answer)})
	if fault.NotFound.Is(err) {
		return nil // answered elsewhere, or the run is over
	}
	return err
}

// AnswerOf gives a session's response to a question that another process may have asked
// it, if the question was for the session or its user.
func (q *Questions) AnswerOf(ctx context.Context, s *sessions.Session, id string, m jsonrpc.Message) error {
	res, err := q.deps.Runs.GetQuestion(ctx, &schedulerv1.GetQuestionRequest{QuestionId: id})
	if fault.NotFound.Is(err) {
		return nil
	}
	if err != nil {
		return err
	}
	asked := res.GetQuestion()
	mine := asked.GetSessionId() == s.ID || s.Caller.UserID != "" && asked.GetUserId() == s.Caller.UserID
	if !mine || asked.GetTargetId() != s.TargetID || asked.GetState() != stateOpen {
		return nil
	}
	return q.Answer(ctx, sessions.Question{ID: id, Method: asked.GetMethod()}, m)
}

// refusal is what the agent's SDK understands as "no": for elicitation an action, for
// the rest an object that is no result.
func refusal(method string, reason json.RawMessage) json.RawMessage {
	if method == "elicitation/create" {
		return json.RawMessage(`{"action":"cancel"}`)
	}
	return jsonrpc.Encode(map[string]json.RawMessage{"error": reason})
}

package edgetest

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Calls is the scheduler's memory of calls that wait for their clients.
type Calls struct {
	schedulerv1.UnimplementedCallsServiceServer

	mu    sync.Mutex
	away  bool
	calls map[string]*schedulerv1.ParkedCall
}

// NewCalls returns an empty memory.
func NewCalls() *Calls { return &Calls{calls: map[string]*schedulerv1.ParkedCall{}} }

// Away says whether Temporal is.
func (c *Calls) Away(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// All are the calls so far.
func (c *Calls) All() (all []*schedulerv1.ParkedCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.calls {
		all = append(all, proto.CloneOf(call))
	}
	return all
}

// change lets the reader of an open call change it.
func (c *Calls) change(ctx context.Context, id string, lease int64, change func(*schedulerv1.ParkedCall)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[id]
	switch {
	case principal.From(ctx).Kind != principal.Service:
		return fault.Denied.Errorf("for the gateway alone")
	case c.away:
		return fault.Unavailable.Errorf("Temporal does not answer")
	case call == nil:
		return fault.NotFound.Errorf("no such call")
	case call.GetEnded() || call.GetLease() != lease:
		return fault.Conflict.Errorf("the call has ended, or another replica reads it")
	}
	change(call)
	return nil
}

// AskCall notes what a call asks.
func (c *Calls) AskCall(ctx context.Context, req *schedulerv1.AskCallRequest) (*schedulerv1.AskCallResponse, error) {
	c.mu.Lock()
	now := proto.CloneOf(req.GetCall())
	if c.calls[now.GetCallId()] == nil && !c.away {
		c.calls[now.GetCallId()] = proto.CloneOf(now)
	}
	c.mu.Unlock()
	return &schedulerv1.AskCallResponse{}, c.change(ctx, now.GetCallId(), now.GetLease(), func(call *schedulerv1.ParkedCall) {
		call.Round, call.Open, call.Place, call.Cursor, call.Reruns = now.GetRound(), now.GetOpen(), now.GetPlace(), now.GetCursor(), now.GetReruns()
	})
}

// AnswerCall notes what was answered.
func (c *Calls) AnswerCall(ctx context.Context, req *schedulerv1.AnswerCallRequest) (*schedulerv1.AnswerCallResponse, error) {
	return &schedulerv1.AnswerCallResponse{}, c.change(ctx, req.GetCallId(), req.GetLease(), func(call *schedulerv1.ParkedCall) {
		for _, answer := range req.GetAnswers() {
			call.Open = slices.DeleteFunc(call.Open, func(q *schedulerv1.CallQuestion) bool { return q.GetKey() == answer.GetKey() })
			call.Given = append(call.Given, answer)
		}
	})
}

// FinishCall notes how a call ended.
func (c *Calls) FinishCall(ctx context.Context, req *schedulerv1.FinishCallRequest) (*schedulerv1.FinishCallResponse, error) {
	return &schedulerv1.FinishCallResponse{}, c.change(ctx, req.GetCallId(), req.GetLease(), func(call *schedulerv1.ParkedCall) {
		call.Open, call.Outcome, call.Ended = nil, req.GetOutcome(), true
	})
}

// TakeCall changes the reader of a call.
func (c *Calls) TakeCall(_ context.Context, req *schedulerv1.TakeCallRequest) (*schedulerv1.TakeCallResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[req.GetCallId()]
	switch {
	case c.away:
		return nil, fault.Unavailable.Errorf("Temporal does not answer")
	case call == nil || call.GetTargetId() != req.GetTargetId():
		return nil, fault.NotFound.Errorf("no such call")
	case !call.GetEnded() && call.GetReader() == req.GetFrom() && req.GetFrom() != req.GetBy():
		call.Reader = req.GetBy()
		call.Lease++
	}
	return &schedulerv1.TakeCallResponse{Call: proto.CloneOf(call)}, nil
}

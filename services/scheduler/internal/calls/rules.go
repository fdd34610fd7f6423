package calls

import (
	"crypto/sha256"
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

const (
	// maxBytes bounds what one change of a call carries: a payload of Temporal's has
	// 2 MB, and bytes become a third longer on their way.
	maxBytes = 1 << 20
	maxName  = 100
	maxOpen  = 100
)

var (
	errTooLarge = fault.TooLarge.Errorf("a change of a call that waits has at most %d bytes", maxBytes)
	errNoCall   = fault.NotFound.Errorf("no such call")
	errMoved    = fault.Conflict.Errorf("the call has ended, or another replica reads it")
)

// askOf checks what a call asks.
func askOf(req *schedulerv1.AskCallRequest) (flow.CallAsk, error) {
	c := req.GetCall()
	ask := flow.CallAsk{Wait: req.GetWait().AsDuration(), Call: flow.Call{
		ID: c.GetCallId(), TargetID: c.GetTargetId(), UserID: c.GetUserId(), Digest: c.GetDigest(), Reader: c.GetReader(), Lease: c.GetLease(),
		Round: c.GetRound(), Place: c.GetPlace(), Cursor: c.GetCursor(), Reruns: c.GetReruns(),
	}}
	size := len(c.GetPlace()) + len(c.GetCursor())
	for _, q := range c.GetOpen() {
		size += len(q.GetSealed()) + len(q.GetKey())
		ask.Call.Open = append(ask.Call.Open, flow.CallQuestion{Key: q.GetKey(), Sealed: q.GetSealed()})
	}
	switch {
	case size > maxBytes || len(c.GetOpen()) > maxOpen:
		return ask, errTooLarge
	case len(c.GetDigest()) != sha256.Size || c.GetReader() == "" || len(c.GetReader()) > maxName || len(c.GetUserId()) > maxName:
		return ask, fault.Invalid.Errorf("a call that waits needs a digest of %d bytes and a reader", sha256.Size)
	case c.GetRound() < 1 || ask.Wait <= 0:
		return ask, fault.Invalid.Errorf("a call that waits needs a round of at least 1 and a wait")
	}
	return ask, nil
}

// replyOf checks what was answered.
func replyOf(req *schedulerv1.AnswerCallRequest) (flow.CallReply, error) {
	reply, size := flow.CallReply{Lease: req.GetLease(), Wait: req.GetWait().AsDuration()}, 0
	for _, a := range req.GetAnswers() {
		size += len(a.GetSealed()) + len(a.GetKey()) + len(a.GetQuestion())
		reply.Answers = append(reply.Answers, flow.CallAnswer{Key: a.GetKey(), Question: a.GetQuestion(), Sealed: a.GetSealed()})
	}
	switch {
	case size > maxBytes || len(reply.Answers) > maxOpen:
		return reply, errTooLarge
	case reply.Wait <= 0:
		return reply, fault.Invalid.Errorf("an answered call needs a wait")
	}
	return reply, nil
}

// refusal gives what Temporal or a call's record says a kind.
func refusal(err error) error {
	var refused *temporal.ApplicationError
	var closed *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.As(err, &refused) && refused.Type() == flow.CallFull:
		return fault.Exhausted.Wrap(err, "the call asks too often, or too much")
	case errors.As(err, &refused) && refused.Type() == flow.CallMoved, errors.As(err, &closed):
		return errMoved
	case namespaces.IsNotFound(err):
		return errNoCall
	}
	return namespaces.Fault(err, "Temporal does not answer")
}

func toProto(c flow.Call) *schedulerv1.ParkedCall {
	p := &schedulerv1.ParkedCall{
		CallId: c.ID, TargetId: c.TargetID, UserId: c.UserID, Digest: c.Digest, Reader: c.Reader, Lease: c.Lease, Round: c.Round,
		Place: c.Place, Cursor: c.Cursor, Outcome: c.Outcome, Ended: c.Ended, Reruns: c.Reruns, Deadline: timestamppb.New(c.Deadline),
	}
	for _, q := range c.Open {
		p.Open = append(p.Open, &schedulerv1.CallQuestion{Key: q.Key, Sealed: q.Sealed})
	}
	for _, a := range c.Given {
		p.Given = append(p.Given, &schedulerv1.CallAnswer{Key: a.Key, Question: a.Question, Sealed: a.Sealed})
	}
	return p
}

package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// recordKind is the kind of what is sealed in a record.
	recordKind = "r1"
	recordWait = 5 * time.Second
	// recordSlack is how much longer than a call its record lives.
	recordSlack = time.Minute
	// resultKept bounds a result that can be read again.
	resultKept = 700 << 10
)

// records keeps calls that wait where other replicas find them. What is in them is
// sealed: the scheduler and Temporal see neither questions nor answers nor results.
type records struct {
	calls schedulerv1.CallsServiceClient
	ring  *seal.Ring
	wait  time.Duration
}

// place is where and how an agent works on a call.
type place struct {
	sessions.Place
	ID           json.RawMessage `json:"id"`
	Capabilities json.RawMessage `json:"capabilities"`
}

// question is an open one as a record has it.
type question struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// as lets the gateway itself ask, for an organisation's app.
func (k *records) as(org string) (context.Context, context.CancelFunc) {
	ctx := principal.With(context.Background(), principal.Principal{Kind: principal.Service, Name: "gateway", OrgID: org})
	return context.WithTimeout(ctx, recordWait)
}

func (k *records) seal(target string, v any) []byte {
	return []byte(k.ring.Seal(recordKind, target, jsonrpc.Encode(v)))
}

func (k *records) open(target string, sealed []byte, v any) error {
	payload, err := k.ring.OpenLarge(recordKind, target, string(sealed))
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, v)
}

// ask notes what a call asks now. It fails with fault.Conflict when another replica
// reads it.
func (k *records) ask(c *call, reader string) error {
	c.mu.Lock()
	kept := &schedulerv1.ParkedCall{
		CallId: c.id, TargetId: c.target, UserId: c.user, Digest: c.digest[:], Reader: reader, Lease: c.lease, Round: int32(c.round), //nolint:gosec // small
		Place: k.seal(c.target, place{c.place, c.legID, c.caps}), Cursor: c.cursor, Reruns: c.reruns,
	}
	for key, q := range c.open {
		kept.Open = append(kept.Open, &schedulerv1.CallQuestion{Key: key, Sealed: k.seal(c.target, question{q.agentID, q.method, q.params})})
	}
	c.mu.Unlock()
	slices.SortFunc(kept.GetOpen(), func(x, y *schedulerv1.CallQuestion) int {
		return cmp.Or(len(x.GetKey())-len(y.GetKey()), cmp.Compare(x.GetKey(), y.GetKey()))
	})
	ctx, cancel := k.as(c.org)
	defer cancel()
	_, err := k.calls.AskCall(ctx, &schedulerv1.AskCallRequest{Call: kept, Wait: durationpb.New(k.wait + recordSlack)})
	return err
}

// answer notes what the client answered. Errors as of ask.
func (k *records) answer(c *call, answers []answer) error {
	req := &schedulerv1.AnswerCallRequest{TargetId: c.target, CallId: c.id, Lease: c.lease, Wait: durationpb.New(k.wait + recordSlack)}
	for _, a := range answers {
		req.Answers = append(req.Answers, &schedulerv1.CallAnswer{Key: a.key, Question: a.print[:], Sealed: k.seal(c.target, a.value)})
	}
	ctx, cancel := k.as(c.org)
	defer cancel()
	_, err := k.calls.AnswerCall(ctx, req)
	return err
}

// finish notes how a call ended. Errors as of ask.
func (k *records) finish(c *call, o outcome) error {
	if len(o.Result) > resultKept {
		o = outcome{Refusal: c.broken("result_too_large", "the call has ended; its result was given once and is too large to be kept")}
	}
	ctx, cancel := k.as(c.org)
	defer cancel()
	_, err := k.calls.FinishCall(ctx, &schedulerv1.FinishCallRequest{
		TargetId: c.target, CallId: c.id, Lease: c.lease, Outcome: k.seal(c.target, o),
	})
	return err
}

// take makes a replica the reader of a call in place of one that has died, and tells how
// the call is. It fails with fault.NotFound when there is no record.
func (k *records) take(org, target, id, from, by string) (*schedulerv1.ParkedCall, error) {
	ctx, cancel := k.as(org)
	defer cancel()
	res, err := k.calls.TakeCall(ctx, &schedulerv1.TakeCallRequest{TargetId: target, CallId: id, From: from, By: by})
	return res.GetCall(), err
}

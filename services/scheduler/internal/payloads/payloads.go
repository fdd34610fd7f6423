// Package payloads is the one place that arguments and results pass on their way to
// Temporal and back: agents' through the edge, this service's own where it starts runs
// and reads their ends. What changes payloads there is a Codec.
//
// The codec that there is puts large values into a blob store and leaves a claim in the
// history. One that encrypts would stand behind it, and see claims and small values.
package payloads

import (
	"context"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/proxy"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

const (
	// Most bounds one argument or result, bytes.
	Most = 16 << 20
	// mostTogether bounds what one message from Temporal may become, bytes.
	mostTogether = 96 << 20
)

// Scope says whose history a payload is written to.
type Scope struct{ OrgID, WorkflowID string }

// A Codec changes payloads between those who use them and Temporal.
type Codec interface {
	// Encode returns what Temporal is given in place of p. It fails with fault.TooLarge.
	Encode(ctx context.Context, scope Scope, p *commonpb.Payload) (*commonpb.Payload, error)
	// Decode is its inverse for a history of an organisation. It fails with
	// fault.NotFound when the content is lost.
	Decode(ctx context.Context, orgID string, p *commonpb.Payload) (*commonpb.Payload, error)
}

// Passage applies codecs to whole messages: outwards in their order, inwards in the
// opposite one.
type Passage struct{ codecs []Codec }

// NewPassage returns a Passage; without codecs it changes nothing.
func NewPassage(codecs ...Codec) *Passage { return &Passage{codecs} }

// Encode returns what Temporal is given in place of p.
func (p *Passage) Encode(ctx context.Context, scope Scope, payload *commonpb.Payload) (*commonpb.Payload, error) {
	var err error
	for _, c := range p.codecs {
		if payload, err = c.Encode(ctx, scope, payload); err != nil {
			return nil, err
		}
	}
	return payload, nil
}

// Decode is the inverse of Encode.
func (p *Passage) Decode(ctx context.Context, orgID string, payload *commonpb.Payload) (*commonpb.Payload, error) {
	var err error
	for i := len(p.codecs) - 1; i >= 0; i-- {
		if payload, err = p.codecs[i].Decode(ctx, orgID, payload); err != nil {
			return nil, err
		}
	}
	return payload, nil
}

type scopeKey struct{}

// Out encodes every payload of a message to Temporal, in place. What begins or signals
// another workflow belongs to that one's history.
func (p *Passage) Out(ctx context.Context, scope Scope, message proto.Message) error {
	return proxy.VisitPayloads(context.WithValue(ctx, scopeKey{}, scope), message, proxy.VisitPayloadsOptions{
		SkipSearchAttributes: true, ContextHook: rescope,
		Visitor: func(ctx *proxy.VisitPayloadsContext, all []*commonpb.Payload) ([]*commonpb.Payload, error) {
			scope, _ := ctx.Value(scopeKey{}).(Scope)
			return each(all, func(one *commonpb.Payload) (*commonpb.Payload, error) { return p.Encode(ctx, scope, one) })
		},
	})
}

func rescope(ctx context.Context, message proto.Message) (context.Context, error) {
	scope, _ := ctx.Value(scopeKey{}).(Scope)
	switch m := message.(type) {
	case *commandpb.StartChildWorkflowExecutionCommandAttributes:
		scope.WorkflowID = m.GetWorkflowId()
	case *commandpb.SignalExternalWorkflowExecutionCommandAttributes:
		scope.WorkflowID = m.GetExecution().GetWorkflowId()
	default:
		return ctx, nil
	}
	return context.WithValue(ctx, scopeKey{}, scope), nil
}

// In decodes every payload of a message from Temporal, in place. It fails with
// fault.TooLarge when that would be too much for one message.
func (p *Passage) In(ctx context.Context, orgID string, message proto.Message) error {
	together := 0
	return proxy.VisitPayloads(ctx, message, proxy.VisitPayloadsOptions{
		SkipSearchAttributes: true,
		Visitor: func(ctx *proxy.VisitPayloadsContext, all []*commonpb.Payload) ([]*commonpb.Payload, error) {
			return each(all, func(one *commonpb.Payload) (*commonpb.Payload, error) {
				decoded, err := p.Decode(ctx, orgID, one)
				if decoded != one {
					together += len(decoded.GetData())
				}
				if together > mostTogether {
					return nil, fault.TooLarge.Errorf("the values that this run still works with have more than %d MiB together", mostTogether>>20)
				}
				return decoded, err
			})
		},
	})
}

func each(all []*commonpb.Payload, change func(*commonpb.Payload) (*commonpb.Payload, error)) ([]*commonpb.Payload, error) {
	changed := make([]*commonpb.Payload, len(all))
	for i, one := range all {
		var err error
		if changed[i], err = change(one); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

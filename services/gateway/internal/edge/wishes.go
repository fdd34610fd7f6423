package edge

import (
	"context"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	subscribe   = "resources/subscribe"
	unsubscribe = "resources/unsubscribe"
	setLevels   = "logging/setLevel"
	updated     = "notifications/resources/updated"
)

// wishing does what a client asks its agent for by do, and notes what it wants to hear
// from then on, before the agent can forget it.
func (v visit) wishing(ctx context.Context, s *sessions.Session, m jsonrpc.Message, do func() (reply []byte, err error)) ([]byte, error) {
	var wish struct {
		URI   string `json:"uri"`
		Level string `json:"level"`
	}
	switch m.Method {
	case subscribe, unsubscribe, setLevels:
		_ = json.Unmarshal(m.Params, &wish) // the agent refuses what cannot be read
	default:
		return do()
	}
	undo := func() {}
	switch {
	case m.Method == subscribe && !s.Subscribed(wish.URI):
		if err := s.SubscribeTo(ctx, wish.URI); err != nil {
			return nil, err
		}
		undo = func() { s.UnsubscribeFrom(ctx, wish.URI) }
	case m.Method == unsubscribe:
		s.UnsubscribeFrom(ctx, wish.URI)
	case m.Method == setLevels:
		before := s.Level()
		s.SetLevel(ctx, wish.Level)
		undo = func() { s.SetLevel(ctx, before) }
	}
	reply, err := do()
	if err != nil || isError(reply) {
		undo()
	} else {
		s.Caught(ctx, v.request, m)
	}
	return reply, err
}

func isError(reply []byte) bool {
	m, err := jsonrpc.Parse(reply)
	return err != nil || len(m.Error) > 0
}

// retell tells a client that each resource may have changed: while its agent was not
// listened to, nobody knows.
func retell(ctx context.Context, s *sessions.Session) {
	for _, uri := range s.Subscriptions(ctx) {
		s.Tell(jsonrpc.NewRequest(nil, updated, jsonrpc.Encode(map[string]string{"uri": uri})))
	}
}

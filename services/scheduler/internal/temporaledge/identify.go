package temporaledge

import (
	"context"
	"crypto/subtle"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

// caller is an agent that has shown its token.
type caller struct {
	store.Instance
	token []byte
}

// identify finds who calls. Every call looks it up, so that a token is worthless from
// the moment its instance is forgotten.
func (e *Edge) identify(ctx context.Context) (caller, error) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	values := incoming.Get("authorization")
	if len(values) != 1 {
		return caller{}, status.Error(codes.Unauthenticated, "show the agent's token as a bearer")
	}
	token, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok || !strings.HasPrefix(token, tokens.Edge) {
		return caller{}, status.Error(codes.Unauthenticated, "this is no token of an agent's worker")
	}
	hash := tokens.Hash(token)
	instance, err := e.deps.Agents.InstanceByEdge(ctx, hash)
	switch {
	case fault.NotFound.Is(err):
		return caller{}, status.Error(codes.Unauthenticated, "no running agent holds this token")
	case err != nil:
		e.deps.Log.ErrorContext(ctx, "agent not identified", "error", err)
		return caller{}, status.Error(codes.Unavailable, "agents cannot be identified just now")
	case subtle.ConstantTimeCompare([]byte(instance.EdgeHash), []byte(hash)) != 1:
		return caller{}, status.Error(codes.Unauthenticated, "no running agent holds this token")
	}
	return caller{Instance: instance, token: []byte(token)}, nil
}

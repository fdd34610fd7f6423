package sessions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// What an agent asks on its own stream belongs to no call, and outlives the replica that
// heard it. Its id tells where it was asked, so that any replica brings the answer there.

const (
	// outside begins the ids of such questions; a digest of the place and the agent's own id
	// follow.
	outside = "agent-of-agentcloud-"
	// digestBytes tell the few places of one session apart.
	digestBytes = 8
)

var errAskerGone = fault.Conflict.Errorf("the agent that asked this is not there any more; nobody waits for the answer")

// Overheard is a message of the agent's own stream as the client gets it.
func (s *Session) Overheard(message []byte, at Place) []byte {
	m, ok := naming(message)
	switch {
	case !ok || len(m.ID) > maxAgentID:
		return message
	case m.Method == cancelled:
		return s.takenBack(m, at)
	}
	return asking(m, outsideID(at, m.ID), outsideID(at, jsonrpc.Meta(m.Params, progressToken)))
}

// ReplyOutside brings a message of the client's to who asked outside of calls what it is
// about; ours is false for other messages. It fails with fault.Conflict when the agent
// that asked is not there any more.
func (s *Session) ReplyOutside(ctx context.Context, m jsonrpc.Message) (ours bool, err error) {
	rest, ours := strings.CutPrefix(about(m), outside)
	if !ours {
		return false, nil
	}
	digest, own, _ := strings.Cut(rest, "-")
	if m, err := jsonrpc.Parse(jsonrpc.NewResult(json.RawMessage(own), json.RawMessage("{}"))); err != nil || len(m.ID) == 0 {
		return true, fault.Invalid.Errorf("no question has this id")
	}
	at, ok := s.Upstream.placed(ctx, digest)
	if !ok {
		return true, errAskerGone
	}
	s.Upstream.NotifyAt(context.WithoutCancel(ctx), at, addressed(m, json.RawMessage(own)))
	return true, nil
}

func outsideID(at Place, own json.RawMessage) json.RawMessage {
	return jsonrpc.Encode(outside + at.digest() + "-" + string(own))
}

func (p Place) digest() string {
	sum := sha256.Sum256([]byte(p.URL + "\x00" + p.Session))
	return hex.EncodeToString(sum[:digestBytes])
}

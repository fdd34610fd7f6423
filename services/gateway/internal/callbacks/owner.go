package callbacks

import (
	"context"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// owner is whom a run's messages are for.
type owner struct {
	session, user string
	progressToken json.RawMessage
}

// ownerOf finds whom a run's messages are for; the run must be of the agent's own target.
func (q *Questions) ownerOf(ctx context.Context, agent *schedulerv1.IdentifyAgentResponse, run string) (owner, error) {
	key := agent.GetTargetId() + "/" + run
	if known, ok := q.owners.Get(key); ok {
		return known, nil
	}
	res, err := q.deps.Runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: agent.GetTargetId(), RunId: run})
	if err != nil {
		return owner{}, err
	}
	found := owner{session: res.GetRun().GetSessionId(), user: res.GetRun().GetStartedBy(), progressToken: json.RawMessage(res.GetRun().GetProgressTokenJson())}
	q.owners.Add(key, found)
	return found, nil
}

// tell gives a message that may be lost to the first of a run's recipients that
// listens; when none does here, it goes to the other replicas, and waits.
func (q *Questions) tell(target string, o owner, message []byte) {
	all := q.recipients(target, o)
	for _, session := range all {
		if session.Streaming() && session.Tell(message) {
			return
		}
	}
	q.spread(target, o, message)
	if len(all) > 0 {
		wait(all[0], message)
	}
}

// progress goes to the session that started the run alone, and under the token that
// it gave: the agent's own means nothing to it. Without a token it wants none.
func (q *Questions) progress(target string, o owner, params json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(params, &fields); err != nil || fields == nil {
		return fault.Invalid.Wrap(err, "the params of a progress notification must be an object")
	}
	if o.session == "" || len(o.progressToken) == 0 {
		return nil
	}
	fields["progressToken"] = o.progressToken
	message := jsonrpc.NewRequest(nil, "notifications/progress", jsonrpc.Encode(fields))
	session, ok := q.starter(target, o)
	switch {
	case ok && session.Streaming():
		session.Tell(message)
		return nil
	case ok:
		wait(session, message)
	}
	q.spread(target, o, message)
	return nil
}

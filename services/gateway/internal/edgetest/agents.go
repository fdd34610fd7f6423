package edgetest

import (
	"context"
	"sync"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// agents are those who hold callback tokens.
type agents struct {
	mu      sync.Mutex
	byToken map[string]*schedulerv1.IdentifyAgentResponse
}

// Grant gives an agent of a target a token.
func (a *agents) Grant(token string, agent *schedulerv1.IdentifyAgentResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byToken == nil {
		a.byToken = map[string]*schedulerv1.IdentifyAgentResponse{}
	}
	a.byToken[token] = agent
}

// IdentifyAgent says who holds a token.
func (d *Deployments) IdentifyAgent(_ context.Context, req *schedulerv1.IdentifyAgentRequest) (*schedulerv1.IdentifyAgentResponse, error) {
	d.agents.mu.Lock()
	defer d.agents.mu.Unlock()
	agent, ok := d.byToken[req.GetToken()]
	if !ok {
		return nil, fault.Unauthenticated.Errorf("no running agent holds this token")
	}
	return agent, nil
}
